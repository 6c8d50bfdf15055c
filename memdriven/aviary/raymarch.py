"""Rays, noise and signed distances: where a picture's rays meet a bird, and how open that spot lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.aviary.primitives import Array, Batch, Primitives, distance


@dataclass(frozen=True)
class Camera(Batch):
    """A batch of cameras. Position in world units; the basis rows are right, up, forward."""

    position: Tensor  # (b, 3)
    basis: Tensor  # (b, 3, 3)
    tangent: Tensor  # (b, 1) half the field of view, as a tangent

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


CHUNK = 4096
"""Points evaluated at once for each image: what keeps the working set in a CPU's cache."""


def chunks(n: int, device: torch.device) -> Iterator[slice]:
    """Slices of at most `CHUNK` points on a CPU, one slice elsewhere."""
    step = CHUNK if device.type == "cpu" else max(n, 1)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def field(rig: Primitives, points: Tensor, f: Callable[[Primitives, Tensor], Tensor] = distance) -> Tensor:
    """`f` over points (b, 3, n), in cache-sized pieces: (b, n)."""
    parts = [f(rig, points[:, :, c]) for c in chunks(points.shape[2], points.device)]
    return torch.cat(parts, -1) if len(parts) > 1 else parts[0]


def pixel_grid(index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Centres x, y in [-1, 1], y up, of pixels of a size x size image, by flat index (b, n)."""
    x = (index.remainder(size) + 0.5) * (2.0 / size) - 1.0
    y = 1.0 - (index.div(size, rounding_mode="floor") + 0.5) * (2.0 / size)
    return x, y


def compact(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Flat indices (b, n) of the true entries of mask (b, m), and which of them are real.

    Rows are padded to the fullest one.
    """
    if mask.shape[0] == 1:
        index = mask[0].nonzero().T  # (1, n)
        return index, torch.ones_like(index, dtype=torch.bool)
    n = int(mask.sum(1).amax())
    index = (~mask).to(torch.uint8).argsort(dim=1, stable=True)[:, :n]
    return index, mask.gather(1, index)


def _advance(
    rig: Primitives, origin: Tensor, ray: Tensor, t: Tensor, far: Tensor, cone: float, steps: int
) -> tuple[Tensor, Tensor]:
    """March t (b, n) until the field is within the cone's radius `cone * t`.

    Finished rays are dropped on the way. Returns t and which rays touched.
    """
    b, n = t.shape
    touched = torch.zeros_like(t, dtype=torch.bool)
    live = torch.arange(n, device=t.device).expand(b, n)
    real = torch.ones_like(touched)
    for _ in range(steps):
        ti = t.gather(1, live)
        dirs = ray.gather(2, live.unsqueeze(1).expand(-1, 3, -1))
        d = field(rig, origin + dirs * ti.unsqueeze(1))
        stop = d < ti * cone
        # A cone keeps its distance from what it has not touched: step to where its edge might.
        t = t.scatter(
            1, live, torch.where(stop | ~real, ti, ti + (d - 0.5 * cone * ti).clamp_min(0.3 * cone * ti))
        )
        touched = touched.scatter(1, live, torch.where(real, stop, touched.gather(1, live)))
        live, real = compact(~touched & (t < far))
        if live.shape[1] == 0:
            break
    return t, touched


def trace(
    rig: Primitives, camera: Camera, near: Tensor, far: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """First hits of all pixels of a size x size image.

    near, far: (b, 1) where rays may start and must stop. Returns flat pixel index (b, n), which of
    them are real hits, and depth (b, n), for the pixels whose ray comes within half a pixel of the
    bird.
    """
    origin = camera.position.unsqueeze(-1)  # (b, 3, 1)
    b = origin.shape[0]
    side = size // 4
    index = torch.arange(side * side, device=origin.device).expand(b, -1)
    real = torch.ones_like(index, dtype=torch.bool)
    t = near.expand(b, side * side).contiguous()
    tangent = float(camera.tangent[0, 0])
    for level, steps in ((side, 48), (2 * side, 28), (size, 44)):
        x, y = pixel_grid(index, level)
        ray = camera.rays(x, y)
        pixel = tangent / level  # half a pixel's width at unit depth
        last = level == size
        t, touched = _advance(rig, origin, ray, t, far, pixel * (0.35 if last else 1.45), steps)
        touched = touched & real
        if last:
            return index, touched, t
        # Rays still going after the last step graze the surface: let the finer level decide.
        keep, real = compact(touched | (real & (t < far) & ~touched))
        index, t = index.gather(1, keep), t.gather(1, keep)
        row, column = index.div(level, rounding_mode="floor"), index.remainder(level)
        first = row * 2 * (2 * level) + column * 2
        index = torch.cat((first, first + 1, first + 2 * level, first + 2 * level + 1), 1)
        t, real = t.repeat(1, 4), real.repeat(1, 4)
    raise AssertionError("unreachable")


def occlusion(
    rig: Primitives, points: Tensor, towards: Tensor, reach: float, steps: int, hardness: float
) -> Tensor:
    """How much light from direction `towards` (b, 3, 1) reaches points (b, 3, n), edges soft.

    1 is all of it.
    """
    t = torch.full_like(points[:, 0], 0.05)
    light = torch.ones_like(t)
    for _ in range(steps):
        d = field(rig, points + towards * t.unsqueeze(1))
        light = torch.minimum(light, (0.5 + 0.5 * hardness * d / t).clamp_(0.0, 1.0))
        t = t + d.clamp(0.03, reach / steps * 1.6)
    return light * light * (3 - 2 * light)


def ambient(rig: Primitives, points: Tensor, normal: Tensor) -> Tensor:
    """Openness to the sky of points (b, 3, n), 1 is open.

    From the field a little way out along the normal.
    """
    closed = torch.zeros_like(points[:, 0])
    for reach, weight in ((0.09, 0.9), (0.28, 0.55)):
        d = field(rig, points + normal * reach)
        closed = closed + weight * (1.0 - d / reach).clamp_(0.0, 1.0)
    return (1.0 - 0.62 * closed).clamp_(0.12, 1.0)
