"""Kernel distance (KID): unbiased squared MMD with a cubic kernel (Binkowski et al. 2018).

    k(x, y) = (x . y / d + 1)^3

Unlike a Frechet distance its expectation does not depend on n, so small samples can be compared.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from memdriven.evaluation.fid import Precomputed, check_features


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation over the subsets. Usual tables show 100 or 1,000 times it."""

    mean: float
    std: float


def kernel_distance(
    real: Tensor, fake: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Return KID over random subsets of features (n, d) and (m, d).

    The subset size is cut to the smaller set's number of images.

    Raises:
        EvaluationError: fewer than two images, or features of different widths.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    check_features(real, fake)
    size = min(subset_size, len(real), len(fake))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # a note on memory
        torch.manual_seed(seed)
        metric = KernelInceptionDistance(
            feature=Precomputed(real.shape[1]), subsets=subsets, subset_size=size
        )
        metric.update(real.double(), real=True)
        metric.update(fake.double(), real=False)
        mean, std = metric.compute()
    return KernelDistance(float(mean), float(std))
