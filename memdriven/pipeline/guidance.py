"""Words against the memory: what a caption asks beyond what its memory's own captions say.

    t' = t + w (t - t_m)

t is the text that G reads (the sentence, the mean word, and what the caption names where G is
told it), t_m the mean of the same over the captions of the memory's images. A generator trained on
a reconstruction loss does less than it is asked wherever it is unsure, so that a memory's colours
shine through; w exaggerates what the words change, and leaves alone what they share with the
memory [ours]. It is to a memory what classifier-free guidance (Ho & Salimans 2022) is to noise, but
costs no second pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from memdriven.data.vocabulary import EncodedCaption, Vocabulary
from memdriven.encoders.text import TextFeatures
from memdriven.errors import CaptionError
from memdriven.memory.bank import MemoryBank

_KEPT = 4096
"""Items whose captions' mean is remembered: 8 MB of 256 numbers twice."""


class MemoryWords:
    """The captions of a bank's items, as the generator would read them.

    Args:
        bank: whose captions.
        encode: embeds captions as G reads them.
        vocabulary: the encoders'.
        max_words: longer captions are cut.
    """

    def __init__(
        self,
        bank: MemoryBank,
        encode: Callable[[Sequence[EncodedCaption]], TextFeatures],
        vocabulary: Vocabulary,
        max_words: int,
    ) -> None:
        self.bank, self.encode = bank, encode
        self.vocabulary, self.max_words = vocabulary, max_words
        self._mean = lru_cache(maxsize=_KEPT)(self._encode)

    def mean(self, row: int) -> Tensor | None:
        """Return t_m of one item (2 d + n,); None if no caption is usable."""
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
        return _read(self.encode(encoded)).mean(0)

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
        asked = _read(text)[0]
        away = strength * torch.stack([share * (asked - mean) for mean, share in known]).sum(0)
        d = text.sentence.shape[1]
        # Each word moves alike, so that their mean does; padding stays zero.
        words = text.words + away[d : 2 * d] * text.mask[..., None]
        named = None if text.named is None else text.named + away[2 * d :]
        return TextFeatures(words, text.sentence + away[:d], text.mask, named)


def _read(text: TextFeatures) -> Tensor:
    """Return all that G reads of captions, side by side (b, 2 d + n)."""
    return torch.cat([text.sentence, text.for_generator], dim=1)
