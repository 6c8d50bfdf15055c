"""What this project adds to the first stage: memory, words and noise meet at 16 and 32 px [ours].

The paper fuses v at 64 px and above. There a generator of few layers can colour what the memory shows but
no longer work out what words and memory make of each other. At 16 px, v's own grid, depth is cheap:

    h      = ACM(h, v')                                 after the blocks that end at 16 and 32 px
    h      = residual blocks whose channels the text code scales and shifts
    t      = leaky ReLU(A [c, mean word] + B a + N(z))  the text code
    N(z)   = D z' + H(z'), z' = 2 sigmoid(gate(a)) z    what neither words nor memory settle is z's

a are the attributes that the caption names, as the encoders' reader says. Everything but the ACMs begins
with adding nothing, so that a trained generator can be gone on with.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from memdriven.config import GeneratorConfig
from memdriven.models.layers import (
    AffineCombination,
    Gates,
    Modulation,
    ResidualBlock,
    channelwise,
    initialise,
)

SIDES = (16, 32)
"""Sides in px of the first stage's maps into which v is fused before its last."""
BASE_SIZE = 64
"""Side in px of the first stage's image; each stage doubles it."""
SLOPE = 0.2


class Condition(NamedTuple):
    """What a batch's text says to the blocks."""

    code: Tensor | None = None
    """The text code t (b, text_code), where there is one."""
    last: Modulation | None = None
    """Scale and shift of the block that ends at 64 px, (b, 2g, 1, 1) each, where noise has a code."""


class EarlyFusion(nn.Module):
    """ACMs of v' into the first stage's maps of 16 and 32 px, and text-modulated blocks behind them.

    `early_blocks`, `text_code`, `attribute_dim` and `noise_code` say what there is; `trained` is as for G.
    """

    def __init__(self, config: GeneratorConfig, *, trained: bool = False) -> None:
        super().__init__()
        self.acm, self.residual = nn.ModuleDict(), nn.ModuleDict()
        widths = {str(side): BASE_SIZE // side * config.width for side in SIDES}
        for side, width in widths.items():
            self.acm[side] = AffineCombination(width, config.feature_width, config.acm_width)
        for side, width in widths.items():
            blocks = (ResidualBlock(width, config.text_code) for _ in range(config.early_blocks))
            self.residual[side] = nn.ModuleList(blocks)
        self.text_code = TextCode(config) if config.text_code else None
        if not trained:
            self.residual.apply(initialise)
            for block in self.residual.modules():
                if isinstance(block, ResidualBlock):
                    block.begin_as_identity()

    def condition(self, c: Tensor, words: Tensor, attributes: Tensor, z: Tensor) -> Condition:
        """Return what the text says: c (b, condition_dim), mean words (b, d), attributes (b, n), z."""
        return Condition() if self.text_code is None else self.text_code(c, words, attributes, z)

    def forward(self, h: Tensor, maps: dict[int, Tensor], condition: Condition) -> tuple[Tensor, list[Gates]]:
        """Fuse the map of h's side into h (b, c, s, s), where there is one; return it with the gates."""
        side = h.shape[-1]
        if side not in maps:
            return h, []
        h, gates = self.acm[str(side)](h, maps[side])
        for block in self.residual[str(side)].children():
            h = block(h, condition.code)
        return h, [gates]


class TextCode(nn.Module):
    """The code t of words, named attributes and noise that moves the blocks' channels."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = config.text_code
        self.linear = nn.Linear(config.condition_dim + config.text_dim, width)
        self.linear.apply(initialise)
        self.attributes = nn.Linear(config.attribute_dim, width, bias=False) if config.attribute_dim else None
        self.noise = NoiseCode(config) if config.noise_code else None
        begin_at_zero(self.attributes)

    def forward(self, c: Tensor, words: Tensor, attributes: Tensor, z: Tensor) -> Condition:
        """Return t (b, text_code), and the last block's modulation where noise has a code."""
        code = self.linear(torch.cat([c, words], dim=1))
        if self.attributes is not None:
            code = code + self.attributes(attributes)
        if self.noise is not None:
            code = code + self.noise(z, attributes)
        code = nn.functional.leaky_relu(code, SLOPE)
        return Condition(code, None if self.noise is None else channelwise(self.noise.modulate(code)))


class NoiseCode(nn.Module):
    """N(z), and how the text code moves the maps of 64 px: place, light, plumage nobody named.

    What the caption names closes z's gates, so that words win over noise. DF-GAN (Tao et al. 2022) gives
    (z, s) to every affine layer; here the text code is what they share.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        z, width, code = config.z_dim, config.noise_code, config.text_code
        self.gate = nn.Linear(config.attribute_dim, z) if config.attribute_dim else None
        self.direct = nn.Linear(z, code, bias=False)
        self.hidden = nn.Sequential(
            nn.Linear(z, width), nn.LeakyReLU(SLOPE), nn.Linear(width, code, bias=False)
        )
        self.modulate = nn.Sequential(
            nn.Linear(code, code), nn.LeakyReLU(SLOPE), nn.Linear(code, 4 * config.width)
        )
        begin_at_zero(self.gate, self.direct, self.hidden[2], self.modulate[2])

    def forward(self, z: Tensor, attributes: Tensor) -> Tensor:
        """Map z (b, z_dim) and attributes (b, n) to (b, text_code)."""
        if self.gate is not None:
            z = z * 2 * torch.sigmoid(self.gate(attributes))
        result: Tensor = self.direct(z) + self.hidden(z)
        return result


def begin_at_zero(*layers: nn.Module | None) -> None:
    """Set all weights and biases of the layers to 0."""
    for layer in layers:
        for parameter in layer.parameters() if layer is not None else ():
            nn.init.zeros_(parameter)
