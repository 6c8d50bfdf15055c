"""One bird in one picture: a species, and everything chance decides about this sighting of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from memdriven.aviary.palette import individual
from memdriven.aviary.places import Setting
from memdriven.aviary.plans import BEAK_SHAPES, PLANS
from memdriven.aviary.species import BACKGROUNDS, COLOURED_MARKINGS, all_species, morph, stream

PLUMAGE = ("crown", "head", "throat", "breast", "belly", "back", "wing", "tail")
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
