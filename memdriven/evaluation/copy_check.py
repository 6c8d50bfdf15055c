"""Copy check: is a picture nearer to a training image than training images are to each other?

Each output's distance to its nearest training image (and to the neighbour that it drew on) is
given as a percentile of the training images' own nearest-neighbour distances, in a feature space
other than v. A percentile near 0 is a copy; about 50 is as new as another training image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.data.prepared import LOOK, load_images, repetitions
from memdriven.errors import EvaluationError, require
from memdriven.evaluation.context import Context
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import Row
from memdriven.models.generator import Generator
from memdriven.models.noise import apply_view, draw_noise

SUSPECT = 1.0
"""Below this percentile an output counts as a suspected copy."""


class CopyCheck(NamedTuple):
    """Percentiles (0..100) of the outputs, (n,) each."""

    nearest: Tensor
    """Of the distance to the nearest training image."""
    neighbour: Tensor | None
    """Of the distance to the output's own neighbour, where one is given."""


def nearest_distances(queries: Tensor, base: Tensor, *, skip_self: bool = False) -> Tensor:
    """Return each query's (n, d) distance to its nearest row of `base` (m, d); not of row i for query i."""
    distances = []
    for start in range(0, len(queries), 512):
        block = torch.cdist(queries[start : start + 512].double(), base.double())
        if skip_self:
            block[:, start:].fill_diagonal_(torch.inf)
        distances.append(block.amin(dim=1))
    return torch.cat(distances)


def percentile(values: Tensor, reference: Tensor) -> Tensor:
    """Return the share (0..100) of the reference that is smaller than each value."""
    ordered = reference.sort().values
    return 100.0 * torch.searchsorted(ordered, values.contiguous()).double() / len(ordered)


def copy_check(
    outputs: Sequence[Tensor], training: Tensor, neighbours: Tensor | None = None, views: Tensor | None = None
) -> CopyCheck:
    """Compare features (n, d) of outputs with those of the training images (m, d).

    Args:
        outputs: seen in one way or in several (mirrored, too): the nearest counts.
        training: images of the training set.
        neighbours: row of `training` that each output drew on (n,); negative where there is none.
        views: that image as the output's noise saw it, cut and turned (n, d), compared with the first way
            of seeing the outputs; the nearer counts.

    Raises:
        EvaluationError: fewer than three training images, or all of them alike.
    """
    wanted, fix = "three training images or more", "compare with the whole training split"
    require(len(training) > 2, EvaluationError, wanted, str(len(training)), fix)
    own = nearest_distances(training, training, skip_self=True)
    wanted, found = "training images that differ from each other", f"{len(training)}, each there twice"
    require(own.any(), EvaluationError, wanted, found, "compare with a training split without copies")
    nearest = torch.stack([nearest_distances(seen, training) for seen in outputs]).amin(dim=0)
    if neighbours is None or not (drew := neighbours >= 0).any():
        return CopyCheck(percentile(nearest, own), None)
    drawn_from = training[neighbours[drew]].double()
    gaps = [(seen[drew].double() - drawn_from).norm(dim=1) for seen in outputs]
    if views is not None:
        gaps.append((outputs[0][drew].double() - views[drew].double()).norm(dim=1))
        nearest[drew] = torch.minimum(nearest[drew], gaps[-1])
    return CopyCheck(percentile(nearest, own), percentile(torch.stack(gaps).amin(dim=0), own))


def as_seen(generator: Generator, images: Tensor, rows: Tensor, seeds: Sequence[int]) -> Tensor:
    """Return the image that each picture drew on as its noise saw it, uint8 (n, 3, s, s).

    Images are uint8 (m, 3, s, s), rows (n,) say which of them; where one is negative, any image is returned.
    """
    parts = [
        apply_view(draw_noise(seed, generator), images[row : row + 1].float())
        for row, seed in zip(rows.clamp(min=0).tolist(), seeds, strict=True)
    ]
    return torch.cat(parts).round().clamp(0, 255).to(torch.uint8)


def measure_copy_check(context: Context, row: Row) -> list[Measurement]:
    """Distance to the training images, as percentiles of their own; the share of suspected copies."""
    space, generator = context.squeezenet_space, context.checkpoint.generator
    training = context.features(space, context.training_images)
    # Part by part: images may be a file far larger than the memory.
    mirrored = [context.features(space, part.flip(3)) for part in torch.split(row.images, 1024)]
    outputs = [context.features(space, row.images), torch.cat(mirrored)]
    drew_on, views, ways = None, None, "as made or mirrored"
    if row.drew_on is not None:
        place = {item.id: i for i, item in enumerate(context.dataset.split("train"))}
        drew_on = torch.tensor([place.get(each or "", -1) for each in row.drew_on])
        if row.seeds is not None and generator.config.zoom:
            views = context.features(space, as_seen(generator, context.training_images, drew_on, row.seeds))
            ways = "as made, mirrored, or beside its memory as the noise saw it"
    found = copy_check(outputs, training, drew_on, views)
    numbers = {
        "copy_nearest_percentile": found.nearest.median(),
        "copy_suspected": (found.nearest < SUSPECT).float().mean(),
    }
    if found.neighbour is not None:
        numbers["copy_neighbour_percentile"] = found.neighbour.median()
    protocol = f"{space.name}, {ways}; percentile of {len(training)} training images' nearest distances"
    return [Measurement(metric, float(value), len(row.images), protocol) for metric, value in numbers.items()]


def near_duplicates(context: Context) -> list[str]:
    """Say how many images of the split all but repeat training images, mirrored or not.

    What a model, an encoder or a judge has seen in training is then part of its test.
    """
    items = [item for item in context.dataset.items if item.split in ("train", context.split)]
    images = load_images(context.dataset, items, 4 * LOOK, context.progress)
    looks = [F.adaptive_avg_pool2d(part.float(), LOOK) for part in torch.split(images, 1024)]
    return list(repetitions(items, torch.cat(looks)))
