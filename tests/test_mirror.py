"""The memory's side as part of a picture's noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import ImageOps

from memdriven.explore.inside import look_inside
from memdriven.explore.morph import End, between, frames
from memdriven.models.noise import Noise, apply_view, draw_noise
from memdriven.pipeline.output import to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.recipe import Recipe
from memdriven.pipeline.request import Request
from memdriven.presets import PRESETS
from memdriven.ui import inside, picture, strings
from memdriven.ui.html import image_uri

CAPTION = "a small red bird with black wings"


@pytest.fixture
def mirroring(pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryDrivenPipeline]:
    """Return the miniature pipeline as one whose noise turns the memory."""
    generator = pipe.checkpoint.generator
    monkeypatch.setattr(generator, "config", replace(generator.config, mirror=True))
    return pipe


def sides(pipe: MemoryDrivenPipeline) -> tuple[int, int]:
    """Return a seed that leaves the memory as it is, and one that mirrors it."""
    found = {draw_noise(seed, pipe.checkpoint.generator).mirror: seed for seed in range(20)}
    return found[0.0], found[1.0]


def test_half_of_the_seeds_mirror_and_nothing_else_changes(mirroring: MemoryDrivenPipeline) -> None:
    generator = mirroring.checkpoint.generator
    drawn = [draw_noise(seed, generator) for seed in range(200)]
    assert {one.mirror for one in drawn} == {0.0, 1.0}
    assert 80 < sum(one.mirror for one in drawn) < 120
    assert all(len({one.mirror for one in drawn[at : at + 10]}) == 2 for at in range(0, 200, 10))
    stepped = draw_noise(3, generator, [(9, 0.5)])
    assert stepped.mirror == drawn[3].mirror
    generator.config = replace(generator.config, mirror=False)
    plain = draw_noise(3, generator)
    assert plain.mirror == 0.0
    assert torch.equal(plain.z, drawn[3].z)
    assert torch.equal(plain.epsilon, drawn[3].epsilon)


def test_all_presets_but_the_papers_mirror() -> None:
    assert {name for name, one in PRESETS.items() if not one.generator.mirror} == {"paper", "paper-family"}


def test_a_view_is_a_flip_and_half_way_a_mean() -> None:
    def turned(mirror: float) -> Noise:
        return Noise(torch.zeros(1, 1), torch.zeros(1, 1), mirror)

    v = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert apply_view(turned(0.0), v) is v
    assert apply_view(turned(1.0), v).tolist() == [[[[2, 1, 0], [5, 4, 3]]]]
    assert apply_view(turned(0.5), v).tolist() == [[[[1, 1, 1], [4, 4, 4]]]]


def test_a_mirrored_picture_is_of_the_mirrored_features(mirroring: MemoryDrivenPipeline) -> None:
    plain, turned = sides(mirroring)
    out = mirroring(CAPTION, seeds=[plain, turned])
    assert out.mirrored == (False, True)
    generator, v = mirroring.checkpoint.generator, mirroring.bank.v
    text = out.prepared.text
    for seed, made, flip in zip((plain, turned), out.images, (False, True), strict=True):
        own = v(mirroring.bank.index_of(out.neighbours[0].id))[None]
        noise = draw_noise(seed, generator)
        with torch.inference_mode():
            whole = generator(noise.z, text.sentence, text.words, own.flip(3) if flip else own, noise.epsilon)
        other = to_picture(whole.images[-1])
        gap = torch.tensor(list(made.tobytes())).sub(torch.tensor(list(other.tobytes())))
        assert gap.abs().max() <= 1
    again = mirroring.from_recipe(Recipe.from_png(out.png(1)))
    assert again.images[0].tobytes() == out.images[1].tobytes()
    assert "memory mirrored" in picture.picture_panel(again, mirroring.resolutions)
    assert mirroring(CAPTION, "none", seed=turned).mirrored == (False,)


def test_a_morph_turns_the_memory_with_the_noise(mirroring: MemoryDrivenPipeline) -> None:
    plain, turned = sides(mirroring)
    one, other = (Request(caption=CAPTION, k=1, seeds=(seed,)) for seed in (plain, turned))
    start, end = End.of(mirroring, one), End.of(mirroring, other)
    assert between(start, end, {"view"}, 0.25).noise.mirror == 0.25
    assert between(start, end, {"memory"}, 0.25).noise.mirror == 0.0
    first, _, last = frames(mirroring, one, other, {"z", "view"}, 3)
    assert first.tobytes() == mirroring(CAPTION, k=1, seed=plain).images[0].tobytes()
    assert last.tobytes() == mirroring(CAPTION, k=1, seed=turned).images[0].tobytes()


def test_maps_lie_over_the_memory_as_it_was_used(mirroring: MemoryDrivenPipeline) -> None:
    plain, turned = sides(mirroring)
    looks = {}
    for seed in (plain, turned):
        looks[seed] = look_inside(mirroring, Request(caption=CAPTION, k=1, seeds=(seed,)))
    assert (looks[plain].noise.mirror, looks[turned].noise.mirror) == (0.0, 1.0)
    torch.testing.assert_close(looks[turned].v, looks[plain].v.flip(2))
    image = looks[plain].prepared.retrieval[0].image
    shown = inside.features(looks[turned])
    assert image_uri(ImageOps.mirror(image)) in shown
    assert image_uri(image) not in shown
    assert strings.INSIDE_MIRRORED in shown
    assert strings.INSIDE_MIRRORED not in inside.features(looks[plain])


def test_many_painted_at_once_are_those_painted_alone(mirroring: MemoryDrivenPipeline) -> None:
    seeds = list(sides(mirroring))
    wanted = mirroring(CAPTION, k=1, seeds=seeds)
    stages = mirroring.paint_many(wanted.prepared, seeds)
    for place in range(2):
        mine = torch.from_numpy(np.array(to_picture(stages[-1][place : place + 1]))).int()
        image = torch.from_numpy(np.array(wanted.images[place])).int()
        assert (mine - image).abs().max() <= 1
