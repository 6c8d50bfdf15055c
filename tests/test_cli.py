from __future__ import annotations

import dataclasses
import inspect
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import memdriven
from memdriven.checkpoint import MAP
from memdriven.cli import COMMANDS, command_of, main, use
from memdriven.config import to_dict
from memdriven.errors import DataError
from memdriven.evaluation.run import METRICS, evaluate
from memdriven.explore.memory_map import read_map
from memdriven.files import atomic_file, atomic_folder
from memdriven.memory.bank import MemoryBank
from memdriven.memory.build import extract_features
from memdriven.pipeline.request import Recipe
from memdriven.presets import PRESETS, USES
from tests.small_world import write_world

FOLDERS = ("--dataset", "a", "--features", "b", "--damsm", "c", "--out", "d")


def arguments_of(function: str) -> list[str]:
    return list(inspect.signature(pkgutil.resolve_name(f"memdriven.{function}")).parameters)


def parsed(name: str, *arguments: str) -> dict[str, Any]:
    return command_of([*name.split(), *arguments])[1].keywords


def train(*arguments: str) -> dict[str, Any]:
    return parsed("train", *FOLDERS, *arguments)


def test_overview_lists_every_command_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, each in COMMANDS.items():
        assert re.search(f"^  {name} +{re.escape(each['line'])}$", shown, re.MULTILINE)
    assert all(len(line) <= 100 for line in shown.splitlines())
    assert main([]) == 0
    assert main(["prepare"]) == 0
    assert "prepare cub" in capsys.readouterr().out


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


def test_the_list_loads_no_library() -> None:
    code = (
        "import sys; from memdriven.cli import main\n"
        "main(['--help']); main(['prepare'])\n"
        "heavy = {'torch', 'torchvision', 'gradio', 'annoy', 'numpy', 'PIL', 'tyro'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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


def leaves(values: dict[str, Any], prefix: str = "") -> list[str]:
    return [
        name
        for key, value in values.items()
        for name in (leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key])
    ]


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generte"], "did you mean generate?"),
        (["prepare", "birds"], "did you mean prepare cub?"),
        (["xyz"], "--help"),
    ],
)
def test_unknown_commands(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


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


def test_a_split_that_is_not_there_is_told_before_weights_are_fetched(tmp_path: Path) -> None:
    write_world(tmp_path, train=1, test=1)
    with pytest.raises(DataError, match=r"'nope'.*splits train, test"):
        extract_features(tmp_path, tmp_path / "features", splits=["nope"], vgg=tmp_path / "none")


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(checkpoint: Path = Path()) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(use, "info", stop)
    assert main(["info"]) == 130
    assert capsys.readouterr().err.strip() == "stopped"


def test_sigterm_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(checkpoint: Path = Path()) -> None:
        with atomic_folder(tmp_path / "bank") as folder, atomic_file(folder / "items") as scratch:
            scratch.write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(use, "info", stop)
    assert main(["info"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err.strip() == "stopped"
    assert os.listdir(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_closed_pipe_is_no_error() -> None:
    code = "import sys; sys.argv = ['x', '--help']\nfrom memdriven.cli import main\nsys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert "Traceback" not in errors


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"memdriven {memdriven.__version__}")


def test_what_is_measured_is_named_in_the_help() -> None:
    assert all(name in (evaluate.__doc__ or "") for name in METRICS)


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
    }[name]
    assert parsed(name, *more, "--checkpoint", "x")["checkpoint"] == Path("x")
    if name in ("evaluate", "info", "build-memory", "copy-critic"):
        assert parsed(name, "x", *more)["checkpoint"] == Path("x")
        with pytest.raises(SystemExit):
            parsed(name, "--help")
        assert "The checkpoint may also stand first" in capsys.readouterr().out


def test_the_encoders_of_a_memory_may_be_given_as_trainings_take_them() -> None:
    options = ("--dataset", "d", "--features", "f", "--out", "m")
    assert parsed("build-memory", "--damsm", "e", *options) == parsed("build-memory", "e", *options)


UNWRITABLE = {
    "own": "folder",
    "own-memory": "folder",
    "prepare aviary": "",
    "prepare recoloured": "--dataset a",
    "prepare resettings": "--dataset a",
    "prepare folder": "a",
    "prepare cub": "",
    "prepare coco": "",
    "prepare flowers": "",
    "extract-features": "--dataset a",
    "train-damsm": "--preset tiny --dataset a --features b",
    "train-pixels": "--datasets a --damsm b",
    "train-text": "--datasets a --damsm b --features c",
    "train": "--preset tiny --dataset a --features b --damsm c",
    "build-memory": "x --dataset a --features b",
    "repeat": "recipes/aviary.toml",
    "train-rival": "--dataset a --damsm b",
    "train-judge": "--dataset a",
    "generate": "bird",
    "evaluate": "x --dataset a",
    "ablate": "--preset tiny --dataset a --features b --damsm c --steps 1",
    "report": "a",
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_an_out_that_cannot_be_written_is_one_clear_message(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = "/proc/nope/out.png"
    option = "--work" if name == "repeat" else "--out"
    assert main([*name.split(), *UNWRITABLE[name].split(), option, out]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: DataError\n  wanted      to write {out}\n")
    assert len(shown.splitlines()) == 4


def test_every_command_that_writes_is_tried() -> None:
    writes = {n for n, each in COMMANDS.items() if {"out", "work"} & set(arguments_of(each["function"]))}
    assert writes == set(UNWRITABLE)


def test_build_memory_of_a_checkpoint(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, out = tiny_checkpoint.parent / "work", tmp_path / "memory"
    given = (
        f"--dataset {work} --features {work}/features --checkpoint {tiny_checkpoint} --out {out} --device cpu"
    )
    assert main(["build-memory", *given.split()]) == 0
    assert "memory bank of 12 images" in capsys.readouterr().out
    assert json.loads((out / "bank.json").read_text())["count"] == 12

    # Its own memory takes a map of the one before with it; the folder of a training is no checkpoint.
    model = shutil.copytree(tiny_checkpoint, tmp_path / "run/checkpoint")
    (model / MAP).write_bytes(b"of another memory")
    options = ["--dataset", str(work), "--features", f"{work}/features", "--device", "cpu"]
    assert main(["build-memory", str(model), *options]) == 0
    assert read_map(MemoryBank(model / "memory"), model / MAP).stored
    (model.parent / "config.json").write_text("{}")
    assert main(["build-memory", str(model.parent), *options]) == 2
    assert f"give {model}" in capsys.readouterr().err


def test_generate_writes_pictures_with_their_recipes(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "birds" / "red.png"
    options = f"--checkpoint {tiny_checkpoint} --seed 7 --out {out} --count 2 --device cpu"
    arguments = ["generate", "a small crimson bird", *options.split()]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "'crimson'" in shown
    assert "seed 8" in shown
    names = sorted(path.name for path in out.parent.iterdir())
    assert names == ["red-0.png", "red-1.png"]
    recipe = Recipe.from_png((out.parent / "red-1.png").read_bytes())
    assert recipe.seed == 8
    assert main([*arguments, "--memory", "0.5"]) == 0
    weak = Recipe.from_png((out.parent / "red-1.png").read_bytes())
    assert (weak.memory, recipe.memory) == (0.5, 1.0)
    assert main([*arguments, "--memory", "2"]) != 0


def test_retrieve_lists_neighbours(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    caption = "a red bird with black wings"
    assert main(["retrieve", caption, "--checkpoint", str(tiny_checkpoint), "--k", "3"]) == 0
    shown = capsys.readouterr().out
    assert [f"{rank}. bird-" in shown for rank in (1, 2, 3)] == [True] * 3


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["a bird", "--strategy", "best"], "RetrievalError"),
        (["a bird", "--k", "99"], "RetrievalError"),
        (["", "--k", "1"], "WordlessCaptionError"),
        (["qqq zzz"], "WordlessCaptionError"),
        (["a bird", "--device", "toaster"], "ConfigError"),
        (["a bird", "--checkpoint", "nowhere"], "CheckpointError"),
    ],
)
def test_wrong_input_is_one_clear_message(
    tiny_checkpoint: Path, options: list[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--checkpoint", str(tiny_checkpoint)] if "--checkpoint" not in options else []
    assert main(["retrieve", *options, *given]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {kind}\n")
    assert len(shown.splitlines()) == 4


def test_info_tells_and_verifies(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tiny_checkpoint)]) == 0
    shown = capsys.readouterr().out
    assert "64 px -> 128 px -> 256 px" in shown
    assert "12 images, 24 captions, verified" in shown
    assert "training: steps" in shown


def test_retrieve_options_are_typed() -> None:
    found = parsed("retrieve", "a bird", "--exclude", "x", "y", "--strategy", "none")
    assert found["exclude"] == ("x", "y")
    assert found["strategy"] == "none"


def test_any_letters_go_to_any_console(tmp_path: Path) -> None:
    folder = tmp_path / "ünï cödé 鳥"
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (9, 9)).save(folder / f"{number} 鳥.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
        (folder / f"{number} 鳥.txt").write_text("a red bird 鳥", "utf-8")
    command = f"-m memdriven prepare folder --out {tmp_path}/öut --image-size 16".split()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, *command, folder], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"\\u9ce5" in done.stdout
    assert b"1 train, 1 test images at 16 px" in done.stdout
    assert b"EXIF" not in done.stderr, "what Pillow notes of a picture that is read is for nobody"
