"""What README, docs and cards say: every command that they print is one of ours, every figure has its row."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from memdriven.cli.repeat import command_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    path
    for pattern in ("*.md", "docs/*.md", "checkpoints/*/README.md")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "log.md"  # it says what was run then
]
START = "python -m memdriven "


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
    "model, the best of eight references kept, as the page begins": "best-of-8",
    "the retrieved images themselves": "retrieved",
    "the best of eight retrieved images, by the same readers": "retrieved-best-of-8",
    "real renders": "real",
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
}
SHARES = {"asked_colours", "most_colours_right", "attributes"}


@pytest.mark.parametrize("document", ["README.md", "checkpoints/aviary/README.md"])
def test_every_figure_of_the_table_is_that_of_its_row(document: str) -> None:
    lines = (ROOT / "checkpoints/aviary/results.jsonl").read_text().splitlines()
    measured = {
        (row["row"], row["metric"]): row["value"] for row in map(json.loads, lines) if not row["variant"]
    }
    table = [line.strip("| ") for line in (ROOT / document).read_text(encoding="utf-8").splitlines()]
    begin = next(
        i
        for i, line in enumerate(table)
        if line.startswith("asked colours found") or "| asked colours found" in line
    )
    header = [
        COLUMNS[cell.strip()] for cell in table[begin].split("|") if cell.strip() and cell.strip() != "row"
    ]
    seen = 0
    for line in table[begin + 2 :]:
        name, *cells = (cell.strip(" *") for cell in line.split("|"))
        if not cells:
            break
        for metric, cell in zip(header, cells, strict=True):
            number = cell.removesuffix(" %").replace(",", "")
            decimals = len(number.partition(".")[2])
            value = measured[ROWS[name], metric] * (100 if metric in SHARES else 1)
            assert f"{value:.{decimals}f}" == number, f"{document}: {name}, {metric}"
            seen += 1
    assert seen >= 15


def test_the_hours_of_training_are_those_of_the_recipe() -> None:
    recipe = tomllib.loads((ROOT / "recipes/aviary.toml").read_text())
    minutes = sum(phase["minutes"] for phase in recipe["phase"])
    assert f"in {minutes / 60:.0f} hours" in (ROOT / "README.md").read_text()
    parts = re.findall(r"(\d+) h (\d+) min", (ROOT / "checkpoints/aviary/README.md").read_text())
    assert abs(sum(60 * int(h) + int(m) for h, m in parts) - minutes) < len(parts)
