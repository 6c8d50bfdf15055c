"""What README, docs and cards say: every command that they print is one of ours, every figure has its row."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from memdriven.checkpoint import bank_folder
from memdriven.cli.repeat import command_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    path
    for pattern in ("*.md", "docs/*.md", "checkpoints/*/README.md")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "log.md"  # it says what was run then
]
START = "python -m memdriven "
CHECKPOINTS = [path.parent.name for path in sorted(ROOT.glob("checkpoints/*/README.md"))]


def commands(document: Path) -> Iterator[str]:
    """Yield the arguments of each command that a document's blocks print."""
    text = document.read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language != "bash":
            continue
        lines = block.replace("\\\n", " ")
        for name, value in re.findall(r'^([A-Z]+)="(.*)"$', lines, re.MULTILINE):
            lines = lines.replace(f"${name}", value)
        for line in lines.splitlines():
            if START in line:
                yield line[line.index(START) + len(START) :]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_that_a_document_prints_can_be_given(document: Path) -> None:
    for command in commands(document):
        arguments = shlex.split(command, comments=True)
        if "--help" in arguments or not arguments:
            continue
        try:
            command_of(arguments)
        except SystemExit:
            pytest.fail(f"{document.name}: python -m memdriven {command}")


def test_the_commands_are_found() -> None:
    assert sum(1 for document in DOCUMENTS for _ in commands(document)) > 40


ROWS = {
    "model": "model",
    "model, the best of eight references kept": "best-of-8",
    "model, the best of eight references kept, as the page begins": "best-of-8",
    "the retrieved images themselves": "retrieved",
    "the retrieved photographs themselves": "retrieved",
    "the best of eight retrieved images, by the same readers": "retrieved-best-of-8",
    "real renders": "real",
    "real photographs, training against test": "real",
    "random memory": "random",
    "no memory": "none",
}
"""How tables name the rows of results.jsonl."""
COLUMNS = {
    "asked colours found": "asked_colours",
    "R-precision of the judge": "r_precision_judge",
    "fid_vgg": "fid_vgg",
    "kid_vgg": "kid_vgg",
    "fd_squeezenet": "fd_squeezenet",
    "most of them right": "most_colours_right",
    "named attributes": "attributes",
    "R-precision, DAMSM": "r_precision",
    "nearest photograph": "copy_nearest_percentile",
    "own reference": "copy_neighbour_percentile",
    "copies suspected": "copy_suspected",
}
SHARES = {"asked_colours", "most_colours_right", "attributes", "copy_suspected"}
RESULTS = {"README.md": "aviary", **{f"checkpoints/{name}/README.md": name for name in CHECKPOINTS}}


def results_of(checkpoint: str) -> list[str]:
    """Return the lines of a checkpoint's results.jsonl."""
    return (ROOT / "checkpoints" / checkpoint / "results.jsonl").read_text().splitlines()


def measured_of(checkpoint: str) -> dict[tuple[str, str], float]:
    """Return what a checkpoint's results.jsonl holds, by row and metric."""
    rows = map(json.loads, results_of(checkpoint))
    return {(row["row"], row["metric"]): row["value"] for row in rows if not row["variant"]}


def cells_of(line: str) -> list[str]:
    """Return the cells of a table's line."""
    return [cell.strip(" *") for cell in line.strip().strip("|").split("|")]


@pytest.mark.parametrize("document", RESULTS)
def test_every_figure_of_the_table_is_that_of_its_row(document: str) -> None:
    measured = measured_of(RESULTS[document])
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("|") and "fid_vgg" in cells_of(line))
    metrics = [COLUMNS[cell] for cell in cells_of(lines[begin])[1:]]
    seen = 0
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = cells_of(line)
        for metric, cell in zip(metrics, cells, strict=True):
            if not cell:
                continue
            number = cell.removesuffix(" %").replace(",", "")
            decimals = len(number.partition(".")[2])
            value = measured[ROWS[name], metric] * (100 if metric in SHARES else 1)
            assert f"{value:.{decimals}f}" == number, f"{document}: {name}, {metric}"
            seen += 1
    assert seen >= 15


@pytest.mark.parametrize("checkpoint", ["birds", "flowers"])
def test_a_cards_sentences_give_the_figures_of_its_rows(checkpoint: str) -> None:
    measured = measured_of(checkpoint)
    card = (ROOT / "checkpoints" / checkpoint / "README.md").read_text(encoding="utf-8")
    figures = {
        r"([\d.]+) times as far from photographs": measured["model", "fid_vgg"] / measured["real", "fid_vgg"],
        r"\(([\d.]+) on real photographs": measured["real", "r_precision"],
        r"six seeds lie ([\d.]+) apart": measured["model", "diversity"],
    }
    for sentence, value in figures.items():
        (number,) = re.findall(sentence, card)
        assert f"{value:.1f}" == number, sentence


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_a_card_is_a_model_card(checkpoint: str) -> None:
    card = (ROOT / "checkpoints" / checkpoint / "README.md").read_text(encoding="utf-8")
    _, metadata, text = card.split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in metadata.splitlines())
    assert {"license", "library_name", "pipeline_tag", "tags", "datasets", "metrics"} <= set(fields)
    metrics = {row["metric"] for row in map(json.loads, results_of(checkpoint))}
    assert set(fields["metrics"].strip("[]").split(", ")) <= metrics
    assert [*re.findall(r"^## (\w+)", text, re.MULTILINE)] == ["Use", "Data", "Training", "Figures", "What"]


def test_a_model_without_a_memory_opens_with_the_one_that_its_card_promises() -> None:
    for checkpoint in CHECKPOINTS:
        card = (ROOT / "checkpoints" / checkpoint / "README.md").read_text(encoding="utf-8")
        has_one = bank_folder(ROOT / "checkpoints" / checkpoint).is_dir()
        assert has_one == ("It opens when it has a memory" not in card), checkpoint


def test_the_hours_of_training_are_those_of_the_recipe() -> None:
    recipe = tomllib.loads((ROOT / "recipes/aviary.toml").read_text())
    minutes = sum(phase["minutes"] for phase in recipe["phase"])
    assert f"in {minutes / 60:.0f} hours" in (ROOT / "README.md").read_text()
    parts = re.findall(r"(\d+) h (\d+) min", (ROOT / "checkpoints/aviary/README.md").read_text())
    assert abs(sum(60 * int(h) + int(m) for h, m in parts) - minutes) < len(parts)
