"""From light to pixels: the bird over its surroundings, highlights rolled off, 8-bit sRGB."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.aviary.noise import smoothstep
from memdriven.aviary.skin import PART


def compose(
    picture: Tensor, colour: Tensor, part: Tensor, index: Tensor, real: Tensor, b: int, size: int
) -> tuple[Tensor, Tensor]:
    """Lay the birds over their surroundings with soft edges; develop to 8-bit sRGB."""
    layer = torch.zeros(b, 4, size * size, device=picture.device)
    solid = real.to(colour.dtype)
    values = torch.cat((colour * solid.unsqueeze(1), solid.unsqueeze(1)), 1)
    layer = layer.scatter_add(2, index.unsqueeze(1).expand(-1, 4, -1), values).reshape(b, 4, size, size)
    mask = layer[:, 3:]
    kernel = torch.tensor([1.0, 2.0, 1.0], device=picture.device)
    weights = (kernel[:, None] * kernel[None] / 16).expand(4, 1, 3, 3).contiguous()
    blurred = F.conv2d(F.pad(layer, (1, 1, 1, 1), mode="replicate"), weights, groups=4)
    share = blurred[:, 3:]
    # Only border pixels are mixed: inside, the surface stays sharp.
    alpha = torch.where(share > 0.999, 1.0, smoothstep(0.12, 0.88, share))
    front = torch.where(mask > 0.5, layer[:, :3], blurred[:, :3] / share.clamp_min(1e-3))
    linear = picture.reshape(b, 3, size, size)
    linear = linear + alpha * (front - linear)
    parts = torch.zeros(b, size * size, dtype=torch.int64, device=picture.device)
    parts = parts.scatter_add(1, index, torch.where(real, part, PART["background"]))
    return _develop(linear), parts.reshape(b, size, size).to(torch.uint8)


def _develop(linear: Tensor) -> Tensor:
    """Linear light to 8-bit sRGB, highlights rolled off."""
    knee = 0.70
    over = (linear - knee).clamp_min(0.0)
    linear = linear.clamp(0.0, knee) + (1 - knee) * (1 - (-over / (1 - knee)).exp())
    srgb = torch.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(1e-6).pow(1 / 2.4) - 0.055
    )
    return (srgb * 255 + 0.5).clamp(0, 255).to(torch.uint8)
