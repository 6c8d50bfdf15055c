"""Building blocks of the generator, and the affine combination by which memory features enter it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Modulation = tuple[Tensor, Tensor]
"""Scale and shift of normalised maps, (b, c, 1, 1) each: x (1 + scale) + shift."""


def conv3x3(in_channels: int, out_channels: int, *, bias: bool = False) -> nn.Conv2d:
    """Return a size-preserving 3x3 convolution, without bias unless asked [family]."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


def channelwise(code: Tensor) -> Modulation:
    """Return the two halves of a code (b, 2c) as scale and shift."""
    scale, shift = code[:, :, None, None].chunk(2, dim=1)
    return scale, shift


def modulate(x: Tensor, by: Modulation | None) -> Tensor:
    """Scale and shift maps x (b, c, h, w), channel by channel; unchanged where there is nothing to do."""
    return x if by is None else x * (1 + by[0]) + by[1]


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
        kernel = F.pad(self.weight.flip(2, 3), (1, 1, 1, 1))
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

    def forward(self, x: Tensor, modulation: Modulation | None = None) -> Tensor:
        """Double the height and width; `modulation` [ours] moves the normalised maps."""
        return F.glu(modulate(self.norm(self.conv(x)), modulation), dim=1)


class ResidualBlock(nn.Module):
    """x + conv-BN-GLU-conv-BN(x), channels kept [family].

    A text code of `text_width`, where that is not 0, scales and shifts the first normalised maps, channel by
    channel, as in DF-GAN (Tao et al. 2022) [ours].
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

    def begin_as_identity(self) -> None:
        """Let the block begin with adding nothing."""
        nn.init.zeros_(self.body[4].get_parameter("weight"))
        if self.modulate is not None:
            nn.init.zeros_(self.modulate.weight)

    def forward(self, x: Tensor, text: Tensor | None = None) -> Tensor:
        """Map (b, c, h, w), and the text code (b, text_width) where it has one, to x's shape."""
        moved = None if self.modulate is None else channelwise(self.modulate(text))
        result: Tensor = x + self.body[2:](modulate(self.body[:2](x), moved))
        return result


class Gates(NamedTuple):
    """What one ACM did to the hidden features, for looking inside."""

    scale: Tensor  # (b, c, h, w) conv(u) that multiplies h
    shift: Tensor  # (b, c, h, w) conv(u) that is added


class AffineCombination(nn.Module):
    """h' = h * W(u) + B(u) with u = conv3x3(v') (Sec. 4.1; ACM of ManiGAN [family]).

    No activation and no normalisation inside. The convolutions have biases, and W starts near one and B
    near zero, so that a fresh module passes h through [ours].
    """

    def __init__(self, hidden_channels: int, feature_channels: int, width: int) -> None:
        super().__init__()
        self.shared = conv3x3(feature_channels, width, bias=True)
        self.scale = conv3x3(width, hidden_channels, bias=True)
        self.shift = conv3x3(width, hidden_channels, bias=True)
        self.apply(initialise)
        for gate in (self.scale, self.shift):
            nn.init.orthogonal_(gate.weight, gain=0.1)
        nn.init.ones_(self.scale.bias)  # type: ignore[arg-type]

    def forward(self, hidden: Tensor, features: Tensor) -> tuple[Tensor, Gates]:
        """Fuse features (b, f, h, w) into hidden (b, c, h, w); both of the same height."""
        shared = self.shared(features)  # (b, width, h, w)
        gates = Gates(self.scale(shared), self.shift(shared))
        return hidden * gates.scale + gates.shift, gates


class Crop(NamedTuple):
    """One square of each picture in a batch, on which a stage learns [ours]."""

    corners: Tensor  # (b, 2) left and top in px, whole numbers
    side: int

    def scaled(self, factor: int) -> "Crop":
        """Return the same squares of maps that are larger by a factor."""
        return Crop(self.corners * factor, self.side * factor)

    def widened(self, rim: int, size: int) -> tuple["Crop", "Crop"]:
        """Return the squares with a rim, kept inside maps of a size, and where they lie in these."""
        side = min(self.side + 2 * rim, size)
        corners = (self.corners - rim).clamp(0, size - side)
        return Crop(corners, side), Crop(self.corners - corners, self.side)

    def cut(self, maps: Tensor) -> Tensor:
        """Return the squares of maps (b, c, h, w) as (b, c, side, side)."""
        across = torch.arange(self.side, device=maps.device)
        rows = (self.corners[:, 1, None] + across)[:, :, None]  # (b, side, 1)
        columns = (self.corners[:, 0, None] + across)[:, None]  # (b, 1, side)
        sample = torch.arange(len(maps), device=maps.device)[:, None, None]
        return maps.movedim(1, -1)[sample, rows, columns].movedim(-1, 1)


def initialise(module: nn.Module) -> None:
    """Orthogonal weights, zero biases, BatchNorm scales near 1 [family]; apply to a whole net."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.orthogonal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
