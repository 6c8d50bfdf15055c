"""Building blocks shared by generator and discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv3x3(in_channels: int, out_channels: int, *, bias: bool = False) -> nn.Conv2d:
    """Return a size-preserving 3x3 convolution, without bias unless asked [family]."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


class UpsampleConv(nn.Module):
    """Nearest x2 upsampling then conv3x3 [family], as the one transposed convolution it equals.

    Repeating each pixel 2x2 is a transposed convolution with a kernel of ones, and two
    convolutions compose: the 3x3 kernel spread by that 2x2 box is a 4x4 kernel of stride 2.
    Same function, 4 instead of 9 multiplications an output value.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        nn.init.orthogonal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, in, h, w) to (b, out, 2h, 2w)."""
        flipped = self.weight.flip(2, 3)
        kernel = F.pad(flipped, (1, 1, 1, 1))
        # A 2x2 box sum: entry (i, j) adds the 3x3 entries that fall on the same fine pixel.
        kernel = (kernel[..., 1:, 1:] + kernel[..., 1:, :-1]) + (
            kernel[..., :-1, 1:] + kernel[..., :-1, :-1]
        )  # (out, in, 4, 4)
        return F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2, padding=1)


class UpBlock(nn.Module):
    """x2 upsampling, conv3x3, BatchNorm, GLU: (b, in, h, w) -> (b, out, 2h, 2w) [family]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = UpsampleConv(in_channels, 2 * out_channels)
        self.norm = nn.BatchNorm2d(2 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Double the height and width."""
        return F.glu(self.norm(self.conv(x)), dim=1)


class ResidualBlock(nn.Module):
    """x + conv-BN-GLU-conv-BN(x), channels kept [family].

    Args:
        channels: of x.
        text_width: of the text code that scales and shifts the first normalised maps, channel by
            channel, as in DF-GAN (Tao et al. 2022) [ours]; 0 for none.
    """

    def __init__(self, channels: int, text_width: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3x3(channels, 2 * channels),
            nn.BatchNorm2d(2 * channels),
            nn.GLU(dim=1),
            conv3x3(channels, channels),
            nn.BatchNorm2d(channels),
        )
        self.modulate = nn.Linear(text_width, 4 * channels) if text_width else None

    def forward(self, x: Tensor, text: Tensor | None = None) -> Tensor:
        """Map (b, c, h, w), and the text code (b, text_width) where it has one, to x's shape."""
        inner = self.body[:2](x)
        if self.modulate is not None:
            scale, shift = self.modulate(text)[:, :, None, None].chunk(2, dim=1)
            inner = inner * (1 + scale) + shift
        result: Tensor = x + self.body[2:](inner)
        return result


def initialise(module: nn.Module) -> None:
    """Orthogonal weights, zero biases, BatchNorm scales near 1 [family]; apply to a whole net."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.orthogonal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
