"""The discriminator with content information, one a stage (Sec. 4.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from memdriven.config import DiscriminatorConfig, Pooling
from memdriven.models.layers import initialise

IMAGE_CHANNELS = 3


class Logits(NamedTuple):
    """Both heads' decisions before the sigmoid, each (b,)."""

    unconditional: Tensor
    conditional: Tensor
    mismatched: Tensor | None = None
    """The conditional head's, beside a wrong caption; only where one was given."""

    def float(self) -> Logits:
        """Decide in float32: softplus of a bf16 logit is too coarse."""
        return Logits(*(None if part is None else part.to(torch.float32) for part in self))  # type: ignore[arg-type]


def content_pyramid(images: Tensor, pooling: Pooling) -> list[Tensor]:
    """Return the content features a_{s/2}, ..., a_4 of images (b, 3, s, s) (Sec. 4.2).

    Each is the one before pooled by a 3x3 kernel of stride 2; the images themselves are the
    first. `none` gives an empty list.
    """
    maps: list[Tensor] = []
    while pooling != "none" and images.shape[-1] > 4:
        if pooling == "average":
            # The padding is not counted, so that a flat image stays flat up to its border.
            images = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
        else:
            images = F.max_pool2d(images, 3, stride=2, padding=1)
        maps.append(images)
    return maps


class Discriminator(nn.Module):
    """Convolutions of stride 2 down to 4x4, content features beside each map, two heads.

    Args:
        config: widths, pooling and normalisation.
        size: side in px of the images it judges, a power of two >= 8.
        text_dim: d, width of the sentence embedding.
    """

    def __init__(self, config: DiscriminatorConfig, size: int, text_dim: int) -> None:
        super().__init__()
        self.config = config
        content = 0 if config.content == "none" else IMAGE_CHANNELS
        self.downs = nn.ModuleList()
        channels, width = IMAGE_CHANNELS, config.width
        while size > 4:
            self.downs.append(nn.Conv2d(channels, width, 4, stride=2, padding=1))
            channels = width + content
            width = min(2 * width, config.max_width)
            size //= 2
        hidden = min(width, config.max_width)
        self.unconditional = nn.Conv2d(channels, 1, 4)
        self.merge = nn.Conv2d(channels + text_dim, hidden, 3, padding=1)
        self.conditional = nn.Conv2d(hidden, 1, 4)
        self.apply(initialise)
        if config.spectral_norm:
            for layer in (*self.downs, self.unconditional, self.merge, self.conditional):
                spectral_norm(layer)

    def features(self, images: Tensor) -> Tensor:
        """Map images (b, 3, s, s) in [-1, 1] to the last map (b, c, 4, 4)."""
        contents = content_pyramid(images, self.config.content)
        h = images
        for level, down in enumerate(self.downs):
            h = F.leaky_relu(down(h), 0.2)
            if contents:
                h = torch.cat([h, contents[level]], dim=1)
        return h

    def judge(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Return the conditional logits (b,) of features (b, c, 4, 4) with sentences (b, d)."""
        tiled = sentence[:, :, None, None].expand(-1, -1, *features.shape[2:])
        hidden = F.leaky_relu(self.merge(torch.cat([features, tiled], dim=1)), 0.2)
        logits: Tensor = self.conditional(hidden).flatten()
        return logits

    def forward(self, images: Tensor, sentence: Tensor, mismatched: Tensor | None = None) -> Logits:
        """Return both heads' logits for images (b, 3, s, s) and sentences (b, d), perhaps also wrong ones."""
        features = self.features(images)
        return Logits(
            self.unconditional(features).flatten(),
            self.judge(features, sentence),
            None if mismatched is None else self.judge(features, mismatched),
        )
