"""The part of the memory that a picture's noise lets it see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from memdriven.evaluation.copy_check import as_seen
from memdriven.explore.inside import look_inside
from memdriven.explore.morph import End, between, frames
from memdriven.models.noise import WHOLE, Noise, apply_view, draw_noise, draw_windows, seen_through
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.recipe import Recipe
from memdriven.pipeline.request import Request
from memdriven.ui import inside, strings
from tests.training.small_gan import CONFIG, data, train_settings, write_gan_world

CAPTION = "a small red bird with black wings"


@pytest.fixture
def zooming(pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch) -> MemoryDrivenPipeline:
    """Return the miniature pipeline as one whose noise cuts and turns the memory."""
    generator = pipe.checkpoint.generator
    monkeypatch.setattr(generator, "config", replace(generator.config, mirror=True, zoom=0.3))
    return pipe


def test_windows_lie_within_the_whole() -> None:
    windows = draw_windows(500, 0.3, torch.Generator().manual_seed(0))
    x, y, side = windows.unbind(1)
    assert (windows >= 0).all()
    assert (x + side <= 1 + 1e-6).all()
    assert (y + side <= 1 + 1e-6).all()
    assert 0.7 <= side.min() < 0.72
    assert 0.98 < side.max() <= 1
    assert x.max() > 0.25


def test_seen_through_is_the_cut_enlarged() -> None:
    v = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = torch.tensor([WHOLE, WHOLE])
    torch.testing.assert_close(seen_through(v, whole), v)
    seen = seen_through(v, torch.tensor([[0.5, 0.25, 0.5], WHOLE]))
    cut = F.interpolate(v[:1, :, 4:12, 8:16], (16, 16), mode="bilinear")
    torch.testing.assert_close(seen[:1, :, 1:-1, 1:-1], cut[:, :, 1:-1, 1:-1])
    torch.testing.assert_close(seen[1], v[1])


def test_images_and_features_are_cut_and_turned_alike(tmp_path: Path) -> None:
    """With the image itself for features, both stay the same picture."""
    world = write_gan_world(tmp_path / "world")
    settings = train_settings(p_swap=0.0, batch_size=12)
    settings = replace(settings, generator=replace(CONFIG.generator, zoom=0.4))
    source = data(world, settings)
    order = torch.arange(12)
    assert torch.equal(source.rows, order)
    colours = torch.rand(12, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 255
    source.images = F.interpolate(colours, (128, 128), mode="bilinear").to(torch.uint8)
    source.features = torch.zeros_like(source.features)
    source.features[:12, :3] = source.images[:, :, 4::8, 4::8]
    source.feature_scale = torch.ones_like(source.feature_scale)
    seen = set()
    for step in range(3):
        batch = source.batch(step)
        small = F.interpolate(batch.images[-1], (16, 16), mode="bilinear", antialias=True)
        patches = batch.v[:, :3] / 127.5 - 1
        for of in range(12):
            alike = torch.corrcoef(torch.stack([small[of].flatten(), patches[of].flatten()]))[0, 1]
            assert alike > 0.9
            turned = torch.stack([small[of].flip(-1).flatten(), patches[of].flatten()])
            assert torch.corrcoef(turned)[0, 1] < 0.8
        seen.add(round(float(small.mean()), 6))
    assert len(seen) == 3


def test_neighbouring_seeds_see_different_parts(zooming: MemoryDrivenPipeline) -> None:
    generator = zooming.checkpoint.generator
    drawn = [draw_noise(seed, generator) for seed in range(40)]
    lefts = torch.tensor([one.window[0] / max(1e-6, 1 - one.window[2]) for one in drawn])
    assert 0.15 < lefts.std() < 0.45
    assert (lefts[1:] - lefts[:-1]).abs().mean() > 0.2, "not much alike for neighbouring seeds"
    assert draw_noise(3, generator).window == drawn[3].window
    generator.config = replace(generator.config, zoom=0.0)
    plain = draw_noise(3, generator)
    assert plain.window == WHOLE
    assert torch.equal(plain.z, drawn[3].z)
    assert plain.mirror == drawn[3].mirror


def test_a_part_is_cut_before_it_is_turned() -> None:
    v = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    noise = Noise(torch.zeros(1, 1), torch.zeros(1, 1), 1.0, (0.5, 0.25, 0.5))
    cut = seen_through(v, torch.tensor([noise.window]))
    assert torch.equal(apply_view(noise, v), cut.flip(-1))
    both = apply_view(noise, v.repeat(2, 1, 1, 1))
    assert torch.equal(both[0], both[1]), "of a batch, every memory is seen alike"


def test_a_recipe_makes_the_same_pixels_again(zooming: MemoryDrivenPipeline) -> None:
    out = zooming(CAPTION, k=1, seed=5)
    again = zooming.from_recipe(Recipe.from_png(out.png()))
    assert again.images[0].tobytes() == out.images[0].tobytes()
    others = zooming(CAPTION, seeds=[6, 7, 8]).images
    assert len({one.tobytes() for one in others}) == 3


def test_looking_inside_shows_the_part(zooming: MemoryDrivenPipeline) -> None:
    request = Request(caption=CAPTION, k=1, seeds=(5,))
    seen, inputs = look_inside(zooming, request), End.of(zooming, request)
    assert seen.noise.window == inputs.noise.window != WHOLE
    part = apply_view(inputs.noise, inputs.prepared.v)[0]
    torch.testing.assert_close(seen.v, part)
    assert strings.INSIDE_PART in inside.features(seen)
    whole = replace(seen, noise=seen.noise._replace(window=WHOLE))
    assert strings.INSIDE_PART not in inside.features(whole)
    assert inside.features(whole) != inside.features(seen)


def test_a_morph_moves_the_window(zooming: MemoryDrivenPipeline) -> None:
    one, other = (Request(caption=CAPTION, k=1, seeds=(seed,)) for seed in (5, 6))
    start, end = End.of(zooming, one), End.of(zooming, other)
    half = between(start, end, {"z", "view"}, 0.5).noise.window
    middle = [(a + b) / 2 for a, b in zip(start.noise.window, end.noise.window, strict=True)]
    assert half == pytest.approx(middle)
    assert between(start, end, {"words"}, 0.5).noise.window == start.noise.window
    made = list(frames(zooming, one, other, {"z", "view"}, 2))
    assert made[0].tobytes() == zooming(CAPTION, k=1, seed=5).images[0].tobytes()
    assert made[1].tobytes() == zooming(CAPTION, k=1, seed=6).images[0].tobytes()


def test_the_copy_check_cuts_a_memory_as_the_noise_did(zooming: MemoryDrivenPipeline) -> None:
    generator = zooming.checkpoint.generator
    images = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    seen = as_seen(generator, images.to(torch.uint8), torch.tensor([2, -1]), [5, 6])
    wanted = apply_view(draw_noise(5, generator), images[2:].float())
    assert seen.shape == (2, 3, 16, 16)
    torch.testing.assert_close(seen[:1].float(), wanted.round())
    out = zooming(CAPTION, seeds=[5, 6])
    assert out.windows == tuple(draw_noise(seed, generator).window for seed in (5, 6))
