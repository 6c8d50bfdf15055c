"""One bird's primitives and frames, before they become tensors.

The slots are the same for every bird (`SLOTS`); `Rig` holds the numbers of one bird, `stack` those
of a batch. World axes: x forward, y up, z to the bird's right; the body's centre is the origin;
lengths in body half-lengths.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from memdriven.aviary.camera import Array
from memdriven.aviary.sdf import Primitives

_WING = ("coverts", "secondaries", "primary1", "primary2", "primary3", "primary4")

SLOTS: tuple[str, ...] = (
    "body",
    "breast",
    "rear",
    "neck1",
    "neck2",
    "head",
    "cheek",
    "thigh-",
    "thigh+",
    "beak",
    "beak_tip",
    "mandible",
    "eye-",
    "eye+",
    "leg-",
    "leg+",
    *(f"toe{i}{s}" for s in "-+" for i in range(3)),
    "crest1",
    "crest2",
    "tail0",
    "tail1",
    "tail2",
    *(f"{name}{s}" for s in "-+" for name in _WING),
    "perch1",
    "perch2",
    "perch3",
)
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
    """One bird's primitives and frames, float64 numpy; see `sdf.Primitives` for their meaning."""

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

    def tensor(values: list[Array]) -> Tensor:
        return torch.from_numpy(np.stack(values).astype(np.float32))

    count = len(SLOTS)
    rows = [rig.matrix.transpose(1, 0, 2).reshape(3 * count, 3) for rig in rigs]
    shifts = [-np.einsum("pij,pj->ip", rig.matrix, rig.origin).reshape(3 * count, 1) for rig in rigs]
    return Primitives(
        matrix=tensor(rows),
        offset=tensor(shifts),
        length=tensor([rig.length[:, None] for rig in rigs]),
        radius=tensor([rig.radius for rig in rigs]),
        bend=tensor([rig.bend for rig in rigs]),
        stretch=tensor([rig.stretch for rig in rigs]),
    )
