"""What one visitor did to the memory by hand, and its controls: pins, masks, weights, own images, noise.

Everything here belongs to one browser tab and lies in its `gr.State`. What arrives from the page
is a wish of unknown origin: ids must be known, numbers are clamped, lists have a longest length.
An own image arrives as text inside an event, never as a file of the server. What is kept of it is a
square of the size that the feature network sees, with neither EXIF nor name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Self

import torch
from PIL import Image

from memdriven.data.images import centre_square, decode_image, to_tensor
from memdriven.encoders.imagenet import WEIGHTS_VARIABLE, Vgg16Features
from memdriven.errors import CheckpointError, DataError, RetrievalError
from memdriven.memory.features import encode_v
from memdriven.memory.retrieval import Neighbour
from memdriven.memory.scores import shares
from memdriven.pipeline.output import Retrieval
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.recipe import Recipe
from memdriven.pipeline.request import MAX_REFERENCES, PRIVATE, Reference, UserImage, Variation, sums_to_one
from memdriven.ui.html import button, image_uri, tag, text

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
    shown: tuple[str, str, tuple[Reference, ...]] | None = None
    """Words, strategy and references of a picture on screen: for these words, what is done by hand begins
    from these."""
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

    def hold(self, recipe: Recipe) -> Self:
        """Begin from a picture's references, as long as words, strategy and their number stay."""
        references = tuple(map(Reference, recipe.neighbours, recipe.weights))
        return replace(self, shown=(recipe.caption, recipe.strategy, references) if references else None)

    def held(self, caption: str, strategy: str, k: int) -> tuple[Reference, ...]:
        """Return the references to begin from; none for other words, or where one is masked."""
        if self.shown is None or self.like or self.shown[:2] != (caption, strategy):
            return ()
        references = self.shown[2]
        masked = any(each.id in self.masks for each in references)
        return () if masked or len(references) != k else references

    def pin(self, item: str) -> Self:
        """Pin an item, or release it when it is pinned."""
        if item in self.pins:
            rest = _without(self.pins, item)
            return replace(self, pins=rest, alone=self.alone and bool(rest))
        if len(self.pins) >= MAX_PINS:
            raise _too_many("pinned references", MAX_PINS)
        return replace(self, pins=(*self.pins, item), masks=_without(self.masks, item))

    def mask(self, item: str) -> Self:
        """Never use an item, or allow it again when it is masked."""
        if item in self.masks:
            return replace(self, masks=_without(self.masks, item))
        if len(self.masks) >= MAX_MASKS:
            raise _too_many("excluded references", MAX_MASKS)
        freed = self._free(item)
        return replace(freed, masks=(*freed.masks, item))

    def weigh(self, item: str, factor: object) -> Self:
        """Multiply an item's share; what is no number counts as 1, and all is clamped."""
        try:
            value = float(factor)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            value = 1.0
        value = min(MAX_FACTOR, max(0.0, value)) if abs(value) < float("inf") else 1.0
        others = {name: old for name, old in self.factors.items() if name != item}
        if len(others) >= MAX_REFERENCES:
            raise _too_many("weighed references", MAX_REFERENCES)
        return replace(self, factors=others if value == 1.0 else {**others, item: value})

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
        if len(others) >= MAX_GUESTS:
            raise _too_many("own images in one tab", MAX_GUESTS)
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

    def take(self, recipe: Recipe) -> Self:
        """Return the wishes that give a recipe's references again for its words, and pin nothing."""
        return self.release().hold(recipe)

    def mix(self, retrieved: Sequence[Reference]) -> tuple[Reference, ...]:
        """Return the references of a picture: the pins first, then what retrieval adds, best first."""
        ids = [*self.pins, *(each.id for each in retrieved)]
        whole = math.fsum(each.weight for each in retrieved) or 1.0
        if not self.pins and sums_to_one([whole]) and not any(name in self.factors for name in ids):
            # Untouched shares keep their last bit, so that a restored mix gives the same pixels.
            return tuple(retrieved)
        rest = len(retrieved) / len(ids) if ids else 0.0
        base = [1 / len(ids)] * len(self.pins) + [rest * each.weight / whole for each in retrieved]
        parts = [share * self.factors.get(name, 1.0) for name, share in zip(ids, base, strict=True)]
        return tuple(map(Reference, ids, shares(parts, len(ids))))


def apply(steering: Steering, act: object, item: object, value: object, known: bool) -> Steering:
    """Return the steering after one click on a card."""
    if act == "release":
        return steering.release()
    if act == "steady":
        return steering.step(0, ())
    if act == "unlike":
        return replace(steering, like=None)
    acts = {
        "pin": steering.pin,
        "mask": steering.mask,
        "only": steering.only,
        "like": steering.more_like,
        "dismiss": steering.dismiss,
    }
    if not (known and isinstance(act, str) and isinstance(item, str) and act in (*acts, "weigh")):
        raise RetrievalError(
            "an action on a card of this memory",
            repr((act, item))[:80],
            "choose again on a card that is shown",
        )
    return steering.weigh(item, value) if act == "weigh" else acts[act](item)


def _without(ids: Sequence[str], item: str) -> tuple[str, ...]:
    return tuple(each for each in ids if each != item)


def _too_many(what: str, most: int) -> RetrievalError:
    return RetrievalError(f"at most {most} {what}", "one more", "release one first")


# ---------------------------------------------------------------------------------------------------------
# A visitor's own images.

MAX_BYTES, MAX_PIXELS = 8_000_000, 24_000_000
TOO_LARGE, OTHER_KIND = "more than 8 MB", "another kind of file, a damaged one, or one with more pixels"
OWN_CAPTION = "your own image"
VGG_FIX = (
    f"set {WEIGHTS_VARIABLE} to a local weight file, or run once, connected: python -c "
    '"from memdriven.encoders.imagenet import Vgg16Features; Vgg16Features.load()"'
)
SIDE = 256
"""Side in px of the square that v is made of."""
THUMBNAIL = 96


def read_upload(content: object) -> Image.Image:
    """Return an uploaded image (base64 text) as a square of `SIDE` px, made anew of its pixels."""
    if not isinstance(content, str) or len(content) > MAX_BYTES * 4 // 3 + 4:
        raise no_picture(TOO_LARGE)
    try:
        image = decode_image(base64.b64decode(content, validate=True), "", SIDE, MAX_PIXELS)
    except (DataError, binascii.Error, ValueError):
        raise no_picture(OTHER_KIND) from None
    return centre_square(image, SIDE)


def user_image(image: Image.Image, pipe: MemoryDrivenPipeline) -> UserImage:
    """Return an image with its features, named after its pixels."""
    vgg = feature_network()
    if pipe.bank.header.get("encoder") != vgg.hash:
        raise CheckpointError(
            "the feature network that made this memory",
            vgg.hash,
            "give the weights that the memory bank was built with",
        )
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
    if named := os.environ.get(WEIGHTS_VARIABLE):
        return Path(named)
    cached = Path(torch.hub.get_dir(), "checkpoints").glob("vgg16_features-*.pth")
    return min(cached, default=None)


_network = lru_cache(maxsize=1)(Vgg16Features.load)


def feature_network() -> Vgg16Features:
    """Return VGG-16 from weights that are already here."""
    path = weight_file()
    if path is None:
        raise CheckpointError(
            "the feature network (VGG-16) that reads own images",
            "no weights on this computer, and the page downloads nothing by itself",
            VGG_FIX,
        )
    return _network(path)


def no_picture(found: str) -> DataError:
    """Return the error of a file that cannot be taken for a picture."""
    wanted = "a picture: PNG, JPEG, WebP or another common format, up to 8 MB and 24 million pixels"
    return DataError(wanted, found, "save it as a JPEG of ordinary size and add that")


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
    own = any(guest.id == neighbour.id for guest in steering.guests)
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
        value = tag("output", text(f"\u00d7{factor}"))
        buttons.append(tag("label", tag("span", text("weight")) + slider + value, class_="md-weight"))
    return tag("div", *buttons, class_="md-steer")


def card_action(act: str, neighbour: Neighbour, steering: Steering) -> str:
    """Return one of a card's buttons."""
    label, hint = ACTIONS[act]
    pressed = None
    if act == "pin":
        pressed = str(neighbour.id in steering.pins).lower()
        label = "Pinned" if pressed == "true" else label
    elif act == "like" and steering.like == neighbour.id:
        pressed = "true"
    return button(
        label,
        "md-steer-button",
        data_act=act,
        data_id=neighbour.id,
        data_focus=f"{act} {neighbour.id}",
        title=hint,
        aria_pressed=pressed,
        aria_label=f"{label}: {neighbour.caption}",
    )


def steered_line(steering: Steering, retrieval: Retrieval) -> str:
    """Return what was done by hand, each with a way back; nothing when nothing was."""
    held = steering.held(retrieval.caption, retrieval.strategy, len(retrieval))
    if not (steering.active or held):
        return ""
    line = tag("strong", text("Steered by hand" if steering.active else "Kept for these words"))
    undone = [("mask", name, f"Excluded: {name}", f"Allow {name} again") for name in steering.masks]
    if steering.like is not None:
        undone.insert(0, ("unlike", "", "Look-alikes of one reference", "back to the words"))
    for act, item, label, hint in undone:
        words = text(label) + tag("span", "\u00d7", aria_hidden="true")
        does = {"data_act": act, "data_id": item, "title": hint, "aria_label": f"{label}: {hint}"}
        line += tag("button", words, type="button", class_="md-undo", **does)
    return tag("div", line + button("Back to retrieval", "md-link", data_act="release"), class_="md-steered")


def own_panel(steering: Steering) -> str:
    """Return the tab's own images and the way to add one."""
    cells = ""
    for number, guest in enumerate(steering.guests, start=1):
        image = tag("img", src=image_uri(guest.image), width=48, height=48, alt=f"Your own image {number}")
        pressed = str(guest.id in steering.pins).lower()
        act = {"data_act": "pin", "data_id": guest.id, "aria_pressed": pressed}
        kind = {"type": "button", "class_": "md-mine-pin", "title": f"Pin own image {number}"}
        forget = button("Forget", "md-link", data_act="dismiss", data_id=guest.id)
        cells += tag("li", tag("button", image, **kind, **act) + forget)
    choose = tag(
        "input",
        type="file",
        accept="image/png,image/jpeg,image/webp",
        class_="md-file",
        aria_describedby="md-mine-hint",
        disabled=len(steering.guests) >= MAX_GUESTS,
    )
    add = tag("label", text("Add your own image") + choose, class_="md-action md-mine-add")
    told = {"class_": "md-hint", "id": "md-mine-hint"}
    if weight_file() is not None:
        words = "PNG, JPEG or WebP up to 8 MB. Only this tab sees it; it is gone when the tab is closed."
        hint = tag("span", text(words), **told)
    else:
        words = "Needs VGG-16, whose weights are not on this computer yet."
        hint = tag("details", tag("summary", text(words)), tag("span", text(VGG_FIX)), **told)
    images = tag("ul", cells, class_="md-mine-images") if cells else ""
    return tag("div", images + add + hint, class_="md-mine")
