"""Invented species, 215 of them, and single sightings: colours, body plans, markings, poses.

Drawn once by a seeded procedure that evens out how often each value is used, keeps to plausible
plumages (one to three main colours, markings that contrast) and never draws the same bird twice.
Fifty are held out for testing, and fifteen more for choosing (validation): new combinations, every single
value of which a training species also has.
"""

import hashlib
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from memdriven.aviary.world import PLANS, SETTINGS, TABLES, Colour, Setting

SRGB: dict[str, tuple[int, int, int]] = TABLES["colours"]
"""Name -> 8-bit sRGB, the middle of the colour's region."""

COLOURS: tuple[str, ...] = tuple(SRGB)
NEAR = frozenset(frozenset(pair.split()) for pair in TABLES["near"])
"""Pairs that read alike side by side: never put next to each other as a contrast."""


def srgb_to_linear(value: float) -> float:
    """One sRGB channel in [0, 1] to linear light (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def individual(name: str, rng: random.Random) -> Colour:
    """Linear RGB of one bird's version of a named colour: lighter or darker, warmer or cooler."""
    value = 2.0 ** rng.uniform(-0.16, 0.16)
    warmth = rng.uniform(-0.05, 0.05)
    r, g, b = (srgb_to_linear(channel / 255) for channel in SRGB[name])
    return (min(r * value * (1 + warmth), 1.0), min(g * value, 1.0), min(b * value * (1 - warmth), 1.0))


def contrast(one: str, other: str) -> bool:
    """Whether two names may stand next to each other as a marking that should be seen."""
    return one != other and frozenset((one, other)) not in NEAR


SPECIES = {"train": 150, "test": 50, "validation": 15}
"""How many there are of each split, in the order of their ids."""
DRAW_SEED = 20190617

PLUMAGE = ("crown", "head", "throat", "breast", "belly", "back", "wing", "tail")
COLOURED_MARKINGS = ("wing_bars", "eye_ring", "eye_stripe", "beak_color", "legs")
BACKGROUNDS = tuple(SETTINGS)
# Tuples, not sets: these are drawn from, and the order of a set of strings differs by process.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    name: tuple(TABLES[values] if isinstance(values, str) else values)
    for name, values in TABLES["attributes"].items()
}
"""Every attribute with its possible values. The last two belong to a picture, shapes and pattern to
a species, colours to a species or to one of its morphs."""


@dataclass(frozen=True)
class Species:
    """One species: the shapes that its members share, and the plumage that is typical of them."""

    id: int
    name: str
    split: str
    attributes: dict[str, str]
    """All of `ATTRIBUTES` but the pose and the background, in their order."""


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
        belly = draw.pick("belly", _beside(breast, back, of=(*TABLES["pale"], "grey", "orange")))
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
        stripe = "white" if plumage["head"] in TABLES["dark"] else "black"
    pattern = "plain"
    if rng.random() < 0.46:
        pattern = draw.pick("pattern", ATTRIBUTES["pattern"][1:])
    beak = draw.pick("beak_color", _beside(plumage["head"], of=ATTRIBUTES["beak_color"]))
    return {
        "wing_bars": bars,
        "eye_ring": ring,
        "eye_stripe": stripe,
        "pattern": pattern,
        "beak_color": beak,
        "legs": draw.pick("legs", ATTRIBUTES["legs"]),
        "beak_shape": draw.pick("beak_shape", PLANS[plan].beaks),
        "crest": "crested" if PLANS[plan].crest and rng.random() < 0.6 else "none",
        "size": PLANS[plan].size,
    }


def _name(rng: random.Random, plan: str, taken: set[str]) -> str:
    while True:
        name = f"{rng.choice(TABLES['names']['first'])}-{rng.choice(TABLES['names']['second'])} {plan}"
        if name not in taken:
            taken.add(name)
            return name


def _harlequin(plumage: dict[str, str]) -> bool:
    """Whether it has more colours than a bird would."""
    return len(set(plumage.values())) > 5


def morph(species: Species, rng: random.Random) -> dict[str, str]:
    """The attributes of a colour morph: shape and pattern of the species, colours of its own."""
    draw, plan = _Draw(rng), species.attributes["body_plan"]
    plumage = _plumage(draw, plan)
    while _harlequin(plumage):
        plumage = _plumage(draw, plan)
    markings = _markings(draw, plan, plumage)
    coloured = {slot: markings[slot] for slot in COLOURED_MARKINGS}
    return {**species.attributes, **plumage, **coloured}


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
    splits = [split for split, count in SPECIES.items() for _ in range(count)]
    while len(drawn) < len(splits):
        plan, split = plans[len(drawn)], splits[len(drawn)]
        plumage = _plumage(draw, plan)
        candidate = {"body_plan": plan, **plumage, **_markings(draw, plan, plumage)}
        look = tuple(candidate[key] for key in ("body_plan", "head", "crown", "breast", "back", "wing"))
        allowed = split == "train" or known.issuperset(candidate.items())
        if look in seen or _harlequin(plumage) or not allowed:
            continue
        seen.add(look)
        draw.used.update(candidate.items())
        if split == "train":
            known.update(candidate.items())
        attributes = {key: candidate[key] for key in ATTRIBUTES if key in candidate}
        drawn.append(Species(len(drawn), _name(rng, plan, names), split, attributes))
    return tuple(drawn)


COLOUR_SLOTS = (*PLUMAGE, *COLOURED_MARKINGS)
MORPHS = 0.75
"""Share of sightings that wear a colour morph, not the species' typical plumage. Without morphs 150
training species are 150 combinations of colours, which networks learn by heart instead of colours.
"""

ODDS: dict[str, dict[str, float]] = TABLES["places"]
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
    colours: dict[str, Colour]
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
    setting: Setting = field(repr=False)
    """The place: of those of the background, as a rule the one against which the bird stands out."""


def possible_places(body_plan: str, pose: str) -> tuple[str, ...]:
    """The backgrounds in which a kind of bird is seen in a pose."""
    if pose == "swimming":
        return ("water",)
    if pose == "standing":
        return PLANS[body_plan].grounds
    return tuple(ODDS[pose])


def _choose_setting(background: str, colours: dict[str, Colour], rng: random.Random) -> Setting:
    """Of up to three settings of a background, the one against which a bird stands out most."""
    options = SETTINGS[background]
    bird = [np.sqrt(colours[part]) for part in ("back", "wing", "breast", "head")]

    def apart(setting: Setting) -> float:
        behind = np.sqrt((np.array(setting.bottom) + setting.top + setting.blotch) / 3)
        return float(np.mean([np.abs(behind - colour).sum() for colour in bird]))

    return max(rng.sample(options, min(len(options), 3)), key=apart)


def sample_bird(species_id: int, index: int, seed: int) -> BirdSpec:
    """The index-th sighting of a species: the same answer for the same three numbers, always."""
    species = all_species()[species_id]
    plan = PLANS[species.attributes["body_plan"]]
    rng = stream("bird", seed, species_id, index)
    attributes = morph(species, rng) if rng.random() < MORPHS else dict(species.attributes)
    pose = rng.choices([p for p, _ in plan.poses], [w for _, w in plan.poses])[0]
    if pose == "swimming":
        background = "water"
    elif pose == "standing":
        background = rng.choice(plan.grounds)
    else:
        background = rng.choices(list(ODDS[pose]), list(ODDS[pose].values()))[0]
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
    by_name: dict[str, Colour] = {}
    for slot in PLUMAGE:  # parts of one colour match on one bird
        colours[slot] = by_name.setdefault(attributes[slot], colours[slot])
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
        setting=_choose_setting(background, colours, stream("setting", seed, species_id, index)),
    )
