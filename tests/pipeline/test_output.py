"""What a picture comes with: its references, words, timings, recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

import memdriven
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe

CAPTION = "a small red bird with black wings"


def test_one_caption_gives_a_picture_with_its_whole_trace(three_stages: MemoryDrivenPipeline) -> None:
    out = three_stages(CAPTION, strategy="sentence-sentence", k=1, seed=7)
    assert [stage.size for stage in out.stages] == [(64, 64), (128, 128), (256, 256)]
    assert out.images[0] is out.stages[-1]
    (neighbour,) = out.neighbours
    assert neighbour.id == "bird-00"
    assert neighbour.caption == CAPTION
    assert (neighbour.rank, neighbour.weight) == (1, 1.0)
    assert neighbour.image.size == (96, 96)
    assert neighbour.score == pytest.approx(1.0, abs=0.01)
    assert list(out.timings) == [
        "encode",
        "retrieve",
        "features",
        "stage 64",
        "stage 128",
        "stage 256",
        "total",
    ]
    assert out.timings["total"] == pytest.approx(
        sum(ms for name, ms in out.timings.items() if name != "total")
    )
    assert out.recipe.seed == 7
    assert out.recipe.neighbours == ("bird-00",)
    assert out.recipe.checkpoint == "tiny"
    assert out.recipe.version == memdriven.__version__


def test_unknown_words_are_reported(pipe: MemoryDrivenPipeline) -> None:
    out = pipe.retrieve("a smal crimson bird zzz")
    assert [(word.word, word.replacement) for word in out.unknown_words] == [
        ("smal", "small"),
        ("crimson", "red"),
        ("zzz", None),
    ]
    assert out.words == ("a", "small", "red", "bird")


def test_output_is_saved_with_its_recipe(pipe: MemoryDrivenPipeline, tmp_path: Path) -> None:
    out = pipe(CAPTION, seeds=[1, 2])
    out.save(tmp_path / "bird.png", 1)
    assert Recipe.from_png((tmp_path / "bird.png").read_bytes()) == out.recipes[1]


def test_a_printed_neighbour_shows_no_bytes_of_its_image(pipe: MemoryDrivenPipeline) -> None:
    first = pipe("a small red bird", k=1, seed=7).neighbours[0]
    assert first.webp
    assert "RIFF" not in repr(first)
