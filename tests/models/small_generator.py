"""A small generator's settings, and inputs for it."""

import torch

from memdriven.config import GeneratorConfig
from memdriven.models.generator import Generator

SMALL = GeneratorConfig(stages=2, width=4, acm_width=8, feature_width=8, residual_blocks=1)


def inputs(b: int = 2, seed: int = 0) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    shapes = ((b, 100), (b, 256), (b, 256), (b, 512, 16, 16), (b, 100))
    return tuple(torch.randn(shape, generator=g) for shape in shapes)


def first_map(model: Generator, z: torch.Tensor, c: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """h_0 without what is ours: F_0's blocks one after the other."""
    h = model.first.start(z, c, v.mean(dim=(2, 3)))
    for block in model.first.blocks:
        h = block(h)
    return h
