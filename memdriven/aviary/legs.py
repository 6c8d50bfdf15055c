"""Legs, feet, and what they hold on to: branch, stones or trunk."""

from __future__ import annotations

import numpy as np

from memdriven.aviary.camera import Array
from memdriven.aviary.plans import PLANS, BodyPlan
from memdriven.aviary.rig import FORWARD, RIGHT, SIDES, UP, Rig, unit, vec
from memdriven.aviary.specimen import BirdSpec


def place_legs(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array) -> None:
    """Thighs, tarsi and toes down to the perch, ground or trunk; none in flight and on water."""
    pose = spec.attributes["pose"]
    h, w = plan.height * spec.plump, plan.width * spec.plump
    if pose == "swimming":
        rig.ground = -0.34 * h
        return
    if pose == "flying":
        trail = plan.leg > 1.0
        for s, side in SIDES:
            hip = body @ vec(-0.45, -0.62 * h, side * 0.3 * w)
            back = body @ vec(-1.15 - (0.7 * plan.leg if trail else 0.0), -0.25 * h, side * 0.14 * w)
            if trail:
                rig.put(f"leg{s}", hip, back, plan.leg_radius, plan.leg_radius * 0.8)
        return
    if pose == "clinging":
        _cling(rig, plan, body, h, w)
        return
    base = body @ vec(-0.22, -0.55 * h, 0.0)
    # Feet stand under the bird's weight, so an upright body brings its legs forward.
    hip_x = 0.55 * base[0] + 0.10
    low = min(float((body @ vec(-0.3, -h * 0.9, 0.0))[1]), base[1])
    floor = low - plan.leg * 0.72
    perched = pose == "perched"
    if perched:
        floor = low - min(plan.leg, 0.4) * 0.55
    for s, side in SIDES:
        hip = vec(hip_x - 0.02, low + 0.30 * h, side * 0.36 * w)
        knee = vec(hip_x + 0.10 - 0.05 * plan.leg, min(low + 0.02, floor + plan.leg * 0.8), side * 0.34 * w)
        foot = vec(hip_x + 0.06, floor + plan.leg_radius * 0.8, side * (0.26 if perched else 0.32) * w)
        if not perched:
            foot += FORWARD * side * 0.10
        rig.put(f"thigh{s}", hip, knee, 0.30 * h, plan.leg_radius * 1.4, normal=RIGHT)
        rig.put(f"leg{s}", knee, foot, plan.leg_radius, plan.leg_radius * 0.82, normal=RIGHT)
        _toes(rig, plan, s, foot, side, perched)
    if perched:
        _branch(rig, spec, vec(hip_x + 0.06, floor, 0.0))
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
        end = foot + vec(np.cos(a), 0.0, np.sin(a)) * reach
        if perched:
            end = foot + vec(np.cos(a), -0.35, np.sin(a) * 0.6) * reach * 0.62
        flat = 0.3 if webbed and turn != 180.0 else 1.0
        rig.put(f"toe{i}{s}", foot, end, r, r * (2.2 if flat < 1 else 0.7), flat=flat, bound=i == 0)


def _branch(rig: Rig, spec: BirdSpec, under: Array) -> None:
    """A branch across the line of flight, and a twig or two."""
    n = spec.noise
    tilt = (n[0] - 0.5) * 0.5
    side = 1.0 if spec.azimuth > 0 else -1.0
    # The branch lies across the picture, not across the bird's path, as photographers like it.
    across = vec(-np.sin(spec.azimuth), 0.0, np.cos(spec.azimuth)) * side
    along = unit(RIGHT * 0.75 * (1 if across[2] >= 0 else -1) + across * 0.6 + UP * tilt)
    r = 0.10 + 0.06 * n[1]
    at = under - UP * r * 0.92
    rig.put("perch1", at - along * 6.0, at + along * 6.0, r * 1.5, r * 0.62, bound=False)
    start = at + along * (0.8 + n[2])
    rig.put(
        "perch2",
        start,
        start + along * 1.7 + UP * (1.5 * n[3] - 0.2) - across * 0.5,
        r * 0.55,
        r * 0.2,
        bend=(0.0, 0.3),
        bound=False,
    )
    start = at - along * (0.9 + n[4])
    rig.put(
        "perch3",
        start,
        start - along * 1.3 - UP * (1.2 * n[5]) + across * 0.4,
        r * 0.5,
        r * 0.15,
        bend=(0.0, 0.25),
        bound=False,
    )


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
        rig.ellipsoid(slot, vec(x, floor - axes[1] + y, z), unit(vec(1, 0.06 - 0.12 * n[5], 0.2)), UP, axes)
        del rig.bounds[keep:]  # stones may leave the frame


def _cling(rig: Rig, plan: BodyPlan, body: Array, h: float, w: float) -> None:
    """A trunk in front of the belly, feet flat against it."""
    front = body @ vec(-0.1, -1.0, 0.0)
    x = 0.62 * h + 0.62 + 0.30
    rig.put("perch1", vec(x + 0.14, -7.0, 0.05), vec(x - 0.10, 7.0, 0.05), 0.66, 0.60, bound=False)
    for s, side in SIDES:
        hip = body @ vec(-0.35, -0.5 * h, side * 0.4 * w)
        knee = hip + front * 0.18 + UP * 0.02
        foot = vec(x - 0.55, float(hip[1]) + 0.22, side * 0.40 * w)
        rig.put(f"thigh{s}", hip, knee, 0.24 * h, 0.10, normal=RIGHT)
        rig.put(f"leg{s}", knee, foot, plan.leg_radius, plan.leg_radius * 0.8, normal=RIGHT)
        for i, turn in enumerate((60.0, 100.0, -70.0)):
            a = np.radians(turn)
            end = foot + vec(0.0, np.sin(a), side * np.cos(a)) * 0.2
            rig.put(f"toe{i}{s}", foot, end, 0.036, 0.024, bound=False)
