"""A reader learns what captions name, and leaves the encoders alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from memdriven.data.prepared import Item, PreparedDataset
from memdriven.encoders.damsm import load_damsm
from memdriven.training.damsm_further import fit_reader

VALUES = {"colour": ("blue", "green", "red")}


def silenced(item: Item) -> Item:
    """An item with one more caption, which names no colour."""
    return dataclasses.replace(
        item,
        captions=[*item.captions, f"this is a {item.class_name}"],
        caption_attributes=[*item.caption_attributes, {}],
    )


def test_it_reads_what_is_named(world: Path) -> None:
    trained = load_damsm(world / "damsm")
    trained.damsm.text.embedding.weight.mul_(30)  # words that are told apart without training
    weights = trained.damsm.hash()
    data = PreparedDataset.open(world / "data")
    items = [silenced(item) for item in data.split("train")]
    reader = fit_reader(items, trained, VALUES)
    assert trained.damsm.hash() == weights
    assert reader is not None
    assert not any(p.requires_grad for p in reader.parameters())
    seen = set()
    for item in map(silenced, data.split("test")):
        for caption, record in zip(item.captions, item.caption_attributes, strict=True):
            encoded = trained.vocabulary.encode(caption, trained.config.text.max_words)
            with torch.no_grad():
                text = trained.damsm.encode_captions([encoded])
            found = reader.attribute_probs(text)[0, 0]
            seen.add(record.get("colour"))
            if record:
                assert VALUES["colour"][int(found.argmax())] == record["colour"]
                assert found.max() > 0.5
            else:
                assert found.sum() < 0.5
    assert seen == {"blue", "green", "red", None}
    again = fit_reader(items, trained, VALUES)
    assert again is not None
    assert torch.equal(again.weight, reader.weight)


def test_captions_without_records_teach_nothing(world: Path) -> None:
    trained = load_damsm(world / "damsm")
    items = PreparedDataset.open(world / "data").split("train")
    silent = [dataclasses.replace(item, caption_attributes=[]) for item in items]
    assert fit_reader(silent, trained, VALUES) is None
