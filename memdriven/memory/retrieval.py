"""From a caption to its neighbours in the memory bank, and to their mixed features v (Sec. 3.2).

`ranking` says which items are candidates and how well they fit; percentiles are over these.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from memdriven.config import RetrievalConfig, Strategy
from memdriven.data.vocabulary import Vocabulary, tokenize
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.text import TextFeatures
from memdriven.errors import BankError, RetrievalError
from memdriven.memory import scores as score
from memdriven.memory.bank import MemoryBank
from memdriven.memory.index import AnnoyIndex, Index, build_tuned, trusted
from memdriven.memory.scores import (
    sentence_scores,
    top,
    word_similarity,
    words_image_scores,
    words_words_scores,
)


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


class LruCache:
    """Tensors by whole-number key; the longest unused go when there are more than `size`.

    Safe to share between threads; two that miss the same key at once both compute it.
    """

    def __init__(self, size: int) -> None:
        """Hold at most `size` tensors."""
        self.size = size
        self._held: OrderedDict[int, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many tensors are held."""
        return len(self._held)

    def fetch(self, keys: Sequence[int], make: Callable[[list[int]], Sequence[Tensor]]) -> list[Tensor]:
        """Return the tensor of each key, computing those that are missing in one call.

        Args:
            keys: what is wanted, in this order, with repetitions if need be.
            make: from missing keys, each once, to their tensors.
        """
        found: dict[int, Tensor] = {}
        with self._lock:
            for key in keys:
                if key in self._held:
                    self._held.move_to_end(key)
                    found[key] = self._held[key]
        missing = list(dict.fromkeys(key for key in keys if key not in found))
        if missing:
            found.update(zip(missing, make(missing), strict=True))
            with self._lock:
                for key in missing:
                    self._held[key] = found[key]
                    self._held.move_to_end(key)
                while len(self._held) > self.size:
                    self._held.popitem(last=False)
        return [found[key] for key in keys]


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


CACHED_CAPTIONS = 8192
"""About 6 kB each: float16 words of 12 x 256."""
CACHED_IMAGES = 1024
"""About 33 kB each: float16 regions of 64 x 256."""
CAPTION_BATCH = 512
CAPTIONS_PER_ITEM = 5
"""Of an item's captions, those nearest at the sentence level are compared word by word."""
IMAGE_BATCH = 16


class WordLevel:
    """Word-level scores of bank items; safe to share between threads."""

    def __init__(
        self,
        bank: MemoryBank,
        damsm: Damsm,
        vocabulary: Vocabulary,
        captions: int = CACHED_CAPTIONS,
        images: int = CACHED_IMAGES,
    ) -> None:
        """Share the parts of a retriever; keep so many captions' words and images' regions."""
        self.bank, self.damsm, self.vocabulary = bank, damsm, vocabulary
        self._words, self._regions = LruCache(captions), LruCache(images)

    def words_words(self, words: Tensor, sentence: Tensor, items: list[int]) -> tuple[Tensor, Tensor]:
        """Score each item by its best caption, among its CAPTIONS_PER_ITEM likeliest ones.

        Args:
            words: e (t, d) of the query.
            sentence: s (d,) of the query.
            items: c rows of the bank.

        Returns:
            scores (c,), and the row of each item's best caption (c,).
        """
        rows = [self._likely(sentence, item) for item in items]
        captions = [row for own in rows for row in own]
        stored, mask = self._caption_words(captions)
        scores = words_words_scores(words.to(self.damsm.device), stored, mask).cpu()  # (m,)
        best, highest = [], []
        for own, part in zip(rows, torch.split(scores, [len(own) for own in rows]), strict=True):
            place = int(part.argmax())
            best.append(own[place])
            highest.append(part[place])
        return torch.stack(highest), torch.tensor(best)

    def words_image(self, words: Tensor, items: list[int]) -> Tensor:
        """Score each item's image: DAMSM's R of e (t, d) with its regions, (c,)."""
        return words_image_scores(words.to(self.damsm.device), self._image_regions(items)).cpu()

    def caption_matches(self, words: Tensor, row: int) -> Tensor:
        """Return for each query word its highest cosine with a word of one caption, (t,)."""
        stored, mask = self._caption_words([row])
        similarity = word_similarity(words.to(stored.device), stored)[0]  # (t, l)
        return similarity.masked_fill(~mask, -1.0).amax(dim=1).cpu()

    def image_matches(self, words: Tensor, item: int) -> Tensor:
        """Return for each query word its highest cosine with a region of one image, (t,)."""
        regions = self._image_regions([item])
        return word_similarity(words.to(regions.device), regions)[0].amax(dim=1).cpu()

    def _likely(self, sentence: Tensor, item: int) -> list[int]:
        """Return the item's captions that are nearest at the sentence level, in bank order."""
        rows = self.bank.caption_rows(item)
        if len(rows) <= CAPTIONS_PER_ITEM:
            return list(rows)
        nearest = top(self.bank.sentence_keys[rows.start : rows.stop] @ sentence, CAPTIONS_PER_ITEM)
        return sorted(rows[place] for place in nearest.tolist())

    def _caption_words(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        """Return word embeddings (m, l, d) of captions and the mask (m, l) of real words."""
        found = self._words.fetch(rows, self._encode)
        mask = pad_sequence([torch.ones(len(e), dtype=torch.bool) for e in found], True)
        device = self.damsm.device
        return pad_sequence(found, True).to(device).float(), mask.to(device)

    def _encode(self, rows: list[int]) -> list[Tensor]:
        captions = [self.vocabulary.encode(self.bank.caption(r), self.bank.max_words) for r in rows]
        order = sorted(range(len(rows)), key=lambda place: len(captions[place].ids))
        made: list[Tensor] = [torch.empty(0)] * len(rows)
        for start in range(0, len(rows), CAPTION_BATCH):  # like lengths together: little padding
            batch = order[start : start + CAPTION_BATCH]
            text = self.damsm.encode_captions([captions[place] for place in batch])
            stored, lengths = text.words.half().cpu(), text.mask.sum(dim=1).tolist()
            for place, words, length in zip(batch, stored, lengths, strict=True):
                made[place] = words[:length].clone()  # (l, d); a view would keep the whole batch
        return made

    def _image_regions(self, items: list[int]) -> Tensor:
        """Return region embeddings (c, r, d)."""
        found = self._regions.fetch(items, self._project)
        return torch.stack(found).to(self.damsm.device).float()

    def _project(self, items: list[int]) -> list[Tensor]:
        made: list[Tensor] = []
        for start in range(0, len(items), IMAGE_BATCH):
            v = torch.stack([self.bank.v(item) for item in items[start : start + IMAGE_BATCH]])
            regions = self.damsm.heads(v.to(self.damsm.device)).regions.half().cpu()  # (b, r, d)
            made.extend(own.clone() for own in regions)  # views would keep the whole batch
        return made


WORD_LEVEL = ("words-words", "words-image", "words-both", "all")


class Ranking(NamedTuple):
    """Candidates of a strategy with their scores, in no order."""

    items: Tensor
    """(c,) rows of the bank."""
    scores: Tensor
    """(c,)."""
    captions: Tensor
    """(c,) row of each candidate's best caption."""


class Ranker:
    """Scores a bank's items for a query; `retrieval.Retriever` picks among them."""

    def __init__(
        self,
        bank: MemoryBank,
        damsm: Damsm,
        vocabulary: Vocabulary,
        index_cache: Path | None,
        cached_captions: int,
        cached_images: int,
    ) -> None:
        self.sentences = SentenceLevel(bank, index_cache)
        self.words = WordLevel(bank, damsm, vocabulary, cached_captions, cached_images)

    def rank(self, query: Query, strategy: str, k: int, allowed: Tensor, config: RetrievalConfig) -> Ranking:
        """Score the allowed candidates of a strategy; controls rank by sentence-sentence."""
        wanted = max(k, config.shortlist)
        found = self._sentence_level(query, strategy, wanted, allowed, config)
        if strategy in ("sentence-image", "words-image"):
            coarse = found.image
        elif strategy in ("sentence-both", "words-both", "all"):
            coarse = score.fuse([found.text], [found.image], config.alpha)
        else:
            coarse = found.text
        if strategy not in WORD_LEVEL:
            return Ranking(found.items, coarse, found.captions)
        short = score.top(coarse, wanted)
        items, captions = found.items[short], found.captions[short]
        words, rows = query.known_words(), items.tolist()
        if strategy == "words-image":
            return Ranking(items, self.words.words_image(words, rows), captions)
        sentence = query.text.sentence[0].float().cpu()
        text, captions = self.words.words_words(words, sentence, rows)
        if strategy == "words-words":
            return Ranking(items, text, captions)
        texts, images = [text], [self.words.words_image(words, rows)]
        if strategy == "all":
            texts.append(found.text[short])
            images.append(found.image[short])
        fused = score.fuse(texts, images, config.alpha)
        return Ranking(items, fused, captions)

    def _sentence_level(
        self, query: Query, strategy: str, least: int, allowed: Tensor, config: RetrievalConfig
    ) -> SentenceScores:
        sentence = query.text.sentence[0].float().cpu()
        if config.index == "exact" or strategy in ("random", "oracle"):
            found = self.sentences.everything(sentence)
            return found.keep(allowed)
        return self.sentences.nearest(
            sentence,
            min(least, int(allowed.sum())),
            allowed,
            text=strategy not in ("sentence-image", "words-image"),
            image=strategy not in ("sentence-sentence", "words-words"),
        )


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
        for row, share in zip(rows, score.shares(weights, len(rows)), strict=True):
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
