"""Captions beside their images: what is held out, how recall is counted, whose classes are whose."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from memdriven.data.prepared import PreparedDataset
from memdriven.encoders.damsm import load_damsm
from memdriven.errors import DataError
from memdriven.memory.features import FeatureStore
from memdriven.training.captions import CaptionedImages, mixed_seed, permuted_rows, recall, split_items
from tests.small_world import write_features, write_world
from tests.training.small_damsm import damsm_config, write_damsm_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_damsm_world(tmp_path_factory.mktemp("world"))


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


def test_recall_counts_a_tie_as_a_miss(world: Path) -> None:
    trained = load_damsm(world / "damsm")
    dataset = PreparedDataset.open(world / "set")
    store = FeatureStore(world / "features")
    data = CaptionedImages(
        [(dataset, dataset.split("test"))], trained.vocabulary, trained.config, pictures=True, features=store
    )
    with torch.no_grad():
        for parameter in trained.damsm.heads.project.global_.parameters():
            parameter.zero_()
    found = recall(trained.damsm, data)
    assert found.keys() == {"heads_recall@1", "pixels_recall@1"}, (
        "of six images five would be found by chance"
    )
    assert found["heads_recall@1"] == 0


def test_data_sets_do_not_share_classes(world: Path) -> None:
    vocabulary = load_damsm(world / "damsm").vocabulary
    dataset = PreparedDataset.open(world / "set")
    sets = [(dataset, dataset.split("train"))] * 2
    twice = CaptionedImages(sets, vocabulary, damsm_config(), pictures=True)
    assert len(twice) == 48
    first, second = twice.class_ids.chunk(2)
    assert not set(first.tolist()) & set(second.tolist())
    epoch = torch.cat([permuted_rows(len(twice), 8, 0, step) for step in range(6)])
    assert sorted(epoch.tolist()) == list(range(48)), "an epoch shows each once"


def test_seeds_differ_by_every_part() -> None:
    seeds = {mixed_seed(a, b, c) for a in range(3) for b in range(-1, 3) for c in range(3)}
    assert len(seeds) == 36
    assert all(0 <= seed < 2**63 for seed in seeds)
