"""Scores of a strategy: which items are candidates, and how well each fits (Sec. 3.2).

Word-level strategies re-rank a shortlist that the sentence level finds, by the likeliest few of
each item's captions where it has many. Scores are over that shortlist, of the other strategies over
the whole bank (with `index="annoy"`, over the candidates that the index returns).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from memdriven.config import RetrievalConfig
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.memory import scores as score
from memdriven.memory.bank import MemoryBank
from memdriven.memory.matches import Query
from memdriven.memory.sentence_level import SentenceLevel, SentenceScores
from memdriven.memory.word_level import WordLevel

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
