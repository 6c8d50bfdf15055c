"""What goes into retrieval and what comes out: queries, matches and their shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from memdriven.encoders.text import TextFeatures
from memdriven.errors import RetrievalError


@dataclass(frozen=True)
class Query:
    """One caption as the encoders see it."""

    text: TextFeatures
    """Embeddings of this caption alone: words (1, t, d), sentence (1, d), mask (1, t)."""
    item_id: str | None = None
    """The bank item that counts as the caption's own, for strategy `oracle`."""
    caption: str = ""
    """The caption itself; by it `oracle` finds the item when there is no `item_id`."""
    words: tuple[str, ...] = ()
    """The words that were encoded, for the word weights of sentence-level strategies."""

    def known_words(self) -> Tensor:
        """Return the embeddings (t, d) of its words, without padding."""
        return self.text.words[0][self.text.mask[0]].float()


@dataclass(frozen=True)
class Match:
    """One neighbour of a query."""

    index: int
    """Row in the bank."""
    id: str
    score: float
    """Of the strategy; controls carry the sentence-sentence score."""
    percentile: float
    """Percentage of the candidates that score lower, in [0, 100)."""
    rank: int
    """1 is the best."""
    weight: float
    """Share of the mixed features; the shares of a list sum to 1."""
    caption_index: int
    """The item's caption that matched best, by its place among the item's captions."""
    word_weights: tuple[float, ...] | None
    """For each word of the query how well it was met: at the word level its highest cosine, else 1
    for a word that is in the matched caption; None where the query does not name its words."""


def shares(weights: Sequence[float], count: int) -> list[float]:
    """Return weights scaled to sum to 1.

    Raises:
        RetrievalError: a weight is negative or not finite, all are zero, or there are not `count`.
    """
    given = [float(weight) for weight in weights]
    total = math.fsum(given) if all(map(math.isfinite, given)) else math.nan
    if len(given) != count or not (total > 0 or count == 0) or any(s < 0 for s in given):
        raise RetrievalError(
            wanted=f"{count} non-negative finite weights, not all of them zero",
            found=repr(given)[:80],
            fix="give one such weight for each neighbour",
        )
    return [share / total for share in given]
