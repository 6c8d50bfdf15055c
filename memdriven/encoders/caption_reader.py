"""Reads off a caption's words what it names, as `AttributeHead` reads off a picture what it shows.

    a_(i,t)   = softmax_t(q_i . e_t)                   where attribute i is spoken of
    p(y_i)    = softmax(W_i sum_t a_(i,t) e_t)         over its values and "not named"

The design is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memdriven.data.attributes import IGNORED
from memdriven.encoders.text import TextFeatures

FLOOR = -3.0
"""No value counts as less likely (as a logarithm): one part that a picture cannot show must not
outweigh all others."""


class CaptionReader(nn.Module):
    """One softmax per attribute over its values and, last, over none of them being named.

    Args:
        dim: of the word embeddings.
        attributes: name -> its values, in label order.
    """

    def __init__(self, dim: int, attributes: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        count, most = len(attributes), max(map(len, attributes.values()))
        self.look = nn.Linear(dim, count, bias=False)
        self.weight = nn.Parameter(torch.randn(count, most + 1, dim) * dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(count, most + 1))
        used = torch.zeros(count, most + 1, dtype=torch.bool)
        for row, values in enumerate(attributes.values()):
            used[row, : len(values)] = True
        used[:, most] = True
        self.register_buffer("used", used, persistent=False)

    @property
    def width(self) -> int:
        """Numbers in which `read` says what a caption names."""
        return self.weight.shape[0] * (self.weight.shape[1] - 1)

    def forward(self, text: TextFeatures) -> Tensor:
        """Return logits (b, attributes, most values + 1) of captions.

        An attribute's unused values hold -inf.
        """
        look = self.look(text.words).masked_fill(~text.mask[..., None], float("-inf"))
        pooled = torch.einsum("bta,btd->bad", look.softmax(dim=1), text.words)
        logits = torch.einsum("bad,avd->bav", pooled, self.weight) + self.bias
        used: Tensor = self.used  # type: ignore[assignment]
        return logits.masked_fill(~used, float("-inf"))

    def named(self, text: TextFeatures) -> Tensor:
        """Return the probabilities (b, attributes, most values) that captions name a value."""
        probabilities: Tensor = self(text).softmax(dim=2)
        return probabilities[..., :-1]

    def read(self, text: TextFeatures) -> TextFeatures:
        """Return captions' embeddings with what they name beside them, for the generator."""
        return text._replace(named=self.named(text).flatten(1))


def reading_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over labels (b, attributes); `IGNORED` is "not named" here."""
    wanted = torch.where(labels == IGNORED, logits.shape[2] - 1, labels)
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten())


def agreement(named: Tensor, shown: Tensor) -> Tensor:
    """Return how far pictures show what a caption names (n,).

        sum_i sum_v  p(y_i = v | caption) max(log p(y_i = v | picture), FLOOR)

    Args:
        named: (attributes, values), of the caption, by `CaptionReader.named`.
        shown: (n, attributes, values), of the pictures, an `AttributeHead`'s logits.
    """
    return (named * shown.log_softmax(dim=2).clamp_min(FLOOR)).sum(dim=(1, 2))
