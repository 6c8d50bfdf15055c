"""The signed-distance field against exact geometry, and the march against ray-sphere hits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from memdriven.aviary.primitives import (
    BLEND,
    FORWARD,
    RIGHT,
    SOFT,
    UP,
    Primitives,
    Rig,
    distance,
    distance_and_normal,
    rotation,
    stack,
    vec,
)
from memdriven.aviary.raymarch import Camera, look_at, noise, pixel_grid, trace
from memdriven.aviary.skeleton import build_rig
from memdriven.aviary.species import sample_bird


def _points(n: int, reach: float = 1.5, seed: int = 0) -> Tensor:
    """Points (1, 3, n) uniform in a cube."""
    return (torch.rand(1, 3, n, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * reach


def _slope(rig: Primitives, points: Tensor, step: float = 2e-3) -> Tensor:
    """Central differences of the field: (b, 3, n)."""
    sides = []
    for axis in range(3):
        shift = torch.zeros(1, 3, 1)
        shift[0, axis] = step
        sides.append((distance(rig, points + shift) - distance(rig, points - shift)) / (2 * step))
    return torch.stack(sides, 1)


def _ball(radius: float) -> Primitives:
    rig = Rig()
    rig.ellipsoid("beak", vec(0, 0, 0), FORWARD, UP, (radius,) * 3)
    return stack([rig])


def test_a_ball_is_exact() -> None:
    points = _points(400)
    torch.testing.assert_close(distance(_ball(0.7), points), points.norm(dim=1) - 0.7, atol=2e-3, rtol=0)


def test_a_capsule_is_its_distance_to_a_segment() -> None:
    a, b, radius = vec(-0.6, 0.1, 0.2), vec(0.5, 0.4, -0.3), 0.2
    rig = Rig()
    rig.put("beak", a, b, radius, radius)
    points = _points(400)
    x = points[0].T.double().numpy()
    t = np.clip((x - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    exact = np.linalg.norm(x - a - t[:, None] * (b - a), axis=1) - radius
    # Unused slots are grains of dust at the origin; the soft ones melt into a small ball.
    dust = 0.004 + BLEND * np.log(SOFT)
    exact = np.minimum(exact, np.linalg.norm(x, axis=1) - dust)
    found = distance(stack([rig]), points)[0].numpy()
    np.testing.assert_allclose(found, exact, atol=6e-3)


@pytest.mark.parametrize("axes", [(1.0, 0.6, 0.5), (0.4, 0.9, 0.3)])
def test_an_ellipsoid_has_the_sign_and_slope_of_a_distance(axes: tuple[float, float, float]) -> None:
    turn = rotation(UP, 0.7) @ rotation(RIGHT, -0.4)
    rig = Rig()
    at = vec(0.2, -0.1, 0.15)
    rig.origin[:] = at
    rig.ellipsoid("beak", at, turn[:, 0], turn[:, 1], axes)
    field = stack([rig])
    points = _points(2000)
    local = (points[0].T.double().numpy() - at) @ turn  # (n, 3)
    level = np.sqrt(((local / np.array(axes)) ** 2).sum(1)) - 1
    clear = np.abs(level) > 0.02
    found = distance(field, points)[0].numpy()
    assert ((found < 0) == (level < 0))[clear].all()

    way = torch.nn.functional.normalize(_points(300, seed=1), dim=1)[0].T.double().numpy()
    skin = at + (way * np.array(axes)) @ turn.T
    surface = torch.from_numpy(skin.T[None].astype(np.float32))
    assert distance(field, surface).abs().max() < 2e-3
    slope = _slope(field, surface).norm(dim=1)
    assert (slope - 1).abs().max() < 0.03


def test_normals_are_the_slope_of_the_whole_bird() -> None:
    rig = stack([build_rig(sample_bird(3, 0, 0))])
    points = _points(4000, 1.2)
    for _ in range(8):  # to the surface
        _, normal, _, _ = distance_and_normal(rig, points)
        points = points - normal * distance(rig, points).unsqueeze(1)
    near = distance(rig, points)[0].abs() < 5e-3
    assert near.sum() > 1000
    points = points[:, :, near]
    _, normal, _, _ = distance_and_normal(rig, points)
    slope = torch.nn.functional.normalize(_slope(rig, points), dim=1)
    agree = (normal * slope).sum(1)
    assert agree.median() > 0.995
    assert (agree > 0.8).float().mean() > 0.93  # the rest lie in creases


def test_every_bird_is_solid_in_the_middle_and_bounded() -> None:
    birds = [build_rig(sample_bird(s, 0, 0)) for s in range(0, 200, 20)]
    rigs = stack(birds)
    far = _points(64)
    far = (far / far.norm(dim=1, keepdim=True) * 12).expand(len(birds), -1, -1)
    assert (distance(rigs, torch.zeros(len(birds), 3, 1)) < 0).all()
    away = distance(rigs, far)
    unsupported = torch.tensor([(bird.length < 6).all() for bird in birds])  # no branch, no trunk
    assert unsupported.any()
    assert (away[unsupported] > 1).all()


def test_the_march_stops_where_rays_meet_a_ball() -> None:
    size, away, tangent, radius = 32, 6.0, 0.25, 0.8
    basis = look_at(0.6, 0.2)
    position = torch.from_numpy((-away * basis[2])[None].astype(np.float32))
    camera = Camera(position, torch.from_numpy(basis[None].astype(np.float32)), torch.tensor([[tangent]]))
    ends = torch.tensor([[away - 2.0]]), torch.tensor([[away + 2.0]])
    index, hit, depth = trace(_ball(radius), camera, *ends, size)
    x, y = pixel_grid(index, size)
    ray = camera.rays(x, y)[0]
    along = -(position @ ray)[0]
    gap = away**2 - along**2  # squared distance of the ray to the centre
    exact = along - (radius**2 - gap).clamp_min(0).sqrt()
    inside = gap < (0.97 * radius) ** 2
    assert hit[0][inside].all()
    assert not hit[0][gap > (1.03 * radius) ** 2].any()
    late = (depth[0] - exact)[inside]
    assert late.abs().max() < 0.06  # grazing rays stop a little early
    spots = position[0][:, None] + ray * depth[0]
    left = distance(_ball(radius), spots[None])[0] / depth[0]
    assert left[inside].abs().max() < 0.36 * tangent / size  # a fraction of half a pixel
    whole = pixel_grid(torch.arange(size * size)[None], size)
    ray = camera.rays(*whole)[0]
    assert int(inside.sum()) == int((away**2 - (position @ ray)[0] ** 2 < (0.97 * radius) ** 2).sum())


def test_noise_is_smooth_and_repeats_the_same() -> None:
    u = torch.linspace(-3, 9, 4001)[None]
    values = noise(u, 0.37 * u)
    assert values.shape == (1, 4, 4001)
    assert values.min() >= 0
    assert values.max() <= 1
    assert values.std() > 0.1
    assert values.diff(dim=2).abs().max() < 0.02
    assert torch.equal(values, noise(u, 0.37 * u))
