"""Tables as data, before they become HTML or Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from memdriven.evaluation.report.metrics import in_order, metric
from memdriven.evaluation.results import Result

Kind = Literal["ours", "control", "published", "other"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number as it is shown."""

    text: str
    change: str = ""
    """Against the table's first row, with its sign."""
    best: bool = False
    note: str = ""
    """The protocol and n behind it."""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One line."""

    label: str
    cells: dict[str, Cell]
    kind: Kind = "ours"
    record: str = ""
    """Checkpoint, commit, n, seed and device of its numbers."""
    hint: str = ""
    """What the label means."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with what a reader needs to judge it."""

    title: str
    lead: str
    columns: dict[str, str]
    """Key -> heading."""
    rows: list[TableRow]
    notes: list[str] = field(default_factory=list)


def columns_of(results: Iterable[Result], skip: Sequence[str] = ()) -> dict[str, str]:
    """Return the columns that results fill, with an arrow to the better side."""
    arrows = {"higher": " ↑", "lower": " ↓", "": ""}
    names = in_order({result.metric for result in results} - set(skip))
    return {name: metric(name).title + arrows[metric(name).better] for name in names}


def newest(results: Iterable[Result]) -> dict[str, Result]:
    """Return the last measured result of each metric."""
    found: dict[str, Result] = {}
    for result in sorted(results, key=lambda r: r.time):
        found[result.metric] = result
    return found


def row_of(
    label: str,
    results: Iterable[Result],
    *,
    kind: Kind = "ours",
    hint: str = "",
    base: dict[str, Result] | None = None,
) -> TableRow:
    """Return a row of results; with a base row, each number's change against it."""
    found = newest(results)
    cells = {}
    for name, result in found.items():
        change = ""
        if base is not None and name in base:
            change = _signed(result.value - base[name].value, percent=metric(name).percent)
        cells[name] = Cell(
            text=metric(name).show(result.value), change=change, note=f"{result.protocol}; n = {result.n}"
        )
    return TableRow(label=label, cells=cells, kind=kind, hint=hint, record=record(found.values()))


def _signed(change: float, *, percent: bool) -> str:
    if not math.isfinite(change):
        return ""
    if percent:
        return f"{100 * change:+.1f}"
    digits = 1 if abs(change) >= 10 else 2 if abs(change) >= 1 else 3
    return f"{change:+.{digits}f}"


def record(results: Iterable[Result]) -> str:
    """Return where a row's numbers come from, in one line."""
    results = list(results)
    parts = (
        " ".join(dict.fromkeys(f"{r.checkpoint} {r.checkpoint_hash}".strip() for r in results)),
        "commit " + "/".join(dict.fromkeys(r.commit or "?" for r in results)),
        "n " + "/".join(str(n) for n in sorted({r.n for r in results})),
        "seed " + "/".join(str(s) for s in sorted({r.seed for r in results})),
        ", ".join(dict.fromkeys(r.device for r in results)),
    )
    return " · ".join(parts) if results else ""


def mark_best(rows: Sequence[TableRow], kinds: Sequence[Kind] = ("ours",)) -> list[TableRow]:
    """Return the rows with the best number of each column marked, among rows of these kinds.

    Nothing is marked where all are the same.
    """
    shown: dict[str, set[float]] = {}
    for row in rows:
        for name, cell in row.cells.items():
            if row.kind in kinds and (value := _value(cell)) is not None:
                shown.setdefault(name, set()).add(value)
    best = {
        name: max(values) if metric(name).better == "higher" else min(values)
        for name, values in shown.items()
        if metric(name).better and len(values) > 1
    }
    return [
        TableRow(
            label=row.label,
            kind=row.kind,
            record=row.record,
            hint=row.hint,
            cells={
                name: Cell(
                    text=cell.text,
                    change=cell.change,
                    note=cell.note,
                    best=row.kind in kinds and name in best and _value(cell) == best[name],
                )
                for name, cell in row.cells.items()
            },
        )
        for row in rows
    ]


def _value(cell: Cell) -> float | None:
    try:
        return float(cell.text)
    except ValueError:
        return None


def protocols(results: Iterable[Result]) -> list[str]:
    """Return one line a metric: how it was measured."""
    found: dict[str, list[str]] = {}
    for result in results:
        lines = found.setdefault(result.metric, [])
        if result.protocol not in lines:
            lines.append(result.protocol)
    return [f"{metric(name).title}: {' | '.join(found[name])}" for name in in_order(set(found))]
