"""A parametric rival: a one-stage GAN of DF-GAN's kind, which has words and noise but no memory.

Written from the description in Tao et al., "DF-GAN: A Simple and Effective Baseline for Text-to-Image
Synthesis" (CVPR 2022), to put the paper's claim to the test: the same pictures, captions and minutes,
with and without a memory bank. What is theirs is marked [DF-GAN]; widths are settings.

    h_0     = linear(z)                                    8 w x 4 x 4
    h_{i+1} = x2, then residual: two fusions of (z, s), each followed by conv3x3
    fusion  = affine -> leaky ReLU -> affine -> leaky ReLU; an affine's scale and shift come from (z, s)
    image   = tanh(conv3x3(leaky ReLU(h)))
    D       = residual blocks down to 4 x 4, then one decision beside the tiled sentence (one way)
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
"""Of every leaky ReLU."""
BASE = 4
"""Side of the first map."""
MOST = 8
"""Widest maps, in multiples of `width`."""


def widths(width: int, size: int) -> list[int]:
    """Return the channels of the maps of 4 x 4, 8 x 8, ... size x size, coarsest first."""
    levels = (size // BASE).bit_length() - 1
    return [width * min(2**level, MOST) for level in range(levels, -1, -1)]


# ---- Generator -----------------------------------------------------------------------------------


class Affine(nn.Module):
    """h * scale(y) + shift(y), channel by channel; begins as the identity [DF-GAN]."""

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Sequential(nn.Linear(condition, channels), nn.ReLU(), nn.Linear(channels, channels))
        self.shift = nn.Sequential(nn.Linear(condition, channels), nn.ReLU(), nn.Linear(channels, channels))
        for last, start in ((self.scale[2], 1.0), (self.shift[2], 0.0)):
            nn.init.zeros_(last.get_parameter("weight"))
            nn.init.constant_(last.get_parameter("bias"), start)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Map h (b, c, s, s) and y (b, condition) to h's shape."""
        result: Tensor = h * self.scale(y)[:, :, None, None] + self.shift(y)[:, :, None, None]
        return result


class Fusion(nn.Module):
    """Two affines, each before a leaky ReLU: where words meet the map [DF-GAN]."""

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.affines = nn.ModuleList(Affine(condition, channels) for _ in range(2))

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Map h (b, c, s, s) and y (b, condition) to h's shape."""
        for affine in self.affines:
            h = F.leaky_relu(affine(h, y), SLOPE)
        return h


class UpResidual(nn.Module):
    """x2 (nearest), then shortcut + fusion, conv3x3, fusion, conv3x3 [DF-GAN]."""

    def __init__(self, condition: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.fusions = nn.ModuleList(Fusion(condition, c) for c in (in_channels, out_channels))
        self.convs = nn.ModuleList(
            nn.Conv2d(c, out_channels, 3, padding=1) for c in (in_channels, out_channels)
        )
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Map h (b, in, s, s) and y (b, condition) to (b, out, 2s, 2s)."""
        h = F.interpolate(h, scale_factor=2.0, mode="nearest")
        inner = h
        for fusion, conv in zip(self.fusions, self.convs, strict=True):
            inner = conv(fusion(inner, y))
        result: Tensor = self.shortcut(h) + inner
        return result


class RivalGenerator(nn.Module):
    """G(z, s): one image from noise and a sentence, without a memory.

    Args:
        width: channels of the finest map (32 in DF-GAN's published model).
        size: side of the image in px, a power of two >= 8.
        z_dim: numbers of noise.
        text_dim: d, width of the sentence embedding.
    """

    def __init__(self, width: int, size: int, *, z_dim: int = 100, text_dim: int = 256) -> None:
        super().__init__()
        self.size, self.z_dim = size, z_dim
        channels = widths(width, size)
        self.linear = nn.Linear(z_dim, channels[0] * BASE * BASE)
        self.blocks = nn.ModuleList(
            UpResidual(z_dim + text_dim, coarse, fine) for coarse, fine in itertools.pairwise(channels)
        )
        self.to_rgb = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, z: Tensor, sentence: Tensor) -> Tensor:
        """Map z (b, z_dim) and s (b, d) to images (b, 3, size, size) in [-1, 1]."""
        y = torch.cat([z, sentence], dim=1)
        h = self.linear(z).view(len(z), -1, BASE, BASE)
        for block in self.blocks:
            h = block(h, y)
        return torch.tanh(self.to_rgb(F.leaky_relu(h, SLOPE)))


# ---- Discriminator and its losses ----------------------------------------------------------------


class DownResidual(nn.Module):
    """Shortcut, halved + gamma * (conv4x4 stride 2, conv3x3), gamma learned from 0 [DF-GAN]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.LeakyReLU(SLOPE),
        )
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, h: Tensor) -> Tensor:
        """Map (b, in, s, s) to (b, out, s / 2, s / 2)."""
        result: Tensor = F.avg_pool2d(self.shortcut(h), 2) + self.gamma * self.body(h)
        return result


class RivalDiscriminator(nn.Module):
    """One decision on an image beside a sentence: one-way output [DF-GAN]. Arguments as G's."""

    def __init__(self, width: int, size: int, *, text_dim: int = 256) -> None:
        super().__init__()
        channels = widths(width, size)[::-1]
        self.image = nn.Conv2d(3, channels[0], 3, padding=1)
        self.blocks = nn.Sequential(
            *(DownResidual(fine, coarse) for fine, coarse in itertools.pairwise(channels))
        )
        self.joint = nn.Sequential(
            nn.Conv2d(channels[-1] + text_dim, 2 * width, 3, padding=1, bias=False),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(2 * width, 1, BASE, bias=False),
        )

    def features(self, images: Tensor) -> Tensor:
        """Map images (b, 3, s, s) in [-1, 1] to the last map (b, c, 4, 4)."""
        result: Tensor = self.blocks(self.image(images))
        return result

    def judge(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Return one score (b,) of features (b, c, 4, 4) beside sentences (b, d)."""
        tiled = sentence[:, :, None, None].expand(-1, -1, BASE, BASE)
        result: Tensor = self.joint(torch.cat([features, tiled], dim=1)).flatten()
        return result


def hinge(real: Tensor, fake: Tensor, mismatched: Tensor) -> Tensor:
    """D's hinge loss; generated and mismatched pairs share the fake side equally [DF-GAN]."""
    return F.relu(1 - real).mean() + 0.5 * (F.relu(1 + fake).mean() + F.relu(1 + mismatched).mean())


def matching_gradient_penalty(
    discriminator: RivalDiscriminator, images: Tensor, sentence: Tensor, *, k: float = 2.0, p: float = 6.0
) -> Tensor:
    """MA-GP: k E (|grad_x D| and |grad_s D| as one vector's norm)^p at real, matching pairs [DF-GAN]."""
    images = images.detach().requires_grad_(True)
    sentence = sentence.detach().requires_grad_(True)
    score = discriminator.judge(discriminator.features(images), sentence)
    gradients = torch.autograd.grad(score.sum(), (images, sentence), create_graph=True)
    norm = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1).norm(dim=1)
    penalty: Tensor = k * (norm**p).mean()
    return penalty
