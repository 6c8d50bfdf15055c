"""Recall@k of retrieval: does a caption find a fitting reference among its first k, by each strategy?

Two meanings of fitting: the reference is of the caption's class (captions of the bank's own classes, their
own image left out), or it has every attribute that the caption names. The second also works for unseen
species, whose classes the bank does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from memdriven.errors import EvaluationError
from memdriven.evaluation.context import Context
from memdriven.evaluation.results import Measurement
from memdriven.memory.bank import BankItem
from memdriven.memory.retrieval import STRATEGIES

KS = (1, 5, 10)

Ranked = Sequence[Sequence[Any]]
"""Neighbours by query, best first."""


def recall_at_k(ranked: Ranked, fits: Callable[[int, Any], bool], ks: Sequence[int] = KS) -> dict[str, float]:
    """Return `recall@k`: the share of queries with a fitting neighbour among the first k.

    Args:
        ranked: neighbours by query, best first, max(ks) each or as many as there are.
        fits: whether a neighbour fits a query, by the query's place.
        ks: the depths.

    Raises:
        EvaluationError: there are no queries.
    """
    if not ranked:
        raise EvaluationError(
            wanted="captions to retrieve for", found="none", fix="choose a split that holds captions"
        )
    first = [
        next((rank for rank, match in enumerate(found) if fits(i, match)), None)
        for i, found in enumerate(ranked)
    ]
    return {f"recall@{k}": sum(rank is not None and rank < k for rank in first) / len(first) for k in ks}


def share_named(named: Mapping[str, Any], found: Mapping[str, Any]) -> float | None:
    """Return the share of a caption's named attributes that an item has; None if it names none."""
    if not named:
        return None
    return sum(bool(found.get(name) == value) for name, value in named.items()) / len(named)


def attribute_agreement(
    ranked: Sequence[Sequence[Mapping[str, Any]]], named: Sequence[Mapping[str, Any]]
) -> float:
    """Return the mean share of named attributes that the first neighbour has.

    Args:
        ranked: the neighbours' attribute records by query, best first.
        named: what each query's caption names.

    Raises:
        EvaluationError: no caption names an attribute.
    """
    shares = [
        share
        for found, wanted in zip(ranked, named, strict=True)
        if found and (share := share_named(wanted, found[0])) is not None
    ]
    if not shares:
        raise EvaluationError(
            wanted="captions that name attributes", found="none", fix="use a data set with attribute records"
        )
    return sum(shares) / len(shares)


SKIPPED = ("oracle", "none")
"""Strategies without a search."""
SEARCHED: tuple[str, ...] = tuple(name for name in STRATEGIES if name not in SKIPPED)
CAPTIONS = 500
"""At most this many captions are searched for."""


def measure_strategy(context: Context, strategy: str) -> list[Measurement]:
    """Return one strategy's Recall@k, and the share of named attributes that its first item has.

    Fitting means the caption's class where the bank holds it among others, else every named attribute.

    A depth of more than half of the bank is left out; what chance would find is in the details.

    Raises:
        EvaluationError: the captions have neither a class of the bank's nor attributes; of a bank of one
            class everything would be found.
    """
    prompts, bank = context.prompts[:CAPTIONS], context.bank
    classes = {item.class_name for item in bank.items} - {""}
    of_class = [prompt for prompt in prompts if prompt.item.class_name in classes and len(classes) > 1]
    chosen = of_class or [prompt for prompt in prompts if prompt.named]
    if not chosen:
        raise EvaluationError(
            wanted="captions of the bank's classes, at least two, or with attributes",
            found=f"{len(classes)} classes in the bank, and no attributes named",
            fix="leave the measure out, or use a data set that has one of them",
        )
    meaning = "its class" if of_class else "all named attributes"
    protocol = f"{len(chosen)} {context.split} captions in {bank.n} images; fitting: {meaning}"
    depths = [k for k in KS if 2 * k <= bank.n]
    if not depths:
        raise EvaluationError(
            wanted="a bank of two images or more", found=str(bank.n), fix="leave the measure out"
        )
    ranked, k = [], max(depths)
    for i, prompt in enumerate(tqdm(chosen, desc=f"retrieval ({strategy})", disable=not context.progress)):
        found = context.pipe.retrieve(context.request(prompt, context.seed + i, strategy=strategy, k=k))
        ranked.append([bank.item(bank.index_of(each)) for each in found.ids])

    def fits(query: int, item: BankItem) -> bool:
        if of_class:
            return item.class_name == chosen[query].item.class_name
        return share_named(chosen[query].named, item.attributes) == 1.0

    chance = sum(fits(i, item) for i in range(len(chosen)) for item in bank.items) / len(chosen) / bank.n
    numbers = [
        Measurement(
            metric=metric,
            value=value,
            n=len(chosen),
            protocol=protocol,
            details={"chance": round(1 - (1 - chance) ** int(metric.partition("@")[2]), 4)},
        )
        for metric, value in recall_at_k(ranked, fits, depths).items()
    ]
    if any(prompt.named for prompt in chosen):
        records = [[item.attributes for item in found] for found in ranked]
        share = attribute_agreement(records, [prompt.named for prompt in chosen])
        protocol = "mean share of named attributes in the first neighbour's record"
        numbers.append(
            Measurement(metric="attributes_of_first", value=share, n=len(chosen), protocol=protocol)
        )
    return numbers
