"""Where the bird is: foliage out of focus, water, grass, snow, sand, rock, sky and dusk."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.aviary.raymarch import Camera, Rig, column, fractal, noise, pixel_grid, smoothstep, tensor
from memdriven.aviary.species import BirdSpec, stream

DISCS = 20
_DISC = ((-1.1, 1.1), (-1.1, 1.1), (0.05, 0.17), (0.1, 0.6))
"""Of a disc of light: x, y, radius, weight, drawn from."""


class Scene:
    """Where one bird is, as tensors."""

    def __init__(self, spec: BirdSpec, rig: Rig) -> None:
        self.setting = setting = spec.setting
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
