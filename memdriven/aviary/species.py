"""Two hundred invented species, and single sightings of them: colours, body plans, markings, poses.

Drawn once by a seeded procedure that evens out how often each value is used, keeps to plausible
plumages (one to three main colours, markings that contrast) and never draws the same bird twice.
The last fifty are held out for testing: new combinations, every single value of which a training
species also has.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memdriven.aviary.scene import Setting


SRGB: dict[str, tuple[int, int, int]] = {
    "red": (206, 26, 30),
    "orange": (245, 126, 20),
    "yellow": (250, 214, 30),
    "olive": (128, 124, 42),
    "green": (44, 150, 58),
    "blue": (36, 92, 208),
    "purple": (112, 50, 158),
    "brown": (98, 64, 40),
    "rufous": (168, 76, 36),
    "buff": (226, 192, 136),
    "grey": (134, 138, 146),
    "black": (26, 26, 30),
    "white": (242, 242, 238),
    "pink": (240, 138, 164),
}
"""Name -> 8-bit sRGB, the middle of the colour's region."""

COLOURS: tuple[str, ...] = tuple(SRGB)
DARK = ("black", "brown", "purple", "blue", "rufous", "olive")
PALE = ("buff", "pink", "white", "yellow")
# Tuples, not sets: these are drawn from, and the order of a set of strings differs by process.
NEAR = frozenset(
    frozenset(pair.split())
    for pair in (
        *("brown rufous", "brown olive", "olive green", "orange rufous"),
        *("white buff", "brown black", "red rufous", "blue purple"),
    )
)
"""Pairs that read alike side by side: never put next to each other as a contrast."""


def srgb_to_linear(value: float) -> float:
    """One sRGB channel in [0, 1] to linear light (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def linear(name: str) -> tuple[float, float, float]:
    """Linear RGB reflectance of a named colour."""
    r, g, b = (srgb_to_linear(channel / 255) for channel in SRGB[name])
    return r, g, b


def individual(name: str, rng: random.Random) -> tuple[float, float, float]:
    """Linear RGB of one bird's version of a named colour: lighter or darker, warmer or cooler."""
    value = 2.0 ** rng.uniform(-0.16, 0.16)
    warmth = rng.uniform(-0.05, 0.05)
    r, g, b = linear(name)
    return (min(r * value * (1 + warmth), 1.0), min(g * value, 1.0), min(b * value * (1 - warmth), 1.0))


def contrast(one: str, other: str) -> bool:
    """Whether two names may stand next to each other as a marking that should be seen."""
    return one != other and frozenset((one, other)) not in NEAR


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


TRAIN_SPECIES, TEST_SPECIES = 150, 50
DRAW_SEED = 20190617

POSES = ("perched", "standing", "swimming", "flying", "clinging")
BACKGROUNDS = ("foliage", "water", "grass", "snow", "sand", "rock", "dusk", "sky")
PLUMAGE = ("crown", "head", "throat", "breast", "belly", "back", "wing", "tail")
COLOURED_MARKINGS = ("wing_bars", "eye_ring", "eye_stripe", "beak_color", "legs")
BARE_COLOURS = ("black", "grey", "yellow", "orange", "red", "pink", "brown")

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(PLUMAGE, COLOURS),
    "wing_bars": ("none", "white", "buff", "yellow", "black"),
    "eye_ring": ("none", "white", "yellow", "red"),
    "eye_stripe": ("none", "black", "white"),
    "beak_color": BARE_COLOURS,
    "legs": BARE_COLOURS,
    "beak_shape": tuple(BEAK_SHAPES),
    "pattern": ("plain", "streaked", "spotted", "barred"),
    "crest": ("none", "crested"),
    "size": ("small", "medium", "large"),
    "body_plan": tuple(PLANS),
    "pose": POSES,
    "background": BACKGROUNDS,
}
"""Every attribute with its possible values. The last two belong to a picture, shapes and pattern to
a species, colours to a species or to one of its morphs."""


@dataclass(frozen=True)
class Species:
    """One species: the shapes that its members share, and the plumage that is typical of them."""

    id: int
    name: str
    body_plan: str
    size: str
    crown: str
    head: str
    throat: str
    breast: str
    belly: str
    back: str
    wing: str
    tail: str
    wing_bars: str
    eye_ring: str
    eye_stripe: str
    beak_color: str
    legs: str
    beak_shape: str
    pattern: str
    crest: str

    @property
    def split(self) -> str:
        """Which split it belongs to, "train" or "test"."""
        return "train" if self.id < TRAIN_SPECIES else "test"

    def attributes(self) -> dict[str, str]:
        """The species' attributes, in the order of `ATTRIBUTES`."""
        return {key: getattr(self, key) for key in ATTRIBUTES if key not in ("pose", "background")}


def stream(*key: object) -> random.Random:
    """An independent random stream for a key, the same in every process and on every machine."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "little"))


class _Draw:
    """Weighted choice that leans towards the values used least so far."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.used: Counter[tuple[str, str]] = Counter()

    def pick(self, part: str, values: Sequence[str]) -> str:
        weights = [1.0 / (1.0 + self.used[part, value]) ** 1.5 for value in values]
        return self.rng.choices(values, weights)[0]

    def count(self, species: dict[str, str]) -> None:
        self.used.update(species.items())


def _beside(*neighbours: str, of: Sequence[str] = COLOURS) -> list[str]:
    """The colours that stand out from all of some others."""
    return [colour for colour in of if all(contrast(colour, one) for one in neighbours)]


def _plumage(draw: _Draw, plan: str) -> dict[str, str]:
    """Colours by part: an upper side, an under side, a head scheme and accents."""
    rng = draw.rng
    back = draw.pick("back", COLOURS)
    breast = draw.pick("breast", _beside(back))
    if rng.random() < 0.10 or (plan == "crow" and rng.random() < 0.4):
        breast = back  # a bird of one colour
    belly = breast
    if rng.random() < 0.45:
        belly = draw.pick("belly", _beside(breast, back, of=(*PALE, "grey", "orange")))
    head = draw.pick("head", _beside(back)) if rng.random() < 0.55 else back
    crown = draw.pick("crown", _beside(head)) if rng.random() < 0.5 else head
    roll = rng.random()
    if roll < 0.4:
        throat = breast
    elif roll < 0.55:
        throat = head
    else:
        throat = draw.pick("throat", _beside(head, breast))
    wing = draw.pick("wing", _beside(back)) if rng.random() < 0.62 else back
    tail = rng.choice((wing, back)) if rng.random() < 0.62 else draw.pick("tail", _beside(back))
    return dict(zip(PLUMAGE, (crown, head, throat, breast, belly, back, wing, tail), strict=True))


def _markings(draw: _Draw, plan: str, plumage: dict[str, str]) -> dict[str, str]:
    """Bars, rings, stripes, bare parts and the beak."""
    rng = draw.rng
    bars = ring = stripe = "none"
    if rng.random() < 0.42:
        bars = draw.pick("wing_bars", _beside(plumage["wing"], of=ATTRIBUTES["wing_bars"][1:]))
    if rng.random() < 0.36:
        ring = draw.pick("eye_ring", _beside(plumage["head"], of=ATTRIBUTES["eye_ring"][1:]))
    if rng.random() < 0.3 and plan != "owl":
        stripe = "white" if plumage["head"] in DARK else "black"
    pattern = "plain"
    if rng.random() < 0.46:
        pattern = draw.pick("pattern", ("streaked", "spotted", "barred"))
    beak = draw.pick("beak_color", _beside(plumage["head"], of=BARE_COLOURS))
    return {
        "wing_bars": bars,
        "eye_ring": ring,
        "eye_stripe": stripe,
        "pattern": pattern,
        "beak_color": beak,
        "legs": draw.pick("legs", BARE_COLOURS),
        "beak_shape": draw.pick("beak_shape", PLANS[plan].beaks),
        "crest": "crested" if PLANS[plan].crest and rng.random() < 0.6 else "none",
        "size": PLANS[plan].size,
    }


_FIRST = (
    *("ember", "willow", "harbour", "lantern", "thistle", "marble", "saffron", "juniper"),
    *("pebble", "velvet", "cinder", "meadow", "frost", "copper", "orchard", "tidal"),
    *("amber", "bramble", "cloud", "clover", "dawn", "drift", "fern", "glen"),
    *("hazel", "ivory", "jasper", "lichen", "maple", "mist", "moss", "nettle"),
    *("opal", "plum", "quartz", "reed", "rowan", "sable", "shale", "sorrel"),
)
_SECOND = ("crowned", "breasted", "tailed", "winged", "throated", "necked", "vented", "naped")


def _name(rng: random.Random, plan: str, taken: set[str]) -> str:
    while True:
        name = f"{rng.choice(_FIRST)}-{rng.choice(_SECOND)} {plan}"
        if name not in taken:
            taken.add(name)
            return name


def _harlequin(plumage: dict[str, str]) -> bool:
    """Whether it has more colours than a bird would."""
    return len(set(plumage.values())) > 5


def morph(species: Species, rng: random.Random) -> dict[str, str]:
    """The attributes of a colour morph: shape and pattern of the species, colours of its own."""
    draw = _Draw(rng)
    plumage = _plumage(draw, species.body_plan)
    while _harlequin(plumage):
        plumage = _plumage(draw, species.body_plan)
    markings = _markings(draw, species.body_plan, plumage)
    coloured = {slot: markings[slot] for slot in COLOURED_MARKINGS}
    return {**species.attributes(), **plumage, **coloured}


def _signature(species: dict[str, str]) -> tuple[str, ...]:
    return tuple(species[key] for key in ("body_plan", "head", "crown", "breast", "back", "wing"))


@cache
def all_species() -> tuple[Species, ...]:
    """All species, training ones first; the same in every process."""
    rng = stream("species", DRAW_SEED)
    draw = _Draw(rng)
    plans = [plan for _ in range(20) for plan in rng.sample(sorted(PLANS), len(PLANS))]
    seen: set[tuple[str, ...]] = set()
    known: set[tuple[str, str]] = set()  # every value a training species has
    names: set[str] = set()
    drawn: list[Species] = []
    while len(drawn) < TRAIN_SPECIES + TEST_SPECIES:
        plan = plans[len(drawn)]
        plumage = _plumage(draw, plan)
        candidate = {"body_plan": plan, **plumage, **_markings(draw, plan, plumage)}
        testing = len(drawn) >= TRAIN_SPECIES
        if _signature(candidate) in seen or (testing and not known.issuperset(candidate.items())):
            continue
        if _harlequin(plumage):
            continue
        seen.add(_signature(candidate))
        draw.count(candidate)
        if not testing:
            known.update(candidate.items())
        candidate["name"] = _name(rng, plan, names)
        order = [f.name for f in fields(Species) if f.name != "id"]
        drawn.append(Species(len(drawn), **{key: candidate[key] for key in order}))
    return tuple(drawn)


COLOUR_SLOTS = (*PLUMAGE, *COLOURED_MARKINGS)
MORPHS = 0.75
"""Share of sightings that wear a colour morph, not the species' typical plumage. Without morphs 150
training species are 150 combinations of colours, which networks learn by heart instead of colours.
"""

_ODDS = {
    "perched": (("foliage", 0.62), ("snow", 0.12), ("dusk", 0.12), ("sky", 0.14)),
    "flying": (("sky", 0.5), ("dusk", 0.2), ("water", 0.15), ("foliage", 0.15)),
    "clinging": (("foliage", 0.8), ("snow", 0.2)),
}
"""How often a pose is seen in which place; standing birds stand on any ground of their kind."""


@dataclass(frozen=True)
class BirdSpec:
    """All that the renderer needs for one picture. Angles in radians, colours linear RGB."""

    species_id: int
    index: int
    seed: int
    species: str
    attributes: dict[str, str]
    """Every attribute of this bird, and the picture's pose and background."""
    colours: dict[str, tuple[float, float, float]]
    azimuth: float
    """Camera's angle round the bird: 0 looks it in the face, pi/2 at its side."""
    elevation: float
    sun_azimuth: float
    """Relative to the camera."""
    sun_elevation: float
    head_yaw: float
    head_pitch: float
    pitch_change: float
    flap: float
    """Dihedral of spread wings."""
    bank: float
    plump: float
    fill: float
    shift: tuple[float, float]
    noise: tuple[float, ...]
    """Eight numbers in [0, 1) that place textures and scenery."""
    placed_as: dict[str, tuple[float, float, float]] | None = field(default=None, repr=False)
    """The colours for which a place was chosen, where these are not the bird's own any more."""
    setting: Setting | None = field(default=None, repr=False)
    """The place itself, where it is not to be chosen to suit the bird."""


def possible_places(body_plan: str, pose: str) -> tuple[str, ...]:
    """The backgrounds in which a kind of bird is seen in a pose."""
    if pose == "swimming":
        return ("water",)
    if pose == "standing":
        return PLANS[body_plan].grounds
    return tuple(place for place, _ in _ODDS[pose])


def sample_bird(species_id: int, index: int, seed: int) -> BirdSpec:
    """The index-th sighting of a species: the same answer for the same three numbers, always."""
    species = all_species()[species_id]
    plan = PLANS[species.body_plan]
    rng = stream("bird", seed, species_id, index)
    attributes = morph(species, rng) if rng.random() < MORPHS else species.attributes()
    pose = rng.choices([p for p, _ in plan.poses], [w for _, w in plan.poses])[0]
    if pose == "swimming":
        background = "water"
    elif pose == "standing":
        background = rng.choice(plan.grounds)
    else:
        odds = _ODDS[pose]
        background = rng.choices([b for b, _ in odds], [w for _, w in odds])[0]
    assert background in BACKGROUNDS
    attributes["pose"], attributes["background"] = pose, background

    side = rng.choice((-1, 1))
    if pose == "flying":
        azimuth = side * math.radians(rng.uniform(35, 125))
        elevation = math.radians(rng.choice((-1, 1)) * rng.uniform(6, 30))
    elif pose == "clinging":
        azimuth = side * math.radians(rng.uniform(75, 135))
        elevation = math.radians(rng.uniform(-4, 14))
    else:
        azimuth = side * math.radians(rng.triangular(22, 138, 72))
        low = 7 if pose in ("standing", "swimming") else -5
        elevation = math.radians(rng.uniform(low, low + 12))
    colours = {}
    for slot in COLOUR_SLOTS:
        name = attributes[slot]
        colours[slot] = (0.0, 0.0, 0.0) if name == "none" else individual(name, rng)
    by_name: dict[str, tuple[float, float, float]] = {}
    for slot in PLUMAGE:  # parts of one colour match on one bird
        colours[slot] = by_name.setdefault(attributes[slot], colours[slot])
    assert attributes["beak_shape"] in BEAK_SHAPES
    return BirdSpec(
        species_id=species_id,
        index=index,
        seed=seed,
        species=species.name,
        attributes=attributes,
        colours=colours,
        azimuth=azimuth,
        elevation=elevation,
        sun_azimuth=rng.choice((-1, 1)) * math.radians(rng.uniform(25, 75)),
        sun_elevation=math.radians(rng.uniform(32, 60)),
        head_yaw=math.radians(rng.gauss(0, 16)) + side * math.radians(rng.uniform(0, 14)),
        head_pitch=math.radians(rng.uniform(-10, 10)),
        pitch_change=math.radians(rng.gauss(0, 4)),
        flap=math.radians(rng.uniform(20, 62) if rng.random() < 0.75 else rng.uniform(-34, -8)),
        bank=math.radians(rng.uniform(-22, 22)),
        plump=rng.uniform(0.96, 1.07),
        fill=rng.uniform(0.74, 0.88),
        shift=(rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4)),
        noise=tuple(rng.random() for _ in range(8)),
    )
