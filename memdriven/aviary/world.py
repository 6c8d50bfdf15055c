"""Tables of the birds' world (`world.json`): colours, sixteen kinds of bird, beaks, names, places."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Colour = tuple[float, float, float]


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


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


TABLES: dict[str, Any] = json.loads(
    Path(__file__).with_name("world.json").read_bytes(),
    object_hook=lambda table: {name: _tuples(value) for name, value in table.items()},
)
PLANS: dict[str, BodyPlan] = {name: BodyPlan(**values) for name, values in TABLES["plans"].items()}
BEAK_SHAPES: dict[str, tuple[float, float, float, float, float]] = TABLES["beaks"]
"""Beak shape -> length, half-width at the base (both in head radii), depth over width, downward bend, width
left at the tip."""
SETTINGS: dict[str, tuple[Setting, ...]] = {
    place: tuple(Setting(**values) for values in found) for place, found in TABLES["settings"].items()
}
"""Place -> some views of it."""
