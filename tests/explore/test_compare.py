from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from memdriven.errors import ConfigError, RetrievalError
from memdriven.explore.compare import (
    WRONG,
    across,
    carries,
    cosines,
    difference,
    edit,
    least_alike,
    mean_difference,
    word_changes,
)
from memdriven.memory.bank import BankItem
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request
from memdriven.ui import state
from memdriven.ui.references import memory_panel

CAPTION = "a small red bird with black wings"


def test_table_fills_picture_by_picture(pipe: MemoryDrivenPipeline) -> None:
    steps = list(across(pipe, Request(caption=CAPTION, k=1, seeds=(3, 4)), ["sentence-sentence", "none"]))
    assert [sum(len(row.pictures) for row in step) for step in steps] == [0, 1, 2, 2, 3, 4]
    rows = steps[-1]
    assert [row.strategy for row in rows] == ["sentence-sentence", "none"]
    assert rows[1].pictures[1].tobytes() == pipe(CAPTION, "none", 1, 4).images[0].tobytes()


def test_missing_oracle_leaves_an_empty_row_and_nonsense_is_refused(pipe: MemoryDrivenPipeline) -> None:
    *_, rows = across(pipe, Request(caption="a red bird", k=1, seeds=(3,)), ["oracle", "none"])
    assert rows[0].retrieval is None
    assert [len(row.pictures) for row in rows] == [0, 1]
    with pytest.raises(RetrievalError):
        list(across(pipe, Request(caption=CAPTION), ["sql"]))


def test_the_wrong_reference_is_the_least_alike_whatever_was_asked(pipe: MemoryDrivenPipeline) -> None:
    line = pipe.retrieve(CAPTION, "sentence-sentence", pipe.bank.n)
    assert least_alike(pipe, CAPTION) == line.ids[-1]
    assert least_alike(pipe, CAPTION, line.ids[-1:]) == line.ids[-2]
    assert float(cosines(pipe, CAPTION).max()) == pytest.approx(line[0].score, abs=1e-5)
    for strategy in ("words-image", "none"):
        *_, rows = across(pipe, Request.of(CAPTION, strategy, 1, 4), ["none", WRONG])
        assert rows[1].retrieval is not None
        assert rows[1].retrieval.ids == line.ids[-1:]
        wanted = pipe(CAPTION, seed=4, neighbours=line.ids[-1:])
        assert rows[1].pictures[0].tobytes() == wanted.images[0].tobytes()


def test_changes_name_the_words() -> None:
    assert word_changes("a red bird", "a blue bird here") == [
        ("same", "a"),
        ("gone", "red"),
        ("new", "blue"),
        ("same", "bird"),
        ("new", "here"),
    ]


@pytest.mark.parametrize("strategy", ["sentence-sentence", "none"])
def test_an_edit_holds_noise_and_neighbours(pipe: MemoryDrivenPipeline, strategy: str) -> None:
    edited = CAPTION.replace("red", "blue")
    request = Request(caption=CAPTION, strategy=strategy, k=2, seeds=(9,))
    before, after = edit(pipe, request, edited)
    assert after.retrieval.ids == before.retrieval.ids
    assert after.recipe.weights == before.recipe.weights
    assert after.recipe.seed == before.recipe.seed == 9
    assert before.png() == pipe(CAPTION, strategy, 2, 9).png() != after.png()
    with pytest.raises(ConfigError):
        edit(pipe, request, f" {CAPTION}  ")


def test_difference_is_the_mean_over_colours() -> None:
    first, second = Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4), (255, 0, 51))
    torch.testing.assert_close(difference(first, second), torch.full((4, 4), 0.4))


def flat(level: int) -> Image.Image:
    return Image.new("RGB", (16, 16), (level,) * 3)


def test_flat_pictures_differ_by_their_level_at_every_resolution() -> None:
    assert mean_difference([flat(0), flat(51)]) == pytest.approx(0.2)
    assert mean_difference([flat(0), flat(51), flat(102)]) == pytest.approx(0.8 / 3)
    assert mean_difference([flat(9), flat(9)]) == 0


SHIPPED = Path(__file__).parents[2] / "checkpoints" / "aviary"


@pytest.fixture(scope="module")
def aviary() -> Iterator[MemoryDrivenPipeline]:
    pipe = MemoryDrivenPipeline.from_pretrained(SHIPPED)
    state.use(pipe)
    yield pipe
    state.use(pipe)


def bird(**attributes: str) -> BankItem:
    return BankItem(id="x", captions=("a bird",), class_name="", attributes=attributes)


def test_named_things_are_counted_by_an_items_own_attributes(aviary: MemoryDrivenPipeline) -> None:
    named = aviary.retrieve("a bird with a red crown and black wings and a white belly", "none").named
    assert carries(named, bird(crown="red", wing="black", belly="grey", tail="white")) == (2, 3)
    assert carries(named, bird(crown="blue", wing="grey", belly="grey")) == (0, 3)
    assert carries(named, bird()) is None
    assert carries(aviary.retrieve("a bird", "none").named, bird(crown="red")) is None


def test_a_card_says_how_much_of_what_is_named_it_has(aviary: MemoryDrivenPipeline) -> None:
    caption = "a yellow bird with a black head"
    retrieval = aviary.retrieve(caption, k=1)
    has = carries(retrieval.named, aviary.bank.items[aviary.bank.index_of(retrieval.ids[0])])
    assert has is not None
    assert f"has {has[0]} of the {has[1]} things you named" in memory_panel(retrieval)
    assert "of the memory" not in memory_panel(retrieval)
