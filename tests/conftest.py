"""A complete checkpoint in miniature: random networks over a memory of twelve drawn birds."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from memdriven.checkpoint import load_checkpoint, save_checkpoint
from memdriven.config import Config, DamsmConfig, GeneratorConfig, TextConfig
from memdriven.data.prepared import Item, write_prepared
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.readers import AttributeHead, Attributes, CaptionReader
from memdriven.memory.build import build_memory
from memdriven.memory.features import encode_v, write_store
from memdriven.models.generator import Generator
from memdriven.pipeline.pipeline import MemoryDrivenPipeline

# Tiny networks gain nothing from threads, and wait for each other on a busy machine.
torch.set_num_threads(1)

COLOURS = {"red": (196, 52, 45), "blue": (52, 96, 178), "yellow": (226, 186, 58), "green": (70, 140, 84)}
WINGS = {"black": (40, 40, 44), "white": (236, 234, 226), "brown": (120, 84, 56)}
NAMED = {"crown": ("blue", "green", "red"), "crest": ("crested", "none"), "legs": ("grey", "red")}
CONFIG = Config(
    preset="tiny",
    text=TextConfig(embedding_dim=16, dim=32),
    damsm=DamsmConfig(pixel_backbone="compact", pixel_size=64),
    generator=GeneratorConfig(
        stages=2, width=8, residual_blocks=1, text_dim=32, acm_width=8, feature_width=16
    ),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that drive a browser: they take longest, and two processes share them out."""
    driven = {item.path for item in items if "chromium" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in driven)


def drawn_bird(body: str, wing: str) -> Image.Image:
    """Return a 96 px bird of ellipses."""
    image = Image.new("RGB", (96, 96), (206, 220, 226))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 72, 96, 96), fill=(150, 168, 120))
    draw.polygon([(14, 40), (2, 34), (6, 52), (24, 56)], fill=WINGS[wing])
    draw.ellipse((16, 32, 74, 74), fill=COLOURS[body])
    draw.ellipse((56, 18, 84, 46), fill=COLOURS[body])
    draw.ellipse((24, 40, 58, 64), fill=WINGS[wing])
    draw.polygon([(82, 28), (95, 33), (82, 38)], fill=(70, 60, 50))
    draw.ellipse((70, 26, 75, 31), fill=(20, 20, 20))
    return image


def write_tiny_checkpoint(folder: Path, work: Path) -> Path:
    """Write a checkpoint with its bank to `folder`, using `work` for what it is built from."""
    torch.manual_seed(0)
    items, blobs = [], []
    for number, (body, wing) in enumerate((b, w) for b in COLOURS for w in WINGS):
        name = f"bird-{number:02d}"
        item = Item(
            id=name,
            split="train",
            class_id=number,
            class_name=f"{body} {wing}-wing",
            captions=[
                f"a small {body} bird with {wing} wings",
                f"this bird is {body} and has {wing} wings and a short beak",
            ],
        )
        path = work / item.file
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn_bird(body, wing).save(path, quality=90)
        items.append(item)
        random = np.random.default_rng(number)
        v = np.maximum(random.normal(-1.5, 1.0, (512, 16, 16)), 0).astype(np.float32)
        blobs.append(encode_v(v))
    write_prepared(
        work,
        name="tiny",
        items=items,
        classes=[item.class_name for item in items],
        image_size=96,
        source="drawn by the tests",
        licence="Apache-2.0",
    )
    features = work / "features"
    features.mkdir()
    write_store(features, [item.id for item in items], blobs, (512, 16, 16), {"encoder": "0" * 16})
    vocabulary = Vocabulary.build([caption for item in items for caption in item.captions])
    damsm = Damsm(len(vocabulary), CONFIG.text, DamsmConfig(pixel_backbone="vgg16")).eval()
    with torch.no_grad():
        damsm.text.embedding.weight.mul_(30)  # words that are told apart without training
    generator = Generator(CONFIG.generator).eval()
    with torch.no_grad():
        for head in generator.to_rgb:
            head.weight.mul_(60)  # pictures of two seeds that differ to the eye
    sighted = Damsm(len(vocabulary), CONFIG.text, CONFIG.damsm).eval()
    sighted.load_state_dict(damsm.state_dict(), strict=False)
    save_checkpoint(folder, CONFIG, vocabulary, sighted, generator, {"steps": 0})
    build_memory(folder, work, features, device="cpu")
    examples = [
        "a small red bird with black wings",
        "this bird is green and has white wings",
        "a yellow bird with brown wings",
        "a small blue bird",
    ]
    (folder / "examples.json").write_text(json.dumps({"captions": examples}))
    return folder


def known_readers() -> Attributes:
    """The caption names a red crown and no crest, of legs nothing; pictures show blue, none."""
    head, reader = AttributeHead(112, NAMED), CaptionReader(32, NAMED)
    head.weight.data.zero_()
    random = torch.Generator().manual_seed(0)
    reader.weight.data.copy_(torch.randn(reader.weight.shape, generator=random) * 0.2)
    head.bias.data.copy_(torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]]))
    reader.bias.data.copy_(torch.tensor([[0.0, 0.0, 3.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 1.0, 0.0, 2.0]]))
    return Attributes(head, reader).eval()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a complete miniature checkpoint, which tests must not change."""
    root = tmp_path_factory.mktemp("tiny")
    return write_tiny_checkpoint(root / "tiny", root / "work")


@pytest.fixture(scope="session")
def fading_checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint as one that fuses early, knows weakened memories and is read to."""
    folder = tmp_path_factory.mktemp("fading") / "fading"
    tiny = load_checkpoint(tiny_checkpoint)
    config = dataclasses.replace(
        tiny.config,
        generator=dataclasses.replace(
            tiny.config.generator,
            stages=3,
            fuse_early=True,
            early_blocks=1,
            text_code=8,
            attribute_dim=known_readers().reader.width,
        ),
        train=dataclasses.replace(tiny.config.train, p_fade=0.5),
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        generator = Generator(config.generator)
        for name, parameter in generator.named_parameters():
            if "modulate" in name or "early_residual" in name or "named_code" in name:
                torch.nn.init.normal_(parameter, std=0.2)  # as if it had learnt to use them
        for head in generator.to_rgb:
            head.weight.mul_(60)  # as above; those of the tiny one's stages are its own
    generator.load_state_dict(tiny.generator.state_dict(), strict=False)
    save_checkpoint(folder, config, tiny.vocabulary, tiny.damsm, generator, tiny.facts, known_readers())
    shutil.copytree(tiny.path / "memory", folder / "memory")
    return folder


@pytest.fixture(scope="session")
def fading(fading_checkpoint: Path) -> MemoryDrivenPipeline:
    """Return the checkpoint that offers less than all of the memory, on the CPU."""
    return MemoryDrivenPipeline.from_pretrained(fading_checkpoint, device="cpu")


@pytest.fixture(scope="session")
def pipe(tiny_checkpoint: Path) -> MemoryDrivenPipeline:
    """Return the miniature checkpoint as a pipeline on the CPU."""
    return MemoryDrivenPipeline.from_pretrained(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="session")
def three_stages(pipe: MemoryDrivenPipeline) -> MemoryDrivenPipeline:
    """Return the miniature checkpoint with the paper's three stages, up to 256 px; what most tests ask
    for has two, which paint in a third of the time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Generator(dataclasses.replace(CONFIG.generator, stages=3)).eval().requires_grad_(False)
    return MemoryDrivenPipeline(dataclasses.replace(pipe.checkpoint, generator=generator), pipe.bank)


@pytest.fixture(scope="session")
def squeezenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SqueezeNet weights in torchvision's layout, drawn at random."""
    from safetensors.torch import save_file

    from memdriven.encoders.imagenet import SqueezeNet

    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(SqueezeNet().state_dict(), path)
    return path
