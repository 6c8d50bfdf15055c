from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
import torch

from memdriven.explore.inside import look_inside
from memdriven.numbers import percent
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request
from memdriven.ui import gr, inside, state
from memdriven.ui import html as charts
from memdriven.ui.html import image_uri
from memdriven.ui.query import read_examples
from tests.ui.asking import CAPTION, EMPTY, QUERY, asking

pytestmark = pytest.mark.usefixtures("loaded")


def walked(made: object) -> dict[str, Any]:
    """Return the numbers that the browser is given."""
    found = re.search(r'data-walk="([^"]*)"', str(made))
    assert found
    numbers: dict[str, Any] = json.loads(html.unescape(found[1]))
    return numbers


def test_every_step_from_the_words_to_the_critic_is_there(pipe: MemoryDrivenPipeline) -> None:
    under_way, first, second = inside.show(*QUERY)
    assert under_way[0] == gr.skip()
    assert "Looking inside the picture of seed 7" in under_way[2]
    steps = re.findall(r'role="tab" id="walk-(\w+)"', str(second[0]))
    stages = [f"stage{number}" for number in range(len(pipe.resolutions))]
    assert steps == ["words", "search", "features", *stages, "picture", "critic"]
    assert re.findall(r'role="tabpanel" id="walk-at-(\w+)"', str(second[0])) == steps
    assert "attention" not in str(second[0]).lower()
    assert ["seed 7" in each[2] for each in (first, second)] == [False, True]
    assert [len(walked(each[0])["without"]) for each in (first, second)] == [0, 16]
    assert second[1] == ""
    assert "comes without it" in str(second[0]), "the miniature has no discriminator, and says so"


def test_the_browser_is_given_v_and_what_each_module_makes_of_it(pipe: MemoryDrivenPipeline) -> None:
    *_, (made, _, _) = inside.show(*QUERY)
    numbers = walked(made)
    seen = look_inside(pipe, Request.of(CAPTION, "sentence-sentence", 1, 7))
    column = dict(map(tuple, numbers["v"][16 * 5 + 9]))
    for channel in (0, 100, 511):
        assert column.get(channel, 0) == pytest.approx(float(seen.v[channel, 5, 9]), abs=0.006)
    assert len(numbers["fusions"]) == len(seen.fusions)
    for sent, wanted in zip(numbers["fusions"], seen.fusions, strict=True):
        assert sent["h"][2][16 * 5 + 9] == pytest.approx(float(wanted.hidden[2, 5, 9]), abs=6e-4)
        assert sent["W"][2][16 * 5 + 9] == pytest.approx(float(wanted.scale[2, 5, 9]), abs=6e-4)
        assert sent["b"][2][16 * 5 + 9] == pytest.approx(float(wanted.shift[2, 5, 9]), abs=6e-4)


def test_a_mixture_is_named_over_the_first_of_it(pipe: MemoryDrivenPipeline) -> None:
    *_, (made, _, _) = inside.show(*asking(k=3))
    share = pipe.retrieve(CAPTION, "sentence-sentence", 3)[0].weight
    assert 0 < share < 1
    shown = f"shown over the image of No. 1, which weighs {percent(share)}."
    assert f"3 references took part, mixed into one v, {shown}" in str(made)
    *_, (made, _, _) = inside.show(*QUERY)
    assert "references took part" not in str(made)


def test_without_memory_nothing_can_be_hidden() -> None:
    _, (made, _, line) = inside.show(*asking(source="none"))
    assert "nothing can be hidden" in str(made)
    assert 'role="alert"' not in line


def test_without_words_an_example_is_walked_through(pipe: MemoryDrivenPipeline) -> None:
    *_, (made, _, line) = inside.show(*EMPTY)
    assert f"<q>{read_examples(pipe)[0]}</q>" in str(made)
    assert 'role="alert"' not in line


def test_the_histogram_holds_every_item_and_marks_the_reference() -> None:
    cosines = torch.tensor([0.1, 0.1, 0.5, 0.93])
    made = charts.part("histogram", cosines, [0.93], [0.5])
    assert made.count("<rect") == 3
    assert made.count('class="md-mark-at"') == made.count('class="md-other"') == 1
    assert "4 cosines" in made
    assert "0.93" in made
    assert "<text" not in charts.part("histogram", cosines, [], small=True)


def test_strengths_of_the_memory_come_one_by_one(fading: MemoryDrivenPipeline) -> None:
    state.use(fading)
    _, first, second, *strips = inside.show(*asking(memory=0.5))
    assert len(walked(second[0])["fusions"]) == len(fading.resolutions) + 2
    assert "at 16 px" in str(first[0])
    assert [str(step[1]).count("data-share") for step in strips] == [1, 2, 3, 4, 5]
    assert ['data-busy="true"' in step[2] for step in (first, second, *strips)] == [True] * 6 + [False]
    assert all(step[0] == gr.skip() for step in strips)
    assert "75 %" in str(strips[-1][1])
    # At the ends stand the pictures without memory and with all of it, whatever the slider says.
    for share, options in (("0 %", {"strategy": "none"}), ("100 %", {})):
        wanted = image_uri(fading(CAPTION, seed=7, **options).images[0])
        shown = str(strips[-1][1]).split(f'data-share="{share}"')[1]
        assert shown.index(wanted) < shown.index("</li>")
    *_, (_, none, _) = inside.show(*asking(source="none"))
    assert none == ""
