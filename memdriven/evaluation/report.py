"""`report`: what runs left behind, as one Markdown page with figures.

    results.jsonl -> tables    figures.json -> pictures    metrics.jsonl -> learning curves

The figures are drawn by matplotlib into a folder beside the page. Everything that a run named is shown as it
is, never as markup.
"""

from __future__ import annotations

import html
import io
import json
import math
import os
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from memdriven.data.images import read_image
from memdriven.errors import DataError, EvaluationError
from memdriven.evaluation.context import Context
from memdriven.evaluation.diversity import seeds_of_draws
from memdriven.evaluation.results import Result, git_commit, read_results
from memdriven.evaluation.rows import images_of_memory, quantised
from memdriven.evaluation.tables import Table, TableRow, metric, place, tables_of
from memdriven.files import atomic_write_bytes, atomic_write_json, read_json
from memdriven.numbers import counted, is_number

TITLE = "Memory-driven text-to-image generation: results"
RESULTS, LOG = "results.jsonl", "metrics.jsonl"
DEPTH = 5
"""Folders below a run that are searched."""
PASSED_OVER = frozenset(("features", "neighbours", "memory", "images", "cache", "samples", "tensorboard"))
"""Folders that hold no records."""
PANELS = {
    "d_adversarial": "D: adversarial loss",
    "g_adversarial": "G: adversarial loss",
    "d_accuracy": "D: share right",
    "damsm": "G: DAMSM loss",
    "reconstruction": "G: reconstruction",
    "kl": "G: KL of the conditioning",
    "r1": "D: R1",
    "loss": "DAMSM: loss",
    "heads_recall@10": "DAMSM: Recall@10, v",
    "pixels_recall@10": "DAMSM: Recall@10, pixels",
}
"""Logged number -> title of its panel, in order; others are not drawn."""
SCHEMA = "memdriven.figures/1"
FOLDER, INDEX = "figures", "figures.json"
PAIRS, GROUPS = 12, 3
_SPECIAL = re.compile(r"([\\`*_\[\]#|~])")


def write_report(runs: Sequence[Path], out: Path = Path("runs/report.md"), *, title: str = TITLE) -> Path:
    """Write results as one Markdown page, and its figures into the folder NAME-figures beside it.

    From recorded runs alone: Table 1 with the published rows, each model beside its controls, the
    retrieval strategies, ablations, example pictures and learning curves.

    Args:
        runs: folders of evaluate, ablate or train, or results.jsonl files.
        out: the page; its name ends in `.md` whatever is given.
        title: of the page.

    Returns:
        The page.

    Raises:
        EvaluationError: a run holds no records, or damaged ones.
        DataError: the files cannot be written.
    """
    (results, figures, curves), out = gather(runs), out.with_suffix(".md")
    lead = (
        f"Made from {counted(len(results), 'recorded number')}, {len(figures)} sets of pictures "
        f"and {len(curves)} training logs in " + ", ".join(str(run) for run in runs) + ". "
        "Every row of ours names its checkpoint, commit, n, seed and device; ↑ higher is better, "
        "↓ lower is better."
    )
    parts = [f"# {escape(title)}\n", escape(lead) + "\n"]
    parts += [table(each) for each in tables_of(results)]
    models = [each for each in figures if not each.content.get("variant")]
    rows = [each for each in figures if each.content.get("variant")]
    try:
        drawn = [(f"pictures-{i}", *_pairs(each)) for i, each in enumerate(models)]
        drawn += [(f"seeds-{i}", *_seeds(each)) for i, each in enumerate(models)]
        if rows:
            rows.sort(key=lambda each: place(each.text("variant")))
            drawn.append(("ablation", *_ablation(rows)))
    except (KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"captions and pictures in every {INDEX}",
            f"{type(error).__name__}: {error}"[:160],
            "evaluate again, with its figures",
        ) from error
    if curves:
        drawn.append(("curves", *_curves(curves)))
    for name, heading, about, picture in drawn:
        file = Path(f"{out.stem}-figures") / f"{name}.png"
        atomic_write_bytes(out.parent / file, picture)
        parts.append(
            f"## {escape(heading)}\n\n{escape(about)}\n\n![{escape(heading)}](<{file.as_posix()}>)\n"
        )
    atomic_write_bytes(out, "\n".join(parts).encode("utf-8", "replace"))
    return out


# ------------------------------------------------------------------------------------------- records


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One training run's log."""

    name: str
    points: dict[str, list[tuple[float, float]]]
    """Metric -> (x, y)."""
    x: str
    """`images`, or `step` where images are not logged."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The example pictures of one evaluation."""

    folder: Path
    content: dict[str, Any]

    def text(self, key: str) -> str:
        """Return a field as text."""
        return str(self.content.get(key))

    def picture(self, name: object) -> Image.Image:
        """Read a picture of the set; a name cannot point outside its folder."""
        path = self.folder / str(name).replace("\\", "/").rsplit("/", 1)[-1]
        try:
            return read_image(path)
        except DataError as error:
            raise EvaluationError(
                f"a picture in {path}", error.found, "evaluate again, with its figures"
            ) from error


def gather(runs: Sequence[Path]) -> tuple[list[Result], list[Figures], list[Curve]]:
    """Read the records under each run, a folder or a results file.

    Raises:
        EvaluationError: a run does not exist, nothing is found in any, or a record is damaged.
    """
    results: list[Result] = []
    figures: list[Figures] = []
    curves: list[Curve] = []
    fix = "give folders of evaluate, ablate or train"
    for run in runs:
        if not run.exists():
            raise EvaluationError(f"a run at {run}", "nothing there", fix)
        for path in [run] if run.is_file() else _records(run):
            if path.name == LOG:
                below = path.parent.relative_to(run).parts if run.is_dir() else ()
                curve = read_curve(path, "/".join((run.resolve().name, *below)))
                curves += [curve] if curve.points else []
            elif path.name == INDEX:
                figures.append(Figures(folder=path.parent, content=read_json(path, EvaluationError, SCHEMA)))
            else:
                results += read_results(path)
    if not (results or curves or figures):
        found = f"none in {', '.join(map(str, runs))[:160]}" if runs else "no run"
        raise EvaluationError(f"{RESULTS} or {LOG} in the runs", found, fix)
    return results, figures, curves


def _records(run: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(run):
        here = Path(folder)
        deep = len(here.relative_to(run).parts) >= DEPTH
        below[:] = [] if deep else sorted(set(below) - PASSED_OVER)
        yield from (here / name for name in (RESULTS, LOG, INDEX) if name in names)


def read_curve(path: Path, name: str) -> Curve:
    """Read a training log; lines that a crash cut are passed over.

    A resumed run repeats the steps after its last save: the later line of a step counts.
    """
    by_step: dict[float, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)  # a loss may be NaN; the line's other numbers count
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and is_number(step := record.get("step")):
            by_step[float(step)] = record
    records = [by_step[step] for step in sorted(by_step)]
    x = "images" if records and all(is_number(r.get("images")) for r in records) else "step"
    points: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for key, value in record.items():
            if key not in ("step", "images") and is_number(value):
                points.setdefault(key, []).append((float(record[x]), float(value)))
    return Curve(name=name, points=points, x=x)


# ------------------------------------------------------------------------------------------ Markdown


def escape(value: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return html.escape(_SPECIAL.sub(r"\\\1", " ".join(value.split())), quote=False)


def table(content: Table) -> str:
    """Return one table with its title, lead and protocols."""
    recorded = any(row.record for row in content.rows)
    lines = [["", *map(escape, content.columns.values())], ["---", *["---:"] * len(content.columns)]]
    for row in content.rows:
        label = escape(row.label) + (" *(published)*" if row.kind == "published" else "")
        cells = cells_of(content, row)
        label = f"*{label}*" if row.kind == "control" else label
        lines.append([label, *(cells.get(key) or "–" for key in content.columns)])
    if recorded:
        last = ["record", "---", *(escape(row.record) for row in content.rows)]
        lines = [[*line, each] for line, each in zip(lines, last, strict=True)]
    parts = [f"## {escape(content.title)}", "", escape(content.lead), ""]
    parts += ["| " + " | ".join(line) + " |" for line in lines]
    parts += ["", *(f"- {escape(note)}" for note in content.notes)]
    return "\n".join(parts).rstrip() + "\n"


def cells_of(content: Table, row: TableRow) -> dict[str, str]:
    """Return a row's numbers as Markdown, by column."""
    first, shown = content.rows[0].numbers, {}
    for name, value in row.numbers.items():
        shown[name] = escape(_text(name, value))
        if row.kind == "ours" and content.marked and shown[name] and shown[name] == _best(content, name):
            shown[name] = f"**{shown[name]}**"
        if row.kind == "ours" and content.compared and row is not content.rows[0] and name in first:
            change = metric(name).show_change(float(value) - float(first[name]))
            shown[name] += f" ({change})" if change else ""
    return shown


def _text(name: str, value: float | str | None) -> str:
    return value if isinstance(value, str) else metric(name).show(value)


def _best(content: Table, name: str) -> str:
    """Return the best number of ours as it is shown; "" where none is better than another."""
    shown = {_text(name, row.numbers.get(name)) for row in content.rows if row.kind == "ours"} - {""}
    if not metric(name).better or len(shown) < 2:
        return ""
    return (max if metric(name).better == "higher" else min)(shown, key=float)


# ------------------------------------------------------------------------------------------- figures


Sheet = list[tuple[str, list[Image.Image | None]]]
"""Lines of a sheet of pictures, each with what it says to the left."""


def _pairs(shown: Figures) -> tuple[str, str, bytes]:
    """Fig. 3: pictures beside the image that their features came from."""
    lines: Sheet = []
    for pair in shown.content.get("pairs", ()):
        words = str(pair["caption"])
        if pair.get("matched"):
            words += f"\n(matched {pair['neighbour']}: {pair['matched']})"
        beside = shown.picture(pair["retrieved"]) if pair.get("retrieved") else None
        lines.append((words, [beside, shown.picture(pair["picture"])]))
    about = (
        "The first captions of the evaluation, not chosen by anyone; the image that the features came from, "
        f"and the picture. Strategy {shown.text('strategy')}, k = {shown.text('k')}, seed "
        f"{shown.text('seed')}, checkpoint {shown.text('checkpoint_hash')}, commit "
        f"{shown.content.get('commit') or '?'}."
    )
    return f"Pictures: {shown.text('checkpoint')} on {shown.text('dataset')}", about, _sheet(lines)


def _seeds(shown: Figures) -> tuple[str, str, bytes]:
    """One caption and one memory a line, painted with several seeds."""
    lines: Sheet = [
        (str(group["caption"]), [shown.picture(name) for name in group.get("draws", ())])
        for group in shown.content.get("diversity", ())
    ]
    heading = f"Several seeds: {shown.text('checkpoint')} on {shown.text('dataset')}"
    return (
        heading,
        "One caption and one memory a line; a seed decides z, epsilon, mirror and window.",
        _sheet(lines),
    )


def _ablation(rows: Sequence[Figures]) -> tuple[str, str, bytes]:
    """The same captions, references and noise through each row's model, a line a row."""
    first = rows[0]
    kept = [pair["retrieved"] for pair in first.content.get("pairs", ()) if pair.get("retrieved")]
    lines: Sheet = [("retrieved", [first.picture(name) for name in kept])] if kept else []
    for each in rows:
        pairs = each.content.get("pairs", ())
        lines.append((each.text("variant"), [each.picture(pair["picture"]) for pair in pairs]))
    about = "The evaluation's first captions with the same references and noise in every row."
    return "Ablation: pictures", about, _sheet(lines)


def _sheet(lines: Sheet) -> bytes:
    """Draw lines of pictures with their words to the left, as PNG."""
    from matplotlib.figure import Figure

    across = max((len(pictures) for _, pictures in lines), default=1)
    figure = Figure(figsize=(3 + 1.3 * across, 1.35 * max(len(lines), 1)), dpi=100, layout="constrained")
    axes = figure.subplots(len(lines) or 1, across + 1, squeeze=False, width_ratios=[2.2, *[1] * across])
    for row in axes:
        for cell in row:
            cell.set_axis_off()
    for row, (words, pictures) in zip(axes, lines):
        wrapped = "\n".join(textwrap.wrap(words[:400], 38))
        row[0].text(0, 0.5, wrapped, fontsize=7, va="center", parse_math=False)
        for cell, picture in zip(row[1:], pictures):
            if picture is not None:
                cell.imshow(picture, interpolation="none")
    return _png(figure)


def _curves(curves: Sequence[Curve]) -> tuple[str, str, bytes]:
    """One panel for each logged number that at least one run has two points of."""
    from matplotlib.figure import Figure

    keys = [key for key in PANELS if any(len(curve.points.get(key, ())) > 1 for curve in curves)]
    down = max(1, math.ceil(len(keys) / 3))
    figure = Figure(figsize=(11, 2.6 * down + 0.5), dpi=100, layout="constrained")
    panels = figure.subplots(down, 3, squeeze=False).flatten()
    for panel, key in zip(panels, keys):
        images = all(curve.x == "images" for curve in curves if key in curve.points)
        scale = 1000 if images else 1
        for i, curve in enumerate(curves):
            x, y = zip(*curve.points.get(key, [(math.nan, math.nan)]))
            panel.plot([each / scale for each in x], y, color=f"C{i % 10}", linewidth=1.4)
        panel.set_title(PANELS[key], loc="left", fontsize=10)
        panel.set_xlabel("thousand images" if images else "step")
        panel.grid(axis="y", alpha=0.3)
    for panel in panels[len(keys) :]:
        panel.set_axis_off()
    colours = ["blue", "orange", "green", "red", "purple", "brown", "pink", "grey", "olive", "cyan"]
    names = [f"{colours[i % 10]}: {curve.name}" for i, curve in enumerate(curves)]
    return "Learning curves", "; ".join(names), _png(figure)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # captions of any script
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


# ---------------------------------------------------------------------------------- example pictures


def draw_figures(context: Context, variant: str = "") -> Path:
    """Write the example pictures and `figures.json`, which says what they are; return its path.

    What is there already of the same model, memory, captions and seed is left as it is.
    """
    folder, pipe, prompts = context.folder / FOLDER, context.pipe, context.prompts[:PAIRS]
    facts = {"schema": SCHEMA, "checkpoint": context.checkpoint.name, "variant": variant, **context.identity}
    facts["strategy"] = context.checkpoint.config.retrieval.strategy
    index = folder / INDEX
    if index.exists() and facts.items() <= read_json(index, EvaluationError).items():
        return index

    def saved(name: str, image: Tensor) -> str:
        buffer = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "WEBP", quality=90, method=4)
        atomic_write_bytes(folder / f"{name}.webp", buffer.getvalue())
        return f"{name}.webp"

    prepared = [pipe.prepare(context.request(p, context.seed + i)) for i, p in enumerate(prompts)]
    retrieved: list[str | None] = [None] * len(prompts)
    if all(each.retrieval.ids for each in prepared):
        ids = [each.retrieval.ids[0] for each in prepared]
        images, rows, _ = images_of_memory(context, ids, context.size)
        retrieved = [saved(f"neighbour-{i}", images[row]) for i, row in enumerate(rows)]
    pairs, groups = [], []
    for i, (prompt, each) in enumerate(zip(prompts, prepared, strict=True)):
        about: dict[str, Any] = {"caption": prompt.caption, "item": prompt.item.id, "retrieved": retrieved[i]}
        if each.retrieval.ids:
            about |= {"neighbour": each.retrieval[0].id, "matched": each.retrieval[0].caption}
        picture = quantised(pipe.paint_many(each, [context.seed + i])[-1])[0]
        pairs.append(about | {"picture": saved(f"picture-{i}", picture)})
        if i < GROUPS:
            draws = quantised(pipe.paint_many(each, seeds_of_draws(context, i))[-1])
            groups.append(about | {"draws": [saved(f"draw-{i}-{q}", image) for q, image in enumerate(draws)]})
    atomic_write_json(index, facts | {"commit": git_commit(), "pairs": pairs, "diversity": groups})
    return index
