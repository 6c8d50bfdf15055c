from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from memdriven.config import Config, GeneratorConfig, TextConfig
from memdriven.data.prepared import PreparedDataset
from memdriven.encoders.damsm_files import TrainedDamsm, load_damsm
from memdriven.errors import BankError, CheckpointError, ConfigError, DataError, TrainingError
from memdriven.memory.feature_store import FeatureStore
from memdriven.presets import preset
from memdriven.training import damsm_run
from memdriven.training.augment import disturb
from memdriven.training.damsm import train_damsm
from memdriven.training.damsm_data import choose_items, mixed_seed
from memdriven.training.damsm_recall import recall
from memdriven.training.distributed import Chance, World
from tests.small_world import write_features, write_world


def _config(**damsm: Any) -> Config:
    tiny = preset("tiny")
    settings = dataclasses.replace(
        tiny.damsm, **{"batch_size": 8, "epochs": 2, "mask_same_class": True, **damsm}
    )
    text = TextConfig(embedding_dim=24, dim=32)
    generator = GeneratorConfig(text_dim=32)
    return dataclasses.replace(tiny, damsm=settings, text=text, generator=generator)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_features(folder / "features", write_world(folder / "set"))
    return folder


def _train(world: Path, out: Path, config: Config, **options: Any) -> TrainedDamsm:
    return train_damsm(world / "set", world / "features", out, config, progress=False, **options)


def _rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_and_leaves_a_whole_folder(world: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    trained = _train(world, tmp_path / "out", _config(epochs=8))
    assert torch.equal(torch.get_rng_state(), before)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "damsm.safetensors",
        "last.safetensors",
        "metrics.jsonl",
        "vocabulary.json",
    ]
    rows = _rows(tmp_path / "out")
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["heads_total"] < 0.3 * rows[0]["heads_total"]
    assert rows[-1]["pixels_total"] < 0.8 * rows[0]["pixels_total"]
    assert all(row["images_per_second"] > 0 for row in rows)
    assert max(row["heads_recall@1"] for row in rows) >= 0.8  # 6 images, chance 1/6
    assert rows[1]["learning_rate"] == pytest.approx(2e-3 * 0.98)
    assert trained.facts["train_items"] == 24
    assert trained.facts["recall_on"] == "6 images, test"
    assert trained.facts["features_encoder"] == "0" * 16
    assert load_damsm(tmp_path / "out").damsm.hash() == trained.damsm.hash()


def test_a_resumed_training_has_the_same_bits(world: Path, tmp_path: Path) -> None:
    _train(world, tmp_path / "whole", _config(epochs=3))
    _train(world, tmp_path / "parts", _config(epochs=1))
    _train(world, tmp_path / "parts", _config(epochs=3), resume=True)
    one = load_file(tmp_path / "whole" / "last.safetensors")
    two = load_file(tmp_path / "parts" / "last.safetensors")
    assert one.keys() == two.keys()
    assert any(key.startswith("optimiser/") for key in one)
    assert all(torch.equal(one[key], two[key]) for key in one)
    weights = "damsm.safetensors"
    assert (tmp_path / "whole" / weights).read_bytes() == (tmp_path / "parts" / weights).read_bytes()
    assert [row["step"] for row in _rows(tmp_path / "parts")] == [3, 6, 9]


def test_rows_after_the_saved_state_are_forgotten(world: Path, tmp_path: Path) -> None:
    _train(world, tmp_path / "out", _config(epochs=1))
    with (tmp_path / "out" / "metrics.jsonl").open("a") as stream:
        stream.write('{"epoch": 2, "step": 6}\n')
    _train(world, tmp_path / "out", _config(epochs=2), resume=True)
    assert [row["step"] for row in _rows(tmp_path / "out")] == [3, 6]


def test_a_budget_stops_within_an_epoch_and_can_be_gone_on_from(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(float(n) for n in range(1_000_000))
    monkeypatch.setattr(damsm_run.time, "perf_counter", lambda: next(clock))
    _train(world, tmp_path / "out", _config(epochs=50), minutes=5 / 60)
    first = _rows(tmp_path / "out")
    assert first[-1]["step"] < 20
    assert first[-1]["learning_rate"] < 2e-3
    _train(world, tmp_path / "out", _config(epochs=50), minutes=30 / 60, resume=True)
    rows = _rows(tmp_path / "out")
    assert rows[-1]["step"] > first[-1]["step"]
    assert rows[-1]["minutes"] >= 0.5
    assert rows[-1]["learning_rate"] < 0.3 * 2e-3


def test_nan_stops_and_keeps_the_last_good_state(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train(world, tmp_path / "out", _config(epochs=1))
    good = (tmp_path / "out" / "last.safetensors").read_bytes()
    real = damsm_run.damsm_loss

    def broken(*args: Any) -> Any:
        return real(*args)._replace(total=torch.tensor(torch.nan))

    with monkeypatch.context() as patched:
        patched.setattr(damsm_run, "damsm_loss", broken)
        with pytest.raises(TrainingError, match="last good state is kept"):
            _train(world, tmp_path / "out", _config(epochs=2), resume=True)
    assert (tmp_path / "out" / "last.safetensors").read_bytes() == good

    def gradient_breaks(*args: Any) -> Any:
        loss = real(*args)
        return loss._replace(total=loss.total + (loss.total - loss.total.detach()).sqrt())

    with monkeypatch.context() as patched:
        patched.setattr(damsm_run, "damsm_loss", gradient_breaks)
        with pytest.raises(TrainingError, match="gradient"):
            _train(world, tmp_path / "out", _config(epochs=2), resume=True)
    assert (tmp_path / "out" / "last.safetensors").read_bytes() == good
    _train(world, tmp_path / "out", _config(epochs=2), resume=True)


def test_weights_that_are_no_numbers_are_never_saved(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(run: Any, rows: Any) -> dict[str, float]:
        with torch.no_grad():
            run.model.heads.project.global_.bias[0] = torch.inf
        return {"loss": 1.0}

    monkeypatch.setattr(damsm_run.DamsmRun, "_step", poisoned)
    monkeypatch.setattr(damsm_run.DamsmRun, "_report", lambda run, means: None)
    with pytest.raises(TrainingError, match="finite weights"):
        _train(world, tmp_path / "out", _config(epochs=1))
    state = load_file(tmp_path / "out" / "last.safetensors")
    assert all(torch.isfinite(value).all() for value in state.values())


def test_a_vgg16_config_trains_heads_alone(world: Path, tmp_path: Path) -> None:
    config = _config(pixel_backbone="vgg16", epochs=1, mask_same_class=False)
    trained = _train(world, tmp_path / "out", config)
    assert trained.damsm.pixels is None
    assert not any(key.startswith("pixels") for key in _rows(tmp_path / "out")[0])


def test_what_cannot_be_trained_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="epochs"):
        _train(world, tmp_path / "out", _config(epochs=0))
    with pytest.raises(CheckpointError, match="go on from"):
        _train(world, tmp_path / "out", _config(), resume=True)
    with pytest.raises(BankError):
        train_damsm(world / "set", world / "none", tmp_path / "out", _config())
    with pytest.raises(DataError):
        train_damsm(world / "none", world / "features", tmp_path / "out", _config())
    assert not (tmp_path / "out").exists()
    _train(world, tmp_path / "out", _config(epochs=1))
    with pytest.raises(TrainingError, match="earlier training"):
        _train(world, tmp_path / "out", _config())
    with pytest.raises(TrainingError, match="damsm config"):
        _train(world, tmp_path / "out", _config(learning_rate=1.0), resume=True)
    (tmp_path / "out" / "last.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="go on from"):
        _train(world, tmp_path / "out", _config(), resume=True)


def test_without_test_features_a_tenth_is_held_out(world: Path, tmp_path: Path) -> None:
    dataset = PreparedDataset.open(world / "set")
    write_features(tmp_path / "train", dataset.split("train"))
    train, held, kind = choose_items(dataset, FeatureStore.open(tmp_path / "train"))
    assert kind == "held-out"
    assert len(held) == 3
    assert len(train) + len(held) == 24
    assert not {item.id for item in train} & {item.id for item in held}
    write_features(tmp_path / "few", dataset.split("train")[:2])
    with pytest.raises(DataError, match="at least 4"):
        choose_items(dataset, FeatureStore.open(tmp_path / "few"))


def test_recall_counts_a_tie_as_a_miss(world: Path, tmp_path: Path) -> None:
    trained = _train(world, tmp_path / "out", _config(epochs=1))
    data, recalled, *_ = damsm_data_of(world)
    with torch.no_grad():
        for parameter in trained.damsm.heads.project.global_.parameters():
            parameter.zero_()
    found = recall(trained.damsm, recalled)
    assert found["heads_recall@1"] == found["heads_recall@5"] == 0
    assert found["heads_recall@10"] == 1  # six images in all
    assert len(data) == 24


def damsm_data_of(world: Path) -> tuple[Any, ...]:
    from memdriven.training.damsm import _load

    return _load(world / "set", world / "features", _config(), False)


def test_disturbed_pictures_stay_near_and_repeat() -> None:
    images = torch.full((16, 3, 32, 32), 0.5)
    images[:, 0] = 0.8
    one = disturb(images, Chance(1))
    assert torch.equal(one, disturb(images, Chance(1)))
    assert not torch.equal(one, disturb(images, Chance(2)))
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1
    means = one.mean((2, 3))
    assert float((means[:, 0] / means[:, 1] - 1.6).abs().max()) < 0.03  # the hue is kept
    ramp = torch.linspace(0, 1, 32).expand(16, 3, 32, 32)
    slopes = disturb(ramp, Chance(1)).diff(dim=3).mean((1, 2, 3))
    assert 0 < int((slopes < 0).sum()) < 16  # some are mirrored


def test_seeds_differ_by_every_part() -> None:
    seeds = {mixed_seed(a, b, c) for a in range(3) for b in range(-1, 3) for c in range(3)}
    assert len(seeds) == 36
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_an_item_without_a_usable_caption_is_named(world: Path, tmp_path: Path) -> None:
    table = tmp_path / "set" / "items.jsonl"
    shutil.copytree(world / "set", tmp_path / "set")
    lines = table.read_text().splitlines()
    item = {**json.loads(lines[-1]), "captions": ["!!!", "qqqqqqq xxxxxxx"]}
    table.write_text("\n".join([*lines[:-1], json.dumps(item)]) + "\n")
    with pytest.raises(DataError, match=item["id"]):
        train_damsm(tmp_path / "set", world / "features", tmp_path / "out", _config(), progress=False)


def test_each_process_needs_a_batch(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = (World(rank=0, size=4), torch.device("cpu"))  # three batches of 8 in 24 items
    monkeypatch.setattr("memdriven.training.damsm.join_world", lambda device: many)
    monkeypatch.setattr("memdriven.training.damsm.leave_world", lambda world: None)
    with pytest.raises(TrainingError, match="fewer processes"):
        _train(world, tmp_path / "out", _config())
