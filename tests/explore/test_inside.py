from __future__ import annotations

import pytest
import torch

from memdriven.explore.controls import CONTROLS, controls, least_alike
from memdriven.explore.inside import STRENGTHS, Inside, fading, gate_maps, look_inside, strongest
from memdriven.models.layers import Gates
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

CAPTION = "a small red bird with black wings"


def test_strengths_go_from_words_alone_to_all_of_the_memory(pipe: MemoryDrivenPipeline) -> None:
    made = [each.tobytes() for each in fading(pipe, Request(caption=CAPTION, k=2, seeds=(5,)))]
    assert len(made) == len(set(made)) == len(STRENGTHS) == 5
    assert made[0] == pipe(CAPTION, "none", seed=5).images[0].tobytes()
    assert made[1] == pipe(CAPTION, k=2, seed=5, memory=0.25).images[0].tobytes()
    assert made[4] == pipe(CAPTION, k=2, seed=5).images[0].tobytes()


def look(pipe: MemoryDrivenPipeline, strategy: str | None = None) -> Inside:
    return look_inside(pipe, Request(caption=CAPTION, strategy=strategy, k=1, seeds=(3,)))


def test_v_and_its_strongest_channels(pipe: MemoryDrivenPipeline) -> None:
    seen = look(pipe)
    v = pipe.bank.v(pipe.bank.index_of(seen.retrieval.ids[0]))
    torch.testing.assert_close(seen.energy, (v**2).sum(0).sqrt())
    wanted = sorted(range(512), key=lambda c: -float(v[c].mean()))[:8]
    means = [channel.mean for channel in seen.channels]
    assert means == pytest.approx([float(v[c].mean()) for c in wanted], rel=1e-5)
    third = seen.channels[2]
    assert third.mean == pytest.approx(float(v[third.number].mean()), rel=1e-5)
    assert torch.equal(third.map, v[third.number])


def test_pictures_and_gates_of_every_stage(pipe: MemoryDrivenPipeline) -> None:
    seen = look(pipe)
    wanted = pipe(CAPTION, k=1, seed=3)
    assert [p.tobytes() for p in seen.pictures] == [p.tobytes() for p in wanted.stages]
    assert [[g.side for g in stage] for stage in seen.gates] == [[64], [128], [256]]
    assert [tuple(g.scale.shape) for (g,) in seen.gates] == [(64, 64)] * 3


def test_gate_maps_average_how_much_is_changed() -> None:
    scale, shift = torch.ones(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    scale[0, 0, 0, 0], shift[0, :, 3, 3] = 3.0, torch.tensor([1.0, -2.0])
    maps = gate_maps(Gates(scale, shift))
    assert maps.scale[0, 0] == 1.0
    assert maps.shift[3, 3] == 1.5
    assert maps.scale.sum() == 1.0
    assert gate_maps(Gates(scale, shift), side=2).shift[1, 1] == pytest.approx(1.5 / 4)


def test_nothing_is_strong_without_memory(pipe: MemoryDrivenPipeline) -> None:
    seen = look(pipe, "none")
    assert seen.channels == strongest(torch.zeros(512, 2, 2)) == ()
    assert float(seen.energy.max()) == 0.0


def test_controls_change_the_memory_alone(pipe: MemoryDrivenPipeline) -> None:
    made = {control.name: control for control in controls(pipe, Request.of(CAPTION, "words-image", 1, 4))}
    assert tuple(made) == CONTROLS
    assert made["retrieved"].retrieval is not None
    assert made["retrieved"].retrieval.strategy == "words-image"
    assert made["oracle"].retrieval is not None
    assert made["oracle"].retrieval.ids == ("bird-00",)
    assert len({control.picture.tobytes() for control in made.values() if control.picture}) >= 4
    assert made["none"].picture is not None
    assert made["none"].picture.tobytes() == pipe(CAPTION, "none", seed=4).images[0].tobytes()


def test_a_caption_of_nobody_has_no_oracle(pipe: MemoryDrivenPipeline) -> None:
    made = {control.name: control for control in controls(pipe, Request.of("a red bird", "none", 1, 4))}
    assert made["oracle"].picture is None
    assert made["retrieved"].retrieval is not None
    assert made["retrieved"].retrieval.strategy == pipe.config.retrieval.strategy


def test_wrong_memory_is_the_least_alike(pipe: MemoryDrivenPipeline) -> None:
    line = pipe.retrieve(CAPTION, "sentence-sentence", pipe.bank.n)
    assert least_alike(pipe, CAPTION) == line.ids[-1]
