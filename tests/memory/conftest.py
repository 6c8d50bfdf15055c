"""A small bank over coloured squares and discs, with untrained encoders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from memdriven.config import Config, DamsmConfig, GeneratorConfig, TextConfig
from memdriven.data.prepared import Item
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm, load_damsm, save_damsm
from memdriven.memory.bank import MemoryBank
from memdriven.memory.build import build_memory
from tests.small_world import write_features, write_world

TEXT = TextConfig(embedding_dim=12, dim=16)


@dataclass(frozen=True)
class World:
    """Everything a bank is made of, and the bank."""

    items: list[Item]
    dataset: Path
    features: Path
    encoders: Path
    vocabulary: Vocabulary
    damsm: Damsm
    bank: MemoryBank


def make_damsm(vocabulary: Vocabulary, folder: Path, max_words: int = 24) -> Damsm:
    """Untrained encoders in a folder, with words that are told apart."""
    torch.manual_seed(0)
    damsm = Damsm(len(vocabulary), TEXT, DamsmConfig())
    with torch.no_grad():
        damsm.text.embedding.weight.mul_(30)
    text = replace(TEXT, max_words=max_words)
    config = Config(text=text, generator=GeneratorConfig(text_dim=TEXT.dim))
    save_damsm(folder, damsm, vocabulary, config, {})
    return load_damsm(folder).damsm


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("memory-world")
    items = write_world(folder / "data", train=24, test=4)
    write_features(folder / "features", items)
    vocabulary = Vocabulary.build(caption for item in items for caption in item.captions)
    data, features, encoders = folder / "data", folder / "features", folder / "encoders"
    damsm = make_damsm(vocabulary, encoders)
    bank = build_memory(encoders, data, features, out=folder / "bank", device="cpu")
    return World(items, data, features, encoders, vocabulary, damsm, bank)
