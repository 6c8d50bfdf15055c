"""Copy check of one picture: how near are the memory's own pictures, seen another way than by v?

Two pictures are compared by a pyramid of their pixels: colours at 4, 8 and 16 px a side, and how
strongly the light changes in each of eight directions at 8 x 8 places. Each of the four blocks is
centred and scaled over the memory so that all count alike. No network takes part, and v least of
all, so that a model cannot have been trained to please it. A mirrored copy counts as a copy, and
so does one of the part of a picture that the noise let the model see.

A distance says little by itself. It is given as a percentile of the distances at which the
memory's pictures have their own nearest neighbour: near 0 is a copy, about 50 as new as
another picture of the memory.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from memdriven.data.images import to_tensor
from memdriven.errors import EvaluationError, require
from memdriven.evaluation.distances import SUSPECT
from memdriven.explore.compare import difference
from memdriven.explore.inside import viewed
from memdriven.explore.memory_map import Progress, small_pictures
from memdriven.memory.bank import MemoryBank
from memdriven.memory.scores import percentiles
from memdriven.models.noise import WHOLE, View, Window, apply_view
from memdriven.pipeline.output import PipelineOutput

SIDE = 32
"""Pictures are brought to this side first, whatever they come from."""
COLOUR_SIDES = (4, 8, 16)
DIRECTIONS, PLACES = 8, 8
BLOCKS = [*(3 * side**2 for side in COLOUR_SIDES), DIRECTIONS * PLACES**2]
"""Numbers of each part of the pyramid."""
ALIKE_LAYOUT = 5.0
"""Percentile of the memory's pairs below which two pictures count as alike in pose and place."""
ALIKE_COLOURS = 0.05
"""Mean difference of colours, in 0..1, below which they count as alike."""
PAIRS = 2_000
"""Pairs of the memory's pictures that likeness is compared with."""
PART = 32
"""Pictures of the memory that are described at a time: what edges take on the way is many times a picture."""
REFERENCE = 1_000
"""Pictures of the memory whose own nearest distance is measured, evenly spread."""

Level = Literal["copy", "follows", "new"]
LEVELS: dict[Level, tuple[str, str]] = {
    "copy": ("A copy, or nearly", "Looks like a copy."),
    "follows": ("Follows its reference", "Follows its reference, and is no copy of it."),
    "new": ("Its own", "Goes its own way."),
}
"""Each level's name, and what is said of a picture on it."""


@dataclass(frozen=True, order=True)
class Near:
    """How near a picture is to another one."""

    distance: float
    percentile: float
    """Share (0..100) of the memory's pictures whose own nearest picture is nearer than this."""
    index: int = -1
    """The other's row in the bank; -1 for one outside it."""


class Check(NamedTuple):
    """What is found of one picture; the last three compare it with its first reference, if it has one."""

    nearest: list[Near]
    """The pictures of the memory that are nearest, nearest first."""
    own: list[Near]
    """Its references that are outside the memory."""
    layout: float = 100.0
    """By where edges are and how they run, whichever side is the darker one, pose and place: the share
    (0..100) of the memory's pairs that are nearer to each other than these two."""
    subject: float = 1.0
    """Mean difference of the colours where v is strong, at the subject, in 0..1."""
    surroundings: float = 1.0
    """The same where v is weak."""

    @property
    def best(self) -> Near:
        """The nearest of all."""
        return min([*self.nearest, *self.own])

    @property
    def same_layout(self) -> bool:
        """Whether nearly all pairs of the memory are less alike in pose and place."""
        return self.layout < ALIKE_LAYOUT

    @property
    def same_subject(self) -> bool:
        """Whether the subject's colours are alike."""
        return self.subject < ALIKE_COLOURS

    @property
    def same_surroundings(self) -> bool:
        """Whether the colours around it are alike."""
        return self.surroundings < ALIKE_COLOURS

    @property
    def level(self) -> Level:
        """How far the picture is a copy."""
        alike = self.same_layout and self.same_subject and self.same_surroundings
        if alike or self.best.percentile < SUSPECT:
            return "copy"
        return "follows" if self.same_layout or self.same_surroundings else "new"

    @property
    def name(self) -> str:
        """The level's name."""
        return LEVELS[self.level][0]


class CopySpace:
    """A bank's pictures in the space of the copy check."""

    def __init__(self, bank: MemoryBank, progress: Progress | None = None) -> None:
        """Describe all pictures, and measure how near they are to each other."""
        wanted = "three pictures in the memory or more"
        require(bank.n >= 3, EvaluationError, wanted, bank.n, "use a larger memory")
        self._small, self._ids = small_pictures(bank, range(bank.n), SIDE, progress), bank.ids
        self._last_seen = lru_cache(maxsize=1)(self._seen)
        raw = self._pyramids(View())
        self._centre = raw.mean(dim=0)
        blocks = torch.split(raw - self._centre, BLOCKS, dim=1)
        scales = [block.norm(dim=1).mean().clamp_min(1e-6) for block in blocks]
        self._scale = torch.stack(scales).repeat_interleave(torch.tensor(BLOCKS))
        self.pictures = self._centred(raw)  # (n, d)

        rows = torch.linspace(0, bank.n - 1, min(bank.n, REFERENCE)).round().long()
        gaps = [torch.cdist(part, self.pictures) for part in torch.split(self.pictures[rows], 100)]
        self.own = torch.cat([gap.topk(2, largest=False).values[:, 1] for gap in gaps]).double()
        """Distance of sampled pictures to their nearest other one, (m,); the nearest is itself."""
        pairs = torch.randint(bank.n, (2, PAIRS), generator=torch.Generator().manual_seed(0))
        first, second = _layout(raw)[pairs[:, pairs[0] != pairs[1]]]
        self.pairs = (first - second).norm(dim=1).double()
        """Distances of pairs by layout alone, (p,)."""

    def check(self, output: PipelineOutput, count: int = 1) -> Check:
        """Return what is found of an output's first picture, with `count` pictures of the memory."""
        picture, window, used = output.images[0], output.views[0].window, output.retrieval
        own = [self.standing(picture, each.image, window) for each in used if each.id not in self._ids]
        near = self.nearest(picture, count, window)
        return Check(near, own, *self._likeness(output)) if len(used) else Check(near, own)

    def nearest(self, picture: Image.Image, count: int = 4, window: Window = WHOLE) -> list[Near]:
        """Return the pictures of the memory that are nearest, nearest first.

        Args:
            picture: of any size; it and its mirror image are compared.
            count: how many.
            window: the part of its memory that it could see: that part of each counts, too.
        """
        found = self._distances(picture, self.pictures, self._last_seen(window))
        return [self._near(found[row], row) for row in found.argsort()[:count].tolist()]

    def standing(self, picture: Image.Image, other: Image.Image, window: Window = WHOLE) -> Near:
        """Return how near a picture is to one outside the memory, as `nearest` measures it."""
        whole = _image(other)
        found = self._distances(picture, self._point(whole), self._point(apply_view(whole, View(*window))))
        return self._near(found[0])

    def _likeness(self, output: PipelineOutput) -> tuple[float, float, float]:
        """Return layout, subject and surroundings beside the first reference, as the noise saw it."""
        picture, view = output.images[0], output.views[0]
        reference = viewed(output.retrieval[0].image, view)
        first, second = _layout(_pyramid(torch.cat([_image(picture), _image(reference)])))
        layout = percentiles((first - second).norm()[None].double(), self.pairs)
        strong = apply_view(output.prepared.v.float().cpu(), view)[0].norm(dim=0)  # (16, 16)
        gap = difference(picture, reference.resize(picture.size))
        gap = F.adaptive_avg_pool2d(gap[None], strong.shape[0])[0]
        subject, surroundings = gap[strong > strong.quantile(0.75)], gap[strong < strong.median()]
        return float(layout), float(subject.mean()), float(surroundings.mean())

    def _near(self, distance: Tensor, row: int = -1) -> Near:
        return Near(float(distance), float(percentiles(distance[None].double(), self.own)), row)

    def _distances(self, picture: Image.Image, *others: Tensor) -> Tensor:
        """Return how far the nearer of others' points, each (n, d), are from a picture, (n,)."""
        image = _image(picture)
        both = self._point(torch.cat([image, image.flip(-1)]))
        return torch.stack([torch.cdist(both, points).amin(dim=0) for points in others]).amin(dim=0)

    def _seen(self, window: Window) -> Tensor:
        """Return the points of what a window shows of the memory's pictures."""
        return self.pictures if window == WHOLE else self._centred(self._pyramids(View(*window)))

    def _pyramids(self, view: View) -> Tensor:
        """Return those of the memory's pictures as a view shows them, (n, d)."""
        parts = torch.split(torch.from_numpy(self._small).permute(0, 3, 1, 2), PART)
        return torch.cat([_pyramid(apply_view(part.float() / 255, view)) for part in parts])

    def _centred(self, pyramids: Tensor) -> Tensor:
        return (pyramids - self._centre) / self._scale

    def _point(self, images: Tensor) -> Tensor:
        return self._centred(_pyramid(images))


def _image(picture: Image.Image) -> Tensor:
    return to_tensor(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))[None]


def _pyramid(images: Tensor) -> Tensor:
    """Return the `BLOCKS` of images (n, 3, side, side) side by side, (n, d)."""
    blocks = [F.adaptive_avg_pool2d(images, side).flatten(1) for side in COLOUR_SIDES]
    light = images.mean(dim=1)  # (n, side, side)
    down, right = light[:, 1:, :-1] - light[:, :-1, :-1], light[:, :-1, 1:] - light[:, :-1, :-1]
    strength = torch.hypot(down, right)
    turn = (torch.atan2(down, right) / (2 * torch.pi) * DIRECTIONS).round().long() % DIRECTIONS
    towards = (turn[:, None] == torch.arange(DIRECTIONS)[:, None, None]) * strength[:, None]  # (n, 8, ...)
    return torch.cat([*blocks, F.adaptive_avg_pool2d(towards, PLACES).flatten(1)], dim=1)


def _layout(pyramids: Tensor) -> Tensor:
    """Return where edges are and how they run, by the pyramid's last block, (n, d), of length 1.

    Opposite directions are one, and contrast does not count: the same bird before a dark ground stands as
    it did before a bright one.
    """
    towards = pyramids[:, -BLOCKS[-1] :].reshape(len(pyramids), 2, -1)  # the directions and their opposites
    return F.normalize(towards.sum(dim=1), dim=1)
