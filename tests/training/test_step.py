"""One step's two totals, put together again from the losses, with each switch on and off."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.config import Config
from memdriven.encoders.damsm import damsm_loss, load_damsm
from memdriven.encoders.imagenet import SqueezeNet
from memdriven.training.aux_losses import PERCEPTUAL_DEPTHS, Teachers, text_losses
from memdriven.training.distributed import Chance, World
from memdriven.training.step import R1_EVERY, GanTrainer
from tests.training.small_gan import CONFIG, data


def two_stages(**loss: Any) -> Config:
    return dataclasses.replace(
        CONFIG,
        generator=dataclasses.replace(CONFIG.generator, stages=2),
        loss=dataclasses.replace(CONFIG.loss, r1_gamma=2.0, **loss),
    )


def totals(trainer: GanTrainer, batch: Any, step: int) -> tuple[Tensor, Tensor]:
    """Return the step's totals of the D's and of G, without updating anything."""
    seen: list[Tensor] = []

    def kept(name: str, loss: Tensor) -> None:
        seen.append(loss.detach())

    trainer.update = kept  # type: ignore[method-assign]
    trainer.discriminators.eval()  # spectral normalisation holds still
    trainer.step(batch, step)
    return seen[0], seen[1]


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        (0, {}),
        (1, {}),
        (0, {"mismatched": False}),
        (1, {"damsm_stages": "last"}),
        (1, {"damsm_weight": 0.5, "kl_weight": 7.0}),
        (1, {"reconstruction_weight": 3.0}),
        (1, {"perceptual_weight": 3.0}),
        (1, {"adversarial_weight": 0.5}),
    ],
)
def test_totals(world: Path, step: int, changes: dict[str, Any], squeezenet_file: Path) -> None:
    network = SqueezeNet.load(squeezenet_file)
    config = two_stages(**changes)
    loss = config.loss
    damsm, *_ = load_damsm(world / "damsm")
    trainer = GanTrainer(config, Teachers(damsm, squeezenet=network), World())
    batch = data(world, config).batch(0)
    found_d, found_g = totals(trainer, batch, step)

    sentence = batch.text.sentence
    made = trainer.generator(batch.z, sentence, batch.text.condition, batch.v, batch.epsilon)
    wanted_d, wanted_g = torch.zeros(()), torch.zeros(())
    for judge, fake, real in zip(trainer.discriminators, made.images, batch.images, strict=True):
        on_fake, on_real = judge(fake, sentence), judge(real, sentence)
        wrong = judge(real, sentence.roll(1, 0)).conditional
        wanted_d = wanted_d - 0.5 * (
            F.logsigmoid(on_real.unconditional).mean() + F.logsigmoid(-on_fake.unconditional).mean()
        )
        wanted_d = wanted_d - 0.5 * F.logsigmoid(on_real.conditional).mean()
        told = F.logsigmoid(-on_fake.conditional).mean()
        if loss.mismatched:
            told = (told + F.logsigmoid(-wrong).mean()) / 2
        wanted_d = wanted_d - 0.5 * told
        wanted_g = wanted_g - loss.adversarial_weight * 0.5 * (
            F.logsigmoid(on_fake.unconditional).mean() + F.logsigmoid(on_fake.conditional).mean()
        )
        if step % R1_EVERY == 0:
            seen = real.clone().requires_grad_()
            logits = judge(seen, sentence)
            half = (logits.unconditional + logits.conditional) / 2
            (slope,) = torch.autograd.grad(half.sum(), seen)
            squared = slope.flatten(1).square().sum(1).mean()
            wanted_d = wanted_d + R1_EVERY * loss.r1_gamma / 2 * squared
    scored = made.images if loss.damsm_stages == "all" else made.images[-1:]
    for image in scored:
        features = damsm.encode_images((image + 1) / 2)[0]
        match = damsm_loss(features, batch.text, batch.class_ids).total
        wanted_g = wanted_g + loss.damsm_weight * match
    spread = made.logvar.exp()
    wanted_g = wanted_g + loss.kl_weight * 0.5 * (made.mu**2 + spread - made.logvar - 1).mean()
    if loss.reconstruction_weight:
        own = batch.is_target
        assert own.any()
        gaps = [(fake[own] - real[own]).abs().mean() for fake, real in zip(made.images, batch.images)]
        wanted_g = wanted_g + loss.reconstruction_weight * torch.stack(gaps).mean()
    if loss.perceptual_weight:
        own, gaps = batch.is_target, []
        for fake, real in zip(made.images, batch.images):
            levels = zip(
                network((fake + 1) / 2, PERCEPTUAL_DEPTHS), network((real + 1) / 2, PERCEPTUAL_DEPTHS)
            )
            each = [(a - b).abs().flatten(1).mean(1)[own].mean() / b.abs().mean() for a, b in levels]
            assert len(each) == 4
            gaps.append(torch.stack(each).mean())
        wanted_g = wanted_g + loss.perceptual_weight * torch.stack(gaps).mean()
    torch.testing.assert_close(found_d, wanted_d.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found_g, wanted_g.detach(), rtol=1e-4, atol=1e-5)


def test_without_adversaries_only_g_learns(world: Path) -> None:
    config = dataclasses.replace(
        CONFIG,
        loss=dataclasses.replace(
            CONFIG.loss, adversarial_weight=0.0, damsm_weight=0.0, reconstruction_weight=1.0
        ),
    )
    damsm, *_ = load_damsm(world / "damsm")
    trainer = GanTrainer(config, Teachers(damsm), World())
    assert not list(trainer.discriminators), "none is built"
    g_before = [p.clone() for p in trainer.generator.parameters()]
    told = trainer.step(data(world, config).batch(0), 0)
    assert told.keys() == {"kl", "reconstruction"}
    moved = [not torch.equal(a, b) for a, b in zip(g_before, trainer.generator.parameters())]
    assert sum(moved) > len(moved) / 2


def test_an_update_gives_the_other_network_no_gradient(world: Path) -> None:
    damsm, *_ = load_damsm(world / "damsm")
    config = two_stages()
    trainer = GanTrainer(config, Teachers(damsm), World())
    networks = {"generator": trainer.generator, "discriminators": trainer.discriminators}
    update, reached = trainer.update, dict[str, set[str]]()

    def watched(name: str, loss: Tensor) -> None:
        for network in networks.values():
            network.zero_grad(set_to_none=True)
        update(name, loss)
        grads = {
            each: [p.grad is not None for p in network.parameters()] for each, network in networks.items()
        }
        reached[name] = {each for each, has in grads.items() if any(has)}

    trainer.update = watched  # type: ignore[method-assign]
    trainer.step(data(world, config).batch(0), 0)
    assert reached == {name: {name} for name in networks}


def test_a_d_learns_alone_where_g_stands_still(world: Path) -> None:
    damsm, *_ = load_damsm(world / "damsm")
    config = two_stages()
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, learning_rate=0.0))
    trainer = GanTrainer(config, Teachers(damsm), World())
    before = {name: value.clone() for name, value in trainer.generator.state_dict().items()}
    judge = [p.clone() for p in trainer.discriminators.parameters()]
    record = trainer.step(data(world, config).batch(0), 0)
    assert set(record) == {"d_adversarial", "d_accuracy", "r1"}
    assert all(value.equal(before[name]) for name, value in trainer.generator.state_dict().items())
    assert any(not p.equal(old) for p, old in zip(trainer.discriminators.parameters(), judge))


def test_own_classes_are_negatives_where_damsm_was_trained_so(world: Path) -> None:
    """Members of one class compete in G's loss exactly where they did in DAMSM's."""
    damsm, *_ = load_damsm(world / "damsm")
    batch = data(world).batch(0)
    assert batch.class_ids is not None
    found = {}
    for masked in (True, False):
        config = dataclasses.replace(CONFIG, damsm=dataclasses.replace(CONFIG.damsm, mask_same_class=masked))
        found[masked] = text_losses(config, Teachers(damsm), batch, batch.images, Chance(0))["damsm"]
        image = damsm.encode_images((batch.images[-1] + 1) / 2)[0]
        classes = batch.class_ids if masked else None
        assert found[masked] == damsm_loss(image, batch.text, classes).total
    assert found[False] > found[True], "more to be told apart from"
