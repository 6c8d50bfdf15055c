"""Which tables a report holds, made from result lines and the published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memdriven.evaluation.ablation import place
from memdriven.evaluation.report.published import COLUMNS, PUBLISHED, SOURCE
from memdriven.evaluation.report.tables import (
    Cell,
    Kind,
    Table,
    TableRow,
    columns_of,
    mark_best,
    newest,
    protocols,
    row_of,
)
from memdriven.evaluation.results import Result
from memdriven.evaluation.rows import MODEL, ROWS, STRATEGY
from memdriven.memory.retrieval import STRATEGIES

CONTROL_HINTS = {
    "retrieved": "the retrieved images themselves, shown as if they were pictures",
    "real": "real images of the captions; for distances, of the training split",
    "random": "the model with features of a random image",
    "none": "the model with features set to zero",
    "oracle": "the model with features of the caption's own image",
}
HEADINGS = ("IS ↑", "FID ↓", "R-precision ↑", "SOA-C ↑", "SOA-I ↑")
OURS = ("inception_score", "fid_b", "r_precision", "soa_c", "soa_i")
"""Our metrics under the published columns: FID in form b, the family's."""
RETRIEVAL_ONLY = ("recall@1", "recall@5", "recall@10", "attributes_of_first")


def tables_of(results: Sequence[Result]) -> list[Table]:
    """Return every table that these results fill, Table 1 first."""
    plain = [r for r in results if not r.variant]
    models = [_model_table(group) for group in _groups(plain)]
    strategies = [_strategy_table(group) for group in _groups(plain)]
    ablations = [_ablation_table(group) for group in _ablation_groups(results)]
    return [
        *(_published_table(name, plain) for name in PUBLISHED),
        *(table for table in (*models, *strategies, *ablations) if table is not None),
    ]


def _groups(results: Iterable[Result]) -> list[list[Result]]:
    """Split results by model, memory, data set, captions and seed."""
    groups: dict[tuple[object, ...], list[Result]] = {}
    for r in results:
        key = (r.checkpoint_hash, r.memory, r.dataset, r.prompts, r.seed)
        groups.setdefault(key, []).append(r)
    return list(groups.values())


def _ablation_groups(results: Iterable[Result]) -> list[list[Result]]:
    """Split an ablation's results by data set, captions, seed and budget."""
    groups: dict[tuple[object, ...], list[Result]] = {}
    for r in results:
        if r.variant:
            groups.setdefault((r.dataset, r.prompts, r.seed, r.budget), []).append(r)
    return list(groups.values())


def _published_table(name: str, results: Sequence[Result]) -> Table:
    """Table 1 on one data set, and below it our models of that data set or of a part of it."""
    width = max(len(row.values) for row in PUBLISHED[name])
    keys = COLUMNS[: max(3, width)]
    columns = {"form": "FID form"} | dict(zip(keys, HEADINGS))
    rows = [
        TableRow(
            label=row.method,
            kind="published",
            cells={key: Cell(text=text) for key, text in row.values.items()}
            | ({"form": Cell(text=row.form)} if row.form else {}),
        )
        for row in PUBLISHED[name]
    ]
    for group in _groups(results):
        first = group[0]
        if first.dataset.lower().startswith(name.lower()):
            rows += _beside_published(group, first, keys)
    return Table(
        title=f"Table 1, {name}: published numbers",
        lead=f"As printed in {SOURCE}; none of the rows marked as published was measured here. "
        "Its FID comes in forms that cannot be compared: (b) is torchvision's ImageNet Inception, "
        "(a) the 2015 TensorFlow weights, ? is not stated. 30,000 pictures.",
        columns=columns,
        rows=rows,
    )


def _beside_published(group: Sequence[Result], first: Result, keys: Sequence[str]) -> list[TableRow]:
    rows = []
    for name in (MODEL, *ROWS):
        found = newest(r for r in group if r.row == name and r.metric in OURS)
        cells = {key: row_of("", [found[ours]]).cells[ours] for key, ours in zip(keys, OURS) if ours in found}
        if "fid" in cells:
            cells["form"] = Cell(text="b")
        if cells:
            label = f"Ours: {first.checkpoint} on {first.dataset}"
            label += "" if name == MODEL else f", {name}"
            rows.append(
                TableRow(
                    label=label,
                    cells=cells,
                    kind="ours" if name == MODEL else "control",
                    hint=CONTROL_HINTS.get(name, ""),
                    record=row_of("", found.values()).record,
                )
            )
    return rows


def _model_table(group: Sequence[Result]) -> Table | None:
    """A model beside its controls."""
    shown = [r for r in group if r.row in (MODEL, *ROWS)]
    if not shown:
        return None
    rows = []
    for name in (MODEL, *ROWS):
        of_row = [r for r in shown if r.row == name]
        if of_row:
            kind: Kind = "ours" if name == MODEL else "control"
            label = f"{of_row[0].checkpoint} (the model)" if name == MODEL else name
            rows.append(row_of(label, of_row, kind=kind, hint=CONTROL_HINTS.get(name, "")))
    first = shown[0]
    return Table(
        title=f"{first.checkpoint} on {first.dataset}, beside its controls",
        lead=f"{first.captions} captions, one picture each. A control says what a number is worth: "
        "a bank of real images can beat any generator on a distance, and a judge errs on real "
        "images too.",
        columns=columns_of(shown),
        rows=rows,
        notes=protocols(shown),
    )


def _strategy_table(group: Sequence[Result]) -> Table | None:
    """The ten retrieval strategies: what they find, and what the pictures are worth."""
    own = next((r.strategy for r in group if r.row == MODEL and r.strategy), "")
    by_strategy: dict[str, list[Result]] = {}
    for r in group:
        name = r.row.removeprefix(STRATEGY) if r.row.startswith(STRATEGY) else ""
        if r.row == MODEL:
            name = own
        elif r.row in STRATEGIES:
            name = r.row
        if name in STRATEGIES:
            by_strategy.setdefault(name, []).append(r)
    if not any(r.row.startswith(STRATEGY) for r in group):
        return None
    rows = [
        row_of(
            name + (" (the model's own)" if name == own else ""),
            by_strategy[name],
            kind="control" if name in ("random", "oracle", "none") else "ours",
            hint=CONTROL_HINTS.get(name, ""),
        )
        for name in STRATEGIES
        if name in by_strategy
    ]
    shown = [r for found in by_strategy.values() for r in found]
    first = group[0]
    return Table(
        title=f"Retrieval strategies: {first.checkpoint} on {first.dataset}",
        lead="What each strategy finds for captions that training never saw, and where pictures "
        "were drawn with it, their scores. The best of the seven searching strategies is bold.",
        columns=columns_of(shown),
        rows=mark_best(rows),
        notes=protocols(shown),
    )


def _ablation_table(group: Sequence[Result]) -> Table | None:
    """One field of the base changed at a time."""
    variants = sorted({r.variant for r in group}, key=place)
    first = variants[0]
    base = newest(r for r in group if r.variant == first and r.row == MODEL)
    rows = []
    for variant in variants:
        of_row = [r for r in group if r.variant == variant and r.row == MODEL]
        rows.append(row_of(variant, of_row, base=None if variant == first else base))
    for name in ROWS:
        of_row = [r for r in group if r.variant == first and r.row == name]
        if of_row:
            rows.append(row_of(name, of_row, kind="control", hint=CONTROL_HINTS[name]))
    return Table(
        title=f"Ablation on {group[0].dataset}",
        lead=f"Each row is a model of its own, trained with {group[0].budget or 'one budget'}; "
        f"small numbers are the change against “{first}”. One seed a row: small changes may be "
        "chance. Controls below are of the first row's model.",
        columns=columns_of(group, skip=RETRIEVAL_ONLY),
        rows=mark_best(rows),
        notes=protocols(group),
    )
