"""From pictures to tensors, and the crops and flips of training."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CROP = 76 / 64
"""Training images are this much larger than the random crop taken from them [family]."""


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """Return the central square of a picture, resized to `size` px a side (bicubic, antialiased).

    This is the same as resizing the short side to `size` and cropping the centre.
    """
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    if image.size == (size, size):
        return image
    return image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def resize_for_training(image: Image.Image, size: int, crop: float = CROP) -> Image.Image:
    """Return the central square at `crop` * `size` px, from which `random_crop_flip` cuts."""
    return centre_square(image, training_size(size, crop))


def training_size(size: int, crop: float = CROP) -> int:
    """Return the side in px at which images are kept for random crops of `size` px."""
    return max(size, round(size * crop))


def to_bytes(image: Image.Image) -> Tensor:
    """Return an RGB picture as uint8 (3, h, w)."""
    array = np.array(image.convert("RGB"), dtype=np.uint8)  # (h, w, 3)
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def to_tensor(image: Image.Image) -> Tensor:
    """Return an RGB picture as float32 (3, h, w) in [0, 1]."""
    return to_bytes(image).float().div_(255.0)


def to_picture(image: Tensor) -> Image.Image:
    """Return a float (3, h, w) image in [0, 1] as a picture; values beyond are clipped."""
    levels = image.detach().float().clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().cpu().numpy())


def to_unit(images: Tensor) -> Tensor:
    """Map uint8 images to float32 in [0, 1], the range of the encoders."""
    return images.float().div_(255.0)


def to_symmetric(images: Tensor) -> Tensor:
    """Map uint8 images to float32 in [-1, 1], the range of generator and discriminators."""
    return images.float().div_(127.5).sub_(1.0)


def random_crop_flip(images: Tensor, size: int, generator: torch.Generator, flip: bool = True) -> Tensor:
    """Cut a random `size` px square from each image and mirror half of them.

    Args:
        images: (b, 3, h, w) of any type, h and w at least `size`.
        size: side of the crop.
        generator: a CPU generator; the same state gives the same crops.
        flip: mirror left-right with probability 1/2.

    Returns:
        (b, 3, size, size) of the same type.
    """
    count, _, height, width = images.shape
    draws = torch.rand(count, 3, generator=generator)
    tops = (draws[:, 0] * (height - size + 1)).long().tolist()
    lefts = (draws[:, 1] * (width - size + 1)).long().tolist()
    mirrored = (draws[:, 2] < 0.5).tolist()
    out = images.new_empty(count, 3, size, size)
    for row, image, top, left, mirror in zip(out, images, tops, lefts, mirrored, strict=True):
        crop = image[:, top : top + size, left : left + size]
        row.copy_(crop.flip(-1) if flip and mirror else crop)
    return out
