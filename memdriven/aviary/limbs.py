"""Tail and wings, folded or spread."""

from __future__ import annotations

import numpy as np

from memdriven.aviary.camera import Array
from memdriven.aviary.plans import BodyPlan
from memdriven.aviary.rig import FORWARD, RIGHT, SIDES, UP, Rig, rotation, unit, vec
from memdriven.aviary.specimen import BirdSpec


def place_tail(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array) -> None:
    """Three flat feathers, fanned; the outer ones longer for a fork, shorter for a wedge."""
    flying = spec.attributes["pose"] == "flying"
    angle = np.radians(plan.tail_angle * (0.25 if flying else 1.0))
    frame = body @ rotation(RIGHT, -angle)
    x, y, z = frame.T
    root = body @ vec(-0.78, 0.04 + 0.1 * np.sin(angle), 0.0)
    spread = np.radians(plan.tail_spread * (1.7 if flying else 1.0))
    width = plan.tail_width
    for slot, turn in (("tail0", 0.0), ("tail1", -1.0), ("tail2", 1.0)):
        length = plan.tail + 0.22
        length *= 1.0 if turn else 1.0 / (1 + max(plan.fork, 0.0))
        length *= 1.0 + (min(plan.fork, 0.0) if turn else 0.0)
        direction = -x * np.cos(spread * turn) + z * np.sin(spread * turn)
        start = root + z * turn * width * 0.30 - y * 0.012 * abs(turn)
        end_width = width * (0.5 if plan.fork > 0 and turn else 1.0)
        rig.put(
            slot,
            start,
            start + direction * length,
            width * 0.80,
            end_width,
            bulge=width * 0.08,
            flat=0.30,
            cap=1.2,
            normal=y,
        )


def place_wings(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array) -> None:
    """Spread wings in flight, folded ones otherwise, and the frame that feathers are painted in."""
    for k, (s, side) in enumerate(SIDES):
        if spec.attributes["pose"] == "flying":
            _spread(rig, plan, spec, body, k, s, side)
        else:
            _folded(rig, plan, spec, body, k, s, side)


def _folded(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array, k: int, s: str, side: float) -> None:
    h, w = plan.height * spec.plump, plan.width * spec.plump

    def at(share: float, drop: float, lift: float = 0.0) -> Array:
        # The wing hugs the flank: out to the body's widest point, then in towards the tail.
        x = 0.52 - plan.wing * share
        flank = float(np.interp(-x, (-0.52, -0.1, 0.3, 0.6, 0.9, 1.4), (0.86, 1.02, 1.05, 0.94, 0.64, 0.26)))
        rise = 0.22 - 0.06 * share
        return np.asarray(body @ vec(x, (rise - drop) * h, side * (flank + lift) * w))

    shoulder, tip = at(0.0, 0.0), at(1.0, 0.0)
    out = unit(body @ vec(0.0, 0.26, side))
    reach = float(np.linalg.norm(tip - shoulder))
    along = (tip - shoulder) / reach
    down = unit(np.cross(along, out) * side)
    if (down @ (body @ UP)) > 0:
        down = -down
    rig.put(f"coverts{s}", at(0.06, 0.14), at(0.34, 0.20, 0.02), 0.34 * h, 0.46 * h, flat=0.30, normal=out)
    rig.put(
        f"secondaries{s}",
        at(0.26, 0.22, 0.03),
        at(0.72, 0.12, 0.05),
        0.50 * h,
        0.28 * h,
        flat=0.25,
        normal=out,
    )
    for i in range(4):
        end = (1.0, 0.93, 0.85, 0.76)[i]
        drop = (-0.02, 0.08, 0.17, 0.26)[i]
        rig.put(
            f"primary{i + 1}{s}",
            at(0.42, 0.14 + 0.4 * drop, 0.02),
            at(end, drop, 0.04 - 0.03 * i),
            0.22 * h,
            0.055 * h + 0.02,
            bulge=0.02 * h,
            flat=0.26,
            normal=out,
        )
    rig.wings[k] = np.stack([along, down, shoulder - down * 0.30 * h])
    rig.wing_size[k] = (reach, 1.05 * h)


def _spread(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array, k: int, s: str, side: float) -> None:
    h, w = plan.height * spec.plump, plan.width * spec.plump
    shoulder = body @ vec(0.34, 0.45 * h, side * 0.45 * w)
    flap = spec.flap
    out = body @ vec(0.0, np.sin(flap), side * np.cos(flap))
    hand = body @ vec(0.0, np.sin(flap * 0.78), side * np.cos(flap * 0.78))
    fore = body @ FORWARD
    up = unit(np.cross(out, fore) * -side)
    if up @ (body @ UP) < 0:
        up = -up
    span, chord = plan.span, plan.chord
    wrist = shoulder + out * span * 0.40 + fore * span * 0.13
    rig.put(
        f"coverts{s}",
        shoulder - fore * 0.05,
        wrist,
        0.21 * chord + 0.05,
        0.13 * chord + 0.02,
        flat=0.36,
        normal=up,
    )
    rig.put(
        f"secondaries{s}",
        shoulder - fore * chord * 0.42 - out * 0.15,
        wrist - fore * chord * 0.42,
        chord * 0.46,
        chord * 0.44,
        flat=0.12,
        normal=up,
        bend=(0.0, -0.03),
    )
    sweep = plan.pointed
    for i in range(4):
        share = i / 3
        turn = np.radians(4 + 30 * sweep + share * (56 - 20 * sweep))
        length = span * (0.70 - share * (0.22 + 0.10 * sweep))
        direction = hand * np.cos(turn) - fore * np.sin(turn)
        root = wrist - fore * chord * (0.05 + 0.34 * share) - hand * span * 0.09
        width = chord * (0.275 - 0.07 * sweep)
        rig.put(
            f"primary{i + 1}{s}",
            root,
            root + direction * length,
            width,
            width * (0.5 - 0.22 * sweep),
            bulge=width * 0.22,
            flat=0.17,
            normal=up,
            bend=(0.0, 0.06 * span * (1 - share)),
        )
    rig.wings[k] = np.stack([unit(out * 0.9 - fore * 0.12), -fore, shoulder + fore * 0.22 * chord])
    rig.wing_size[k] = (span, chord * 1.15)
