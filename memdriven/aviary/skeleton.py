"""From a sighting to its forty-two primitives: torso, neck, head, wings, tail, legs and perch."""

import numpy as np

from memdriven.aviary.raymarch import FORWARD, RIGHT, SIDES, UP, Array, Rig, rotation, unit, vec
from memdriven.aviary.species import BirdSpec
from memdriven.aviary.world import BEAK_SHAPES, PLANS, BodyPlan


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
        end, bulge = start + direction * length, width * 0.08
        rig.put(slot, start, end, width * 0.80, end_width, bulge=bulge, flat=0.30, cap=1.2, normal=y)


def place_wings(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array) -> None:
    """Spread wings in flight, folded ones otherwise, and the frame that feathers are painted in."""
    place = _spread if spec.attributes["pose"] == "flying" else _folded
    for k, (s, side) in enumerate(SIDES):
        place(rig, plan, spec, body, k, s, side)


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
    near, far = at(0.26, 0.22, 0.03), at(0.72, 0.12, 0.05)
    rig.put(f"secondaries{s}", near, far, 0.50 * h, 0.28 * h, flat=0.25, normal=out)
    for i, (end, drop) in enumerate(((1.0, -0.02), (0.93, 0.08), (0.85, 0.17), (0.76, 0.26))):
        near, far = at(0.42, 0.14 + 0.4 * drop, 0.02), at(end, drop, 0.04 - 0.03 * i)
        ends = (0.22 * h, 0.055 * h + 0.02)
        rig.put(f"primary{i + 1}{s}", near, far, *ends, bulge=0.02 * h, flat=0.26, normal=out)
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
    near = shoulder - fore * 0.05
    rig.put(f"coverts{s}", near, wrist, 0.21 * chord + 0.05, 0.13 * chord + 0.02, flat=0.36, normal=up)
    near, far = shoulder - fore * chord * 0.42 - out * 0.15, wrist - fore * chord * 0.42
    bend = (0.0, -0.03)
    rig.put(f"secondaries{s}", near, far, chord * 0.46, chord * 0.44, flat=0.12, normal=up, bend=bend)
    sweep = plan.pointed
    for i in range(4):
        share = i / 3
        turn = np.radians(4 + 30 * sweep + share * (56 - 20 * sweep))
        length = span * (0.70 - share * (0.22 + 0.10 * sweep))
        direction = hand * np.cos(turn) - fore * np.sin(turn)
        root = wrist - fore * chord * (0.05 + 0.34 * share) - hand * span * 0.09
        tip, width = root + direction * length, chord * (0.275 - 0.07 * sweep)
        ends, bend = (width, width * (0.5 - 0.22 * sweep)), (0.0, 0.06 * span * (1 - share))
        rig.put(f"primary{i + 1}{s}", root, tip, *ends, bulge=width * 0.22, flat=0.17, normal=up, bend=bend)
    rig.wings[k] = np.stack([unit(out * 0.9 - fore * 0.12), -fore, shoulder + fore * 0.22 * chord])
    rig.wing_size[k] = (span, chord * 1.15)


def place_legs(rig: Rig, plan: BodyPlan, spec: BirdSpec, body: Array) -> None:
    """Thighs, tarsi and toes down to the perch, ground or trunk; none in flight and on water."""
    pose = spec.attributes["pose"]
    h, w = plan.height * spec.plump, plan.width * spec.plump
    if pose == "swimming":
        rig.ground = -0.34 * h
        return
    if pose == "flying":
        for s, side in SIDES if plan.leg > 1.0 else ():  # long ones trail
            hip = body @ vec(-0.45, -0.62 * h, side * 0.3 * w)
            back = body @ vec(-1.15 - 0.7 * plan.leg, -0.25 * h, side * 0.14 * w)
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
    end = start + along * 1.7 + UP * (1.5 * n[3] - 0.2) - across * 0.5
    rig.put("perch2", start, end, r * 0.55, r * 0.2, bend=(0.0, 0.3), bound=False)
    start = at - along * (0.9 + n[4])
    end = start - along * 1.3 - UP * (1.2 * n[5]) + across * 0.4
    rig.put("perch3", start, end, r * 0.5, r * 0.15, bend=(0.0, 0.25), bound=False)


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
    curve = plan.neck_curve
    middle = (neck_base + neck) / 2 - x * curve * (0.35 if flying else 0.8) + y * 0.12 * curve
    if curve and not flying:
        middle = neck_base * 0.55 + neck * 0.45 + x * curve * 0.15 - FORWARD * curve * 0.35
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
    at = vec(0.74, 0.12, 0.38)
    if not plan.face:
        at = vec(0.36 + 0.42 * front**2, 0.20, 0.86 - 0.46 * front**2)
        at = at * vec(plan.head_long, 1.0, 0.94) / np.linalg.norm(at) * 0.97
    rig.eye_at, rig.eye_radius = at, eye
    for s, side in SIDES:
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
    bulge = half * (0.22 if hooked else 0.0)
    rig.put("beak", base, end, half, half * tip, flat=ratio, normal=hy, bend=(0.0, -drop), bulge=bulge)
    if hooked:
        point = end - hy * drop
        near, far = point - hx * half * 0.12, point - hy * half * 0.95 - hx * half * 0.1
        rig.put("beak_tip", near, far, half * 0.30, half * 0.06, normal=hz)
    near = base - hy * half * ratio * 0.42
    far = base + (end - base) * (0.62 if hooked else 0.93) - hy * half * ratio * 0.30
    ends = (half * 0.84, half * tip * 0.7)
    rig.put("mandible", near, far, *ends, flat=ratio * 0.62, normal=hy, bend=(0.0, -drop * 0.95))

    if spec.attributes["crest"] == "crested":
        c = plan.crest * r
        for s, side in (("1", -1.0), ("2", 1.0)):
            if plan.face:  # ear tufts
                root = neck + hy * r * 0.70 + hz * side * r * 0.46 + hx * r * 0.2
                tip_at = root + hy * c + hz * side * c * 0.35 - hx * c * 0.15
                rig.put(f"crest{s}", root, tip_at, r * 0.22, r * 0.03, flat=0.5, normal=hx)
            elif plan.neck_curve:  # a heron's plume
                lift = 0.30 if s == "1" else 0.10
                root = neck - hx * r * 0.5 + hy * r * 0.62
                tip_at = root - hx * c + hy * (lift - 0.45) * c
                rig.put(f"crest{s}", root, tip_at, r * 0.16, r * 0.02, flat=0.6, normal=hy)
            else:
                lift, reach = (0.85, 1.0) if s == "1" else (0.42, 0.85)
                root = neck + hx * r * (0.2 if s == "1" else -0.3) + hy * r * 0.66
                tip_at = root - hx * c * 0.62 * reach + hy * c * lift
                rig.put(f"crest{s}", root, tip_at, r * 0.34, r * 0.05, flat=0.42, normal=hz)
