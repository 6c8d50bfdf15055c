"""The pipeline's output: references, what a picture is prepared from, pictures, timings and recipes."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from memdriven.data.vocabulary import UnknownWord
from memdriven.encoders.text import TextFeatures
from memdriven.errors import DataError, require
from memdriven.files import atomic_write_bytes
from memdriven.memory.retrieval import Neighbour
from memdriven.models.noise import View
from memdriven.pipeline.claims import Claim, Named
from memdriven.pipeline.guidance import TextCondition
from memdriven.pipeline.request import Recipe, Reference, Request


@dataclass(frozen=True, kw_only=True)
class Retrieval(Sequence[Neighbour]):
    """The neighbours of a caption, best first, and how the caption was read."""

    caption: str
    strategy: str
    k: int
    neighbours: tuple[Neighbour, ...]
    words: tuple[str, ...] = ()
    """The words that reached the text encoder, after replacements."""
    unknown_words: tuple[UnknownWord, ...] = ()
    truncated: int = 0
    """Words beyond the model's limit, cut from the end."""
    named: Named = field(default_factory=Named)
    """What the caption's own words name."""
    tried: int = 0
    """References that were painted with to choose these; 0 where retrieval alone decided."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The neighbours' ids, best first."""
        return tuple(each.id for each in self.neighbours)

    @property
    def weights(self) -> tuple[float, ...]:
        """The neighbours' shares of v."""
        return tuple(each.weight for each in self.neighbours)

    @property
    def shares(self) -> tuple[Reference, ...]:
        """Both, as a request takes them."""
        return tuple(map(Reference, self.ids, self.weights))

    def __getitem__(self, place: Any) -> Any:
        """Return the neighbour at a place, 0 being the best, or those of a slice."""
        return self.neighbours[place]

    def __len__(self) -> int:
        return len(self.neighbours)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One reference that was painted with, to choose among several."""

    neighbour: Neighbour
    score: float
    """How well its picture fits the words: more is better."""
    picture: Image.Image
    """The picture that it gives, of the smallest stage that the encoders can read."""
    kept: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """What a request's pictures are painted from, whatever their seed."""

    request: Request
    """As it was asked, its seeds drawn."""
    retrieval: Retrieval
    """The references in use."""
    asked: TextFeatures
    """The caption's embeddings, not guided."""
    text: TextCondition
    """The caption as G reads it beside these references."""
    v: Tensor
    """The references' mixed features times `request.memory`, (1, 512, 16, 16), on the model's device."""
    guidance: float
    """The strength that was used."""
    tried: tuple[Tried, ...] = ()
    """The references that were painted with, best first by retrieval; none where it decided alone."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of `encode`, `retrieve`, `choose` (where references were tried), `features`."""


@dataclass(frozen=True, kw_only=True)
class PipelineOutput:
    """Pictures with everything they came from; a stream yields ever fuller ones."""

    prepared: Prepared
    all_stages: tuple[tuple[Image.Image, ...], ...]
    """An image each: its stages so far, smallest first."""
    recipes: tuple[Recipe, ...]
    """An image each, also for those still to come."""
    timings: Mapping[str, float]
    """Milliseconds: `encode`, `retrieve`, `features`, each `stage <side>` (of the image that was
    last worked on) and `total`."""
    views: tuple[View, ...] = ()
    """An image each: how its noise let it see the memory; the whole where no memory took part."""
    claims: tuple[tuple[Claim, ...], ...] = ()
    """An image each, once it is whole: what the caption names, and whether it shows there."""
    complete: bool = True
    """False while a stream still has stages to yield."""

    @property
    def retrieval(self) -> Retrieval:
        """The references in use, and how the caption was read."""
        return self.prepared.retrieval

    @property
    def images(self) -> list[Image.Image]:
        """The largest stage reached of each image."""
        return [stages[-1] for stages in self.all_stages if stages]

    @property
    def stages(self) -> list[Image.Image]:
        """The first image's stages, smallest first."""
        return list(self.all_stages[0]) if self.all_stages else []

    @property
    def neighbours(self) -> list[Neighbour]:
        """What the pictures drew on, best first."""
        return list(self.retrieval)

    @property
    def unknown_words(self) -> tuple[UnknownWord, ...]:
        """Words of the caption that the model does not know, with what stood in for them."""
        return self.retrieval.unknown_words

    @property
    def recipe(self) -> Recipe:
        """The first image's recipe."""
        return self.recipes[0]

    def png(self, index: int = 0) -> bytes:
        """Return an image as PNG bytes that carry its recipe."""
        return self.recipes[index].to_png(self.all_stages[index][-1])

    def save(self, path: Path | str, index: int = 0) -> None:
        """Write an image as a PNG that carries its recipe, whole or not at all."""
        wanted, fix = "a file name that ends with .png", "name it so, and convert it afterwards"
        require(Path(path).suffix.lower() == ".png", DataError, wanted, path, fix)
        atomic_write_bytes(path, self.png(index))


class Clock:
    """Milliseconds of one step after another, going on from those of earlier ones."""

    def __init__(self, timings: Mapping[str, float] | None = None) -> None:
        self._laps, self._last = dict(timings or {}), time.perf_counter()
        self._laps.pop("total", None)

    def lap(self, name: str) -> None:
        """End a step; a step of the same name before it is replaced."""
        now = time.perf_counter()
        self._laps[name], self._last = (now - self._last) * 1000, now

    @property
    def timings(self) -> dict[str, float]:
        """The steps so far, and their sum as `total`."""
        return {**self._laps, "total": math.fsum(self._laps.values())}


def to_picture(image: Tensor) -> Image.Image:
    """Return a (1, 3, h, w) image in [-1, 1] as an 8-bit RGB picture."""
    pixels = (image[0].float() + 1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())  # (h, w, 3)
