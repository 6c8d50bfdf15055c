from __future__ import annotations

import pytest

from memdriven.pipeline import MemoryDrivenPipeline
from memdriven.ui import inside, state, strings
from tests.ui.asking import EMPTY, QUERY, asking


@pytest.fixture(autouse=True)
def loaded(pipe: MemoryDrivenPipeline) -> None:
    state.use(pipe)


def test_maps_of_features_and_gates_are_linked(pipe: MemoryDrivenPipeline) -> None:
    made, line = inside.look(*QUERY)
    # v, eight channels, and two gates on picture and memory at each stage
    assert made.count("md-linked-frame") == 1 + 8 + 4 * len(pipe.resolutions)
    assert "attention" not in made.lower()
    assert "seed 7" in line


def test_without_memory_there_is_nothing_to_see() -> None:
    made, line = inside.look(*asking(source="none"))
    assert strings.INSIDE_NO_MEMORY in made
    assert 'role="alert"' not in line
    assert 'role="alert"' in inside.look(*EMPTY)[1]


def test_controls_come_one_by_one() -> None:
    steps = list(inside.exchange(*QUERY))
    assert [step[0].count("data-control=") for step in steps] == [1, 2, 3, 4, 5]
    assert steps[-1][0].count("data-control") == 5
    *_, (made, line) = inside.exchange(*asking("a red bird"))
    assert strings.CONTROL_GONE in made
    assert 'data-busy="false"' in line
    (only,) = inside.exchange(*asking("qqq"))
    assert 'role="alert"' in only[1]
