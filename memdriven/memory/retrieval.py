"""From a caption to its references in the memory, and to their mixed features v (Sec. 3.2).

s and e_i are a caption's sentence and word embeddings. Item j of the memory has captions with sentences s_jk
and words e_jkl, and an image with a global embedding g_j and regions r_jm; all from DAMSM's encoders. What is
compared with what gives four scores (`scores` has them as functions):

    a_j = max_k cos(s, s_jk)            sentence with sentences
    b_j = cos(s, g_j)                   sentence with image
    A_j = max_k R(e, e_jk)              words with words
    B_j = R(e, r_j)                     words with image

    R(e, r) = 1/gamma_2 log mean_i exp(gamma_2 cos(e_i, c_i)),  c_i = sum_m t_im r_m

where word i attends to others by t_im = softmax_m(gamma_1 cos(e_i, r_m)), and to regions as in DAMSM by
t_im = softmax_m(gamma_1 softmax_i(e_i r_m)).

A strategy is one of them, or joins a text part and an image part (`FORMULAS`):

    x | y = alpha z(x) + (1 - alpha) z(y), the z-scores of each, of which a sum is a mean [ours]

A and B are computed for a shortlist, the best by the same strategy's a and b. The k best items are the
references, and v = sum_j w_j v_j with w = softmax(score / temperature).
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from memdriven.config import RetrievalConfig, Strategy
from memdriven.data.vocabulary import Vocabulary, tokenize
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.text import TextFeatures
from memdriven.errors import RetrievalError, require
from memdriven.memory import scores as score
from memdriven.memory.bank import MemoryBank, StoredWords, index_folder
from memdriven.memory.index import AnnoyIndex, MilvusIndex, open_index
from memdriven.numbers import check_whole, shown

STRATEGIES: tuple[str, ...] = get_args(Strategy)
FORMULAS = {
    "sentence-sentence": ("a", ""),
    "sentence-image": ("", "b"),
    "sentence-both": ("a", "b"),
    "words-words": ("A", ""),
    "words-image": ("", "B"),
    "words-both": ("A", "B"),
    "all": ("Aa", "Bb"),
    "random": ("a", ""),
    "oracle": ("a", ""),
}
"""Each strategy's text part and image part, in the letters above; controls carry a."""
CAPTIONS_PER_ITEM = 5
"""Of an item's captions, those nearest at the sentence level are compared word by word."""


@dataclass(frozen=True)
class Query:
    """One caption as the encoders see it."""

    text: TextFeatures
    """Embeddings of this caption alone: words (1, t, d), sentence (1, d), mask (1, t)."""
    caption: str = ""
    """The caption itself; by it `oracle` finds its item."""
    words: tuple[str, ...] = ()
    """The words that were encoded, for their weights."""

    @property
    def known_words(self) -> Tensor:
        """e (t, d), without padding."""
        return self.text.words[0][self.text.mask[0]].float()


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """One image that a picture draws on: a reference of its caption."""

    id: str
    rank: int
    """1 is the best match."""
    weight: float
    """Its share of the mixed features v; the shares of a list sum to 1."""
    image: Image.Image
    """Its thumbnail, cropped as the feature network saw it."""
    caption: str
    """The item's caption that matched best."""
    class_name: str = ""
    webp: bytes = field(default=b"", repr=False)
    """The image as the memory bank keeps it; empty where unknown."""
    score: float | None = None
    """Of the strategy, never comparable between two of them (controls carry a); None where it was given."""
    percentile: float | None = None
    """Share of the candidates that score lower, in [0, 100): close to 100 for every first neighbour, good or
    not, as it follows from the rank."""
    index: int = -1
    """Row in the bank; -1 for an image that is not in it."""
    word_weights: Mapping[str, float] | None = None
    """How well each word of the query was met: at the word level its highest cosine, else 1 for a word
    that is in the matched caption."""


Candidates = dict[str, Tensor]
"""`items` (c,), rows of the bank, rising; `captions` (c,), the row of each one's most similar caption; and
under the letters above what was computed of a, b, A, B (c,)."""


def _at(found: Candidates, places: Tensor) -> Candidates:
    return {name: part[places] for name, part in found.items()}


def check_strategy(strategy: object) -> None:
    """Refuse what is no strategy (RetrievalError)."""
    wanted = "a strategy: " + ", ".join(STRATEGIES)
    require(strategy in STRATEGIES, RetrievalError, wanted, shown(strategy), "choose one of these")


class Retriever:
    """Finds and mixes the references of captions; safe to share between threads."""

    def __init__(
        self, bank: MemoryBank, damsm: Damsm, vocabulary: Vocabulary, config: RetrievalConfig | None = None
    ) -> None:
        """Tie a bank to the encoders that made its keys, in evaluation mode, and to their vocabulary."""
        self.bank, self.damsm, self.vocabulary = bank, damsm, vocabulary
        self.config = config or RetrievalConfig()
        self.stored = StoredWords(bank, damsm, vocabulary)
        self._indices: dict[str, AnnoyIndex | MilvusIndex] = {}
        self._lock = threading.Lock()

    @torch.no_grad()
    def query(self, caption: str) -> Query:
        """Encode a caption."""
        encoded = self.vocabulary.encode(caption, self.bank.max_words)
        return Query(self.damsm.encode_captions([encoded]), caption, tuple(encoded.words))

    @torch.no_grad()
    def retrieve(
        self,
        caption: str | Query,
        strategy: str | None = None,
        k: int | None = None,
        exclude: Sequence[str] = (),
        seed: int | None = None,
    ) -> list[Neighbour]:
        """Return the k nearest items of a caption, each image once, best first.

        `none` has no references and `oracle` one, whatever k. `random` depends on the seed and on `exclude`,
        the ids that must not be returned, alone. Strategy and k are the config's by default. A CaptionError
        says that the caption cannot be encoded, a RetrievalError names an unknown strategy or id, a k that
        the bank cannot serve, or an `oracle` that has no image.
        """
        strategy = self.config.strategy if strategy is None else strategy
        check_strategy(strategy)
        allowed = self._allowed(exclude)
        k, most = self.config.k if k is None else k, int(allowed.sum())
        check_whole("k", k, 1, most, RetrievalError, "ask for fewer references, or exclude fewer")
        query = self.query(caption) if isinstance(caption, str) else caption
        if strategy == "none":
            return []

        # Sentence level: a and b of all items, or of those near s.
        formula, shortlist = FORMULAS[strategy], max(k, self.config.shortlist)
        sentence = query.text.sentence[0].float().cpu()
        found = self._candidates(sentence, strategy, shortlist, allowed)
        coarse = formula[0].lower(), formula[1].lower()
        scores = self._fused(found, coarse)

        # Word level: A and B of the best of these.
        if formula != coarse:
            found = _at(found, score.top(scores, shortlist))
            words, items = query.known_words.to(self.damsm.device), found["items"].tolist()
            if "A" in formula[0]:
                likely = [self._likely(sentence, item) for item in items]
                found["A"], found["captions"] = self._words_words(words, likely)
            if "B" in formula[1]:
                found["B"] = score.words_image_scores(words, self.stored.regions(items)).cpu()
            scores = self._fused(found, formula)

        # The best k, or those of a control; shares of v by softmax over the scores, equal ones for a draw.
        if strategy == "oracle":
            places = self._own_place(query, found["items"])
        elif strategy == "random":
            order = torch.Generator().manual_seed(seed or 0)
            places = torch.randperm(len(found["items"]), generator=order)[:k]
        else:
            places = score.top(scores, k)
        ranked = self._ranked(found["items"], scores, places)
        if strategy == "random":
            ranked = [each | {"weight": 1 / len(ranked)} for each in ranked]
        return [
            self.neighbour(
                **each, caption=row, word_weights=self._word_weights(query, strategy, each["row"], row)
            )
            for each, row in zip(ranked, found["captions"][places].tolist(), strict=True)
        ]

    def _fused(self, found: Candidates, formula: tuple[str, str]) -> Tensor:
        text, image = ([found[letter] for letter in part] for part in formula)
        return score.fuse(text, image, self.config.alpha)

    def neighbour(self, row: int, caption: int | None = None, **known: Any) -> Neighbour:
        """Return an item as a reference, with the caption behind a row, or its first."""
        item = self.bank.items[row]
        return Neighbour(
            id=item.id,
            index=row,
            image=self.bank.thumbnail(row),
            webp=self.bank.thumbnail_bytes(row),
            caption=item.captions[0] if caption is None else self.bank.caption(caption),
            class_name=item.class_name,
            **known,
        )

    @torch.no_grad()
    def alike(self, image: int | Tensor, count: int, exclude: Sequence[str] = ()) -> list[Neighbour]:
        """Return the images nearest to one, itself first, by the cosine of their global keys g.

        It is a row of the bank, or the v (c, h, w) of an image that is not in it.
        """
        if isinstance(image, int):
            key = self.bank.global_keys[image]
        else:
            heads = self.damsm.heads(image[None].to(self.damsm.device))
            key = F.normalize(heads.global_[0].float().cpu(), dim=0)
        items = self._allowed(exclude).nonzero()[:, 0]
        scores = self.bank.global_keys[items] @ key
        return [self.neighbour(**each) for each in self._ranked(items, scores, score.top(scores, count))]

    def mix(
        self, references: Collection[tuple[str, float]], own: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return v = sum_i w_i v_i of items (id, weight) (1, c, h, w) float32, on the CPU; zeros for none.

        Weights are scaled to sum to 1; `own` has v of images beside the bank's, by id.
        """
        mixed, own = torch.zeros(1, *self.bank.features.shape), own or {}
        shares = score.shares([weight for _, weight in references])
        for (id_, _), share in zip(references, shares, strict=True):
            mixed[0] += share * (own[id_] if id_ in own else self.bank.v(self.bank.index_of(id_)))
        return mixed

    def _allowed(self, exclude: Sequence[str]) -> Tensor:
        allowed = torch.ones(self.bank.n, dtype=torch.bool)
        allowed[[self.bank.index_of(item_id) for item_id in exclude]] = False
        return allowed

    def _ranked(self, items: Tensor, scores: Tensor, places: Tensor) -> list[dict[str, Any]]:
        """Return what the scores (c,) of items (c,) say of those at some places, with their shares of v."""
        weights = (scores[places] / self.config.temperature).softmax(dim=0)
        columns = items[places], weights, scores[places], score.percentiles(scores[places], scores)
        lines = zip(*(column.tolist() for column in columns))
        names = ("row", "weight", "score", "percentile")
        return [dict(zip(names, line), rank=rank) for rank, line in enumerate(lines, start=1)]

    # ---- Sentence level -------------------------------------------------------------------------

    def _candidates(self, sentence: Tensor, strategy: str, least: int, allowed: Tensor) -> Candidates:
        """Score the allowed items against s (d,): all of them, or those that an index finds near it."""
        bank, least, (text, image) = self.bank, min(least, int(allowed.sum())), FORMULAS[strategy]
        if self.config.index == "exact" or strategy in ("random", "oracle"):
            return _at(self._score(sentence, torch.arange(bank.n)), allowed)
        wide = 2 * (least + int((~allowed).sum()))
        while True:  # what is found may be excluded, or captions of few items: then the search widens
            near = []
            if text:
                rows = self._search("sentence", bank.sentence_keys, sentence, 4 * wide)
                near.append(bank.caption_item[rows])
            if image:
                near.append(self._search("global", bank.global_keys, sentence, wide))
            items = torch.unique(torch.cat(near))
            items = items[allowed[items]]
            if len(items) >= least or wide >= bank.n + len(bank.sentence_keys):
                return self._score(sentence, items)
            wide *= 2

    def _score(self, sentence: Tensor, items: Tensor) -> Candidates:
        bank = self.bank
        keys, owner, rows = bank.sentence_keys, bank.caption_item, torch.arange(len(bank.caption_item))
        if len(items) < bank.n:
            rows = torch.isin(owner, items).nonzero()[:, 0]
            keys, owner = keys[rows], torch.searchsorted(items, owner[rows])
        text, best = score.sentence_scores(sentence, keys, owner, len(items))
        image = bank.global_keys[items] @ F.normalize(sentence, dim=0)
        return {"items": items, "captions": rows[best], "a": text, "b": image}

    def _search(self, which: str, keys: Tensor, sentence: Tensor, k: int) -> Tensor:
        """Return rows of the k keys nearest to s (d,), by an index that is built when it is first used."""
        with self._lock:
            if which not in self._indices:
                name = f"{which}_{self.bank.keys_name}"
                self._indices[which] = open_index(self.config.index, keys, name, index_folder(self.bank))
            index = self._indices[which]
        return index.search(sentence[None], min(k, len(keys)))[0]

    # ---- Word level -----------------------------------------------------------------------------

    def _words_words(self, words: Tensor, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Score each item by its best caption, of those in some rows: scores, captions' rows (c,)."""
        stored, mask = self.stored.words([row for own in rows for row in own])
        scores = score.words_words_scores(words, stored, mask).cpu()  # (m,)
        highest, best = zip(
            *(part.max(dim=0) for part in torch.split(scores, [len(own) for own in rows])), strict=True
        )
        captions = [own[int(place)] for own, place in zip(rows, best, strict=True)]
        return torch.stack(highest), torch.tensor(captions)

    def _likely(self, sentence: Tensor, item: int) -> list[int]:
        rows = self.bank.caption_rows(item)
        nearest = score.top(self.bank.sentence_keys[rows.start : rows.stop] @ sentence, CAPTIONS_PER_ITEM)
        return [rows[place] for place in sorted(nearest.tolist())]

    def _word_weights(self, query: Query, strategy: str, item: int, row: int) -> dict[str, float]:
        """Say how well the matched caption, the image or both meet each word of the query."""
        text, image = FORMULAS[strategy]
        if "A" not in text and "B" not in image:
            caption = tokenize(self.bank.caption(row))
            return {word: float(word in caption) for word in query.words}
        words, parts = query.known_words.to(self.damsm.device), []
        if text:
            stored, _ = self.stored.words([row])
            parts.append(score.word_similarity(words, stored)[0])  # (t, l)
        if image:
            parts.append(score.word_similarity(words, self.stored.regions([item]))[0])  # (t, r)
        highest = torch.stack([cosines.amax(dim=1) for cosines in parts])
        return dict(zip(query.words, highest.mean(dim=0).clamp(0, 1).tolist()))

    # ---- Controls -------------------------------------------------------------------------------

    @cached_property
    def _item_of(self) -> dict[str, int]:
        """The item of each caption; of equal captions the first counts."""
        items = self.bank.items
        return {_plain(caption): i for i in reversed(range(len(items))) for caption in items[i].captions}

    def _own_place(self, query: Query, items: Tensor) -> Tensor:
        """Return where the query's own item stands among the candidates, (1,)."""
        own = self._item_of.get(_plain(query.caption))
        if own is None:
            wanted = "for `oracle`, a caption of an image in the bank"
            fix = "use one of the bank's own captions, or another strategy"
            raise RetrievalError(wanted, shown(query.caption), fix)
        place = (items == own).nonzero()[:, 0]
        wanted, found = "for `oracle`, the caption's own image", f"{self.bank.ids[own]!r}, which is excluded"
        require(len(place), RetrievalError, wanted, found, "do not exclude it")
        return place


def _plain(caption: str) -> str:
    return " ".join(caption.split()).casefold()
