"""Two hundred invented species: a body plan, a colour for every part, a pattern and a beak each.

Drawn once by a seeded procedure that evens out how often each value is used, keeps to plausible
plumages (one to three main colours, markings that contrast) and never draws the same bird twice.
The last fifty are held out for testing: new combinations, every single value of which a training
species also has.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache

from memdriven.aviary.palette import COLOURS, DARK, PALE, contrast
from memdriven.aviary.plans import BEAK_SHAPES, PLANS

TRAIN_SPECIES, TEST_SPECIES = 150, 50
DRAW_SEED = 20190617

POSES = ("perched", "standing", "swimming", "flying", "clinging")
BACKGROUNDS = ("foliage", "water", "grass", "snow", "sand", "rock", "dusk", "sky")
COLOURED_MARKINGS = ("wing_bars", "eye_ring", "eye_stripe", "beak_color", "legs")
BARE_COLOURS = ("black", "grey", "yellow", "orange", "red", "pink", "brown")

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "crown": COLOURS,
    "head": COLOURS,
    "throat": COLOURS,
    "breast": COLOURS,
    "belly": COLOURS,
    "back": COLOURS,
    "wing": COLOURS,
    "tail": COLOURS,
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


def _plumage(draw: _Draw, plan: str) -> dict[str, str]:
    """Colours by part: an upper side, an under side, a head scheme and accents."""
    rng = draw.rng
    back = draw.pick("back", COLOURS)
    breast = draw.pick("breast", [c for c in COLOURS if contrast(c, back)])
    if rng.random() < 0.10 or (plan == "crow" and rng.random() < 0.4):
        breast = back  # a bird of one colour
    belly = breast
    if rng.random() < 0.45:
        belly = draw.pick(
            "belly", [c for c in (*PALE, "grey", "orange") if contrast(c, breast) and contrast(c, back)]
        )
    head = draw.pick("head", [c for c in COLOURS if contrast(c, back)]) if rng.random() < 0.55 else back
    crown = draw.pick("crown", [c for c in COLOURS if contrast(c, head)]) if rng.random() < 0.5 else head
    roll = rng.random()
    if roll < 0.4:
        throat = breast
    elif roll < 0.55:
        throat = head
    else:
        throat = draw.pick("throat", [c for c in COLOURS if contrast(c, head) and contrast(c, breast)])
    wing = back
    if rng.random() < 0.62:
        wing = draw.pick("wing", [c for c in COLOURS if contrast(c, back)])
    tail = (
        rng.choice((wing, back))
        if rng.random() < 0.62
        else draw.pick("tail", [c for c in COLOURS if contrast(c, back)])
    )
    return {
        "crown": crown,
        "head": head,
        "throat": throat,
        "breast": breast,
        "belly": belly,
        "back": back,
        "wing": wing,
        "tail": tail,
    }


def _markings(draw: _Draw, plan: str, plumage: dict[str, str]) -> dict[str, str]:
    """Bars, rings, stripes, bare parts and the beak."""
    rng = draw.rng
    bars = "none"
    if rng.random() < 0.42:
        bars = draw.pick(
            "wing_bars", [c for c in ATTRIBUTES["wing_bars"][1:] if contrast(c, plumage["wing"])]
        )
    ring = "none"
    if rng.random() < 0.36:
        ring = draw.pick("eye_ring", [c for c in ("white", "yellow", "red") if contrast(c, plumage["head"])])
    stripe = "none"
    if rng.random() < 0.3 and plan != "owl":
        stripe = "white" if plumage["head"] in DARK else "black"
    pattern = "plain"
    if rng.random() < 0.46:
        pattern = draw.pick("pattern", ("streaked", "spotted", "barred"))
    beak = draw.pick("beak_color", [c for c in BARE_COLOURS if contrast(c, plumage["head"])])
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
    "ember",
    "willow",
    "harbour",
    "lantern",
    "thistle",
    "marble",
    "saffron",
    "juniper",
    "pebble",
    "velvet",
    "cinder",
    "meadow",
    "frost",
    "copper",
    "orchard",
    "tidal",
    "amber",
    "bramble",
    "cloud",
    "clover",
    "dawn",
    "drift",
    "fern",
    "glen",
    "hazel",
    "ivory",
    "jasper",
    "lichen",
    "maple",
    "mist",
    "moss",
    "nettle",
    "opal",
    "plum",
    "quartz",
    "reed",
    "rowan",
    "sable",
    "shale",
    "sorrel",
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
