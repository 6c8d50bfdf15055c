"""Commands that use a checkpoint: pictures with their recipes, references, what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdriven.cli import main
from memdriven.pipeline.request import Recipe
from tests.cli.parsing import parsed


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
    assert main([*arguments, "--count", "0"]) == 2
    assert "count: a whole number in 1" in capsys.readouterr().err
    for other in ("red.jpg", "red", "red.txt"):
        assert main([*arguments, "--count", "1", "--out", str(out.with_name(other))]) == 2
        assert "a file name that ends with .png" in capsys.readouterr().err
    assert sorted(path.name for path in out.parent.iterdir()) == names


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
    assert "64 px -> 128 px" in shown
    assert "12 images, 24 captions, verified" in shown
    assert "training: steps" in shown


def test_retrieve_options_are_typed() -> None:
    found = parsed("retrieve", "a bird", "--exclude", "x", "y", "--strategy", "none")
    assert found["exclude"] == ("x", "y")
    assert found["strategy"] == "none"
