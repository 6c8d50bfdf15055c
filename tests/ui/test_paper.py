from __future__ import annotations

import pytest

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED
from memdriven.ui import paper, state
from tests.ui.asking import EMPTY, HOSTILE, QUERY, asking


@pytest.fixture(autouse=True)
def loaded(pipe: MemoryDrivenPipeline) -> None:
    state.use(pipe)


@pytest.mark.parametrize(("number", "images"), [("1", 12), ("3", 8), ("5", 12)])
def test_figures_are_drawn_live(number: str, images: int) -> None:
    steps = list(paper.draw(number, *QUERY))
    made, line = steps[-1]
    assert f'data-figure="{number}"' in made
    assert made.count("<img") == images
    assert "md-busy" not in made
    assert "seed 7" in line
    counts = [step[0].count("<img") for step in steps]
    assert counts == sorted(counts)
    assert counts[0] < images


def test_own_words_come_first_and_are_escaped() -> None:
    *_, (made, _) = paper.draw("3", *asking(HOSTILE))
    assert "<img src=x" not in made
    assert made.index("&lt;img src=x") < made.index("md-paper-memory")
    *_, (made, _) = paper.draw("no such figure", *EMPTY)
    assert 'data-figure="1"' in made


def test_noises_after_the_largest_seed_go_on_from_zero() -> None:
    *_, (made, line) = paper.draw("5", *asking(seed=str(MAX_SEED)))
    assert made.count("<img") == 12
    assert str(MAX_SEED) in line
    *_, (made, _) = paper.draw(["5"], *asking())  # type: ignore[arg-type]
    assert 'data-figure="1"' in made


def test_an_unreadable_caption_is_explained() -> None:
    *_, (_, line) = paper.draw("3", *asking("qqq"))
    assert 'role="alert"' in line
