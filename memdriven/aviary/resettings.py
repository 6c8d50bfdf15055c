"""Birds of a data set in the place, light and plumage that a noise z asks for: targets for z.

Where every target follows from words and memory, the best G does not look at z. So z is drawn first
and the picture rendered from it: the remembered bird, what the caption names as the caption says, and
what neither settles as z says [ours]. The first `NUMBERS` of z mean

    z0, z1    background: the angle of (z0, z1), on a circle of the eight
    z2        which of that background's settings, from dark to bright
    z3, z4    the sun's height; the side that it stands on and how far (the sign of z4 is left or right)
    z5, z6    brightness, warmth
    z7, z8    a colour for the upper parts: the angle, on a circle of the fourteen
    z9, z10   a colour for the lower parts
    z11..z18  crown, head, throat, breast, belly, back, wing, tail: beyond a threshold it takes that colour
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

from memdriven.aviary.recolour import (
    HOSTS,
    Recolouring,
    Wish,
    captions_for,
    other_plumage,
    render_again,
    wear,
)
from memdriven.aviary.scene import SETTINGS, Colour, Setting
from memdriven.aviary.species import PLUMAGE, BirdSpec, contrast, possible_places
from memdriven.errors import DataError, require

RESETTINGS = "aviary-resettings"
SOURCE = "Aviary: birds of a data set in places, lights and plumages that a noise asks for"
NUMBERS = 20
"""How many numbers of z an item records."""
PLACES = ("foliage", "grass", "sand", "dusk", "rock", "snow", "sky", "water")
COLOUR_CIRCLE = (
    *("red", "orange", "yellow", "olive", "green", "blue", "purple"),
    *("black", "brown", "rufous", "buff", "grey", "white", "pink"),
)
UPPER = ("crown", "head", "back", "wing", "tail")
_NORMAL = NormalDist()


def resetting(
    spec: BirdSpec,
    visible: Sequence[str],
    rng: random.Random,
    *,
    plumage: float = 0.25,
    wishes: float = 0.8,
    places: float = 0.4,
) -> Wish:
    """Draw a noise and a caption, and change a sighting as they ask.

    A background or part that the caption names is the caption's: then the numbers of z that would
    have chosen it are None, as are those of what the bird's pose leaves open to no choice.

    Args:
        spec: the remembered bird; kind, build, pose and viewpoint stay.
        visible: attributes of it that its picture shows.
        rng: the only source of chance.
        plumage: share of the parts nobody named that take a colour of z's.
        wishes: share of captions about a bird of other colours; the rest describe this one.
        places: share of captions that name a background, one of those in which it can be.
    """
    z: list[float | None] = [round(rng.gauss(0.0, 1.0), 4) for _ in range(NUMBERS)]
    drawn = [number or 0.0 for number in z]
    options = possible_places(spec.attributes["body_plan"], spec.attributes["pose"])
    wanted = other_plumage(spec, rng) if rng.random() < wishes else dict(spec.attributes)
    wanted["background"] = rng.choice(options)
    place_named = rng.random() < places
    captions = captions_for(wanted, spec, visible, rng)
    caption, names = next((c for c in captions if ("background" in c[1]) == place_named), captions[0])

    place = names.get("background") or background(drawn[0], drawn[1], options)
    settings = sorted(SETTINGS[place], key=lambda s: sum(s.bottom) + sum(s.top))
    setting = settings[int(_share(drawn[2]) * len(settings))]
    if "background" in names or len(options) == 1:
        z[0] = z[1] = None
    taken = plumage_asked(drawn, names, plumage)
    for first, parts in ((7, UPPER), (9, [part for part in PLUMAGE if part not in UPPER])):
        if not any(part in taken for part in parts):
            z[first] = z[first + 1] = None
    for number, part in enumerate(PLUMAGE, start=11):
        if part in names or not plumage:
            z[number] = None
    z[19] = None

    made = wear(spec, {**names, **taken, "background": place}, rng)
    specimen = replace(
        made,
        sun_elevation=math.radians(32 + 28 * _share(drawn[3])),
        sun_azimuth=math.copysign(math.radians(25 + 50 * (2 * _share(abs(drawn[4])) - 1)), drawn[4]),
        setting=lit(setting, drawn[5], drawn[6]),
    )
    return Wish(caption, names, specimen, tuple(z))


def background(z0: float, z1: float, options: Sequence[str]) -> str:
    """Of the possible backgrounds, the one nearest to the angle of (z0, z1) on the circle of `PLACES`."""
    at = _turn(z0, z1) * len(PLACES)

    def away(place: str) -> float:
        distance = abs(at - PLACES.index(place) - 0.5)
        return min(distance, len(PLACES) - distance)

    return min(options, key=away)


def plumage_asked(z: Sequence[float], names: dict[str, str], share: float) -> dict[str, str]:
    """The colours that z gives to plumage nobody named: part -> colour.

    A marking that the caption names stays readable: its part takes no colour near the marking's.
    """
    if not share:
        return {}
    threshold = _NORMAL.inv_cdf(1 - share)
    taken = {}
    for number, part in enumerate(PLUMAGE, start=11):
        first = 7 if part in UPPER else 9
        colour = COLOUR_CIRCLE[int(_turn(z[first], z[first + 1]) * len(COLOUR_CIRCLE))]
        markings = [names[marking] for marking, host in HOSTS.items() if host == part and marking in names]
        if part not in names and z[number] > threshold and all(contrast(colour, m) for m in markings):
            taken[part] = colour
    return taken


def lit(setting: Setting, brightness: float, warmth: float) -> Setting:
    """A setting brighter by 0.3 stops and warmer by a tenth a unit, its light by half as much.

    The light falls on the bird, whose colours are to be told by their names still.
    """

    def tint(colour: Colour, strength: float) -> Colour:
        gain, warm = 2 ** (0.3 * strength * brightness), 0.1 * strength * max(min(warmth, 4.0), -4.0)
        r, g, b = colour
        return (r * gain * (1 + warm), g * gain, b * gain * (1 - warm))

    dark, pale = setting.ground
    return replace(
        setting,
        bottom=tint(setting.bottom, 1.0),
        top=tint(setting.top, 1.0),
        blotch=tint(setting.blotch, 1.0),
        ground=(tint(dark, 0.5), tint(pale, 0.5)),  # which the light falls on, too
        sun=tint(setting.sun, 0.5),
        sky=tint(setting.sky, 0.5),
        bounce=tint(setting.bounce, 0.5),
    )


def _share(z: float) -> float:
    """The share of noise below z, in [0, 1)."""
    return min(_NORMAL.cdf(z), 1 - 1e-9)


def _turn(a: float, b: float) -> float:
    """The angle of (a, b) in turns, in [0, 1)."""
    return math.atan2(b, a) / (2 * math.pi) % 1.0 % 1.0


@dataclass(frozen=True, kw_only=True)
class Resettings(Recolouring):
    """How the birds of a data set are rendered again, in other places."""

    per_image: int = 3
    plumage: float = 0.25
    """Share of the parts that no word names which take a colour of z's."""
    wishes: float = 0.8
    """Share of captions about a bird of other colours; the rest describe the remembered one."""
    places: float = 0.4
    """Share of captions that name a background, any of those where the bird can be."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, share in self.shares.items():
            fits = 0 <= share <= (0.99 if name == "plumage" else 1)
            require(fits, DataError, f"a share from 0 to 1 of {name}", share, "choose another")

    @property
    def shares(self) -> dict[str, Any]:
        """What `resetting` is given."""
        return {"plumage": self.plumage, "wishes": self.wishes, "places": self.places}


def prepare_resettings(
    dataset: Path, out: Path, how: Resettings | None = None, *, progress: bool = True
) -> Path:
    """Render Aviary's birds in the place, light and plumage that a noise z asks for.

    For `train --extra`: z gets something to say that neither words nor memory settle. As `prepare
    recoloured`, whose caption, record and `memory` each item has; and in `noise` the first numbers of
    its z, None where the picture does not depend on one (draw these anew each time).

    Args:
        dataset: a prepared Aviary.
        out: a new folder, or an earlier one of these; it is returned.
        how: pictures are rendered.
        progress: show a bar.

    Raises:
        DataError: `dataset` is no Aviary, `out` holds something else, or the disk is full.
    """
    how = how or Resettings()
    about: dict[str, Any] = {"name": RESETTINGS, "source": SOURCE, **how.shares}
    remake = partial(resetting, **how.shares)
    return render_again(dataset, out, how, remake, "setting", progress=progress, **about)
