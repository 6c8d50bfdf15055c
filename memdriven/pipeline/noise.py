"""Everything random in a picture, drawn on the CPU from one seed, and the view of the memory it gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import torch
from torch import Tensor

from memdriven.models.generator import Generator
from memdriven.models.window import WHOLE, Window, draw_windows, seen_through
from memdriven.pipeline.request import Variation


class Noise(NamedTuple):
    """What a seed draws: z, epsilon, and how the memory is seen."""

    z: Tensor
    """(1, z_dim)"""
    epsilon: Tensor
    """Of the conditioning augmentation, (1, condition_dim)."""
    mirror: float = 0.0
    """How much of the memory is mirrored left to right: 0 or 1, in between only on the way from
    one to the other."""
    window: Window = WHOLE
    """The part of the memory that is seen, before it is mirrored."""


def draw_noise(
    seed: int,
    generator: Generator,
    variations: Sequence[Variation] = (),
    mirror: bool | None = None,
    window: Window | None = None,
) -> Noise:
    """Return a picture's noise [ours].

    Args:
        seed: of all that is drawn.
        generator: says which of them it was trained with, and its sizes.
        variations: each turns z towards the z of its own seed; the rest stays.
        mirror: replaces what the seed draws.
        window: replaces what the seed draws.
    """
    source = torch.Generator("cpu").manual_seed(seed)
    device = next(generator.parameters()).device
    z = torch.randn(1, generator.config.z_dim, generator=source)
    epsilon = torch.randn(1, generator.config.condition_dim, generator=source)
    if mirror is None:
        # A drawn number's lowest bit: its highest ones are much alike for seeds that are neighbours.
        mirror = generator.config.mirror and bool(torch.randint(2, (), generator=source))
    if window is None:
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


def apply_view(noise: Noise, v: Tensor) -> Tensor:
    """Return v (b, c, h, w) as a picture sees it: the window, enlarged, then mirrored."""
    if noise.window != WHOLE:
        v = seen_through(v, v.new_tensor([noise.window]).expand(len(v), -1))
    if noise.mirror in (0.0, 1.0):
        return v.flip(-1) if noise.mirror else v
    return v.lerp(v.flip(-1), noise.mirror)
