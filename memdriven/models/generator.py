"""The generator with image features: three (or any number of) stages, no attention (Sec. 4.1).

    c           = CA(s)                                   conditioning augmentation [family]
    h_0         = F_0(z, c, v_global)                     64 x 64
    h_i         = F_i(h_{i-1}, mean_t(e))                 128 x 128, 256 x 256, ...
    image_i     = tanh(conv(ACM_i(h_i, v'_i)))

The h that a stage hands on is the one before its ACM [family]. With `fuse_early`, F_0 fuses v
into its maps of 16 and 32 px by ACMs of their own, so that h_0 knows where v has what [ours]; with
`text_code`, the text scales and shifts the channels of the blocks behind these [ours]. With
`refine`, conv(ACM_i) is added to the image before, enlarged and still without its tanh, and the h
handed on is the one behind the ACM, for what is to be refined must be known [ours].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memdriven.config import FEATURE_CHANNELS, GeneratorConfig
from memdriven.errors import ConfigError
from memdriven.models.acm import FIRST_PARTS, AffineCombination, FeaturePyramid, Gates
from memdriven.models.layers import ResidualBlock, UpBlock, conv3x3, initialise

BASE_SIZE = 64
"""Side in px of the first stage's image; each stage doubles it."""
EARLY_SIZES = (16, 32)
"""Sides in px of the first stage's maps into which v can be fused before its last."""


class Stage(NamedTuple):
    """What one stage gives."""

    image: Tensor
    """(b, 3, s, s) in [-1, 1]."""
    gates: tuple[Gates, ...]
    """Of each fused map, in their order; none where the memory's features are switched off."""


class GeneratorOutput(NamedTuple):
    """What one forward pass gives."""

    images: list[Tensor]
    """A stage each, (b, 3, 64 * 2^i, 64 * 2^i) in [-1, 1]."""
    mu: Tensor
    logvar: Tensor
    """Of the conditioning augmentation, (b, condition_dim)."""
    gates: list[tuple[Gates, ...]]
    """A stage each, as in `Stage`."""


class ConditioningAugmentation(nn.Module):
    """c = mu(s) + exp(logvar(s) / 2) * epsilon: a smooth neighbourhood of the sentence [family]."""

    def __init__(self, text_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(text_dim, 4 * condition_dim)

    def forward(self, sentence: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return c, mu and logvar, each (b, condition_dim)."""
        mu, logvar = F.glu(self.linear(sentence), dim=1).chunk(2, dim=1)
        return mu + (0.5 * logvar).exp() * epsilon, mu, logvar


class FirstStage(nn.Module):
    """[z, c, v_global] -> 16g x 4 x 4 -> four up-blocks -> g x 64 x 64 [family]."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        g = config.width
        inputs = config.z_dim + config.condition_dim
        self.use_v_global = config.use_v_global
        if self.use_v_global:
            # relu5_3's scale is foreign to unit noise; a learned normalisation evens them.
            self.global_norm = nn.LayerNorm(FEATURE_CHANNELS)
            inputs += FEATURE_CHANNELS
        self.linear = nn.Linear(inputs, 2 * 16 * g * 4 * 4, bias=False)
        self.norm = nn.BatchNorm1d(2 * 16 * g * 4 * 4)
        self.blocks = nn.Sequential(
            UpBlock(16 * g, 8 * g), UpBlock(8 * g, 4 * g), UpBlock(4 * g, 2 * g), UpBlock(2 * g, g)
        )
        self.shape = (16 * g, 4, 4)

    def forward(self, z: Tensor, c: Tensor, v_global: Tensor, fuse: Callable[[Tensor], Tensor]) -> Tensor:
        """Return h_0 (b, g, 64, 64); `fuse` is applied to each map on the way."""
        parts = [z, c]
        if self.use_v_global:
            parts.append(self.global_norm(v_global))
        h = F.glu(self.norm(self.linear(torch.cat(parts, dim=1))), dim=1)
        h = h.view(-1, *self.shape)
        for block in self.blocks:
            h = fuse(block(h))
        return h


class NextStage(nn.Module):
    """h and the tiled mean word embedding -> R residual blocks -> x2 -> g channels."""

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


class Generator(nn.Module):
    """G(z, S, v): images of every stage from noise, text embeddings and memory features.

    Args:
        config: its sizes.
        trained: the weights will be read from a file, so that no time goes into good first ones.
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
        if config.use_v:
            self.pyramid = FeaturePyramid(
                FEATURE_CHANNELS, config.feature_width, config.stages, early=config.fuse_early
            )
            self.acm = nn.ModuleList(
                AffineCombination(config.width, channels, config.acm_width)
                for channels in self.pyramid.channels
            )
        self.early_acm = nn.ModuleDict(
            {
                str(side): AffineCombination(
                    BASE_SIZE // side * config.width, config.feature_width, config.acm_width
                )
                for side in EARLY_SIZES
                if config.use_v and config.fuse_early
            }
        )
        self.early_residual = nn.ModuleDict(
            {
                side: nn.ModuleList(
                    ResidualBlock(BASE_SIZE // int(side) * config.width, config.text_code)
                    for _ in range(config.early_blocks)
                )
                for side in self.early_acm
                if config.early_blocks
            }
        )
        self.text_code = nn.Sequential(
            *(
                (nn.Linear(config.condition_dim + config.text_dim, config.text_code), nn.LeakyReLU(0.2))
                if self.early_residual and config.text_code
                else ()
            )
        )
        self.named_code = nn.Sequential(
            *(  # adds to the first layer of `text_code`
                (nn.Linear(config.named_width, config.text_code, bias=False),)
                if self.text_code and config.named_width
                else ()
            )
        )
        if not trained:
            self.text_code.apply(initialise)
            for layer in self.named_code:
                nn.init.zeros_(layer.get_parameter("weight"))
            self.early_residual.apply(initialise)
            for blocks in self.early_residual.values():
                for block in blocks.children():  # each begins as the identity
                    nn.init.zeros_(block.get_submodule("body.4").get_parameter("weight"))
                    if config.text_code:
                        nn.init.zeros_(block.get_submodule("modulate").get_parameter("weight"))
        self.frozen: list[nn.Module] = []
        """Parts that `freeze` keeps as they are."""

    @property
    def resolutions(self) -> list[int]:
        """Side in px of each stage's image."""
        return [BASE_SIZE << stage for stage in range(self.config.stages)]

    def stage_parts(self, stage: int) -> dict[str, nn.Module]:
        """Return the modules that a stage adds to those before it, by their names in G."""
        names = [f"later.{stage - 1}", f"pyramid.next.{stage - 1}"]
        if stage == 0:
            names = ["augment", "first", "early_acm", "early_residual", "text_code", "named_code"]
            names += [f"pyramid.{part}" for part in FIRST_PARTS]
        names += [f"to_rgb.{stage}", f"acm.{stage}"]
        modules = dict(self.named_modules())
        return {name: modules[name] for name in names if name in modules}

    def freeze(self, stages: int, parts: Sequence[str] = ()) -> None:
        """Keep the first `stages` stages, and parts by their names, as they are.

        They get neither gradients nor new batch statistics.

        Raises:
            ConfigError: there is no such part.
        """
        modules = dict(self.named_modules())
        for name in parts:
            if name not in modules:
                raise ConfigError(
                    wanted="names of G's parts in train.frozen_parts: "
                    + ", ".join(n for n in modules if n.count(".") == 1),
                    found=repr(name),
                    fix="name one of these, or a part of it",
                )
        self.frozen = [p for i in range(stages) for p in self.stage_parts(i).values()]
        self.frozen += [modules[name] for name in parts]
        for part in self.frozen:
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Generator:
        """Set the mode of all that is not frozen."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(
        self,
        z: Tensor,
        sentence: Tensor,
        words: Tensor,
        v: Tensor,
        epsilon: Tensor,
        stages: int | None = None,
    ) -> GeneratorOutput:
        """Generate the images of the first `stages` stages (all by default).

        Args:
            z: noise (b, z_dim), standard normal.
            sentence: s (b, d).
            words: masked mean of the word embeddings (b, d) [ours], and behind it, with
                `named_width`, what the caption names (b, d + n).
            v: memory features (b, 512, 16, 16); zeros for no memory.
            epsilon: noise of the conditioning augmentation (b, condition_dim).
            stages: how many stages to run.
        """
        c, mu, logvar = self.augment(sentence, epsilon)
        images: list[Tensor] = []
        gates: list[tuple[Gates, ...]] = []
        for image, gate in self.stages(z, c, words, v, stages):
            images.append(image)
            gates.append(gate)
        return GeneratorOutput(images, mu, logvar, gates)

    def stages(
        self, z: Tensor, condition: Tensor, words: Tensor, v: Tensor, count: int | None = None
    ) -> Iterator[Stage]:
        """Yield the first `count` stages (all by default), each as soon as it is computed.

        Args:
            z: noise (b, z_dim).
            condition: c = CA(s) (b, condition_dim).
            words: masked mean of the word embeddings (b, d), and what the caption names.
            v: memory features (b, 512, 16, 16).
            count: how many stages to run.
        """
        early: list[Tensor] = []
        maps: list[Tensor] = []
        if self.config.use_v:
            early, maps = self.pyramid(v)

        gates: list[Gates] = []
        d = self.config.text_dim
        words, named = words[:, :d], words[:, d:]
        text: Tensor | None = None
        if self.text_code:
            text = self.text_code[0](torch.cat([condition, words], dim=1))
            text = self.text_code[1](text + self.named_code(named) if self.named_code else text)

        def fuse(h: Tensor) -> Tensor:
            for features in early:
                if features.shape[-1] == h.shape[-1]:
                    side = str(h.shape[-1])
                    h, gate = self.early_acm[side](h, features)
                    gates.append(gate)
                    if side in self.early_residual:
                        for block in self.early_residual[side].children():
                            h = block(h, text)
            return h

        h = self.first(z, condition, v.mean(dim=(2, 3)), fuse)
        image: Tensor | None = None
        for stage in range(self.config.stages if count is None else count):
            if stage:
                h = self.later[stage - 1](h, words)
            fused = h
            if maps:
                fused, gate = self.acm[stage](h, maps[stage])
                gates.append(gate)
            added = self.to_rgb[stage](fused)
            if self.config.refine:
                h = fused
                if image is not None:
                    added = added + F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
            image = added
            yield Stage(torch.tanh(image), tuple(gates))
            gates.clear()
