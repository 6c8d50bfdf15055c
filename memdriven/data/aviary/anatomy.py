"""From a bird to its primitives: where the skeleton puts every ellipsoid, feather and toe.

The slots are the same for every bird (`SLOTS`); `Rig` holds the numbers of one bird, `stack` those of a batch. World
axes: x forward, y up, z to the bird's right; the body's centre is the origin; lengths in body half-lengths.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .camera import Array
from .plans import BEAK_SHAPES, PLANS, BodyPlan
from .sdf import Primitives
from .specimen import BirdSpec

_WING = ("coverts", "secondaries", "primary1", "primary2", "primary3", "primary4")
SLOTS: tuple[str, ...] = (
    "body", "breast", "rear", "neck1", "neck2", "head", "cheek", "thigh-", "thigh+",
    "beak", "beak_tip", "mandible", "eye-", "eye+",
    "leg-", "leg+", *(f"toe{i}{s}" for s in "-+" for i in range(3)),
    "crest1", "crest2", "tail0", "tail1", "tail2",
    *(f"{name}{s}" for s in "-+" for name in _WING),
    "perch1", "perch2", "perch3",
)  # fmt: skip
SLOT = {name: i for i, name in enumerate(SLOTS)}
FORWARD, UP, RIGHT = np.eye(3)


def _vec(*xyz: float) -> Array:
    return np.array(xyz, dtype=np.float64)


def _unit(v: Array) -> Array:
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
        self, slot: str, a: Array, b: Array, r0: float, r1: float, *, bulge: float = 0.0, flat: float = 1.0,
        cap: float = 1.0, normal: Array = UP, bend: tuple[float, float] = (0.0, 0.0), bound: bool = True,
    ) -> None:  # fmt: skip
        """Place a primitive from a to b, radius r0 to r1 plus `bulge` in the middle.

        flat squeezes it along `normal`, cap stretches its rounded ends, bend moves its end across and along normal.
        """
        i = SLOT[slot]
        length = float(np.linalg.norm(b - a))
        u = _unit(b - a) if length > 1e-6 else _unit(np.cross(normal, RIGHT if abs(normal[2]) < 0.9 else UP))
        v = np.cross(normal, u)
        if np.linalg.norm(v) < 1e-3:
            v = np.cross(_vec(0.3, 0.2, 1.0), u)
        v = _unit(v)
        w = np.cross(u, v)
        self.matrix[i] = np.stack([u / cap, v, w / flat])
        self.origin[i] = a
        self.length[i] = max(length / cap, 1e-5)
        self.radius[i] = (r0, r1 - r0 + 4 * bulge, -4 * bulge)
        self.bend[i] = (bend[0], bend[1] / flat)
        self.stretch[i] = (1 / cap**2, 1 / flat**2)
        if bound:
            end = b + v * bend[0] + w * bend[1]
            self.bounds += [(a, r0 * max(cap, 1.0)), (end, r1), ((a + b) / 2, max(r0, r1, (r0 + r1) / 2 + bulge))]

    def ellipsoid(self, slot: str, at: Array, x: Array, y: Array, axes: tuple[float, float, float]) -> None:
        """An ellipsoid with half-axes `axes` along x, y and their cross product."""
        i = SLOT[slot]
        lx, ly, lz = axes
        self.matrix[i] = np.stack([x / (lx / lz), np.cross(x, y), y / (ly / lz)])
        self.origin[i] = at
        self.radius[i] = (lz, 0.0, 0.0)
        self.stretch[i] = ((lz / lx) ** 2, (lz / ly) ** 2)
        self.bounds += [(at + x * (lx - lz), lz), (at - x * (lx - lz), lz)]


def build_rig(spec: BirdSpec) -> Rig:
    """Pose one bird."""
    plan = PLANS[spec.attributes["body_plan"]]
    pose = spec.attributes["pose"]
    rig = Rig()
    pitch = np.radians(plan.pitch) + spec.pitch_change
    if pose == "flying":
        pitch = np.radians(44.0 if plan is PLANS["hummingbird"] else 6.0) + spec.pitch_change
    elif pose == "clinging":
        pitch = np.radians(97.0) + spec.pitch_change * 0.6
    elif pose == "swimming":
        pitch = np.radians(3.0)
    body = rotation(RIGHT, pitch)
    if pose == "flying":
        body = body @ rotation(FORWARD, spec.bank)
    rig.body = body.T
    _torso(rig, plan, spec, body)
    from .limbs import place_legs, place_tail, place_wings  # a cycle otherwise: limbs hang on this rig

    place_tail(rig, plan, spec, body)
    place_wings(rig, plan, spec, body)
    place_legs(rig, plan, spec, body)
    return rig


def _torso(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array) -> None:
    """Body, neck, head, eyes, beak and crest."""
    flying = spec.attributes["pose"] == "flying"
    x, y, z = body.T
    h, w = plan.height * spec.plump, plan.width * spec.plump
    rig.body_axes = _vec(1.0, h, w)
    rig.ellipsoid("body", _vec(0, 0, 0), x, y, (1.0, h, w))
    br = plan.breast * spec.plump
    rig.ellipsoid("breast", x * 0.36 - y * 0.10 * h, x, y, (br * 1.1, br, br * w / h * 0.98))
    rig.put("rear", -x * 0.30, -x * 1.0 + y * 0.06, h * 0.62, h * 0.20, bulge=0.02, normal=y)

    forward, up = plan.neck
    if flying:
        forward, up = forward * 1.12, up * (0.15 if plan.neck_curve else 0.35)
    neck = x * forward + y * up
    if spec.attributes["pose"] == "clinging":
        neck = x * forward * 0.98 + y * 0.22
    neck_base = x * 0.52 + y * 0.16 * h
    middle = (neck_base + neck) / 2 - x * plan.neck_curve * (0.35 if flying else 0.8) + y * 0.12 * plan.neck_curve
    if plan.neck_curve and not flying:
        middle = neck_base * 0.55 + neck * 0.45 + x * plan.neck_curve * 0.15 - FORWARD * plan.neck_curve * 0.35
    thick = plan.neck_radius
    rig.put("neck1", neck_base - x * 0.1, middle, thick * 1.25, thick, normal=z)
    rig.put("neck2", middle, neck, thick, thick * 0.92, normal=z)

    level = rotation(UP, -spec.head_yaw * (0.3 if flying else 1.0)) @ rotation(RIGHT, spec.head_pitch * 0.7)
    if spec.attributes["pose"] == "clinging":
        level = rotation(RIGHT, np.radians(10)) @ level
    hx, hy, hz = level.T
    r = plan.head
    rig.head, rig.head_at, rig.head_radius = level.T, neck, r
    rig.ellipsoid("head", neck, hx, hy, (r * plan.head_long, r, r * 0.94))
    if plan.face:
        rig.ellipsoid("cheek", neck + hx * r * 0.42, hx, hy, (r * 0.38, r * plan.face, r * plan.face * 1.06))
    else:
        rig.ellipsoid("cheek", neck + hx * r * 0.30 - hy * r * 0.14, hx, hy, (r * 0.80, r * 0.70, r * 0.76))

    depth = plan.head_long * 0.80
    eye = plan.eye * 1.12
    front = plan.eye_front
    at = _vec(0.36 + 0.42 * front**2, 0.20 if not plan.face else 0.12, 0.86 - 0.46 * front**2)
    if not plan.face:
        at = at * _vec(plan.head_long, 1.0, 0.94) / np.linalg.norm(at) * 0.97
    else:
        at = _vec(0.74, 0.12, 0.38)
    rig.eye_at, rig.eye_radius = at, eye
    for s, side in (("-", -1.0), ("+", 1.0)):
        rig.ellipsoid(f"eye{s}", neck + (hx * at[0] + hy * at[1] + hz * at[2] * side) * r, hx, hy, (eye * r,) * 3)

    length, half, ratio, bend, tip = BEAK_SHAPES[spec.attributes["beak_shape"]]
    length *= plan.beak * r
    half *= r * (0.8 + 0.2 * plan.beak)
    ratio *= plan.beak_depth
    base = neck + hx * r * (depth if not plan.face else 0.72) - hy * r * 0.06
    end = base + hx * (length + 0.12 * r)
    drop = bend * length * 0.55
    hooked = spec.attributes["beak_shape"] == "hooked"
    rig.put("beak", base, end, half, half * tip, flat=ratio, normal=hy, bend=(0.0, -drop), bulge=half * (0.22 if hooked else 0.0))
    if hooked:
        point = end - hy * drop
        rig.put("beak_tip", point - hx * half * 0.12, point - hy * half * 0.95 - hx * half * 0.1, half * 0.30, half * 0.06, normal=hz)
    under = 0.62 if hooked else 0.93
    rig.put("mandible", base - hy * half * ratio * 0.42, base + (end - base) * under - hy * half * ratio * 0.30,
            half * 0.84, half * tip * 0.7, flat=ratio * 0.62, normal=hy, bend=(0.0, -drop * 0.95))  # fmt: skip

    if spec.attributes["crest"] == "crested":
        c = plan.crest * r
        if plan.face:  # ear tufts
            for s, side in (("1", -1.0), ("2", 1.0)):
                root = neck + hy * r * 0.70 + hz * side * r * 0.46 + hx * r * 0.2
                rig.put(f"crest{s}", root, root + hy * c + hz * side * c * 0.35 - hx * c * 0.15, r * 0.22, r * 0.03, flat=0.5, normal=hx)
        elif plan.neck_curve:  # a heron's plume
            for s, lift in (("1", 0.30), ("2", 0.10)):
                root = neck - hx * r * 0.5 + hy * r * 0.62
                rig.put(f"crest{s}", root, root - hx * c + hy * (lift - 0.45) * c, r * 0.16, r * 0.02, flat=0.6, normal=hy)
        else:
            for s, lift, reach in (("1", 0.85, 1.0), ("2", 0.42, 0.85)):
                root = neck + hx * r * (0.2 if s == "1" else -0.3) + hy * r * 0.66
                tip_at = root - hx * c * 0.62 * reach + hy * c * lift
                rig.put(f"crest{s}", root, tip_at, r * 0.34, r * 0.05, flat=0.42, normal=hz)


def stack(rigs: list[Rig]) -> Primitives:
    """A batch of rigs as float32 tensors on the CPU."""

    def tensor(values: list[Array]) -> Tensor:
        return torch.from_numpy(np.stack(values).astype(np.float32))

    count = len(SLOTS)
    rows = [rig.matrix.transpose(1, 0, 2).reshape(3 * count, 3) for rig in rigs]
    shifts = [
        -np.einsum("pij,pj->ip", rig.matrix, rig.origin).reshape(3 * count, 1) for rig in rigs
    ]
    return Primitives(
        matrix=tensor(rows),
        offset=tensor(shifts),
        length=tensor([rig.length[:, None] for rig in rigs]),
        radius=tensor([rig.radius for rig in rigs]),
        bend=tensor([rig.bend for rig in rigs]),
        stretch=tensor([rig.stretch for rig in rigs]),
    )
