"""Work in phases goes on where it was; a recipe of a published model is commands of ours, in order."""

from __future__ import annotations

import json
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from memdriven.cli import command_of, main
from memdriven.cli.repeat import Phase, read_phases, run_phases
from memdriven.config import Config, from_dict, to_dict
from memdriven.errors import ConfigError, DataError
from memdriven.presets import PRESETS

RECIPES = Path(__file__).parents[2] / "recipes"
WORK = Path("somewhere")


@cache
def commands_of(recipe: Path) -> dict[str, tuple[str, Any]]:
    """Return the name and the bound function of each phase's command."""
    return {phase.name: command_of(shlex.split(phase.mark)) for phase in read_phases(recipe, WORK)}


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_phase_is_a_command_that_begins_with_what_earlier_ones_made(recipe: Path) -> None:
    phases = read_phases(recipe, WORK)
    assert len(commands_of(recipe)) == len(phases)
    made: set[str] = set()
    for phase in phases:
        assert phase.minutes > 0
        used = {word.split("/")[1] for word in shlex.split(phase.mark) if word.startswith(f"{WORK}/")}
        assert used - {phase.name} <= made, f"{phase.name} begins with what no earlier phase makes"
        made.add(phase.name)


def test_phases_are_taken_once_and_a_stopped_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: list[str] = []

    def stop() -> None:
        raise KeyboardInterrupt

    def phase(name: str, work: Any = None, mark: str = "1") -> Phase:
        return Phase(name, work or (lambda: taken.append(name)), mark, minutes=2)

    with pytest.raises(KeyboardInterrupt):
        run_phases([phase("a"), phase("b", stop)], tmp_path / "done.json")
    told = capsys.readouterr().out
    assert "a (2.0 minutes); 4 minutes to come" in told
    assert "stopped in b; the same command goes on there" in told
    run_phases([phase("a"), phase("b")], tmp_path / "done.json")
    assert taken == ["a", "b"]
    run_phases([phase("a", mark="2"), phase("b")], tmp_path / "done.json")
    assert taken == ["a", "b", "a"], "what it depends on has changed"


def recipe(folder: Path, *seeds: int) -> Path:
    """Write a recipe that prepares a few pictures, a data set a phase."""
    (folder / "mine").mkdir(exist_ok=True)
    for shade in (0, 200):
        Image.new("L", (16, 16), shade).save(folder / f"mine/a {shade} bird.png")
    options = "--image-size 16 --test-fraction 0 --captions-from-names"
    run = f"prepare folder {folder}/mine --out {{{{work}}}}/birds-{{0}} --seed {{0}} {options}"
    lines = [
        f'[[phase]]\nname = "birds-{seed}"\nwhat = "a few birds"\nminutes = 15\nrun = "{run.format(seed)}"\n'
        for seed in seeds
    ]
    path = folder / "recipe.toml"
    path.write_text("\n".join(lines))
    return path


def test_a_recipe_runs_its_phases_once_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "a folder"
    assert main(["repeat", str(recipe(tmp_path, 1, 2)), "--work", str(work), "--dry-run"]) == 0
    assert "2 phases, 0.5 h of two CPU cores, 0.5 of them to come" in capsys.readouterr().out
    assert not work.exists()
    assert main(["repeat", str(recipe(tmp_path, 1)), "--work", str(work)]) == 0
    first = (work / "birds-1/items.jsonl").stat().st_mtime_ns
    capsys.readouterr()
    assert main(["repeat", str(recipe(tmp_path, 1, 2)), "--work", str(work)]) == 0
    told = capsys.readouterr().out
    assert "birds-1: a few birds (done)" in told
    assert "python -m memdriven prepare folder" in told
    assert shlex.quote(str(work / "birds-2")) in told
    assert (work / "birds-2/items.jsonl").is_file()
    assert (work / "birds-1/items.jsonl").stat().st_mtime_ns == first
    # A phase whose command has changed is run anew.
    file = tmp_path / "recipe.toml"
    file.write_text(file.read_text().replace("--image-size 16", "--image-size 17", 1))
    assert main(["repeat", str(file), "--work", str(work), "--dry-run"]) == 0
    assert "0.5 h of two CPU cores, 0.2 of them to come" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "",
        "phase = 3",
        "not toml",
        '[[phase]]\nname = "a"',
        '[[phase]]\nname="a"\nwhat="b"\nminutes=1\nrun="{lost}"',
        '[[phase]]\nname="a"\nwhat="b"\nminutes=1\nrun="{}"',
        '[[phase]]\nname="a"\nwhat="b"\nminutes=nan\nrun="info"',
        "phase = []",
        "x = " + "[" * 20_000,
        2 * '[[phase]]\nname="a"\nwhat="b"\nminutes=1\nrun="info"\n',
    ],
)
def test_what_is_no_recipe_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"phases have name, what, minutes, run|minutes of a: a number"):
        read_phases(tmp_path / "r.toml", tmp_path)


def test_what_is_done_is_told_where_a_file_says_it_otherwise(tmp_path: Path) -> None:
    (tmp_path / "done.json").write_text('{"a": ["1"]}')
    with pytest.raises(DataError, match=r"what is done, by phase, in .*done\.json.*remove it"):
        run_phases([], tmp_path / "done.json")


def test_a_phase_is_one_of_our_commands() -> None:
    for words in (["rm", "-r", "x"], []):
        with pytest.raises(ConfigError, match="python -m memdriven"):
            command_of(words)
    name, call = command_of(shlex.split("train --preset tiny --dataset a --features b --damsm c --out d"))
    assert (name, call.keywords["config"]) == ("train", PRESETS["tiny"])


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a phase chooses, without what its encoders say, its budget and its logging."""
    known = to_dict(Config())
    own = {"attribute_dim", "max_minutes", "steps", "compile", "log_every", "save_every"}
    return {
        section: {name: value for name, value in values.items() if name in known[section] and name not in own}
        for section, values in config.items()
        if section in ("generator", "loss", "retrieval", "train")
    }


CHECKPOINTS = RECIPES.parent / "checkpoints"


def trainings(model: str) -> dict[str, dict[str, Any]]:
    """Return what each phase of a model's recipe that trains G chooses."""
    calls = commands_of(RECIPES / f"{model}.toml").items()
    configs = {phase: call.keywords["config"] for phase, (name, call) in calls if name == "train"}
    return {
        phase: settings(to_dict(config)) for phase, config in configs.items() if config.train.learning_rate
    }


@pytest.mark.parametrize("model", ["aviary", "birds", "flowers"])
def test_a_shipped_models_settings_are_those_of_its_recipe(model: str) -> None:
    shipped = json.loads((CHECKPOINTS / model / "config.json").read_text())
    last = to_dict(from_dict(Config, shipped["config"]))
    assert settings(last) == list(trainings(model).values())[-1]


def test_the_recorded_phases_of_aviary_are_those_of_its_recipe() -> None:
    shipped, phases = json.loads((CHECKPOINTS / "aviary/config.json").read_text()), trainings("aviary")
    recorded = [settings(part["config"]) for part in shipped["facts"]["earlier_runs"] if "config" in part]
    words, later = ["light-1", "light-2"], ["asked", "seen", "sharp-7"]
    names = ["whole", "sharp-5", *words, "sharp-6", "fine", "fine-2", *later]
    for found, name in zip(recorded, names, strict=True):
        for section, values in found.items():
            different = {k: v for k, v in values.items() if v != phases[name][section][k]}
            assert not different, f"{name}: {section}: {different}"


@pytest.mark.parametrize("model", ["birds", "flowers"])
def test_photographs_begin_with_the_part_of_aviary_that_their_recipe_names(model: str) -> None:
    """The minutes that a checkpoint records are those of that recipe's phases, then of its own."""
    facts = json.loads((CHECKPOINTS / model / "config.json").read_text())["facts"]
    minutes = {
        phase.name: phase.minutes
        for each in ("aviary", model)
        for phase in read_phases(RECIPES / f"{each}.toml", WORK)
    }
    names = list(trainings("aviary"))
    first = [
        name
        for name in names[: names.index("sharp-3") + 1]
        if not name.startswith(("words", "named", "light", "asked", "seen"))
    ]
    recorded = [part["minutes"] for part in (*facts["earlier_runs"], facts)]
    own = list(trainings(model))
    if "third-1" in own:  # a third stage's history, Aviary's and its own, stands before that of those below
        own.remove("third-1")
        at = recorded.index(minutes["third-1"])
        aviary = json.loads((CHECKPOINTS / "aviary/config.json").read_text())["facts"]["earlier_runs"]
        theirs = [part["minutes"] for part in aviary]
        start = theirs.index(recorded[0])
        assert recorded[:at] == theirs[start : start + at]
        recorded = recorded[at + 1 :]
    assert recorded == pytest.approx([minutes[name] for name in (*first, *own)], abs=0.02)
