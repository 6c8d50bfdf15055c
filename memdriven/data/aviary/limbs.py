"""Tail, wings, legs, and what the bird sits on."""

from __future__ import annotations

import numpy as np

from .anatomy import FORWARD, RIGHT, UP, Rig, _unit, _vec, rotation
from .camera import Array
from .plans import PLANS, BodyPlan
from .specimen import BirdSpec

SIDES = (("-", -1.0), ("+", 1.0))


def place_tail(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array) -> None:
    """Three flat feathers, fanned; the outer ones longer for a fork, shorter for a wedge."""
    flying = spec.attributes["pose"] == "flying"
    angle = np.radians(plan.tail_angle * (0.25 if flying else 1.0))
    frame = body @ rotation(RIGHT, -angle)
    x, y, z = frame.T
    root = body @ _vec(-0.78, 0.04 + 0.1 * np.sin(angle), 0.0)
    spread = np.radians(plan.tail_spread * (1.7 if flying else 1.0))
    width = plan.tail_width
    for slot, turn in (("tail0", 0.0), ("tail1", -1.0), ("tail2", 1.0)):
        length = plan.tail + 0.22
        length *= 1.0 if turn else 1.0 / (1 + max(plan.fork, 0.0))
        length *= 1.0 + (min(plan.fork, 0.0) if turn else 0.0)
        direction = -x * np.cos(spread * turn) + z * np.sin(spread * turn)
        start = root + z * turn * width * 0.30 - y * 0.012 * abs(turn)
        rig.put(slot, start, start + direction * length, width * 0.80, width * (0.5 if plan.fork > 0 and turn else 1.0),
                bulge=width * 0.08, flat=0.30, cap=1.2, normal=y)  # fmt: skip


def place_wings(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array) -> None:
    """Spread wings in flight, folded ones otherwise; both also set the frame feathers are painted in."""
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
        return np.asarray(body @ _vec(x, (rise - drop) * h, side * (flank + lift) * w))

    shoulder, tip = at(0.0, 0.0), at(1.0, 0.0)
    out = _unit(body @ _vec(0.0, 0.26, side))
    reach = float(np.linalg.norm(tip - shoulder))
    along = (tip - shoulder) / reach
    down = _unit(np.cross(along, out) * side)
    if (down @ (body @ UP)) > 0:
        down = -down
    rig.put(f"coverts{s}", at(0.06, 0.14), at(0.34, 0.20, 0.02), 0.34 * h, 0.46 * h, flat=0.30, normal=out)
    rig.put(f"secondaries{s}", at(0.26, 0.22, 0.03), at(0.72, 0.12, 0.05), 0.50 * h, 0.28 * h, flat=0.25, normal=out)
    for i in range(4):
        end = (1.0, 0.93, 0.85, 0.76)[i]
        drop = (-0.02, 0.08, 0.17, 0.26)[i]
        rig.put(f"primary{i + 1}{s}", at(0.42, 0.14 + 0.4 * drop, 0.02), at(end, drop, 0.04 - 0.03 * i),
                0.22 * h, 0.055 * h + 0.02, bulge=0.02 * h, flat=0.26, normal=out)  # fmt: skip
    rig.wings[k] = np.stack([along, down, shoulder - down * 0.30 * h])
    rig.wing_size[k] = (reach, 1.05 * h)


def _spread(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array, k: int, s: str, side: float) -> None:
    h, w = plan.height * spec.plump, plan.width * spec.plump
    shoulder = body @ _vec(0.34, 0.45 * h, side * 0.45 * w)
    flap = spec.flap
    out = body @ _vec(0.0, np.sin(flap), side * np.cos(flap))
    hand = body @ _vec(0.0, np.sin(flap * 0.78), side * np.cos(flap * 0.78))
    fore = body @ FORWARD
    up = _unit(np.cross(out, fore) * -side)
    if up @ (body @ UP) < 0:
        up = -up
    span, chord = plan.span, plan.chord
    wrist = shoulder + out * span * 0.40 + fore * span * 0.13
    rig.put(f"coverts{s}", shoulder - fore * 0.05, wrist, 0.21 * chord + 0.05, 0.13 * chord + 0.02, flat=0.36, normal=up)
    rig.put(f"secondaries{s}", shoulder - fore * chord * 0.42 - out * 0.15, wrist - fore * chord * 0.42, chord * 0.46,
            chord * 0.44, flat=0.12, normal=up, bend=(0.0, -0.03))  # fmt: skip
    sweep = plan.pointed
    for i in range(4):
        share = i / 3
        turn = np.radians(4 + 30 * sweep + share * (56 - 20 * sweep))
        length = span * (0.70 - share * (0.22 + 0.10 * sweep))
        direction = hand * np.cos(turn) - fore * np.sin(turn)
        root = wrist - fore * chord * (0.05 + 0.34 * share) - hand * span * 0.09
        width = chord * (0.275 - 0.07 * sweep)
        rig.put(f"primary{i + 1}{s}", root, root + direction * length, width, width * (0.5 - 0.22 * sweep), bulge=width * 0.22,
                flat=0.17, normal=up, bend=(0.0, 0.06 * span * (1 - share)))  # fmt: skip
    rig.wings[k] = np.stack([_unit(out * 0.9 - fore * 0.12), -fore, shoulder + fore * 0.22 * chord])
    rig.wing_size[k] = (span, chord * 1.15)


def place_legs(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array) -> None:
    """Thighs, tarsi and toes down to the perch, the ground or the trunk; tucked away in flight and on water."""
    pose = spec.attributes["pose"]
    h, w = plan.height * spec.plump, plan.width * spec.plump
    if pose == "swimming":
        rig.ground = -0.34 * h
        return
    if pose == "flying":
        trail = plan.leg > 1.0
        for s, side in SIDES:
            hip = body @ _vec(-0.45, -0.62 * h, side * 0.3 * w)
            back = body @ _vec(-1.15 - (0.7 * plan.leg if trail else 0.0), -0.25 * h, side * 0.14 * w)
            if trail:
                rig.put(f"leg{s}", hip, back, plan.leg_radius, plan.leg_radius * 0.8)
        return
    if pose == "clinging":
        _cling(rig, plan, body, h, w)
        return
    base = body @ _vec(-0.22, -0.55 * h, 0.0)
    # Feet stand under the bird's weight, so an upright body brings its legs forward.
    hip_x = 0.55 * base[0] + 0.10
    low = min(float((body @ _vec(-0.3, -h * 0.9, 0.0))[1]), base[1])
    floor = low - plan.leg * 0.72
    perched = pose == "perched"
    if perched:
        floor = low - min(plan.leg, 0.4) * 0.55
    for s, side in SIDES:
        hip = _vec(hip_x - 0.02, low + 0.30 * h, side * 0.36 * w)
        knee = _vec(hip_x + 0.10 - 0.05 * plan.leg, min(low + 0.02, floor + plan.leg * 0.8), side * 0.34 * w)
        foot = _vec(hip_x + 0.06, floor + plan.leg_radius * 0.8, side * (0.26 if perched else 0.32) * w)
        if not perched:
            foot += FORWARD * side * 0.10
        rig.put(f"thigh{s}", hip, knee, 0.30 * h, plan.leg_radius * 1.4, normal=RIGHT)
        rig.put(f"leg{s}", knee, foot, plan.leg_radius, plan.leg_radius * 0.82, normal=RIGHT)
        _toes(rig, plan, s, foot, side, perched)
    if perched:
        _branch(rig, spec, _vec(hip_x + 0.06, floor, 0.0))
    else:
        wading = spec.attributes["background"] == "water"
        rig.ground = floor + (0.28 * plan.leg if wading else 0.0)
        if spec.attributes["background"] == "rock":
            _stones(rig, spec, floor, hip_x)


def _toes(rig: Rig, plan: BodyPlan, s: str, foot: Array, side: float, perched: bool) -> None:
    length = 0.16 + 0.10 * plan.leg + plan.leg_radius
    r = plan.leg_radius * 0.72
    webbed = plan in (PLANS["duck"], PLANS["gull"])
    for i, turn in enumerate((-24.0, 24.0, 180.0)):
        reach = length * (0.6 if turn == 180.0 else 1.0)
        a = np.radians(turn + side * 6)
        end = foot + _vec(np.cos(a), 0.0, np.sin(a)) * reach
        if perched:
            end = foot + _vec(np.cos(a), -0.35, np.sin(a) * 0.6) * reach * 0.62
        flat = 0.3 if webbed and turn != 180.0 else 1.0
        rig.put(f"toe{i}{s}", foot, end, r, r * (2.2 if flat < 1 else 0.7), flat=flat, bound=i == 0)


def _branch(rig: Rig, spec: BirdSpec, under: Array) -> None:
    """A branch across the line of flight, and a twig or two."""
    n = spec.noise
    tilt = (n[0] - 0.5) * 0.5
    side = 1.0 if spec.azimuth > 0 else -1.0
    # The branch lies across the picture, not across the bird's path, as photographers like it.
    across = _vec(-np.sin(spec.azimuth), 0.0, np.cos(spec.azimuth)) * side
    along = _unit(RIGHT * 0.75 * (1 if across[2] >= 0 else -1) + across * 0.6 + UP * tilt)
    r = 0.10 + 0.06 * n[1]
    at = under - UP * r * 0.92
    rig.put("perch1", at - along * 6.0, at + along * 6.0, r * 1.5, r * 0.62, bound=False)
    start = at + along * (0.8 + n[2])
    rig.put("perch2", start, start + along * 1.7 + UP * (1.5 * n[3] - 0.2) - across * 0.5, r * 0.55, r * 0.2, bend=(0.0, 0.3), bound=False)
    start = at - along * (0.9 + n[4])
    rig.put("perch3", start, start - along * 1.3 - UP * (1.2 * n[5]) + across * 0.4, r * 0.5, r * 0.15, bend=(0.0, 0.25), bound=False)


def _stones(rig: Rig, spec: BirdSpec, floor: float, hip_x: float) -> None:
    """A flat boulder under the feet and two stones beside it."""
    n = spec.noise
    rig.ground = floor - 0.5
    for slot, x, z, r, y in (
        ("perch1", hip_x + 0.1, 0.0, 1.5, 0.0),
        ("perch2", hip_x + 1.9 + n[0], 1.6 - 3.2 * n[1], 0.7, -0.28),
        ("perch3", hip_x - 1.9 - n[2], 1.6 - 3.2 * n[3], 0.9, -0.18),
    ):
        axes = (r * (1 + 0.3 * n[4]), 0.62 * r * 0.7, r * 0.9)
        keep = len(rig.bounds)
        rig.ellipsoid(slot, _vec(x, floor - axes[1] + y, z), _unit(_vec(1, 0.06 - 0.12 * n[5], 0.2)), UP, axes)
        del rig.bounds[keep:]  # stones may leave the frame


def _cling(rig: Rig, plan: BodyPlan, body: Array, h: float, w: float) -> None:
    """A trunk in front of the belly, feet flat against it."""
    front = body @ _vec(-0.1, -1.0, 0.0)
    x = 0.62 * h + 0.62 + 0.30
    rig.put("perch1", _vec(x + 0.14, -7.0, 0.05), _vec(x - 0.10, 7.0, 0.05), 0.66, 0.60, bound=False)
    for s, side in SIDES:
        hip = body @ _vec(-0.35, -0.5 * h, side * 0.4 * w)
        knee = hip + front * 0.18 + UP * 0.02
        foot = _vec(x - 0.55, float(hip[1]) + 0.22, side * 0.40 * w)
        rig.put(f"thigh{s}", hip, knee, 0.24 * h, 0.10, normal=RIGHT)
        rig.put(f"leg{s}", knee, foot, plan.leg_radius, plan.leg_radius * 0.8, normal=RIGHT)
        for i, turn in enumerate((60.0, 100.0, -70.0)):
            a = np.radians(turn)
            end = foot + _vec(0.0, np.sin(a), side * np.cos(a)) * 0.2
            rig.put(f"toe{i}{s}", foot, end, 0.036, 0.024, bound=False)
