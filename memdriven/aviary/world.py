"""Tables of the birds' world: the sixteen kinds that species are built on, their beaks, and the places."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BodyPlan:
    """Proportions and habits of one kind of bird."""

    size: str
    """How a caption calls its size: small, medium, large."""
    height: float = 0.66
    width: float = 0.60
    """Half-axes of the body across its length."""
    breast: float = 0.60
    """Radius of the breast, which makes a bird plump."""
    pitch: float = 30.0
    """How far the standing body is raised from the horizontal."""
    neck: tuple[float, float] = (0.82, 0.62)
    """Head centre from the body centre: forward, up (body frame)."""
    neck_curve: float = 0.0
    """How far the middle of the neck bows back, for an S."""
    neck_radius: float = 0.38
    head: float = 0.46
    """Head radius."""
    head_long: float = 1.08
    """Head length over its height."""
    face: float = 0.0
    """Radius of a flat face disc over head radius (owls)."""
    eye: float = 0.17
    """Eye radius over head radius."""
    eye_front: float = 0.42
    """Where the eye sits: 0 at the side of the head, 1 in front."""
    beak: float = 1.0
    """Scale on the beak's length."""
    beak_depth: float = 1.0
    leg: float = 0.55
    """Length of the tarsus."""
    leg_radius: float = 0.055
    tail: float = 0.95
    tail_width: float = 0.17
    tail_angle: float = -4.0
    """Upward angle of the tail against the body axis."""
    tail_spread: float = 9.0
    fork: float = 0.0
    """Outer tail feathers longer than the middle by this share."""
    wing: float = 1.35
    """Reach of the folded wing from the shoulder."""
    span: float = 2.3
    """Length of one spread wing."""
    chord: float = 0.85
    pointed: float = 0.5
    """0 for broad fingered wings, 1 for narrow swept ones."""
    crest: float = 0.0
    """Length of a crest over head radius; 0 for a bird whose kind has none."""
    beaks: tuple[str, ...] = ("short",)
    poses: tuple[tuple[str, float], ...] = (("perched", 0.6), ("standing", 0.25), ("flying", 0.15))
    grounds: tuple[str, ...] = ("grass", "snow", "sand", "rock")


# fmt: off
PLANS: dict[str, BodyPlan] = {
    "finch": BodyPlan(size="small", beaks=("thick", "short")),
    "wren": BodyPlan(
        size="small", height=0.74, width=0.70, breast=0.66, pitch=22, neck=(0.68, 0.56), head=0.48,
        tail=0.62, tail_angle=62, tail_spread=7, wing=1.0, leg=0.6, beaks=("curved", "pointed"),
        beak=0.72, span=1.6, pointed=0.15,
        poses=(("perched", 0.6), ("standing", 0.36), ("flying", 0.04)),
    ),
    "gull": BodyPlan(
        size="large", height=0.50, width=0.47, breast=0.48, pitch=8, neck=(0.98, 0.52),
        neck_radius=0.27, head=0.34, eye=0.14, leg=0.62, tail=0.55, tail_width=0.2, wing=1.85,
        span=2.9, chord=0.62, pointed=0.85, beaks=("hooked", "pointed"), beak=1.15,
        poses=(("standing", 0.42), ("flying", 0.38), ("swimming", 0.2)),
        grounds=("sand", "rock", "snow"),
    ),
    "duck": BodyPlan(
        size="large", height=0.52, width=0.58, breast=0.54, pitch=2, neck=(0.90, 0.80),
        neck_radius=0.23, head=0.34, head_long=1.2, eye=0.15, leg=0.34, leg_radius=0.07, tail=0.42,
        tail_width=0.2, tail_angle=22, wing=1.25, span=2.1, chord=0.6, pointed=0.6, beaks=("flat",),
        poses=(("swimming", 0.62), ("standing", 0.28), ("flying", 0.1)),
        grounds=("grass", "snow", "sand"),
    ),
    "heron": BodyPlan(
        size="large", height=0.42, width=0.38, breast=0.40, pitch=34, neck=(1.15, 1.42),
        neck_curve=0.48, neck_radius=0.14, head=0.22, head_long=1.45, eye=0.19, leg=1.65,
        leg_radius=0.05, tail=0.42, tail_width=0.17, wing=1.2, span=2.7, chord=0.85, pointed=0.1,
        crest=1.5, beaks=("long", "pointed"), beak=1.25,
        poses=(("standing", 0.86), ("flying", 0.14)), grounds=("water", "grass", "sand", "rock"),
    ),
    "hummingbird": BodyPlan(
        size="small", height=0.48, width=0.44, breast=0.46, pitch=44, neck=(0.84, 0.44),
        neck_radius=0.3, head=0.38, eye=0.17, leg=0.12, leg_radius=0.035, tail=0.72,
        tail_width=0.15, tail_spread=14, fork=0.12, wing=1.6, span=1.75, chord=0.5, pointed=0.9,
        beaks=("long", "curved"), beak=1.35, poses=(("flying", 0.68), ("perched", 0.32)),
    ),
    "owl": BodyPlan(
        size="large", height=0.70, width=0.74, breast=0.64, pitch=74, neck=(0.86, 0.06),
        neck_radius=0.56, head=0.64, head_long=0.86, face=0.86, eye=0.23, eye_front=0.86, leg=0.2,
        leg_radius=0.1, tail=0.55, tail_width=0.24, wing=1.35, span=2.3, chord=1.0, pointed=0.05,
        crest=0.62, beaks=("hooked",), beak=0.42, beak_depth=0.62,
        poses=(("perched", 0.74), ("standing", 0.14), ("flying", 0.12)),
        grounds=("snow", "rock", "grass"),
    ),
    "woodpecker": BodyPlan(
        size="medium", height=0.50, width=0.48, breast=0.48, pitch=68, neck=(0.96, 0.34),
        neck_radius=0.31, head=0.39, head_long=1.15, leg=0.3, tail=0.85, tail_width=0.14,
        tail_angle=-4, wing=1.4, span=2.2, chord=0.8, pointed=0.3, crest=0.75,
        beaks=("pointed", "long"), beak=0.68,
        poses=(("clinging", 0.74), ("perched", 0.18), ("flying", 0.08)),
    ),
    "swallow": BodyPlan(
        size="small", height=0.44, width=0.42, breast=0.43, pitch=20, neck=(0.84, 0.28),
        neck_radius=0.33, head=0.37, leg=0.16, leg_radius=0.04, tail=1.25, tail_width=0.09,
        tail_spread=13, fork=0.6, wing=1.95, span=2.75, chord=0.52, pointed=1.0, beaks=("short",),
        beak=0.62, beak_depth=0.7, poses=(("flying", 0.58), ("perched", 0.42)),
    ),
    "parrot": BodyPlan(
        size="medium", height=0.52, width=0.50, breast=0.50, pitch=58, neck=(0.90, 0.22),
        neck_radius=0.40, head=0.47, leg=0.2, leg_radius=0.075, tail=1.6, tail_width=0.16,
        tail_spread=4, fork=-0.35, wing=1.5, span=2.2, chord=0.7, pointed=0.5, crest=0.85,
        beaks=("hooked",), beak=0.9, beak_depth=1.15, poses=(("perched", 0.82), ("flying", 0.18)),
    ),
    "crow": BodyPlan(
        size="large", height=0.53, width=0.50, breast=0.52, pitch=24, neck=(0.92, 0.52),
        neck_radius=0.34, head=0.40, head_long=1.18, eye=0.14, leg=0.68, leg_radius=0.065,
        tail=0.95, tail_width=0.22, wing=1.65, span=2.5, chord=0.9, pointed=0.05,
        beaks=("thick", "pointed"), beak=1.3,
        poses=(("standing", 0.45), ("perched", 0.35), ("flying", 0.2)),
    ),
    "kingfisher": BodyPlan(
        size="small", height=0.60, width=0.56, breast=0.55, pitch=52, neck=(0.84, 0.36),
        neck_radius=0.42, head=0.52, head_long=1.12, leg=0.16, tail=0.5, tail_width=0.16, wing=1.15,
        span=1.9, chord=0.7, crest=0.7, beaks=("long", "pointed"), beak=1.0, beak_depth=1.2,
        poses=(("perched", 0.86), ("flying", 0.14)),
    ),
    "dove": BodyPlan(
        size="medium", height=0.56, width=0.54, breast=0.58, pitch=16, neck=(0.90, 0.60),
        neck_radius=0.27, head=0.32, eye=0.17, leg=0.36, leg_radius=0.06, tail=1.1, tail_width=0.18,
        tail_spread=7, wing=1.45, span=2.2, chord=0.75, pointed=0.45, beaks=("short", "pointed"),
        beak=0.85, beak_depth=0.75, poses=(("standing", 0.45), ("perched", 0.4), ("flying", 0.15)),
    ),
    "sandpiper": BodyPlan(
        size="medium", height=0.50, width=0.46, breast=0.48, pitch=14, neck=(0.92, 0.68),
        neck_radius=0.22, head=0.30, head_long=1.15, leg=1.05, leg_radius=0.04, tail=0.38,
        tail_width=0.14, wing=1.4, span=2.2, chord=0.5, pointed=0.9, beaks=("long", "curved"),
        beak=1.45, poses=(("standing", 0.88), ("flying", 0.12)), grounds=("sand", "water", "rock"),
    ),
    "jay": BodyPlan(
        size="medium", height=0.55, width=0.52, breast=0.54, pitch=34, neck=(0.86, 0.50),
        neck_radius=0.36, head=0.42, leg=0.5, tail=1.4, tail_width=0.19, tail_spread=7, wing=1.3,
        span=2.1, chord=0.85, pointed=0.1, crest=0.95, beaks=("pointed", "thick"), beak=0.95,
        poses=(("perched", 0.66), ("standing", 0.2), ("flying", 0.14)),
    ),
    "hawk": BodyPlan(
        size="large", height=0.58, width=0.58, breast=0.58, pitch=60, neck=(0.92, 0.26),
        neck_radius=0.38, head=0.42, eye=0.17, eye_front=0.55, leg=0.4, leg_radius=0.085, tail=0.95,
        tail_width=0.2, wing=1.6, span=2.7, chord=1.05, pointed=0.08, beaks=("hooked",), beak=0.85,
        poses=(("perched", 0.55), ("flying", 0.35), ("standing", 0.1)),
        grounds=("rock", "snow", "grass"),
    ),
}
# fmt: on

BEAK_SHAPES: dict[str, tuple[float, float, float, float, float]] = {
    # length, half-width and depth over width at the base, downward bend, width left at the tip
    "short": (0.72, 0.25, 0.95, 0.0, 0.10),
    "thick": (0.88, 0.40, 1.12, 0.05, 0.12),
    "pointed": (1.30, 0.26, 1.0, 0.0, 0.06),
    "long": (2.45, 0.21, 1.0, 0.0, 0.07),
    "curved": (2.15, 0.20, 0.95, 0.62, 0.10),
    "hooked": (0.92, 0.34, 1.15, 0.26, 0.22),
    "flat": (1.45, 0.40, 0.42, -0.12, 0.95),
}
"""Beak shape -> (length, half-width, depth/width, bend, tip width/base width), lengths in head
radii."""


Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Setting:
    """Colours of a place, linear RGB."""

    bottom: Colour
    top: Colour
    blotch: Colour
    blotches: float = 0.8
    """Strength of soft patches in the backdrop."""
    bokeh: float = 0.0
    clouds: float = 0.0
    ground: tuple[Colour, Colour] = ((0.2, 0.2, 0.2), (0.3, 0.3, 0.3))
    sun: Colour = (1.0, 0.94, 0.84)
    sky: Colour = (0.62, 0.72, 0.90)
    bounce: Colour = (0.26, 0.24, 0.18)


_GRASS = ((0.055, 0.15, 0.018), (0.26, 0.36, 0.065))
_SNOW = ((0.62, 0.69, 0.82), (0.86, 0.89, 0.94))
_SAND = ((0.50, 0.38, 0.24), (0.72, 0.59, 0.41))
_ROCK = ((0.12, 0.115, 0.11), (0.30, 0.29, 0.275))

# fmt: off
SETTINGS: dict[str, tuple[Setting, ...]] = {
    "foliage": (
        Setting((0.035, 0.085, 0.018), (0.14, 0.26, 0.05), (0.40, 0.50, 0.12), bokeh=0.8),
        Setting((0.30, 0.40, 0.12), (0.52, 0.62, 0.26), (0.13, 0.24, 0.05), bokeh=0.7),
        Setting((0.020, 0.045, 0.030), (0.05, 0.12, 0.075), (0.17, 0.28, 0.13), bokeh=0.6),
        Setting((0.22, 0.30, 0.22), (0.46, 0.54, 0.42), (0.16, 0.27, 0.12), bokeh=0.5),
    ),
    "water": (
        Setting(
            (0.30, 0.42, 0.46), (0.52, 0.64, 0.70), (0.16, 0.27, 0.20), 0.5,
            ground=((0.03, 0.12, 0.16), (0.10, 0.27, 0.33)),
        ),
        Setting(
            (0.09, 0.17, 0.09), (0.22, 0.33, 0.16), (0.36, 0.45, 0.2), 0.8,
            ground=((0.015, 0.06, 0.06), (0.08, 0.19, 0.16)),
        ),
        Setting(
            (0.40, 0.55, 0.72), (0.30, 0.50, 0.80), (0.7, 0.78, 0.86), 0.5,
            ground=((0.02, 0.12, 0.27), (0.10, 0.30, 0.50)),
        ),
    ),
    "grass": (
        Setting(
            (0.17, 0.28, 0.05), (0.33, 0.44, 0.14), (0.08, 0.15, 0.03), bokeh=0.25, ground=_GRASS,
        ),
        Setting(
            (0.10, 0.18, 0.06), (0.045, 0.09, 0.035), (0.28, 0.34, 0.10), bokeh=0.3, ground=_GRASS,
        ),
    ),
    "snow": (
        Setting(
            (0.58, 0.66, 0.78), (0.40, 0.50, 0.64), (0.22, 0.29, 0.36), 0.7, ground=_SNOW,
            sun=(1.0, 0.96, 0.90), sky=(0.66, 0.75, 0.92), bounce=(0.50, 0.54, 0.62),
        ),
        Setting(
            (0.34, 0.41, 0.50), (0.17, 0.23, 0.30), (0.50, 0.58, 0.68), 0.8, bokeh=0.15,
            ground=_SNOW, sun=(1.0, 0.96, 0.90), sky=(0.66, 0.75, 0.92), bounce=(0.50, 0.54, 0.62),
        ),
    ),
    "sand": (
        Setting(
            (0.52, 0.44, 0.33), (0.36, 0.52, 0.68), (0.62, 0.55, 0.43), 0.5, ground=_SAND,
            bounce=(0.44, 0.36, 0.25),
        ),
        Setting(
            (0.16, 0.36, 0.46), (0.42, 0.60, 0.74), (0.10, 0.27, 0.38), 0.5, ground=_SAND,
            bounce=(0.44, 0.36, 0.25),
        ),
    ),
    "rock": (
        Setting((0.30, 0.33, 0.36), (0.46, 0.54, 0.62), (0.17, 0.19, 0.20), 0.8, ground=_ROCK),
        Setting((0.13, 0.16, 0.13), (0.25, 0.29, 0.24), (0.36, 0.38, 0.30), 0.7, ground=_ROCK),
    ),
    "dusk": (
        Setting(
            (0.92, 0.42, 0.14), (0.20, 0.13, 0.30), (0.95, 0.60, 0.34), 0.7, clouds=0.35,
            sun=(1.0, 0.80, 0.58), sky=(0.66, 0.56, 0.66),
        ),
        Setting(
            (0.85, 0.52, 0.40), (0.13, 0.17, 0.36), (0.90, 0.44, 0.36), 0.6, clouds=0.3,
            sun=(1.0, 0.82, 0.62), sky=(0.62, 0.58, 0.70),
        ),
    ),
    "sky": (
        Setting((0.52, 0.70, 0.90), (0.13, 0.34, 0.74), (0.93, 0.95, 0.97), 0.0, clouds=0.75),
        Setting((0.66, 0.76, 0.86), (0.36, 0.53, 0.76), (0.90, 0.92, 0.94), 0.0, clouds=0.55),
        Setting((0.30, 0.52, 0.82), (0.07, 0.22, 0.58), (0.85, 0.90, 0.95), 0.0, clouds=0.35),
    ),
}
# fmt: on
