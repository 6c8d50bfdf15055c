from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from memdriven.data.prepared import Item
from memdriven.errors import EvaluationError
from memdriven.evaluation.context import Prompt
from memdriven.evaluation.retrieval import attribute_agreement, measure_strategy, recall_at_k, share_named


def test_recall_counts_queries_with_a_hit_among_the_first_k() -> None:
    ranked = [["a", "b", "c"], ["b", "a", "c"], ["c", "b", "x"], ["x", "x", "x"]]
    found = recall_at_k(ranked, lambda _, match: match == "a", ks=(1, 2, 3))
    assert found == {"recall@1": 0.25, "recall@2": 0.5, "recall@3": 0.5}


def test_fit_may_depend_on_the_query() -> None:
    assert recall_at_k([["a"], ["b"]], lambda i, match: match == "ab"[i], ks=(1,)) == {"recall@1": 1}


def test_no_queries_are_refused() -> None:
    with pytest.raises(EvaluationError):
        recall_at_k([], lambda _, __: True)


def test_share_of_named_attributes() -> None:
    assert share_named({}, {"wing": "red"}) is None
    assert share_named({"wing": "red", "tail": "blue"}, {"wing": "red"}) == 0.5
    ranked = [[{"wing": "red"}, {"wing": "blue"}], [{"wing": "blue"}], [{"wing": "blue"}]]
    assert attribute_agreement(ranked, [{"wing": "red"}, {"wing": "red"}, {}]) == 0.5
    with pytest.raises(EvaluationError):
        attribute_agreement([[{}]], [{}])


@pytest.mark.parametrize(
    ("classes", "named", "meaning"), [(2, {}, "class"), (1, {"wing": "red"}, "attributes")]
)
def test_a_bank_of_one_class_is_measured_by_attributes(
    classes: int, named: dict[str, str], meaning: str
) -> None:
    found = measure_strategy(_context(classes, named), "random")
    assert meaning in found[0].protocol
    assert found[0].value == (1.0 if classes == 2 else 0.0)


def test_a_bank_of_one_class_without_attributes_is_refused() -> None:
    with pytest.raises(EvaluationError, match="at least two"):
        measure_strategy(_context(1, {}), "random")


def test_depths_beyond_half_of_the_bank_are_left_out_and_chance_is_recorded() -> None:
    for classes, depths in ((2, ["recall@1"]), (9, ["recall@1", "recall@5"])):
        found = measure_strategy(_context(classes, {}), "random")
        assert [number.metric for number in found] == depths
        assert found[0].details == {"chance": round(1 / (classes + 1), 4)}


def _context(classes: int, named: dict[str, str]) -> Any:
    """A memory of classes 0, 1, ... whose first item is always found."""
    items = [
        SimpleNamespace(class_name=f"class {i}", attributes={"wing": "blue"}) for i in range(classes)
    ] + [SimpleNamespace(class_name="", attributes={})]
    item = Item("x", "x.webp", "test", 0, "class 0", ("a bird",))
    return SimpleNamespace(
        prompts=[Prompt(item=item, caption="a bird", named=named)],
        bank=SimpleNamespace(items=items, n=len(items), item=items.__getitem__, index_of=int),
        pipe=SimpleNamespace(retrieve=lambda request: SimpleNamespace(ids=("0",))),
        request=lambda prompt, seed, **fields: None,
        split="test",
        seed=0,
        progress=False,
    )
