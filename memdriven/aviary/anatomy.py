"""From a bird to its primitives: where the skeleton puts every ellipsoid, feather and toe."""

from __future__ import annotations

import numpy as np

from memdriven.aviary.camera import Array
from memdriven.aviary.legs import place_legs
from memdriven.aviary.limbs import place_tail, place_wings
from memdriven.aviary.plans import BEAK_SHAPES, PLANS, BodyPlan
from memdriven.aviary.rig import FORWARD, RIGHT, UP, Rig, rotation, vec
from memdriven.aviary.specimen import BirdSpec


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
    place_tail(rig, plan, spec, body)
    place_wings(rig, plan, spec, body)
    place_legs(rig, plan, spec, body)
    return rig


def _torso(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array) -> None:
    """Body, neck, head, eyes, beak and crest."""
    flying = spec.attributes["pose"] == "flying"
    x, y, z = body.T
    h, w = plan.height * spec.plump, plan.width * spec.plump
    rig.body_axes = vec(1.0, h, w)
    rig.ellipsoid("body", vec(0, 0, 0), x, y, (1.0, h, w))
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
    middle = (
        (neck_base + neck) / 2 - x * plan.neck_curve * (0.35 if flying else 0.8) + y * 0.12 * plan.neck_curve
    )
    if plan.neck_curve and not flying:
        middle = (
            neck_base * 0.55 + neck * 0.45 + x * plan.neck_curve * 0.15 - FORWARD * plan.neck_curve * 0.35
        )
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
    at = vec(0.36 + 0.42 * front**2, 0.20 if not plan.face else 0.12, 0.86 - 0.46 * front**2)
    if not plan.face:
        at = at * vec(plan.head_long, 1.0, 0.94) / np.linalg.norm(at) * 0.97
    else:
        at = vec(0.74, 0.12, 0.38)
    rig.eye_at, rig.eye_radius = at, eye
    for s, side in (("-", -1.0), ("+", 1.0)):
        rig.ellipsoid(
            f"eye{s}", neck + (hx * at[0] + hy * at[1] + hz * at[2] * side) * r, hx, hy, (eye * r,) * 3
        )

    length, half, ratio, bend, tip = BEAK_SHAPES[spec.attributes["beak_shape"]]
    length *= plan.beak * r
    half *= r * (0.8 + 0.2 * plan.beak)
    ratio *= plan.beak_depth
    base = neck + hx * r * (depth if not plan.face else 0.72) - hy * r * 0.06
    end = base + hx * (length + 0.12 * r)
    drop = bend * length * 0.55
    hooked = spec.attributes["beak_shape"] == "hooked"
    rig.put(
        "beak",
        base,
        end,
        half,
        half * tip,
        flat=ratio,
        normal=hy,
        bend=(0.0, -drop),
        bulge=half * (0.22 if hooked else 0.0),
    )
    if hooked:
        point = end - hy * drop
        rig.put(
            "beak_tip",
            point - hx * half * 0.12,
            point - hy * half * 0.95 - hx * half * 0.1,
            half * 0.30,
            half * 0.06,
            normal=hz,
        )
    under = 0.62 if hooked else 0.93
    rig.put(
        "mandible",
        base - hy * half * ratio * 0.42,
        base + (end - base) * under - hy * half * ratio * 0.30,
        half * 0.84,
        half * tip * 0.7,
        flat=ratio * 0.62,
        normal=hy,
        bend=(0.0, -drop * 0.95),
    )

    if spec.attributes["crest"] == "crested":
        c = plan.crest * r
        if plan.face:  # ear tufts
            for s, side in (("1", -1.0), ("2", 1.0)):
                root = neck + hy * r * 0.70 + hz * side * r * 0.46 + hx * r * 0.2
                rig.put(
                    f"crest{s}",
                    root,
                    root + hy * c + hz * side * c * 0.35 - hx * c * 0.15,
                    r * 0.22,
                    r * 0.03,
                    flat=0.5,
                    normal=hx,
                )
        elif plan.neck_curve:  # a heron's plume
            for s, lift in (("1", 0.30), ("2", 0.10)):
                root = neck - hx * r * 0.5 + hy * r * 0.62
                rig.put(
                    f"crest{s}",
                    root,
                    root - hx * c + hy * (lift - 0.45) * c,
                    r * 0.16,
                    r * 0.02,
                    flat=0.6,
                    normal=hy,
                )
        else:
            for s, lift, reach in (("1", 0.85, 1.0), ("2", 0.42, 0.85)):
                root = neck + hx * r * (0.2 if s == "1" else -0.3) + hy * r * 0.66
                tip_at = root - hx * c * 0.62 * reach + hy * c * lift
                rig.put(f"crest{s}", root, tip_at, r * 0.34, r * 0.05, flat=0.42, normal=hz)
