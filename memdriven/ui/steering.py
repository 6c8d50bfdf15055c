"""What one visitor did to the memory by hand, and its controls: pins, masks, weights, own images, noise.

Everything here belongs to one browser tab and lies in its `gr.State`. What arrives from the page
is a wish of unknown origin: ids must be known, numbers are clamped, lists have a longest length.
An own image arrives as text inside an event, never as a file of the server. What is kept of it is a
square of the size that the feature network sees, with neither EXIF nor name.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Self

import torch
from PIL import Image

from memdriven.data.foreign import kind_of
from memdriven.data.images import centre_square, decode_image, to_tensor
from memdriven.encoders.imagenet import Vgg16Features
from memdriven.errors import CheckpointError, DataError, RetrievalError, require
from memdriven.memory.features import encode_v
from memdriven.memory.retrieval import Neighbour
from memdriven.numbers import is_number
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_REFERENCES, PRIVATE, Recipe, Reference, UserImage, Variation
from memdriven.ui.html import act_button, button, image_uri, seed_words, status, tag
from memdriven.ui.state import Shelved

MAX_PINS = 8
MAX_MASKS = 32
MAX_GUESTS = 4
MAX_FACTOR = 3.0
"""A reference's natural share is multiplied by 0 to this."""


@dataclass(frozen=True)
class Steering:
    """Wishes about the memory, each change giving a new object."""

    pins: tuple[str, ...] = ()
    """Ids that stay references whatever is written."""
    masks: tuple[str, ...] = ()
    """Ids that are never used."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """By which a reference's natural share is multiplied; 1 where an id is missing."""
    alone: bool = False
    """Whether the pins are all there is, in equal shares, with nothing retrieved beside them."""
    shown: Recipe | None = None
    """A picture on screen: for its words and strategy, what is done by hand begins from its references."""
    like: str | None = None
    """An image whose look-alikes take the place of retrieval."""
    guests: tuple[UserImage, ...] = ()
    """The tab's own images."""
    base: int | None = None
    """The seed that `variations` step away from; with another seed they have no meaning."""
    variations: tuple[Variation, ...] = ()

    @property
    def active(self) -> bool:
        """Whether references are other than what retrieval alone would give."""
        return bool(self.pins or self.masks or self.factors or self.like)

    def owns(self, item: object) -> bool:
        """Return whether something from the page is the id of one of the tab's own images."""
        return any(guest.id == item for guest in self.guests)

    def pin(self, item: str) -> Self:
        """Pin an item, or release it when it is pinned."""
        if item in self.pins:
            rest = _without(self.pins, item)
            return replace(self, pins=rest, alone=self.alone and bool(rest))
        _room(self.pins, MAX_PINS, "pinned references")
        return replace(self, pins=(*self.pins, item), masks=_without(self.masks, item))

    def mask(self, item: str) -> Self:
        """Never use an item, or allow it again when it is masked."""
        if item in self.masks:
            return replace(self, masks=_without(self.masks, item))
        _room(self.masks, MAX_MASKS, "excluded references")
        return replace(self._free(item), masks=(*self.masks, item))

    def weigh(self, item: str, factor: object) -> Self:
        """Multiply an item's share; what is no number counts as 1, and all is clamped."""
        value: object = None
        with suppress(TypeError, ValueError, OverflowError):
            value = float(factor)  # type: ignore[arg-type]
        times = min(MAX_FACTOR, max(0.0, value)) if is_number(value) else 1.0
        others = {name: old for name, old in self.factors.items() if name != item}
        _room(others, MAX_REFERENCES, "weighed references")
        return replace(self, factors=others if times == 1 else {**others, item: times})

    def only(self, item: str) -> Self:
        """Use one item alone."""
        masks = _without(self.masks, item)
        return replace(self, pins=(item,), alone=True, factors={}, like=None, masks=masks)

    def more_like(self, item: str) -> Self:
        """Let the images that look like an item take the place of retrieval."""
        return replace(self, like=item, pins=(), alone=False, factors={})

    def release(self) -> Self:
        """Go back to retrieval alone; own images stay at hand."""
        return type(self)(guests=self.guests)

    def welcome(self, guest: UserImage) -> Self:
        """Add an own image and pin it; the same image twice is one image."""
        others = tuple(each for each in self.guests if each.id != guest.id)
        _room(others, MAX_GUESTS, "own images in one tab")
        come = replace(self, guests=(*others, guest), like=None)
        return come if guest.id in come.pins else come.pin(guest.id)

    def dismiss(self, item: str) -> Self:
        """Forget an own image."""
        return replace(self._free(item), guests=tuple(g for g in self.guests if g.id != item))

    def _free(self, item: str) -> Self:
        """Neither pin an item nor show its look-alikes."""
        freed = self.pin(item) if item in self.pins else self
        return replace(freed, like=None if self.like == item else self.like)

    def step(self, base: int, variations: Sequence[Variation]) -> Self:
        """Keep a near-by picture's noise; without variations the seed's own."""
        steps = tuple(variations)
        return replace(self, base=base if steps else None, variations=steps)

    def steps_from(self, seed: int, keep: bool) -> tuple[Variation, ...]:
        """Return the steps away from a seed that is kept; another seed has none."""
        return self.variations if keep and seed == self.base else ()

    def mix(self, retrieved: Sequence[Reference]) -> tuple[Reference, ...]:
        """Return the references of a picture, their shares not scaled: other pins, then those retrieved.

        These pins have the mean share. Untouched shares keep their last bit, as in a restored mix.
        """
        mean = math.fsum(each.weight for each in retrieved) / len(retrieved) if retrieved else 1.0
        known = {each.id for each in retrieved}
        mixed = [*(Reference(name, mean) for name in self.pins if name not in known), *retrieved]
        return tuple(Reference(name, share * self.factors.get(name, 1.0)) for name, share in mixed)

    def after(self, act: object, item: object, value: object, known: bool) -> Self:
        """Return the steering after one click on a card; `known` is whether there is such an item."""
        if act == "release":
            return self.release()
        if act == "steady":
            return self.step(0, ())
        if act == "unlike":
            return replace(self, like=None)
        of_item: dict[object, Callable[[str], Self]] = {
            "pin": self.pin,
            "mask": self.mask,
            "only": self.only,
            "like": self.more_like,
            "dismiss": self.dismiss,
            "weigh": partial(self.weigh, factor=value),
        }
        if known and isinstance(act, str) and isinstance(item, str) and act in of_item:
            return of_item[act](item)
        wanted, fix = "an action on a card of this memory", "choose again on a card that is shown"
        raise RetrievalError(wanted, repr((act, item))[:80], fix)


def _without(ids: Sequence[str], item: str) -> tuple[str, ...]:
    return tuple(each for each in ids if each != item)


def _room(there: Sized, most: int, what: str) -> None:
    require(len(there) < most, RetrievalError, f"at most {most} {what}", "one more", "release one first")


# ---------------------------------------------------------------------------------------------------------
# A visitor's own images.

MAX_BYTES, MAX_PIXELS = 8_000_000, 24_000_000
OTHER_KIND = "another kind of file, a damaged one, or one with more pixels"
OWN_CAPTION = "your own image"
VGG_MB = 528
VGG_FIX = f"fetch it once ({VGG_MB} MB) beneath the references, or set {Vgg16Features.VARIABLE} to its file"
SIDE, THUMBNAIL = 256, 96
"""Sides in px of the square that v is made of, and of its card."""


def read_upload(content: object) -> bytes:
    """Return the bytes of an uploaded file (base64 text) that may be a picture."""
    if not isinstance(content, str) or len(content) > MAX_BYTES * 4 // 3 + 4:
        raise no_picture("more than 8 MB")
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        raise no_picture(OTHER_KIND) from None


def read_picture(content: object) -> Image.Image:
    """Return an uploaded picture as a square of `SIDE` px, made anew of its pixels."""
    whole = read_upload(content)
    try:
        return centre_square(decode_image(whole, "", SIDE, MAX_PIXELS), SIDE)
    except DataError:
        kind = kind_of("", whole)
        raise no_picture(kind.what if kind else OTHER_KIND) from None


def no_picture(found: str) -> DataError:
    """Return the error of a file that cannot be taken for a picture."""
    wanted = "a picture: PNG, JPEG, WebP or another common format, up to 8 MB and 24 million pixels"
    return DataError(wanted, found, "save it as a JPEG of ordinary size and add that")


def user_image(image: Image.Image, pipe: MemoryDrivenPipeline) -> UserImage:
    """Return an image with its features, named after its pixels."""
    vgg = feature_network()
    wanted, fix = "the feature network that made this memory", "give the weights that it was built with"
    require(pipe.bank.header.get("encoder") == vgg.hash, CheckpointError, wanted, vgg.hash, fix)
    with pipe.turn, torch.inference_mode():
        v = vgg(to_tensor(image)[None])[0].numpy()
    return UserImage(
        id=PRIVATE + hashlib.sha256(image.tobytes()).hexdigest()[:12],
        image=centre_square(image, THUMBNAIL),
        caption=OWN_CAPTION,
        features=encode_v(v),
        shape=v.shape,
    )


def weight_file() -> Path | None:
    """Return the feature network's weights on this machine, or None; nothing is downloaded."""
    if named := os.environ.get(Vgg16Features.VARIABLE):
        return Path(named)
    cached = Path(torch.hub.get_dir(), "checkpoints").glob("vgg16_features-*.pth")
    return min(cached, default=None)


_FETCHED = Shelved[str](most=1)
"""The hash of what was fetched."""


def fetch(steering: Steering) -> Iterator[dict[str, str]]:
    """Yield how far torchvision's download of VGG-16 is, then the tab's own images, by name.

    One download, its hash checked, for all who ask meanwhile; it goes on where nobody waits for it any more.
    """
    for _ in _FETCHED.get("VGG-16", lambda _: Vgg16Features.load().hash).wait():
        parts = Path(torch.hub.get_dir(), "checkpoints").glob("vgg16_features-*")
        done = max((part.stat().st_size for part in parts if part.exists()), default=0) // 10**6
        yield {"status": status(f"Fetching VGG-16: {done} of {VGG_MB} MB.", busy=True)}
    yield {"own": own_panel(steering), "status": status("VGG-16 is here: add your image.")}


_network = lru_cache(maxsize=1)(Vgg16Features.load)


def feature_network() -> Vgg16Features:
    """Return VGG-16 from weights that are already here."""
    path, wanted = weight_file(), "the feature network (VGG-16) that reads own images"
    found = "no weights on this computer, and the page downloads nothing by itself"
    require(path, CheckpointError, wanted, found, VGG_FIX)
    return _network(path)


# ---------------------------------------------------------------------------------------------------------
# Controls: what a visitor can do with a reference, and what was done.

ACTIONS = {
    "pin": ("Pin", "Keep this reference whatever you type"),
    "mask": ("Exclude", "Never use this reference"),
    "only": ("Only this", "Use this reference alone"),
    "like": ("More like this", "References that look like this one, instead of those that fit the words"),
}
"""Label and hint of each button of a card."""


def card_buttons(neighbour: Neighbour, steering: Steering, count: int) -> str:
    """Return a used reference's buttons, and its weight where there is a mix of `count`."""
    own = steering.owns(neighbour.id)
    acts = [act for act in ACTIONS if not ((act == "mask" and own) or (act == "only" and count == 1))]
    buttons = [card_action(act, neighbour, steering) for act in acts]
    if not own:
        why = "Write it as your words: the Oracle then finds this very picture"
        words = {"data_words": neighbour.caption, "title": why}
        buttons.append(button("Use this caption", "md-steer-button", **words))
    if count > 1:
        factor = f"{steering.factors.get(neighbour.id, 1.0):g}"
        ends = {"min": 0, "max": f"{MAX_FACTOR:g}", "step": 0.1, "value": factor}
        act = {"data_act": "weigh", "data_id": neighbour.id, "data_focus": f"weigh {neighbour.id}"}
        label = f"Weight of reference {neighbour.rank}"
        slider = tag("input", type="range", **ends, **act, aria_label=label)
        value = tag("output", f"\u00d7{factor}")
        buttons.append(tag("label", tag("span", "weight") + slider + value, class_="md-weight"))
    return tag("div", *buttons, class_="md-steer")


def card_action(act: str, neighbour: Neighbour, steering: Steering) -> str:
    """Return one of a card's buttons."""
    label, why = ACTIONS[act]
    pressed = {"pin": neighbour.id in steering.pins, "like": steering.like == neighbour.id or None}.get(act)
    if act == "pin" and pressed:
        label = "Pinned"
    return act_button(act, label, neighbour.caption, why, pressed, data_id=neighbour.id)


def own_panel(steering: Steering) -> str:
    """Return the tab's own images and the way to add one."""
    cells = ""
    for number, guest in enumerate(steering.guests, start=1):
        image = tag("img", src=image_uri(guest.image), width=48, height=48, alt=f"Your own image {number}")
        pin = tag(
            "button",
            image,
            type="button",
            class_="md-mine-pin",
            title=f"Pin own image {number}",
            data_act="pin",
            data_id=guest.id,
            aria_pressed=str(guest.id in steering.pins).lower(),
        )
        cells += tag("li", pin + button("Forget", "md-link", data_act="dismiss", data_id=guest.id))
    choose = tag(
        "input",
        type="file",
        accept="image/png,image/jpeg,image/webp",
        class_="md-file",
        aria_describedby="md-mine-hint",
        disabled=len(steering.guests) >= MAX_GUESTS,
    )
    add = tag("label", "Add your own image" + choose, class_="md-action md-mine-add")
    words = "PNG, JPEG or WebP up to 8 MB. Only this tab sees it; it is gone when the tab is closed."
    if weight_file() is None:
        add = button(f"Fetch VGG-16 ({VGG_MB} MB, once)", data_act="fetch", data_event="submit")
        words = "An image of your own is read by VGG-16, whose weights are not on this computer yet."
    hint = tag("span", words, class_="md-hint", id="md-mine-hint")
    images = tag("ul", cells, class_="md-mine-images") if cells else ""
    return tag("div", images + add + hint, class_="md-mine")


def steps_line(steering: Steering) -> str:
    """Return how far the kept noise is from its seed's, with a way back; nothing when it is not."""
    if not steering.variations:
        return ""
    label = seed_words(steering.base, len(steering.variations))
    back = button("Reset to the original seed", "md-link", data_act="steady")
    return tag("p", label + " " + back, class_="md-steps")
