from __future__ import annotations

import pytest

from memdriven.errors import CaptionError, ConfigError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Variation
from memdriven.ui import compare
from memdriven.ui.html import image_uri
from memdriven.ui.steering import Steering
from tests.ui.asking import CAPTION, EMPTY, QUERY, asking

pytestmark = pytest.mark.usefixtures("loaded")


def test_table_fills_and_has_a_row_a_strategy_and_a_picture_a_seed() -> None:
    steps = list(compare.table(["sentence-sentence", "none"], 2, *QUERY))
    assert [step[0].count("md-pick") for step in steps] == [0, 1, 2, 2, 3, 4, 4]
    last, line = steps[-1]
    assert "Compared." in line
    assert last.count('class="md-row"') == 2
    assert "no memory" in last
    assert last.count("seed 7") >= 2
    assert last.count("md-slide-place") == 1


@pytest.mark.parametrize(("strategies", "seeds"), [(["sql"], 99), ([], 1), (["none"], -3)])
def test_forged_choices_are_clamped_or_left_out(strategies: list[str], seeds: int) -> None:
    *_, (_, line) = compare.table(strategies, seeds, *QUERY)
    assert 'role="alert"' not in line


def test_a_changed_word_shows_both_pictures_and_their_difference() -> None:
    made, line = next(compare.change(CAPTION.replace("red", "blue"), *QUERY))
    assert "<del>red</del> <ins>blue</ins>" in made
    assert made.count("<figure") == 3
    assert "seed 7" in line
    assert "difference: 0.0 %" not in made


def test_nothing_to_compare_is_explained() -> None:
    with pytest.raises(ConfigError, match="change a word"):
        next(compare.change(CAPTION, *QUERY))
    for asked in (compare.change("blue", *EMPTY), compare.table(["none"], 1, *EMPTY)):
        with pytest.raises(CaptionError, match="describe the picture in a sentence"):
            next(asked)


STEP = Variation(seed=2, strength=0.5)


def test_the_table_keeps_masked_memories_out_and_the_steps_in(pipe: MemoryDrivenPipeline) -> None:
    first, second = pipe.retrieve(CAPTION, "sentence-sentence", 2).ids
    steering = Steering().mask(first).step(7, (STEP,))
    *_, (made, _) = compare.table(["sentence-sentence", "none"], 1, *asking(steering=steering))
    for given in ([second], []):
        wanted = pipe(CAPTION, seed=7, neighbours=given, variations=[STEP])
        assert image_uri(wanted.images[0]) in made
    assert "seed 7, step 1 away" in made


def test_a_control_without_a_reference_is_told() -> None:
    *_, (made, line) = compare.table(["oracle", "none"], 1, *asking("a red bird"))
    assert "only for a caption of the memory" in made
    assert made.count("md-pick") == 1
    assert "Compared." in line
    with pytest.raises(CaptionError):
        next(compare.table(["none"], 1, *asking("qqq")))


def test_controls_hold_what_was_steered_by_hand(pipe: MemoryDrivenPipeline) -> None:
    step = Variation(seed=2, strength=0.5)
    worst = pipe.retrieve(CAPTION, "sentence-sentence", pipe.bank.n).ids[-1]
    steering = Steering().pin("bird-05").mask(worst).mask("bird-00").step(7, (step,))
    *_, (made, _) = compare.table(["sentence-sentence", *compare.CONTROLS], 1, *asking(steering=steering))
    rows = made.split('class="md-row"')[1:]
    for name, given in (("whole caption vs. captions", ["bird-05"]), ("no memory", [])):
        wanted = pipe(CAPTION, seed=7, neighbours=given, variations=[step])
        assert image_uri(wanted.images[0]) in next(row for row in rows if name in row)
    assert any("worst match" in row for row in rows)
    assert image_uri(pipe.bank.thumbnail(pipe.bank.index_of(worst))) not in made
    assert "only for a caption of the memory" in made  # the caption's own memory is masked
