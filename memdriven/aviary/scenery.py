"""Where the bird is: foliage out of focus, water, grass, snow, sand, rock, sky and dusk.

A backdrop of soft gradients, blotches and bokeh, computed small and enlarged, which is depth blur
for nothing; and a ground plane in true perspective under birds that stand or swim.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.aviary.camera import Camera
from memdriven.aviary.march import pixel_grid
from memdriven.aviary.noise import fractal, noise, smoothstep
from memdriven.aviary.places import SETTINGS, Setting
from memdriven.aviary.rig import Rig
from memdriven.aviary.species import stream
from memdriven.aviary.specimen import BirdSpec

DISCS = 20


@dataclass(frozen=True)
class Scene:
    """A batch of settings as tensors."""

    bottom: Tensor  # (b, 3, 1)
    top: Tensor
    blotch: Tensor
    ground: Tensor  # (b, 2, 3, 1)
    sun: Tensor
    sky: Tensor
    bounce: Tensor
    amounts: Tensor  # (b, 3) blotches, bokeh, clouds
    kind: Tensor  # (b, 6) grass, snow, sand, rock, water, has a ground
    level: Tensor  # (b, 1) height of the ground
    discs: Tensor  # (b, DISCS, 4) x, y, radius, weight
    place: Tensor  # (b, 8)
    sun_at: Tensor  # (b, 3, 1) unit vector to the sun

    def to(self, device: torch.device) -> Scene:
        """The same scenes on another device."""
        return Scene(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


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


def stack_scenes(specs: list[BirdSpec], rigs: list[Rig]) -> Scene:
    """Scenes of a batch, float32 on the CPU."""

    def tensor(values: list[object]) -> Tensor:
        return torch.from_numpy(np.stack([np.asarray(v, dtype=np.float32) for v in values]))

    settings = [choose_setting(spec) for spec in specs]
    kinds, discs, suns = [], [], []
    for spec, rig in zip(specs, rigs, strict=True):
        here = spec.attributes["background"]
        kinds.append(
            [
                *(float(here == k) for k in ("grass", "snow", "sand", "rock", "water")),
                float(rig.ground > -900),
            ]
        )
        rng = stream("discs", spec.seed, spec.species_id, spec.index)
        discs.append(
            [
                [
                    rng.uniform(-1.1, 1.1),
                    rng.uniform(-1.1, 1.1),
                    rng.uniform(0.05, 0.17),
                    rng.uniform(0.1, 0.6),
                ]
                for _ in range(DISCS)
            ]
        )
        azimuth = spec.azimuth + spec.sun_azimuth
        up = spec.sun_elevation
        suns.append([[math.cos(up) * math.cos(azimuth)], [math.sin(up)], [math.cos(up) * math.sin(azimuth)]])

    def colour(name: str) -> Tensor:
        return tensor([[[c] for c in getattr(s, name)] for s in settings])

    return Scene(
        bottom=colour("bottom"),
        top=colour("top"),
        blotch=colour("blotch"),
        ground=tensor([[[[c] for c in tone] for tone in s.ground] for s in settings]),
        sun=colour("sun"),
        sky=colour("sky"),
        bounce=colour("bounce"),
        amounts=tensor([[s.blotches, s.bokeh, s.clouds] for s in settings]),
        kind=tensor(list(kinds)),
        level=tensor([[max(r.ground, -1e3)] for r in rigs]),
        discs=tensor(list(discs)),
        place=tensor([s.noise for s in specs]),
        sun_at=tensor(list(suns)),
    )


def backdrop(scene: Scene, size: int) -> Tensor:
    """What lies far behind, blurred: (b, 3, size * size)."""
    b, device = scene.level.shape[0], scene.level.device
    small = size // 2 if size <= 64 else size // 4
    x, y = pixel_grid(torch.arange(small * small, device=device).expand(b, -1), small)
    place = scene.place * 100
    rise = smoothstep(-1.1, 1.1, y).unsqueeze(1)
    colour = scene.bottom + rise * (scene.top - scene.bottom)
    soft = fractal(x * 1.5 + place[:, :1], y * 1.5 + place[:, 1:2], 2)
    patch = smoothstep(0.40, 0.78, soft[:, 0]) * scene.amounts[:, :1]
    colour = colour + patch.unsqueeze(1) * (scene.blotch - colour)
    colour = colour * (0.74 + 0.52 * soft[:, 1:2])
    cloud = fractal(x * 1.1 + place[:, 2:3], y * 2.3 + place[:, 3:4], 4)[:, 0]
    cloud = smoothstep(0.46, 0.72, cloud) * scene.amounts[:, 2:]
    colour = colour + cloud.unsqueeze(1) * (scene.blotch - colour)
    disc = scene.discs.unsqueeze(-1)  # (b, k, 4, 1)
    away = ((x.unsqueeze(1) - disc[:, :, 0]).square() + (y.unsqueeze(1) - disc[:, :, 1]).square()).sqrt()
    glow = (
        smoothstep(1.0, 0.82, away / disc[:, :, 2])
        * (0.6 + 0.4 * smoothstep(0.6, 0.95, away / disc[:, :, 2]))
        * disc[:, :, 3]
    )
    light = glow.sum(1).clamp_(max=0.9) * scene.amounts[:, 1:2]
    bright = scene.blotch * 1.25 + 0.10
    colour = colour + light.unsqueeze(1) * (bright - colour)
    image = F.interpolate(
        colour.reshape(b, 3, small, small), size=(size, size), mode="bilinear", align_corners=False
    )
    return image.reshape(b, 3, size * size)


def ground(scene: Scene, camera: Camera, ray: Tensor, behind: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Colour of the ground before light, where rays meet it.

    ray (b, 3, n), behind (b, 3, n) the backdrop. Returns colour (b, 3, n), cover (b, n) in [0, 1]
    with a soft horizon, and points (b, 3, n).
    """
    down = (-ray[:, 1]).clamp_min(1e-4)
    t = (camera.position[:, 1:2] - scene.level).clamp_min(0.01) / down
    points = camera.position.unsqueeze(-1) + ray * t.clamp(max=400.0).unsqueeze(1)
    cover = smoothstep(0.004, 0.045, -ray[:, 1]) * scene.kind[:, 5:6]
    right, forward = camera.basis[:, 0, :, None], camera.basis[:, 2, :, None]
    flat = forward * torch.tensor([1.0, 0.0, 1.0], device=ray.device).view(1, 3, 1)
    r, f = (points * right).sum(1), (points * flat).sum(1) * 1.05
    reach = camera.position.norm(dim=1, keepdim=True)
    focus = 1.0 / (1.0 + ((t - reach) / (0.30 * reach)).square())  # sharp where the bird is
    place = scene.place * 100
    coarse = noise(r * 0.9 + place[:, :1], f * 0.9 + place[:, 1:2])
    kind = scene.kind
    blade = noise(r * 17 + 2 * coarse[:, 1], f * 3.2)
    grain = noise(r * 13, f * 13)
    fine = noise(r * 37, f * 37)
    ripple = 0.5 + 0.5 * (f * 7 + 6 * coarse[:, 2] + 1.2 * r).sin()
    detail = (
        kind[:, 0:1] * (0.75 * blade[:, 0] + 0.45 * blade[:, 1] - 0.1)
        + kind[:, 1:2] * (0.35 + 0.4 * coarse[:, 3] + 0.2 * grain[:, 0])
        + kind[:, 2:3] * (0.28 * ripple + 0.32 * grain[:, 0] + 0.34 * fine[:, 0])
        + kind[:, 3:4] * (0.2 + 0.5 * grain[:, 1] + 0.35 * fine[:, 1])
        + kind[:, 4:5] * 0.5
    )
    level = 0.5 * coarse[:, 0] + 0.25 + (detail - 0.5) * (0.10 + 0.90 * focus)
    colour = scene.ground[:, 0] + level.clamp(0.0, 1.0).unsqueeze(1) * (
        scene.ground[:, 1] - scene.ground[:, 0]
    )
    wave = (
        0.5 * noise(r * 2.2 + place[:, 2:3], f * 6.5)[:, 0]
        + 0.5 * noise(r * 5.0, f * 15.0 + 3 * coarse[:, 0])[:, 1]
    )
    crest = smoothstep(0.48, 0.72, wave).unsqueeze(1) * kind[:, 4:5].unsqueeze(1)
    mirror = 0.55 * scene.top + 0.45 * scene.bottom
    glance = (0.22 + 0.62 * (1.0 + ray[:, 1]).clamp(0.0, 1.0).pow(5)).unsqueeze(1) * kind[:, 4:5].unsqueeze(1)
    colour = colour + glance * (mirror - colour)
    colour = colour + 0.55 * crest * (mirror * 1.05 - colour)
    haze = smoothstep(0.35, 0.02, -ray[:, 1]).unsqueeze(1) * 0.45
    colour = colour + haze * (behind - colour)
    return colour, cover, points
