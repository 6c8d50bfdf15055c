from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memdriven.explore.named import carries
from memdriven.memory.bank import BankItem
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import state
from memdriven.ui.cards import memory_panel

SHIPPED = Path(__file__).parents[2] / "checkpoints" / "aviary"


@pytest.fixture(scope="module")
def aviary() -> Iterator[MemoryDrivenPipeline]:
    pipe = MemoryDrivenPipeline.from_pretrained(SHIPPED)
    state.use(pipe)
    yield pipe
    state.use(pipe)


def bird(**attributes: str) -> BankItem:
    return BankItem(id="x", captions=("a bird",), class_name="", attributes=attributes)


def test_named_things_are_counted_by_an_items_own_attributes(aviary: MemoryDrivenPipeline) -> None:
    caption = "a bird with a red crown and black wings and a white belly"
    assert carries(aviary, caption, bird(crown="red", wing="black", belly="grey", tail="white")) == (2, 3)
    assert carries(aviary, caption, bird(crown="blue", wing="grey", belly="grey")) == (0, 3)
    assert carries(aviary, caption, bird()) is None
    assert carries(aviary, "a bird", bird(crown="red")) is None


def test_a_card_says_how_much_of_what_is_named_it_has(aviary: MemoryDrivenPipeline) -> None:
    caption = "a yellow bird with a black head"
    retrieval = aviary.retrieve(caption, k=1)
    has = carries(aviary, caption, aviary.bank.item(aviary.bank.index_of(retrieval.ids[0])))
    assert has is not None
    assert f"has {has[0]} of the {has[1]} things you named" in memory_panel(retrieval)
    assert "of the memory" not in memory_panel(retrieval)
