"""A stopped run goes on as if it had not been, and with nothing else than it began with."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import PreparedDataset, write_prepared
from memdriven.errors import ConfigError, TrainingError
from memdriven.training import loop
from memdriven.training.steps import GanTrainer
from tests.training.small_gan import CONFIG, run, train_settings

Poison = Callable[[GanTrainer, dict[str, torch.Tensor]], dict[str, torch.Tensor]]


@pytest.mark.parametrize(("augment", "optimiser"), [("", "adam"), ("color,translation,cutout", "muon")])
def test_resume_gives_the_same_bits(world: Path, tmp_path: Path, augment: str, optimiser: str) -> None:
    whole = train_settings(augment=augment, optimiser=optimiser)
    run(world, tmp_path / "whole", whole)
    run(world, tmp_path / "parts", train_settings(augment=augment, optimiser=optimiser, steps=2))
    torch.manual_seed(7)  # nothing hangs on what else was drawn in the process
    run(world, tmp_path / "parts", whole, resume=True)
    name = "checkpoint/generator.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def nan_loss(trainer: GanTrainer, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return losses | {"damsm": torch.tensor(float("nan"))}


def nan_weight(trainer: GanTrainer, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        next(trainer.generator.parameters()).view(-1)[0] = float("nan")
    return {name: torch.zeros(()) for name in losses}


@pytest.mark.parametrize(
    ("poison", "told", "often"),
    [(nan_loss, "damsm at step 4", {}), (nan_weight, "finite weights", {"log_every": 100, "save_every": 1})],
)
def test_what_is_no_number_stops_and_keeps_the_last_good_state(
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    poison: Poison,
    told: str,
    often: dict[str, int],
) -> None:
    run(world, tmp_path / "run", train_settings(steps=2))
    good = (tmp_path / "run/state.safetensors").read_bytes()
    step = GanTrainer.step

    def poisoned(self: GanTrainer, *arguments: object) -> dict[str, torch.Tensor]:
        return poison(self, step(self, *arguments))

    monkeypatch.setattr(GanTrainer, "step", poisoned)
    with pytest.raises(TrainingError, match=told):
        run(world, tmp_path / "run", train_settings(**often), resume=True)
    assert (tmp_path / "run/state.safetensors").read_bytes() == good


def test_other_data_is_refused(world: Path, tmp_path: Path) -> None:
    run(world, tmp_path / "run", train_settings(steps=2))
    other = tmp_path / "other"
    shutil.copytree(world, other)
    prepared = PreparedDataset.open(other / "data")
    items = [dataclasses.replace(item, captions=item.captions[:1]) for item in prepared.items]
    write_prepared(
        other / "data", name="other", items=items, classes=prepared.classes, image_size=prepared.image_size
    )
    with pytest.raises(TrainingError, match="the items with which"):
        run(other, tmp_path / "run", resume=True)
    run(world, tmp_path / "run", resume=True)
    run(other, tmp_path / "new", start_from=tmp_path / "run")


def test_minutes_are_those_of_all_starts(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget in minutes, and rates that fall over it, do not begin again with each start."""
    rates: list[float] = []
    step = GanTrainer.step

    def watched(self: GanTrainer, *arguments: object) -> dict[str, torch.Tensor]:
        rates.append(self.g_optimiser.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(GanTrainer, "step", watched)
    ticks = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    config = train_settings(
        steps=1000, max_minutes=10.5 / 60, decay_from=0.0, log_every=1000, save_every=1000
    )
    run(world, tmp_path / "whole", config)
    whole, rates[:] = list(rates), []
    assert len(whole) == 11
    run(world, tmp_path / "parts", config, call_minutes=4.5 / 60)
    assert len(rates) == 5
    run(world, tmp_path / "parts", config, resume=True)
    assert rates == whole
    assert load_checkpoint(tmp_path / "parts/checkpoint").facts["steps"] == 11
    run(world, tmp_path / "parts", config, resume=True)
    assert len(rates) == 11, "nothing is left of the budget"


def test_the_encoders_settings_are_facts(world: Path, tmp_path: Path) -> None:
    """A run scores and saves with the settings its encoders were trained with."""
    asked = dataclasses.replace(
        CONFIG, damsm=dataclasses.replace(CONFIG.damsm, pixel_backbone="vgg16", gamma1=9.0)
    )
    run(world, tmp_path / "run", asked)
    checkpoint = load_checkpoint(tmp_path / "run/checkpoint")
    assert checkpoint.config.damsm == CONFIG.damsm
    facts = checkpoint.facts
    assert facts["dataset"] == "small-world"
    assert len(facts["damsm"]) == len(facts["vgg"]) == len(facts["items"]) == 16
    wide = dataclasses.replace(
        CONFIG,
        text=dataclasses.replace(CONFIG.text, dim=32),
        generator=dataclasses.replace(CONFIG.generator, text_dim=32),
    )
    with pytest.raises(ConfigError, match=r"generator\.text_dim"):
        run(world, tmp_path / "wide", wide)
