from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from memdriven.data.prepared import Item
from memdriven.errors import EvaluationError
from memdriven.evaluation.context import Prompt
from memdriven.evaluation.retrieval import fold_means, measure_retrieval, mismatched_captions, r_precision
from memdriven.evaluation.rows import Row


def table_precision(table: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """R-precision by a table of scores (n images, n captions)."""
    return r_precision(table, torch.eye(table.shape[1]), chosen)


CLASSES = [i % 10 for i in range(300)]
CAPTIONS = [f"caption {i}" for i in range(300)]


def test_mismatched_captions_are_of_other_classes_and_differ() -> None:
    chosen = mismatched_captions(CLASSES, CAPTIONS, seed=3)
    assert chosen.shape == (300, 99)
    for i, row in enumerate(chosen.tolist()):
        assert len(set(row)) == 99
        assert all(CLASSES[j] != CLASSES[i] for j in row)
    assert torch.equal(chosen, mismatched_captions(CLASSES, CAPTIONS, seed=3))
    assert not torch.equal(chosen, mismatched_captions(CLASSES, CAPTIONS, seed=4))


@pytest.mark.parametrize(("pictures", "each"), [(20, 5), (150, 5), (1000, 2)])
def test_captions_of_the_same_picture_are_never_among_the_mismatched(pictures: int, each: int) -> None:
    """A judge that knows which picture a caption is of is right every time."""
    of = torch.arange(pictures).repeat(each)
    captions = [f"caption {i}" for i in range(len(of))]
    chosen = mismatched_captions(of.tolist(), captions)
    assert not (of[chosen] == of[:, None]).any()
    known = torch.nn.functional.one_hot(of, pictures).float()
    assert r_precision(known, known, chosen).mean() == 1


def test_a_caption_of_an_unknown_picture_is_refused() -> None:
    with pytest.raises(EvaluationError, match="class or picture"):
        mismatched_captions([1, 2, None], ["a", "b", "c"])


def test_the_same_words_are_kept_out() -> None:
    captions = ["same words", "Same words.", "same  words!", "same words", "SAME WORDS"] + ["other words"] * 5
    chosen = mismatched_captions(range(10), captions, count=9)
    assert all((i < 5) != (j < 5) for i, row in enumerate(chosen.tolist()) for j in row)


def test_features_that_are_no_numbers_are_not_right() -> None:
    known, chosen = torch.eye(4), mismatched_captions(range(4), list("abcd"), count=3)
    assert r_precision(known, known, chosen).mean() == 1
    with pytest.raises(EvaluationError, match="no numbers"):
        r_precision(known * torch.nan, known, chosen)


def test_captions_of_one_picture_are_refused() -> None:
    with pytest.raises(EvaluationError, match="two pictures"):
        mismatched_captions([1, 1], ["a", "b"])


@pytest.mark.parametrize(("n", "folds"), [(1, 1), (7, 7), (11, 10), (24, 10), (300, 10)])
def test_ten_folds_are_ten_and_of_fewer_images_as_many(n: int, folds: int) -> None:
    assert len(fold_means(torch.rand(n))) == folds


def test_folds_give_the_deviation() -> None:
    assert fold_means(torch.tensor([1.0] * 10 + [0.0] * 10), 2).tolist() == [1, 0]


def test_perfect_features_score_one_and_wrong_ones_zero() -> None:
    e = torch.eye(300)
    chosen = mismatched_captions(CLASSES, CAPTIONS)
    assert r_precision(e, e, chosen).mean() == 1
    assert table_precision(-e, chosen).mean() == 0


def test_random_features_score_one_in_a_hundred() -> None:
    images, captions = torch.randn(2, 3000, 8, generator=torch.Generator().manual_seed(0))
    chosen = mismatched_captions(CLASSES, CAPTIONS).repeat(10, 1)
    assert float(r_precision(images, captions, chosen).mean()) == pytest.approx(0.01, abs=0.006)


def test_ties_count_as_a_draw() -> None:
    chosen = mismatched_captions(CLASSES, CAPTIONS)
    assert table_precision(torch.zeros(300, 300), chosen).tolist() == pytest.approx([0.01] * 300)


@pytest.mark.parametrize(
    ("classes", "named", "meaning"), [(2, {}, "class"), (1, {"wing": "red"}, "attributes")]
)
def test_a_bank_of_one_class_is_measured_by_attributes(
    classes: int, named: dict[str, str], meaning: str
) -> None:
    found = measure_retrieval(_context(classes, named), Row(name="strategy random", strategy="random"))
    assert meaning in found[0].protocol
    assert found[0].value == (1.0 if classes == 2 else 0.0)


def test_a_bank_of_one_class_without_attributes_is_refused() -> None:
    with pytest.raises(EvaluationError, match="at least two"):
        measure_retrieval(_context(1, {}), Row(name="strategy random", strategy="random"))


def test_depths_beyond_half_of_the_bank_are_left_out_and_chance_is_recorded() -> None:
    for classes, depths in ((2, ["recall@1"]), (9, ["recall@1", "recall@5"])):
        found = measure_retrieval(_context(classes, {}), Row(name="strategy random", strategy="random"))
        assert [number.metric for number in found] == depths
        assert found[0].details == {"chance": round(1 / (classes + 1), 4)}


def _context(classes: int, named: dict[str, str]) -> Any:
    """A memory of classes 0, 1, ... whose first item is always found."""
    items = [
        SimpleNamespace(class_name=f"class {i}", attributes={"wing": "blue"}) for i in range(classes)
    ] + [SimpleNamespace(class_name="", attributes={})]
    item = Item(id="x", split="test", class_name="class 0", captions=("a bird",))
    return SimpleNamespace(
        prompts=[Prompt(item=item, caption="a bird", named=named)],
        bank=SimpleNamespace(items=items, n=len(items), item=items.__getitem__, index_of=int),
        pipe=SimpleNamespace(retrieve=lambda request: SimpleNamespace(ids=("0",))),
        request=lambda prompt, seed, **fields: None,
        split="test",
        seed=0,
    )
