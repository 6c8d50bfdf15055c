"""Diversity: how far apart pictures of one caption and one memory lie when only z changes.

The mean pairwise perceptual distance (Fig. 5 of the paper shows it in pictures), over the pairs
within each caption, then over captions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from memdriven.errors import EvaluationError
from memdriven.evaluation.squeezenet import perceptual_distances

Maps = Callable[[Tensor], list[Tensor]]


@torch.no_grad()
def mean_pairwise_distance(images: Tensor, maps: Maps) -> float:
    """Return the mean distance over all pairs of a group.

    Args:
        images: float (q, 3, h, w) in [0, 1]: q draws of z for one caption and one v.
        maps: a network's maps by depth, each (q, c, h', w').

    Raises:
        EvaluationError: fewer than two images.
    """
    if len(images) < 2:
        raise EvaluationError(
            wanted="two images or more of a caption", found=str(len(images)), fix="draw z more often"
        )
    depths = maps(images)
    first, second = torch.combinations(torch.arange(len(images)), 2).T
    distances = perceptual_distances([m[first] for m in depths], [m[second] for m in depths])
    return float(distances.mean())


def diversity(groups: Tensor, maps: Maps) -> float:
    """Return the mean over groups of `mean_pairwise_distance`: groups float (m, q, 3, h, w)."""
    return sum(mean_pairwise_distance(group, maps) for group in groups) / max(len(groups), 1)
