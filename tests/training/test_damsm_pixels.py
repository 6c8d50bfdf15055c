from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from memdriven.config import Config, GeneratorConfig, TextConfig
from memdriven.data.prepared import Item, PreparedDataset
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.damsm_files import load_damsm, save_damsm
from memdriven.errors import CheckpointError, ConfigError, TrainingError
from memdriven.presets import preset
from memdriven.training.damsm_pixels import train_pixels
from memdriven.training.pixel_data import PixelData
from tests.small_world import write_world


def _config(**damsm: object) -> Config:
    tiny = preset("tiny")
    return dataclasses.replace(
        tiny,
        text=TextConfig(embedding_dim=24, dim=32),
        generator=GeneratorConfig(text_dim=32),
        damsm=dataclasses.replace(tiny.damsm, **damsm),
    )


def _encoders(folder: Path, items: list[Item], config: Config) -> Path:
    vocabulary = Vocabulary.build((c for i in items for c in i.captions), 1)
    torch.manual_seed(0)
    save_damsm(
        folder, Damsm(len(vocabulary), config.text, config.damsm), vocabulary, config, {"dataset": "small"}
    )
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    _encoders(folder / "damsm", write_world(folder / "set", train=24, test=8), _config())
    return folder


def test_only_the_pixel_network_learns(world: Path, tmp_path: Path) -> None:
    new = train_pixels(
        [world / "set"], world / "damsm", tmp_path / "out", minutes=0.05, batch=8, progress=False
    )
    old = load_damsm(world / "damsm")
    for part in ("text", "heads"):
        before, after = (getattr(d.damsm, part).state_dict() for d in (old, new))
        assert all(torch.equal(before[name], after[name]) for name in before), part
    changed = [
        name
        for name, value in new.damsm.pixels.state_dict().items()
        if not torch.equal(value, old.damsm.pixels.state_dict()[name])
    ]
    assert "project.regions.weight" in changed
    told = json.loads((tmp_path / "out/pixels.json").read_text())
    assert told["pixels_from"] == old.damsm.hash() != new.damsm.hash()
    assert told["curve"][-1]["damsm"] < told["curve"][0]["damsm"]
    assert told["after"].keys() == {"recall@1", "recall@5", "recall@10"}
    assert new.facts["pixels_trained_on"].startswith("24 pictures")
    assert new.facts["dataset"] == "small", "what was known of the encoders is kept"


def test_a_stopped_training_goes_on(world: Path, tmp_path: Path) -> None:
    whole = {"batch": 8, "progress": False}
    train_pixels([world / "set"], world / "damsm", tmp_path / "out", minutes=0.01, **whole)
    with pytest.raises(TrainingError, match="an earlier training"):
        train_pixels([world / "set"], world / "damsm", tmp_path / "out", minutes=0.01, **whole)
    train_pixels([world / "set"], world / "damsm", tmp_path / "out", minutes=0.02, resume=True, **whole)
    assert json.loads((tmp_path / "out/pixels.json").read_text())["curve"][0]["step"] > 1
    with pytest.raises(TrainingError, match="batch"):
        train_pixels(
            [world / "set"],
            world / "damsm",
            tmp_path / "out",
            minutes=0.03,
            resume=True,
            batch=4,
            progress=False,
        )


def test_data_sets_do_not_share_classes(world: Path) -> None:
    _, vocabulary, config, _ = load_damsm(world / "damsm")
    dataset = PreparedDataset.open(world / "set")
    twice = PixelData([dataset, dataset], "train", vocabulary, config, progress=False)
    assert len(twice) == 48
    first, second = twice.class_ids.chunk(2)
    assert not set(first.tolist()) & set(second.tolist())
    assert len(PixelData([dataset], "test", vocabulary, config, 3, progress=False)) <= 3


def test_what_cannot_be_trained_is_refused(world: Path, tmp_path: Path) -> None:
    items = PreparedDataset.open(world / "set").items
    other = _encoders(tmp_path / "vgg", items, _config(pixel_backbone="vgg16"))
    with pytest.raises(ConfigError, match="compact"):
        train_pixels([world / "set"], other, tmp_path / "out", minutes=0.01, batch=8, progress=False)
    with pytest.raises(TrainingError, match="batch of 64"):
        train_pixels([world / "set"], world / "damsm", tmp_path / "out", minutes=0.01, progress=False)
    with pytest.raises(CheckpointError):
        train_pixels([world / "set"], tmp_path, tmp_path / "out", minutes=0.01, progress=False)
