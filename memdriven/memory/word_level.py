"""Word-level comparison of a query with a shortlist: stored words and regions, made when needed.

A bank would be many times larger with them inside, so the captions of a shortlist go through the
text encoder in one batch, its v through the image heads, and what was used last is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.memory.bank import MemoryBank
from memdriven.memory.cache import LruCache
from memdriven.memory.scores import top, word_similarity, words_image_scores, words_words_scores

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
