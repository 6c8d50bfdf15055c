"""Parts of pictures: what of its memory a picture sees, and squares on which a stage learns [ours]."""

from __future__ import annotations

from typing import NamedTuple

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


class Crop(NamedTuple):
    """One square of each picture in a batch."""

    corners: Tensor
    """Left and top in px, whole numbers (b, 2)."""
    side: int

    def scaled(self, factor: int) -> Crop:
        """Return the same squares of maps that are larger by a factor."""
        return Crop(self.corners * factor, self.side * factor)

    def widened(self, rim: int, size: int) -> tuple[Crop, Crop]:
        """Return the squares with a rim, kept inside maps of a size, and where they lie in these."""
        side = min(self.side + 2 * rim, size)
        corners = (self.corners - rim).clamp(0, size - side)
        return Crop(corners, side), Crop(self.corners - corners, self.side)

    def cut(self, maps: Tensor) -> Tensor:
        """Return the squares of maps (b, c, h, w) as (b, c, side, side)."""
        across = torch.arange(self.side, device=maps.device)
        rows = (self.corners[:, 1, None] + across)[:, :, None]  # (b, side, 1)
        columns = (self.corners[:, 0, None] + across)[:, None]  # (b, 1, side)
        sample = torch.arange(len(maps), device=maps.device)[:, None, None]
        return maps.movedim(1, -1)[sample, rows, columns].movedim(-1, 1)
