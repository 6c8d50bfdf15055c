"""Text-image affine combination module (ACM): where the memory's features enter the image."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from memdriven.models.layers import UpBlock, conv3x3, initialise

FIRST_PARTS = ("project", "to_first", "early_norm")
"""The parts of a `FeaturePyramid` that the first stage needs."""


class Gates(NamedTuple):
    """What one ACM did to the hidden features, for looking inside."""

    scale: Tensor
    """conv(u) that multiplies h (b, c, h, w)."""
    shift: Tensor
    """conv(u) that is added (b, c, h, w)."""


class AffineCombination(nn.Module):
    """h' = h * W(u) + B(u) with u = conv3x3(v') (Sec. 4.1; ACM of ManiGAN [family]).

    No activation and no normalisation inside. W starts near one and B near zero, so that a
    fresh module passes h through [ours].
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


class FeaturePyramid(nn.Module):
    """v (b, 512, 16, 16) -> v' at each stage's size, by learned x2 blocks.

    The first step projects v to `width` channels by a 1x1 convolution [ours]: relu5_3's 512
    channels at 64 px and above would cost more than the rest of the generator.
    Stage i's map has `width` / 2^(i+1) channels, at least 16 [ours]; the maps before the first
    stage's, of 16 and 32 px, have `width`.
    """

    def __init__(self, in_channels: int, width: int, stages: int, *, early: bool = False) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, width, 1)
        self.channels = [max(min(16, width), width >> (stage + 1)) for stage in range(stages)]
        self.to_first = nn.Sequential(UpBlock(width, width), UpBlock(width, self.channels[0]))
        self.next = nn.ModuleList(UpBlock(self.channels[i], self.channels[i + 1]) for i in range(stages - 1))
        # relu5_3's scale is foreign to the hidden maps; later maps come normalised.
        self.early_norm = nn.BatchNorm2d(width) if early else None
        self.project.apply(initialise)

    def forward(self, v: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the early maps and one a stage, for a 16 x 16 grid.

        The early ones, (b, width, 16, 16) and (b, width, 32, 32), are none unless asked for; the
        stages' are (b, c_i, 64 * 2^i, 64 * 2^i).
        """
        projected = F.leaky_relu(self.project(v), 0.2)
        double = self.to_first[0](projected)
        early = [] if self.early_norm is None else [self.early_norm(projected), double]
        maps = [self.to_first[1](double)]
        for block in self.next:
            maps.append(block(maps[-1]))
        return early, maps
