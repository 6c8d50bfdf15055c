"""Recall@k of retrieval: does a caption find a fitting neighbour among its first k?

Two meanings of fitting: the neighbour is of the caption's class (captions of the bank's own
classes, their own image left out), or it has every attribute that the caption names. The second
also works for unseen species, whose classes the bank does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from memdriven.errors import EvaluationError

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
