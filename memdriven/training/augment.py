"""Differentiable augmentation of what D sees (Zhao et al. 2020), for small photo sets [ours]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.errors import ConfigError

SHIFT = 1 / 8
"""Largest translation, as a share of the side."""


def augment(images: Tensor, policy: str, chance: torch.Generator) -> Tensor:
    """Apply the named augmentations to images (b, 3, s, s), each image its own draw.

    Args:
        policy: any of `color`, `translation`, `cutout`, joined by commas; empty for none.
        chance: a CPU generator; the same state augments alike.

    Raises:
        ConfigError: another name.
    """
    for name in filter(None, policy.split(",")):
        if name not in AUGMENTATIONS:
            raise ConfigError(
                wanted="augmentations of " + ", ".join(AUGMENTATIONS),
                found=repr(name),
                fix="correct train.augment",
            )
        images = AUGMENTATIONS[name](images, chance)
    return images


def _uniform(images: Tensor, chance: torch.Generator) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, generator=chance).to(images)


def _places(images: Tensor, below: int, chance: torch.Generator) -> Tensor:
    return torch.randint(below, (len(images), 2), generator=chance).to(images.device)


def _color(images: Tensor, chance: torch.Generator) -> Tensor:
    """Shift brightness, scale saturation and contrast about their means."""
    images = images + _uniform(images, chance) - 0.5
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (2 * _uniform(images, chance)) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (0.5 + _uniform(images, chance)) + mean


def _translation(images: Tensor, chance: torch.Generator) -> Tensor:
    """Move each image by up to an eighth of its side, zeros (grey) moving in."""
    size = images.shape[-1]
    reach = round(size * SHIFT)
    padded = F.pad(images, (reach,) * 4)
    corners = _places(images, 2 * reach + 1, chance)
    line = torch.arange(size, device=images.device)
    rows = (corners[:, :1] + line)[:, None, :, None]  # (b, 1, s, 1)
    columns = (corners[:, 1:] + line)[:, None, None, :]  # (b, 1, 1, s)
    which = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[which, channel, rows, columns]


def _cutout(images: Tensor, chance: torch.Generator) -> Tensor:
    """Blank a square of half the side at a random place."""
    size = images.shape[-1]
    centre = _places(images, size, chance)
    line = torch.arange(size, device=images.device)
    rows = ((line - centre[:, :1]).abs() < size // 4)[:, None, :, None]
    columns = ((line - centre[:, 1:]).abs() < size // 4)[:, None, None, :]
    return images * ~(rows & columns)


AUGMENTATIONS = {"color": _color, "translation": _translation, "cutout": _cutout}
