from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from memdriven.explore.compare import difference
from memdriven.explore.inside import Inside, hide, look_inside
from memdriven.pipeline.output import to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

CAPTION = "a small red bird with black wings"


def look(pipe: MemoryDrivenPipeline, strategy: str | None = None) -> Inside:
    return look_inside(pipe, Request(caption=CAPTION, strategy=strategy, k=1, seeds=(3,)))


def test_words_search_and_features_are_this_pictures(pipe: MemoryDrivenPipeline) -> None:
    seen = look(pipe)
    assert [word for word, _ in seen.words] == CAPTION.split()
    v = pipe.bank.v(pipe.bank.index_of(seen.prepared.retrieval.ids[0]))
    assert torch.equal(seen.v, v)
    line = pipe.retrieve(CAPTION, "sentence-sentence", pipe.bank.n)
    assert [pipe.bank.ids[row] for row in seen.cosines.argsort(descending=True)[:5]] == list(line.ids[:5])
    assert float(seen.cosines.max()) == pytest.approx(line[0].score, abs=1e-5)


def test_an_affine_combination_gives_what_the_stage_is_painted_from(
    three_stages: MemoryDrivenPipeline,
) -> None:
    pipe = three_stages
    seen = look(pipe)
    wanted = pipe(CAPTION, k=1, seed=3)
    assert [p.tobytes() for p in seen.pictures] == [p.tobytes() for p in wanted.stages]
    assert [(f.stage, f.side) for f in seen.fusions] == [(0, 64), (1, 128), (2, 256)]
    stages = list(pipe.paint(seen.prepared, seen.noise))
    without = list(pipe.paint(replace(seen.prepared, v=torch.zeros_like(seen.prepared.v)), seen.noise))
    last, (gates,), (empty,) = seen.fusions[2], stages[2].gates, without[2].gates
    for row, channel in enumerate(last.channels):
        for y, x in ((0, 0), (3, 9), (15, 15)):
            at = channel, 16 * y + 8, 16 * x + 8
            assert last.scale[row, y, x] == gates.scale[0][at]
            assert last.shift[row, y, x] == gates.shift[0][at]
    moved = (gates.scale - empty.scale).abs().mean(dim=1)  # 64 of 256 px: means of 4 x 4
    torch.testing.assert_close(last.moved[0, 0], moved[0, :4, :4].mean())
    assert last.hidden.shape == (len(last.channels), 16, 16)


def test_a_part_of_v_is_hidden_at_a_time(pipe: MemoryDrivenPipeline) -> None:
    seen = look(pipe)
    hidden = hide(pipe, seen)
    assert len(hidden.hidden) == 16
    v = seen.prepared.v.clone()
    v[:, :, 4:8, 8:12] = 0
    *_, last = pipe.paint(replace(seen.prepared, v=v), 3)
    without = to_picture(last.image)
    assert hidden.hidden[6].tobytes() == without.tobytes()
    wanted = difference(seen.pictures[-1], without).mean()
    assert float(hidden.effects[1, 2]) == pytest.approx(float(wanted), rel=1e-4)
    assert float(hidden.gone[6].max()) > 0
    assert seen.effects.tolist() == [[0.0] * 4] * 4, "nothing was hidden yet"


def test_nothing_is_moved_without_memory(pipe: MemoryDrivenPipeline) -> None:
    seen = look(pipe, "none")
    assert seen.most_moved is None
