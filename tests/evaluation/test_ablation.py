"""An ablation in miniature: rows are trained, measured, resumed, and make a table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memdriven.errors import ConfigError, EvaluationError, TrainingError
from memdriven.evaluation import ablation
from memdriven.evaluation.ablation import PAPERS, ablate, changes, variants
from memdriven.evaluation.context import Protocol
from memdriven.evaluation.report import write_report
from memdriven.evaluation.results import read_results
from memdriven.presets import PRESETS, preset
from tests.training.small_gan import train_settings, write_gan_world


def changed(name: str, base: str = "tiny") -> str:
    """The settings in which a row differs from its base."""
    return changes(preset(base), variants(preset(base))[name])


def test_rows_of_the_paper() -> None:
    assert list(variants(preset("tiny"))) == [
        "base",
        "content-max",
        "content-none",
        "no-v",
        "v-global-only",
        "fuse-early-off",
        "p-swap-off",
        "spectral-norm-off",
        "mismatched-off",
        "paper",
        "paper-family",
    ]
    assert changed("base") == ""
    assert changed("content-max") == "discriminator.content = max"
    assert changed("no-v") == "generator.use_v_global = False, generator.use_v = False"
    assert changed("v-global-only") == "generator.use_v = False"
    assert changed("p-swap-off") == "train.p_swap = 0.0"


def test_what_is_off_in_the_base_is_switched_on() -> None:
    assert changed("fuse-early-on", "paper") == "generator.fuse_early = True"
    assert changed("p-swap-on", "paper") == "train.p_swap = 0.5"
    assert changed("mismatched-on", "paper") == "loss.mismatched = True"
    base = preset("tiny")
    names = variants(replace(base, discriminator=replace(base.discriminator, content="max")))
    assert "content-average" in names
    assert "content-max" not in names


def test_the_papers_own_equations_at_the_bases_sizes() -> None:
    base, literal = preset("aviary-64"), preset("paper")
    row = variants(base)["paper"]
    assert row.loss == literal.loss
    assert (row.train.p_swap, row.train.p_fade) == (0, 0)
    assert (row.train.batch_size, row.train.learning_rate) == (16, 2e-4), "their own rate, the base's batch"
    for name, value in vars(row.generator).items():
        assert value == getattr(base.generator if name in ablation.SIZES else literal.generator, name)
    assert "paper" not in variants(literal)
    assert variants(base)["paper-family"].loss == preset("paper-family").loss


@pytest.mark.parametrize("base", sorted(PRESETS))
def test_every_preset_can_be_a_base(base: str) -> None:
    assert len(variants(preset(base))) > 5


BASE = train_settings(steps=2, log_every=1, save_every=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gan_world(tmp_path_factory.mktemp("world"), train=9, test=4)


def options(world: Path, out: Path, squeezenet: Path, **changes: object) -> dict[str, Any]:
    folders = {"dataset": world / "data", "features": world / "features", "damsm": world / "damsm"}
    return {
        **folders,
        "out": out,
        "base": BASE,
        "steps": 2,
        "rows": ("no-v",),
        "protocol": Protocol(
            metrics=("fd_squeezenet", "kd_squeezenet", "attributes"),
            n=4,
            controls=("real",),
            squeezenet=squeezenet,
        ),
        **changes,
    }


def test_rows_are_trained_measured_and_gone_on_with(
    world: Path,
    tmp_path: Path,
    squeezenet_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "ablation"
    asked = options(world, out, squeezenet_file)
    train, trained = ablation.train_gan, []

    def counted(*arguments: object, **options: object) -> object:
        trained.append((Path(str(arguments[3])).name, options["resume"]))
        if len(trained) == 2:
            raise KeyboardInterrupt  # while the second row trains
        return train(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ablation, "train_gan", counted)
    with pytest.raises(KeyboardInterrupt):
        ablate(**asked)
    assert ablate(**asked) == {}
    assert trained == [("base", False), ("no-v", False), ("no-v", False)], "the base trained once"
    results = read_results(out / "evaluation" / "results.jsonl")
    assert {(r.variant, r.row) for r in results} == {("base", "model"), ("base", "real"), ("no-v", "model")}
    assert {r.budget for r in results} == {"2 steps of 4 images, seed 0, base test"}
    assert len({r.checkpoint_hash for r in results}) == 2
    assert {r.checkpoint for r in results} == {"base", "no-v"}
    assert len({r.memory for r in results}) == 1
    assert len(results) == 6, "nothing is measured twice"
    assert "left out: attributes" in capsys.readouterr().out.splitlines()[-1], "there is no judge"
    assert len((out / "no-v" / "metrics.jsonl").read_text().splitlines()) == 2
    frozen = json.loads((out / "no-v" / "config.json").read_text())
    assert frozen["generator"]["use_v"] is False
    page = write_report([out], tmp_path / "report.md").read_text()
    table = page[page.index("## Ablation") :].split("## ")[1]
    labels = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert labels[2:] == ["base", "no-v", "real"]
    assert page.count("## Pictures: ") == 2
    assert "## Learning curves" in page
    with pytest.raises(EvaluationError, match="started with"):
        ablate(**{**asked, "steps": 3})


def test_further_data_is_not_the_papers_and_a_row_that_breaks_does_not_stop_the_others(
    world: Path,
    tmp_path: Path,
    squeezenet_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {}

    def broken(*arguments: object, **options: object) -> None:
        given[Path(str(arguments[3])).name] = options["extra"]
        raise TrainingError(wanted="finite losses", found="nan", fix="lower the learning rate")

    monkeypatch.setattr(ablation, "train_gan", broken)
    more = (tmp_path / "recoloured",)
    asked = options(world, tmp_path, squeezenet_file, rows=("no-v", *PAPERS), extra=more, minutes=1.5)
    failed = ablate(**asked, memory=tmp_path / "bank")
    said = capsys.readouterr().out.splitlines()
    assert set(failed) == {"base", "no-v", *PAPERS}
    assert given == {"base": more, "no-v": more, "paper": (), "paper-family": ()}
    assert said[0].startswith("4 rows, each 2 steps of 4 images or 1.5 minutes, seed 0, base test with recol")
    assert "no-v  " in said[2]
    assert "generator.use_v_global = False, generator.use_v = False" in said[2]
    assert "finite losses" in said[-1]


def test_a_budget_and_rows_that_are_known_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="budget"):
        ablate(**options(tmp_path, tmp_path, tmp_path, steps=0))
    with pytest.raises(ConfigError, match="no-w"):
        ablate(**options(tmp_path, tmp_path, tmp_path, rows=("no-w",)))
