"""How far pictures lie apart in their pixels, at several resolutions; cheap, without a network.

It measures colours and where they are, not how people see: for that see `diversity`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from memdriven.errors import EvaluationError

LEVELS = 4
"""Full resolution, then halved (box average) three times."""


def mean_pairwise_pyramid(images: Sequence[Image.Image]) -> float:
    """Return the mean absolute difference over all pairs, levels, pixels and channels, in 0..1.

    Args:
        images: two or more of one size, whose sides are multiples of 2^(LEVELS - 1).

    Raises:
        EvaluationError: fewer than two images.
    """
    if len(images) < 2:
        raise EvaluationError(wanted="two pictures or more", found=str(len(images)), fix="make more of them")
    pyramids = [_pyramid(image) for image in images]
    pairs = [
        np.mean([np.abs(a - b).mean() for a, b in zip(first, second, strict=True)])
        for first, second in combinations(pyramids, 2)
    ]
    return float(np.mean(pairs))


def _pyramid(image: Image.Image) -> list[NDArray[np.float64]]:
    level = np.asarray(image.convert("RGB"), dtype=np.float64) / 255  # (h, w, 3)
    levels = [level]
    for _ in range(LEVELS - 1):
        high, wide = level.shape[0] // 2, level.shape[1] // 2
        level = level.reshape(high, 2, wide, 2, 3).mean(axis=(1, 3))
        levels.append(level)
    return levels
