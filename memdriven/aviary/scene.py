"""Where the bird is: foliage out of focus, water, grass, snow, sand, rock, sky and dusk."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.aviary.raymarch import Camera, Rig, column, fractal, noise, pixel_grid, smoothstep, tensor
from memdriven.aviary.species import BirdSpec, stream

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Setting:
    """Colours of one kind of place, linear RGB."""

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


DISCS = 20
_DISC = ((-1.1, 1.1), (-1.1, 1.1), (0.05, 0.17), (0.1, 0.6))
"""Of a disc of light: x, y, radius, weight, drawn from."""


def choose_setting(spec: BirdSpec) -> Setting:
    """The bird's own place, or else of those that fit the one against which it stands out most."""
    if spec.setting is not None:
        return spec.setting
    rng = stream("setting", spec.seed, spec.species_id, spec.index)
    options = SETTINGS[spec.attributes["background"]]
    shown = rng.sample(options, min(len(options), 3))
    worn = spec.placed_as or spec.colours
    bird = [np.sqrt(worn[part]) for part in ("back", "wing", "breast", "head")]

    def apart(setting: Setting) -> float:
        behind = np.sqrt((np.array(setting.bottom) + setting.top + setting.blotch) / 3)
        return float(np.mean([np.abs(behind - colour).sum() for colour in bird]))

    return max(shown, key=apart)


class Scene:
    """Where one bird is, as tensors."""

    def __init__(self, spec: BirdSpec, rig: Rig) -> None:
        self.setting = setting = choose_setting(spec)
        self.bottom, self.top, self.blotch = map(column, (setting.bottom, setting.top, setting.blotch))
        self.sun, self.sky, self.bounce = map(column, (setting.sun, setting.sky, setting.bounce))
        self.dark, self.pale = map(column, setting.ground)
        self.kind = spec.attributes["background"] if rig.ground > -900 else ""
        """Of the ground: grass, snow, sand, rock or water; none in the air and above a perch."""
        self.level = tensor(max(rig.ground, -1e3))
        """Height of the ground."""
        rng = stream("discs", spec.seed, spec.species_id, spec.index)
        self.discs = tensor([[rng.uniform(*span) for span in _DISC] for _ in range(DISCS)])
        """x, y, radius, weight (DISCS, 4)."""
        self.place = tensor(spec.noise) * 100
        """Where noise is read (8)."""
        azimuth, up = spec.azimuth + spec.sun_azimuth, spec.sun_elevation
        self.sun_at = column(
            (math.cos(up) * math.cos(azimuth), math.sin(up), math.cos(up) * math.sin(azimuth))
        )
        """Unit vector to the sun (3, 1)."""


def backdrop(scene: Scene, size: int) -> Tensor:
    """What lies far behind, blurred: (3, size * size)."""
    setting, place = scene.setting, scene.place
    small = size // 2 if size <= 64 else size // 4
    x, y = pixel_grid(torch.arange(small * small), small)
    colour = scene.bottom + smoothstep(-1.1, 1.1, y) * (scene.top - scene.bottom)
    soft = fractal(x * 1.5 + place[0], y * 1.5 + place[1], 2)
    patch = smoothstep(0.40, 0.78, soft[0]) * setting.blotches
    colour = colour + patch * (scene.blotch - colour)
    colour = colour * (0.74 + 0.52 * soft[1])
    cloud = fractal(x * 1.1 + place[2], y * 2.3 + place[3], 4)[0]
    cloud = smoothstep(0.46, 0.72, cloud) * setting.clouds
    colour = colour + cloud * (scene.blotch - colour)
    at_x, at_y, radius, weight = scene.discs.T[:, :, None]  # each (k, 1)
    away = ((x - at_x).square() + (y - at_y).square()).sqrt() / radius
    glow = smoothstep(1.0, 0.82, away) * (0.6 + 0.4 * smoothstep(0.6, 0.95, away)) * weight
    light = glow.sum(0).clamp_(max=0.9) * setting.bokeh
    colour = colour + light * (scene.blotch * 1.25 + 0.10 - colour)
    return enlarged(colour, small, size)


def enlarged(maps: Tensor, small: int, size: int) -> Tensor:
    """Maps (c, small * small) in another size (c, size * size), bilinearly."""
    maps = maps.reshape(1, -1, small, small)
    return F.interpolate(maps, size=(size, size), mode="bilinear", align_corners=False).flatten(2)[0]


def ground(scene: Scene, camera: Camera, ray: Tensor, behind: Tensor) -> tuple[Tensor, Tensor]:
    """Colour of the ground before light, where rays meet it.

    ray (3, n), behind (3, n) the backdrop. Returns colour (3, n) and cover (n) in [0, 1] with a soft
    horizon.
    """
    down = (-ray[1]).clamp_min(1e-4)
    t = (camera.position[1] - scene.level).clamp_min(0.01) / down
    points = camera.position + ray * t.clamp(max=400.0)
    cover = smoothstep(0.004, 0.045, -ray[1])
    flat = camera.forward * column((1.0, 0.0, 1.0))
    r, f = (points * camera.right).sum(0), (points * flat).sum(0) * 1.05
    reach = camera.position.norm()
    focus = 1.0 / (1.0 + ((t - reach) / (0.30 * reach)).square())  # sharp where the bird is
    place = scene.place
    coarse = noise(r * 0.9 + place[0], f * 0.9 + place[1])
    grain, fine = noise(r * 13, f * 13), noise(r * 37, f * 37)
    if scene.kind == "grass":
        blade = noise(r * 17 + 2 * coarse[1], f * 3.2)
        detail = 0.75 * blade[0] + 0.45 * blade[1] - 0.1
    elif scene.kind == "snow":
        detail = 0.35 + 0.4 * coarse[3] + 0.2 * grain[0]
    elif scene.kind == "sand":
        ripple = 0.5 + 0.5 * (f * 7 + 6 * coarse[2] + 1.2 * r).sin()
        detail = 0.28 * ripple + 0.32 * grain[0] + 0.34 * fine[0]
    elif scene.kind == "rock":
        detail = 0.2 + 0.5 * grain[1] + 0.35 * fine[1]
    else:
        detail = torch.full_like(r, 0.5)
    level = 0.5 * coarse[0] + 0.25 + (detail - 0.5) * (0.10 + 0.90 * focus)
    colour = scene.dark + level.clamp(0.0, 1.0) * (scene.pale - scene.dark)
    if scene.kind == "water":
        wave = noise(r * 2.2 + place[2], f * 6.5)[0], noise(r * 5.0, f * 15.0 + 3 * coarse[0])[1]
        crest = smoothstep(0.48, 0.72, 0.5 * wave[0] + 0.5 * wave[1])
        mirror = 0.55 * scene.top + 0.45 * scene.bottom
        glance = 0.22 + 0.62 * (1.0 + ray[1]).clamp(0.0, 1.0).pow(5)
        colour = colour + glance * (mirror - colour)
        colour = colour + 0.55 * crest * (mirror * 1.05 - colour)
    haze = smoothstep(0.35, 0.02, -ray[1]) * 0.45
    return colour + haze * (behind - colour), cover
