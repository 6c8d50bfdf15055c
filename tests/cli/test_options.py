"""Parameters of functions as options: their help, presets, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from memdriven.cli import COMMANDS, main
from memdriven.config import to_dict
from memdriven.presets import PRESETS, USES
from tests.cli.parsing import FOLDERS, arguments_of, parsed, train


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_words_of_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    assert stop.value.code == 0
    boxes = re.sub(r"[│╭╰─╮╯]", " ", capsys.readouterr().out)
    options = re.split(r"\n +(?=--[a-z.-]+[a-z][ ,]|[A-Z]{4,} )", boxes)[1:]
    assert options
    for option in options:
        values = r"--[a-z0-9.-]+,?|{.*?}|\[.*?\]|\((default|required).*?\)|[A-Z]+\b"
        words = re.sub(values, "", " ".join(option.split()))
        assert re.search("[a-z]{2}", words), option


def test_presets_are_defaults_that_options_override() -> None:
    assert train("--preset", "bird")["config"] == PRESETS["bird"]
    assert train("--preset", "tiny")["config"] == PRESETS["tiny"]
    assert train("--preset=coco")["config"] == PRESETS["coco"]
    options = "--generator.width 24 --train.betas 0 0.9 --train.amp --no-resume --discriminator.content max"
    changed = train("--preset", "tiny", *options.split())
    wanted = to_dict(PRESETS["tiny"])
    wanted["generator"]["width"] = 24
    wanted["train"] |= {"betas": [0.0, 0.9], "amp": True}
    wanted["discriminator"]["content"] = "max"
    assert to_dict(changed["config"]) == wanted
    assert (changed["dataset"], changed["out"]) == (Path("a"), Path("d"))


@pytest.mark.parametrize("command", ["train", "train-damsm", "ablate"])
def test_without_a_preset_a_command_says_which_there_are_and_what_each_takes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *FOLDERS]) == 2
    shown = capsys.readouterr().err
    assert re.search(r"found +none\n", shown)
    for name, purpose in USES.items():
        assert name in shown
        assert purpose in shown
        assert "; takes" in purpose


def test_a_run_that_is_gone_on_with_has_its_own_settings(tmp_path: Path) -> None:
    mine = dataclasses.replace(
        PRESETS["tiny"], train=dataclasses.replace(PRESETS["tiny"].train, learning_rate=1e-5)
    )
    (tmp_path / "config.json").write_text(json.dumps(to_dict(mine)))
    folders = [*FOLDERS[:-1], str(tmp_path)]
    found = parsed("train", *folders, "--resume", "--train.max-minutes", "9")["config"]
    assert found.train.learning_rate == 1e-5
    assert found.train.max_minutes == 9
    assert found.generator == mine.generator


@pytest.mark.parametrize("command", ["train", "train-damsm"])
def test_every_setting_is_an_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(command, "--help")
    shown = capsys.readouterr().out
    for name in leaves(to_dict(PRESETS["bird"])):
        assert f"--{name.replace('_', '-')}" in shown, name
    assert all(name in shown for name in PRESETS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--preset", "huge"],
        ["--preset", "bird", "--generator.width", "15"],
        ["--preset", "bird", "--train.p-swap", "2"],
    ],
)
def test_settings_that_cannot_work_are_named(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *FOLDERS, *arguments]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ConfigError\n  wanted ")
    assert "what to do" in shown
    assert "Traceback" not in shown


def test_missing_and_unknown_options_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["evaluate", "x"], ["generate", "a bird", "--colour", "red"], ["retrieve"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
    assert "--dataset" in capsys.readouterr().err


def test_an_option_without_its_value_is_told_by_the_commands_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--preset"])
    assert (
        capsys.readouterr().err.strip()
        == "python -m memdriven train: error: argument --preset: expected one argument"
    )


@pytest.mark.parametrize(
    "name", [n for n, each in COMMANDS.items() if "checkpoint" in arguments_of(each["function"])]
)
def test_a_checkpoint_is_given_in_one_way_everywhere(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = {
        "own-memory": ["a"],
        "build-memory": ["--dataset", "a", "--features", "b"],
        "generate": ["a bird"],
        "retrieve": ["a bird"],
        "evaluate": ["--dataset", "a"],
        "info": [],
        "copy-critic": ["--run", "a"],
        "prepare remembered": ["--out", "a"],
    }[name]
    assert parsed(name, *more, "--checkpoint", "x")["checkpoint"] == Path("x")
    if name in ("evaluate", "info", "build-memory", "copy-critic", "prepare remembered"):
        assert parsed(name, "x", *more)["checkpoint"] == Path("x")
        with pytest.raises(SystemExit):
            parsed(name, "--help")
        assert "The checkpoint may also stand first" in capsys.readouterr().out


def test_the_encoders_of_a_memory_may_be_given_as_trainings_take_them() -> None:
    options = ("--dataset", "d", "--features", "f", "--out", "m")
    assert parsed("build-memory", "--damsm", "e", *options) == parsed("build-memory", "e", *options)


def leaves(values: dict[str, Any], prefix: str = "") -> list[str]:
    return [
        name
        for key, value in values.items()
        for name in (leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key])
    ]
