"""What README, docs and cards say: every command that they print is one of ours, every figure has its row."""

from __future__ import annotations

import configparser
import json
import pkgutil
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import is_dataclass
from datetime import datetime
from fnmatch import fnmatch
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from memdriven.checkpoint import bank_folder
from memdriven.cli import COMMANDS, command_of
from memdriven.evaluation.ablation import variants
from memdriven.evaluation.context import Protocol
from memdriven.evaluation.run import refuse_unknown
from memdriven.pipeline.request import Recipe
from memdriven.presets import PRESETS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    path
    for pattern in ("*.md", "docs/*.md", "checkpoints/*/README.md")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "log.md"  # it says what was run then
]
PRESENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
"""Those that speak of what there is, not of what was taken away."""
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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_measures_rows_and_strategies_that_a_document_prints_are_there(document: Path) -> None:
    for command in commands(document):
        given, option = dict[str, list[str]](), ""
        for word in shlex.split(command, comments=True):
            if word.startswith("--"):
                option = word
            given.setdefault(option, []).append(word)
        words = {name: tuple(given.get(f"--{name}", ())[1:]) for name in ("metrics", "controls")}
        refuse_unknown(Protocol(**words), given.get("--strategies", ())[1:])
        assert {*given.get("--rows", ())[1:]} <= {*variants(PRESETS["aviary-64"])}, command


def test_the_commands_are_found() -> None:
    assert sum(1 for document in DOCUMENTS for _ in commands(document)) > 40


def options_of(function: Any) -> Iterator[str]:
    """Yield the options of a command: its parameters, and the fields of those that are settings."""
    for name, hint in get_type_hints(function).items():
        yield name
        sections = [(name, each) for each in (hint, *get_args(hint)) if is_dataclass(each)]
        while sections:
            section, settings = sections.pop()
            for field, kind in get_type_hints(settings).items():
                yield from (field, f"{section}.{field}")
                if is_dataclass(kind):
                    sections.append((field, kind))


@cache
def known_options() -> set[str]:
    """Return every option of ours, of app.py and of the benchmarks, as it is written."""
    places = [each["function"] for each in COMMANDS.values()]
    names = {name for place in places for name in options_of(pkgutil.resolve_name(f"memdriven.{place}"))}
    sources = [ROOT / "app.py", *ROOT.glob("benchmarks/*.py"), ROOT / "tests/ui/screenshots.py"]
    printed = {option for path in sources for option in re.findall(r'"(--[a-z-]+)"', path.read_text())}
    return {"--" + name.replace("_", "-") for name in names} | printed | {"--help", "--preset"}


@pytest.mark.parametrize("document", PRESENT, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_option_that_a_sentence_names_is_one_of_ours(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`([^`\n]+)`", text):
        if not code.startswith(("git ", "pip ", "curl ", "torchrun ", "apt-get ")):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z.-]*[a-z]", code)) <= known_options(), code


@pytest.mark.parametrize("document", PRESENT, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_method_that_a_sentence_names_is_there(document: Path) -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "memdriven").rglob("*.py"))
    for owner, method in re.findall(r"`([A-Z]\w+)\.([a-z]\w*)\b[^`]*`", document.read_text(encoding="utf-8")):
        body = re.search(rf"^class {owner}\b.*?(?=^\S|\Z)", sources, re.MULTILINE | re.DOTALL)
        if body:  # else it is a file's name
            assert re.search(rf"\bdef {method}\b|^    {method}\b", body[0], re.MULTILINE), f"{owner}.{method}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_benchmark_that_a_document_prints_is_there_with_its_options(document: Path) -> None:
    printed = re.findall(r"python -m benchmarks\.(\w+)([^`\n]*)", document.read_text(encoding="utf-8"))
    for name, options in printed:
        source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        missing = [option for option in re.findall(r"--[a-z-]+", options) if f'"{option}"' not in source]
        assert not missing, f"{document.name}: python -m benchmarks.{name}{options}"


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
    "a rival that never had a memory, after 762,528 pictures (the model's first stage: 1.3 million)": "rival",
}
"""How tables name the rows of results.jsonl."""
COLUMNS = {
    "asked colours found": "asked_colours",
    "R-precision of the judge": "r_precision_judge",
    "fid_vgg": "fid_vgg",
    "kid_vgg": "kid_vgg",
    "fd_squeezenet": "fd_squeezenet",
    "kd_squeezenet": "kd_squeezenet",
    "most of them right": "most_colours_right",
    "named attributes": "attributes",
    "R-precision, DAMSM": "r_precision",
    "nearest photograph": "copy_nearest_percentile",
    "own reference": "copy_neighbour_percentile",
    "copies suspected": "copy_suspected",
    "part colours": "part_colours",
}
SHARES = {"asked_colours", "most_colours_right", "attributes", "copy_suspected", "part_colours"}
RESULTS = {
    "README.md": "aviary",
    "docs/results.md": "aviary",
    **{f"checkpoints/{name}/README.md": name for name in CHECKPOINTS},
}
"""Whose rows a document's first table of figures and its sentences give."""


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


def table_of(text: str) -> dict[str, dict[str, str]]:
    """Return the first table of figures in a text: each row's filled cells by metric."""
    lines = text.splitlines()
    begin = next(i for i, line in enumerate(lines) if {"fid_vgg", "fd_squeezenet"} & {*cells_of(line)})
    metrics = [COLUMNS[cell] for cell in cells_of(lines[begin])[1:]]
    rows = [cells_of(line) for line in takewhile(lambda line: line.startswith("|"), lines[begin + 2 :])]
    return {
        name: {metric: cell for metric, cell in zip(metrics, cells, strict=True) if cell}
        for name, *cells in rows
    }


def compare(cell: str, value: float, metric: str, place: str) -> None:
    """Hold a printed figure against a measured one, to the digits that are printed."""
    number = cell.removesuffix(" %").replace(",", "")
    decimals = len(number.partition(".")[2])
    assert f"{value * (100 if metric in SHARES else 1):.{decimals}f}" == number, f"{place}, {metric}"


@pytest.mark.parametrize("document", RESULTS)
def test_every_figure_of_the_table_is_that_of_its_row(document: str) -> None:
    measured = measured_of(RESULTS[document])
    table = table_of((ROOT / document).read_text(encoding="utf-8"))
    assert len(table) >= 4
    for name, cells in table.items():
        for metric, cell in cells.items():
            compare(cell, measured[ROWS[name], metric], metric, f"{document}: {name}")


ABLATION = {
    "480 steps": {
        "base": ("base", "model", 0),
        "`paper`": ("paper", "model", 0),
        "`paper-family`": ("paper-family", "model", 0),
        "base, seed 1": ("base", "model", 1),
        "`paper`, seed 1": ("paper", "model", 1),
        "`paper-family`, seed 1": ("paper-family", "model", 1),
        "base, no memory": ("base", "none", 0),
        "real renders": ("base", "real", 0),
    },
    "450 steps": {
        "base": ("base", "model", 0),
        "no content features": ("content-none", "model", 0),
        "base, seed 1": ("base", "model", 1),
        "no content features, seed 1": ("content-none", "model", 1),
        "`paper`": ("paper", "model", 0),
        "base, no memory": ("base", "none", 0),
        "real renders": ("base", "real", 0),
    },
    "400 steps": {
        "base (content features by average)": ("base", "model", 0),
        "content features by maximum": ("content-max", "model", 0),
        "no content features": ("content-none", "model", 0),
        "no v at all": ("no-v", "model", 0),
        "v_global alone": ("v-global-only", "model", 0),
        "no early fusion (the paper's generator)": ("fuse-early-off", "model", 0),
        "p_swap 0 (the paper's training)": ("p-swap-off", "model", 0),
        "no normalisation in D": ("spectral-norm-off", "model", 0),
        "no mismatched pairs (Eq. 3 as it is written)": ("mismatched-off", "model", 0),
        "base, random memory": ("base", "random", 0),
        "base, no memory": ("base", "none", 0),
        "base, the caption's own image": ("base", "oracle", 0),
        "the retrieved images themselves": ("base", "retrieved", 0),
        "real renders": ("base", "real", 0),
    },
}
"""How the tables of docs/results.md name the rows of docs/ablation.jsonl: variant, row, seed."""


@pytest.mark.parametrize("budget", ABLATION)
def test_every_figure_of_an_ablation_is_that_of_its_row(budget: str) -> None:
    rows = map(json.loads, (ROOT / "docs/ablation.jsonl").read_text().splitlines())
    measured = {
        (row["variant"], row["row"], row["seed"], row["metric"]): row["value"]
        for row in rows
        if row["budget"].startswith(budget)
    }
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    section = text[text.index(f"\n{budget} of 16 images a row") :]
    table = table_of(section)
    assert table.keys() == ABLATION[budget].keys()
    for name, cells in table.items():
        for metric, cell in cells.items():
            compare(cell, measured[(*ABLATION[budget][name], metric)], metric, f"{budget}, {name}")


@pytest.mark.parametrize(
    ("section", "split", "begun", "among"),
    [
        ("References tried, and guidance", "validation", "one reference, guidance 0.5", "guidance-0"),
        ("Retrieval strategies", "test", "`sentence-sentence`", "`words-both`"),
    ],
)
def test_every_figure_by_which_a_setting_is_chosen_is_that_of_its_row(
    section: str, split: str, begun: str, among: str
) -> None:
    rows = map(json.loads, (ROOT / "docs/choices.jsonl").read_text().splitlines())
    chosen = [row for row in rows if (row["dataset"], row["captions"]) == (f"aviary/{split}", 300)]
    measured = {(row["row"].removeprefix("strategy "), row["metric"]): row["value"] for row in chosen}
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    table = table_of(text[text.index(f"\n### {section}") :])
    assert {begun, among} < table.keys()
    for name, cells in table.items():
        for metric, cell in cells.items():
            row = "model" if name == begun else name.strip("`")
            compare(cell, measured[ROWS.get(row, row), metric], metric, f"{section}, {name}")


PHOTOGRAPHS = {
    r"(\d+\.?\d*) times as far from photographs": "model fid_vgg / real fid_vgg",
    r"floor of few pictures, (\d+\.?\d*) times": "model kid_vgg / real kid_vgg",
    r"\((\d+\.?\d*) on real photographs": "real r_precision",
}
SEEDS = r"six seeds lie (\d+\.?\d*) apart"
SENTENCES = {
    "checkpoints/birds/README.md": {
        **PHOTOGRAPHS,
        SEEDS: "model diversity_seed",
        r"; six z alone (\d+\.?\d*)\.": "model diversity_z",
        r"(\d+\.?\d*) pictures in a hundred are suspected": "100 model copy_suspected",
    },
    "checkpoints/flowers/README.md": {**PHOTOGRAPHS, SEEDS: "model diversity"},
    "README.md": {
        r"whose z alone differ lie (\d+\.?\d*) apart": "model diversity_z",
        r"two seeds, which also mirror and crop the memory, (\d+\.?\d*)\. ": "model diversity_seed",
        r"backgrounds are spread by (\d+\.?\d*) of 3 possible bits": "model background_entropy",
        r"is kept in (\d+) of 100 pictures": "100 model background_obeyed_named",
    },
    "checkpoints/aviary/README.md": {
        r"(\d+\.?\d*) % of the asked colours are there": "100 model asked_colours",
        r"themselves; (\d+\.?\d*) % with the best of eight": "100 best-of-8 asked_colours",
        r"best of eight, where real renders have (\d+\.?\d*)": "100 real asked_colours",
        r"best of eight \*retrieved images\* have (\d+\.?\d*)": "100 retrieved-best-of-8 asked_colours",
        r"\(`part_colours`\), it is (\d+\.?\d*) %": "100 model part_colours",
        r"%, (\d+\.?\d*) with eight, [\d.]+ for": "100 best-of-8 part_colours",
        r"with eight, (\d+\.?\d*) for the best of eight retrieved": "100 retrieved-best-of-8 part_colours",
        r"retrieved images and (\d+\.?\d*) for real renders": "100 real part_colours",
        r"mirror and window held, lie (\d+\.?\d*) apart": "model diversity_z",
        r"all that a seed draws (\d+\.?\d*)[;:)]": "model diversity_seed",
        r"one that z asks for in (\d+) %": "100 model background_of_z",
        r"one that the caption names is kept in (\d+) %": "100 model background_obeyed_named",
        r"they are (\d+\.?\d*) times as far from real": "model fid_vgg / real fid_vgg",
        r"other real renders are \((\d+\.?\d*) with eight\)": "best-of-8 fid_vgg / real fid_vgg",
        r"which has no floor, (\d+) times": "model kid_vgg / real kid_vgg",
        r"from its own memory than (\d+) % of": "model copy_neighbour_percentile",
    },
    "docs/results.md": {
        r"backgrounds spread by (\d+\.?\d*) bits": "model background_entropy",
        r"names none, (\d+\.?\d*) where it names one": "model background_entropy_named",
        r"where it names one \(obeyed (\d+) %\)": "100 model background_obeyed_named",
        r"(\d+\.?\d*) where the memory shows another place": "model background_entropy_conflicting",
        r"than the caption's \(obeyed (\d+) %\)": "100 model background_obeyed_conflicting",
        r"from every training image than (\d+) %": "model copy_nearest_percentile",
    },
}
"""What sentences say of rows of results.jsonl: ROW METRIC, in per cent after 100, or one over another."""


@pytest.mark.parametrize("document", SENTENCES)
def test_sentences_give_the_figures_of_their_rows(document: str) -> None:
    measured = measured_of(RESULTS[document])
    text = (ROOT / document).read_text(encoding="utf-8")

    def value_of(told: str) -> float:
        if " / " in told:
            above, below = told.split(" / ")
            return value_of(above) / value_of(below)
        *times, row, metric = told.split()
        return measured[row, metric] * (float(times[0]) if times else 1)

    for sentence, told in SENTENCES[document].items():
        (number,) = re.findall(sentence, text)
        decimals = len(number.partition(".")[2])
        assert f"{value_of(told):.{decimals}f}" == number, sentence


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_a_card_is_a_model_card(checkpoint: str) -> None:
    card = (ROOT / "checkpoints" / checkpoint / "README.md").read_text(encoding="utf-8")
    _, metadata, text = card.split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in metadata.splitlines())
    assert {"license", "library_name", "pipeline_tag", "tags", "datasets", "metrics"} <= set(fields)
    metrics = {row["metric"] for row in map(json.loads, results_of(checkpoint))}
    assert set(fields["metrics"].strip("[]").split(", ")) <= metrics
    assert [*re.findall(r"^## (\w+)", text, re.MULTILINE)] == ["Use", "Data", "Training", "Figures", "What"]
    assert len(text.split()) < 1000, "a page at most"


def test_each_model_has_a_heading_with_the_hash_and_the_day_of_its_rows() -> None:
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    for checkpoint in CHECKPOINTS:
        first = json.loads(results_of(checkpoint)[0])
        day = datetime.fromisoformat(first["time"])
        assert f"\n## {checkpoint} ({first['checkpoint_hash']}, {day.day} {day:%B %Y})\n" in text


@cache
def headings_of(document: Path) -> set[str]:
    """Return a document's anchors, as GitHub makes them of its headings."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, ROOT / "docs/log.md"], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), f"{document.name}: {link}"
        assert not anchor or anchor in headings_of(target), f"{document.name}: {link}"


def test_a_model_without_a_memory_opens_with_the_one_that_its_card_promises() -> None:
    for checkpoint in CHECKPOINTS:
        card = (ROOT / "checkpoints" / checkpoint / "README.md").read_text(encoding="utf-8")
        has_one = bank_folder(ROOT / "checkpoints" / checkpoint).is_dir()
        assert has_one == ("It opens when it has a memory" not in card), checkpoint


def test_readmes_python_runs_and_says_what_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(lines.replace("checkpoints/aviary", str(ROOT / "checkpoints/aviary")), names)  # noqa: S102
    assert Recipe.from_png((tmp_path / "bird.png").read_bytes()) == names["out"].recipe
    for name in re.findall(r"`out\.(\w+)`", text):
        assert getattr(names["out"], name)


def test_the_python_of_the_page_about_aviary_runs() -> None:
    text = (ROOT / "docs/aviary.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(lines.replace("size=256", "size=32"), names)  # noqa: S102
    assert len(names["rgb"]) == len(names["parts"]) == 1


def test_the_hours_of_training_are_those_of_the_recipe() -> None:
    recipe = tomllib.loads((ROOT / "recipes/aviary.toml").read_text())
    beside = ("rival", "remembered", "critic")  # of what is shown beside the model
    phases = [phase for phase in recipe["phase"] if not phase["name"].startswith(beside)]
    minutes = sum(phase["minutes"] for phase in phases)
    assert f"in {minutes / 60:.0f} hours" in (ROOT / "README.md").read_text()
    parts = re.findall(r"(\d+) h (\d+) min", (ROOT / "checkpoints/aviary/README.md").read_text())
    assert abs(sum(60 * int(h) + int(m) for h, m in parts) - minutes) < len(parts)


ADDED = re.compile(r"^\| `(\w+\.\w+)`([^|]*)\|[^|]*\|([^|]*)\|", re.MULTILINE)
"""A row of architecture.md's table of what was added: the setting, which values mean on, the presets."""


def test_what_was_added_is_on_in_the_presets_that_the_architecture_names() -> None:
    rows = ADDED.findall((ROOT / "docs/architecture.md").read_text(encoding="utf-8"))
    assert len(rows) > 15
    for setting, when, said in rows:
        section, name = setting.split(".")
        values = {preset: getattr(getattr(config, section), name) for preset, config in PRESETS.items()}
        means_on = {"": bool, "0": lambda value: value == 0, "below 1": lambda value: value < 1}[when.strip()]
        patterns = re.findall(r"`([^`]+)`", said)
        named = {preset for preset in values if any(fnmatch(preset, pattern) for pattern in patterns)}
        if said.strip().startswith("all"):
            named = values.keys() - named
        assert {preset for preset, value in values.items() if means_on(value)} == named, setting


def test_files_and_names_of_the_architecture_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    files = re.findall(r"`((?:\w+/)*\w+\.py)(?:: (?:\w+\.)?(\w+))?`((?:, `[\w.]+`)*)", text)
    assert len(files) > 30
    for file, first, more in files:
        path = next(p for p in (ROOT / file, ROOT / "memdriven" / file) if p.exists())
        for name in filter(None, [first, *re.findall(r"`(?:\w+\.)?(\w+)`", more)]):
            assert re.search(rf"\b(def|class) {name}\b|^ *{name}\b.*=", path.read_text(), re.MULTILINE), name


def test_readmes_tree_names_every_part_of_the_package() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = text[text.index("## The tree") : text.index("## Licence")]
    package = ROOT / "memdriven"
    parts = {path.name + "/" for path in package.iterdir() if (path / "__init__.py").exists()}
    parts |= {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    assert parts <= set(tree.split())


def test_the_architectures_chain_is_that_of_the_layers() -> None:
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter")
    layers = rules["importlinter:contract:layers"]["layers"].split("\n")
    wanted = [sorted(layer.split(" | ")) for layer in reversed(layers) if layer]
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (chain,) = re.findall(r"`(errors, .* -> app\.py)`", text)
    said = [name for part in chain.removesuffix(" -> app.py").split(" -> ") for name in part.split(", ")]
    found = []
    for layer in wanted:
        found.append(sorted(said[: len(layer)]))
        said = said[len(layer) :]
    assert (found, said) == (wanted, [])
