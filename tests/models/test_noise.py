"""How a picture's noise lets it see its memory: which part of it, and from which side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.nn import functional as F

from memdriven.evaluation.distances import viewed_references
from memdriven.explore.inside import look_inside
from memdriven.explore.morph import End, between, frames
from memdriven.models.noise import WHOLE, View, apply_view, cut_images, draw_noise, draw_windows
from memdriven.pipeline.output import to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe, Request
from memdriven.presets import PRESETS
from memdriven.ui import inside, picture, state
from memdriven.ui.html import image_uri, part
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


def test_a_view_is_the_cut_enlarged() -> None:
    v = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert apply_view(v, torch.tensor([View(), View()])) is v
    seen = apply_view(v, torch.tensor([View(0.5, 0.25, 0.5), View()]))
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
    lefts = torch.tensor([one.view.left / max(1e-6, 1 - one.view.side) for one in drawn])
    assert 0.15 < lefts.std() < 0.45
    assert (lefts[1:] - lefts[:-1]).abs().mean() > 0.2, "not much alike for neighbouring seeds"
    assert draw_noise(3, generator).view == drawn[3].view
    generator.config = replace(generator.config, zoom=0.0)
    plain = draw_noise(3, generator)
    assert plain.view.window == WHOLE
    assert torch.equal(plain.z, drawn[3].z)
    assert plain.view.mirrored == drawn[3].view.mirrored


def test_a_part_is_cut_before_it_is_turned() -> None:
    v = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    view = View(0.5, 0.25, 0.5, 1.0)
    cut = apply_view(v, View(*view.window))
    assert torch.equal(apply_view(v, view), cut.flip(-1))
    both = apply_view(v.repeat(2, 1, 1, 1), view)
    assert torch.equal(both[0], both[1]), "of a batch, every memory is seen alike"


def test_a_recipe_makes_the_same_pixels_again(zooming: MemoryDrivenPipeline) -> None:
    out = zooming(CAPTION, k=1, seed=5)
    again = zooming.from_recipe(Recipe.from_png(out.png()))
    assert again.images[0].tobytes() == out.images[0].tobytes()
    others = zooming(CAPTION, seeds=[6, 7, 8]).images
    assert len({one.tobytes() for one in others}) == 3


def end_of(pipe: MemoryDrivenPipeline, request: Request) -> End:
    """Return all that a request's picture is made of."""
    return pipe.prepare(request), pipe.noise(request, request.seeds[0])


def account_of(step: inside.Step) -> str:
    """Return a step's account as the page shows it."""
    return part(step.macro, step.of, of="stations")


def test_looking_inside_shows_the_part(zooming: MemoryDrivenPipeline) -> None:
    request = Request(caption=CAPTION, k=1, seeds=(5,))
    seen, (prepared, noise) = look_inside(zooming, request), end_of(zooming, request)
    assert seen.noise.view == noise.view
    assert noise.view.window != WHOLE
    part = apply_view(prepared.v, noise.view)[0]
    torch.testing.assert_close(seen.v, part)
    cropped = "This seed crops the reference; the same crop is shown here."
    assert cropped in account_of(inside.features(seen))
    whole = replace(seen, noise=seen.noise._replace(view=View()))
    assert "This seed crops the reference; the same crop is shown here." not in account_of(
        inside.features(whole)
    )
    assert account_of(inside.features(whole)) != account_of(inside.features(seen))


def test_a_morph_moves_the_window(zooming: MemoryDrivenPipeline) -> None:
    one, other = (Request(caption=CAPTION, k=1, seeds=(seed,)) for seed in (5, 6))
    start, end = end_of(zooming, one), end_of(zooming, other)
    (_, noise), (_, there) = start, end
    _, half = between(start, end, {"z", "view"}, 0.5)
    assert half.view == pytest.approx([(a + b) / 2 for a, b in zip(noise.view, there.view, strict=True)])
    assert between(start, end, {"words"}, 0.5)[1].view == noise.view
    made = list(frames(zooming, one, other, {"z", "view"}, 2))
    assert made[0].tobytes() == zooming(CAPTION, k=1, seed=5).images[0].tobytes()
    assert made[1].tobytes() == zooming(CAPTION, k=1, seed=6).images[0].tobytes()


def test_the_copy_check_cuts_a_memory_as_the_noise_did(zooming: MemoryDrivenPipeline) -> None:
    generator = zooming.checkpoint.generator
    images = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    seen = viewed_references(generator, images.to(torch.uint8), torch.tensor([2, -1]), [5, 6])
    wanted = apply_view(images[2:].float(), draw_noise(5, generator).view)
    assert seen.shape == (2, 3, 16, 16)
    torch.testing.assert_close(seen[:1].float(), wanted.round())
    out = zooming(CAPTION, seeds=[5, 6])
    assert out.views == tuple(draw_noise(seed, generator).view for seed in (5, 6))


@pytest.fixture
def mirroring(pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryDrivenPipeline]:
    """Return the miniature pipeline as one whose noise turns the memory."""
    generator = pipe.checkpoint.generator
    monkeypatch.setattr(generator, "config", replace(generator.config, mirror=True))
    return pipe


def sides(pipe: MemoryDrivenPipeline) -> tuple[int, int]:
    """Return a seed that leaves the memory as it is, and one that mirrors it."""
    found = {draw_noise(seed, pipe.checkpoint.generator).view.mirrored: seed for seed in range(20)}
    return found[0.0], found[1.0]


def test_half_of_the_seeds_mirror_and_nothing_else_changes(mirroring: MemoryDrivenPipeline) -> None:
    generator = mirroring.checkpoint.generator
    drawn = [draw_noise(seed, generator) for seed in range(200)]
    assert {one.view.mirrored for one in drawn} == {0.0, 1.0}
    assert 80 < sum(one.view.mirrored for one in drawn) < 120
    assert all(len({one.view.mirrored for one in drawn[at : at + 10]}) == 2 for at in range(0, 200, 10))
    stepped = draw_noise(3, generator, [(9, 0.5)])
    assert stepped.view == drawn[3].view
    generator.config = replace(generator.config, mirror=False)
    plain = draw_noise(3, generator)
    assert plain.view.mirrored == 0.0
    assert torch.equal(plain.z, drawn[3].z)
    assert torch.equal(plain.epsilon, drawn[3].epsilon)


def test_all_presets_but_the_papers_mirror() -> None:
    assert {name for name, one in PRESETS.items() if not one.generator.mirror} == {"paper", "paper-family"}


def test_a_view_is_a_flip_and_half_way_a_mean() -> None:
    v = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert apply_view(v, View()) is v
    assert apply_view(v, View(mirrored=1.0)).tolist() == [[[[2, 1, 0], [5, 4, 3]]]]
    assert apply_view(v, View(mirrored=0.5)).tolist() == [[[[1, 1, 1], [4, 4, 4]]]]


def test_a_mirrored_picture_is_of_the_mirrored_features(mirroring: MemoryDrivenPipeline) -> None:
    plain, turned = sides(mirroring)
    out = mirroring(CAPTION, seeds=[plain, turned])
    assert [view.mirrored for view in out.views] == [0, 1]
    generator, v = mirroring.checkpoint.generator, mirroring.bank.v
    text = out.prepared.text
    for seed, made, flip in zip((plain, turned), out.images, (False, True), strict=True):
        own = v(mirroring.bank.index_of(out.neighbours[0].id))[None]
        noise = draw_noise(seed, generator)
        with torch.inference_mode():
            whole = generator(
                noise.z, text.sentence, text.condition, own.flip(3) if flip else own, noise.epsilon
            )
        other = to_picture(whole.images[-1])
        gap = torch.tensor(list(made.tobytes())).sub(torch.tensor(list(other.tobytes())))
        assert gap.abs().max() <= 1
    again = mirroring.from_recipe(Recipe.from_png(out.png(1)))
    assert again.images[0].tobytes() == out.images[1].tobytes()
    state.use(mirroring)
    assert "memory mirrored" in picture.picture_panel(again)
    assert mirroring(CAPTION, "none", seed=turned).views == (View(),)


def test_a_morph_turns_the_memory_with_the_noise(mirroring: MemoryDrivenPipeline) -> None:
    plain, turned = sides(mirroring)
    one, other = (Request(caption=CAPTION, k=1, seeds=(seed,)) for seed in (plain, turned))
    start, end = end_of(mirroring, one), end_of(mirroring, other)
    assert between(start, end, {"view"}, 0.25)[1].view.mirrored == 0.25
    assert between(start, end, {"memory"}, 0.25)[1].view.mirrored == 0.0
    first, _, last = frames(mirroring, one, other, {"z", "view"}, 3)
    assert first.tobytes() == mirroring(CAPTION, k=1, seed=plain).images[0].tobytes()
    assert last.tobytes() == mirroring(CAPTION, k=1, seed=turned).images[0].tobytes()


def test_maps_lie_over_the_memory_as_it_was_used(mirroring: MemoryDrivenPipeline) -> None:
    plain, turned = sides(mirroring)
    looks = {}
    for seed in (plain, turned):
        looks[seed] = look_inside(mirroring, Request(caption=CAPTION, k=1, seeds=(seed,)))
    assert (looks[plain].noise.view.mirrored, looks[turned].noise.view.mirrored) == (0.0, 1.0)
    torch.testing.assert_close(looks[turned].v, looks[plain].v.flip(2))
    image = looks[plain].prepared.retrieval[0].image
    shown = account_of(inside.features(looks[turned]))
    assert image_uri(ImageOps.mirror(image)) in shown
    assert image_uri(image) not in shown
    assert "This seed mirrors the reference; it is shown mirrored here." in shown
    assert "This seed mirrors the reference; it is shown mirrored here." not in account_of(
        inside.features(looks[plain])
    )


def test_many_painted_at_once_are_those_painted_alone(mirroring: MemoryDrivenPipeline) -> None:
    seeds = list(sides(mirroring))
    wanted = mirroring(CAPTION, k=1, seeds=seeds)
    stages = mirroring.paint_many(wanted.prepared, seeds)
    for place in range(2):
        mine = torch.from_numpy(np.array(to_picture(stages[-1][place : place + 1]))).int()
        image = torch.from_numpy(np.array(wanted.images[place])).int()
        assert (mine - image).abs().max() <= 1


def test_pictures_are_cut_as_pillow_cuts_them() -> None:
    """Each as its own view says, though those of one side are made smaller at once."""
    chance = torch.Generator().manual_seed(0)
    images = torch.randint(256, (9, 3, 32, 32), dtype=torch.uint8, generator=chance)
    mirrored = (torch.arange(9) % 2)[:, None].float()
    views = torch.cat([draw_windows(9, 0.15, chance), mirrored], dim=1)
    assert len((32 * views[:, 2]).round().unique()) < 9, "some have one side"
    cut = cut_images(images, views, 16)
    for image, view, found in zip(images, views.tolist(), cut, strict=True):
        left, top, side = (round(32 * each) for each in view[:3])
        wanted = to_picture(image[None] / 127.5 - 1).crop((left, top, left + side, top + side))
        wanted = wanted.resize((16, 16), Image.Resampling.BILINEAR)
        wanted = ImageOps.mirror(wanted) if view[3] else wanted
        assert np.abs(np.asarray(wanted, dtype=int) - found.permute(1, 2, 0).numpy()).max() <= 1
