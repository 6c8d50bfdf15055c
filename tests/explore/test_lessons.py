"""What each lesson says will happen does happen, on the model that is shipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from memdriven.explore import lessons as room
from memdriven.explore.compare import least_alike, mean_difference
from memdriven.explore.copies import CopySpace
from memdriven.explore.lessons import lessons
from memdriven.pipeline.claims import by_thing
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Reference

SHIPPED = Path(__file__).parents[2] / "checkpoints" / "aviary"


@pytest.fixture(scope="module")
def aviary() -> MemoryDrivenPipeline:
    return MemoryDrivenPipeline.from_pretrained(SHIPPED)


@pytest.fixture(scope="module")
def space(aviary: MemoryDrivenPipeline) -> CopySpace:
    return CopySpace(aviary.bank)


@pytest.mark.parametrize("name", list(lessons()))
def test_the_lessons_answer_comes_true(aviary: MemoryDrivenPipeline, space: CopySpace, name: str) -> None:
    lesson = lessons()[name]
    *_, ran = room.run(aviary, lesson, space=space)
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


def shows(output: PipelineOutput) -> list[bool]:
    """Return of each thing that the caption names whether the picture shows it."""
    things = by_thing(output.prepared.retrieval.named, output.claims[0])
    return [all(claim.holds for claim in thing) for thing in things]


def test_without_memory_the_shape_goes_and_half_brings_it_back(
    aviary: MemoryDrivenPipeline, space: CopySpace
) -> None:
    request = lessons()["wrong"].request
    given = aviary.prepare(request).retrieval.shares
    made = {share: aviary(replace(request, references=given, memory=share)) for share in (0.0, 0.5, 1.0)}
    nothing, half, whole = (output.images[0] for output in made.values())
    assert mean_difference([nothing, whole]) > 3 * mean_difference([half, whole])
    assert all(space.check(made[share]).same_layout for share in (0.5, 1.0))
    wrong = aviary(replace(request, references=(Reference(least_alike(aviary, request.caption)),)))
    assert space.check(wrong).same_layout, "the shape is the wrong memory's"
    for output in (made[1.0], wrong):
        assert sum(shows(output)) >= len(shows(output)) / 2 > 0, "the colours are the words'"


def test_neither_z_nor_the_view_takes_what_the_noise_lessons_words_name(aviary: MemoryDrivenPipeline) -> None:
    request = lessons()["noise"].request
    noises = [aviary.noise(request, request.seeds[0] + step) for step in range(room.DRAWS)]
    first = replace(request, mirror=bool(noises[0].view.mirrored), window=noises[0].view.window)
    rows = {
        "z": [replace(first, seeds=(request.seeds[0] + step,)) for step in range(room.DRAWS)],
        "view": [
            replace(request, mirror=bool(each.view.mirrored), window=each.view.window) for each in noises
        ],
    }
    for name, requests in rows.items():
        outputs = [aviary(each) for each in requests]
        found = [one for output in outputs for one in shows(output)]
        assert sum(found) >= 0.75 * len(found) > 0, name
        assert mean_difference([output.images[0] for output in outputs]) > 0.01, f"{name} is no silent noise"


def test_a_space_is_made_where_none_is_at_hand(pipe: MemoryDrivenPipeline) -> None:
    *_, made = room.run(pipe, lessons()["copy"])
    *_, given = room.run(pipe, lessons()["copy"], space=CopySpace(pipe.bank))
    assert made.measured == given.measured != ""
