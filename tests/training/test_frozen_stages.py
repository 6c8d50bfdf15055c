"""A later stage is trained on frozen ones: these keep their bits, it alone learns."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from memdriven.checkpoint import load_checkpoint
from memdriven.config import Config
from memdriven.encoders.damsm import load_damsm
from memdriven.errors import CheckpointError, ConfigError, TrainingError
from memdriven.training.aux_losses import Teachers
from memdriven.training.distributed import World
from memdriven.training.step import GanTrainer
from tests.training.small_gan import CONFIG, data, run, train_settings

FIRST, SECOND = "checkpoint/generator.safetensors", "checkpoint/generator-128.safetensors"


def settings(stages: int, frozen: int, steps: int = 2) -> Config:
    """Return a run's settings with that many stages, the first of them frozen."""
    generator = dataclasses.replace(CONFIG.generator, stages=stages, fuse_early=True)
    return dataclasses.replace(
        CONFIG,
        generator=generator,
        train=dataclasses.replace(CONFIG.train, steps=steps, frozen_stages=frozen),
    )


@pytest.fixture(scope="module")
def one(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one stage."""
    return run(world, tmp_path_factory.mktemp("one") / "run", settings(1, 0))


@pytest.fixture(scope="module")
def two(world: Path, one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a second stage on that one."""
    return run(world, tmp_path_factory.mktemp("two") / "run", settings(2, 1), start_from=one)


def test_the_first_stage_keeps_its_bits_and_the_second_learns(
    world: Path, two: Path, one: Path, tmp_path: Path
) -> None:
    run(world, tmp_path / "fresh", settings(2, 1, 0), start_from=one)
    first = (one / FIRST).read_bytes()
    assert (two / FIRST).read_bytes() == first
    assert (two / SECOND).read_bytes() != (tmp_path / "fresh" / SECOND).read_bytes()
    made = load_checkpoint(two / "checkpoint")
    (before,) = made.facts["earlier_runs"]
    assert before["steps"] == 2
    assert before["config"] == json.loads((one / "checkpoint/config.json").read_text())["config"]
    g = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(shape, generator=g) for shape in ((2, 8), (2, 16), (2, 16), (2, 512, 16, 16), (2, 8))
    ]
    small, large = made.generator(*inputs).images
    alone = load_checkpoint(one / "checkpoint").generator(*inputs).images[0]
    assert torch.equal(small, alone)
    assert large.shape == (2, 3, 128, 128)


def test_a_stopped_run_goes_on_with_the_same_bits(world: Path, one: Path, two: Path, tmp_path: Path) -> None:
    run(world, tmp_path / "parts", settings(2, 1, 1), start_from=one / "checkpoint")
    run(world, tmp_path / "parts", settings(2, 1, 2), resume=True)
    for name in (FIRST, SECOND):
        assert (tmp_path / "parts" / name).read_bytes() == (two / name).read_bytes()


def test_a_run_with_the_same_stages_frozen_is_gone_on_with(world: Path, two: Path, tmp_path: Path) -> None:
    still = settings(2, 1, 1)
    still = dataclasses.replace(still, train=dataclasses.replace(still.train, d_learning_rate=0.0))
    run(world, tmp_path / "more", still, start_from=two)
    states = [load_file(folder / "state.safetensors") for folder in (two, tmp_path / "more")]
    judges = [key for key in states[0] if "discriminators/" in key and "bias" in key]
    assert judges
    assert all(torch.equal(states[0][key], states[1][key]) for key in judges)
    with pytest.raises(TrainingError, match=r"config\.json"):
        run(world, tmp_path / "lost", settings(2, 1), start_from=tmp_path / "nowhere")


def test_only_the_later_stages_are_judged_and_moved(world: Path) -> None:
    config = settings(2, 1)
    encoders = load_damsm(world / "damsm").damsm

    def built(settings: Config) -> GanTrainer:
        made = GanTrainer(settings, Teachers(encoders), World())
        with torch.no_grad():
            for model in (made.generator, made.average.module):
                model.first.linear[0].weight[0, 0] = -0.0
        return made

    trainer = built(config)
    assert [len(d.downs) for d in trainer.discriminators] == [5]
    before = {name: value.clone() for name, value in trainer.generator.state_dict().items()}
    losses = trainer.step(data(world, config).batch(0), 0)
    assert trainer.ema.first.linear[0].weight[0, 0].signbit()
    after = trainer.generator.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    parts = tuple(f"{part}." for part in trainer.generator.stage_parts(1))
    assert moved == {name for name in before if name.startswith(parts)}
    single = dataclasses.replace(config, loss=dataclasses.replace(config.loss, damsm_stages="last"))
    told = built(single).step(data(world, single).batch(0), 0)
    assert torch.equal(losses["damsm"], told["damsm"]), "the frozen stage is not scored"


def test_later_stages_of_another_checkpoint_are_put_on_a_first_one(
    world: Path, two: Path, tmp_path: Path
) -> None:
    run(world, tmp_path / "other", settings(1, 0, 1))
    first, second = tmp_path / "other/checkpoint", two / "checkpoint"
    run(world, tmp_path / "both", settings(2, 1, 0), start_from=first, later_from=second)
    made = tmp_path / "both"
    assert (made / FIRST).read_bytes() == (tmp_path / "other" / FIRST).read_bytes()
    assert (made / SECOND).read_bytes() == (two / SECOND).read_bytes()
    facts = load_checkpoint(made / "checkpoint").facts
    assert [part["steps"] for part in facts["earlier_runs"]] == [2, 2, 1]

    # Those that the new run has, where the other has more.
    run(world, tmp_path / "three", settings(3, 2, 0), start_from=made / "checkpoint")
    third = tmp_path / "three/checkpoint"
    run(world, tmp_path / "again", settings(2, 1, 0), start_from=first, later_from=third)
    assert (tmp_path / "again" / SECOND).read_bytes() == (two / SECOND).read_bytes()


def test_a_last_stage_learns_on_squares_of_its_pictures(world: Path, one: Path, tmp_path: Path) -> None:
    whole = settings(2, 1)
    with pytest.raises(ConfigError, match=r"loss\.damsm_weight 0 with train\.crop"):
        dataclasses.replace(whole, train=dataclasses.replace(whole.train, crop=0.5))
    config = dataclasses.replace(
        whole,
        loss=dataclasses.replace(whole.loss, damsm_weight=0.0, reconstruction_weight=1.0),
        train=dataclasses.replace(whole.train, crop=0.5),
    )
    batch = data(world, config).batch(0)
    assert batch.crop is not None
    corners = 2 * batch.crop.corners
    assert corners.min() >= 0
    assert corners.max() <= 64
    assert len(corners.unique()) > 1
    for image, square, (x, y) in zip(batch.images[1], batch.targets[1], corners.tolist(), strict=True):
        assert torch.equal(square, image[:, y : y + 64, x : x + 64])
    assert torch.equal(batch.targets[0], batch.images[0])
    judges = GanTrainer(config, Teachers(load_damsm(world / "damsm").damsm), World())
    assert [len(d.downs) for d in judges.discriminators] == [4], "D's input is a square of 64 px"
    run(world, tmp_path / "two", config, start_from=one)
    made = load_checkpoint(tmp_path / "two/checkpoint").generator
    assert made.resolutions == [64, 128]
    assert (tmp_path / "two" / FIRST).read_bytes() == (one / FIRST).read_bytes()
    with pytest.raises(ConfigError, match=r"train\.frozen_stages"):
        dataclasses.replace(config, train=dataclasses.replace(config.train, frozen_stages=0))


def test_there_must_be_trained_stages_to_freeze(world: Path, one: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="frozen_stages"):
        train_settings(frozen_stages=1)
    with pytest.raises(TrainingError, match="weights to freeze"):
        run(world, tmp_path / "alone", settings(2, 1))
    with pytest.raises(CheckpointError, match="at least 2 stages"):
        run(world, tmp_path / "three", settings(3, 2), start_from=one / "checkpoint")


def parts_frozen(names: str) -> Config:
    """Return a run's settings of one stage with these parts frozen."""
    alone = settings(1, 0, steps=1)
    return dataclasses.replace(alone, train=dataclasses.replace(alone.train, frozen_parts=names))


def test_a_frozen_part_keeps_its_bits_and_the_rest_learns(world: Path, one: Path, tmp_path: Path) -> None:
    run(world, tmp_path / "kept", parts_frozen("first.linear"), start_from=one)
    run(world, tmp_path / "more", parts_frozen("first.linear"), start_from=tmp_path / "kept")
    before, kept, more = (load_file(folder / FIRST) for folder in (one, tmp_path / "kept", tmp_path / "more"))
    for linear in ("first.linear.0.weight", "first.linear.1.weight"):
        assert torch.equal(before[linear].view(torch.int16), more[linear].view(torch.int16))
    for name in ("first.blocks.0.conv.weight", "to_rgb.0.weight"):
        assert not torch.equal(before[name], kept[name])
        assert not torch.equal(kept[name], more[name])


def test_a_part_to_freeze_must_exist_and_be_trained(world: Path, one: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"first\.linear.*'first\.liner'"):
        run(world, tmp_path / "no", parts_frozen("first.liner"), start_from=one)
    with pytest.raises(TrainingError, match="weights to freeze"):
        run(world, tmp_path / "alone", parts_frozen("first.linear"))


def test_a_first_stage_goes_on_from_a_checkpoint_of_two(world: Path, tmp_path: Path) -> None:
    run(world, tmp_path / "two", settings(2, 0, 1))
    run(world, tmp_path / "first", settings(1, 0, 0), start_from=tmp_path / "two/checkpoint")
    wanted, found = (load_file(tmp_path / name / FIRST) for name in ("two", "first"))
    assert all(torch.equal(value, found[name]) for name, value in wanted.items())
    assert not (tmp_path / "first" / SECOND).exists()
