"""A small bank over coloured squares and discs, with untrained encoders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from memdriven.config import DamsmConfig, TextConfig
from memdriven.data.prepared import Item
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
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
    vocabulary: Vocabulary
    damsm: Damsm
    bank: MemoryBank


def make_damsm(vocabulary: Vocabulary, seed: int = 0) -> Damsm:
    """Untrained encoders, in evaluation mode, with words that are told apart."""
    torch.manual_seed(seed)
    damsm = Damsm(len(vocabulary), TEXT, DamsmConfig())
    with torch.no_grad():
        damsm.text.embedding.weight.mul_(30)
    return damsm.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("memory-world")
    items = write_world(folder / "data", train=24, test=4)
    write_features(folder / "features", items)
    vocabulary = Vocabulary.build(caption for item in items for caption in item.captions)
    damsm = make_damsm(vocabulary)
    bank = build_memory(
        folder / "data", folder / "features", damsm, vocabulary, folder / "bank", progress=False
    )
    return World(items, folder / "data", folder / "features", vocabulary, damsm, bank)
