"""`report`: what runs left behind, as one Markdown page with figures.

    results.jsonl -> tables    rows/*.npy -> pictures    metrics.jsonl -> learning curves

Everything that a run named is shown as it is, never as markup.

The numbers of Table 1 are transcribed: others published them, none of them was measured here. The paper's
own code is not public and it does not name its form of FID. A form stands where the method's public code
shows it, or where one number is known in both forms (AttnGAN on CUB is 23.98 in form b and 14.01 in form a);
"?" is not known.
"""

import csv
import html
import io
import itertools
import math
import re
import textwrap
import tomllib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from memdriven.errors import EvaluationError, explained, require
from memdriven.evaluation.results import Result, format_table, markdown, read_results
from memdriven.evaluation.rows import MODEL, ROWS, STRATEGY
from memdriven.files import atomic_write_bytes, read_json
from memdriven.numbers import counted, is_number
from memdriven.training.run_directory import METRICS, read_metrics

RESULTS, PICTURES = "results.jsonl", "rows/model.json"
SHOWN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
LOWER, HIGHER = tuple[str, ...](SHOWN["lower"]), tuple[str, ...](SHOWN["higher"])
COLUMNS: dict[str, str] = SHOWN["columns"]
"""Which numbers are better when less or more; the columns of Table 1, with what of ours stands under them."""
_SPECIAL = re.compile(r"([\\`*_\[\]#|~])")


def write_report(runs: Sequence[Path], out: Path = Path("runs/report.md")) -> Path:
    """Write results as one Markdown page, and its figures into the folder NAME-figures beside it.

    From recorded runs alone: Table 1 with the published rows, each model beside its controls, the
    retrieval strategies, ablations, example pictures and learning curves.

    Args:
        runs: folders of evaluate, ablate or train, or results.jsonl files.
        out: the page; its name ends in `.md` whatever is given.

    Returns:
        The page.

    Raises:
        EvaluationError: a run holds no records, or damaged ones.
        DataError: the files cannot be written.
    """
    found, out = gather(runs), out.with_suffix(".md")
    numbers, logs = counted(len(found.results), "recorded number"), counted(len(found.logs), "training log")
    shown = f"the pictures of {counted(len(found.pictures), 'evaluation')}"
    made = f"Made from {numbers}, {shown}, {logs} in {', '.join(map(str, runs))}."
    lead = escape(f"{made} ↑ higher is better, ↓ lower is better.")
    parts = ["# Memory-driven text-to-image generation: results\n", lead + "\n", *tables(found.results)]
    drawn = [(f"Pictures: {mark.parents[1].name}", draw_pictures(mark)) for mark in found.pictures]
    if found.logs:
        drawn.append(("Learning curves", draw_curves(found.logs)))
    for number, (heading, picture) in enumerate(drawn, 1):
        file = Path(f"{out.stem}-figures") / f"{number}.png"
        atomic_write_bytes(out.parent / file, picture)
        parts.append(f"## {escape(heading)}\n\n![{escape(heading)}](<{file.as_posix()}>)\n")
    atomic_write_bytes(out, "\n".join(parts).encode("utf-8", "replace"))
    return out


class Records(NamedTuple):
    """What lies under the runs."""

    results: list[Result]
    pictures: list[Path]
    """What each evaluation says of its model's pictures."""
    logs: dict[str, Path]
    """Name of a training -> its log."""


def gather(runs: Sequence[Path]) -> Records:
    """Find the records under each run, a folder or a results file.

    Raises:
        EvaluationError: a run does not exist, nothing is found in any, or results are damaged.
    """
    fix = "give folders of evaluate, ablate or train"
    found = Records([], [], {})
    for run in runs:
        require(run.exists(), EvaluationError, f"a run at {run}", "nothing there", fix)
        for path in [run] if run.is_file() else sorted(run.rglob(RESULTS)):
            found.results.extend(read_results(path))
        found.pictures.extend(sorted(run.rglob(PICTURES)))
        for path in sorted(run.rglob(METRICS)):
            found.logs["/".join((run.resolve().name, *path.parent.relative_to(run).parts))] = path
    where = f"none in {', '.join(map(str, runs))[:160]}" if runs else "no run"
    require(any(found), EvaluationError, f"{RESULTS} or {METRICS} in the runs", where, fix)
    return found


# ---- Tables --------------------------------------------------------------------------------------

SOURCE = "Li, Torr, Lukasiewicz: Memory-Driven Text-to-Image Generation, BMVC 2022, Table 1"
_TABLE = Path(__file__).with_name("published.csv").read_text("utf-8").splitlines()
PUBLISHED: dict[str, list[dict[str, str]]] = {
    name: [row for row in csv.DictReader(_TABLE) if row["data"] == name] for name in ("CUB", "COCO")
}
"""Data set -> methods in the paper's order, each with the form of its FID (a, b, c or ?) and `COLUMNS`; what
is not printed is empty. CP-GAN, Obj-GAN and OP-GAN also use bounding boxes."""


def tables(results: Sequence[Result]) -> Iterator[str]:
    """Yield every table that these results fill, Table 1 first."""
    results = sorted(results, key=attrgetter("time"))  # of one cell the newest counts
    plain = [each for each in results if not each.variant]
    models = grouped(plain, "checkpoint_hash", "memory", "dataset", "prompts", "seed")
    for name in PUBLISHED:
        yield published_table(name, models)
    for group in models:
        name = f"{group[0].checkpoint} on {group[0].dataset}"
        beside = (
            f"{counted(group[0].captions, 'caption')}, one picture each. A control says what a number is "
            "worth: a bank of real images can beat any generator on a distance; a judge errs on them."
        )
        found = "What each strategy finds for captions that training never saw, and how it is painted."
        for title, lead, strategies in (
            (f"{name}, beside its controls", beside, False),
            (f"Retrieval strategies: {name}", found, True),
        ):
            if rows := [each for each in group if each.row.startswith(STRATEGY) is strategies]:
                yield section(title, lead, rows)
    ablations = [each for each in results if each.variant]
    for group in grouped(ablations, "dataset", "prompts", "seed", "budget"):
        lead = (
            f"Each row is a model of its own, trained with {group[0].budget or 'one budget'}. One seed a "
            "row: small changes may be chance. Controls are of the first row's model."
        )
        models_first = sorted(group, key=lambda each: each.row != MODEL)
        yield section(f"Ablation on {group[0].dataset}", lead, models_first)


def grouped(results: Iterable[Result], *fields: str) -> list[list[Result]]:
    """Split results by the values of some fields."""
    groups: dict[object, list[Result]] = {}
    for result in results:
        groups.setdefault(attrgetter(*fields)(result), []).append(result)
    return list(groups.values())


def section(title: str, lead: str, results: Sequence[Result]) -> str:
    """Return a table of numbers, and what a reader needs to judge it."""
    protocols: dict[str, dict[str, None]] = {}
    for each in results:
        protocols.setdefault(each.metric, {})[each.protocol] = None
    record = [
        ", ".join(dict.fromkeys(f"{each.checkpoint} {each.checkpoint_hash}" for each in results)),
        "commit " + "/".join(dict.fromkeys(each.commit or "?" for each in results)),
        "n " + "/".join(map(str, sorted({each.n for each in results}))),
        "seed " + "/".join(map(str, sorted({each.seed for each in results}))),
        ", ".join(dict.fromkeys(each.device for each in results)),
    ]
    notes = [f"- {escape(name)}: {escape(' | '.join(each))}" for name, each in protocols.items()]
    parts = [f"## {escape(title)}", escape(lead), format_table(results, arrowed), escape(" · ".join(record))]
    return "\n\n".join([*parts, "\n".join(notes)]) + "\n"


def arrowed(name: str) -> str:
    """Return a name as text, with an arrow to the better side where it is that of a metric."""
    arrow = " ↓" if name.startswith(LOWER) else " ↑" if name.startswith(HIGHER) else ""
    return escape(name) + arrow


def published_table(name: str, models: Sequence[Sequence[Result]]) -> str:
    """Return Table 1 on one data set, and below it our models of that data set or of a part of it."""
    keys = [key for key in COLUMNS if any(row[key] for row in PUBLISHED[name])]
    lines = [["", "FID form", *(f"{key} {'↓' if key == 'fid' else '↑'}" for key in keys)]]
    for row in PUBLISHED[name]:
        lines.append([f"{row['method']} *(published)*", row["form"], *(row[key] or "–" for key in keys)])
    ours = [group for group in models if group[0].dataset.lower().startswith(name.lower())]
    for group, row_of_ours in itertools.product(ours, (MODEL, *ROWS)):
        values = {each.metric: f"{each.value:.2f}" for each in group if each.row == row_of_ours}
        cells = [values.get(COLUMNS[key], "–") for key in keys]
        if set(cells) != {"–"}:
            model = f"{group[0].checkpoint} {group[0].checkpoint_hash} on {group[0].dataset}"
            label = escape(f"Ours: {model}, {row_of_ours}")
            lines.append([label, "b" if "fid_b" in values else "", *cells])
    lead = (
        f"As printed in {SOURCE}; none of the rows marked as published was measured here. Its FID comes in "
        "forms that cannot be compared: (b) is torchvision's ImageNet Inception, (a) the 2015 TensorFlow "
        "weights, ? is not stated. 30,000 pictures."
    )
    return f"## Table 1, {name}: published numbers\n\n{lead}\n\n{markdown(lines)}\n"


def escape(value: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return html.escape(_SPECIAL.sub(r"\\\1", " ".join(value.split())), quote=False)


# ---- Figures -------------------------------------------------------------------------------------


def draw_pictures(mark: Path) -> bytes:
    """Draw an evaluation's first captions, not chosen by anyone, with the picture of each row, as PNG.

    An EvaluationError says that the record of the model's pictures is damaged.
    """
    from matplotlib.figure import Figure

    captions: Any = read_json(mark, EvaluationError).get("captions")
    rows, wanted = dict[str, Any](), f"captions and pictures in {mark.parent}"
    with explained(EvaluationError, wanted, "evaluate again", OSError, TypeError, ValueError, AttributeError):
        for each in (mark, *sorted(set(mark.parent.glob("*.json")) - {mark})):
            if read_json(each, EvaluationError).get("captions") == captions:
                pictures = np.load(each.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
                rows[each.stem] = pictures[: len(captions)].transpose(0, 2, 3, 1)
        across, down = len(captions), len(rows)
        figure = Figure(figsize=(1.6 * across + 1, 1.6 * down + 0.8), dpi=100, layout="constrained")
        axes = figure.subplots(down, across, squeeze=False)
        for line, (name, pictures) in zip(axes, rows.items(), strict=True):
            line[0].set_ylabel(name, fontsize=8, parse_math=False)
            for cell, picture in zip(line, pictures, strict=True):
                cell.set(xticks=[], yticks=[])
                cell.imshow(picture, interpolation="none")
        for cell, caption in zip(axes[0], captions, strict=True):
            cell.set_title("\n".join(textwrap.wrap(caption[:200], 24)), fontsize=6, parse_math=False)
        return _png(figure)


def draw_curves(logs: dict[str, Path]) -> bytes:
    """Draw a panel for each logged number that at least one run has two points of, as PNG."""
    from matplotlib.figure import Figure

    curves = {name: read_curve(path) for name, path in logs.items()}
    keys = [key for key in SHOWN["panels"] if any(len(curve.get(key, ())) > 1 for curve in curves.values())]
    down = math.ceil(len(keys) / 3)
    figure = Figure(figsize=(11, 2.6 * down + 1), dpi=100, layout="constrained")
    panels = figure.subplots(down or 1, 3, squeeze=False).flatten()
    for panel, key in zip(panels, keys):
        for name, curve in curves.items():
            panel.plot(*zip(*curve.get(key, [(math.nan, math.nan)])), label=name.replace("$", r"\$"))
        panel.set_title(key, loc="left", fontsize=10)
        panel.grid(axis="y", alpha=0.3)
    for panel in panels[len(keys) :]:
        panel.set_axis_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", fontsize=8)
    figure.supxlabel("images, or steps where a log has none", fontsize=9)
    return _png(figure)


def read_curve(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Read a training log: each number's points over images, or steps where images are not logged."""
    points: dict[str, list[tuple[float, float]]] = {}
    for step, record in read_metrics(path).items():
        x = record["images"] if is_number(record.get("images")) else step
        for key, value in record.items():  # a loss may be NaN; the line's other numbers count
            if key not in ("step", "images") and is_number(x) and is_number(value):
                points.setdefault(key, []).append((x, value))
    return points


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # captions of any script
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
