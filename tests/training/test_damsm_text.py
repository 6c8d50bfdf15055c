"""Further training of the text encoder on frozen maps."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from memdriven.data.attributes import IGNORED
from memdriven.encoders.attribute_files import load_attributes
from memdriven.encoders.attribute_head import attribute_loss
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.damsm_files import load_damsm, save_damsm
from memdriven.encoders.image import CompactBackbone
from memdriven.encoders.text import TextFeatures
from memdriven.errors import ConfigError, TrainingError
from memdriven.training.damsm_pixels import train_pixels
from memdriven.training.damsm_text import METRICS, LinearReader, train_text
from memdriven.training.frozen_maps import Maps


@pytest.fixture(scope="module")
def before(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("before") / "damsm"
    train_pixels([world / "data"], world / "damsm", out, minutes=0.05, batch=12, progress=False)
    return out


@pytest.fixture(scope="module")
def after(world: Path, before: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("after") / "damsm"
    train_text([world / "data"], world / "features", before, out, minutes=0.1, batch=12, progress=False)
    return out


def test_text_projection_and_heads_learn_and_the_maps_stand_still(before: Path, after: Path) -> None:
    old, new = load_damsm(before).damsm.state_dict(), load_damsm(after).damsm.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert {
        "text.embedding.weight",
        "heads.project.global_.weight",
        "pixels.project.regions.weight",
    } <= changed
    still = {name for name in old if name.startswith(("pixels.fine", "pixels.coarse"))}
    assert still
    assert not still & changed


def test_it_learns_and_tells(before: Path, after: Path) -> None:
    told = json.loads((after / METRICS).read_text())
    for name in ("pixels", "named", "heads"):
        values = [row[name] for row in told["curve"] if name in row]
        assert values[-1] < values[0], name
    assert told["text_from"] == load_damsm(before).facts["hash"]
    assert set(told["after"]) >= {"heads_recall@1", "pixels_recall@10"}
    assert load_damsm(after).facts["text_trained_on"].startswith("12 pictures")


def test_the_attribute_head_comes_along(before: Path, after: Path) -> None:
    old = load_attributes(before, load_damsm(before).facts["hash"])
    new = load_attributes(after, load_damsm(after).facts["hash"])
    assert old is not None
    assert new is not None
    maps = torch.randn(1, 112, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(old.head(maps), new.head(maps))
    assert old.reader is not None
    assert new.reader is not None
    assert not torch.equal(old.reader.weight, new.reader.weight), "words have moved"


def test_maps_are_the_networks_own() -> None:
    torch.manual_seed(0)
    pixels = CompactBackbone(16).eval()
    pictures = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    maps = Maps(pixels, pictures, views=2, seed=0, progress=False)
    drawn = {
        round(float(maps.draw(torch.tensor([1]), torch.Generator().manual_seed(i)).sum()), 3)
        for i in range(20)
    }
    assert len(drawn) == 2, "two views of each picture"
    again = Maps(pixels, pictures, views=2, seed=0, progress=False)
    assert torch.equal(maps.maps, again.maps)


def test_the_reader_ignores_what_is_not_named() -> None:
    torch.manual_seed(0)
    reader = LinearReader(4, {"a": ("x", "y"), "b": ("u", "v", "w")})
    text = TextFeatures(torch.randn(2, 3, 4), torch.randn(2, 4), torch.ones(2, 3).bool())
    labels = torch.tensor([[1, IGNORED], [IGNORED, 2]])
    logits = reader.layer(torch.cat([text.sentence, text.words.mean(1)], 1)).view(2, 2, 3)
    wanted = -(logits[0, 0].log_softmax(0)[1] + logits[1, 1].log_softmax(0)[2]) / 2
    torch.testing.assert_close(attribute_loss(reader(text), labels), wanted)


def test_what_cannot_be_trained_is_refused(world: Path, before: Path, after: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="an earlier training"):
        train_text([world / "data"], world / "features", before, after, minutes=0.1, progress=False)
    with pytest.raises(TrainingError, match="batch of 64"):
        train_text(
            [world / "data"], world / "features", before, tmp_path / "out", minutes=0.1, progress=False
        )
    trained = load_damsm(before)
    config = dataclasses.replace(
        trained.config, damsm=dataclasses.replace(trained.config.damsm, pixel_backbone="vgg16")
    )
    save_damsm(
        tmp_path / "vgg",
        Damsm(len(trained.vocabulary), config.text, config.damsm),
        trained.vocabulary,
        config,
        {},
    )
    with pytest.raises(ConfigError, match="compact"):
        train_text(
            [world / "data"],
            world / "features",
            tmp_path / "vgg",
            tmp_path / "out",
            minutes=0.1,
            progress=False,
        )
