"""Further training of encoders: what learns, what stands still, how a stop goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from memdriven.data.prepared import PreparedDataset
from memdriven.encoders.damsm import TrainedDamsm, load_damsm
from memdriven.encoders.image import CompactBackbone
from memdriven.errors import CheckpointError, ConfigError, DataError, Interrupted, TrainingError
from memdriven.training import loop
from memdriven.training.captions import CaptionedImages
from memdriven.training.damsm_further import (
    PixelSettings,
    TextSettings,
    frozen_maps,
    train_pixels,
    train_text,
)
from tests.training.small_damsm import (
    damsm_config,
    rows_of,
    same_state,
    without_known_words,
    write_damsm_world,
    write_encoders,
)
from tests.training.small_gan import hasty_reader, steady_clock


@pytest.fixture(scope="module", autouse=True)
def _steady_clock() -> Iterator[None]:
    with steady_clock(), hasty_reader():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_damsm_world(tmp_path_factory.mktemp("world"))


def _pixels(
    world: Path, out: Path, minutes: float = 0.06, batch: int = 8, damsm: Path | None = None, **options: Any
) -> TrainedDamsm:
    settings = PixelSettings(minutes=minutes, batch=batch)
    return train_pixels([world / "set"], damsm or world / "damsm", out, settings, **options)


def _text(
    world: Path, out: Path, minutes: float = 0.1, batch: int = 8, damsm: Path | None = None, **options: Any
) -> TrainedDamsm:
    sets, settings = [world / "set"], TextSettings(minutes=minutes, batch=batch)
    encoders = damsm or world / "damsm"
    return train_text(sets, world / "features", encoders, out, settings, **options)


def _changed(old: TrainedDamsm, new: TrainedDamsm) -> set[str]:
    before, after = old.damsm.state_dict(), new.damsm.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def seeing(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoders whose pixel network was trained further, with its head."""
    _pixels(world, out := tmp_path_factory.mktemp("seeing") / "out")
    return out


def test_frozen_maps_are_the_networks_own() -> None:
    torch.manual_seed(0)
    pixels = CompactBackbone(16).eval()
    pictures = torch.tensor([20, 120, 220], dtype=torch.uint8)[:, None, None, None].expand(3, 3, 64, 64)

    class Pictures(CaptionedImages):
        def __init__(self) -> None:
            self.items, self.pictures = [None] * 3, pictures  # type: ignore[list-item]

    maps = frozen_maps(pixels, Pictures(), views=2, seed=0)
    assert maps.shape == (2, 3, 112, 8, 8)
    assert not torch.equal(maps[0], maps[1]), "two views of each picture"
    with torch.no_grad():
        plain = pixels.maps(pictures / 255).mean((2, 3))
    for view in maps.float():
        assert torch.cdist(view.mean((2, 3)), plain).argmin(1).tolist() == [0, 1, 2]
    assert torch.equal(maps, frozen_maps(pixels, Pictures(), views=2, seed=0))


def test_only_the_pixel_network_learns(world: Path, seeing: Path) -> None:
    new, old = load_damsm(seeing), load_damsm(world / "damsm")
    changed = _changed(old, new)
    assert "pixels.project.regions.weight" in changed
    assert not any(name.startswith(("text", "heads")) for name in changed)
    rows = rows_of(seeing)
    assert rows[-1]["damsm"] < rows[0]["damsm"]
    assert rows[-1]["attributes"] < rows[0]["attributes"]
    assert new.facts["pixels_from"] == old.damsm.hash() != new.damsm.hash()
    assert new.facts["test_recall"].keys() == {"pixels_recall@1"}
    assert new.facts["pixels_trained_on"] == "24 pictures of small-world"
    assert new.facts["dataset"] == "small", "what was known of the encoders is kept"


@pytest.mark.parametrize("train", [_pixels, _text])
def test_further_training_that_was_killed_goes_on_with_the_same_bits(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: Any
) -> None:
    train(world, tmp_path / "whole", minutes=0.015)
    step = loop.Descent.step

    def interrupted(self: Any, batch: Any, number: int) -> Any:
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, number)

    monkeypatch.setattr(loop.Descent, "step", interrupted)
    with pytest.raises(Interrupted, match="stopped at step 3"):
        train(world, tmp_path / "parts", minutes=0.015)
    monkeypatch.setattr(loop.Descent, "step", step)
    train(world, tmp_path / "parts", minutes=0.015, resume=True)
    assert same_state(tmp_path / "whole", tmp_path / "parts")
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
        values = [row[name] for row in rows_of(tmp_path / "after") if name in row]
        assert values[-1] < values[0], name
    assert after.facts["text_from"] == before.facts["hash"]
    assert set(after.facts["test_recall"]) >= {"heads_recall@1", "pixels_recall@1"}

    # The head reads the maps, which have not changed; the reader reads words, which have.
    old, new = before.attributes, after.attributes
    maps = torch.randn(1, 112, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(old.head(maps), new.head(maps))
    assert not torch.equal(old.reader.weight, new.reader.weight)


@pytest.mark.parametrize("train", [_pixels, _text])
def test_what_cannot_be_trained_further_is_refused(world: Path, tmp_path: Path, train: Any) -> None:
    items = PreparedDataset.open(world / "set").items
    other = write_encoders(tmp_path / "vgg", items, damsm_config(pixel_backbone="vgg16"))
    with pytest.raises(ConfigError, match="compact"):
        train(world, tmp_path / "out", damsm=other)
    with pytest.raises(ConfigError, match="minutes"):
        train(world, tmp_path / "out", minutes=0)
    with pytest.raises(TrainingError, match="batch of 64"):
        train(world, tmp_path / "out", batch=64)
    with pytest.raises(CheckpointError):
        train(world, tmp_path / "out", damsm=tmp_path)
    without_known_words(world, tmp_path / "set", 0)
    with pytest.raises(DataError, match="train-000"):
        _pixels(tmp_path, tmp_path / "out", damsm=world / "damsm")
    assert not (tmp_path / "out").exists()
