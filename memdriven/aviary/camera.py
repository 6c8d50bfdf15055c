"""A perspective camera that frames the bird by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A batch of cameras. Position in world units; the basis rows are right, up, forward."""

    position: Tensor  # (b, 3)
    basis: Tensor  # (b, 3, 3)
    tangent: Tensor  # (b, 1) half the field of view, as a tangent

    def to(self, device: torch.device) -> Camera:
        """The same cameras on another device."""
        return Camera(self.position.to(device), self.basis.to(device), self.tangent.to(device))

    def rays(self, x: Tensor, y: Tensor) -> Tensor:
        """Unit directions (b, 3, n) through image points x, y in [-1, 1], y up; both (b, n)."""
        right, up, forward = (self.basis[:, i, :, None] for i in range(3))
        ray = forward + (x * self.tangent).unsqueeze(1) * right + (y * self.tangent).unsqueeze(1) * up
        length: Tensor = ray.norm(dim=1, keepdim=True)
        return ray.div(length)


def look_at(azimuth: float, elevation: float) -> Array:
    """Camera basis, rows right, up, forward, seen from an azimuth and an elevation [rad]."""
    forward = -np.array(
        [np.cos(elevation) * np.cos(azimuth), np.sin(elevation), np.cos(elevation) * np.sin(azimuth)]
    )
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, forward), forward])


def frame(
    points: Array, radii: Array, basis: Array, tangent: float, fill: float, shift: tuple[float, float]
) -> Array:
    """Camera position from which spheres span `fill` of the frame's half-size.

    points: their centres (k, 3); radii: (k,); shift: how far the bird is moved off the centre, as a
    share of the margin left.
    """
    local = points @ basis.T  # (k, 3)
    centre = np.zeros(2)
    distance = 8.0
    for _ in range(6):  # the box depends on the distance, and the distance on the box: a few rounds settle it
        depth = distance + local[:, 2]
        low = ((local[:, :2] - radii[:, None]) / depth[:, None]).min(0)
        high = ((local[:, :2] + radii[:, None]) / depth[:, None]).max(0)
        middle, half = (low + high) / 2, (high - low).max() / 2
        centre = centre + 0.8 * middle * distance
        local = (points - centre @ basis[:2]) @ basis.T
        distance *= half / (tangent * fill)
        distance = float(np.clip(distance, 3.0, 60.0))
    offset = np.array(shift) * (1 - fill) * tangent * distance
    return np.asarray((centre - offset) @ basis[:2] - distance * basis[2])
