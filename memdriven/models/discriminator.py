"""The discriminators: with content information (Sec. 4.2), and on a frozen network's maps [ours]."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from memdriven.config import DiscriminatorConfig, Pooling
from memdriven.models.layers import initialise

IMAGE_CHANNELS = 3
PROJECTED_DEPTHS = (4, 7, 9, 12)
"""Which of SqueezeNet 1.1's layers: the last of each scale but the finest, and one between."""
PATCHES = 4
"""Each head of a projected D decides on 4 x 4 patches."""
MIN_SIDE = 128
"""It sees smaller pictures enlarged to this side, so that the deepest maps keep a place for parts."""


class Logits(NamedTuple):
    """Both heads' decisions before the sigmoid in float32, each (b,), or one an image, depth and patch."""

    unconditional: Tensor
    conditional: Tensor
    mismatched: Tensor | None = None
    """The conditional head's, beside a wrong caption; only where one was given."""


class TwoHeaded(nn.Module):
    """Decides by features of an image whether it is real, and whether it is real beside a caption."""

    features: Callable[[Tensor], Any]
    unconditional: Callable[[Any], Tensor]
    judge: Callable[[Any, Tensor], Tensor]

    def forward(self, images: Tensor, sentence: Tensor, mismatched: Tensor | None = None) -> Logits:
        """Return both heads' logits for images (b, 3, s, s) and sentences (b, d), perhaps also wrong ones."""
        features = self.features(images)
        return Logits(  # softplus of a bf16 logit would be too coarse
            self.unconditional(features).flatten().float(),
            self.judge(features, sentence).float(),
            None if mismatched is None else self.judge(features, mismatched).float(),
        )


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


class Discriminator(TwoHeaded):
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


# ---- Projected [ours] ----------------------------------------------------------------------------


class ProjectedDiscriminator(TwoHeaded):
    """Frozen maps, fixed random mixing, and two decisions at each patch and depth (Sauer et al., 2021).

    A trained ImageNet network's maps know what pixels alone take many images to teach: a plain D stays blind
    to sharpness for hundreds of steps, this one sees it after sixty (docs/log.md). Maps of four depths are
    mixed across channels and across depths by fixed random convolutions, as in Projected GANs; a small head
    at each depth judges picture and caption by patches.

    Args:
        backbone: maps images (b, 3, s, s) in [0, 1] to maps (b, c_l, h_l, w_l), the finest first; frozen, and
            not a part of this module's weights.
        size: side in px of the images it judges.
        text_dim: d, width of the sentence embedding.
        width: channels of mixed maps and heads.
        device: where the backbone is.
    """

    def __init__(
        self,
        backbone: Callable[[Tensor], list[Tensor]],
        size: int,
        text_dim: int,
        width: int = 64,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.side = max(size, MIN_SIDE)
        self._backbone = (backbone,)  # hidden from nn.Module: neither trained nor saved
        with torch.no_grad():
            maps = backbone(torch.zeros(1, 3, self.side, self.side, device=device))
        self.across_channels = nn.ModuleList(nn.Conv2d(m.shape[1], width, 1) for m in maps)
        self.across_depths = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in maps[1:])
        for layer in (*self.across_channels, *self.across_depths):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)
            layer.requires_grad_(False)
        self.heads = nn.ModuleList(_head(width, m.shape[-1]) for m in maps)
        self.unconditional_layers = nn.ModuleList(spectral_norm(nn.Conv2d(width, 1, 1)) for _ in maps)
        self.conditional_layers = nn.ModuleList(spectral_norm(nn.Linear(text_dim, width)) for _ in maps)

    def features(self, images: Tensor) -> list[Tensor]:
        """Map images (b, 3, s, s) in [-1, 1] to the heads' maps (b, width, 4, 4), one a depth."""
        seen = (images + 1) / 2
        if seen.shape[-1] < self.side:
            seen = F.interpolate(seen, self.side, mode="bilinear", align_corners=False)
        mixed = [mix(m) for mix, m in zip(self.across_channels, self._backbone[0](seen))]
        for level in reversed(range(len(mixed) - 1)):
            size = mixed[level].shape[2:]
            coarse = F.interpolate(mixed[level + 1], size, mode="bilinear", align_corners=False)
            mixed[level] = (mixed[level] + self.across_depths[level](coarse)) / 2**0.5
        return [F.adaptive_avg_pool2d(head(m), PATCHES) for head, m in zip(self.heads, mixed)]

    def unconditional(self, features: list[Tensor]) -> Tensor:
        """Return the logits (b, depths, 4, 4) of real against generated."""
        return torch.cat([layer(h) for layer, h in zip(self.unconditional_layers, features)], dim=1)

    def judge(self, features: list[Tensor], sentence: Tensor) -> Tensor:
        """Return the conditional logits (b * depths * 16,) for sentences (b, d).

        A patch's decision is its own plus its product with the projected sentence (Miyato and
        Koyama, 2018).
        """
        logits = [
            torch.einsum("bcij,bc->bij", h, layer(sentence)) / h.shape[1] ** 0.5
            for layer, h in zip(self.conditional_layers, features)
        ]
        return (torch.stack(logits, dim=1) + self.unconditional(features)).flatten()


def _head(width: int, side: int) -> nn.Sequential:
    """Return convolutions of stride 2 down to about eight cells a side, and one more."""
    layers: list[nn.Module] = []
    while side > 2 * PATCHES:
        layers += [spectral_norm(nn.Conv2d(width, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
        side //= 2
    layers += [spectral_norm(nn.Conv2d(width, width, 3, padding=1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)
