"""A request is checked once, has one form, and shares its preparation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from memdriven.errors import CaptionError, ConfigError, MemDrivenError, RetrievalError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED, MAX_SEEDS, Recipe, Reference, Request, Variation

CAPTION = "a small red bird with black wings"
HUGE = 10**5_000

WRONG: Mapping[str, tuple[type[MemDrivenError], dict[str, Any]]] = {
    "caption as number": (CaptionError, {"caption": 3}),
    "caption as bytes": (CaptionError, {"caption": b"bird"}),
    "caption of half a character": (CaptionError, {"caption": "\ud800"}),
    "caption without end": (CaptionError, {"caption": "bird " * 1_000}),
    "seeds as number": (ConfigError, {"seeds": 3}),
    "seeds as text": (ConfigError, {"seeds": "12"}),
    "endless seeds": (ConfigError, {"seeds": range(MAX_SEEDS + 1)}),
    "seed of 5,000 digits": (ConfigError, {"seeds": [HUGE]}),
    "seed true": (ConfigError, {"seeds": [True]}),
    "seed in a list": (ConfigError, {"seeds": [[1]]}),
    "strategy as list": (RetrievalError, {"strategy": ["none"]}),
    "k of 5,000 digits": (RetrievalError, {"k": HUGE}),
    "k infinite": (RetrievalError, {"k": math.inf}),
    "reference of one": (RetrievalError, {"references": [("a",)]}),
    "references as text": (RetrievalError, {"references": "ab"}),
    "reference without id": (RetrievalError, {"references": [(None, 1)]}),
    "reference as object": (RetrievalError, {"references": [({"a": 1}, 1)]}),
    "reference twice": (RetrievalError, {"references": [("a", 1), ("a", 1)]}),
    "many references": (RetrievalError, {"references": [(str(i), 1) for i in range(65)]}),
    "weight as text": (RetrievalError, {"references": [("a", "1")]}),
    "weight NaN": (RetrievalError, {"references": [("a", math.nan)]}),
    "weight beyond a float": (RetrievalError, {"references": [("a", 10**400)]}),
    "weights that overflow": (RetrievalError, {"references": [("a", 1e308), ("b", 1e308)]}),
    "weights of nothing": (RetrievalError, {"references": [("a", 0), ("b", 0.0)]}),
    "exclude as text": (RetrievalError, {"exclude": "bird-01"}),
    "exclude numbers": (RetrievalError, {"exclude": [1]}),
    "images of another type": (ConfigError, {"images": ["own:a"]}),
    "variations of another type": (ConfigError, {"variations": [(1, 0.5)]}),
    "many variations": (ConfigError, {"variations": [Variation(seed=1, strength=0.5)] * 33}),
    "memory NaN": (ConfigError, {"memory": math.nan}),
    "memory as list": (ConfigError, {"memory": [1]}),
    "guidance beyond a float": (ConfigError, {"guidance": 10**400}),
    "guidance true": (ConfigError, {"guidance": True}),
    "best_of NaN": (ConfigError, {"best_of": math.nan}),
    "mirror as number": (ConfigError, {"mirror": 1}),
    "window of two": (ConfigError, {"window": (0, 1)}),
    "window outside": (ConfigError, {"window": (0.5, 0, 0.6)}),
    "window of nothing": (ConfigError, {"window": (0, 0, 0)}),
    "window NaN": (ConfigError, {"window": (0, 0, math.nan)}),
    "window as text": (ConfigError, {"window": "001"}),
}


@pytest.mark.parametrize(("kind", "wrong"), WRONG.values(), ids=WRONG)
def test_what_is_out_of_range_is_refused(kind: type[MemDrivenError], wrong: dict[str, Any]) -> None:
    with pytest.raises(kind) as caught:
        Request(**{"caption": CAPTION, **wrong})
    assert len(str(caught.value)) < 400


def test_equal_requests_are_equal_keys() -> None:
    one = Request(caption=CAPTION, seeds=[1, 2], references=[("a", 3), ("b", 1)], exclude=["y", "x", "x"])  # type: ignore[arg-type]
    other = Request(
        caption=CAPTION,
        seeds=(1, 2),
        references=(Reference("a", 0.75), Reference("b", 0.25)),
        exclude=("x", "y"),
    )
    assert one == other
    assert hash(one) == hash(other)
    assert one.references == (("a", 0.75), ("b", 0.25))


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    plain = Request.of(CAPTION, k=2, seeds=[0, 1, 2], neighbours=["a"], weights=[1.0], memory=0.5)
    for seeds in (np.arange(3), torch.arange(3), list(np.arange(3))):
        given: dict[str, Any] = {"k": np.int32(2), "seeds": seeds, "memory": np.float32(0.5)}
        request = Request.of(CAPTION, neighbours=["a"], weights=np.ones(1, np.float32), **given)
        assert request == plain
        assert json.dumps([request.seeds, request.k, request.references]), "of Python's own"
    assert Variation(seed=np.int64(1), strength=np.float64(0.5)) == Variation(seed=1, strength=0.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seeds"):
        Request.of(CAPTION, seeds=np.array([0.5]))


def test_no_references_are_the_strategy_none() -> None:
    empty = Request(caption=CAPTION, strategy="words-both", references=())
    assert (empty.strategy, empty.references) == ("none", None)


def test_a_caption_with_settings_or_a_request_with_changes() -> None:
    request = Request.of(CAPTION, "none", 2, 7, memory=0.5)
    assert request == Request(caption=CAPTION, strategy="none", k=2, seeds=(7,), memory=0.5)
    changed = Request.of(request, seed=8)
    assert changed == replace(request, seeds=(8,))
    with pytest.raises(ConfigError, match="seed or seeds"):
        Request.of(CAPTION, seed=1, seeds=[2])
    with pytest.raises(TypeError):
        Request.of(CAPTION, colour="red")


def test_a_drawn_seed_is_in_range() -> None:
    drawn = {Request(caption=CAPTION).seeded().seeds for _ in range(20)}
    assert len(drawn) == 20
    assert all(0 <= seed <= MAX_SEED for (seed,) in drawn)
    kept = Request(caption=CAPTION, seeds=(5,))
    assert kept.seeded() is kept


def test_a_preview_and_its_picture_share_their_preparation(pipe: MemoryDrivenPipeline) -> None:
    preview = pipe.prepare(Request(caption=CAPTION, k=2))
    output = pipe(CAPTION, k=2, seed=9)
    assert output.prepared.v is preview.v, "without a choice by painting, noise takes no part"
    assert output.prepared.request.seeds == (9,)
    tried = Request(caption=CAPTION, best_of=4, seeds=(9, 10))
    assert pipe.prepare(tried).v is pipe(tried).prepared.v
    assert pipe.prepare(tried).tried is pipe.prepare(replace(tried, seeds=(9, 11))).tried
    assert pipe.prepare(tried).tried is not pipe.prepare(replace(tried, seeds=(11,))).tried


def test_the_view_can_be_held_so_that_only_z_moves(
    pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = pipe.checkpoint.generator
    monkeypatch.setattr(generator, "config", replace(generator.config, mirror=True, zoom=0.3))
    free, held = Request(caption=CAPTION), Request(caption=CAPTION, mirror=True, window=(0.1, 0.2, 0.7))
    drawn = [pipe.noise(free, seed) for seed in range(8)]
    fixed = [pipe.noise(held, seed) for seed in range(8)]
    assert len({noise.view.window for noise in drawn}) == 8
    assert {noise.view for noise in fixed} == {(0.1, 0.2, 0.7, 1.0)}
    for one, other in zip(drawn, fixed, strict=True):
        assert torch.equal(one.z, other.z)
        assert torch.equal(one.epsilon, other.epsilon)


def test_a_held_view_is_in_the_recipe_and_a_drawn_one_is_not(pipe: MemoryDrivenPipeline) -> None:
    held = pipe(CAPTION, seed=3, mirror=True, window=(0.25, 0.0, 0.5))
    assert held.views == ((0.25, 0.0, 0.5, 1.0),)
    assert held.recipe.to_dict()["window"] == [0.25, 0.0, 0.5]
    again = pipe.from_recipe(Recipe.from_json(held.recipe.to_json()))
    assert again.recipe == held.recipe
    assert again.images[0].tobytes() == held.images[0].tobytes()
    free = pipe(CAPTION, seed=3)
    assert not {"mirror", "window"} & free.recipe.to_dict().keys()
    assert free.images[0].tobytes() != held.images[0].tobytes()


def test_many_pictures_at_once_are_those_painted_alone(pipe: MemoryDrivenPipeline) -> None:
    one, other = (pipe.prepare(Request(caption=CAPTION, k=k)) for k in (1, 3))
    stages = pipe.paint_many([one, other], [4, 5])
    assert [tuple(images.shape) for images in stages] == [(2, 3, side, side) for side in pipe.resolutions]
    for place, (prepared, seed) in enumerate(((one, 4), (other, 5))):
        for images, stage in zip(stages, pipe.paint(prepared, seed), strict=True):
            torch.testing.assert_close(images[place], stage.image[0], atol=1e-4, rtol=1e-3)
    same = pipe.paint_many(one, [4])
    torch.testing.assert_close(same[-1], stages[-1][:1], atol=1e-4, rtol=1e-3)
