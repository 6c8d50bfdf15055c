from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from memdriven.data.image_file import decode_image, read_image, save_webp
from memdriven.errors import DataError


def _bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _bomb() -> bytes:
    """Return a small PNG file that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        grey = Image.fromarray(np.full((8, 6), 128 * 256, np.uint16))
    else:
        grey = Image.new("RGB", (6, 8), (128, 128, 128))
        grey = grey.quantize(4) if mode == "P" else grey.convert(mode)
    image = decode_image(_bytes(grey, "TIFF" if mode == "CMYK" else "PNG"), "x")
    assert (image.mode, image.size) == ("RGB", (6, 8))
    if mode != "1":
        assert np.abs(np.asarray(image).astype(int) - 128).max() <= 4


def test_transparent_parts_are_white() -> None:
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    assert decode_image(_bytes(clear, "PNG"), "x").getpixel((1, 1)) == (255, 255, 255)


def test_a_photo_that_lies_on_its_side_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = _bytes(Image.new("RGB", (40, 20)), "JPEG", exif=exif)
    assert decode_image(photo, "x").size == (20, 40)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image at all",
        _bytes(Image.effect_noise((64, 64), 90), "PNG")[:900],
        _bytes(Image.effect_noise((64, 64), 90), "JPEG")[:200],
        _bytes(Image.effect_noise((64, 64), 90).convert("RGB"), "WEBP")[:300],
        _bomb(),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    ],
    ids=["empty", "text", "cut png", "cut jpeg", "cut webp", "bomb", "postscript"],
)
def test_unreadable_images_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png"):
        read_image(path)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.webp"):
        read_image(tmp_path / "gone.webp")


def test_saving_and_reading_agree(tmp_path: Path) -> None:
    save_webp(tmp_path / "a" / "b.webp", Image.new("RGB", (16, 16), (200, 40, 40)))
    pixel = np.asarray(read_image(tmp_path / "a" / "b.webp"))[8, 8].astype(int)
    assert np.abs(pixel - (200, 40, 40)).max() < 8


def test_a_large_jpeg_may_be_decoded_smaller(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(_bytes(Image.new("RGB", (800, 640)), "JPEG"))
    assert min(read_image(tmp_path / "a.jpg", least_side=64).size) in range(64, 640)


def test_a_very_large_image_is_refused_before_it_is_decoded() -> None:
    wide = _bytes(Image.new("1", (9000, 8000)), "PNG")
    with pytest.raises(DataError, match="9000 x 8000"):
        decode_image(wide, "wide.png")
