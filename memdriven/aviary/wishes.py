"""What a caption, and a noise z, ask of a remembered bird: targets that only a renderer has [ours].

At inference G is given the words for one bird and the memory of another. No collection of
photographs shows what should come of it. A renderer can: the remembered bird in its place and pose,
what the caption names as the caption says, and everything else as it was.

Where every target follows from words and memory, the best G does not look at z. So for some pictures
z is drawn first, and says what neither settles. The first `NUMBERS` of it mean

    z0, z1    background: the angle of (z0, z1), on a circle of the eight
    z2        which of that background's settings, from dark to bright
    z3, z4    the sun's height; the side that it stands on and how far (the sign of z4 is left or right)
    z5, z6    brightness, warmth
    z7, z8    the colour of crown and head: the angle, on a circle of the fourteen, where (z7, z8) is long
    z9, z10   the same for throat, breast and belly
    z11, z12  for back and wing
    z13, z14  for the tail

An angle and a length for each group, and no number that only counts together with others: what each number
does by itself is what a generator learns first.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

from memdriven.aviary.captions import describe
from memdriven.aviary.species import (
    ATTRIBUTES,
    COLOUR_SLOTS,
    PLUMAGE,
    BirdSpec,
    all_species,
    contrast,
    individual,
    morph,
    possible_places,
)
from memdriven.aviary.world import SETTINGS, TABLES, Colour, Setting

PATTERNS = 0.3
"""Share of wishes that may ask for another pattern of the plumage."""
OTHER_COLOURS = 0.8
"""Share of a noise's captions about a bird of other colours; the rest describe the remembered one."""
PLACE_NAMED = 0.4
"""Share of a noise's captions that name a background, any of those where the bird can be."""
UNNAMED = 0.4
"""Share of the parts that no word names which take a colour of z's."""
HOSTS = {"wing_bars": "wing", "eye_ring": "head", "eye_stripe": "head", "pattern": "breast"}
"""Where a marking would be that the bird does not have."""
NUMBERS = 15
"""How many numbers of z an item records."""
PLACES, COLOUR_CIRCLE = (tuple[str, ...](TABLES["circles"][name]) for name in ("places", "colours"))
GROUPS = {7: ("crown", "head"), 9: ("throat", "breast", "belly"), 11: ("back", "wing"), 13: ("tail",)}
"""The first of two numbers of z, and the parts whose colour they ask for."""
STEEP = 12.0
"""How sharply one value gives way to the next, a unit of length or a value's part of a circle."""
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Wish:
    """A caption, and the bird that it makes of another."""

    caption: str
    names: dict[str, str]
    """The attributes that the caption names."""
    specimen: BirdSpec
    noise: tuple[float | None, ...] = ()
    """`Item.noise`: the numbers that ask for the rest of the picture."""


def recolouring(spec: BirdSpec, visible: Sequence[str], rng: random.Random) -> Wish:
    """Draw a caption about a bird of other colours, and recolour what it names.

    Args:
        spec: the remembered bird.
        visible: attributes of it that its picture shows.
        rng: the only source of chance.
    """
    caption, names = _captions(_other_plumage(spec, rng), visible, rng)[0]
    return Wish(caption, names, _wear(spec, names, rng))


def resetting(spec: BirdSpec, visible: Sequence[str], rng: random.Random) -> Wish:
    """Draw a noise and a caption, and change a sighting as they ask.

    A background or part that the caption names is the caption's: then the numbers of z that would
    have chosen it are None, as are those of what the bird's pose leaves open to no choice.

    Args:
        spec: the remembered bird; kind, build, pose and viewpoint stay.
        visible: attributes of it that its picture shows.
        rng: the only source of chance.
    """
    z = [round(rng.gauss(0.0, 1.0), 4) for _ in range(NUMBERS)]
    options = possible_places(spec.attributes["body_plan"], spec.attributes["pose"])
    wanted = _other_plumage(spec, rng) if rng.random() < OTHER_COLOURS else dict(spec.attributes)
    wanted["background"] = rng.choice(options)
    place_named = rng.random() < PLACE_NAMED
    captions = _captions(wanted, visible, rng)
    caption, names = next((c for c in captions if ("background" in c[1]) == place_named), captions[0])

    place = names.get("background") or background(z[0], z[1], options)
    settings = sorted(SETTINGS[place], key=lambda s: sum(s.bottom) + sum(s.top))
    taken = _plumage_asked(z, names)
    specimen = replace(
        _wear(spec, {**names, **taken, "background": place}, rng),
        sun_elevation=math.radians(32 + 28 * _share(z[3])),
        sun_azimuth=math.copysign(math.radians(25 + 50 * (2 * _share(abs(z[4])) - 1)), z[4]),
        setting=_lit(settings[int(_share(z[2]) * len(settings))], z[5], z[6]),
    )

    unused = {first + i for first, parts in GROUPS.items() if set(parts) <= names.keys() for i in (0, 1)}
    if "background" in names or len(options) == 1:
        unused |= {0, 1}
    return Wish(caption, names, specimen, tuple(None if n in unused else z[n] for n in range(NUMBERS)))


def _other_plumage(spec: BirdSpec, rng: random.Random) -> dict[str, str]:
    """The attributes of a bird in the same pose and place, of the same shape, in other colours."""
    other = {**spec.attributes, **morph(all_species()[spec.species_id], rng)}
    other |= {key: spec.attributes[key] for key in ("pose", "background")}
    if rng.random() < PATTERNS:
        other["pattern"] = rng.choice(ATTRIBUTES["pattern"])
    return other


def _captions(
    wanted: dict[str, str], visible: Sequence[str], rng: random.Random
) -> list[tuple[str, dict[str, str]]]:
    """Captions about a bird with the attributes `wanted`, of what the remembered picture can show."""
    there = (name for name, value in wanted.items() if value not in ("none", "plain"))
    return describe(wanted, [n for n in there if n in visible or HOSTS.get(n) in visible], rng)


def _wear(spec: BirdSpec, names: dict[str, str], rng: random.Random) -> BirdSpec:
    """The same sighting of a bird that has the attributes `names`; parts of one colour match."""
    attributes, colours = {**spec.attributes, **names}, dict(spec.colours)
    changed = [slot for slot in COLOUR_SLOTS if attributes[slot] != spec.attributes[slot]]
    worn = {attributes[slot]: colours[slot] for slot in PLUMAGE if slot not in changed}
    for slot in changed:
        name = attributes[slot]
        colours[slot] = worn[name] if name in worn else individual(name, rng)
        if slot in PLUMAGE:
            worn[name] = colours[slot]
    return replace(spec, attributes=attributes, colours=colours)


def background(z0: float, z1: float, options: Sequence[str]) -> str:
    """Of the possible backgrounds, the one nearest to the angle of (z0, z1) on the circle of `PLACES`."""
    near = _nearness(z0, z1, PLACES, options)
    return max(near, key=near.__getitem__)


def asked(z: Sequence[float], options: Sequence[str]) -> dict[str, dict[str, float]]:
    """How far z asks for each value of place and plumage: attribute -> value -> weight, at most 1 in all.

    What is rendered is the value of the most weight, if that of them all is over a half; between two of
    them weights pass smoothly from one to the other, so that a walk through z does not jump.

    Args:
        z: at least its first `NUMBERS`.
        options: the backgrounds in which the remembered bird can be.
    """
    found = {"background": _nearness(z[0], z[1], PLACES, options)}
    length = math.sqrt(-2 * math.log(UNNAMED))
    for first, parts in GROUPS.items():
        a, b = z[first : first + 2]
        taken = 1 / (1 + math.exp(-STEEP * (math.hypot(a, b) - length)))
        near = _nearness(a, b, COLOUR_CIRCLE, COLOUR_CIRCLE)
        weights = {colour: taken * weight for colour, weight in near.items()}
        found |= dict.fromkeys(parts, weights)
    return found


def _nearness(a: float, b: float, circle: Sequence[str], options: Sequence[str]) -> dict[str, float]:
    """How near the angle of (a, b) is to each option's eighth (or fourteenth) of a circle; 1 in all."""
    at = _turn(a, b) * len(circle)
    apart = {option: abs(at - circle.index(option) - 0.5) for option in options}
    nearest = {o: math.exp(-STEEP * min(d, len(circle) - d)) for o, d in apart.items()}
    total = sum(nearest.values())
    return {option: weight / total for option, weight in nearest.items()}


def _plumage_asked(z: Sequence[float], names: dict[str, str]) -> dict[str, str]:
    """The colours that z gives to plumage nobody named: part -> colour.

    A marking that the caption names stays readable: its part takes no colour near the marking's.
    """
    taken, wanted = {}, asked(z, PLACES)
    for part in PLUMAGE:
        colour = max(wanted[part], key=wanted[part].__getitem__)
        markings = [names[marking] for marking, host in HOSTS.items() if host == part and marking in names]
        clear = all(contrast(colour, marking) for marking in markings)
        if part not in names and sum(wanted[part].values()) > 0.5 and clear:
            taken[part] = colour
    return taken


def _lit(setting: Setting, brightness: float, warmth: float) -> Setting:
    """A setting brighter by 0.3 stops and warmer by a tenth a unit, its light by half as much.

    The light falls on the bird, whose colours are to be told by their names still.
    """

    def tint(colour: Colour, strength: float) -> Colour:
        gain, warm = 2 ** (0.3 * strength * brightness), 0.1 * strength * max(min(warmth, 4.0), -4.0)
        r, g, b = colour
        return (r * gain * (1 + warm), g * gain, b * gain * (1 - warm))

    strengths = {
        **dict.fromkeys(("bottom", "top", "blotch"), 1.0),
        **dict.fromkeys(("sun", "sky", "bounce"), 0.5),
    }
    tints: dict[str, Any] = {name: tint(getattr(setting, name), s) for name, s in strengths.items()}
    dark, pale = setting.ground  # on which the light falls, too
    return replace(setting, ground=(tint(dark, 0.5), tint(pale, 0.5)), **tints)


def _share(z: float) -> float:
    """The share of noise below z, in [0, 1)."""
    return min(_NORMAL.cdf(z), 1 - 1e-9)


def _turn(a: float, b: float) -> float:
    """The angle of (a, b) in turns, in [0, 1)."""
    return math.atan2(b, a) / (2 * math.pi) % 1.0 % 1.0
