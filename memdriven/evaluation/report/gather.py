"""Reads what runs left behind: result lines, example pictures and training logs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memdriven.errors import EvaluationError
from memdriven.evaluation import figures
from memdriven.evaluation.results import Result, read_results
from memdriven.files import read_json

RESULTS, LOG = "results.jsonl", "metrics.jsonl"
DEPTH = 5
"""Folders below a run that are searched."""
PASSED_OVER = frozenset(("features", "neighbours", "memory", "images", "cache", "samples", "tensorboard"))
"""Folders that hold no records."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One training run's log."""

    name: str
    points: dict[str, list[tuple[float, float]]]
    """Metric -> (x, y), x in images, or in steps where images are not logged."""
    x: str
    """`images` or `step`."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The example pictures of one evaluation."""

    folder: Path
    content: dict[str, Any]


@dataclass(kw_only=True)
class Gathered:
    """Everything a report is made from."""

    results: list[Result] = field(default_factory=list)
    figures: list[Figures] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    """The files, as they were given."""


def gather(runs: Sequence[Path]) -> Gathered:
    """Read the records under each run, a folder or a results file.

    Raises:
        EvaluationError: a run does not exist, nothing is found in any, or a record is damaged.
    """
    found = Gathered()
    for run in runs:
        if not run.exists():
            raise EvaluationError(
                wanted=f"a run at {run}",
                found="nothing there",
                fix="give folders of evaluate, ablate or train",
            )
        for path in [run] if run.is_file() else _records(run):
            if path.name == LOG:
                curve = read_curve(path, _name(path, run))
                found.curves += [curve] if curve.points else []
            elif path.name == figures.INDEX:
                found.figures.append(_read_figures(path))
            else:
                found.results += read_results(path)
            found.sources.append(str(path))
    if not (found.results or found.curves or found.figures):
        raise EvaluationError(
            wanted=f"{RESULTS} or {LOG} in the runs",
            found=", ".join(map(str, runs))[:160],
            fix="give folders of evaluate, ablate or train",
        )
    return found


def _records(run: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(run):
        here = Path(folder)
        depth = len(here.relative_to(run).parts)
        below[:] = sorted(set(below) - PASSED_OVER) if depth < DEPTH else []
        for name in (RESULTS, LOG, figures.INDEX):
            if name in names:
                yield here / name


def _name(path: Path, run: Path) -> str:
    parts = path.parent.relative_to(run).parts if run.is_dir() else ()
    return "/".join((run.resolve().name, *parts))


def _read_figures(path: Path) -> Figures:
    content = read_json(path, EvaluationError)
    if content.get("schema") != figures.SCHEMA:
        raise EvaluationError(
            wanted=f"{path} of schema {figures.SCHEMA}",
            found=str(content.get("schema"))[:80],
            fix="evaluate again",
        )
    return Figures(folder=path.parent, content=content)


def read_curve(path: Path, name: str) -> Curve:
    """Read a training log; lines that a crash cut are passed over.

    A resumed run repeats the steps after its last save: the later line of a step counts.
    """
    by_step: dict[float, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
            by_step[float(record["step"])] = record
        except (ValueError, KeyError, TypeError):
            continue
    records = [by_step[step] for step in sorted(by_step)]
    x = "images" if records and all(_number(r.get("images")) for r in records) else "step"
    points: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for key, value in record.items():
            if key not in ("step", "images") and _number(value):
                points.setdefault(key, []).append((float(record[x]), float(value)))
    return Curve(name=name, points=points, x=x)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
