"""One picture through the generator, a stage at a time, so that it can be shown and stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from memdriven.encoders.text import TextFeatures
from memdriven.models.generator import Generator


class Noise(NamedTuple):
    """Everything random in a picture."""

    z: Tensor
    """(1, z_dim)"""
    epsilon: Tensor
    """Of the conditioning augmentation, (1, condition_dim)."""


def draw_noise(seed: int, generator: Generator) -> Noise:
    """Return a picture's noise: z first, then epsilon, from one CPU generator (ours)."""
    source = torch.Generator("cpu").manual_seed(seed)
    device = next(generator.parameters()).device
    z = torch.randn(1, generator.config.z_dim, generator=source)
    epsilon = torch.randn(1, generator.config.condition_dim, generator=source)
    return Noise(z.to(device), epsilon.to(device))


def mean_words(text: TextFeatures) -> Tensor:
    """Return the masked mean of the word embeddings (b, d), how words enter G (ours)."""
    return text.words_mean


@torch.inference_mode()
def staged_images(
    generator: Generator, noise: Noise, text: TextFeatures, v: Tensor
) -> Iterator[Tensor]:
    """Yield each stage's image (1, 3, s, s) in [-1, 1] as soon as it is there.

    The steps are those of `Generator.forward`, whose images a test holds equal to these.
    """
    c, _, _ = generator.augment(text.sentence, noise.epsilon)
    maps: list[Tensor] = generator.pyramid(v) if generator.config.use_v else []
    words, h = mean_words(text), generator.first(noise.z, c, v.mean(dim=(2, 3)))
    for stage in range(generator.config.stages):
        if stage:
            h = generator.later[stage - 1](h, words)
        fused = generator.acm[stage](h, maps[stage])[0] if maps else h
        yield torch.tanh(generator.to_rgb[stage](fused))


def to_picture(image: Tensor) -> Image.Image:
    """Return a (1, 3, h, w) image in [-1, 1] as an 8-bit RGB picture."""
    pixels = (image[0].float() + 1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())  # (h, w, 3)


def repeatable() -> AbstractContextManager[None]:
    """Return a context in which cuDNN picks the same algorithm each time, in full float32."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags
