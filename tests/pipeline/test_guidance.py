"""Words moved away from what the memory's captions say: the sum, written out again."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
import torch

from memdriven.config import MAX_GUIDANCE
from memdriven.errors import ConfigError
from memdriven.pipeline import guidance
from memdriven.pipeline.guidance import Guidance
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

CAPTION = "a small red bird with black wings"


def read(pipe: MemoryDrivenPipeline, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one caption's sentence and mean word, encoded alone."""
    encoded = pipe.checkpoint.vocabulary.encode(caption, pipe.config.text.max_words)
    with torch.no_grad():
        text = pipe.checkpoint.damsm.encode_captions([encoded])
    return text.sentence[0], text.words[0][text.mask[0]].mean(0)


def test_the_text_moves_away_from_the_mix_of_what_is_said(pipe: MemoryDrivenPipeline) -> None:
    prepared = pipe.prepare(Request(caption=CAPTION, k=3, guidance=1.5, memory=0.5))
    moved, found = prepared.text, prepared.retrieval
    wanted = list(read(pipe, CAPTION))
    for neighbour in found:
        captions = pipe.bank.items[pipe.bank.index_of(neighbour.id)].captions
        said = [read(pipe, caption) for caption in captions]
        for part, own in enumerate(read(pipe, CAPTION)):
            mean = torch.stack([each[part] for each in said]).mean(0)
            wanted[part] = wanted[part] + 1.5 * 0.5 * neighbour.weight * (own - mean)
    torch.testing.assert_close(moved.sentence[0], wanted[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(moved.condition[0], wanted[1], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(moved.sentence, prepared.asked.sentence)


def test_what_is_named_moves_too(fading: MemoryDrivenPipeline) -> None:
    attributes = fading.checkpoint.attributes
    assert attributes is not None
    assert attributes.reader is not None

    def named(caption: str) -> torch.Tensor:
        encoded = fading.checkpoint.vocabulary.encode(caption, fading.config.text.max_words)
        with torch.no_grad():
            text = fading.checkpoint.damsm.encode_captions([encoded])
            return attributes.reader(text).softmax(2)[0, :, :-1].flatten()

    prepared = fading.prepare(Request(caption=CAPTION, k=1, guidance=1.5))
    own = named(CAPTION)
    torch.testing.assert_close(prepared.asked.attributes[0], own)
    row = fading.bank.index_of(prepared.retrieval[0].id)
    captions = fading.bank.items[row].captions
    mean = torch.stack([named(caption) for caption in captions]).mean(0)
    assert not torch.allclose(mean, own)
    moved = prepared.text.condition[0, -len(own) :]
    torch.testing.assert_close(moved, own + 1.5 * (own - mean), atol=1e-5, rtol=1e-4)


def test_nothing_to_argue_with(pipe: MemoryDrivenPipeline) -> None:
    plain = Request(caption=CAPTION, k=1, guidance=2.0)
    for each in (replace(plain, guidance=0.0), replace(plain, memory=0.0), replace(plain, strategy="none")):
        prepared = pipe.prepare(each)
        assert torch.equal(prepared.text.sentence, prepared.asked.sentence)
    mute = Guidance(pipe.checkpoint, pipe.bank)
    mute._mean = lambda _: None
    assert torch.equal(
        mute.guide(prepared.asked, [(pipe.bank.ids[0], 1.0)], 2.0).sentence, prepared.asked.sentence
    )


def test_a_recipe_keeps_it(pipe: MemoryDrivenPipeline) -> None:
    plain, guided = pipe(CAPTION, seed=3), pipe(CAPTION, seed=3, guidance=2.0)
    assert plain.recipe.guidance == 0
    assert "guidance" not in plain.recipe.to_dict()
    assert guided.recipe.to_dict()["guidance"] == 2.0
    assert guided.images[0].tobytes() != plain.images[0].tobytes()
    again = pipe.from_recipe(type(guided.recipe).from_json(guided.recipe.to_json()))
    assert again.images[0].tobytes() == guided.images[0].tobytes()
    bare = [pipe(CAPTION, "none", seed=3, guidance=g).images[0].tobytes() for g in (0.0, 2.0)]
    assert bare[0] == bare[1]


def strong(pipe: MemoryDrivenPipeline, guidance: float) -> MemoryDrivenPipeline:
    """Return a pipeline whose checkpoint asks for guidance by itself."""
    generator = dataclasses.replace(pipe.config.generator, guidance=guidance)
    config = dataclasses.replace(pipe.config, generator=generator)
    return MemoryDrivenPipeline(dataclasses.replace(pipe.checkpoint, config=config), pipe.bank)


def test_a_checkpoint_may_ask_for_it(pipe: MemoryDrivenPipeline) -> None:
    by_itself, asked = strong(pipe, 1.5)(CAPTION, seed=4), pipe(CAPTION, seed=4, guidance=1.5)
    assert by_itself.recipe.guidance == 1.5
    assert by_itself.images[0].tobytes() == asked.images[0].tobytes()
    old = strong(pipe, 1.5).from_recipe(pipe(CAPTION, seed=4).recipe)
    assert old.images[0].tobytes() == pipe(CAPTION, seed=4).images[0].tobytes()


def test_a_choice_among_references_is_guided_too(pipe: MemoryDrivenPipeline) -> None:
    asked = Request(caption=CAPTION, k=1, seeds=(9,), best_of=5, guidance=2.0)
    by_itself = strong(pipe, 2.0)(CAPTION, k=1, seed=9, best_of=5).retrieval
    assert by_itself.ids == pipe.prepare(asked).retrieval.ids


@pytest.mark.parametrize("wrong", [-0.1, MAX_GUIDANCE + 0.1, "1", True, float("nan")])
def test_refused_strengths(pipe: MemoryDrivenPipeline, wrong: object) -> None:
    with pytest.raises(ConfigError, match="guidance"):
        pipe(CAPTION, seed=1, guidance=wrong)  # type: ignore[arg-type]


def test_what_z_asks_is_told_where_the_caption_is_silent(
    fading: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attribute is asked for by half, another is unknown to z; places are those of the memory."""
    attributes, places = fading.checkpoint.attributes, []
    assert attributes is not None
    first = next(iter(attributes.values))
    value = attributes.values[first][1]

    def wishes(z: list[float], options: tuple[str, ...]) -> dict[str, dict[str, float]]:
        places.append(options)
        return {first: {value: 0.5}}

    monkeypatch.setattr(guidance, "asked", wishes)
    prepared = fading.prepare(Request(caption=CAPTION, k=1, guidance=1.5))
    told, named = prepared.text.condition, prepared.asked.attributes
    assert named is not None
    z = torch.randn(1, fading.config.generator.z_dim)
    found = fading.guidance.with_asks(told, named, z, {"body_plan": "duck", "pose": "swimming"})
    rows = named.view(len(attributes.values), -1)
    added = (found - told)[0, -named.shape[1] :].view(rows.shape)
    torch.testing.assert_close(added[0, 1], 0.5 * (1 - rows[0].sum()))
    assert (added != 0).sum() == 1
    assert torch.equal(found[:, : -named.shape[1]], told[:, : -named.shape[1]])
    fading.guidance.with_asks(told, named, z, {})
    assert places == [("water",), guidance.BACKGROUNDS]
