"""Value noise from one small fixed table, the same everywhere."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SIZE = 128


@cache
def _table(device: torch.device) -> Tensor:
    """(1, 4, SIZE + 1, SIZE + 1): four independent tables, wrapped by one row and column."""
    values = np.random.Generator(np.random.PCG64(7)).random((4, SIZE, SIZE), dtype=np.float32)
    table = torch.from_numpy(np.pad(values, ((0, 0), (0, 1), (0, 1)), mode="wrap"))
    return table.unsqueeze(0).to(device)


def noise(u: Tensor, v: Tensor) -> Tensor:
    """Four channels (b, 4, n) of smooth noise in [0, 1] at u, v (b, n), one cell a unit."""
    b, n = u.shape
    x = u.remainder(SIZE) * (2.0 / SIZE) - 1.0
    y = v.remainder(SIZE) * (2.0 / SIZE) - 1.0
    grid = torch.stack((x, y), -1).reshape(1, b * n, 1, 2)
    out = F.grid_sample(_table(u.device), grid, mode="bilinear", align_corners=True)
    return out.reshape(4, b, n).transpose(0, 1)


def fractal(u: Tensor, v: Tensor, octaves: int = 3) -> Tensor:
    """Four channels of noise summed over octaves, in [0, 1]: (b, 4, n)."""
    total = noise(u, v)
    gain, norm = 0.5, 1.0
    for k in range(1, octaves):
        total = total + gain * noise(u * 2.03**k + 17.3 * k, v * 2.03**k + 9.1 * k)
        norm, gain = norm + gain, gain / 2
    return total / norm


def smoothstep(low: float, high: float, x: Tensor) -> Tensor:
    """Smooth rise from 0 at `low` to 1 at `high`; falls where high < low."""
    t = ((x - low) * (1.0 / (high - low))).clamp_(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def fraction(x: Tensor) -> Tensor:
    """A hash-like number in [0, 1) from whole numbers held as floats."""
    return (x.sin() * 437.5853).remainder(1.0)
