"""Sentence-level comparison of a query with the bank: all of it, or what an Annoy index returns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.errors import BankError, RetrievalError
from memdriven.memory.bank import MemoryBank
from memdriven.memory.index import AnnoyIndex, Index
from memdriven.memory.scores import sentence_scores

LEAST_RECALL = 0.9
"""An index that finds less of what exact search finds is refused."""


class SentenceScores(NamedTuple):
    """Scores of c candidates."""

    items: Tensor
    """(c,) rows of the bank, rising."""
    text: Tensor
    """(c,) sentence-sentence scores."""
    image: Tensor
    """(c,) sentence-image scores."""
    captions: Tensor
    """(c,) row of each candidate's most similar caption."""

    def keep(self, mask: Tensor) -> SentenceScores:
        """Return the candidates where mask (c,) is true."""
        return SentenceScores(*(part[mask] for part in self))


class SentenceLevel:
    """Sentence-level scores of a bank's items; safe to share between threads."""

    def __init__(self, bank: MemoryBank, cache: Path | None = None) -> None:
        """Use the bank's keys.

        Args:
            bank: whose items to score.
            cache: folder where Annoy indices are kept; without it they live in memory.
        """
        self.bank, self.cache = bank, cache
        self._indices: dict[str, Index] = {}
        self._lock = threading.Lock()

    def everything(self, sentence: Tensor) -> SentenceScores:
        """Score every item against s (d,)."""
        return self._score(sentence, torch.arange(self.bank.n))

    def nearest(
        self, sentence: Tensor, least: int, allowed: Tensor, *, text: bool, image: bool
    ) -> SentenceScores:
        """Score the allowed items among those that Annoy finds near s (d,).

        Args:
            sentence: s of the query.
            least: items to find; the search widens until so many are found.
            allowed: (n,) mask of the items that may be returned.
            text: search the captions' keys.
            image: search the images' keys.
        """
        bank = self.bank
        wide = 2 * (least + int((~allowed).sum()))
        while True:
            found = []
            if text:
                rows = self._search("sentence", bank.sentence_keys, sentence, 4 * wide)
                found.append(bank.caption_item[rows])
            if image:
                found.append(self._search("global", bank.global_keys, sentence, wide))
            items = torch.unique(torch.cat(found))
            items = items[allowed[items]]
            if len(items) >= least or wide >= bank.n + bank.sentence_keys.shape[0]:
                return self._score(sentence, items)
            wide *= 2

    def _score(self, sentence: Tensor, items: Tensor) -> SentenceScores:
        bank = self.bank
        keys, owner, rows = bank.sentence_keys, bank.caption_item, None
        if len(items) < bank.n:
            place = torch.full((bank.n,), -1)
            place[items] = torch.arange(len(items))
            rows = (place[owner] >= 0).nonzero()[:, 0]
            keys, owner = keys[rows], place[owner[rows]]
        text, best = sentence_scores(sentence, keys, owner, len(items))
        image = bank.global_keys[items] @ F.normalize(sentence, dim=0)
        return SentenceScores(items, text, image, best if rows is None else rows[best])

    def _search(self, name: str, keys: Tensor, sentence: Tensor, k: int) -> Tensor:
        with self._lock:
            if name not in self._indices:
                self._indices[name] = self._index(name, lambda: build_tuned(keys))
            index = self._indices[name]
        ids, _ = index.search(sentence[None], min(k, len(index)))
        return ids[0]

    def _index(self, name: str, build: Callable[[], AnnoyIndex]) -> AnnoyIndex:
        """Load a kept index of these very keys, or build and keep it.

        Raises:
            RetrievalError: its measured recall is below `LEAST_RECALL`.
        """
        if self.cache is None:
            return build()
        content = str(self.bank.header["files"]["keys.safetensors"]["sha256"])[:12]
        path = self.cache / f"{name}-{content}.annoy"
        try:
            return trusted(AnnoyIndex.load(path))
        except BankError:
            index = build()
            index.save(path)
            return index


def build_tuned(keys: Tensor, recall: float = 0.97) -> AnnoyIndex:
    """Return an Annoy index over keys (n, d) whose effort reaches a measured recall at 10.

    Raises:
        RetrievalError: even its greatest effort finds less than `LEAST_RECALL`.
    """
    index = AnnoyIndex.build(keys)
    index.tune(keys, k=min(10, len(keys)), recall=recall)
    return trusted(index)


def trusted(index: AnnoyIndex) -> AnnoyIndex:
    """Return an index that finds enough.

    Raises:
        RetrievalError: its measured recall is below `LEAST_RECALL`.
    """
    if index.recall < LEAST_RECALL:
        raise RetrievalError(
            wanted=f"{LEAST_RECALL:.0%} or more of the nearest keys from Annoy",
            found=f"{index.recall:.0%}, at its greatest effort",
            fix='use retrieval.index "exact", or install annoy again',
        )
    return index
