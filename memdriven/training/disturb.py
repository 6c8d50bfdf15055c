"""Small random disturbances of pictures, under which a fair judge should not change its mind.

DAMSM's pixel network is trained on disturbed photos, and may score disturbed generated ones: a
pattern too fine to survive them cannot please it [ours].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def disturb(images: Tensor, generator: torch.Generator) -> Tensor:
    """Disturb pictures so that a network trained on them judges imperfect ones fairly.

    Each is mirrored with probability 1/2, shifted by up to 10 % and scaled by up to 15 %; half
    of them are softened by a 3 x 3 binomial blur of random strength, half get noise of up to 4 %;
    all keep their hue, brightness varies by 5 %.

    Args:
        images: (b, 3, s, s) float32 in [0, 1], on any device; gradients flow through.
        generator: a CPU generator; the same state disturbs alike.

    Returns:
        (b, 3, s, s) in [0, 1].
    """
    count, device = len(images), images.device
    draws = torch.rand(count, 8, generator=generator).to(device)
    scale = 0.85 + 0.3 * draws[:, 0]
    mirror = torch.where(draws[:, 1] < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 1, 1] = scale * mirror, scale
    theta[:, :, 2] = 0.4 * draws[:, 2:4] - 0.2  # -1..1 spans the picture: 0.2 is a tenth
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    soft = _binomial_blur(moved)
    strength = (2 * draws[:, 4] - 1).clamp(min=0).view(-1, 1, 1, 1)
    moved = moved + strength * (soft - moved)
    gain = (0.95 + 0.1 * draws[:, 5]).view(-1, 1, 1, 1)
    level = 0.04 * (2 * draws[:, 6] - 1).clamp(min=0).view(-1, 1, 1, 1)
    noise = torch.randn(moved.shape, generator=generator).to(device)
    return (moved * gain + level * noise).clamp(0, 1)


def _binomial_blur(images: Tensor) -> Tensor:
    row = torch.tensor([1.0, 2.0, 1.0], device=images.device) / 4
    kernel = (row[:, None] * row[None, :]).expand(3, 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
