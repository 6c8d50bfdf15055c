"""A discriminator on the maps of a frozen ImageNet network (Sauer et al., Projected GANs, 2021).

A trained network's maps know what pixels alone take many images to teach: a plain D stays blind to
sharpness for hundreds of steps, this one sees it after sixty (docs/log.md) [ours]. Maps of four depths
are mixed across channels and across depths by fixed random convolutions, as there; a small head at each
depth judges picture and caption by patches.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from memdriven.models.discriminator import Logits

Backbone = Callable[[Tensor], list[Tensor]]
"""Maps images (b, 3, s, s) in [0, 1] to maps (b, c_l, h_l, w_l), the finest first; frozen."""
DEPTHS = (4, 7, 9, 12)
"""Which of SqueezeNet 1.1's layers: the last of each scale but the finest, and one between."""
PATCHES = 4
"""Each head decides on 4 x 4 patches."""
MIN_SIDE = 128
"""Smaller pictures are enlarged to this side, so that the deepest maps keep a place for parts."""


class ProjectedDiscriminator(nn.Module):
    """Frozen maps, fixed random mixing, and two decisions at each patch and depth.

    Args:
        backbone: gives the maps; not a part of this module's weights.
        size: side in px of the images it judges.
        text_dim: d, width of the sentence embedding.
        width: channels of mixed maps and heads.
        device: where the backbone is.
    """

    def __init__(
        self,
        backbone: Backbone,
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
            coarse = F.interpolate(
                mixed[level + 1], mixed[level].shape[2:], mode="bilinear", align_corners=False
            )
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

    def forward(self, images: Tensor, sentence: Tensor, mismatched: Tensor | None = None) -> Logits:
        """Return both decisions, flat, for images (b, 3, s, s) and sentences (b, d), also wrong ones."""
        features = self.features(images)
        return Logits(
            self.unconditional(features).flatten(),
            self.judge(features, sentence),
            None if mismatched is None else self.judge(features, mismatched),
        )


def _head(width: int, side: int) -> nn.Sequential:
    """Return convolutions of stride 2 down to about eight cells a side, and one more."""
    layers: list[nn.Module] = []
    while side > 2 * PATCHES:
        layers += [spectral_norm(nn.Conv2d(width, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
        side //= 2
    layers += [spectral_norm(nn.Conv2d(width, width, 3, padding=1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)
