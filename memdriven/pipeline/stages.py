"""One picture through the generator, a stage at a time, so that it can be shown and stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from memdriven.encoders.text import TextFeatures
from memdriven.models.generator import Generator, Stage
from memdriven.models.window import WHOLE, Window, draw_windows, seen_through
from memdriven.pipeline.recipe import Variation


class Noise(NamedTuple):
    """Everything random in a picture."""

    z: Tensor
    """(1, z_dim)"""
    epsilon: Tensor
    """Of the conditioning augmentation, (1, condition_dim)."""
    mirror: float = 0.0
    """How much of the memory is mirrored left to right: 0 or 1, in between only on the way from
    one to the other."""
    window: Window = WHOLE
    """The part of the memory that is seen, before it is mirrored."""


def draw_noise(seed: int, generator: Generator, variations: Sequence[Variation] = ()) -> Noise:
    """Return a picture's noise: z, epsilon, the memory's side and part, drawn on the CPU (ours).

    Each variation turns z towards the z of its own seed; the others stay.
    """
    source = torch.Generator("cpu").manual_seed(seed)
    device = next(generator.parameters()).device
    z = torch.randn(1, generator.config.z_dim, generator=source)
    epsilon = torch.randn(1, generator.config.condition_dim, generator=source)
    # A drawn number's lowest bit: its highest ones are much alike for seeds that are neighbours.
    mirror = generator.config.mirror and bool(torch.randint(2, (), generator=source))
    window = WHOLE
    if generator.config.zoom:
        # The first numbers of neighbouring small seeds are alike: a hash tells them apart.
        source.manual_seed(int.from_bytes(sha256(f"window {seed}".encode()).digest()[:7]))
        x, y, side = draw_windows(1, generator.config.zoom, source)[0].tolist()
        window = (x, y, side)
    for variation in variations:
        source.manual_seed(variation.seed)
        other = torch.randn(1, generator.config.z_dim, generator=source)
        angle = variation.strength * math.pi / 2
        z = math.cos(angle) * z + math.sin(angle) * other
    return Noise(z.to(device), epsilon.to(device), float(mirror), window)


def seen_by(noise: Noise, v: Tensor) -> Tensor:
    """Return v (b, c, h, w) as a picture's noise sees it: a part of it, turned its way."""
    if noise.window != WHOLE:
        v = seen_through(v, v.new_tensor([noise.window]).expand(len(v), -1))
    return facing(v, noise.mirror)


def facing(v: Tensor, mirror: float) -> Tensor:
    """Return v (..., h, w) as a picture's noise turns it: see `Noise.mirror`."""
    if mirror in (0.0, 1.0):
        return v.flip(-1) if mirror else v
    return v.lerp(v.flip(-1), mirror)


def mean_words(text: TextFeatures) -> Tensor:
    """Return the masked mean of the word embeddings, how words enter G, with what they name."""
    return text.for_generator


@torch.inference_mode()
def staged(generator: Generator, noise: Noise, sentence: Tensor, words: Tensor, v: Tensor) -> Iterator[Stage]:
    """Yield each stage's image (1, 3, s, s) in [-1, 1] and gates as soon as they are there.

    Args:
        generator: the network.
        noise: z, epsilon, and how v is seen.
        sentence: (1, d).
        words: masked mean of the word embeddings, (1, d).
        v: memory features (1, 512, 16, 16).
    """
    c, _, _ = generator.augment(sentence, noise.epsilon)
    yield from generator.stages(noise.z, c, words, seen_by(noise, v))


def staged_images(generator: Generator, noise: Noise, text: TextFeatures, v: Tensor) -> Iterator[Tensor]:
    """Yield the images of `staged` alone, for a caption's embeddings."""
    for stage in staged(generator, noise, text.sentence, mean_words(text), v):
        yield stage.image


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
