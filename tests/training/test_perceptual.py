"""Likeness to a target in a frozen network's maps: DAMSM's, or SqueezeNet's."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from memdriven.config import Config
from memdriven.encoders.imagenet import SqueezeNet
from memdriven.errors import CheckpointError
from memdriven.training.aux_losses import perceptual_distance
from memdriven.training.distributed import World
from tests.training.small_gan import CONFIG, run


def by_squeezenet() -> Config:
    """Return settings of a run whose only teacher is SqueezeNet."""
    loss = dataclasses.replace(
        CONFIG.loss, adversarial_weight=0.0, damsm_weight=0.0, kl_weight=0.0, perceptual_weight=1.0
    )
    train = dataclasses.replace(CONFIG.train, steps=12, p_swap=0.0, log_every=1, learning_rate=2e-3)
    return dataclasses.replace(CONFIG, loss=loss, train=train)


def test_squeezenets_maps_are_compared_as_shares(squeezenet_file: Path) -> None:
    network = SqueezeNet.load(squeezenet_file)
    random = torch.Generator().manual_seed(0)
    fake, real = (torch.rand(3, 3, 64, 64, generator=random) * 2 - 1 for _ in range(2))
    own = torch.tensor([True, False, True])
    found = perceptual_distance(network, fake, real, own, World())
    mean, factor = network.mean, network.factor
    maps = [((image + 1) / 2 - mean) * factor for image in (fake, real)]
    wanted = []
    for index, layer in enumerate(network.features):
        maps = [layer(each) for each in maps]
        if index in (1, 4, 7, 12):
            a, b = (each[own] for each in maps)
            wanted.append(F.l1_loss(a, b) / maps[1].abs().mean())
    torch.testing.assert_close(found, torch.stack(wanted).mean())


def test_a_run_learns_by_squeezenet_alone(world: Path, tmp_path: Path, squeezenet_file: Path) -> None:
    run(world, tmp_path / "run", by_squeezenet(), squeezenet=squeezenet_file)
    log = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    course = [line["perceptual"] for line in log]
    assert sum(course[-3:]) < 0.97 * sum(course[:3]), course


def test_without_its_weights_the_run_says_which_it_wants(world: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"SqueezeNet.*--squeezenet"):
        run(world, tmp_path / "run", by_squeezenet(), squeezenet=tmp_path / "none")
