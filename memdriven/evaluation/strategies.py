"""Retrieval alone: how often each strategy finds a fitting neighbour, on unseen captions."""

from __future__ import annotations

from collections.abc import Sequence

from memdriven.errors import EvaluationError
from memdriven.evaluation.measurement import Measurement
from memdriven.evaluation.prompts import Prompt
from memdriven.evaluation.retrieval_recall import KS, attribute_agreement, recall_at_k, share_named
from memdriven.evaluation.workbench import Workbench
from memdriven.memory.bank import BankItem
from memdriven.memory.retrieval import STRATEGIES

SKIPPED = ("oracle", "none")
"""Strategies without a search."""
SEARCHED: tuple[str, ...] = tuple(name for name in STRATEGIES if name not in SKIPPED)
CAPTIONS = 500
"""At most this many captions are searched for."""


def measure_strategy(bench: Workbench, strategy: str) -> list[Measurement]:
    """Return one strategy's Recall@k, and the share of named attributes that its first item has.

    Fitting means the caption's class where the bank holds it, else every named attribute.

    Raises:
        EvaluationError: the captions have neither a class of the bank's nor attributes.
    """
    prompts, bank = bench.prompts[:CAPTIONS], bench.bank
    held = {item.class_name for item in bank.items} - {""}
    of_class = [prompt for prompt in prompts if prompt.item.class_name in held]
    chosen = of_class or [prompt for prompt in prompts if prompt.named]
    if not chosen:
        raise EvaluationError(
            wanted="captions of the bank's classes, or with attributes",
            found="neither",
            fix="leave the measure out, or use a data set that has one of them",
        )
    meaning = "its class" if of_class else "all named attributes"
    protocol = f"{len(chosen)} {bench.split} captions in {bank.n} images; fitting: {meaning}"
    return _measure(bench, chosen, strategy, bool(of_class), protocol)


def _measure(
    bench: Workbench, prompts: Sequence[Prompt], strategy: str, by_class: bool, protocol: str
) -> list[Measurement]:
    """Return one strategy's numbers."""
    k = min(max(KS), bench.bank.n - 1)
    matches = bench.finder.find(prompts, strategy, k, bench.seed)
    ranked = [[bench.bank.item(match.index) for match in found] for found in matches]

    def fits(query: int, item: BankItem) -> bool:
        if by_class:
            return item.class_name == prompts[query].item.class_name
        return share_named(prompts[query].named, item.attributes) == 1.0

    numbers = [
        Measurement(metric=metric, value=value, n=len(prompts), protocol=protocol)
        for metric, value in recall_at_k(ranked, fits).items()
    ]
    if any(prompt.named for prompt in prompts):
        share = attribute_agreement(
            [[item.attributes for item in found] for found in ranked], [prompt.named for prompt in prompts]
        )
        numbers.append(
            Measurement(
                metric="attributes_of_first",
                value=share,
                n=len(prompts),
                protocol="mean share of named attributes in the first neighbour's record",
            )
        )
    return numbers
