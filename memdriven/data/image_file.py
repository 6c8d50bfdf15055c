"""Opening image files that may be damaged or hostile, and saving our own."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps

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
