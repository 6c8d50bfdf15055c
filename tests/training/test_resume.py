"""A stopped run goes on as if it had not been, and with nothing else than it began with."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from memdriven.checkpoint import load_checkpoint
from memdriven.config import to_dict
from memdriven.data.prepared import PreparedDataset, write_prepared
from memdriven.errors import CheckpointError, ConfigError, Interrupted, TrainingError
from memdriven.training.gan import FREE
from memdriven.training.run_directory import RunDirectory
from memdriven.training.step import GanTrainer
from tests.training.small_gan import CONFIG, run, train_settings


def test_resume_gives_the_same_bits(world: Path, tmp_path: Path) -> None:
    whole = train_settings(augment="color,translation,cutout")
    run(world, tmp_path / "whole", whole)
    run(world, tmp_path / "parts", train_settings(augment=whole.train.augment, steps=2))
    torch.manual_seed(7)  # nothing hangs on what else was drawn in the process
    run(world, tmp_path / "parts", whole, resume=True)
    name = "checkpoint/generator.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.mark.parametrize("name", [name.removeprefix("train.") for name in FREE])
def test_settings_that_no_picture_hangs_on_may_change(tmp_path: Path, name: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps(to_dict(CONFIG)))
    (tmp_path / "state.safetensors").touch()
    value = getattr(CONFIG.train, name)
    config = train_settings(**{name: not value if isinstance(value, bool) else value + 1})
    assert RunDirectory(tmp_path, to_dict(config), resume=True, free=FREE).resumes
    with pytest.raises(TrainingError, match="learning_rate"):
        RunDirectory(tmp_path, to_dict(train_settings(learning_rate=1.0)), resume=True, free=FREE)


def test_other_data_is_refused(world: Path, begun: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(world, other)
    prepared = PreparedDataset.open(other / "data")
    items = [dataclasses.replace(item, captions=item.captions[:1]) for item in prepared.items]
    write_prepared(
        other / "data", name="other", items=items, classes=prepared.classes, image_size=prepared.image_size
    )
    with pytest.raises(TrainingError, match="the items with which"):
        run(other, begun, train_settings(steps=3), resume=True)
    run(other, tmp_path / "new", train_settings(steps=0), start_from=begun)


def test_a_finished_run_that_goes_on_keeps_what_lies_in_its_checkpoint(world: Path, tmp_path: Path) -> None:
    """Its memory bank and card stay, as long as the encoders are those of the bank."""
    made = run(world, tmp_path / "run", train_settings(steps=1)) / "checkpoint"
    for name in ("README.md", "examples.json", "map.safetensors", "memory/bank.json", "memory/keys/a"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    encoders = load_checkpoint(made).facts["damsm"]
    (made / "memory/bank.json").write_text(json.dumps({"damsm": encoders}))
    weights = (made / "generator.safetensors").read_bytes()
    run(world, tmp_path / "run", train_settings(steps=2), resume=True)
    assert (made / "README.md").read_text() == "README.md"
    assert (made / "memory/keys/a").read_text() == "memory/keys/a"
    assert (made / "map.safetensors").exists()
    assert (made / "generator.safetensors").read_bytes() != weights
    assert load_checkpoint(made).facts["steps"] == 2
    (made / "memory/bank.json").write_text(json.dumps({"damsm": "0" * 16}))
    run(world, tmp_path / "run", train_settings(steps=3), resume=True)
    assert not (made / "memory").exists(), "a bank of other encoders"
    assert not (made / "map.safetensors").exists()
    assert (made / "examples.json").exists()


def test_an_interrupted_run_leaves_a_checkpoint_and_goes_on(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = GanTrainer.step

    def interrupted(self: GanTrainer, *arguments: Any) -> dict[str, torch.Tensor]:
        if arguments[1] == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *arguments)

    monkeypatch.setattr(GanTrainer, "step", interrupted)
    with pytest.raises(Interrupted, match="stopped at step 2"):
        run(world, tmp_path / "run")
    facts = load_checkpoint(tmp_path / "run/checkpoint").facts
    assert (facts["steps"], facts["finished"]) == (2, False)
    monkeypatch.undo()
    run(world, tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run/checkpoint").facts["finished"]


def test_the_folder_of_a_run_is_no_checkpoint_and_the_error_says_where_it_is(
    world: Path, begun: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"the folder of a training.*give .*run/checkpoint"):
        load_checkpoint(begun)
    with pytest.raises(CheckpointError, match="a folder of encoders alone"):
        load_checkpoint(world / "damsm")


def test_the_encoders_settings_are_facts(world: Path, tmp_path: Path) -> None:
    """A run scores and saves with the settings its encoders were trained with."""
    asked = dataclasses.replace(
        CONFIG, damsm=dataclasses.replace(CONFIG.damsm, pixel_backbone="vgg16", epochs=9)
    )
    run(world, tmp_path / "run", dataclasses.replace(asked, train=train_settings(steps=0).train))
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
