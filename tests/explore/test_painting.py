from __future__ import annotations

import torch

from memdriven.explore.painting import gather, picture, stages
from memdriven.pipeline.pipeline import MemoryDrivenPipeline

CAPTION = "a small red bird with black wings"


def test_pictures_are_the_pipelines(pipe: MemoryDrivenPipeline) -> None:
    for strategy, k in (("sentence-sentence", 2), ("none", 1), ("random", 3)):
        inputs, retrieval = gather(pipe, CAPTION, strategy, k, 5)
        wanted = pipe(CAPTION, strategy, k, 5)
        assert retrieval.ids == wanted.retrieval.ids
        assert picture(pipe, inputs).tobytes() == wanted.images[0].tobytes()


def test_a_part_of_the_memory_is_the_pipelines(pipe: MemoryDrivenPipeline) -> None:
    inputs, _ = gather(pipe, CAPTION, None, 2, 5, memory=0.3)
    wanted = pipe(CAPTION, None, 2, 5, memory=0.3)
    assert picture(pipe, inputs).tobytes() == wanted.images[0].tobytes()


def test_stages_bring_their_gates(pipe: MemoryDrivenPipeline) -> None:
    inputs, _ = gather(pipe, CAPTION, None, None, 1)
    made = list(stages(pipe, inputs))
    assert [stage.image.shape[-1] for stage in made] == pipe.resolutions
    sides = [[gates.scale.shape[-1] for gates in stage.gates] for stage in made]
    assert sides == [[side] for side in pipe.resolutions]
    assert not made[0].image.requires_grad
    assert not torch.backends.cudnn.deterministic
