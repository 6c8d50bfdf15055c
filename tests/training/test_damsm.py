"""Training of the encoders: what learns, what stands still, which epoch is kept, how a stop goes on."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from memdriven.config import Config
from memdriven.encoders.damsm import Damsm, TrainedDamsm, load_damsm
from memdriven.errors import BankError, CheckpointError, ConfigError, DataError, Interrupted, TrainingError
from memdriven.training import damsm, loop
from memdriven.training.captions import CaptionedImages
from memdriven.training.damsm import as_good, train_damsm
from memdriven.training.distributed import World
from tests.small_world import write_features, write_world
from tests.training.small_damsm import (
    damsm_config,
    rows_of,
    same_state,
    without_known_words,
    write_damsm_world,
)
from tests.training.small_gan import steady_clock


@pytest.fixture(scope="module", autouse=True)
def _steady_clock() -> Iterator[None]:
    with steady_clock():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_damsm_world(tmp_path_factory.mktemp("world"))


def _train(world: Path, out: Path, config: Config, **options: Any) -> TrainedDamsm:
    return train_damsm(world / "set", world / "features", out, config, **options)


@pytest.fixture(scope="module")
def whole(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoders trained for three epochs, which are read, not changed."""
    _train(world, out := tmp_path_factory.mktemp("whole") / "out", damsm_config(epochs=3))
    return out


@pytest.fixture(scope="module")
def begun(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Likewise for one."""
    _train(world, out := tmp_path_factory.mktemp("begun") / "out", damsm_config(epochs=1))
    return out


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set large enough to hold some of it out."""
    folder = tmp_path_factory.mktemp("many")
    write_features(folder / "features", write_world(folder / "set", train=200, test=4, size=16))
    return folder


def test_it_learns_and_leaves_a_whole_folder(world: Path, tmp_path: Path) -> None:
    trained = _train(world, tmp_path / "out", damsm_config(epochs=8))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "damsm.safetensors",
        "metrics.jsonl",
        "run.json",
        "state.safetensors",
        "vocabulary.json",
    ]
    rows = rows_of(tmp_path / "out")
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["heads_words"] < 0.3 * rows[0]["heads_words"]
    assert rows[-1]["pixels_words"] < 0.8 * rows[0]["pixels_words"]
    assert all(row["images_per_second"] > 0 for row in rows)
    assert max(row["heads_recall@1"] for row in rows) >= 0.5  # 6 images, chance 1/6
    assert rows[1]["learning_rate"] == pytest.approx(2e-3 * 0.98)
    assert trained.facts["train_items"] == 24
    assert trained.facts["test_images"] == 6
    assert 0.5 <= trained.facts["test_recall"]["heads_recall@1"] <= 1
    assert trained.facts["features_encoder"] == "0" * 16
    assert load_damsm(tmp_path / "out").damsm.hash() == trained.damsm.hash()


def test_a_resumed_training_has_the_same_bits(world: Path, whole: Path, begun: Path, tmp_path: Path) -> None:
    shutil.copytree(begun, tmp_path / "parts")
    _train(world, tmp_path / "parts", damsm_config(epochs=3), resume=True)
    assert same_state(whole, tmp_path / "parts")
    weights = "damsm.safetensors"
    assert (whole / weights).read_bytes() == (tmp_path / "parts" / weights).read_bytes()
    assert [row["step"] for row in rows_of(tmp_path / "parts")] == [3, 6, 9]


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
        _train(world, tmp_path / "parts", damsm_config(epochs=3))
    monkeypatch.undo()
    _train(world, tmp_path / "parts", damsm_config(epochs=3), resume=True)
    assert same_state(whole, tmp_path / "parts")


def test_a_budget_stops_within_an_epoch_and_can_be_gone_on_from(world: Path, tmp_path: Path) -> None:
    _train(world, tmp_path / "out", damsm_config(epochs=50), minutes=1 / 120)
    first = rows_of(tmp_path / "out")
    assert first[-1]["step"] < 10
    assert first[-1]["learning_rate"] < 2e-3
    _train(world, tmp_path / "out", damsm_config(epochs=50), minutes=3 / 120, resume=True)
    rows = rows_of(tmp_path / "out")
    assert rows[-1]["step"] > first[-1]["step"]
    assert rows[-1]["minutes"] >= 0.02
    assert rows[-1]["learning_rate"] < 0.3 * 2e-3


def test_too_few_images_choose_no_epoch_and_the_last_is_kept(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recall among six test images is at its ceiling at once, and they are not there to choose by."""
    monkeypatch.setattr(damsm, "recall", lambda model, data: {"heads_recall@1": 1.0 / (1 + model.training)})
    trained = train_damsm(world / "set", world / "features", tmp_path / "out", damsm_config(epochs=3))
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
    config = damsm_config(pixel_backbone="vgg16", epochs=4, batch_size=90, mask_same_class=False)
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
        _train(world, tmp_path / "out", damsm_config(epochs=2), resume=True)
    assert (tmp_path / "out" / "state.safetensors").read_bytes() == good


def test_a_vgg16_config_trains_heads_alone(world: Path, tmp_path: Path) -> None:
    config = damsm_config(pixel_backbone="vgg16", epochs=1, mask_same_class=False)
    trained = _train(world, tmp_path / "out", config)
    assert trained.damsm.pixels is None
    assert not any(key.startswith("pixels") for key in rows_of(tmp_path / "out")[0])


def test_what_cannot_be_trained_is_refused(world: Path, begun: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="epochs"):
        _train(world, tmp_path / "out", damsm_config(epochs=0))
    with pytest.raises(BankError):
        train_damsm(world / "set", world / "none", tmp_path / "out", damsm_config())
    with pytest.raises(DataError):
        train_damsm(world / "none", world / "features", tmp_path / "out", damsm_config())
    assert not (tmp_path / "out").exists()
    shutil.copytree(begun, tmp_path / "out")
    with pytest.raises(TrainingError, match="holds a training"):
        train_damsm(world / "none", world / "none", tmp_path / "out", damsm_config())
    with pytest.raises(TrainingError, match=r"damsm\.learning_rate = 1\.0, not 0\.002"):
        _train(world, tmp_path / "out", damsm_config(learning_rate=1.0), resume=True)
    with (tmp_path / "out/state.safetensors").open("r+b") as state:
        state.seek(5000)
        state.write(b"?")
    with pytest.raises(CheckpointError, match="a state that memdriven saved"):
        _train(world, tmp_path / "out", damsm_config(), resume=True)


def test_each_process_needs_a_batch(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = World(rank=0, size=5)
    monkeypatch.setattr(damsm, "joined_world", lambda device: nullcontext(many))
    with pytest.raises(TrainingError, match="fewer processes"):
        _train(world, tmp_path / "out", damsm_config())


def test_an_image_of_unknown_words_measures_nothing(world: Path, tmp_path: Path) -> None:
    """A word that stands in a caption of the test split alone must not stop the training."""
    identifier = without_known_words(world, tmp_path / "set", -1)
    assert identifier.startswith("test")
    out = tmp_path / "out"
    trained = train_damsm(tmp_path / "set", world / "features", out, damsm_config(epochs=1))
    assert trained.facts["test_images"] == 5
