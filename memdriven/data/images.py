"""Image files: opened with care, cropped, as tensors, and a split's decoded once into one array."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from memdriven.errors import DataError
from memdriven.files import atomic_write_bytes

MAX_PIXELS = 64_000_000
"""An image that claims more pixels is refused before it is decoded."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""Decoders that an image file may reach."""
WEBP_QUALITY = 90
_DECODING_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    TypeError,
    KeyError,
    OverflowError,
    Image.DecompressionBombError,
    Warning,
)
"""What Pillow's decoders have been seen to raise on damaged files."""


def read_image(path: Path, least_side: int = 0) -> Image.Image:
    """Decode an image as upright RGB, transparent parts on white.

    Args:
        path: a file in one of `FORMATS`.
        least_side: a JPEG may be decoded at a reduced size whose sides are no smaller; 0 is
            full size.

    Raises:
        DataError: the file is missing, is no image, is damaged, or is larger than `MAX_PIXELS`.
    """
    return decode_image(read_file(path), str(path), least_side)


def read_file(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        DataError: it is missing or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            wanted=f"the image {path}",
            found=error.strerror or "unreadable",
            fix="restore the file or remove its entry",
        ) from error


def decode_image(content: bytes, name: str, least_side: int = 0) -> Image.Image:
    """Decode image bytes; `read_image` says how.

    Raises:
        DataError: the bytes are no image, are damaged, or claim too many pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    wanted=f"an image of at most {MAX_PIXELS / 1e6:.0f} million pixels",
                    found=f"{name} with {image.width} x {image.height}",
                    fix="shrink the image or remove its entry",
                )
            if least_side:
                image.draft("RGB", (least_side, least_side))
            upright = ImageOps.exif_transpose(image)
            return _on_white(upright)
    except _DECODING_ERRORS as error:
        raise DataError(
            wanted=f"a readable image in {name}",
            found=f"{type(error).__name__}: {error}"[:200] if len(content) else "an empty file",
            fix="replace the file or remove its entry",
        ) from error


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image.copy()
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256).convert("L")
    if "A" in image.mode or "transparency" in image.info:
        pixels = image.convert("RGBA")
        white = Image.new("RGBA", pixels.size, "white")
        return Image.alpha_composite(white, pixels).convert("RGB")
    return image.convert("RGB")


def save_webp(path: Path, image: Image.Image, quality: int = WEBP_QUALITY) -> None:
    """Write an RGB image as WebP, atomically.

    Raises:
        DataError: the disk is full or refuses writing.
    """
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "WEBP", quality=quality, method=4)
    atomic_write_bytes(path, buffer.getvalue())


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
