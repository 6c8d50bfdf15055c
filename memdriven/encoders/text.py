"""The bi-LSTM text encoder: a caption's word embeddings e and sentence embedding s [family]."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from memdriven.config import TextConfig
from memdriven.data.vocabulary import PADDING

DROPOUT = 0.5
"""On the input embeddings while DAMSM trains [family]."""


class TextFeatures(NamedTuple):
    """Embeddings of a batch of captions."""

    words: Tensor
    """e: (b, t, d), zero at padding."""
    sentence: Tensor
    """s: (b, d)."""
    mask: Tensor
    """(b, t) bool, true at words, false at padding."""
    attributes: Tensor | None = None
    """(b, n) what captions name (`CaptionReader.read`), where the generator is told it."""

    @property
    def words_mean(self) -> Tensor:
        """Mean of each caption's word embeddings, padding left out: (b, d)."""
        return self.words.sum(1) / self.mask.sum(1, keepdim=True)

    @property
    def condition(self) -> Tensor:
        """What G reads beside the sentence: `words_mean`, and `attributes` behind it (b, d + n)."""
        if self.attributes is None:
            return self.words_mean
        return torch.cat([self.words_mean, self.attributes], dim=1)


class TextEncoder(nn.Module):
    """Embedding -> dropout -> one bi-directional LSTM layer.

    Words are the LSTM's outputs, both directions side by side; the sentence is the two last
    states: the forward one after the last word, the backward one after the first. Captions run
    packed, so the results depend neither on padding nor on the other captions of the batch.
    """

    def __init__(self, vocabulary_size: int, config: TextConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_dim, padding_idx=PADDING)
        self.dropout = nn.Dropout(DROPOUT)
        self.lstm = nn.LSTM(config.embedding_dim, config.dim // 2, batch_first=True, bidirectional=True)
        with torch.no_grad():
            self.embedding.weight.uniform_(-0.1, 0.1)
            self.embedding.weight[PADDING] = 0.0

    def forward(self, ids: Tensor, lengths: Tensor) -> TextFeatures:
        """Encode word ids (b, t), on any device, padded behind each caption's end; lengths (b,) from 1."""
        ids = ids.to(self.embedding.weight.device)
        embedded = self.dropout(self.embedding(ids))  # (b, t, 300)
        packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, (last, _) = self.lstm(packed)
        words, _ = pad_packed_sequence(outputs, batch_first=True, total_length=ids.shape[1])
        sentence = last.transpose(0, 1).flatten(1)  # (2, b, d/2) -> (b, d)
        places = torch.arange(ids.shape[1], device=ids.device)
        mask = places[None, :] < lengths.to(ids.device)[:, None]  # (b, t)
        return TextFeatures(words, sentence, mask)
