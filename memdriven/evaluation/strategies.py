"""Retrieval alone: how often each strategy finds a fitting neighbour, on unseen captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from memdriven.config import Strategy
from memdriven.evaluation.measures import Measurement
from memdriven.evaluation.retrieval_recall import (
    KS,
    attribute_agreement,
    recall_at_k,
    share_named,
)
from memdriven.evaluation.workbench import Workbench
from memdriven.memory.bank import BankItem

SKIPPED = ("oracle", "none")
"""Strategies without a search."""
CAPTIONS = 500
"""At most this many captions are searched for."""


def measure_strategies(bench: Workbench) -> Iterator[tuple[str, Measurement]]:
    """Yield (row, number) for every strategy: Recall@k, and the share of named attributes found.

    Fitting means the caption's class where the bank holds it, else every named attribute.
    """
    prompts = bench.prompts[:CAPTIONS]
    bank = bench.bank
    held = {bank.item(i).class_name for i in range(bank.n)} - {""}
    by_class = [prompt for prompt in prompts if prompt.item.class_name in held]
    by_attributes = [prompt for prompt in prompts if prompt.named]
    for strategy in get_args(Strategy):
        if strategy in SKIPPED:
            continue
        chosen = by_class or by_attributes
        if not chosen:
            return
        k = min(max(KS), bank.n - 1)
        matches = bench.painter.neighbours(chosen, strategy, k, bench.seed)
        ranked = [[bank.item(match.index) for match in found] for found in matches]

        def fits(query: int, item: BankItem, chosen: Any = chosen) -> bool:
            if by_class:
                return bool(item.class_name == chosen[query].item.class_name)
            return share_named(chosen[query].named, _record(item)) == 1.0

        meaning = "class" if by_class else "all named attributes"
        protocol = f"neighbours of {len(chosen)} {bench.split} captions in {bank.n}; fit: {meaning}"
        row = f"strategy {strategy}"
        for metric, value in recall_at_k(ranked, fits).items():
            yield row, Measurement(metric=metric, value=value, n=len(chosen), protocol=protocol)
        if all(prompt.named for prompt in chosen):
            records = [[_record(item) for item in found] for found in ranked]
            share = attribute_agreement(records, [prompt.named for prompt in chosen])
            yield row, Measurement(
                metric="attributes_of_first", value=share, n=len(chosen),
                protocol="mean share of named attributes in the first neighbour's record",
            )  # fmt: skip


def _record(item: BankItem) -> Mapping[str, Any]:
    return item.attributes or {}
