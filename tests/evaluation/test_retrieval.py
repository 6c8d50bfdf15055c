from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from memdriven.data.prepared import Item
from memdriven.errors import EvaluationError
from memdriven.evaluation.context import Prompt
from memdriven.evaluation.retrieval import measure_retrieval
from memdriven.evaluation.rows import Row


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
        progress=False,
    )
