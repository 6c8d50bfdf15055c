"""The signed-distance field against exact geometry, and the march against ray-sphere hits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from memdriven.aviary.raymarch import (
    BLEND,
    FORWARD,
    RIGHT,
    SOFT,
    UP,
    Camera,
    Primitives,
    Rig,
    distance,
    distance_and_normal,
    look_at,
    noise,
    pixel_grid,
    rotation,
    trace,
    vec,
)
from memdriven.aviary.skeleton import build_rig
from memdriven.aviary.species import sample_bird


def _points(n: int, reach: float = 1.5, seed: int = 0) -> Tensor:
    """Points (3, n) uniform in a cube."""
    return (torch.rand(3, n, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * reach


def _slope(rig: Primitives, points: Tensor, step: float = 2e-3) -> Tensor:
    """Central differences of the field: (3, n)."""
    sides = []
    for axis in range(3):
        shift = torch.zeros(3, 1)
        shift[axis] = step
        sides.append((distance(rig, points + shift) - distance(rig, points - shift)) / (2 * step))
    return torch.stack(sides)


def _ball(radius: float) -> Primitives:
    rig = Rig()
    rig.ellipsoid("beak", vec(0, 0, 0), FORWARD, UP, (radius,) * 3)
    return Primitives(rig)


def test_a_ball_is_exact() -> None:
    points = _points(400)
    assert (distance(_ball(0.7), points) - (points.norm(dim=0) - 0.7)).abs().max() < 2e-3


def test_a_capsule_is_its_distance_to_a_segment() -> None:
    a, b, radius = vec(-0.6, 0.1, 0.2), vec(0.5, 0.4, -0.3), 0.2
    rig = Rig()
    rig.put("beak", a, b, radius, radius)
    points = _points(400)
    x = points.T.double().numpy()
    t = np.clip((x - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    exact = np.linalg.norm(x - a - t[:, None] * (b - a), axis=1) - radius
    # Unused slots are grains of dust at the origin; the soft ones melt into a small ball.
    dust = 0.004 + BLEND * np.log(SOFT)
    exact = np.minimum(exact, np.linalg.norm(x, axis=1) - dust)
    found = distance(Primitives(rig), points).numpy()
    np.testing.assert_allclose(found, exact, atol=6e-3)


@pytest.mark.parametrize("axes", [(1.0, 0.6, 0.5), (0.4, 0.9, 0.3)])
def test_an_ellipsoid_has_the_sign_and_slope_of_a_distance(axes: tuple[float, float, float]) -> None:
    turn = rotation(UP, 0.7) @ rotation(RIGHT, -0.4)
    rig = Rig()
    at = vec(0.2, -0.1, 0.15)
    rig.origin[:] = at
    rig.ellipsoid("beak", at, turn[:, 0], turn[:, 1], axes)
    field = Primitives(rig)
    points = _points(2000)
    local = (points.T.double().numpy() - at) @ turn  # (n, 3)
    level = np.sqrt(((local / np.array(axes)) ** 2).sum(1)) - 1
    clear = np.abs(level) > 0.02
    found = distance(field, points).numpy()
    assert ((found < 0) == (level < 0))[clear].all()

    way = torch.nn.functional.normalize(_points(300, seed=1), dim=0).T.double().numpy()
    skin = at + (way * np.array(axes)) @ turn.T
    surface = torch.from_numpy(skin.T.astype(np.float32))
    assert distance(field, surface).abs().max() < 2e-3
    slope = _slope(field, surface).norm(dim=0)
    assert (slope - 1).abs().max() < 0.03


def test_normals_are_the_slope_of_the_whole_bird() -> None:
    rig = Primitives(build_rig(sample_bird(3, 0, 0)))
    points = _points(4000, 1.2)
    for _ in range(8):  # to the surface
        _, normal, _, _ = distance_and_normal(rig, points)
        points = points - normal * distance(rig, points)
    near = distance(rig, points).abs() < 5e-3
    assert near.sum() > 1000
    points = points[:, near]
    _, normal, _, _ = distance_and_normal(rig, points)
    slope = torch.nn.functional.normalize(_slope(rig, points), dim=0)
    agree = (normal * slope).sum(0)
    assert agree.median() > 0.995
    assert (agree > 0.8).float().mean() > 0.93  # the rest lie in creases


def test_every_bird_is_solid_in_the_middle_and_bounded() -> None:
    far = _points(64)
    far = far / far.norm(dim=0, keepdim=True) * 12
    unsupported = 0
    for species in range(0, 200, 20):
        bird = build_rig(sample_bird(species, 0, 0))
        rig = Primitives(bird)
        assert distance(rig, torch.zeros(3, 1)) < 0
        if (bird.length < 6).all():  # no branch, no trunk
            unsupported += 1
            assert (distance(rig, far) > 1).all()
    assert unsupported


def test_the_march_stops_where_rays_meet_a_ball() -> None:
    size, away, tangent, radius = 32, 6.0, 0.25, 0.8
    basis = look_at(0.6, 0.2)
    camera = Camera(-away * basis[2], basis, tangent)
    ends = torch.tensor([away - 2.0]), torch.tensor([away + 2.0])
    index, depth = trace(_ball(radius), camera, *ends, size)
    rays = camera.rays(*pixel_grid(torch.arange(size * size), size))
    along = -(camera.position * rays).sum(0)
    gap = away**2 - along**2  # squared distance of the ray to the centre
    inside = gap < (0.97 * radius) ** 2
    hit = torch.zeros_like(inside)
    hit[index] = True
    assert hit[inside].all()
    assert not hit[gap > (1.03 * radius) ** 2].any()
    exact = along - (radius**2 - gap).clamp_min(0).sqrt()
    late = (depth - exact[index])[inside[index]]
    assert late.abs().max() < 0.06  # grazing rays stop a little early
    spots = camera.position + rays[:, index] * depth
    left = distance(_ball(radius), spots) / depth
    assert left[inside[index]].abs().max() < 0.36 * tangent / size  # a fraction of half a pixel


def test_noise_is_smooth_and_repeats_the_same() -> None:
    u = torch.linspace(-3, 9, 4001)
    values = noise(u, 0.37 * u)
    assert values.shape == (4, 4001)
    assert values.min() >= 0
    assert values.max() <= 1
    assert values.std() > 0.1
    assert values.diff(dim=1).abs().max() < 0.02
    assert torch.equal(values, noise(u, 0.37 * u))
