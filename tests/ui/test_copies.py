from __future__ import annotations

from dataclasses import replace

import pytest

from memdriven.pipeline import MemoryDrivenPipeline
from memdriven.ui import copies, state, strings
from tests.ui.asking import CAPTION, EMPTY, QUERY


@pytest.fixture(autouse=True)
def loaded(pipe: MemoryDrivenPipeline) -> None:
    state.use(pipe)


def test_the_check_shows_the_nearest_beside_the_result() -> None:
    *_, (made, line) = copies.check(*QUERY)
    assert made.count("data-id=") == copies.SHOWN
    assert strings.COPY_CLEAR in made
    assert made.count('class="md-mark"') == copies.SHOWN
    assert "seed 7" in line


def test_a_copy_is_called_one(pipe: MemoryDrivenPipeline) -> None:
    output = pipe(CAPTION, k=1, seed=1)
    forged = replace(output, all_stages=((pipe.bank.thumbnail(0),),))
    made = copies.check_html(forged, copies.space(pipe).result(), pipe.bank)
    assert strings.COPY_SUSPECT in made
    assert strings.COPY_REFERENCE in made
    assert strings.COPY_OTHERS not in made


def test_nothing_to_check_is_explained() -> None:
    *_, (_, line) = copies.check(*EMPTY)
    assert 'role="alert"' in line
