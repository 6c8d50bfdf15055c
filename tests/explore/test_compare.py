from __future__ import annotations

import pytest
import torch
from PIL import Image

from memdriven.errors import ConfigError, RetrievalError
from memdriven.explore.compare import across, difference, edit, word_changes
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

CAPTION = "a small red bird with black wings"


def test_table_fills_picture_by_picture(pipe: MemoryDrivenPipeline) -> None:
    steps = list(across(pipe, Request(caption=CAPTION, k=1, seeds=(3, 4)), ["sentence-sentence", "none"]))
    filled = [sum(p is not None for row in step for p in row.pictures) for step in steps]
    assert filled == [0, 1, 2, 2, 3, 4]
    rows = steps[-1]
    assert [row.strategy for row in rows] == ["sentence-sentence", "none"]
    picture = rows[1].pictures[1]
    assert picture is not None
    assert picture.tobytes() == pipe(CAPTION, "none", 1, 4).images[0].tobytes()


def test_missing_oracle_leaves_an_empty_row_and_nonsense_is_refused(pipe: MemoryDrivenPipeline) -> None:
    *_, rows = across(pipe, Request(caption="a red bird", k=1, seeds=(3,)), ["oracle", "none"])
    assert rows[0].retrieval is None
    assert rows[0].pictures == (None,)
    assert rows[1].pictures[0] is not None
    with pytest.raises(RetrievalError):
        list(across(pipe, Request(caption=CAPTION), ["sql"]))


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
    made = edit(pipe, request, edited)
    assert made.after.retrieval.ids == made.before.retrieval.ids
    assert made.after.recipe.weights == made.before.recipe.weights
    assert made.after.recipe.seed == made.before.recipe.seed == 9
    assert made.before.png() == pipe(CAPTION, strategy, 2, 9).png()
    assert float(made.difference.max()) > 0
    with pytest.raises(ConfigError):
        edit(pipe, request, f" {CAPTION}  ")


def test_difference_is_the_mean_over_colours() -> None:
    first, second = Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4), (255, 0, 51))
    torch.testing.assert_close(difference(first, second), torch.full((4, 4), 0.4))
