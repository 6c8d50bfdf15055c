from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from memdriven.data.attributes import IGNORED, visible_record
from memdriven.data.prepared import Item, PreparedDataset, load_images, write_prepared
from memdriven.encoders.readers import attribute_loss
from memdriven.errors import EvaluationError, TrainingError
from memdriven.evaluation.attributes import attribute_accuracy
from memdriven.evaluation.judge import AttributeJudge, load_judge, train_attribute_judge


def train(dataset: Path, out: Path, **options: Any) -> AttributeJudge:
    options = {"minutes": 0, "size": 32, "steps": 60, "batch": 16, "learning_rate": 5e-3, **options}
    return train_attribute_judge(dataset, out, progress=False, **options)


def test_learns_colours_of_parts_from_renders_alone(squares: Path, tmp_path: Path) -> None:
    judge = train(squares, tmp_path / "judge")
    facts = json.loads((tmp_path / "judge" / "judge.json").read_text())["facts"]
    assert facts["steps"] == 60
    assert facts["train_images"] == 48
    assert facts["test_accuracy"]["head"]["count"] == 16
    assert judge.names == ["head", "tail"], "an attribute of one value cannot be judged"
    data = PreparedDataset.open(squares)
    items = data.split("test")
    images = load_images(data, items, 64, progress=False)
    named = [item.caption_attributes[1] for item in items]
    found = attribute_accuracy(load_judge(tmp_path / "judge"), images, named)
    assert found.asked_colours.count == 32
    assert found.asked_colours.rate > 0.8
    upside_down = attribute_accuracy(judge, images.flip(2), named)
    assert upside_down.asked_colours.rate < 0.6, "a colour on the wrong part is not found"


def test_same_seed_trains_the_same_judge(squares: Path, tmp_path: Path) -> None:
    one = train(squares, tmp_path / "one", steps=3)
    other = train(squares, tmp_path / "other", steps=3)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_folder_that_holds_a_judge_is_gone_on_with_or_refused(squares: Path, tmp_path: Path) -> None:
    train(squares, tmp_path, steps=4)
    with pytest.raises(TrainingError, match="holds a training"):
        train(squares, tmp_path, steps=6)
    with pytest.raises(TrainingError, match="size = 48, not 32"):
        train(squares, tmp_path, steps=6, size=48, resume=True)
    train(squares, tmp_path, steps=6, resume=True)
    assert json.loads((tmp_path / "judge.json").read_text())["facts"]["steps"] == 6


def test_data_without_attributes_is_refused(squares: Path, tmp_path: Path) -> None:
    bare = Item("a", "images/train/a.webp", "train", None, "", ["a bird"])
    write_prepared(tmp_path, name="bare", items=[bare], classes=[], image_size=64)
    with pytest.raises(EvaluationError, match="attribute records"):
        train(tmp_path, tmp_path / "judge")
    assert not (tmp_path / "judge").exists()


def test_hidden_attributes_are_not_labels(squares: Path) -> None:
    item = PreparedDataset.open(squares).split("train")[0]
    assert set(visible_record(item)) == {"head", "tail"}
    bars = replace(item, attributes={"head": "red", "bars": "none", "ring": "white"})
    assert visible_record(bars) == {"head": "red", "bars": "none"}
    assert visible_record(replace(bars, visible=())) == bars.attributes
    judge = AttributeJudge({"head": ("red", "blue"), "wing": ("a", "b")})
    assert judge.labels([{"head": "blue"}]).tolist() == [[1, IGNORED]]
    logits = torch.zeros(1, 2, 2)
    loss = attribute_loss(logits, torch.tensor([[1, IGNORED]]))
    assert float(loss) == pytest.approx(0.6931, abs=1e-3)
