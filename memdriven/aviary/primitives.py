"""A bird as forty-two primitives: rounded cones, bent and flattened, and their signed distances.

`Rig` places those of one bird in float64 numpy; `Primitives` are a batch of rigs as tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


class Batch:
    """Tensors by name, of several birds each: the base of dataclasses."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return type(self)(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def stacked(values: Sequence[object]) -> Tensor:
    """What is known of each bird, as one float32 tensor on the CPU."""
    return torch.from_numpy(np.stack([np.asarray(value, dtype=np.float32) for value in values]))


WING = ("coverts", "secondaries", "primary1", "primary2", "primary3", "primary4")

SLOTS: tuple[str, ...] = (
    *("body", "breast", "rear", "neck1", "neck2", "head", "cheek", "thigh-", "thigh+"),
    *("beak", "beak_tip", "mandible", "eye-", "eye+", "leg-", "leg+"),
    *(f"toe{i}{s}" for s in "-+" for i in range(3)),
    *("crest1", "crest2", "tail0", "tail1", "tail2"),
    *(f"{name}{s}" for s in "-+" for name in WING),
    *("perch1", "perch2", "perch3"),
)
"""The primitives; the first nine (`SOFT`) melt into each other."""
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


@dataclass
class Rig:
    """One bird's primitives and frames, float64 numpy; see `raymarch.Primitives` for their meaning."""

    matrix: Array = field(default_factory=lambda: np.zeros((len(SLOTS), 3, 3)))
    origin: Array = field(default_factory=lambda: np.zeros((len(SLOTS), 3)))
    length: Array = field(default_factory=lambda: np.full(len(SLOTS), 1e-5))
    radius: Array = field(default_factory=lambda: np.tile([0.004, 0.0, 0.0], (len(SLOTS), 1)))
    bend: Array = field(default_factory=lambda: np.zeros((len(SLOTS), 2)))
    stretch: Array = field(default_factory=lambda: np.ones((len(SLOTS), 2)))
    bounds: list[tuple[Array, float]] = field(default_factory=list)
    body: Array = field(default_factory=lambda: np.eye(3))
    body_axes: Array = field(default_factory=lambda: np.ones(3))
    head: Array = field(default_factory=lambda: np.eye(3))
    head_at: Array = field(default_factory=lambda: np.zeros(3))
    head_radius: float = 0.4
    eye_at: Array = field(default_factory=lambda: np.zeros(3))  # in head frame, head radii; z mirrored
    eye_radius: float = 0.2
    wings: Array = field(default_factory=lambda: np.zeros((2, 3, 3)))  # rows: along, across, origin
    wing_size: Array = field(default_factory=lambda: np.ones((2, 2)))  # length, chord
    ground: float = -1e3
    """Height of the ground or the water, world y; far below for none."""

    def __post_init__(self) -> None:
        self.matrix[:] = np.eye(3)

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


def stack(rigs: list[Rig]) -> Primitives:
    """A batch of rigs as float32 tensors on the CPU."""
    count = len(SLOTS)
    rows = [rig.matrix.transpose(1, 0, 2).reshape(3 * count, 3) for rig in rigs]
    shifts = [-np.einsum("pij,pj->ip", rig.matrix, rig.origin).reshape(3 * count, 1) for rig in rigs]
    return Primitives(
        matrix=stacked(rows),
        offset=stacked(shifts),
        length=stacked([rig.length[:, None] for rig in rigs]),
        radius=stacked([rig.radius for rig in rigs]),
        bend=stacked([rig.bend for rig in rigs]),
        stretch=stacked([rig.stretch for rig in rigs]),
    )


SOFT = 9
"""The first primitives (body, neck, head, thighs) melt into each other; the rest stay crisp."""
BLEND = 0.055
"""Width of the melt between soft primitives, in body units."""
CRISP_BLEND = 0.02


@dataclass(frozen=True)
class Primitives(Batch):
    """A batch of rigs: `b` birds, `p` primitives each. Lengths in body units, world frame."""

    matrix: Tensor  # (b, 3p, 3) rows: along / cap, across, through / flatness
    offset: Tensor  # (b, 3p, 1) so that local = matrix @ x + offset
    length: Tensor  # (b, p, 1) axis length in local units
    radius: Tensor  # (b, p, 3) radius(t) = r0 + r1 t + r2 t^2
    bend: Tensor  # (b, p, 2) shift across and through at t = 1, quadratic in t
    stretch: Tensor  # (b, p, 2) squared inverse scale of the first and third row


def primitive_distances(rig: Primitives, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distance of every point to every primitive.

    points: (b, 3, n) world. Returns (b, p, n) distances, the local gradient (b, 3p, n), and t in
    [0, 1] along each axis (b, p, n). The distance is the first-order estimate r (r - a) / |grad| of
    an ellipsoid's, exact for spheres.
    """
    p = rig.length.shape[1]
    local = torch.baddbmm(rig.offset, rig.matrix, points)  # (b, 3p, n)
    u, v, w = local[:, :p], local[:, p : 2 * p], local[:, 2 * p :]
    t = (u / rig.length).clamp_(0.0, 1.0)
    u.addcmul_(t, rig.length, value=-1.0)
    t2 = t * t
    v.addcmul_(t2, rig.bend[..., 0:1], value=-1.0)
    w.addcmul_(t2, rig.bend[..., 1:2], value=-1.0)
    a = torch.addcmul(rig.radius[..., 0:1], t, rig.radius[..., 1:2]).addcmul_(t2, rig.radius[..., 2:3])
    uu, vv, ww = u * u, v * v, w * w
    r = (uu + vv).add_(ww).sqrt_()
    g = vv.addcmul_(uu, rig.stretch[..., 0:1]).addcmul_(ww, rig.stretch[..., 1:2]).add_(1e-9).rsqrt_()
    return a.neg_().add_(r).mul_(r).mul_(g), local, t


def _melt(d: Tensor) -> Tensor:
    """Smooth minimum over the soft primitives: (b, SOFT, n) -> (b, 1, n)."""
    low = d.amin(1, keepdim=True)
    return low - BLEND * (d.sub(low).mul_(-1.0 / BLEND).exp_().sum(1, keepdim=True)).log_()


def distance(rig: Primitives, points: Tensor) -> Tensor:
    """Signed distance from points (b, 3, n) to the union of each rig: (b, n), negative inside."""
    d, _, _ = primitive_distances(rig, points)
    soft = _melt(d[:, :SOFT])
    hard = d[:, SOFT:].amin(1, keepdim=True)
    h = (CRISP_BLEND - (soft - hard).abs_()).clamp_(min=0.0)
    return (torch.minimum(soft, hard) - h * h * (0.25 / CRISP_BLEND)).squeeze(1)


def distance_and_normal(rig: Primitives, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distance (b, n), unit normal (b, 3, n), primitive distances and axis positions (b, p, n)."""
    d, local, t = primitive_distances(rig, points)
    p = d.shape[1]
    soft = _melt(d[:, :SOFT])
    flat = torch.cat((soft, d[:, SOFT:]), 1)
    low = flat.amin(1, keepdim=True)
    # Softmin weights: among the soft primitives as in the melt, then crisp against the melted body.
    weight = flat.sub(low).mul_(-1.0 / CRISP_BLEND).exp_()
    inner = d[:, :SOFT].sub(soft).mul_(-1.0 / BLEND).exp_()
    weight = torch.cat((inner * weight[:, :1], weight[:, 1:]), 1)  # (b, p, n)
    u, v, w = local[:, :p], local[:, p : 2 * p], local[:, 2 * p :]
    su, sw = rig.stretch[..., 0:1], rig.stretch[..., 1:2]
    scale = weight * (u * u * su + v * v + w * w * sw).add_(1e-9).rsqrt_()
    gradient = local * torch.cat((scale, scale, scale), 1)
    normal = torch.bmm(rig.matrix.transpose(1, 2), gradient)  # (b, 3, n)
    normal = normal / normal.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return low.squeeze(1), normal, d, t
