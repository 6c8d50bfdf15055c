"""The generator with image features: three (or any number of) stages, no attention (Sec. 4.1).

    c           = CA(s)                                   conditioning augmentation [family]
    h_0         = F_0(z, c, v_global)                     64 x 64
    h_i         = F_i(h_{i-1}, mean_t(e))                 128 x 128, 256 x 256, ...
    image_i     = tanh(conv(ACM_i(h_i, v'_i)))

The h that a stage hands on is the one before its ACM [family]. What this project adds stands in boxes of
its own: `EarlyFusion` (memory, words and noise meet at 16 and 32 px), `refine` (a later stage adds to the
image before it), a first layer of low rank.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memdriven.config import FEATURE_CHANNELS, GeneratorConfig
from memdriven.models.early_fusion import BASE_SIZE, SIDES, Condition, EarlyFusion
from memdriven.models.layers import (
    AffineCombination,
    Crop,
    Gates,
    ResidualBlock,
    UpBlock,
    conv3x3,
    initialise,
)


class Stage(NamedTuple):
    """What one stage gives."""

    image: Tensor
    """(b, 3, s, s) in [-1, 1]."""
    gates: tuple[Gates, ...]
    """Of each fused map, in their order; none where the memory's features are switched off."""


class GeneratorOutput(NamedTuple):
    """What one forward pass gives."""

    images: list[Tensor]  # a stage each, (b, 3, 64 * 2^i, 64 * 2^i) in [-1, 1]
    mu: Tensor  # (b, condition_dim) of the conditioning augmentation
    logvar: Tensor  # (b, condition_dim) likewise


# ---- Text: c = mu(s) + exp(logvar(s) / 2) * epsilon ----------------------------------------------


class ConditioningAugmentation(nn.Module):
    """CA: a smooth neighbourhood of the sentence embedding [family]."""

    def __init__(self, text_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(text_dim, 4 * condition_dim)

    def forward(self, sentence: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return c, mu and logvar, each (b, condition_dim)."""
        mu, logvar = F.glu(self.linear(sentence), dim=1).chunk(2, dim=1)
        return mu + (0.5 * logvar).exp() * epsilon, mu, logvar


# ---- Memory features at every stage's size: v -> v'_i --------------------------------------------


class FeaturePyramid(nn.Module):
    """v (b, 512, 16, 16) -> v' at each stage's size, by learned x2 blocks.

    The first step projects v to `width` channels by a 1x1 convolution [ours]: relu5_3's 512
    channels at 64 px and above would cost more than the rest of the generator.
    Stage i's map has `width` / 2^(i+1) channels, at least 16 [ours]; the maps before the first
    stage's, of 16 and 32 px, have `width`.
    """

    FIRST_PARTS = ("project", "to_first", "early_norm")
    """What the first stage needs."""

    def __init__(self, in_channels: int, width: int, stages: int, *, early: bool = False) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, width, 1)
        self.channels = [max(min(16, width), width >> (stage + 1)) for stage in range(stages)]
        self.to_first = nn.Sequential(UpBlock(width, width), UpBlock(width, self.channels[0]))
        self.next = nn.ModuleList(UpBlock(self.channels[i], self.channels[i + 1]) for i in range(stages - 1))
        # relu5_3's scale is foreign to the hidden maps; later maps come normalised.
        self.early_norm = nn.BatchNorm2d(width) if early else None
        self.project.apply(initialise)

    def forward(self, v: Tensor, stages: int | None = None) -> tuple[dict[int, Tensor], list[Tensor]]:
        """Return the early maps by their sides, and one for each of the first stages (all).

        The early ones, (b, width, 16, 16) and (b, width, 32, 32), are none unless asked for; the
        stages' are (b, c_i, 64 * 2^i, 64 * 2^i).
        """
        projected = F.leaky_relu(self.project(v), 0.2)
        double = self.to_first[0](projected)
        early = {} if self.early_norm is None else {SIDES[0]: self.early_norm(projected), SIDES[1]: double}
        maps = [self.to_first[1](double)]
        for block in self.next[: None if stages is None else stages - 1]:
            maps.append(block(maps[-1]))
        return early, maps


# ---- Stages: F_0 and F_i -------------------------------------------------------------------------


class FirstStage(nn.Module):
    """F_0: [z, c, v_global] -> 16g x 4 x 4 -> four up-blocks -> g x 64 x 64 [family]."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        g = config.width
        self.use_v_global = config.use_v_global
        inputs, outputs = config.z_dim + config.condition_dim, 2 * 16 * g * 4 * 4
        if self.use_v_global:
            # relu5_3's scale is foreign to unit noise; a learned normalisation evens them [ours].
            self.global_norm = nn.LayerNorm(FEATURE_CHANNELS)
            inputs += FEATURE_CHANNELS
        self.linear: nn.Module = nn.Linear(inputs, outputs, bias=False)
        if rank := config.first_rank:  # three quarters of a small generator's weights are here [ours]
            layers = (nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs, bias=False))
            self.linear = nn.Sequential(*layers)
        self.norm = nn.BatchNorm1d(outputs)
        self.blocks = nn.ModuleList(
            UpBlock(wide * g, narrow * g) for wide, narrow in ((16, 8), (8, 4), (4, 2), (2, 1))
        )
        self.shape = (16 * g, 4, 4)

    def start(self, z: Tensor, c: Tensor, v_global: Tensor) -> Tensor:
        """Return the first map (b, 16g, 4, 4)."""
        parts = [z, c, *([self.global_norm(v_global)] if self.use_v_global else [])]
        h = F.glu(self.norm(self.linear(torch.cat(parts, dim=1))), dim=1)
        return h.view(-1, *self.shape)


class NextStage(nn.Module):
    """F_i: h and the tiled mean word embedding -> R residual blocks -> x2 -> g channels."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        g = config.width
        self.words = nn.Linear(config.text_dim, g)
        self.merge = nn.Sequential(conv3x3(2 * g, 4 * g), nn.BatchNorm2d(4 * g), nn.GLU(dim=1))
        self.residual = nn.Sequential(*(ResidualBlock(2 * g) for _ in range(config.residual_blocks)))
        self.up = UpBlock(2 * g, g)

    def forward(self, h: Tensor, words: Tensor) -> Tensor:
        """Map h (b, g, s, s) and mean words (b, d) to (b, g, 2s, 2s)."""
        tiled = self.words(words)[:, :, None, None].expand(-1, -1, *h.shape[2:])
        result: Tensor = self.up(self.residual(self.merge(torch.cat([h, tiled], dim=1))))
        return result


# ---- The whole generator -------------------------------------------------------------------------


class Generator(nn.Module):
    """G(z, S, v): images of every stage from noise, text embeddings and memory features.

    With `trained`, the weights will be read from a file, so that no time goes into good first ones.
    """

    def __init__(self, config: GeneratorConfig, *, trained: bool = False) -> None:
        super().__init__()
        self.config = config
        self.augment = ConditioningAugmentation(config.text_dim, config.condition_dim)
        self.first = FirstStage(config)
        self.later = nn.ModuleList(NextStage(config) for _ in range(config.stages - 1))
        self.to_rgb = nn.ModuleList(conv3x3(config.width, 3) for _ in range(config.stages))
        if not trained:
            self.apply(initialise)
            for last in self.to_rgb[1:] if config.refine else ():
                nn.init.zeros_(last.get_parameter("weight"))
        self.early: EarlyFusion | None = None
        if config.use_v:
            g, width = config.width, config.feature_width
            self.pyramid = FeaturePyramid(FEATURE_CHANNELS, width, config.stages, early=config.fuse_early)
            channels = self.pyramid.channels
            self.acm = nn.ModuleList(AffineCombination(g, c, config.acm_width) for c in channels)
            # ManiGAN's later stages also fuse v before their residual blocks, so that F_i sees where v
            # has what [family].
            before = channels[:-1] if config.acm_before else []
            self.acm_before = nn.ModuleList(AffineCombination(g, c, config.acm_width) for c in before)
            if config.fuse_early:
                self.early = EarlyFusion(config, trained=trained)

    @property
    def resolutions(self) -> list[int]:
        """Side in px of each stage's image."""
        return [BASE_SIZE << stage for stage in range(self.config.stages)]

    @property
    def rim(self) -> int:
        """How far a later stage looks, in px of the stage before: its convolutions, one px each at most."""
        drawn_back = 2 * (self.config.back_projection > 0)
        return 4 + 2 * self.config.residual_blocks + 2 * self.config.acm_before + drawn_back

    def stage_parts(self, stage: int) -> dict[str, nn.Module]:
        """Return the modules that a stage adds to those before it, by their names in G."""
        names = [f"later.{stage - 1}", f"pyramid.next.{stage - 1}", f"acm_before.{stage - 1}"]
        if stage == 0:
            names = ["augment", "first", "early", *(f"pyramid.{n}" for n in FeaturePyramid.FIRST_PARTS)]
        names += [f"to_rgb.{stage}", f"acm.{stage}"]
        modules = dict(self.named_modules())
        return {name: modules[name] for name in names if name in modules}

    def forward(
        self,
        z: Tensor,
        sentence: Tensor,
        text_condition: Tensor,
        v: Tensor,
        epsilon: Tensor,
        stages: int | None = None,
        crop: Crop | None = None,
    ) -> GeneratorOutput:
        """Generate the images of the first `stages` stages (all by default).

        Args:
            z: noise (b, z_dim), standard normal.
            sentence: s (b, d).
            text_condition: masked mean of the word embeddings (b, d) [ours], and behind it, with
                `attribute_dim`, what the caption names (b, d + n).
            v: memory features (b, 512, 16, 16); zeros for no memory.
            epsilon: noise of the conditioning augmentation (b, condition_dim).
            stages: how many stages to run.
            crop: the squares of the last stage's images to make, in px of the stage before; all by default.
        """
        c, mu, logvar = self.augment(sentence, epsilon)
        made = self.stages(z, c, text_condition, v, stages, crop)
        return GeneratorOutput([stage.image for stage in made], mu, logvar)

    def stages(
        self,
        z: Tensor,
        c: Tensor,
        text_condition: Tensor,
        v: Tensor,
        count: int | None = None,
        crop: Crop | None = None,
    ) -> Iterator[Stage]:
        """Yield the first `count` stages (all by default), each as soon as it is computed.

        `c` is CA(s) (b, condition_dim); the others are those of `forward`.
        """
        count = self.config.stages if count is None else count
        words, attributes = text_condition.tensor_split([self.config.text_dim], dim=1)

        # Memory features at every stage's size: v -> v'_i (b, c_i, 64 * 2^i, 64 * 2^i).
        early, maps = self.pyramid(v, count if crop is None else count - 1) if self.config.use_v else ({}, [])

        # First stage, 4 -> 64 px: h_0 = F_0(z, c, v_global).
        gates: list[Gates] = []
        text = Condition() if self.early is None else self.early.condition(c, words, attributes, z)
        h = self.first.start(z, c, v.mean(dim=(2, 3)))
        for block in self.first.blocks:
            h = block(h, text.last if block is self.first.blocks[-1] else None)
            if self.early is not None:  # [ours] at 16 and 32 px
                h, fused_gates = self.early(h, early, text)
                gates += fused_gates

        rgb: Tensor | None = None  # the image before its tanh
        for i in range(count):
            inner: Crop | None = None
            if crop is not None and i == count - 1:  # [ours] on squares of it
                h, rgb, inner = self._cut(crop, h, rgb, maps)

            # Next stage, x2: h_i = F_i(h_{i-1}, mean_t(e)).
            if i > 0:
                if maps and self.acm_before:  # [family]
                    h, _ = self.acm_before[i - 1](h, maps[i - 1])
                h = self.later[i - 1](h, words)

            # Affine combination: h' = h * W(v'_i) + B(v'_i).
            fused = h
            if maps:
                fused, gate = self.acm[i](h, maps[i])
                gates.append(gate)

            # image_i = tanh(conv(h')); [ours] what it adds to the image before, where it refines. What is to
            # be refined must be known: the h that is handed on is then the one behind the ACM.
            # The image is made in float32, also under autocast: bf16 has 8 bits, as many as its levels.
            with torch.autocast(fused.device.type, enabled=False):
                made = self.to_rgb[i](fused.float())
            if self.config.refine:
                made, h = self._refined(rgb, made), fused
            rgb = made if inner is None else inner.scaled(2).cut(made)
            yield Stage(torch.tanh(rgb), tuple(gates))
            gates = []

    def _cut(
        self, crop: Crop, h: Tensor, rgb: Tensor | None, maps: list[Tensor]
    ) -> tuple[Tensor, Tensor | None, Crop]:
        """Return what the last stage, which is convolutional, learns on: its squares with a rim around them.

        They are cut out of its input, of the image before and of `maps`, which gets the last one; the third
        value is where the squares lie in these, so that the rim is cut off again.
        """
        around, inner = crop.widened(self.rim, h.shape[-1])
        if maps:
            maps[-1] = around.cut(maps[-1])
            maps.append(self.pyramid.next[len(maps) - 1](maps[-1]))
        return around.cut(h), None if rgb is None else around.cut(rgb), inner

    def _refined(self, before: Tensor | None, added: Tensor) -> Tensor:
        """Add to the image before, enlarged; then draw the sum back to it (Irani and Peleg 1991) [ours]."""
        if before is None:
            return added
        image = added + enlarged(before)
        if self.config.back_projection:
            image = image + self.config.back_projection * enlarged(before - F.avg_pool2d(image, 2))
        return image


def enlarged(image: Tensor) -> Tensor:
    """Return an image (b, 3, s, s) at twice its side, before its tanh."""
    return F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
