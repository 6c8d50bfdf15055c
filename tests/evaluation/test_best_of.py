"""The row whose memories are chosen by their pictures: the pipeline's choice, kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from memdriven.data.prepared import PreparedDataset
from memdriven.evaluation import painting
from memdriven.evaluation.prompts import choose_prompts
from memdriven.evaluation.resources import Resources
from memdriven.evaluation.rows import BEST, TRIED
from memdriven.evaluation.run import evaluate
from memdriven.evaluation.workbench import Workbench
from memdriven.pipeline import rerank as choosing
from memdriven.pipeline.pipeline import MemoryDrivenPipeline


def bench(checkpoint: Path, squares: Path, folder: Path, n: int = 6) -> Workbench:
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device="cpu")
    data = PreparedDataset.open(squares)
    return Workbench(
        pipe.checkpoint,
        data,
        choose_prompts(data, "test", n),
        Resources(),
        seed=3,
        folder=folder / "model",
        progress=False,
    )


def test_the_rows_memories_are_the_pipelines_choice(
    checkpoint: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench(checkpoint, squares, tmp_path)
    row = made.row(BEST)
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device="cpu")
    chosen = [
        pipe(prompt.caption, seed=3 + place, best_of=TRIED).retrieval
        for place, prompt in enumerate(made.prompts)
    ]
    assert row.drew_on == [found.ids[0] for found in chosen]
    assert any(found[0].rank > 1 for found in chosen)
    plain = made.row("model")
    assert row.images.shape == plain.images.shape
    for place, found in enumerate(chosen):
        same = torch.equal(row.images[place], plain.images[place])
        assert same == (found[0].rank == 1), "only another memory makes another picture"

    def never(*given: Any) -> None:
        raise AssertionError("chosen again")

    monkeypatch.setattr(painting, "score_pictures", never)
    assert bench(checkpoint, squares, tmp_path).row(BEST).drew_on == row.drew_on
    assert choosing.score_pictures is not never


def test_it_is_asked_for_like_a_control(
    checkpoint: Path, squares: Path, judge_folder: Path, tmp_path: Path
) -> None:
    found = evaluate(
        checkpoint,
        squares,
        metrics=["attributes", "diversity_seed"],
        n=6,
        controls=[BEST],
        out=tmp_path,
        resources=Resources(judge=judge_folder),
        figures=False,
        progress=False,
    )
    rows = {(r.metric, r.row) for r in found.results}
    assert ("asked_colours", BEST) in rows
    assert ("diversity_seed", BEST) not in rows
