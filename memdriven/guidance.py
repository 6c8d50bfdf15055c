"""Words against the memory: what a caption asks beyond what its memory's own captions say.

    t' = t + w (t - t_m)

t is the text that G reads (the sentence, and the mean word), t_m the mean of the same embeddings
over the captions of the memory's images. A generator trained on a reconstruction loss does less
than it is asked wherever it is unsure, so that a memory's colours shine through; w exaggerates
what the words change, and leaves alone what they share with the memory [ours]. It is to a memory
what classifier-free guidance (Ho & Salimans 2022) is to noise, but costs no second pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.text import TextFeatures
from memdriven.errors import CaptionError
from memdriven.memory.bank import MemoryBank

_KEPT = 4096
"""Items whose captions' mean is remembered: 8 MB of 256 numbers twice."""


class MemoryWords:
    """The captions of a bank's items, as the generator would read them.

    Args:
        bank: whose captions.
        damsm: the encoders.
        vocabulary: theirs.
        max_words: longer captions are cut.
    """

    def __init__(
        self, bank: MemoryBank, damsm: Damsm, vocabulary: Vocabulary, max_words: int
    ) -> None:
        self.bank, self.damsm = bank, damsm
        self.vocabulary, self.max_words = vocabulary, max_words
        self._mean = lru_cache(maxsize=_KEPT)(self._encode)

    def mean(self, row: int) -> Tensor | None:
        """Return t_m of one item, sentence and mean word (2, d); None if no caption is usable."""
        return self._mean(row)

    @torch.inference_mode()
    def _encode(self, row: int) -> Tensor | None:
        encoded = []
        for caption in self.bank.item(row).captions:
            try:
                encoded.append(self.vocabulary.encode(caption, self.max_words))
            except CaptionError:
                continue
        if not encoded:
            return None
        text = self.damsm.encode_captions(encoded)
        return torch.stack([text.sentence.mean(0), text.words_mean.mean(0)])

    def guided(
        self, text: TextFeatures, rows: Sequence[int], shares: Sequence[float], strength: float
    ) -> TextFeatures:
        """Return a caption's t' for a mix of items; at strength 0, or without items, t itself.

        Args:
            text: one caption's embeddings.
            rows: of the items in the bank.
            shares: of v; what is missing to 1 counts as saying what the caption says.
            strength: w.
        """
        said = [(self.mean(row), share) for row, share in zip(rows, shares, strict=True)]
        known = [(mean, share) for mean, share in said if mean is not None]
        if not strength or not known:
            return text
        asked = torch.stack([text.sentence[0], text.words_mean[0]])
        away = strength * torch.stack([share * (asked - mean) for mean, share in known]).sum(0)
        # Each word moves alike, so that their mean does; padding stays zero.
        words = text.words + away[1] * text.mask[..., None]
        return TextFeatures(words, text.sentence + away[0], text.mask)
