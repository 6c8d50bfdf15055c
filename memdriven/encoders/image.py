"""DAMSM's image side: region and global features in the text space, from v or from pixels."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memdriven.config import FEATURE_CHANNELS


class ImageFeatures(NamedTuple):
    """Embeddings of a batch of images."""

    regions: Tensor
    """(b, r, d), r places of a grid in row order."""
    global_: Tensor
    """(b, d)."""


class Projection(nn.Module):
    """Maps backbone features to the text space: a 1x1 convolution and a linear layer [family]."""

    def __init__(self, region_channels: int, global_channels: int, dim: int) -> None:
        super().__init__()
        self.regions = nn.Conv2d(region_channels, dim, 1, bias=False)
        self.global_ = nn.Linear(global_channels, dim)

    def embed(self, maps: Tensor, pooled: Tensor) -> ImageFeatures:
        """Project maps (b, c, h, w) to regions and a pooled vector (b, c') to the global one."""
        regions = self.regions(maps).flatten(2).transpose(1, 2)  # (b, h*w, d)
        return ImageFeatures(regions, self.global_(pooled))


class FeatureHeads(nn.Module):
    """v -> regions and global vector: the memory bank's own features in the text space.

    Each channel of v is divided by `spread`, its root mean square over the training set, because
    relu5_3's channels differ a hundredfold in strength; and neighbouring places are averaged in
    pairs, 16 x 16 -> 8 x 8 regions, a quarter of the cost at a receptive field of 196 px [ours].
    """

    spread: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project = Projection(FEATURE_CHANNELS, FEATURE_CHANNELS, dim)
        self.register_buffer("spread", torch.ones(FEATURE_CHANNELS))

    @torch.no_grad()
    def fit_spread(self, v: Tensor) -> None:
        """Set `spread` from a sample of v (b, 512, h, w); rare channels keep half the mean one."""
        rms = v.float().square().mean((0, 2, 3)).sqrt()
        self.spread.copy_(torch.maximum(rms, 0.5 * rms.mean()).clamp(min=1e-3))

    def forward(self, v: Tensor) -> ImageFeatures:
        """Embed v (b, 512, h, w), h and w multiples of 2."""
        maps = F.avg_pool2d(v / self.spread[:, None, None], 2)  # (b, 512, h/2, w/2)
        return self.project.embed(maps, maps.mean((2, 3)))


class LeakyBlock(nn.Module):
    """x + conv(relu(conv(x))), each convolution batch-normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.1),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (b, c, h, w) of the same shape."""
        return F.leaky_relu(x + self.body(x), 0.1)


def _halve(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1),
    )


class CompactBackbone(nn.Module):
    """A small residual network for CPUs: 48 million multiply-adds at 64 px, 8 x 8 regions [ours].

    It is trained from scratch with DAMSM, on disturbed images (`training/augment.py: disturb`), and scores
    generated ones in the generator's loss; activations are leaky, so that its gradient reaches
    every pixel. At a larger `size` (in px, a multiple of 16) it sees more and smaller regions.
    """

    def __init__(self, dim: int, size: int = 64) -> None:
        super().__init__()
        self.size = size
        self.fine = nn.Sequential(
            _halve(3, 32, kernel=4), _halve(32, 64), LeakyBlock(64), _halve(64, 112), LeakyBlock(112)
        )
        self.coarse = _halve(112, 160)
        self.project = Projection(112, 112 + 160, dim)

    def forward(self, images: Tensor) -> ImageFeatures:
        """Embed images (b, 3, h, w) in [0, 1], resized to its size where they are not."""
        return self.embed(self.maps(images))

    def maps(self, images: Tensor) -> Tensor:
        """Return the features (b, 112, size / 8, size / 8) that regions and global vector need."""
        scaled = resized(images, self.size) * 4 - 2
        maps: Tensor = self.fine(scaled.contiguous(memory_format=torch.channels_last))
        return maps

    def embed(self, maps: Tensor) -> ImageFeatures:
        """Embed features (b, 112, size / 8, size / 8)."""
        coarse = self.coarse(maps)  # half as many a side
        pooled = torch.cat([maps.mean((2, 3)), coarse.mean((2, 3))], dim=1)
        return self.project.embed(maps, pooled)


def resized(images: Tensor, size: int) -> Tensor:
    """Return images at `size` px, antialiased where they shrink; those that fit unchanged."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
