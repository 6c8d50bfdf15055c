from __future__ import annotations

import io

import pytest
from PIL import Image

from memdriven.explore import export
from memdriven.pipeline.pipeline import MemoryDrivenPipeline


def test_long_words_fit_on_the_sheet(pipe: MemoryDrivenPipeline) -> None:
    out = pipe("red " + "w" * 300 + " bird " + "and red " * 40, seed=1)
    with Image.open(io.BytesIO(export.contact_sheet([out] * 5))) as sheet:
        assert sheet.width == 4 * (export.CELL + export.GAP) + export.GAP
        assert sheet.height > 2 * export.CELL
        assert sheet.text["Caption 1"] == out.recipe.caption  # type: ignore[attr-defined]


def test_the_contact_sheet_has_the_captions_letters_or_says_where_they_are(
    pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", lambda self, at, words, *rest: written.append(words))
    known = ("a red bird ä é ñ ç ø – — “” ł", "a red bird красная птица", "a red bird κόκκινο πουλί")
    export.contact_sheet([pipe(caption, seed=1) for caption in (*known, "a red bird \U00013000")])
    assert written[::2] == [*known, export.UNDRAWN]
