"""From a caption to its references in the memory, and to their mixed features v (Sec. 3.2).

A caption is compared with stored captions (text), with stored images (image), or with both, each at two
levels. s and e_i are a caption's sentence and word embeddings, g and r_j an image's global and regional ones;
`scores` has the formulas.

    strategy            text part                             image part
    sentence-sentence   highest cos(s, s') of its captions
    sentence-image                                            cos(s, g)
    sentence-both       as sentence-sentence                  as sentence-image
    words-words         words e_i with a caption's words
    words-image                                               words e_i with regions r_j (DAMSM's R)
    words-both          as words-words                        as words-image
    all                 both texts' mean                      both images' mean
    random, oracle, none: controls

Two parts are fused as alpha * text + (1 - alpha) * image of their z-scores [ours].
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.config import RetrievalConfig, Strategy
from memdriven.data.vocabulary import Vocabulary, tokenize
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.text import TextFeatures
from memdriven.errors import BankError, RetrievalError
from memdriven.memory import scores as score
from memdriven.memory.bank import MemoryBank, StoredWords, index_folder
from memdriven.memory.index import Index, open_index
from memdriven.numbers import check_whole, shown

STRATEGIES: tuple[str, ...] = get_args(Strategy)
WORD_LEVEL = ("words-words", "words-image", "words-both", "all")
TEXT_ALONE = ("sentence-sentence", "words-words", "random", "oracle")
IMAGE_ALONE = ("sentence-image", "words-image")
CAPTIONS_PER_ITEM = 5
"""Of an item's captions, those nearest at the sentence level are compared word by word."""
CACHED_CAPTIONS = 8192
"""About 6 kB each: float16 words of 12 x 256."""
CACHED_IMAGES = 1024
"""About 33 kB each: float16 regions of 64 x 256."""


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

    @property
    def sentence(self) -> Tensor:
        """s (d,)."""
        return self.text.sentence[0].float().cpu()

    @property
    def known_words(self) -> Tensor:
        """e (t, d), without padding."""
        return self.text.words[0][self.text.mask[0]].float()


@dataclass(frozen=True)
class Match:
    """One reference that retrieval found."""

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
    caption_index: int = 0
    """The item's caption that matched best, by its place among the item's captions."""
    word_weights: tuple[float, ...] | None = None
    """For each word of the query how well it was met: at the word level its highest cosine, else 1
    for a word that is in the matched caption; None where the query does not name its words."""


class Candidates(NamedTuple):
    """Items with their sentence-level scores."""

    items: Tensor
    """(c,) rows of the bank, rising."""
    text: Tensor
    """(c,) highest cosine of s with the sentence embeddings of an item's captions."""
    image: Tensor
    """(c,) cosine of s with the item's global embedding."""
    captions: Tensor
    """(c,) row of each item's most similar caption."""

    def of(self, which: Tensor) -> Candidates:
        """Return those that a mask, or places, name."""
        return Candidates(*(part[which] for part in self))


class Retriever:
    """Finds and mixes the references of captions; safe to share between threads."""

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
            index_cache: folder where indices other than `exact` stay between runs; by default one beside
                the bank, of its name with `.index` appended.
            cached_captions: how many captions' words stay in memory for word-level strategies.
            cached_images: how many images' regions stay.
        """
        width = 2 * damsm.text.lstm.hidden_size
        if bank.sentence_keys.shape[1] != width:
            raise BankError(
                f"a bank with keys of width {width}",
                f"width {bank.sentence_keys.shape[1]}",
                "build the bank with these encoders",
            )
        self.bank, self.damsm, self.vocabulary = bank, damsm, vocabulary
        self.config = config or RetrievalConfig()
        self.index_cache = index_cache or index_folder(bank)
        self.stored = StoredWords(bank, damsm, vocabulary, cached_captions, cached_images)
        self._indices: dict[str, Index] = {}
        self._lock = threading.Lock()
        self._captions_items: dict[str, int] = {}

    @torch.no_grad()
    def query(self, caption: str, item_id: str | None = None) -> Query:
        """Encode a caption."""
        encoded = self.vocabulary.encode(caption, self.bank.max_words)
        return Query(self.damsm.encode_captions([encoded]), item_id, caption, tuple(encoded.words))

    @torch.no_grad()
    def retrieve(
        self,
        caption: str | Query,
        strategy: str | None = None,
        k: int | None = None,
        exclude: Sequence[str] = (),
        seed: int | None = None,
    ) -> list[Match]:
        """Return the k nearest items of a caption, each image once, best first.

        `none` has no references and `oracle` one, whatever k. `random` depends on the seed, and on
        what is excluded, alone.

        Args:
            caption: text, or a query that was encoded before.
            strategy: one of `STRATEGIES`; the config's by default.
            k: how many; the config's by default.
            exclude: ids that must not be returned, e.g. the caption's own image.
            seed: of strategy `random`; 0 by default.

        Raises:
            CaptionError: the caption cannot be encoded.
            RetrievalError: an unknown strategy or id, a k that the bank cannot serve, or an
                `oracle` that has no image.
        """
        strategy = self.config.strategy if strategy is None else strategy
        if strategy not in STRATEGIES:
            raise RetrievalError(
                "a strategy: " + ", ".join(STRATEGIES), shown(strategy), "choose one of these"
            )
        allowed = torch.ones(self.bank.n, dtype=torch.bool)
        allowed[[self.bank.index_of(item_id) for item_id in exclude]] = False
        k, most = self.config.k if k is None else k, int(allowed.sum())
        check_whole("k", k, 1, most, RetrievalError, "ask for fewer references, or exclude fewer")
        query = self.query(caption) if isinstance(caption, str) else caption
        if strategy == "none":
            return []

        # Sentence level: s with the captions' sentences (way 1), with the images (2), with both (3).
        shortlist = max(k, self.config.shortlist)
        found = self._candidates(query.sentence, strategy, shortlist, allowed)
        if strategy in TEXT_ALONE:
            scores = found.text
        elif strategy in IMAGE_ALONE:
            scores = found.image
        else:
            scores = score.fuse([found.text], [found.image], self.config.alpha)

        # Word level: the best of these once more, the words one by one with captions' words and regions.
        if strategy in WORD_LEVEL:
            found = found.of(score.top(scores, shortlist))
            texts, images = [], []
            if strategy != "words-image":
                text, captions = self._words_words(query, found.items.tolist())
                found = found._replace(captions=captions)
                texts.append(text)
            if strategy != "words-words":
                images.append(self._words_image(query, found.items.tolist()))
            if strategy == "all":
                texts.append(found.text)
                images.append(found.image)
            # One part alone keeps its own scale, two are fused.
            scores = score.fuse(texts, images, self.config.alpha) if texts and images else (texts + images)[0]

        # The best k, or those of a control.
        if strategy == "oracle":
            places = self._own_place(query, found.items)
        elif strategy == "random":
            places = torch.randperm(len(found.items), generator=torch.Generator().manual_seed(seed or 0))[:k]
        else:
            places = score.top(scores, k)

        # Their shares of v: softmax over the scores; equal ones for a draw.
        weights = score.softmax_weights(scores[places], self.config.temperature)
        if strategy == "random":
            weights = torch.full_like(weights, 1 / len(weights))
        percentiles, matches = score.percentiles(scores), []
        for rank, (place, weight) in enumerate(zip(places.tolist(), weights, strict=True), 1):
            item, row = int(found.items[place]), int(found.captions[place])
            matches.append(
                Match(
                    index=item,
                    id=self.bank.ids[item],
                    score=float(scores[place]),
                    percentile=float(percentiles[place]),
                    rank=rank,
                    weight=float(weight),
                    caption_index=row - self.bank.caption_rows(item).start,
                    word_weights=self._word_weights(query, strategy, item, row),
                )
            )
        return matches

    @torch.no_grad()
    def alike(self, image: int | Tensor, count: int, exclude: Sequence[int] = ()) -> list[Match]:
        """Return the images nearest to one, itself first, by the cosine of their global keys g.

        Args:
            image: a row of the bank, or the v (c, h, w) of an image that is not in it.
            count: how many.
            exclude: rows that must not be returned.
        """
        if isinstance(image, int):
            key = self.bank.global_keys[image]
        else:
            heads = self.damsm.heads(image[None].to(self.damsm.device))
            key = F.normalize(heads.global_[0].float().cpu(), dim=0)
        scores = self.bank.global_keys @ key  # (n,)
        percentiles = score.percentiles(scores)
        scores[list(exclude)] = -torch.inf
        rows = score.top(scores, min(count, self.bank.n - len(exclude)))
        weights = score.softmax_weights(scores[rows], self.config.temperature)
        return [
            Match(row, self.bank.ids[row], float(scores[row]), float(percentiles[row]), rank, weight)
            for rank, (row, weight) in enumerate(zip(rows.tolist(), weights.tolist(), strict=True), start=1)
        ]

    def mix(
        self,
        ids: Sequence[str],
        weights: Sequence[float] | None = None,
        own: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return v = sum_i w_i v_i of references (1, c, h, w) float32, on the CPU; zeros for none.

        Args:
            ids: of items.
            weights: non-negative shares, scaled to sum to 1; by default equal ones.
            own: v of images that stand beside the bank's, by their ids.

        Raises:
            RetrievalError: an unknown id, or weights that are negative, not finite, all zero, or
                not one for each reference.
        """
        own, weights = own or {}, [1.0] * len(ids) if weights is None else weights
        mixed = torch.zeros(1, *self.bank.features.shape)
        for id_, share in zip(ids, score.shares(weights, len(ids)), strict=True):
            mixed[0] += share * (own[id_] if id_ in own else self.bank.v(self.bank.index_of(id_)))
        return mixed

    # ---- Sentence level -------------------------------------------------------------------------

    def _candidates(self, sentence: Tensor, strategy: str, least: int, allowed: Tensor) -> Candidates:
        """Score the allowed items against s (d,): all of them, or those that an index finds near it."""
        if self.config.index == "exact" or strategy in ("random", "oracle"):
            return self._score(sentence, torch.arange(self.bank.n)).of(allowed)
        bank, least = self.bank, min(least, int(allowed.sum()))
        wide = 2 * (least + int((~allowed).sum()))
        while True:  # what is found may be excluded, or captions of few items: then the search widens
            near = []
            if strategy not in IMAGE_ALONE:
                rows = self._search("sentence", bank.sentence_keys, sentence, 4 * wide)
                near.append(bank.caption_item[rows])
            if strategy not in TEXT_ALONE:
                near.append(self._search("global", bank.global_keys, sentence, wide))
            items = torch.unique(torch.cat(near))
            items = items[allowed[items]]
            if len(items) >= least or wide >= bank.n + len(bank.sentence_keys):
                return self._score(sentence, items)
            wide *= 2

    def _score(self, sentence: Tensor, items: Tensor) -> Candidates:
        bank = self.bank
        keys, owner, rows = bank.sentence_keys, bank.caption_item, None
        if len(items) < bank.n:
            place = torch.full((bank.n,), -1)
            place[items] = torch.arange(len(items))
            rows = (place[owner] >= 0).nonzero()[:, 0]
            keys, owner = keys[rows], place[owner[rows]]
        text, best = score.sentence_scores(sentence, keys, owner, len(items))
        image = bank.global_keys[items] @ F.normalize(sentence, dim=0)
        return Candidates(items, text, image, best if rows is None else rows[best])

    def _search(self, which: str, keys: Tensor, sentence: Tensor, k: int) -> Tensor:
        """Return rows of the k keys nearest to s (d,), by an index that is built when it is first used."""
        with self._lock:
            if which not in self._indices:
                name = f"{which}_{self.bank.keys_name}"
                self._indices[which] = open_index(self.config.index, keys, name, self.index_cache)
            index = self._indices[which]
        return index.search(sentence[None], min(k, len(index)))[0][0]

    # ---- Word level -----------------------------------------------------------------------------

    def _words_words(self, query: Query, items: list[int]) -> tuple[Tensor, Tensor]:
        """Score each item by its best caption, among its likeliest ones: scores, captions' rows (c,)."""
        rows = [self._likely(query.sentence, item) for item in items]
        stored, mask = self.stored.words([row for own in rows for row in own])
        scores = score.words_words_scores(query.known_words.to(stored.device), stored, mask).cpu()  # (m,)
        best, highest = [], []
        for own, part in zip(rows, torch.split(scores, [len(own) for own in rows]), strict=True):
            place = int(part.argmax())
            best.append(own[place])
            highest.append(part[place])
        return torch.stack(highest), torch.tensor(best)

    def _words_image(self, query: Query, items: list[int]) -> Tensor:
        """Score each item's image by DAMSM's R, (c,)."""
        regions = self.stored.regions(items)
        return score.words_image_scores(query.known_words.to(regions.device), regions).cpu()

    def _likely(self, sentence: Tensor, item: int) -> list[int]:
        """Return the item's captions that are nearest at the sentence level, in bank order."""
        rows = self.bank.caption_rows(item)
        if len(rows) <= CAPTIONS_PER_ITEM:
            return list(rows)
        nearest = score.top(self.bank.sentence_keys[rows.start : rows.stop] @ sentence, CAPTIONS_PER_ITEM)
        return sorted(rows[place] for place in nearest.tolist())

    def _word_weights(self, query: Query, strategy: str, item: int, row: int) -> tuple[float, ...] | None:
        """Say how well the matched caption, the image or both meet each word of the query."""
        if strategy not in WORD_LEVEL:
            caption = set(tokenize(self.bank.caption(row)))
            return tuple(float(word in caption) for word in query.words) if query.words else None
        parts = []
        if strategy != "words-image":
            stored, mask = self.stored.words([row])
            cosines = score.word_similarity(query.known_words.to(stored.device), stored)[0]  # (t, l)
            parts.append(cosines.masked_fill(~mask, -1.0).amax(dim=1).cpu())
        if strategy != "words-words":
            regions = self.stored.regions([item])
            cosines = score.word_similarity(query.known_words.to(regions.device), regions)[0]  # (t, r)
            parts.append(cosines.amax(dim=1).cpu())
        return tuple(torch.stack(parts).mean(dim=0).clamp(0, 1).tolist())

    # ---- Controls -------------------------------------------------------------------------------

    def _own_place(self, query: Query, items: Tensor) -> Tensor:
        """Return where the query's own item stands among the candidates, (1,)."""
        if query.item_id is not None:
            own: int | None = self.bank.index_of(query.item_id)
        else:
            if not self._captions_items:  # of equal captions the first counts
                for item in reversed(range(self.bank.n)):
                    for caption in self.bank.item(item).captions:
                        self._captions_items[_plain(caption)] = item
            own = self._captions_items.get(_plain(query.caption))
        if own is None:
            raise RetrievalError(
                "for `oracle`, a caption of an image in the bank, or that image's id",
                shown(query.caption),
                "use one of the bank's own captions, or another strategy",
            )
        place = (items == own).nonzero()[:, 0]
        if len(place) == 0:
            raise RetrievalError(
                "for `oracle`, the caption's own image",
                f"{self.bank.ids[own]!r} among the excluded ids",
                "do not exclude it",
            )
        return place


def _plain(caption: str) -> str:
    return " ".join(caption.split()).casefold()
