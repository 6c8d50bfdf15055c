"""Copy check: is a picture nearer to a training image than training images are to each other?

Each output's distance to its nearest training image (and to the neighbour that it drew on) is
given as a percentile of the training images' own nearest-neighbour distances, in a feature space
other than v. A percentile near 0 is a copy; about 50 is as new as another training image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memdriven.errors import EvaluationError

SUSPECT = 1.0
"""Below this percentile an output counts as a suspected copy."""


@dataclass(frozen=True, kw_only=True)
class CopyCheck:
    """Percentiles (0..100) of the outputs, (n,) each."""

    nearest: Tensor
    """Of the distance to the nearest training image."""
    nearest_index: Tensor
    """Which training image that is."""
    neighbour: Tensor | None
    """Of the distance to the output's own neighbour, where one is given."""

    def summary(self) -> dict[str, float]:
        """Medians, and the share of suspected copies."""
        found = {
            "copy_nearest_percentile": float(self.nearest.median()),
            "copy_suspected": float((self.nearest < SUSPECT).float().mean()),
        }
        if self.neighbour is not None:
            found["copy_neighbour_percentile"] = float(self.neighbour.median())
        return found


def nearest_distances(queries: Tensor, base: Tensor, *, skip_self: bool = False) -> tuple[Tensor, Tensor]:
    """Return each query's (n, d) distance to its nearest row of `base` (m, d), and which it is.

    skip_self leaves row i out for query i.
    """
    distances, indices = [], []
    for start in range(0, len(queries), 512):
        block = torch.cdist(queries[start : start + 512].double(), base.double())
        if skip_self:
            rows = torch.arange(len(block))
            block[rows, start + rows] = float("inf")
        best = block.min(dim=1)
        distances.append(best.values)
        indices.append(best.indices)
    return torch.cat(distances), torch.cat(indices)


def percentile(values: Tensor, reference: Tensor) -> Tensor:
    """Return the share (0..100) of the reference that is smaller than each value."""
    ordered = reference.sort().values
    return 100.0 * torch.searchsorted(ordered, values.contiguous()).double() / len(ordered)


def copy_check(
    outputs: Sequence[Tensor], training: Tensor, neighbours: Tensor | None = None, views: Tensor | None = None
) -> CopyCheck:
    """Compare outputs with the training set.

    Args:
        outputs: features of the outputs (n, d), seen in one way or in several (mirrored, too):
            the nearest counts.
        training: features of the training images (m, d).
        neighbours: row of `training` that each output drew on (n,); negative where there is none.
        views: features of that image as the output's noise saw it, cut and turned (n, d), compared
            with the first way of seeing the outputs; the nearer counts.

    Raises:
        EvaluationError: fewer than three training images.
    """
    if len(training) < 3:
        raise EvaluationError(
            wanted="three training images or more",
            found=str(len(training)),
            fix="compare with the whole training split",
        )
    own, _ = nearest_distances(training, training, skip_self=True)
    ways = [nearest_distances(seen, training) for seen in outputs]
    distance, way = torch.stack([found for found, _ in ways]).min(dim=0)
    index = torch.stack([at for _, at in ways]).gather(0, way[None])[0]
    to_neighbour = None
    if neighbours is not None and bool((neighbours >= 0).any()):
        drew = neighbours >= 0
        apart = torch.full_like(distance, torch.inf)
        if views is not None:
            apart[drew] = (outputs[0][drew].double() - views[drew].double()).norm(dim=1)
            index = torch.where(apart < distance, neighbours, index)
            distance = torch.minimum(distance, apart)
        own_neighbour = training[neighbours[drew]].double()
        gaps = torch.stack([(seen[drew].double() - own_neighbour).norm(dim=1) for seen in outputs])
        to_neighbour = percentile(torch.minimum(gaps.amin(dim=0), apart[drew]), own)
    return CopyCheck(nearest=percentile(distance, own), nearest_index=index, neighbour=to_neighbour)
