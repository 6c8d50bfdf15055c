"""A bird to its picture: rays, light, plumage, place, pixels."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.aviary.plumage import Skin, paint
from memdriven.aviary.raymarch import (
    CHUNK,
    Camera,
    Primitives,
    ambient,
    column,
    distance_and_normal,
    field,
    frame,
    look_at,
    occlusion,
    pixel_grid,
    smoothstep,
    trace,
)
from memdriven.aviary.scene import Scene, backdrop, enlarged, ground
from memdriven.aviary.skeleton import build_rig
from memdriven.aviary.species import BirdSpec

TANGENT = math.tan(math.radians(11.5))
SUN, SKY, RIM = 0.86, 0.46, 0.34


@torch.inference_mode()
def render_birds(specs: Sequence[BirdSpec], size: int) -> tuple[Tensor, Tensor]:
    """Render specimens at size x size (a multiple of 16).

    Returns RGB (b, 3, size, size) uint8 sRGB and part maps (b, size, size) uint8 with the values of
    `PARTS`.
    """
    if size % 16 or size < 16:
        raise ValueError(f"size must be a positive multiple of 16, got {size}")
    threads = torch.get_num_threads()
    # How work is split over threads decides which elements take the vector path, and so the
    # last bit of a sine: one thread, one answer. Cores are used by rendering several birds.
    torch.set_num_threads(1)
    try:
        pairs = [_render(spec, size) for spec in specs]
    finally:
        torch.set_num_threads(threads)
    return torch.stack([rgb for rgb, _ in pairs]), torch.stack([parts for _, parts in pairs])


def _render(spec: BirdSpec, size: int) -> tuple[Tensor, Tensor]:
    bird = build_rig(spec)
    points = np.stack([at for at, _ in bird.bounds])
    radii = np.array([radius for _, radius in bird.bounds])
    if bird.ground > -900:
        radii = np.where(points[:, 1] < bird.ground, 0.01, radii)
    basis = look_at(spec.azimuth, spec.elevation)
    camera = Camera(frame(points, radii, basis, TANGENT, spec.fill, spec.shift), basis, TANGENT)
    reach = torch.tensor([float((np.linalg.norm(points, axis=1) + radii).max())])
    rig, skin, scene = Primitives(bird), Skin(spec, bird), Scene(spec, bird)

    away = camera.position.norm()
    index, depth = trace(rig, camera, (away - reach - 0.6).clamp_min(0.5), away + reach + 3.0, size)
    ray = camera.rays(*pixel_grid(index, size))
    points_hit = camera.position + ray * depth
    above = points_hit[1] > scene.level
    index, ray, points_hit = index[above], ray[:, above], points_hit[:, above]
    colour, part = _shade_bird(rig, skin, scene, points_hit, ray, index, size)
    return _compose(_surroundings(rig, camera, scene, size), colour, part, index, size)


def _surroundings(rig: Primitives, camera: Camera, scene: Scene, size: int) -> Tensor:
    """Backdrop and lit ground (3, size^2), with the bird's shadow or its reflection in water."""
    behind = backdrop(scene, size)
    if not scene.kind:
        return behind
    small = size // 4
    rays = camera.rays(*pixel_grid(torch.arange(small * small), small))
    t = (camera.position[1] - scene.level) / (-rays[1]).clamp_min(1e-3)
    under = camera.position + rays * t.clamp(max=60.0)
    close = (rays[1] < -1e-3) & (under.norm(dim=0) < 5.0)
    maps = torch.stack((torch.ones_like(t), torch.zeros_like(t)))  # light and the bird's mirror image
    if close.any():
        spots = under[:, close]
        near = smoothstep(0.0, 0.34, field(rig, spots))
        maps[0, close] = occlusion(rig, spots, scene.sun_at, 3.0, 9, 7.0) * (0.35 + 0.65 * near)
        bounce = rays[:, close] * column((1.0, -1.0, 1.0))
        maps[1, close] = 1.0 - occlusion(rig, spots, bounce, 3.0, 12, 22.0)
    light, mirror = enlarged(maps, small, size).unbind()
    colour, cover = ground(scene, camera, camera.rays(*pixel_grid(torch.arange(size * size), size)), behind)
    if scene.kind == "water":
        lit = colour * (1.0 - 0.25 * (1 - light)) * (1.0 - 0.62 * mirror)
    else:
        tint = SUN * scene.sun * scene.sun_at[1] * light + 0.62 * SKY * scene.sky * (0.4 + 0.6 * light)
        lit = colour * (tint * 1.12)
    return behind + cover * (lit - behind)


def _shade_bird(
    rig: Primitives, skin: Skin, scene: Scene, points: Tensor, ray: Tensor, index: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Linear colour (3, n) and part (n) of hit points."""
    painted = []
    for some in torch.split(points, CHUNK, 1):
        _, normal, d, t = distance_and_normal(rig, some)
        painted.append((normal, *paint(skin, some, normal, d, t)))
    normal, albedo, part, gloss = (torch.cat(pieces, -1) for pieces in zip(*painted, strict=True))
    light, open_sky = _shadows(rig, scene, points, normal, index, size)

    facing = (normal * scene.sun_at).sum(0)
    # Plumage is soft: light wraps a little past the edge of the shadow.
    sun = ((facing + 0.22) / 1.22).clamp(0.0, 1.0) * light
    up = 0.5 + 0.5 * normal[1]
    sky = (scene.sky * up + scene.bounce * (1 - up)) * open_sky
    towards = -(normal * ray).sum(0)
    rim = (1.0 - towards.clamp(0.0, 1.0)).pow(3) * open_sky * (0.35 + 0.65 * up)
    colour = albedo * (SUN * scene.sun * sun + 1.25 * SKY * sky)
    colour = colour + RIM * rim * scene.sky * (0.25 + 0.75 * albedo)
    half = scene.sun_at - ray
    half = half / half.norm(dim=0, keepdim=True)
    shine = (normal * half).sum(0).clamp(0.0, 1.0)
    sheen = 0.05 * shine.pow(12) * light
    colour = colour + (gloss * (1.5 * shine.pow(60) + 0.10 * rim) + sheen) * scene.sun
    return colour, part


def _shadows(
    rig: Primitives, scene: Scene, points: Tensor, normal: Tensor, index: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Sunlight and openness to the sky at every hit, each (n).

    Computed for one pixel in four and spread to its neighbours.
    """
    half = size // 2
    row, column = index.div(size, rounding_mode="floor"), index.remainder(size)
    some = (row.remainder(2) == 0) & (column.remainder(2) == 0)
    if not some.any():
        return torch.ones_like(points[0]), torch.ones_like(points[0])
    p, n = points[:, some], normal[:, some]
    light = occlusion(rig, p + n * 0.025, scene.sun_at, 2.2, 8, 9.0)
    cell = row[some].div(2, rounding_mode="floor") * half + column[some].div(2, rounding_mode="floor")
    grid = torch.zeros(3, half * half)
    grid[:, cell] = torch.stack((light, ambient(rig, p, n), torch.ones_like(light)))
    grid = F.avg_pool2d(grid.reshape(1, 3, half, half), 3, 1, 1)
    sunlight, sky, weight = enlarged(grid, half, size)[:, index]
    safe = weight.clamp_min(1e-3)
    return torch.where(weight > 1e-3, sunlight / safe, 0.8), torch.where(weight > 1e-3, sky / safe, 0.8)


def _compose(behind: Tensor, colour: Tensor, part: Tensor, index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Lay the bird over its surroundings with soft edges; develop to 8-bit sRGB."""
    layer = torch.zeros(4, size * size)
    layer[:, index] = torch.cat((colour, torch.ones_like(colour[:1])))
    layer = layer.reshape(1, 4, size, size)
    kernel = torch.tensor([1.0, 2.0, 1.0])
    weights = (kernel[:, None] * kernel[None] / 16).expand(4, 1, 3, 3).contiguous()
    blurred = F.conv2d(F.pad(layer, (1, 1, 1, 1), mode="replicate"), weights, groups=4)
    share = blurred[:, 3:]
    # Only border pixels are mixed: inside, the surface stays sharp.
    alpha = torch.where(share > 0.999, 1.0, smoothstep(0.12, 0.88, share))
    front = torch.where(layer[:, 3:] > 0.5, layer[:, :3], blurred[:, :3] / share.clamp_min(1e-3))
    linear = behind.reshape(1, 3, size, size)
    linear = linear + alpha * (front - linear)
    parts = torch.zeros(size * size, dtype=torch.uint8)
    parts[index] = part.to(torch.uint8)
    return _develop(linear[0]), parts.reshape(size, size)


def _develop(linear: Tensor) -> Tensor:
    """Linear light to 8-bit sRGB, highlights rolled off."""
    knee = 0.70
    over = (linear - knee).clamp_min(0.0)
    linear = linear.clamp(0.0, knee) + (1 - knee) * (1 - (-over / (1 - knee)).exp())
    srgb = torch.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(1e-6).pow(1 / 2.4) - 0.055
    )
    return (srgb * 255 + 0.5).clamp(0, 255).to(torch.uint8)
