"""An ablation in miniature: rows are trained, measured, resumed, and make a table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from memdriven.errors import ConfigError, EvaluationError, TrainingError
from memdriven.evaluation import ablation
from memdriven.evaluation.ablation import Plan, ablate, plan_text
from memdriven.evaluation.report.contents import tables_of
from memdriven.evaluation.report.write import write_report
from memdriven.evaluation.resources import Resources
from memdriven.evaluation.results import read_results
from tests.training.small_gan import train_settings, write_gan_world

BASE = train_settings(steps=2, log_every=1, save_every=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gan_world(tmp_path_factory.mktemp("world"), train=9, test=4)


def plan(world: Path, out: Path, squeezenet: Path, **changes: object) -> Plan:
    made = Plan(
        dataset=world / "data",
        features=world / "features",
        damsm=world / "damsm",
        out=out,
        base=BASE,
        steps=2,
        rows=("no-v",),
        metrics=("fd_squeezenet", "kd_squeezenet", "attributes"),
        n=4,
        controls=("real",),
        resources=Resources(squeezenet=squeezenet),
        progress=False,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_rows_are_trained_measured_and_gone_on_with(
    world: Path, tmp_path: Path, squeezenet_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    asked = plan(world, tmp_path / "ablation", squeezenet_file)
    train, trained = ablation.train_gan, []

    def counted(*arguments: object, **options: object) -> object:
        trained.append((Path(str(arguments[3])).name, options["resume"]))
        if len(trained) == 2:
            raise KeyboardInterrupt  # while the second row trains
        return train(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ablation, "train_gan", counted)
    with pytest.raises(KeyboardInterrupt):
        ablate(asked, said.append)
    assert ablate(asked, said.append) == {}
    assert trained == [("base", False), ("no-v", False), ("no-v", False)], "the base trained once"
    results = read_results(asked.out / "evaluation" / "results.jsonl")
    assert {(r.variant, r.row) for r in results} == {("base", "model"), ("base", "real"), ("no-v", "model")}
    assert {r.budget for r in results} == {asked.budget}
    assert len({r.checkpoint_hash for r in results}) == 2
    assert {r.checkpoint for r in results} == {"base", "no-v"}
    assert len({r.memory for r in results}) == 1
    assert len(results) == 6, "nothing is measured twice"
    assert "left out: attributes" in said[-1], "there is no judge"
    assert len((asked.out / "no-v" / "metrics.jsonl").read_text().splitlines()) == 2
    frozen = json.loads((asked.out / "no-v" / "config.json").read_text())
    assert frozen["generator"]["use_v"] is False
    table = next(t for t in tables_of(results) if t.title.startswith("Ablation"))
    assert [row.label for row in table.rows] == ["base", "no-v", "real"]
    assert table.rows[1].cells["fd_squeezenet"].change
    html, _ = write_report([asked.out], tmp_path / "report.html")
    page = html.read_text()
    assert "Ablation: pictures" in page
    assert "Learning curves" in page
    with pytest.raises(EvaluationError, match="started with"):
        ablate(dataclasses.replace(asked, steps=3), said.append)


def test_further_data_is_not_the_papers(
    world: Path, tmp_path: Path, squeezenet_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {}

    def told(*arguments: object, **options: object) -> None:
        given[Path(str(arguments[3])).name] = options["extra"]
        raise TrainingError(wanted="nothing", found="nothing", fix="nothing")

    monkeypatch.setattr(ablation, "train_gan", told)
    more = (tmp_path / "recoloured",)
    asked = plan(
        world, tmp_path, squeezenet_file, rows=("no-v", "paper"), extra=more, memory=tmp_path / "bank"
    )
    ablate(asked, lambda _: None)
    assert given == {"base": more, "no-v": more, "paper": ()}
    assert asked.budget.endswith("base test with recoloured")


def test_a_row_that_breaks_does_not_stop_the_others(
    world: Path, tmp_path: Path, squeezenet_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise TrainingError(wanted="finite losses", found="nan", fix="lower the learning rate")

    monkeypatch.setattr(ablation, "train_gan", broken)
    asked = plan(world, tmp_path, squeezenet_file, memory=tmp_path / "bank")
    said: list[str] = []
    assert set(ablate(asked, said.append)) == {"base", "no-v"}
    assert "finite losses" in said[1]


def test_a_plan_tells_its_rows_and_needs_a_budget(tmp_path: Path) -> None:
    asked = plan(tmp_path, tmp_path, tmp_path, rows=("content-max", "no-v"))
    shown = plan_text(asked)
    assert shown.splitlines()[0] == "3 rows, each 2 steps of 4 images, seed 0, base test"
    assert "discriminator.content = max" in shown
    assert "generator.use_v = False, generator.use_v_global = False" in shown
    both = dataclasses.replace(asked, minutes=1.5)
    assert both.budget.startswith("2 steps of 4 images or 1.5 minutes")
    with pytest.raises(ConfigError, match="budget"):
        ablate(dataclasses.replace(asked, steps=0))
