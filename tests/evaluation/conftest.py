"""A tiny prepared data set of coloured squares: top and bottom have a colour each."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from memdriven.checkpoint import save_checkpoint
from memdriven.config import Config
from memdriven.data.images import centre_square, to_tensor
from memdriven.data.prepared import Item, PreparedDataset, image_file, write_prepared
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.imagenet import Vgg16Features
from memdriven.evaluation.judge import train_attribute_judge
from memdriven.memory.build import build_memory
from memdriven.memory.features import encode_v, write_store
from memdriven.models.generator import Generator
from memdriven.presets import preset

RGB = {"red": (200, 30, 30), "blue": (40, 60, 200), "yellow": (240, 220, 40), "black": (20, 20, 20)}
COLOURS = tuple(RGB)


def _item(rng: random.Random, folder: Path, split: str, number: int, classes: int) -> Item:
    top, bottom = rng.choice(COLOURS), rng.choice(COLOURS)
    picture = Image.new("RGB", (64, 64), RGB[top])
    picture.paste(RGB[bottom], (0, 32, 64, 64))
    item_id = f"{split}{number:03d}"
    path = folder / image_file(split, item_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "WEBP", quality=90)
    offset = 0 if split == "train" else classes
    return Item(
        id=item_id,
        split=split,
        class_id=offset + number % classes,
        class_name=f"{split} class {number % classes}",
        captions=[f"a thing with a {top} head", f"a {top} head above a {bottom} tail"],
        attributes={"head": top, "tail": bottom, "always": "same"},
        caption_attributes=[{"head": top}, {"head": top, "tail": bottom}],
        visible=["head", "tail"],
    )


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 48 training and 16 test images of two-coloured squares, four classes a split."""
    folder = tmp_path_factory.mktemp("squares")
    rng = random.Random(5)
    items = [_item(rng, folder, "train", i, 4) for i in range(48)]
    items += [_item(rng, folder, "test", i, 4) for i in range(16)]
    classes = [f"train class {i}" for i in range(4)] + [f"test class {i}" for i in range(4)]
    write_prepared(folder, name="squares", items=items, classes=classes, image_size=64)
    return folder


def tiny_config() -> Config:
    """The `tiny` preset, smaller still."""
    base = preset("tiny")
    return replace(
        base,
        text=replace(base.text, dim=16, embedding_dim=8),
        generator=replace(
            base.generator,
            stages=2,
            width=4,
            text_dim=16,
            z_dim=8,
            condition_dim=8,
            acm_width=4,
            feature_width=4,
            residual_blocks=1,
        ),
    )


class FakeVgg(nn.Module):
    """Stands for VGG-16: pooled colours in the first three of 512 channels."""

    hash = "f" * 16

    def forward(self, images: Tensor) -> Tensor:
        """Map images (b, 3, h, w) to (b, 512, h / 16, w / 16)."""
        v = images.new_zeros(len(images), 512, images.shape[2] // 16, images.shape[3] // 16)
        v[:, :3] = functional.avg_pool2d(images, 16)
        return v


@pytest.fixture(scope="session")
def checkpoint(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained checkpoint with a memory bank over the squares."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    config = tiny_config()
    data = PreparedDataset.open(squares)
    vocabulary = Vocabulary.build(c for item in data.split("train") for c in item.captions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        damsm = Damsm(len(vocabulary), config.text, config.damsm).eval()
        generator = Generator(config.generator).eval()
    save_checkpoint(folder, config, vocabulary, damsm, generator, {"steps": 3, "device": "CPU"})
    items = data.split("train")
    features = folder.parent / "features"
    features.mkdir()
    blobs = []
    for item in items:
        image = to_tensor(centre_square(data.load_image(item), 256))
        blobs.append(encode_v(FakeVgg()(image[None])[0].numpy()))
    write_store(features, [item.id for item in items], blobs, (512, 16, 16), {"encoder": FakeVgg.hash})
    build_memory(folder, squares, features, device="cpu")
    return folder


@pytest.fixture(scope="session")
def judge_folder(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge of the squares, trained for a moment."""
    folder = tmp_path_factory.mktemp("judges") / "judge"
    train_attribute_judge(squares, folder, minutes=0, size=32, steps=40, batch=16, learning_rate=5e-3)
    return folder


@pytest.fixture
def fake_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `Vgg16Features.load` give the stand-in."""
    monkeypatch.setattr(Vgg16Features, "load", staticmethod(lambda *_: FakeVgg()))
