"""Of several memories the one whose picture fits is kept: the search, written out again."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from memdriven.checkpoint import Checkpoint
from memdriven.config import DamsmConfig
from memdriven.encoders.damsm import Damsm, matching_scores
from memdriven.encoders.readers import FLOOR, AttributeHead, Attributes, CaptionReader
from memdriven.errors import ConfigError, RetrievalError
from memdriven.memory.scores import scaled
from memdriven.pipeline.claims import named_by
from memdriven.pipeline.output import Retrieval, to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_TRIED, Request, Variation

CAPTION = "a small red bird with black wings"
NAMING = "a small red bird with black wings and a blue crown"


def fit(
    pipe: MemoryDrivenPipeline, neighbour: str, seed: int, caption: str = CAPTION, **options: object
) -> float:
    """Return DAMSM's word score of the 64 px picture that one memory gives."""
    prepared = pipe.prepare(Request.of(caption, seed=seed, neighbours=[neighbour], **options))
    first = next(pipe.paint(prepared, seed)).image
    pixels = torch.from_numpy(np.asarray(to_picture(first)).copy()).permute(2, 0, 1)[None].float() / 255
    checkpoint = pipe.checkpoint
    encoded = checkpoint.vocabulary.encode(caption, checkpoint.config.text.max_words)
    with torch.no_grad():
        text = checkpoint.damsm.encode_captions([encoded])
        regions = checkpoint.damsm.encode_images(pixels)[0].regions
    score = float(matching_scores(text.words, text.mask, regions))
    if checkpoint.attributes is not None:
        score += shown(checkpoint, caption, pixels)
    return score


def chosen(pipe: MemoryDrivenPipeline, **fields: object) -> Retrieval:
    """Return the references that are kept."""
    return pipe.prepare(Request(caption=CAPTION, **fields)).retrieval  # type: ignore[arg-type]


def shown(checkpoint: Checkpoint, caption: str, pixels: torch.Tensor) -> float:
    """Return how much of what the caption's words name the picture may show."""
    assert checkpoint.attributes is not None
    assert checkpoint.damsm.pixels is not None
    with torch.no_grad():
        seen = checkpoint.attributes.head(checkpoint.damsm.pixels.maps(pixels))[0].softmax(1)
    rows = list(checkpoint.attributes.values)
    total = 0.0
    for attribute, value in named_by(caption, checkpoint.attributes.values).claims:
        place = checkpoint.attributes.values[attribute].index(value)
        total += max(math.log(float(seen[rows.index(attribute), place]) + 1e-30), FLOOR)
    return total


def test_the_best_pictures_memory_is_kept(pipe: MemoryDrivenPipeline) -> None:
    steps = (Variation(seed=2, strength=0.4),)
    ranks = set()
    near = pipe.retrieve(CAPTION, k=5)
    for seed, memory in enumerate((1.0, 0.5)):
        fits = [fit(pipe, n.id, seed, memory=memory, variations=steps) for n in near]
        request = Request(caption=CAPTION, seeds=(seed,), best_of=5, memory=memory, variations=steps)
        prepared = pipe.prepare(request)
        assert prepared.retrieval.ids == (near[int(np.argmax(fits))].id,)
        assert (prepared.retrieval.tried, prepared.retrieval.k) == (5, 1)
        assert prepared.retrieval[0].percentile is not None
        assert prepared.retrieval.weights == (1.0,)
        assert "choose" in prepared.timings
        ranks.add(prepared.retrieval[0].rank)
        tried = prepared.tried
        assert [each.neighbour.id for each in tried] == list(near.ids)
        assert [each.score for each in tried] == pytest.approx(fits, abs=0.02)
        assert [each.kept for each in tried] == [
            each.neighbour.id in prepared.retrieval.ids for each in tried
        ]
        kept = next(each for each in tried if each.kept)
        painted = to_picture(next(pipe.paint(prepared, seed)).image)
        gap = np.asarray(kept.picture).astype(int) - np.asarray(painted)
        assert np.abs(gap).max() <= 1
    again = pipe.from_recipe(pipe.recipe(prepared, seed))
    assert again.recipe.k == 1
    assert again.images[0].tobytes() == pipe(request).images[0].tobytes()
    assert ranks != {1}, "not simply the nearest"


def test_what_the_caption_names_decides_where_the_encoders_can_read_it(pipe: MemoryDrivenPipeline) -> None:
    values = {"crown": ("blue", "green", "red"), "crest": ("no", "yes")}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        readers = Attributes(AttributeHead(112, values), CaptionReader(32, values)).eval()
        readers.head.weight.data.mul_(20)
    plain, by_words_alone = (
        [pipe.prepare(Request(caption=words, seeds=(seed,), best_of=6)).retrieval.ids for seed in range(2)]
        for words in (NAMING, CAPTION)
    )
    checkpoint = dataclasses.replace(pipe.checkpoint, attributes=readers)
    pipe = MemoryDrivenPipeline(checkpoint, pipe.bank)
    near = pipe.retrieve(NAMING, k=6)
    found = [
        pipe.prepare(Request(caption=NAMING, seeds=(seed,), best_of=6)).retrieval.ids for seed in range(2)
    ]
    for seed, ids in enumerate(found):
        scores = [fit(pipe, n.id, seed, NAMING) for n in near]
        assert ids == (near[int(np.argmax(scores))].id,)
    assert found != plain
    # What no word names chooses nothing, whatever a text network expects.
    nothing = [
        pipe.prepare(Request(caption=CAPTION, seeds=(seed,), best_of=6)).retrieval.ids for seed in range(2)
    ]
    assert nothing == by_words_alone


def test_several_are_kept_with_their_shares_scaled(pipe: MemoryDrivenPipeline) -> None:
    near = pipe.retrieve(CAPTION, k=6)
    fits = {n.id: fit(pipe, n.id, 3) for n in near}
    kept = chosen(pipe, k=2, seeds=(3,), best_of=6)
    assert list(kept.ids) == sorted(fits, key=lambda name: -fits[name])[:2]
    natural = {n.id: n.weight for n in near}
    whole = sum(natural[name] for name in kept.ids)
    assert kept.weights == pytest.approx([natural[name] / whole for name in kept.ids])


def test_far_memories_whose_shares_came_to_nothing() -> None:
    assert scaled([0.0]) == [1.0]
    assert scaled([0.0, 0.0]) == [0.5, 0.5]
    assert scaled([0.0, 0.25]) == [0.0, 1.0]


@pytest.mark.parametrize(("strategy", "count"), [("none", 0), ("oracle", 1), ("random", 1)])
def test_where_there_is_nothing_to_choose(pipe: MemoryDrivenPipeline, strategy: str, count: int) -> None:
    """Controls are controls, whatever best_of."""
    found = chosen(pipe, strategy=strategy, k=1, seeds=(5,), best_of=4)
    assert len(found) == count
    assert found.tried == 0
    assert found.ids == pipe.retrieve(CAPTION, strategy, 1, seed=5).ids
    plain = chosen(pipe, k=3, seeds=(5,), best_of=3)
    assert plain.tried == 0
    assert plain.ids == pipe.retrieve(CAPTION, k=3).ids


def test_a_small_memory_is_tried_whole(pipe: MemoryDrivenPipeline) -> None:
    masked = pipe.bank.ids[:2]
    found = chosen(pipe, seeds=(5,), best_of=MAX_TRIED, exclude=masked)
    assert found.tried == pipe.bank.n - 2
    assert found.ids[0] not in masked


@pytest.mark.parametrize("count", [0, -1, MAX_TRIED + 1, 1.5, "3"])
def test_refused_numbers(pipe: MemoryDrivenPipeline, count: object) -> None:
    with pytest.raises(ConfigError, match="best_of"):
        pipe(CAPTION, seed=1, best_of=count)  # type: ignore[arg-type]
    with pytest.raises(RetrievalError, match="k: a whole number"):
        chosen(pipe, k=0, seeds=(1,), best_of=2)


def test_encoders_that_read_no_pictures_say_so(pipe: MemoryDrivenPipeline) -> None:
    blind = Damsm(len(pipe.checkpoint.vocabulary), pipe.config.text, DamsmConfig())
    with pytest.raises(ConfigError, match="read pictures"):
        MemoryDrivenPipeline(dataclasses.replace(pipe.checkpoint, damsm=blind), pipe.bank)(CAPTION, best_of=2)
