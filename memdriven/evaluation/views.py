"""Images of the memory as the noise of pictures saw them: cut and turned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from memdriven.models.generator import Generator
from memdriven.pipeline.noise import apply_view, draw_noise


def as_seen(generator: Generator, images: Tensor, rows: Tensor, seeds: Sequence[int]) -> Tensor:
    """Return the image of each picture's memory as its noise saw it, uint8 (n, 3, s, s).

    Args:
        generator: whose noise it is.
        images: of the training set, uint8 (m, 3, s, s).
        rows: which of them each picture drew on (n,); where negative, any image is returned.
        seeds: of each picture's noise.
    """
    parts = []
    for row, seed in zip(rows.clamp(min=0).tolist(), seeds, strict=True):
        noise = draw_noise(seed, generator)
        parts.append(apply_view(noise, images[row : row + 1].float()))
    return torch.cat(parts).round().clamp(0, 255).to(torch.uint8)
