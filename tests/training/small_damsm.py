"""A small data set with features and untrained encoders, and settings to train them by."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from memdriven.config import Config, GeneratorConfig, TextConfig
from memdriven.data.prepared import Item
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm, save_damsm
from memdriven.presets import preset
from tests.small_world import write_features, write_world


def damsm_config(**settings: Any) -> Config:
    tiny = preset("tiny")
    settings = {"pixel_size": 32, "batch_size": 8, "epochs": 2, "mask_same_class": True, **settings}
    return dataclasses.replace(
        tiny,
        damsm=dataclasses.replace(tiny.damsm, **settings),
        text=TextConfig(embedding_dim=24, dim=32),
        generator=GeneratorConfig(text_dim=32),
    )


def write_encoders(folder: Path, items: list[Item], config: Config) -> Path:
    vocabulary = Vocabulary.build(c for i in items for c in i.captions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Damsm(len(vocabulary), config.text, config.damsm)
    save_damsm(folder, model, vocabulary, config, {"dataset": "small"})
    return folder


def write_damsm_world(folder: Path) -> Path:
    """Write a data set of 24 training and 6 test images, its features, and untrained encoders."""
    items = write_world(folder / "set")
    write_features(folder / "features", items)
    write_encoders(folder / "damsm", items, damsm_config(mask_same_class=False))
    return folder


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def same_state(one: Path, other: Path) -> bool:
    a, b = (load_file(path / "state.safetensors") for path in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def without_known_words(world: Path, copy: Path, row: int) -> str:
    """Copy the world's data set, with an item that no training caption has a word of."""
    shutil.copytree(world / "set", copy)
    table = copy / "items.jsonl"
    lines = table.read_text().splitlines()
    lines[row] = json.dumps({**json.loads(lines[row]), "captions": ["!!!", "qqqqqqq xxxxxxx"]})
    table.write_text("\n".join(lines) + "\n")
    return str(json.loads(lines[row])["id"])
