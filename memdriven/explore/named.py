"""How many of the things that a caption names an item of the memory has, by the item's own attributes."""

from __future__ import annotations

from memdriven.memory.bank import BankItem
from memdriven.pipeline.claims import named_in
from memdriven.pipeline.pipeline import MemoryDrivenPipeline


def carries(pipe: MemoryDrivenPipeline, caption: str, item: BankItem) -> tuple[int, int] | None:
    """Return how many of the named things an item has, and how many are named.

    None where the caption names none, or nothing is known of the item's attributes.
    """
    named = [
        (name, value) for name, value in named_in(pipe.checkpoint, caption).claims if name in item.attributes
    ]
    if not named:
        return None
    return sum(item.attributes[name] == value for name, value in named), len(named)
