from __future__ import annotations

from pathlib import Path

import pytest

from memdriven.errors import EvaluationError
from memdriven.evaluation.report.gather import gather, read_curve


def test_everything_under_a_run_is_found(runs: Path) -> None:
    found = gather([runs])
    assert len(found.results) == 16
    assert sorted(each.content["variant"] for each in found.figures) == ["", "base"]
    assert [curve.name for curve in found.curves] == ["runs/damsm", "runs/gan $x^<b>"]
    assert [curve.x for curve in found.curves] == ["step", "images"]
    one = gather([runs / "evaluation" / "results.jsonl"])
    assert one.results == found.results
    assert one.curves == []


def test_folders_without_records_are_not_searched(runs: Path) -> None:
    hidden = runs / "evaluation" / "features"
    hidden.mkdir()
    (hidden / "results.jsonl").write_text("damaged")
    assert len(gather([runs]).results) == 16


def test_a_log_with_a_cut_line_and_repeated_steps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "damsm": 5}\n{"step": 2, "damsm": 4}\n{"step": 2, "damsm": 3.5}\n'
        '{"step": 3, "damsm": NaN, "kl": true, "note": "x"}\nnot json\n{"damsm": 1}\n'
    )
    assert read_curve(path, "x").points == {"damsm": [(1, 5), (2, 3.5)]}


def test_nothing_and_damaged_records_are_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="nothing there"):
        gather([tmp_path / "absent"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match=r"results\.jsonl"):
        gather([tmp_path / "empty"])
    index = next(runs.rglob("figures.json"))
    index.write_text('{"schema": "other"}')
    with pytest.raises(EvaluationError, match="schema"):
        gather([runs])
