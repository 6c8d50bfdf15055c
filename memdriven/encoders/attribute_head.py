"""Reads attributes off a map of image features, each where it shows.

    a_(i,r)   = softmax_r(q_i . f_r)                   where attribute i looks
    p(y_i)    = softmax(W_i sum_r a_(i,r) f_r)         one softmax per attribute

The design is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memdriven.data.attributes import IGNORED


class AttributeHead(nn.Module):
    """One softmax per attribute over its values.

    Args:
        channels: of the map of features.
        attributes: name -> its values, in label order.
    """

    def __init__(self, channels: int, attributes: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        count, most = len(attributes), max(map(len, attributes.values()))
        self.look = nn.Conv2d(channels, count, 1)
        self.weight = nn.Parameter(torch.randn(count, most, channels) * channels**-0.5)
        self.bias = nn.Parameter(torch.zeros(count, most))
        used = torch.zeros(count, most, dtype=torch.bool)
        for row, values in enumerate(attributes.values()):
            used[row, : len(values)] = True
        self.register_buffer("used", used, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (b, attributes, most values) of features (b, c, h, w).

        An attribute's unused values hold -inf.
        """
        look = self.look(features).flatten(2).softmax(dim=2)  # (b, a, r)
        pooled = torch.einsum("bar,bcr->bac", look, features.flatten(2))  # (b, a, c)
        logits = torch.einsum("bac,avc->bav", pooled, self.weight) + self.bias
        used: Tensor = self.used  # type: ignore[assignment]
        return logits.masked_fill(~used, float("-inf"))


def attribute_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the labels (b, attributes) that are not `IGNORED`; 0 where all are."""
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)
