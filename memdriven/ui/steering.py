"""What one visitor did to the memory by hand: pins, masks, weights, own images, near-by noise.

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
from memdriven.encoders.vgg import WEIGHTS_VARIABLE, Vgg16Features
from memdriven.errors import CheckpointError, DataError, RetrievalError
from memdriven.memory.features import encode_v
from memdriven.memory.scores import shares
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.recipe import Recipe
from memdriven.pipeline.request import MAX_REFERENCES, PRIVATE, Reference, UserImage, Variation

PINS_WANTED = "at most {most} pinned references"

MAX_BYTES = 8_000_000
TOO_LARGE, OTHER_KIND = "more than 8 MB", "another kind of file, a damaged one, or one with more pixels"
OWN_CAPTION = "your own image"
VGG_FIX = (
    f"set {WEIGHTS_VARIABLE} to a local weight file, or run once, connected: python -c "
    '"from memdriven.encoders.vgg import Vgg16Features; Vgg16Features.load()"'
)
MAX_PIXELS = 24_000_000
SIDE = 256
"""Side in px of the square that v is made of."""
THUMBNAIL = 96
_TORCHVISION_FILES = "vgg16_features-*.pth"


def read_upload(content: object) -> Image.Image:
    """Return an uploaded image (base64 text) as a square of `SIDE` px, made anew of its pixels.

    Raises:
        DataError: too large, too many pixels, or no PNG, JPEG or WebP.
    """
    if not isinstance(content, str) or len(content) > MAX_BYTES * 4 // 3 + 4:
        raise no_picture(TOO_LARGE)
    try:
        image = decode_image(base64.b64decode(content, validate=True), "", SIDE, MAX_PIXELS)
    except (DataError, binascii.Error, ValueError):
        raise no_picture(OTHER_KIND) from None
    return centre_square(image, SIDE)


def user_image(image: Image.Image, pipe: MemoryDrivenPipeline) -> UserImage:
    """Return an image with its features, named after its pixels.

    Raises:
        CheckpointError: the feature network's weights are not on this machine, or are not those
            that made the memory.
    """
    vgg = feature_network()
    made_with = pipe.bank.header.get("encoder")
    if made_with != vgg.hash:
        raise CheckpointError(
            wanted="the feature network that made this memory",
            found=vgg.hash,
            fix="give the weights that the memory bank was built with",
        )
    with pipe.turn, torch.inference_mode():
        v = vgg(to_tensor(image)[None])[0].numpy()
    name = hashlib.sha256(image.tobytes()).hexdigest()[:12]
    return UserImage(
        id=PRIVATE + name,
        image=centre_square(image, THUMBNAIL),
        caption=OWN_CAPTION,
        features=encode_v(v),
        shape=v.shape,
    )


def weight_file() -> Path | None:
    """Return the feature network's weights on this machine, or None; nothing is downloaded."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    if named:
        return Path(named)
    cached = sorted(Path(torch.hub.get_dir(), "checkpoints").glob(_TORCHVISION_FILES))
    return cached[0] if cached else None


@lru_cache(maxsize=1)
def _network(path: Path) -> Vgg16Features:
    return Vgg16Features.load(path)


def feature_network() -> Vgg16Features:
    """Return VGG-16 from weights that are already here.

    Raises:
        CheckpointError: they are not.
    """
    path = weight_file()
    if path is None:
        raise CheckpointError(
            wanted="the feature network (VGG-16) that reads own images",
            found="no weights on this computer, and the page downloads nothing by itself",
            fix=VGG_FIX,
        )
    return _network(path)


def no_picture(found: str) -> DataError:
    """Return the error of a file that cannot be taken for a picture."""
    wanted = "a picture: PNG, JPEG, WebP or another common format, up to 8 MB and 24 million pixels"
    return DataError(wanted=wanted, found=found, fix="save it as a JPEG of ordinary size and add that")


MAX_PINS = 8
MAX_MASKS = 32
MAX_GUESTS = 4
MAX_FACTOR = 3.0
"""A neighbour's natural share is multiplied by 0 to this."""


@dataclass(frozen=True)
class Steering:
    """Wishes about the memory, each change giving a new object."""

    pins: tuple[str, ...] = ()
    """Ids that stay neighbours whatever is written."""
    masks: tuple[str, ...] = ()
    """Ids that are never used."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """By which a neighbour's natural share is multiplied; 1 where an id is missing."""
    fixed: tuple[float, ...] = ()
    """Shares of the pins, where nothing beside them is used."""
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
        """Whether neighbours are other than what retrieval alone would give."""
        return bool(self.pins or self.masks or self.factors or self.like)

    @property
    def alone(self) -> bool:
        """Whether the pins are all there is, with nothing retrieved beside them."""
        return bool(self.fixed) and len(self.fixed) == len(self.pins)

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
            rest = tuple(each for each in self.pins if each != item)
            return replace(self, pins=rest, fixed=_equal(rest) if self.alone else ())
        if len(self.pins) >= MAX_PINS:
            raise _too_many(PINS_WANTED, MAX_PINS)
        pins = (*self.pins, item)
        return replace(
            self, pins=pins, masks=_without(self.masks, item), fixed=_equal(pins) if self.alone else ()
        )

    def mask(self, item: str) -> Self:
        """Never use an item, or allow it again when it is masked."""
        if item in self.masks:
            return replace(self, masks=_without(self.masks, item))
        if len(self.masks) >= MAX_MASKS:
            raise _too_many("at most {most} excluded references", MAX_MASKS)
        freed = self.pin(item) if item in self.pins else self
        like = None if self.like == item else self.like
        return replace(freed, masks=(*freed.masks, item), like=like)

    def weigh(self, item: str, factor: object) -> Self:
        """Multiply an item's share; what is no number counts as 1, and all is clamped."""
        value = _number(factor)
        others = {name: old for name, old in self.factors.items() if name != item}
        if len(others) >= MAX_REFERENCES:
            raise _too_many(PINS_WANTED, MAX_REFERENCES)
        return replace(self, factors=others if value == 1.0 else {**others, item: value})

    def only(self, item: str) -> Self:
        """Use one item alone."""
        return replace(
            self, pins=(item,), fixed=(1.0,), factors={}, like=None, masks=_without(self.masks, item)
        )

    def more_like(self, item: str) -> Self:
        """Let the images that look like an item take the place of retrieval."""
        return replace(self, like=item, pins=(), fixed=(), factors={})

    def release(self) -> Self:
        """Go back to retrieval alone; own images stay at hand."""
        return type(self)(guests=self.guests)

    def welcome(self, guest: UserImage) -> Self:
        """Add an own image and pin it; the same image twice is one image."""
        others = tuple(each for each in self.guests if each.id != guest.id)
        if len(others) >= MAX_GUESTS:
            raise _too_many("at most {most} own images in one tab", MAX_GUESTS)
        come = replace(self, guests=(*others, guest), like=None)
        return come if guest.id in come.pins else come.pin(guest.id)

    def dismiss(self, item: str) -> Self:
        """Forget an own image."""
        freed = self.pin(item) if item in self.pins else self
        like = None if self.like == item else self.like
        return replace(freed, like=like, guests=tuple(g for g in self.guests if g.id != item))

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

    def mix(self, retrieved: Mapping[str, float]) -> tuple[list[str], list[float]]:
        """Return ids and shares: the pins first, then what retrieval adds.

        Args:
            retrieved: shares of the retrieved ids, best first, which sum to 1.

        Raises:
            RetrievalError: every share is zero.
        """
        ids = [*self.pins, *retrieved]
        if self.alone:
            base = list(self.fixed)
        else:
            rest = len(retrieved) / len(ids) if ids else 0.0
            base = [1 / len(ids)] * len(self.pins) + [rest * share for share in retrieved.values()]
        if not any(name in self.factors for name in ids):
            # Untouched shares keep their last bit, so that a restored mix gives the same pixels.
            return ids, base if self.alone or not self.pins else shares(base, len(base))
        return ids, shares(
            [share * self.factors.get(name, 1.0) for name, share in zip(ids, base, strict=True)], len(ids)
        )


def apply(steering: Steering, act: object, item: object, value: object, known: bool) -> Steering:
    """Return the steering after one click on a card.

    Raises:
        RetrievalError: an action or id that the page does not offer, or one pin too many.
    """
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
            wanted="an action on a card of this memory",
            found=repr((act, item))[:80],
            fix="choose again on a card that is shown",
        )
    return steering.weigh(item, value) if act == "weigh" else acts[act](item)


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return 1.0
    return min(MAX_FACTOR, max(0.0, number)) if math.isfinite(number) else 1.0


def _equal(pins: Sequence[str]) -> tuple[float, ...]:
    return tuple(1 / len(pins) for _ in pins)


def _without(ids: Sequence[str], item: str) -> tuple[str, ...]:
    return tuple(each for each in ids if each != item)


def _too_many(wanted: str, most: int) -> RetrievalError:
    return RetrievalError(wanted=wanted.format(most=most), found="one more", fix="release one first")
