"""The rival's training: it goes on to the same bits, and what it leaves opens beside a checkpoint."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from memdriven.checkpoint import RIVAL, load_checkpoint, load_rival, record_files, rival_budget
from memdriven.encoders.weights import read_weights
from memdriven.errors import CheckpointError, TrainingError
from memdriven.training.rival import RivalSettings, RivalTrainer, train_rival
from tests.training.small_gan import run, train_settings


def small(steps: int) -> RivalSettings:
    return RivalSettings(width=4, size=16, batch_size=4, steps=steps, minutes=0)


def test_a_stopped_run_goes_on_to_the_same_bits(world: Path, tmp_path: Path) -> None:
    sets = (world / "data", world / "damsm")
    whole = train_rival(*sets, tmp_path / "whole", small(3))
    train_rival(*sets, tmp_path / "parts", small(1))
    torch.manual_seed(7)
    parts = train_rival(*sets, tmp_path / "parts", small(3), resume=True)
    first, second = read_weights(whole), read_weights(parts)
    assert all(torch.equal(first[name], second[name]) for name in first | second)
    with pytest.raises(TrainingError, match=r"batch_size = 5, not 4"):
        other = RivalSettings(width=4, size=16, batch_size=5, steps=3)
        train_rival(*sets, tmp_path / "parts", other, resume=True)


def test_larger_pictures_than_the_data_has_are_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="pictures of 512 px or more"):
        train_rival(world / "data", world / "damsm", tmp_path, RivalSettings(size=512))


def test_d_learns_which_caption_is_the_right_one() -> None:
    """Red beside one sentence, blue beside another: D comes to prefer the matching pairs."""
    settings = RivalSettings(width=8, size=8, batch_size=16, learning_rate=0.0, d_learning_rate=4e-3)
    trainer = RivalTrainer(settings, text_dim=4)
    sentence = torch.eye(4)[:2].repeat(8, 1)
    images = -torch.ones(16, 3, 8, 8)
    images[0::2, 0], images[1::2, 2] = 1.0, 1.0
    torch.manual_seed(0)
    for step in range(40):
        trainer.step((images, sentence, torch.randn(16, 100)), step)
    d = trainer.discriminator
    with torch.no_grad():
        features = d.features(images)
        better = d.judge(features, sentence) - d.judge(features, sentence.roll(1, 0))
    assert better.min() > 0.3


def test_it_opens_beside_a_checkpoint_and_damage_is_found(world: Path, tmp_path: Path) -> None:
    made = run(world, tmp_path / "run", train_settings(steps=1)) / "checkpoint"
    assert load_rival(load_checkpoint(made)) is None
    file = train_rival(world / "data", world / "damsm", tmp_path / "rival", small(1))
    shutil.copy(file, made / RIVAL)
    record_files(made)
    checkpoint = load_checkpoint(made)
    rival = load_rival(checkpoint)
    assert rival is not None
    assert (rival.size, rival.z_dim) == (16, 100)
    written = read_weights(file)["to_rgb.weight"]
    assert torch.equal(rival.to_rgb.weight, written)
    assert re.fullmatch(r"\d+ pictures in \d+ minutes?, CPU, \d+ threads?", rival_budget(checkpoint))

    content = bytearray((made / RIVAL).read_bytes())
    content[-1] ^= 1
    (made / RIVAL).write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_checkpoint(made)
    shutil.copy(made / "damsm.safetensors", made / RIVAL)
    with pytest.raises(CheckpointError, match="weights of a RivalGenerator"):
        load_rival(checkpoint)
