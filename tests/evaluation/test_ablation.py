"""An ablation in miniature: rows are trained, measured, resumed, and make a table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from memdriven.config import (
    Config,
    DamsmConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    TextConfig,
    TrainConfig,
)
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.damsm_files import save_damsm
from memdriven.errors import ConfigError, EvaluationError, TrainingError
from memdriven.evaluation import ablation
from memdriven.evaluation.ablation import Plan, ablate, plan_text
from memdriven.evaluation.report.contents import tables_of
from memdriven.evaluation.report.write import write_report
from memdriven.evaluation.resources import Resources
from memdriven.evaluation.results import read_results
from memdriven.memory import codec
from memdriven.memory.feature_store import write_store
from tests.small_world import write_world

BASE = Config(
    preset="test",
    text=TextConfig(embedding_dim=16, dim=16, max_words=8),
    damsm=DamsmConfig(pixel_backbone="compact", pixel_size=64),
    generator=GeneratorConfig(
        stages=1, width=4, text_dim=16, z_dim=8, condition_dim=8, acm_width=8, feature_width=8
    ),
    discriminator=DiscriminatorConfig(width=8, max_width=16),
    loss=LossConfig(r1_every=2),
    train=TrainConfig(
        batch_size=4, crop=1.0, log_every=1, sample_every=100, save_every=1, amp=False
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world with features at 16 x 16 and an untrained DAMSM."""
    root = tmp_path_factory.mktemp("world")
    items = write_world(root / "data", train=9, test=4)
    random = np.random.default_rng(0)
    v = [np.maximum(random.normal(-1.5, 1, (512, 16, 16)), 0).astype(np.float32) for _ in items]
    (root / "features").mkdir()
    write_store(
        root / "features", [i.id for i in items], [codec.encode(x) for x in v],
        (512, 16, 16), {"encoder": "0" * 16},
    )  # fmt: skip
    torch.manual_seed(0)
    vocabulary = Vocabulary.build([c for i in items for c in i.captions], 1)
    save_damsm(root / "damsm", Damsm(len(vocabulary), BASE.text, BASE.damsm), vocabulary, BASE, {})
    return root


def plan(world: Path, out: Path, squeezenet: Path, **changes: object) -> Plan:
    made = Plan(
        dataset=world / "data", features=world / "features", damsm=world / "damsm", out=out,
        base=BASE, steps=2, rows=("no-v",),
        metrics=("fd_squeezenet", "kd_squeezenet", "attributes"), n=4, controls=("real",),
        resources=Resources(squeezenet=squeezenet), progress=False,
    )  # fmt: skip
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
    assert {(r.variant, r.row) for r in results} == {
        ("base", "model"), ("base", "real"), ("no-v", "model"),
    }  # fmt: skip
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
