"""The part of its memory that a picture sees, as its noise says (`generator.zoom`) [ours]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

Window = tuple[float, float, float]
"""Left, top and side of a square, as shares of the whole."""
WHOLE: Window = (0.0, 0.0, 1.0)


def draw_windows(count: int, zoom: float, generator: torch.Generator) -> Tensor:
    """Return squares (count, 3): left, top and side as shares of the whole, all within it.

    Args:
        count: how many.
        zoom: the smallest side is 1 - zoom.
        generator: a CPU generator.
    """
    draws = torch.rand(count, 3, generator=generator)
    side = 1 - zoom * draws[:, 2]
    return torch.stack([draws[:, 0] * (1 - side), draws[:, 1] * (1 - side), side], dim=1)


def seen_through(v: Tensor, windows: Tensor) -> Tensor:
    """Return what the windows (b, 3) show of feature maps (b, c, h, w), bilinearly, same shape.

    relu5_3 of a part of an image is nearly that part of the image's relu5_3.
    """
    x, y, side = windows.to(v.dtype).unbind(1)
    theta = v.new_zeros(len(v), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, 0, 2], theta[:, 1, 2] = 2 * x + side - 1, 2 * y + side - 1
    grid = F.affine_grid(theta, list(v.shape), align_corners=False)
    return F.grid_sample(v, grid, padding_mode="border", align_corners=False)
