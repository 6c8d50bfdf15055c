from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from memdriven.data.prepared import Item, PreparedDataset, load_images, write_prepared
from memdriven.data.vocabulary import IGNORED, attribute_values, visible_record
from memdriven.encoders.readers import attribute_loss
from memdriven.errors import EvaluationError, TrainingError
from memdriven.evaluation.judge import (
    AttributeJudge,
    attribute_accuracy,
    caption_log_odds,
    is_colour,
    load_judge,
    train_attribute_judge,
)


def train(dataset: Path, out: Path, **options: Any) -> AttributeJudge:
    options = {"minutes": 0, "size": 32, "steps": 60, "batch": 16, "learning_rate": 5e-3, **options}
    return train_attribute_judge(dataset, out, **options)


def test_learns_colours_of_parts_from_renders_alone(squares: Path, tmp_path: Path) -> None:
    judge = train(squares, tmp_path / "judge")
    facts = json.loads((tmp_path / "judge" / "judge.json").read_text())["facts"]
    assert facts["steps"] == 60
    assert facts["train_images"] == 48
    assert facts["test_accuracy"]["head"]["count"] == 16
    assert list(judge.attributes) == ["head", "tail"], "an attribute of one value cannot be judged"
    data = PreparedDataset.open(squares)
    items = data.split("test")
    images = load_images(data, items, 64)
    named = [item.caption_attributes[1] for item in items]
    rates, counts = attribute_accuracy(load_judge(tmp_path / "judge"), images, named)
    assert sum(count["count"] for count in counts.values()) == 32
    assert rates["asked_colours"] > 0.8
    upside_down, _ = attribute_accuracy(judge, images.flip(2), named)
    assert upside_down["asked_colours"] < 0.6, "a colour on the wrong part is not found"


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


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("steps", 0),
        ("steps", -1),
        ("batch", 0),
        ("size", 0),
        ("seed", -1),
        ("minutes", float("nan")),
        ("learning_rate", float("nan")),
        ("learning_rate", -1.0),
    ],
)
def test_numbers_that_train_nothing_are_refused(
    squares: Path, tmp_path: Path, name: str, number: float
) -> None:
    with pytest.raises(EvaluationError, match=name.replace("_", " ")):
        train_attribute_judge(squares, tmp_path / "judge", **{name: number})
    assert not (tmp_path / "judge").exists()


def test_data_without_attributes_is_refused(squares: Path, tmp_path: Path) -> None:
    bare = Item(id="a", split="train", captions=["a bird"])
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


ATTRIBUTES = {"wing": ("black", "red"), "bars": ("none", "white"), "pose": ("flying", "perched")}


class Oracle(AttributeJudge):
    """Reads each attribute off one pixel: bright is the second value."""

    def forward(self, images: Tensor) -> Tensor:
        bright = images[:, 0, 0, :3] * 4 - 2  # (b, 3)
        return torch.stack([-bright, bright], dim=2)


def pictures(*rows: tuple[int, int, int]) -> Tensor:
    images = torch.zeros(len(rows), 3, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, :3] = 255 * torch.tensor(rows, dtype=torch.uint8)
    return images


def test_colours_are_told_from_other_attributes() -> None:
    assert is_colour(("black", "red"))
    assert is_colour(("none", "white", "yellow"))
    assert not is_colour(("none", "crested"))
    assert not is_colour(("small", "large"))


def test_counts_only_what_the_caption_names() -> None:
    named = [
        {"wing": "red", "pose": "perched"},
        {"wing": "red", "bars": "white"},
        {"pose": "flying", "unknown": "x"},
        {"wing": "turquoise"},
    ]
    rates, counts = attribute_accuracy(
        Oracle(ATTRIBUTES), pictures((1, 0, 1), (1, 0, 0), (0, 0, 1), (1, 1, 1)), named
    )
    assert rates == {
        "asked_colours": 2 / 3,
        "all_colours_right": 1 / 2,
        "most_colours_right": 1 / 2,
        "attributes": 3 / 5,
    }
    assert counts == {
        "bars": {"right": 0, "count": 1, "rate": 0.0},
        "pose": {"right": 1, "count": 2, "rate": 0.5},
        "wing": {"right": 2, "count": 2, "rate": 1.0},
    }


def test_nothing_named_is_not_a_rate() -> None:
    rates, counts = attribute_accuracy(Oracle(ATTRIBUTES), pictures((1, 0, 1)), [{}])
    assert all(math.isnan(rate) for rate in rates.values())
    assert counts == {}


def test_log_odds_equal_a_loop() -> None:
    priors = {"wing": (0.9, 0.1), "bars": (0.5, 0.5), "pose": (0.2, 0.8)}
    judge = Oracle(ATTRIBUTES, priors=priors)
    images = pictures((1, 0, 1), (0, 1, 0))
    captions = [{"wing": "red"}, {"wing": "black", "pose": "perched"}, {}, {"bars": "white"}]
    parts = caption_log_odds(judge, images, captions)
    found = parts[0] @ parts[1].T
    log_p = judge.log_probabilities(images)
    for i in range(2):
        for j, named in enumerate(captions):
            wanted = 0.0
            for name, value in named.items():
                a, v = list(judge.attributes).index(name), ATTRIBUTES[name].index(value)
                wanted += float(log_p[i, a, v] - torch.tensor(priors[name][v]).log())
            assert float(found[i, j]) == pytest.approx(wanted, abs=1e-5)


def test_unused_values_take_no_probability_or_score() -> None:
    judge = AttributeJudge({"a": ("x", "y", "z"), "b": ("x", "y")}, size=16)
    log_p = judge.log_probabilities(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    assert torch.allclose(log_p.exp().sum(2), torch.ones(2, 2))
    assert log_p[:, 1, 2].exp().eq(0).all()
    odds, _ = caption_log_odds(judge, torch.zeros(2, 3, 16, 16, dtype=torch.uint8), [{"b": "y"}])
    assert odds.isfinite().all()


def test_values_are_collected_from_records() -> None:
    records = [{"a": "y", "b": 1, "c": None, "d": [1]}, {"a": "x", "b": 1, "d": [2]}]
    assert attribute_values(records) == {"a": ("x", "y")}
    assert attribute_values([{"flag": True}, {"flag": False}]) == {"flag": ("False", "True")}
    with pytest.raises(EvaluationError, match="two or more values"):
        AttributeJudge({})


def test_every_parameter_gets_a_gradient() -> None:
    judge = AttributeJudge(ATTRIBUTES, size=16).train()
    logits = judge(torch.rand(4, 3, 20, 20))
    assert logits.shape == (4, 3, 2)
    logits.square().sum().backward()
    for name, parameter in judge.named_parameters():
        assert parameter.grad is not None, name
        # A shift of all places leaves where an attribute looks as it was.
        assert name == "head.look.bias" or bool(parameter.grad.abs().sum() > 0), name


def test_saved_judge_reads_the_same(tmp_path: Path) -> None:
    judge = AttributeJudge(ATTRIBUTES, size=16, priors=dict.fromkeys(ATTRIBUTES, (0.3, 0.7)))
    judge.save(tmp_path, {"steps": 3})
    again = load_judge(tmp_path)
    assert again.attributes == judge.attributes
    assert again.priors == judge.priors
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    found, wanted = again.log_probabilities(images), judge.log_probabilities(images)
    assert torch.allclose(found, wanted, atol=2e-2)
    assert json.loads((tmp_path / "judge.json").read_text())["facts"] == {"steps": 3}


@pytest.mark.parametrize("harm", ["missing", "truncated", "schema", "weights", "absent"])
def test_damaged_judges_are_refused(tmp_path: Path, harm: str) -> None:
    AttributeJudge(ATTRIBUTES, size=16).save(tmp_path, {})
    header, weights = tmp_path / "judge.json", tmp_path / "judge.safetensors"
    if harm == "missing":
        weights.unlink()
    elif harm == "truncated":
        header.write_bytes(header.read_bytes()[:40])
    elif harm == "weights":
        weights.write_bytes(weights.read_bytes()[:-8])
    elif harm == "absent":
        header.unlink()
    else:
        header.write_text(json.dumps({**json.loads(header.read_text()), "schema": "other"}))
    with pytest.raises(EvaluationError):
        load_judge(tmp_path)
