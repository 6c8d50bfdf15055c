"""From a caption to its neighbours in the memory bank, and to their mixed features v (Sec. 3.2).

`ranking` says which items are candidates and how well they fit; percentiles are over these.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from memdriven.config import RetrievalConfig, Strategy
from memdriven.data.vocabulary import Vocabulary, tokenize
from memdriven.encoders.damsm import Damsm
from memdriven.errors import BankError, RetrievalError
from memdriven.memory import scores as score
from memdriven.memory.bank import MemoryBank
from memdriven.memory.matches import Match, Query, shares
from memdriven.memory.ranking import WORD_LEVEL, Ranker, Ranking
from memdriven.memory.word_level import CACHED_CAPTIONS, CACHED_IMAGES

STRATEGIES: tuple[str, ...] = get_args(Strategy)
__all__ = ["STRATEGIES", "Match", "Query", "Retriever"]


class Retriever:
    """Finds and mixes the neighbours of captions; safe to share between threads."""

    def __init__(
        self,
        bank: MemoryBank,
        damsm: Damsm,
        vocabulary: Vocabulary,
        config: RetrievalConfig | None = None,
        *,
        index_cache: Path | None = None,
        cached_captions: int = CACHED_CAPTIONS,
        cached_images: int = CACHED_IMAGES,
    ) -> None:
        """Tie a bank to the encoders that made its keys.

        Args:
            bank: an open memory bank.
            damsm: its encoders, in evaluation mode.
            vocabulary: theirs.
            config: defaults of `retrieve`.
            index_cache: folder where Annoy indices are kept between runs.
            cached_captions: how many captions' words stay in memory for word-level strategies.
            cached_images: how many images' regions stay.

        Raises:
            BankError: the encoders have another width than the bank's keys.
        """
        width = 2 * damsm.text.lstm.hidden_size
        if bank.sentence_keys.shape[1] != width:
            raise BankError(
                wanted=f"a bank with keys of width {width}",
                found=f"width {bank.sentence_keys.shape[1]}",
                fix="build the bank with these encoders",
            )
        self.bank, self.damsm, self.vocabulary = bank, damsm, vocabulary
        self.config = config or RetrievalConfig()
        self._ranker = Ranker(bank, damsm, vocabulary, index_cache, cached_captions, cached_images)
        self._own: dict[str, int] = {}

    @torch.no_grad()
    def query(self, caption: str, item_id: str | None = None) -> Query:
        """Encode a caption.

        Raises:
            CaptionError: it is empty, too long, or has no known word.
        """
        encoded = self.vocabulary.encode(caption, self.bank.max_words)
        text = self.damsm.encode_captions([encoded])
        return Query(text, item_id, caption, tuple(encoded.words))

    @torch.no_grad()
    def retrieve(
        self,
        caption: str | Query,
        strategy: str | None = None,
        k: int | None = None,
        exclude: Sequence[str] = (),
        seed: int | None = None,
        config: RetrievalConfig | None = None,
    ) -> list[Match]:
        """Return the k nearest items of a caption, each image once, best first.

        `none` has no neighbours and `oracle` one, whatever k. `random` depends on the seed, and on
        what is excluded, alone.

        Args:
            caption: text, or a query that was encoded before.
            strategy: one of the ten of `STRATEGIES`; the config's by default.
            k: how many; the config's by default.
            exclude: ids that must not be returned, e.g. the caption's own image.
            seed: of strategy `random`; 0 by default.
            config: settings in place of the retriever's.

        Raises:
            CaptionError: the caption cannot be encoded.
            RetrievalError: an unknown strategy or id, a k that the bank cannot serve, or an
                `oracle` that has no image.
        """
        config = config or self.config
        strategy = config.strategy if strategy is None else strategy
        if strategy not in STRATEGIES:
            raise RetrievalError(
                wanted="a strategy: " + ", ".join(STRATEGIES),
                found=repr(strategy)[:80],
                fix="choose one of these",
            )
        allowed = torch.ones(self.bank.n, dtype=torch.bool)
        allowed[[self.bank.index_of(item_id) for item_id in exclude]] = False
        k = self._checked_k(config.k if k is None else k, int(allowed.sum()))
        query = self.query(caption) if isinstance(caption, str) else caption
        if strategy == "none":
            return []
        ranking = self._ranker.rank(query, strategy, k, allowed, config)
        if strategy == "oracle":
            places = self._own_place(query, ranking)
        elif strategy == "random":
            generator = torch.Generator().manual_seed(seed or 0)
            places = torch.randperm(len(ranking.items), generator=generator)[:k]
        else:
            places = score.top(ranking.scores, k)
        weights = score.softmax_weights(ranking.scores[places], config.temperature)
        if strategy == "random":
            weights = torch.full_like(weights, 1 / len(weights))
        percentiles = score.percentiles(ranking.scores)
        return [
            self._match(query, strategy, ranking, place, rank, float(weight), float(percentiles[place]))
            for rank, (place, weight) in enumerate(zip(places.tolist(), weights, strict=True), 1)
        ]

    @torch.no_grad()
    def mix(
        self, neighbours: Sequence[Match] | Sequence[str], weights: Sequence[float] | None = None
    ) -> Tensor:
        """Return the weighted sum of the neighbours' v, (1, c, h, w) float32 on the CPU.

        Without neighbours (strategy `none`) it is zero.

        Args:
            neighbours: matches, or ids of bank items.
            weights: non-negative shares, scaled to sum to 1; by default the matches' own, or equal
                ones for ids.

        Raises:
            RetrievalError: an unknown id, or weights that are negative, not finite, all zero, or
                not one for each neighbour.
        """
        mixed = torch.zeros(1, *self.bank.features.shape)
        rows = [self.bank.index_of(n.id if isinstance(n, Match) else n) for n in neighbours]
        if weights is None:
            weights = [n.weight if isinstance(n, Match) else 1.0 for n in neighbours]
        for row, share in zip(rows, shares(weights, len(rows)), strict=True):
            mixed[0] += share * self.bank.v(row)
        return mixed

    def _own_place(self, query: Query, ranking: Ranking) -> Tensor:
        """Return where the query's own item stands in a ranking, (1,)."""
        if query.item_id is not None:
            row = self.bank.index_of(query.item_id)
        else:
            if not self._own:
                self._own = {
                    _normal(self.bank.caption(row)): int(self.bank.caption_item[row])
                    for row in reversed(range(len(self.bank.caption_item)))
                }
            found = self._own.get(_normal(query.caption))
            if found is None:
                raise RetrievalError(
                    wanted="for `oracle`, a caption of an image in the bank, or that image's id",
                    found=repr(query.caption)[:80],
                    fix="use one of the bank's own captions, or another strategy",
                )
            row = found
        place = (ranking.items == row).nonzero()[:, 0]
        if len(place) == 0:
            raise RetrievalError(
                wanted="for `oracle`, the caption's own image",
                found=f"{self.bank.ids[row]!r} among the excluded ids",
                fix="do not exclude it",
            )
        return place

    def _match(
        self,
        query: Query,
        strategy: str,
        ranking: Ranking,
        place: int,
        rank: int,
        weight: float,
        percentile: float,
    ) -> Match:
        index, row = int(ranking.items[place]), int(ranking.captions[place])
        return Match(
            index=index,
            id=self.bank.ids[index],
            score=float(ranking.scores[place]),
            percentile=percentile,
            rank=rank,
            weight=weight,
            caption_index=row - self.bank.caption_rows(index).start,
            word_weights=self._word_weights(query, strategy, index, row),
        )

    def _word_weights(self, query: Query, strategy: str, index: int, row: int) -> tuple[float, ...] | None:
        if strategy not in WORD_LEVEL:
            if not query.words:
                return None
            said = set(tokenize(self.bank.caption(row)))
            return tuple(float(word in said) for word in query.words)
        words, parts = query.known_words(), []
        if strategy != "words-image":
            parts.append(self._ranker.words.caption_matches(words, row))
        if strategy != "words-words":
            parts.append(self._ranker.words.image_matches(words, index))
        return tuple(torch.stack(parts).mean(dim=0).clamp(0, 1).tolist())

    def _checked_k(self, k: int, available: int) -> int:
        if type(k) is not int or not 1 <= k <= available:
            raise RetrievalError(
                wanted=f"k in 1..{available} ({self.bank.n} items, less those excluded)",
                found=repr(k)[:80],
                fix="ask for fewer neighbours",
            )
        return k


def _normal(caption: str) -> str:
    return " ".join(caption.split()).casefold()
