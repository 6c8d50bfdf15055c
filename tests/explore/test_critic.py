from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from memdriven.checkpoint import CRITIC, load_checkpoint, load_facts, record_files
from memdriven.config import DiscriminatorConfig, to_dict
from memdriven.data.images import to_tensor
from memdriven.errors import CheckpointError
from memdriven.explore.critic import contents, copy_critic, load_critic
from memdriven.files import atomic_write_json
from memdriven.models.discriminator import Discriminator
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.training.run_directory import save_state


def test_content_features_halve_down_to_four() -> None:
    picture = Image.new("RGB", (64, 64), (10, 200, 90))
    picture.paste((250, 0, 0), (32, 0, 64, 64))
    made = contents(picture)
    assert [each.size for each in made] == [(32, 32), (16, 16), (8, 8), (4, 4)]
    assert made[-1].getpixel((0, 1)) == (10, 200, 90), "padding is not counted"
    assert made[-1].getpixel((3, 1)) == (250, 0, 0)


def test_a_checkpoints_discriminator_answers(pipe: MemoryDrivenPipeline, tmp_path: Path) -> None:
    here = replace(pipe.checkpoint, path=tmp_path)
    assert load_critic(here) is None
    text_dim = pipe.config.text.dim
    network = Discriminator(
        DiscriminatorConfig(width=8, max_width=16, content="average", spectral_norm=False), 32, text_dim
    )
    save_file({name: value.half() for name, value in network.state_dict().items()}, tmp_path / CRITIC)
    critic = load_critic(here)
    assert critic is not None
    assert critic.size == 32
    picture, right, wrong = pipe.bank.thumbnail(0), torch.randn(text_dim), torch.randn(text_dim)
    said = critic.judge(picture, right, wrong)
    image = torch.nn.functional.interpolate(2 * to_tensor(picture)[None] - 1, size=(32, 32), mode="area")
    with torch.no_grad():
        unconditional, conditional, mismatched = network(image, right[None], wrong[None])
    logits = (unconditional, conditional, mismatched)
    assert said == pytest.approx([float(each.sigmoid()) for each in logits], abs=2e-3)
    save_file({"downs.0.weight": torch.zeros(8, 3, 4, 4)}, tmp_path / CRITIC)
    with pytest.raises(CheckpointError, match="discriminator"):
        load_critic(here)


def test_a_changed_byte_of_a_discriminator_is_found(tiny_checkpoint: Path, tmp_path: Path) -> None:
    here = tmp_path / "model"
    copytree(tiny_checkpoint, here)
    save_file({"downs.0.weight": torch.zeros(8, 3, 4, 4)}, here / CRITIC)
    record_files(here)
    load_checkpoint(here)
    content = bytearray((here / CRITIC).read_bytes())
    content[-1] ^= 1
    (here / CRITIC).write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_checkpoint(here)


def test_a_runs_discriminator_is_laid_beside_the_checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> None:
    here, run = copytree(tiny_checkpoint, tmp_path / "model"), tmp_path / "run"
    config = load_checkpoint(here).config
    config = replace(
        config,
        discriminator=DiscriminatorConfig(width=8, max_width=16, content="average", spectral_norm=True),
    )
    network = Discriminator(config.discriminator, 32, config.text.dim)
    picture = Image.effect_noise((32, 32), 80).convert("RGB")
    image, (right, wrong) = 2 * to_tensor(picture)[None] - 1, torch.randn(2, config.text.dim)
    network(image, right[None], wrong[None])  # a step of the power iteration
    facts = {"identity": {"damsm": load_facts(here).get("damsm")}}
    run.mkdir()
    save_state(run / "state.safetensors", {"discriminators": nn.ModuleList([network])}, {}, facts)
    atomic_write_json(run / "config.json", to_dict(config))
    copy_critic(here, run=run)
    critic = load_critic(load_checkpoint(here))
    assert critic is not None
    said = critic.judge(picture, right, wrong)
    with torch.no_grad():
        logits = network.eval()(image, right[None], wrong[None])
    assert said == pytest.approx([float(each.sigmoid()) for each in logits], abs=5e-3)

    other = {"identity": {"damsm": "others"}}
    save_state(run / "state.safetensors", {"discriminators": nn.ModuleList([network])}, {}, other)
    with pytest.raises(CheckpointError, match="encoders"):
        copy_critic(here, run=run)
    cut = replace(
        config,
        train=replace(config.train, crop=0.5, frozen_stages=config.generator.stages - 1),
        loss=replace(config.loss, damsm_weight=0.0, attribute_weight=0.0),
    )
    atomic_write_json(run / "config.json", to_dict(cut))
    with pytest.raises(CheckpointError, match="cut-outs"):
        copy_critic(here, run=run)
    save_state(run / "state.safetensors", {"generator": network}, {}, facts)
    with pytest.raises(CheckpointError, match="no D"):
        copy_critic(here, run=run)
