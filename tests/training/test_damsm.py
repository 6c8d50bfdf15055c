"""Training of the encoders: what learns, what stands still, which epoch is kept, how a stop goes on."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from memdriven.config import Config, GeneratorConfig, TextConfig
from memdriven.data.prepared import Item, PreparedDataset
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm, TrainedDamsm, load_damsm, save_damsm
from memdriven.encoders.image import CompactBackbone
from memdriven.errors import BankError, CheckpointError, ConfigError, DataError, Interrupted, TrainingError
from memdriven.memory.features import FeatureStore
from memdriven.presets import preset
from memdriven.training import damsm, loop
from memdriven.training.augment import disturb
from memdriven.training.captions import CaptionedImages, mixed_seed, permuted_rows, recall, split_items
from memdriven.training.damsm import as_good, train_damsm
from memdriven.training.damsm_further import (
    PixelSettings,
    TextSettings,
    frozen_maps,
    train_pixels,
    train_text,
)
from memdriven.training.distributed import Chance, World
from tests.small_world import write_features, write_world
from tests.training.small_gan import steady_clock


def _config(**settings: Any) -> Config:
    tiny = preset("tiny")
    settings = {"batch_size": 8, "epochs": 2, "mask_same_class": True, **settings}
    return dataclasses.replace(
        tiny,
        damsm=dataclasses.replace(tiny.damsm, **settings),
        text=TextConfig(embedding_dim=24, dim=32),
        generator=GeneratorConfig(text_dim=32),
    )


@pytest.fixture(scope="module", autouse=True)
def _steady_clock() -> Iterator[None]:
    with steady_clock():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 24 training and 6 test images, its features, and untrained encoders."""
    folder = tmp_path_factory.mktemp("world")
    items = write_world(folder / "set")
    write_features(folder / "features", items)
    _encoders(folder / "damsm", items, _config(mask_same_class=False))
    return folder


def _encoders(folder: Path, items: list[Item], config: Config) -> Path:
    vocabulary = Vocabulary.build(c for i in items for c in i.captions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Damsm(len(vocabulary), config.text, config.damsm)
    save_damsm(folder, model, vocabulary, config, {"dataset": "small"})
    return folder


def _train(world: Path, out: Path, config: Config, **options: Any) -> TrainedDamsm:
    return train_damsm(world / "set", world / "features", out, config, progress=False, **options)


def _pixels(
    world: Path, out: Path, minutes: float = 0.1, batch: int = 8, damsm: Path | None = None, **options: Any
) -> TrainedDamsm:
    settings = PixelSettings(minutes=minutes, batch=batch)
    return train_pixels([world / "set"], damsm or world / "damsm", out, settings, progress=False, **options)


def _text(
    world: Path, out: Path, minutes: float = 0.1, batch: int = 8, damsm: Path | None = None, **options: Any
) -> TrainedDamsm:
    sets, settings = [world / "set"], TextSettings(minutes=minutes, batch=batch)
    encoders = damsm or world / "damsm"
    return train_text(sets, world / "features", encoders, out, settings, progress=False, **options)


def _rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def _changed(old: TrainedDamsm, new: TrainedDamsm) -> set[str]:
    before, after = old.damsm.state_dict(), new.damsm.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def _same_state(one: Path, other: Path) -> bool:
    a, b = (load_file(path / "state.safetensors") for path in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def whole(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoders trained for three epochs, which are read, not changed."""
    _train(world, out := tmp_path_factory.mktemp("whole") / "out", _config(epochs=3))
    return out


@pytest.fixture(scope="module")
def begun(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Likewise for one."""
    _train(world, out := tmp_path_factory.mktemp("begun") / "out", _config(epochs=1))
    return out


@pytest.fixture(scope="module")
def seeing(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoders whose pixel network was trained further, with its head."""
    _pixels(world, out := tmp_path_factory.mktemp("seeing") / "out")
    return out


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set large enough to hold some of it out."""
    folder = tmp_path_factory.mktemp("many")
    write_features(folder / "features", write_world(folder / "set", train=200, test=4, size=16))
    return folder


# --- Joint training ---


def test_it_learns_and_leaves_a_whole_folder(world: Path, tmp_path: Path) -> None:
    trained = _train(world, tmp_path / "out", _config(epochs=8))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "damsm.safetensors",
        "metrics.jsonl",
        "run.json",
        "state.safetensors",
        "vocabulary.json",
    ]
    rows = _rows(tmp_path / "out")
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["heads_words"] < 0.3 * rows[0]["heads_words"]
    assert rows[-1]["pixels_words"] < 0.8 * rows[0]["pixels_words"]
    assert all(row["images_per_second"] > 0 for row in rows)
    assert max(row["heads_recall@1"] for row in rows) >= 0.5  # 6 images, chance 1/6
    assert rows[1]["learning_rate"] == pytest.approx(2e-3 * 0.98)
    assert trained.facts["train_items"] == 24
    assert trained.facts["test_images"] == 6
    assert trained.facts["test_recall"]["heads_recall@10"] == 1
    assert trained.facts["features_encoder"] == "0" * 16
    assert load_damsm(tmp_path / "out").damsm.hash() == trained.damsm.hash()


def test_a_resumed_training_has_the_same_bits(world: Path, whole: Path, begun: Path, tmp_path: Path) -> None:
    shutil.copytree(begun, tmp_path / "parts")
    _train(world, tmp_path / "parts", _config(epochs=3), resume=True)
    assert _same_state(whole, tmp_path / "parts")
    weights = "damsm.safetensors"
    assert (whole / weights).read_bytes() == (tmp_path / "parts" / weights).read_bytes()
    assert [row["step"] for row in _rows(tmp_path / "parts")] == [3, 6, 9]


def test_an_interrupted_training_goes_on_in_the_middle_of_an_epoch(
    world: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = loop.Descent.step

    def interrupted(self: Any, batch: Any, number: int) -> Any:
        if number == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, number)

    monkeypatch.setattr(loop.Descent, "step", interrupted)
    with pytest.raises(Interrupted, match="stopped at step 5"):
        _train(world, tmp_path / "parts", _config(epochs=3))
    monkeypatch.undo()
    _train(world, tmp_path / "parts", _config(epochs=3), resume=True)
    assert _same_state(whole, tmp_path / "parts")


def test_a_budget_stops_within_an_epoch_and_can_be_gone_on_from(world: Path, tmp_path: Path) -> None:
    _train(world, tmp_path / "out", _config(epochs=50), minutes=1 / 60)
    first = _rows(tmp_path / "out")
    assert first[-1]["step"] < 20
    assert first[-1]["learning_rate"] < 2e-3
    _train(world, tmp_path / "out", _config(epochs=50), minutes=3 / 60, resume=True)
    rows = _rows(tmp_path / "out")
    assert rows[-1]["step"] > first[-1]["step"]
    assert rows[-1]["minutes"] >= 0.05
    assert rows[-1]["learning_rate"] < 0.3 * 2e-3


def test_too_few_images_choose_no_epoch_and_the_last_is_kept(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recall among six test images is at its ceiling at once, and they are not there to choose by."""
    monkeypatch.setattr(damsm, "recall", lambda model, data: {"heads_recall@1": 1.0 / (1 + model.training)})
    trained = train_damsm(world / "set", world / "features", tmp_path / "out", _config(epochs=3))
    assert trained.facts["best"]["epoch"] == 3
    assert trained.facts["recall_on"] == "none: the last epoch"
    assert "kept: epoch 3 of 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recalls", "kept"),
    [
        ([1.0, 1.0, 1.0, 1.0], 4),  # equal: the later
        ([0.2, 0.9, 0.85, 0.3], 3),  # a difference that chance makes among 20 images: the later
        ([0.2, 0.9, 0.1, 0.2], 2),  # a real one
    ],
)
def test_the_latest_epoch_that_is_as_good_as_any_is_kept(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recalls: list[float], kept: int
) -> None:
    asked: list[set[str]] = []

    def told(model: Damsm, data: CaptionedImages) -> dict[str, float]:
        asked.append({item.split for item in data.items})
        return {"heads_recall@1": recalls[min(len(asked), len(recalls)) - 1]}

    monkeypatch.setattr(damsm, "recall", told)
    config = _config(pixel_backbone="vgg16", epochs=4, batch_size=90, mask_same_class=False)
    trained = _train(many, tmp_path / "out", config)
    assert trained.facts["best"]["epoch"] == kept
    assert asked == [{"train"}] * 4 + [{"test"}], "the test split measures, and chooses nothing"
    assert trained.facts["recall_on"] == "20 images, held out"
    assert trained.facts["train_items"] == 180


def test_a_recall_is_as_good_within_one_standard_error() -> None:
    assert as_good(0.89, 0.9, 100)
    assert not as_good(0.8, 0.9, 100)
    assert as_good(0.8, 0.9, 10)
    assert as_good(1.0, 1.0, 20)
    assert not as_good(0.9, 1.0, 1000)


def test_a_loss_that_is_no_number_keeps_the_last_good_state(
    world: Path, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(begun, tmp_path / "out")
    good = (tmp_path / "out" / "state.safetensors").read_bytes()
    real = damsm.damsm_loss

    def broken(*args: Any) -> Any:
        loss = real(*args)
        return loss._replace(words=loss.words + (loss.words - loss.words.detach()).sqrt())

    monkeypatch.setattr(damsm, "damsm_loss", broken)  # its gradient is no number
    with pytest.raises(TrainingError, match="the last good state, of step 3, is in"):
        _train(world, tmp_path / "out", _config(epochs=2), resume=True)
    assert (tmp_path / "out" / "state.safetensors").read_bytes() == good


def test_a_vgg16_config_trains_heads_alone(world: Path, tmp_path: Path) -> None:
    config = _config(pixel_backbone="vgg16", epochs=1, mask_same_class=False)
    trained = _train(world, tmp_path / "out", config)
    assert trained.damsm.pixels is None
    assert not any(key.startswith("pixels") for key in _rows(tmp_path / "out")[0])


def test_what_cannot_be_trained_is_refused(world: Path, begun: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="epochs"):
        _train(world, tmp_path / "out", _config(epochs=0))
    with pytest.raises(BankError):
        train_damsm(world / "set", world / "none", tmp_path / "out", _config())
    with pytest.raises(DataError):
        train_damsm(world / "none", world / "features", tmp_path / "out", _config())
    assert not (tmp_path / "out").exists()
    shutil.copytree(begun, tmp_path / "out")
    with pytest.raises(TrainingError, match="holds a training"):
        train_damsm(world / "none", world / "none", tmp_path / "out", _config())
    with pytest.raises(TrainingError, match=r"damsm\.learning_rate = 1\.0, not 0\.002"):
        _train(world, tmp_path / "out", _config(learning_rate=1.0), resume=True)
    with (tmp_path / "out/state.safetensors").open("r+b") as state:
        state.seek(5000)
        state.write(b"?")
    with pytest.raises(CheckpointError, match="a state that memdriven saved"):
        _train(world, tmp_path / "out", _config(), resume=True)


def test_each_process_needs_a_batch(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = World(rank=0, size=5)
    monkeypatch.setattr(damsm, "joined_world", lambda device: nullcontext(many))
    with pytest.raises(TrainingError, match="fewer processes"):
        _train(world, tmp_path / "out", _config())


# --- Its data ---


def test_a_tenth_is_held_out_where_that_decides_something(world: Path, tmp_path: Path) -> None:
    dataset = PreparedDataset.open(world / "set")
    split = split_items(dataset, FeatureStore(world / "features"))
    assert [len(part) for part in split] == [24, 0, 6]
    items = write_world(tmp_path / "more", train=201, test=2, size=16)
    write_features(tmp_path / "features", items[:201])
    split = split_items(PreparedDataset.open(tmp_path / "more"), FeatureStore(tmp_path / "features"))
    assert [len(part) for part in split] == [181, 20, 0]
    assert not {item.id for item in split[0]} & {item.id for item in split[1]}
    write_features(tmp_path / "few", dataset.split("train")[:2])
    with pytest.raises(DataError, match="found: 2 of the 24"):
        split_items(dataset, FeatureStore(tmp_path / "few"))


def _without_known_words(world: Path, copy: Path, row: int) -> str:
    """Copy the world's data set, with an item that no training caption has a word of."""
    shutil.copytree(world / "set", copy)
    table = copy / "items.jsonl"
    lines = table.read_text().splitlines()
    lines[row] = json.dumps({**json.loads(lines[row]), "captions": ["!!!", "qqqqqqq xxxxxxx"]})
    table.write_text("\n".join(lines) + "\n")
    return str(json.loads(lines[row])["id"])


def test_an_image_of_unknown_words_measures_nothing(world: Path, tmp_path: Path) -> None:
    """A word that stands in a caption of the test split alone must not stop the training."""
    identifier = _without_known_words(world, tmp_path / "set", -1)
    assert identifier.startswith("test")
    out = tmp_path / "out"
    trained = train_damsm(tmp_path / "set", world / "features", out, _config(epochs=1), progress=False)
    assert trained.facts["test_images"] == 5


def test_recall_counts_a_tie_as_a_miss(world: Path) -> None:
    trained = load_damsm(world / "damsm")
    dataset = PreparedDataset.open(world / "set")
    store = FeatureStore(world / "features")
    data = CaptionedImages(
        [(dataset, dataset.split("test"))],
        trained.vocabulary,
        trained.config,
        pictures=True,
        features=store,
        progress=False,
    )
    with torch.no_grad():
        for parameter in trained.damsm.heads.project.global_.parameters():
            parameter.zero_()
    found = recall(trained.damsm, data)
    assert found["heads_recall@1"] == found["heads_recall@5"] == 0
    assert found["heads_recall@10"] == 1  # six images in all
    assert "pixels_recall@1" in found


def test_data_sets_do_not_share_classes(world: Path) -> None:
    vocabulary = load_damsm(world / "damsm").vocabulary
    dataset = PreparedDataset.open(world / "set")
    sets = [(dataset, dataset.split("train"))] * 2
    twice = CaptionedImages(sets, vocabulary, _config(), pictures=True, progress=False)
    assert len(twice) == 48
    first, second = twice.class_ids.chunk(2)
    assert not set(first.tolist()) & set(second.tolist())
    epoch = torch.cat([permuted_rows(len(twice), 8, 0, step) for step in range(6)])
    assert sorted(epoch.tolist()) == list(range(48)), "an epoch shows each once"


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


def test_frozen_maps_are_the_networks_own() -> None:
    torch.manual_seed(0)
    pixels = CompactBackbone(16).eval()
    pictures = torch.tensor([20, 120, 220], dtype=torch.uint8)[:, None, None, None].expand(3, 3, 64, 64)

    class Pictures(CaptionedImages):
        def __init__(self) -> None:
            self.items, self.pictures = [None] * 3, pictures  # type: ignore[list-item]

    maps = frozen_maps(pixels, Pictures(), views=2, seed=0, progress=False)
    assert maps.shape == (2, 3, 112, 8, 8)
    assert not torch.equal(maps[0], maps[1]), "two views of each picture"
    with torch.no_grad():
        plain = pixels.maps(pictures / 255).mean((2, 3))
    for view in maps.float():
        assert torch.cdist(view.mean((2, 3)), plain).argmin(1).tolist() == [0, 1, 2]
    assert torch.equal(maps, frozen_maps(pixels, Pictures(), views=2, seed=0, progress=False))


# --- Further training ---


def test_only_the_pixel_network_learns(world: Path, seeing: Path) -> None:
    new, old = load_damsm(seeing), load_damsm(world / "damsm")
    changed = _changed(old, new)
    assert "pixels.project.regions.weight" in changed
    assert not any(name.startswith(("text", "heads")) for name in changed)
    rows = _rows(seeing)
    assert rows[-1]["damsm"] < rows[0]["damsm"]
    assert rows[-1]["attributes"] < rows[0]["attributes"]
    assert new.facts["pixels_from"] == old.damsm.hash() != new.damsm.hash()
    assert new.facts["test_recall"].keys() == {f"pixels_recall@{k}" for k in (1, 5, 10)}
    assert new.facts["pixels_trained_on"] == "24 pictures of small-world"
    assert new.facts["dataset"] == "small", "what was known of the encoders is kept"


@pytest.mark.parametrize("train", [_pixels, _text])
def test_further_training_that_was_killed_goes_on_with_the_same_bits(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: Any
) -> None:
    train(world, tmp_path / "whole", minutes=0.02)
    step = loop.Descent.step

    def interrupted(self: Any, batch: Any, number: int) -> Any:
        if number == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, number)

    monkeypatch.setattr(loop.Descent, "step", interrupted)
    with pytest.raises(Interrupted, match="stopped at step 5"):
        train(world, tmp_path / "parts", minutes=0.02)
    monkeypatch.setattr(loop.Descent, "step", step)
    train(world, tmp_path / "parts", minutes=0.02, resume=True)
    assert _same_state(tmp_path / "whole", tmp_path / "parts")
    with pytest.raises(TrainingError, match="holds a training"):
        train(world, tmp_path / "parts")
    with pytest.raises(TrainingError, match="batch = 4, not 8"):
        train(world, tmp_path / "parts", minutes=0.03, resume=True, batch=4)


def test_text_projection_and_heads_learn_and_the_maps_stand_still(
    world: Path, seeing: Path, tmp_path: Path
) -> None:
    before = load_damsm(seeing)
    after = _text(world, tmp_path / "after", damsm=seeing)
    changed = _changed(before, after)
    learnt = ("text.embedding.weight", "heads.project.global_.weight", "pixels.project.regions.weight")
    assert set(learnt) <= changed
    assert not any(name.startswith(("pixels.fine", "pixels.coarse")) for name in changed)
    for name in ("pixels", "named", "heads"):
        values = [row[name] for row in _rows(tmp_path / "after") if name in row]
        assert values[-1] < values[0], name
    assert after.facts["text_from"] == before.facts["hash"]
    assert set(after.facts["test_recall"]) >= {"heads_recall@1", "pixels_recall@10"}

    # The head reads the maps, which have not changed; the reader reads words, which have.
    old, new = before.attributes, after.attributes
    maps = torch.randn(1, 112, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(old.head(maps), new.head(maps))
    assert not torch.equal(old.reader.weight, new.reader.weight)


@pytest.mark.parametrize("train", [_pixels, _text])
def test_what_cannot_be_trained_further_is_refused(world: Path, tmp_path: Path, train: Any) -> None:
    items = PreparedDataset.open(world / "set").items
    other = _encoders(tmp_path / "vgg", items, _config(pixel_backbone="vgg16"))
    with pytest.raises(ConfigError, match="compact"):
        train(world, tmp_path / "out", damsm=other)
    with pytest.raises(ConfigError, match="minutes"):
        train(world, tmp_path / "out", minutes=0)
    with pytest.raises(TrainingError, match="batch of 64"):
        train(world, tmp_path / "out", batch=64)
    with pytest.raises(CheckpointError):
        train(world, tmp_path / "out", damsm=tmp_path)
    _without_known_words(world, tmp_path / "set", 0)
    with pytest.raises(DataError, match="train-000"):
        _pixels(tmp_path, tmp_path / "out", damsm=world / "damsm")
    assert not (tmp_path / "out").exists()
