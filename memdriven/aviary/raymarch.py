"""A bird as forty-two primitives, their signed distances, and where a picture's rays meet them.

The primitives are rounded cones, bent and flattened. `Rig` places them in float64 numpy; `Primitives`
are those of a rig as float32 tensors.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from memdriven.aviary.world import TABLES

Array = NDArray[np.float64]


def tensor(values: object) -> Tensor:
    """What is known of a bird, in float32."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def column(values: Sequence[float] | Array) -> Tensor:
    """Numbers for the rows of (k, n), as (k, 1)."""
    return tensor(values)[:, None]


WING = ("coverts", "secondaries", "primary1", "primary2", "primary3", "primary4")

SLOTS = tuple(TABLES["slots"])
"""The primitives; the first nine (`SOFT`) melt into each other, the others are each of a part."""
SLOT = {name: i for i, name in enumerate(SLOTS)}
FORWARD, UP, RIGHT = np.eye(3)
SIDES = (("-", -1.0), ("+", 1.0))
"""Slot suffix and sign of z, left then right."""


def vec(*xyz: float) -> Array:
    """A point or direction in float64."""
    return np.array(xyz, dtype=np.float64)


def unit(v: Array) -> Array:
    """The direction of v."""
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-9))


def rotation(axis: Array, angle: float) -> Array:
    """Right-handed rotation matrix about a unit axis."""
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k)


class Rig:
    """One bird's primitives and frames, float64 numpy; see `Primitives` for their meaning."""

    def __init__(self) -> None:
        count = len(SLOTS)
        self.matrix, self.origin = np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3))
        self.length, self.radius = np.full(count, 1e-5), np.tile([0.004, 0.0, 0.0], (count, 1))
        self.bend, self.stretch = np.zeros((count, 2)), np.ones((count, 2))
        self.bounds: list[tuple[Array, float]] = []
        """Spheres that hold the bird: centre, radius."""
        self.body, self.body_axes = np.eye(3), np.ones(3)
        self.head, self.head_at, self.head_radius = np.eye(3), np.zeros(3), 0.4
        self.eye_at, self.eye_radius = np.zeros(3), 0.2
        """In the head's frame, in head radii; z mirrored."""
        self.wings = np.zeros((2, 3, 3))
        """Rows: along, across, origin."""
        self.wing_size = np.ones((2, 2))
        """Length, chord."""
        self.ground = -1e3
        """Height of the ground or the water, world y; far below for none."""

    def put(
        self,
        slot: str,
        a: Array,
        b: Array,
        r0: float,
        r1: float,
        *,
        bulge: float = 0.0,
        flat: float = 1.0,
        cap: float = 1.0,
        normal: Array = UP,
        bend: tuple[float, float] = (0.0, 0.0),
        bound: bool = True,
    ) -> None:
        """Place a primitive from a to b, radius r0 to r1 plus `bulge` in the middle.

        flat squeezes it along `normal`, cap stretches its rounded ends, bend moves its end across
        and along normal.
        """
        i = SLOT[slot]
        length = float(np.linalg.norm(b - a))
        u = unit(b - a) if length > 1e-06 else unit(np.cross(normal, RIGHT if abs(normal[2]) < 0.9 else UP))
        v = np.cross(normal, u)
        if np.linalg.norm(v) < 1e-3:
            v = np.cross(vec(0.3, 0.2, 1.0), u)
        v = unit(v)
        w = np.cross(u, v)
        self.matrix[i] = np.stack([u / cap, v, w / flat])
        self.origin[i] = a
        self.length[i] = max(length / cap, 1e-5)
        self.radius[i] = (r0, r1 - r0 + 4 * bulge, -4 * bulge)
        self.bend[i] = (bend[0], bend[1] / flat)
        self.stretch[i] = (1 / cap**2, 1 / flat**2)
        if bound:
            end = b + v * bend[0] + w * bend[1]
            self.bounds += [
                (a, r0 * max(cap, 1.0)),
                (end, r1),
                ((a + b) / 2, max(r0, r1, (r0 + r1) / 2 + bulge)),
            ]

    def ellipsoid(self, slot: str, at: Array, x: Array, y: Array, axes: tuple[float, float, float]) -> None:
        """An ellipsoid with half-axes `axes` along x, y and their cross product."""
        i = SLOT[slot]
        lx, ly, lz = axes
        self.matrix[i] = np.stack([x / (lx / lz), np.cross(x, y), y / (ly / lz)])
        self.origin[i] = at
        self.radius[i] = (lz, 0.0, 0.0)
        self.stretch[i] = ((lz / lx) ** 2, (lz / ly) ** 2)
        self.bounds += [(at + x * (lx - lz), lz), (at - x * (lx - lz), lz)]


SOFT = 9
"""The first primitives (body, neck, head, thighs) melt into each other; the rest stay crisp."""
BLEND = 0.055
"""Width of the melt between soft primitives, in body units."""
CRISP_BLEND = 0.02


class Primitives:
    """A rig's `p` primitives as tensors. Lengths in body units, world frame."""

    def __init__(self, rig: Rig) -> None:
        self.matrix = tensor(rig.matrix.transpose(1, 0, 2).reshape(-1, 3))
        """Rows: all along / cap, all across, all through / flatness (3p, 3)."""
        self.offset = tensor(-np.einsum("pij,pj->ip", rig.matrix, rig.origin).reshape(-1, 1))
        """So that local = matrix @ x + offset (3p, 1)."""
        self.length = tensor(rig.length[:, None])
        """Of the axis, in local units (p, 1)."""
        self.radius = tensor(rig.radius)
        """radius(t) = r0 + r1 t + r2 t^2 (p, 3)."""
        self.bend = tensor(rig.bend)
        """Shift across and through at t = 1, quadratic in t (p, 2)."""
        self.stretch = tensor(rig.stretch)
        """Squared inverse scale of the first and third row (p, 2)."""


def primitive_distances(rig: Primitives, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distance of every point to every primitive.

    points: (3, n) world. Returns (p, n) distances, the local gradient (3p, n), and t in [0, 1] along
    each axis (p, n). The distance is the first-order estimate r (r - a) / |grad| of an ellipsoid's,
    exact for spheres.
    """
    local = torch.addmm(rig.offset, rig.matrix, points)  # (3p, n)
    u, v, w = local.chunk(3)
    t = (u / rig.length).clamp_(0.0, 1.0)
    u.addcmul_(t, rig.length, value=-1.0)
    t2 = t * t
    v.addcmul_(t2, rig.bend[:, 0:1], value=-1.0)
    w.addcmul_(t2, rig.bend[:, 1:2], value=-1.0)
    a = torch.addcmul(rig.radius[:, 0:1], t, rig.radius[:, 1:2]).addcmul_(t2, rig.radius[:, 2:3])
    uu, vv, ww = u * u, v * v, w * w
    r = (uu + vv).add_(ww).sqrt_()
    g = vv.addcmul_(uu, rig.stretch[:, 0:1]).addcmul_(ww, rig.stretch[:, 1:2]).add_(1e-9).rsqrt_()
    return a.neg_().add_(r).mul_(r).mul_(g), local, t


def _melt(d: Tensor) -> Tensor:
    """Smooth minimum over the soft primitives: (SOFT, n) -> (1, n)."""
    low = d.amin(0, keepdim=True)
    return low - BLEND * (d.sub(low).mul_(-1.0 / BLEND).exp_().sum(0, keepdim=True)).log_()


def distance(rig: Primitives, points: Tensor) -> Tensor:
    """Signed distance from points (3, n) to the union of a rig: (n), negative inside."""
    d, _, _ = primitive_distances(rig, points)
    soft = _melt(d[:SOFT])[0]
    hard = d[SOFT:].amin(0)
    h = (CRISP_BLEND - (soft - hard).abs_()).clamp_(min=0.0)
    return torch.minimum(soft, hard) - h * h * (0.25 / CRISP_BLEND)


def distance_and_normal(rig: Primitives, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distance (n), unit normal (3, n), primitive distances and axis positions (p, n)."""
    d, local, t = primitive_distances(rig, points)
    soft = _melt(d[:SOFT])
    flat = torch.cat((soft, d[SOFT:]))
    low = flat.amin(0, keepdim=True)
    # Softmin weights: among the soft primitives as in the melt, then crisp against the melted body.
    weight = flat.sub(low).mul_(-1.0 / CRISP_BLEND).exp_()
    inner = d[:SOFT].sub(soft).mul_(-1.0 / BLEND).exp_()
    weight = torch.cat((inner * weight[:1], weight[1:]))  # (p, n)
    u, v, w = local.chunk(3)
    su, sw = rig.stretch[:, 0:1], rig.stretch[:, 1:2]
    scale = weight * (u * u * su + v * v + w * w * sw).add_(1e-9).rsqrt_()
    normal = rig.matrix.T @ (local * scale.repeat(3, 1))  # (3, n)
    normal = normal / normal.norm(dim=0, keepdim=True).clamp_min(1e-6)
    return low[0], normal, d, t


# ---- Rays, noise, light --------------------------------------------------------------------------


class Camera:
    """Where a picture is taken from, in world units."""

    def __init__(self, position: Array, basis: Array, tangent: float) -> None:
        self.position = column(position)  # (3, 1)
        self.right, self.up, self.forward = map(column, basis)  # each (3, 1)
        self.tangent = float(np.float32(tangent))
        """Of half the field of view."""

    def rays(self, x: Tensor, y: Tensor) -> Tensor:
        """Unit directions (3, n) through image points x, y (n) in [-1, 1], y up."""
        ray = self.forward + (x * self.tangent) * self.right + (y * self.tangent) * self.up
        length: Tensor = ray.norm(dim=0, keepdim=True)
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
def _table() -> Tensor:
    """(1, 4, SIZE + 1, SIZE + 1): four independent tables, wrapped by one row and column."""
    values = np.random.Generator(np.random.PCG64(7)).random((4, SIZE, SIZE), dtype=np.float32)
    return torch.from_numpy(np.pad(values, ((0, 0), (0, 1), (0, 1)), mode="wrap"))[None]


def noise(u: Tensor, v: Tensor) -> Tensor:
    """Four channels (4, n) of smooth noise in [0, 1] at u, v (n), one cell a unit."""
    grid = torch.stack([at.remainder(SIZE) * (2.0 / SIZE) - 1.0 for at in (u, v)], -1)
    return F.grid_sample(_table(), grid[None, :, None], mode="bilinear", align_corners=True)[0, :, :, 0]


def fractal(u: Tensor, v: Tensor, octaves: int = 3) -> Tensor:
    """Four channels of noise summed over octaves, in [0, 1]: (4, n)."""
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
"""Points evaluated at once: what keeps the working set in a CPU's cache."""


def field(rig: Primitives, points: Tensor) -> Tensor:
    """The signed distance at points (3, n), in cache-sized pieces: (n)."""
    return torch.cat([distance(rig, part) for part in torch.split(points, CHUNK, 1)])


def pixel_grid(index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Centres x, y in [-1, 1], y up, of pixels of a size x size image, by flat index (n)."""
    x = (index.remainder(size) + 0.5) * (2.0 / size) - 1.0
    y = 1.0 - (index.div(size, rounding_mode="floor") + 0.5) * (2.0 / size)
    return x, y


def _advance(
    rig: Primitives, origin: Tensor, ray: Tensor, t: Tensor, far: Tensor, cone: float, steps: int
) -> Tensor:
    """March t (n), in place, until the field is within the cone's radius `cone * t`.

    Finished rays are dropped on the way. Returns which rays touched.
    """
    touched = torch.zeros_like(t, dtype=torch.bool)
    live = torch.arange(len(t))
    for _ in range(steps):
        ti = t[live]
        d = field(rig, origin + ray[:, live] * ti)
        stop = d < ti * cone
        # A cone keeps its distance from what it has not touched: step to where its edge might.
        t[live] = torch.where(stop, ti, ti + (d - 0.5 * cone * ti).clamp_min(0.3 * cone * ti))
        touched[live] = stop
        live = (~touched & (t < far)).nonzero()[:, 0]
        if not len(live):
            break
    return touched


def trace(rig: Primitives, camera: Camera, near: Tensor, far: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First hits of all pixels of a size x size image.

    near, far: distances (1) where rays may start and must stop. Returns flat pixel index and depth (n)
    of the pixels whose ray comes within half a pixel of the bird.
    """
    side = size // 4
    index = torch.arange(side * side)
    t = near.repeat(side * side)
    for level, steps in ((side, 48), (2 * side, 28), (size, 44)):
        ray = camera.rays(*pixel_grid(index, level))
        pixel = camera.tangent / level  # half a pixel's width at unit depth
        cone = pixel * (0.35 if level == size else 1.45)
        touched = _advance(rig, camera.position, ray, t, far, cone, steps)
        if level < size:
            # Rays still going after the last step graze the surface: let the finer level decide.
            keep = touched | (t < far)
            index, t = index[keep], t[keep]
            row, column = index.div(level, rounding_mode="floor"), index.remainder(level)
            first = row * 2 * (2 * level) + column * 2
            index = torch.cat((first, first + 1, first + 2 * level, first + 2 * level + 1))
            t = t.repeat(4)
    return index[touched], t[touched]


def occlusion(
    rig: Primitives, points: Tensor, towards: Tensor, reach: float, steps: int, hardness: float
) -> Tensor:
    """How much light from direction `towards` (3, 1) reaches points (3, n), edges soft.

    1 is all of it.
    """
    t = torch.full_like(points[0], 0.05)
    light = torch.ones_like(t)
    for _ in range(steps):
        d = field(rig, points + towards * t)
        light = torch.minimum(light, (0.5 + 0.5 * hardness * d / t).clamp_(0.0, 1.0))
        t = t + d.clamp(0.03, reach / steps * 1.6)
    return light * light * (3 - 2 * light)


def ambient(rig: Primitives, points: Tensor, normal: Tensor) -> Tensor:
    """Openness to the sky of points (3, n), 1 is open.

    From the field a little way out along the normal.
    """
    closed = torch.zeros_like(points[0])
    for reach, weight in ((0.09, 0.9), (0.28, 0.55)):
        d = field(rig, points + normal * reach)
        closed = closed + weight * (1.0 - d / reach).clamp_(0.0, 1.0)
    return (1.0 - 0.62 * closed).clamp_(0.12, 1.0)
