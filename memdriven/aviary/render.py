"""A batch of birds to pictures: rays, light, plumage, place, pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from memdriven.aviary.plumage import PART, Skin, paint, stack_skins
from memdriven.aviary.primitives import Primitives, Rig, distance_and_normal, stack
from memdriven.aviary.raymarch import (
    Camera,
    ambient,
    chunks,
    compact,
    field,
    frame,
    look_at,
    occlusion,
    pixel_grid,
    smoothstep,
    trace,
)
from memdriven.aviary.scene import Scene, backdrop, ground, stack_scenes
from memdriven.aviary.skeleton import build_rig
from memdriven.aviary.species import BirdSpec, all_species, sample_bird
from memdriven.data.images import tiled


def compose(
    picture: Tensor, colour: Tensor, part: Tensor, index: Tensor, real: Tensor, b: int, size: int
) -> tuple[Tensor, Tensor]:
    """Lay the birds over their surroundings with soft edges; develop to 8-bit sRGB."""
    layer = torch.zeros(b, 4, size * size, device=picture.device)
    solid = real.to(colour.dtype)
    values = torch.cat((colour * solid.unsqueeze(1), solid.unsqueeze(1)), 1)
    layer = layer.scatter_add(2, index.unsqueeze(1).expand(-1, 4, -1), values).reshape(b, 4, size, size)
    mask = layer[:, 3:]
    kernel = torch.tensor([1.0, 2.0, 1.0], device=picture.device)
    weights = (kernel[:, None] * kernel[None] / 16).expand(4, 1, 3, 3).contiguous()
    blurred = F.conv2d(F.pad(layer, (1, 1, 1, 1), mode="replicate"), weights, groups=4)
    share = blurred[:, 3:]
    # Only border pixels are mixed: inside, the surface stays sharp.
    alpha = torch.where(share > 0.999, 1.0, smoothstep(0.12, 0.88, share))
    front = torch.where(mask > 0.5, layer[:, :3], blurred[:, :3] / share.clamp_min(1e-3))
    linear = picture.reshape(b, 3, size, size)
    linear = linear + alpha * (front - linear)
    parts = torch.zeros(b, size * size, dtype=torch.int64, device=picture.device)
    parts = parts.scatter_add(1, index, torch.where(real, part, PART["background"]))
    return _develop(linear), parts.reshape(b, size, size).to(torch.uint8)


def _develop(linear: Tensor) -> Tensor:
    """Linear light to 8-bit sRGB, highlights rolled off."""
    knee = 0.70
    over = (linear - knee).clamp_min(0.0)
    linear = linear.clamp(0.0, knee) + (1 - knee) * (1 - (-over / (1 - knee)).exp())
    srgb = torch.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(1e-6).pow(1 / 2.4) - 0.055
    )
    return (srgb * 255 + 0.5).clamp(0, 255).to(torch.uint8)


GAP = 6
TANGENT = math.tan(math.radians(11.5))

SUN, SKY, RIM = 0.86, 0.46, 0.34


@torch.inference_mode()
def render_birds(
    specs: list[BirdSpec], size: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Render specimens at size x size (a multiple of 16).

    Returns RGB (b, 3, size, size) uint8 sRGB and part maps (b, size, size) uint8 with the values of
    `PARTS`, both on the device. On a CPU each bird is rendered by itself, which keeps its data in
    cache and makes its pixels the same in whatever batch it comes; elsewhere the batch is one
    computation.
    """
    device = torch.device(device)
    if size % 16 or size < 16:
        raise ValueError(f"size must be a positive multiple of 16, got {size}")
    step = 1 if device.type == "cpu" else 32
    threads = torch.get_num_threads()
    if device.type == "cpu":
        # How work is split over threads decides which elements take the vector path, and so the
        # last bit of a sine: one thread, one answer. Cores are used by rendering several birds.
        torch.set_num_threads(1)
    try:
        pairs = [_render(specs[i : i + step], size, device) for i in range(0, len(specs), step)]
    finally:
        if device.type == "cpu":
            torch.set_num_threads(threads)
    return torch.cat([rgb for rgb, _ in pairs]), torch.cat([parts for _, parts in pairs])


def _camera(specs: list[BirdSpec], rigs: list[Rig]) -> tuple[Camera, Tensor]:
    """Cameras that frame the birds, and the reach (b, 1) of each bird's furthest part."""
    places, bases, reach = [], [], []
    for spec, rig in zip(specs, rigs, strict=True):
        points = np.stack([at for at, _ in rig.bounds])
        radii = np.array([r for _, r in rig.bounds])
        if rig.ground > -900:
            radii = np.where(points[:, 1] < rig.ground, 0.01, radii)
        basis = look_at(spec.azimuth, spec.elevation)
        places.append(frame(points, radii, basis, TANGENT, spec.fill, spec.shift))
        bases.append(basis)
        reach.append([float((np.linalg.norm(points, axis=1) + radii).max())])
    position = torch.from_numpy(np.stack(places).astype(np.float32))
    basis_t = torch.from_numpy(np.stack(bases).astype(np.float32))
    tangent = torch.full((len(specs), 1), TANGENT)
    return Camera(position, basis_t, tangent), torch.tensor(reach)


def _render(specs: list[BirdSpec], size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    rigs = [build_rig(spec) for spec in specs]
    camera, reach = _camera(specs, rigs)
    reach = reach.to(device)
    camera = camera.to(device)
    rig, skin = stack(rigs).to(device), stack_skins(specs, rigs).to(device)
    scene = stack_scenes(specs, rigs).to(device)
    b = len(specs)

    away = camera.position.norm(dim=1, keepdim=True)
    near, far = (away - reach - 0.6).clamp_min(0.5), away + reach + 3.0
    index, hit, depth = trace(rig, camera, near, far, size)
    x, y = pixel_grid(index, size)
    ray = camera.rays(x, y)
    points = camera.position.unsqueeze(-1) + ray * depth.unsqueeze(1)
    hit = hit & (points[:, 1] > scene.level)

    picture = _surroundings(rig, camera, scene, size)
    keep, real = compact(hit)
    index = index.gather(1, keep)
    wide = keep.unsqueeze(1).expand(-1, 3, -1)
    points, ray = points.gather(2, wide), ray.gather(2, wide)
    colour, part = _shade_birds(rig, skin, scene, points, ray, index, real, size)
    return compose(picture, colour, part, index, real, b, size)


def _surroundings(rig: Primitives, camera: Camera, scene: Scene, size: int) -> Tensor:
    """Backdrop and lit ground (b, 3, size^2), with the bird's shadow or its reflection in water."""
    b, device = scene.level.shape[0], scene.level.device
    behind = backdrop(scene, size)
    if not bool((scene.kind[:, 5] > 0).any()):
        return behind
    x, y = pixel_grid(torch.arange(size * size, device=device).expand(b, -1), size)
    ray = camera.rays(x, y)
    colour, cover, _ = ground(scene, camera, ray, behind)
    small = size // 4
    xs, ys = pixel_grid(torch.arange(small * small, device=device).expand(b, -1), small)
    rays = camera.rays(xs, ys)
    t = (camera.position[:, 1:2] - scene.level) / (-rays[:, 1]).clamp_min(1e-3)
    under = camera.position.unsqueeze(-1) + rays * t.clamp(max=60.0).unsqueeze(1)
    close = (rays[:, 1] < -1e-3) & (under.norm(dim=1) < 5.0) & (scene.kind[:, 5:6] > 0)
    light = torch.ones_like(xs)
    mirror = torch.zeros_like(xs)
    keep, real = compact(close)
    if keep.shape[1]:
        spots = under.gather(2, keep.unsqueeze(1).expand(-1, 3, -1))
        lit = occlusion(rig, spots, scene.sun_at, 3.0, 9, 7.0)
        near = smoothstep(0.0, 0.34, field(rig, spots))
        light = light.scatter(1, keep, torch.where(real, lit * (0.35 + 0.65 * near), 1.0))
        bounce = rays.gather(2, keep.unsqueeze(1).expand(-1, 3, -1)) * torch.tensor(
            [1.0, -1.0, 1.0], device=device
        ).view(1, 3, 1)
        seen = 1.0 - occlusion(rig, spots, bounce, 3.0, 12, 22.0)
        mirror = mirror.scatter(1, keep, torch.where(real, seen, 0.0))
    maps = torch.stack((light, mirror), 1).reshape(b, 2, small, small)
    maps = F.interpolate(maps, size=(size, size), mode="bilinear", align_corners=False).reshape(b, 2, -1)
    water = scene.kind[:, 4:5].unsqueeze(1)
    tint = SUN * scene.sun * scene.sun_at[:, 1:2] * maps[:, :1] + 0.62 * SKY * scene.sky * (
        0.4 + 0.6 * maps[:, :1]
    )
    lit_ground = colour * ((1 - water) * tint * 1.12 + water * (1.0 - 0.25 * (1 - maps[:, :1])))
    lit_ground = lit_ground * (1.0 - 0.62 * water * maps[:, 1:])
    return behind + cover.unsqueeze(1) * (lit_ground - behind)


def _shade_birds(
    rig: Primitives,
    skin: Skin,
    scene: Scene,
    points: Tensor,
    ray: Tensor,
    index: Tensor,
    real: Tensor,
    size: int,
) -> tuple[Tensor, Tensor]:
    """Linear colour (b, 3, n) and part (b, n) of hit points."""
    colours, parts, normals, glosses = [], [], [], []
    for c in chunks(points.shape[2], points.device):
        p = points[:, :, c]
        _, normal, d, t = distance_and_normal(rig, p)
        albedo, part, gloss = paint(skin, p, normal, d, t)
        colours.append(albedo)
        parts.append(part)
        normals.append(normal)
        glosses.append(gloss)
    albedo, part = torch.cat(colours, 2), torch.cat(parts, 1)
    normal, gloss = torch.cat(normals, 2), torch.cat(glosses, 1)
    light, open_sky = _shadows(rig, scene, points, normal, index, real, size)

    facing = (normal * scene.sun_at).sum(1)
    # Plumage is soft: light wraps a little past the edge of the shadow.
    sun = ((facing + 0.22) / 1.22).clamp(0.0, 1.0) * light
    up = 0.5 + 0.5 * normal[:, 1]
    sky = (scene.sky * up.unsqueeze(1) + scene.bounce * (1 - up).unsqueeze(1)) * open_sky.unsqueeze(1)
    towards = -(normal * ray).sum(1)
    rim = (1.0 - towards.clamp(0.0, 1.0)).pow(3) * open_sky * (0.35 + 0.65 * up)
    colour = albedo * (SUN * scene.sun * sun.unsqueeze(1) + 1.25 * SKY * sky)
    colour = colour + RIM * rim.unsqueeze(1) * scene.sky * (0.25 + 0.75 * albedo)
    half = scene.sun_at - ray
    half = half / half.norm(dim=1, keepdim=True)
    shine = (normal * half).sum(1).clamp(0.0, 1.0)
    sheen = 0.05 * shine.pow(12) * light
    colour = colour + (gloss * (1.5 * shine.pow(60) + 0.10 * rim) + sheen).unsqueeze(1) * scene.sun
    return colour, part


def _shadows(
    rig: Primitives, scene: Scene, points: Tensor, normal: Tensor, index: Tensor, real: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Sunlight and openness to the sky at every hit, each (b, n).

    Computed for one pixel in four and spread to its neighbours.
    """
    b, half = points.shape[0], size // 2
    row, column = index.div(size, rounding_mode="floor"), index.remainder(size)
    some, ok = compact((row.remainder(2) == 0) & (column.remainder(2) == 0) & real)
    if some.shape[1] == 0:
        return torch.ones_like(points[:, 0]), torch.ones_like(points[:, 0])
    wide = some.unsqueeze(1).expand(-1, 3, -1)
    p, n = points.gather(2, wide), normal.gather(2, wide)
    lifted = p + n * 0.025
    light = occlusion(rig, lifted, scene.sun_at, 2.2, 8, 9.0)
    open_sky = ambient(rig, p, n)
    values = torch.stack((light, open_sky, torch.ones_like(light)), 1) * ok.unsqueeze(1)  # (b, 3, n)
    cell = row.gather(1, some).div(2, rounding_mode="floor") * half + column.gather(1, some).div(
        2, rounding_mode="floor"
    )
    grid = torch.zeros(b, 3, half * half, device=points.device)
    grid = grid.scatter_add(2, cell.unsqueeze(1).expand(-1, 3, -1), values).reshape(b, 3, half, half)
    grid = F.avg_pool2d(grid, 3, 1, 1)
    full = F.interpolate(grid, size=(size, size), mode="bilinear", align_corners=False).reshape(b, 3, -1)
    picked = full.gather(2, index.unsqueeze(1).expand(-1, 3, -1))
    weight = picked[:, 2]
    sure = weight > 1e-3
    safe = weight.clamp_min(1e-3)
    return torch.where(sure, picked[:, 0] / safe, 0.8), torch.where(sure, picked[:, 1] / safe, 0.8)


def choose_birds(count: int, seed: int) -> list[BirdSpec]:
    """`count` specimens, body plans in turn, so that neighbours differ.

    Species and sightings change with the seed.
    """
    by_plan: dict[str, list[int]] = {}
    for species in all_species():
        by_plan.setdefault(species.attributes["body_plan"], []).append(species.id)
    plans = sorted(by_plan)
    birds = []
    for k in range(count):
        members = by_plan[plans[(k * 7 + k // len(plans)) % len(plans)]]  # 7 steps through the plans
        birds.append(sample_bird(members[(seed + k // len(plans)) % len(members)], seed + k, seed))
    return birds


def contact_sheet(
    birds: Sequence[BirdSpec] | None = None,
    *,
    columns: int = 8,
    size: int = 256,
    tile: int = 140,
    seed: int = 0,
) -> Image.Image:
    """Render birds (forty varied ones when None) at `size` px, and show them at `tile` px on one page."""
    pictures = []
    for spec in choose_birds(5 * columns, seed) if birds is None else birds:
        rgb, _ = render_birds([spec], size)
        pictures.append(Image.fromarray(rgb[0].permute(1, 2, 0).numpy()))
    return tiled(pictures, columns, tile, GAP)
