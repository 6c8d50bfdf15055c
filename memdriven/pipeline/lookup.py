"""From a caption, or from ids that the caller chose, to neighbours with all there is to tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from memdriven.checkpoint import Checkpoint
from memdriven.encoders.text import TextFeatures
from memdriven.errors import RetrievalError
from memdriven.memory import codec, scores
from memdriven.memory.bank import MemoryBank
from memdriven.memory.matches import Match, Query, shares
from memdriven.memory.retrieval import Retriever
from memdriven.pipeline.guidance import MemoryWords
from memdriven.pipeline.output import Clock, Neighbour, Retrieval
from memdriven.pipeline.recipe import MAX_K, PRIVATE, STRATEGIES
from memdriven.pipeline.recipe_fields import check_guidance, check_memory, is_whole, sums_to_one


@dataclass(frozen=True, kw_only=True)
class Guest:
    """An image of the caller's own that stands beside the bank for this caller alone."""

    id: str
    """Starts with `PRIVATE`."""
    image: Image.Image
    caption: str
    features: bytes
    """Its v, compressed as in a feature store."""
    shape: tuple[int, int, int]
    """Of v (c, h, w)."""

    def v(self) -> Tensor:
        """Return image features (c, h, w), float32."""
        return torch.from_numpy(np.array(codec.decode(self.features, self.shape)))


class Lookup:
    """Reads captions with a checkpoint's encoders and finds their neighbours in its bank."""

    def __init__(self, checkpoint: Checkpoint, bank: MemoryBank) -> None:
        self.config = checkpoint.config
        self.vocabulary, self.damsm, self.bank = checkpoint.vocabulary, checkpoint.damsm, bank
        self.retriever = Retriever(bank, self.damsm, self.vocabulary, self.config.retrieval)
        self.encode = checkpoint.encode_captions
        self.memory_words = MemoryWords(bank, self.encode, self.vocabulary, self.config.text.max_words)

    def find(
        self,
        caption: str,
        strategy: str | None,
        k: int | None,
        seed: int,
        neighbours: Sequence[str] | None,
        weights: Sequence[float] | None,
        exclude: Sequence[str],
        oracle_id: str | None,
        guests: Sequence[Guest] = (),
    ) -> tuple[Retrieval, TextFeatures]:
        """Return a caption's neighbours, and its embeddings.

        The arguments are those of `MemoryDrivenPipeline.__call__`; `seed` is that of strategy
        `random`.
        """
        settings = self.config.retrieval
        strategy = settings.strategy if strategy is None else strategy
        if strategy not in STRATEGIES:
            raise RetrievalError(
                wanted="a strategy: " + ", ".join(STRATEGIES),
                found=repr(strategy)[:80],
                fix="choose one of these",
            )
        clock = Clock()
        encoded = self.vocabulary.encode(caption, self.config.text.max_words)
        with torch.inference_mode():
            text = self.encode([encoded])
        clock.lap("encode")
        if neighbours is None:
            if weights is not None:
                raise RetrievalError(
                    wanted="weights beside the neighbours they belong to",
                    found="weights alone",
                    fix="pass both",
                )
            k = _count(settings.k if k is None else k)
            query = Query(text, oracle_id, caption, tuple(encoded.words))
            matches = self.retriever.retrieve(query, strategy, k, exclude, seed)
            found = tuple(self._neighbour(match, encoded.words) for match in matches)
        else:
            found = self.given(neighbours, weights, guests)
            k = max(1, len(found)) if k is None else _count(k)
        clock.lap("retrieve")
        retrieval = Retrieval(
            caption=caption,
            strategy=strategy,
            k=k,
            neighbours=found,
            words=tuple(encoded.words),
            unknown_words=encoded.unknown,
            truncated=encoded.truncated,
            timings=clock.timings,
        )
        return retrieval, text

    def _neighbour(self, match: Match, words: Sequence[str]) -> Neighbour:
        item = self.bank.item(match.index)
        met = None
        if match.word_weights is not None:
            met = dict(zip(words, match.word_weights, strict=True))
        return Neighbour(
            id=match.id,
            image=self.bank.thumbnail(match.index),
            rank=match.rank,
            caption=item.captions[match.caption_index],
            weight=match.weight,
            score=match.score,
            percentile=match.percentile,
            word_weights=met,
            class_name=item.class_name,
            webp=self.bank.thumbnail_bytes(match.index),
        )

    def given(
        self, ids: Sequence[str], weights: Sequence[float] | None, guests: Sequence[Guest] = ()
    ) -> tuple[Neighbour, ...]:
        """Return neighbours that the caller chose, best first as given.

        Raises:
            RetrievalError: an id is unknown or given twice, or a weight is none.
        """
        if isinstance(ids, str) or len(set(ids)) != len(ids):
            raise RetrievalError(
                wanted="a list of ids, each once",
                found=repr(ids)[:80],
                fix="raise a neighbour's weight instead",
            )
        parts = [1.0] * len(ids) if weights is None else [float(weight) for weight in weights]
        # A recipe's shares are kept to the last bit, so that its pixels are too.
        if not (weights and len(parts) == len(ids) and sums_to_one(parts)):
            parts = shares(parts, len(ids))
        found, own = [], {guest.id: guest for guest in guests}
        for rank, (each, weight) in enumerate(zip(ids, parts, strict=True), start=1):
            if each in own:
                found.append(
                    Neighbour(
                        id=each, image=own[each].image, caption=own[each].caption, rank=rank, weight=weight
                    )
                )
                continue
            index = self._row(each)
            item = self.bank.item(index)
            found.append(
                Neighbour(
                    id=each,
                    image=self.bank.thumbnail(index),
                    caption=item.captions[0],
                    rank=rank,
                    weight=weight,
                    class_name=item.class_name,
                    webp=self.bank.thumbnail_bytes(index),
                )
            )
        return tuple(found)

    def features(self, retrieval: Retrieval, guests: Sequence[Guest] = (), memory: float = 1.0) -> Tensor:
        """Return the neighbours' mixed v times `memory` (1, c, h, w), on the CPU.

        It is zero without neighbours.

        Raises:
            ConfigError: `memory` is no number in 0..1.
        """
        check_memory(memory)
        own = {guest.id: guest for guest in guests}
        if own.keys().isdisjoint(retrieval.ids):
            return self.retriever.mix(retrieval.ids, retrieval.weights) * memory
        mixed = torch.zeros(1, *self.bank.features.shape)
        for each, weight in zip(retrieval.ids, retrieval.weights, strict=True):
            mixed[0] += weight * (own[each].v() if each in own else self.bank.v(self._row(each)))
        return mixed * memory

    def guided(
        self, text: TextFeatures, retrieval: Retrieval, guidance: float | None, memory: float = 1.0
    ) -> TextFeatures:
        """Return the text as G is to read it beside these neighbours; see `memdriven.pipeline.guidance`.

        A memory used in part is argued with in part; the caller's own images say nothing.

        Raises:
            ConfigError: `guidance` is no number in 0..`MAX_GUIDANCE`, or `memory` none in 0..1.
        """
        strength = self.config.generator.guidance if guidance is None else guidance
        check_guidance(strength)
        check_memory(memory)
        own = [n for n in retrieval if not n.id.startswith(PRIVATE) or n.id in self.bank.ids]
        rows = [self._row(neighbour.id) for neighbour in own]
        shares_ = [neighbour.weight for neighbour in own]
        return self.memory_words.guided(text, rows, shares_, strength * memory)

    @torch.inference_mode()
    def alike(
        self, item: str, count: int, exclude: Sequence[str] = (), guests: Sequence[Guest] = ()
    ) -> tuple[Neighbour, ...]:
        """Return the bank's images nearest to an image, itself first: cosine of their global keys.

        Raises:
            RetrievalError: an id is neither in the bank nor among the guests.
        """
        own = {guest.id: guest for guest in guests}
        if item in own:
            heads = self.damsm.heads(own[item].v()[None].to(self.damsm.device))
            key = torch.nn.functional.normalize(heads.global_[0].float().cpu(), dim=0)
        else:
            key = self.bank.global_keys[self._row(item)]
        likeness = self.bank.global_keys @ key  # (n,)
        percentiles = scores.percentiles(likeness)
        likeness[[self._row(each) for each in exclude if each not in own]] = -torch.inf
        rows = scores.top(likeness, min(count, self.bank.n - len(exclude)))
        weights = scores.softmax_weights(likeness[rows], self.config.retrieval.temperature)
        found = self.given([self.bank.ids[row] for row in rows.tolist()], weights.tolist())
        return tuple(
            replace(neighbour, score=float(likeness[row]), percentile=float(percentiles[row]))
            for neighbour, row in zip(found, rows.tolist(), strict=True)
        )

    def _row(self, item: str) -> int:
        if item.startswith(PRIVATE) and item not in self.bank.ids:
            raise RetrievalError(
                wanted="an image of the memory, or an own image of this tab",
                found="a private image that is not here",
                fix="add that image as your own again: the same file gets the same name",
            )
        return self.bank.index_of(item)


def _count(k: object) -> int:
    if not is_whole(k) or not 1 <= k <= MAX_K:
        raise RetrievalError(
            wanted=f"k: a whole number in 1..{MAX_K}",
            found=repr(k)[:80],
            fix="ask for another number of neighbours",
        )
    return k
