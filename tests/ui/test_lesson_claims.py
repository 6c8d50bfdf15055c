"""What each lesson says will happen does happen, on the model that is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import lessons as room
from memdriven.ui import state
from memdriven.ui.lessons import lessons

SHIPPED = Path(__file__).parents[2] / "checkpoints" / "aviary"


@pytest.fixture(scope="module")
def aviary() -> MemoryDrivenPipeline:
    return MemoryDrivenPipeline.from_pretrained(SHIPPED)


@pytest.mark.parametrize("name", list(lessons()))
def test_the_lessons_answer_comes_true(aviary: MemoryDrivenPipeline, name: str) -> None:
    state.use(aviary)
    lesson = lessons()[name]
    *_, ran = room.run(aviary, lesson)
    if lesson.answer is None:  # the run alone decides, but decide it must
        assert ran.answer is not None, ran.measured
    else:
        assert ran.answer == lesson.answer, ran.measured


@pytest.mark.parametrize("name", ["stages", "copy", "critic"])
def test_the_lessons_picture_shows_what_its_caption_names(aviary: MemoryDrivenPipeline, name: str) -> None:
    output = aviary(lessons()[name].request)
    named = [claim for claim in output.claims[0] if claim.said == "named"]
    assert named
    assert all(claim.holds for claim in named), [claim for claim in named if not claim.holds]
