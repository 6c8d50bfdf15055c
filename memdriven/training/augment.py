"""Random changes of pictures through which gradients flow, each picture its own draw [ours].

`augment`: what D sees of small photo sets (Zhao et al. 2020). `disturb`: small disturbances under which
a fair judge should not change its mind; DAMSM's pixel network and the attribute judge are trained on
disturbed pictures, and may score disturbed generated ones: a pattern too fine to survive cannot please.
"""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.errors import ConfigError, require
from memdriven.training.distributed import Chance

SHIFT = 1 / 8
"""Largest translation, as a share of the side."""


def augment(images: Tensor, policy: str, chance: Chance) -> Tensor:
    """Apply augmentations to images (b, 3, s, s), each image its own draw.

    `policy` has any of `color`, `translation`, `cutout`, joined by commas; a ConfigError refuses others.
    """
    for name in filter(None, policy.split(",")):
        wanted = "augmentations of " + ", ".join(AUGMENTATIONS)
        require(name in AUGMENTATIONS, ConfigError, wanted, repr(name), "correct train.augment")
        images = AUGMENTATIONS[name](images, chance)
    return images


def _color(images: Tensor, chance: Chance) -> Tensor:
    """Shift brightness, scale saturation and contrast about their means."""
    brightness, saturation, contrast = (
        chance.draw(torch.rand, len(images), 1, 1, 1).to(images) for _ in range(3)
    )
    images = images + brightness - 0.5
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (0.5 + contrast) + mean


def _translation(images: Tensor, chance: Chance) -> Tensor:
    """Move each image by up to an eighth of its side, zeros (grey) moving in."""
    size = images.shape[-1]
    reach = round(size * SHIFT)
    padded = F.pad(images, (reach,) * 4)
    corners = chance.draw(partial(torch.randint, 2 * reach + 1), len(images), 2).to(images.device)
    line = torch.arange(size, device=images.device)
    rows = (corners[:, :1] + line)[:, None, :, None]  # (b, 1, s, 1)
    columns = (corners[:, 1:] + line)[:, None, None, :]  # (b, 1, 1, s)
    which = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[which, channel, rows, columns]


def _cutout(images: Tensor, chance: Chance) -> Tensor:
    """Blank a square of half the side at a random place."""
    size = images.shape[-1]
    centre = chance.draw(partial(torch.randint, size), len(images), 2).to(images.device)
    line = torch.arange(size, device=images.device)
    rows = ((line - centre[:, :1]).abs() < size // 4)[:, None, :, None]
    columns = ((line - centre[:, 1:]).abs() < size // 4)[:, None, None, :]
    return images * ~(rows & columns)


AUGMENTATIONS = {"color": _color, "translation": _translation, "cutout": _cutout}


def disturb(images: Tensor, chance: Chance) -> Tensor:
    """Disturb pictures so that a network trained on them judges imperfect ones fairly.

    Each is mirrored with probability 1/2, shifted by up to 10 % and scaled by up to 15 %; half
    of them are softened by a 3 x 3 binomial blur of random strength, half get noise of up to 4 %;
    all keep their hue, brightness varies by 5 %. Pictures are (b, 3, s, s) float32 in [0, 1], before and
    after; gradients flow through.
    """
    count, device = len(images), images.device
    draws = chance.draw(torch.rand, count, 8).to(device)
    scale = 0.85 + 0.3 * draws[:, 0]
    mirror = torch.where(draws[:, 1] < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 1, 1] = scale * mirror, scale
    theta[:, :, 2] = 0.4 * draws[:, 2:4] - 0.2  # -1..1 spans the picture: 0.2 is a tenth
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    row = torch.tensor([1.0, 2.0, 1.0], device=device) / 4
    kernel = (row[:, None] * row[None, :]).expand(3, 1, 3, 3)
    soft = F.conv2d(F.pad(moved, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    strength = (2 * draws[:, 4] - 1).clamp(min=0).view(-1, 1, 1, 1)
    moved = moved + strength * (soft - moved)
    gain = (0.95 + 0.1 * draws[:, 5]).view(-1, 1, 1, 1)
    level = 0.04 * (2 * draws[:, 6] - 1).clamp(min=0).view(-1, 1, 1, 1)
    noise = chance.draw(torch.randn, *moved.shape).to(device)
    return (moved * gain + level * noise).clamp(0, 1)
