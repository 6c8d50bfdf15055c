"""What one visitor did to the memory by hand, and its controls: pins, masks, weights, own images, noise.

Everything here belongs to one browser tab and lies in its `gr.State`. What arrives from the page
is a wish of unknown origin: ids must be known, numbers are clamped, lists have a longest length.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

from memdriven.encoders.imagenet import Vgg16Features
from memdriven.errors import CheckpointError, RetrievalError, require
from memdriven.numbers import is_number
from memdriven.pipeline import own_image
from memdriven.pipeline.request import MAX_REFERENCES, Recipe, Reference, UserImage, Variation
from memdriven.ui import state
from memdriven.ui.html import part, render, seed_words, status
from memdriven.ui.state import TaskCache

MAX_PINS = 8
MAX_MASKS = 32
MAX_IMAGES = 4
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
    images: tuple[UserImage, ...] = ()
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
        return any(mine.id == item for mine in self.images)

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
        return type(self)(images=self.images)

    def add_image(self, image: UserImage) -> Self:
        """Add an own image and pin it; the same image twice is one image."""
        others = tuple(each for each in self.images if each.id != image.id)
        _room(others, MAX_IMAGES, "own images in one tab")
        come = replace(self, images=(*others, image), like=None)
        return come if image.id in come.pins else come.pin(image.id)

    def remove_image(self, item: str) -> Self:
        """Forget an own image."""
        return replace(self._free(item), images=tuple(g for g in self.images if g.id != item))

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
            "dismiss": self.remove_image,
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


def own_panel(steering: Steering) -> str:
    """Return the tab's own images and the way to add one."""
    full, exact = len(steering.images) >= MAX_IMAGES, Vgg16Features.at_hand() is not None
    needs = {"megabytes": own_image.VGG_MB, "variable": Vgg16Features.VARIABLE, "alone": state.alone}
    return render("own", steering=steering, full=full, exact=exact, **needs)


_FETCHED = TaskCache[str](most=1)
"""The hash of what was fetched."""


def fetch(steering: Steering) -> Iterator[dict[str, str]]:
    """Yield how far torchvision's download of VGG-16 is, then the tab's own images, by name.

    One download, its hash checked, for all who ask meanwhile; it goes on where nobody waits for it any more.
    """
    wanted, fix = "a page that this computer alone reaches", "ask whoever runs the page to fetch VGG-16"
    require(state.alone, CheckpointError, wanted, "one that is open to others", fix)
    for _ in _FETCHED.get("VGG-16", lambda _: Vgg16Features.load().hash).wait():
        line = f"Fetching VGG-16: {own_image.fetched()} of {own_image.VGG_MB} MB."
        yield {"status": status(line, busy=True)}
    line = "VGG-16’s exact weights are here: they read the next image."
    yield {"own": own_panel(steering), "status": status(line)}


def steps_line(steering: Steering) -> str:
    """Return how far the kept noise is from its seed's, with a way back; nothing when it is not."""
    steps = len(steering.variations)
    return part("steps", seed_words(steering.base, steps)) if steps else ""
