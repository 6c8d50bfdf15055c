from __future__ import annotations

import pytest

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Variation
from memdriven.ui import inside, state, strings
from memdriven.ui.html import image_uri
from memdriven.ui.startup import gr
from memdriven.ui.steering import Steering
from tests.ui.asking import CAPTION, EMPTY, QUERY, asking


@pytest.fixture(autouse=True)
def loaded(pipe: MemoryDrivenPipeline) -> None:
    state.use(pipe)


def test_maps_of_features_and_gates_are_linked(pipe: MemoryDrivenPipeline) -> None:
    ((made, strengths, line),) = inside.look(*QUERY)
    # v, eight channels, and two gates on picture and memory at each stage
    assert made.count("md-linked-frame") == 1 + 8 + 4 * len(pipe.resolutions)
    assert "attention" not in made.lower()
    assert "seed 7" in line
    assert strengths == ""


def test_a_mixture_is_named_over_the_first_of_it(pipe: MemoryDrivenPipeline) -> None:
    ((made, _, _),) = inside.look(*asking(k=3))
    share = pipe.retrieve(CAPTION, "sentence-sentence", 3)[0].weight
    assert 0 < share < 1
    assert strings.INSIDE_MIXED.format(count=3, share=share) in made
    ((made, _, _),) = inside.look(*QUERY)
    assert "memories took part" not in made


def test_without_memory_there_is_nothing_to_see() -> None:
    ((made, _, line),) = inside.look(*asking(source="none"))
    assert strings.INSIDE_NO_MEMORY in made
    assert 'role="alert"' not in line
    assert 'role="alert"' in next(inside.look(*EMPTY))[2]


def test_strengths_of_the_memory_come_one_by_one(fading: MemoryDrivenPipeline) -> None:
    state.use(fading)
    first, *strips = inside.look(*asking(memory=0.5))
    assert str(first[0]).count("md-gates") == len(fading.resolutions) + 2
    assert strings.GATE_EARLY.format(side=16) in str(first[0])
    assert [str(step[1]).count("data-share") for step in strips] == [1, 2, 3, 4, 5]
    assert ['data-busy="true"' in step[2] for step in (first, *strips)] == [True] * 5 + [False]
    assert all(step[0] == gr.skip() for step in strips)
    assert "75%" in str(strips[-1][1])
    # At the ends stand the pictures without memory and with all of it, whatever the slider says.
    for share, options in (("0%", {"strategy": "none"}), ("100%", {})):
        wanted = image_uri(fading(CAPTION, seed=7, **options).images[0])
        shown = str(strips[-1][1]).split(f'data-share="{share}"')[1]
        assert shown.index(wanted) < shown.index("</li>")
    ((_, none, _),) = inside.look(*asking(source="none"))
    assert none == ""


def test_controls_are_painted_at_the_strength_asked_for(fading: MemoryDrivenPipeline) -> None:
    state.use(fading)
    *_, (made, _) = inside.exchange(*asking(memory=0.0))
    alone = image_uri(fading(CAPTION, "none", seed=7).images[0])
    assert made.count(alone) == 5


def test_controls_come_one_by_one() -> None:
    steps = list(inside.exchange(*QUERY))
    assert [step[0].count("data-control=") for step in steps] == [1, 2, 3, 4, 5]
    assert steps[-1][0].count("data-control") == 5
    *_, (made, line) = inside.exchange(*asking("a red bird"))
    assert strings.CONTROL_GONE in made
    assert 'data-busy="false"' in line
    (only,) = inside.exchange(*asking("qqq"))
    assert 'role="alert"' in only[1]


def test_controls_hold_what_was_steered_by_hand(pipe: MemoryDrivenPipeline) -> None:
    step = Variation(seed=2, strength=0.5)
    worst = pipe.retrieve(CAPTION, "sentence-sentence", pipe.bank.n).ids[-1]
    steering = Steering().pin("bird-05").mask(worst).mask("bird-00").step(7, (step,))
    *_, (made, _) = inside.exchange(*asking(steering=steering))
    shown = {
        name: made.split(f'data-control="{name}"')[-1].split("</li>")[0] for name in ("retrieved", "none")
    }
    for name, given in (("retrieved", ["bird-05"]), ("none", [])):
        wanted = pipe(CAPTION, seed=7, neighbours=given, variations=[step])
        assert image_uri(wanted.images[0]) in shown[name]
    assert image_uri(pipe.bank.thumbnail(pipe.bank.index_of(worst))) not in made
    assert strings.CONTROL_GONE in made  # the caption's own memory is masked
