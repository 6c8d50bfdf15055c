from __future__ import annotations

import pytest

from memdriven.errors import CaptionError, ConfigError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Variation
from memdriven.ui import references, state
from memdriven.ui.steering import Steering
from tests.ui.asking import CAPTION, asking


@pytest.fixture(autouse=True)
def loaded(pipe: MemoryDrivenPipeline) -> None:
    state.use(pipe)


def test_a_seed_in_the_box_is_used_even_when_it_is_not_kept(pipe: MemoryDrivenPipeline) -> None:
    wanted = references.read(*asking(keep=False))
    given = wanted.request
    assert (given.caption, given.strategy, given.k, given.seeds) == (CAPTION, "sentence-sentence", 1, (7,))
    assert wanted.paint(pipe).png() == pipe(CAPTION, k=1, seed=7).png()
    drawn = {references.read(*asking(seed="")).seed for _ in range(3)}
    assert len(drawn) == 3


def test_what_was_steered_by_hand_counts(pipe: MemoryDrivenPipeline) -> None:
    steering = Steering().only("bird-05").step(7, (Variation(seed=2, strength=0.3),))
    wanted = references.read(*asking(steering=steering))
    output = wanted.paint(pipe)
    assert output.retrieval.ids == ("bird-05",)
    assert output.recipe.variations == steering.variations
    assert pipe.prepare(wanted.request).retrieval.ids == ("bird-05",)
    assert references.read(*asking(steering=steering, source="none")).paint(pipe).retrieval.ids == ()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (0.25, 0.25),
        (0, 0.0),
        (-3, 0.0),
        (7, 1.0),
        (None, 1.0),
        ("0.5", 1.0),
        (True, 1.0),
        (float("nan"), 1.0),
    ],
)
def test_less_than_all_of_the_memory_where_the_model_offers_it(
    fading: MemoryDrivenPipeline, given: object, used: float
) -> None:
    assert references.read(*asking(memory=given)).request.memory == 1.0
    state.use(fading)
    wanted = references.read(*asking(memory=given))
    assert wanted.request.memory == used
    output = wanted.paint(fading)
    assert output.recipe.memory == used
    again = fading(CAPTION, k=1, seed=7, memory=used)
    assert output.images[0].tobytes() == again.images[0].tobytes()
    assert float(fading.prepare(wanted.request).v.abs().max() > 0) == float(used > 0)


def test_nothing_and_nonsense_are_refused() -> None:
    for caption in ("  ", "", None, 3):
        with pytest.raises(CaptionError):
            references.read(*asking(caption=caption))  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        references.read(*asking(seed="seven"))
