from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import memdriven
from memdriven.checkpoint import MAP
from memdriven.cli import COMMANDS, main, use
from memdriven.errors import DataError
from memdriven.evaluation.run import METRICS, evaluate
from memdriven.explore.memory_map import read_map
from memdriven.files import atomic_file, atomic_folder
from memdriven.memory.bank import MemoryBank
from memdriven.memory.build import extract_features
from tests.cli.parsing import arguments_of
from tests.small_world import write_world


def test_overview_lists_every_command_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, each in COMMANDS.items():
        assert re.search(f"^  {name} +{re.escape(each['line'])}$", shown, re.MULTILINE)
    assert all(len(line) <= 100 for line in shown.splitlines())
    assert main([]) == 0
    assert main(["prepare"]) == 0
    assert "prepare cub" in capsys.readouterr().out


def test_the_list_loads_no_library() -> None:
    code = (
        "import sys; from memdriven.cli import main\n"
        "main(['--help']); main(['prepare'])\n"
        "heavy = {'torch', 'torchvision', 'gradio', 'annoy', 'numpy', 'PIL', 'tyro'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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


UNWRITABLE = {
    "own": "folder",
    "own-memory": "folder",
    "prepare aviary": "",
    "prepare recoloured": "--dataset a",
    "prepare resettings": "--dataset a",
    "prepare remembered": "x",
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
