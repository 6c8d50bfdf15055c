"""Opening images, cropping them, and a split's decoded once."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from memdriven.data import prepared
from memdriven.data.images import (
    centre_square,
    decode_image,
    padded_square,
    read_image,
    to_bytes,
    to_tensor,
    to_unit,
)
from memdriven.data.prepared import PreparedDataset, load_images
from memdriven.errors import DataError
from tests.small_world import write_world


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


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    grey = Image.new("RGB", (6, 8), (128, 128, 128))
    grey = grey.quantize(4) if mode == "P" else grey.convert(mode)
    image = decode_image(_bytes(grey, "TIFF" if mode == "CMYK" else "PNG"), "x")
    assert (image.mode, image.size) == ("RGB", (6, 8))
    if mode != "1":
        assert np.abs(np.asarray(image).astype(int) - 128).max() <= 4


RAMP = np.linspace(0, 1, 400).reshape(20, 20)
DEEP = {
    "16 bits": (RAMP * 65535, "u2", "PNG", {}),
    "16 bits, the largest byte first": (RAMP * 65535, ">u2", "TIFF", {}),
    "16 bits of a grey map": (RAMP * 65535, "u2", "PPM", {}),
    "32 bits that hold 16": (RAMP * 65535, "i4", "TIFF", {}),
    "32 bits that hold 8": (RAMP * 255, "i4", "TIFF", {}),
    "32 bits": (RAMP * 2e9, "i4", "TIFF", {}),
    "numbers below 0": (RAMP * 4000 - 2000, "i4", "TIFF", {}),
    "fractions": (RAMP, "f4", "TIFF", {}),
    "fractions up to 255": (RAMP * 255, "f4", "TIFF", {}),
    "fractions beyond": (RAMP * 1e30, "f4", "TIFF", {}),
    "fractions and what is no number": (np.where(RAMP == 0, np.nan, RAMP), "f4", "TIFF", {}),
    "no transparent level": (RAMP * 65535, "u2", "PNG", {"transparency": 65535}),
}


@pytest.mark.parametrize(("values", "kind", "form", "options"), DEEP.values(), ids=DEEP)
def test_every_depth_is_read_by_its_range(
    values: np.ndarray, kind: str, form: str, options: dict[str, int]
) -> None:
    content = _bytes(Image.fromarray(values.astype(kind)), form, **options)
    found = np.asarray(decode_image(content, "x"))[..., 0].astype(float)
    assert np.abs(found - RAMP * 255).max() <= 1.5


@pytest.mark.parametrize(
    "form", ["GIF", "BMP", "DIB", "AVIF", "JPEG2000", "PPM", "PCX", "SGI", "QOI", "ICO", "TGA"]
)
def test_every_container_is_opened(form: str) -> None:
    content = _bytes(Image.new("RGB", (32, 32), (200, 30, 60)), form)
    pixels = np.asarray(decode_image(content, f"x.{form.lower()}"))
    assert np.abs(pixels.astype(int) - (200, 30, 60)).max() < 8


def test_what_is_no_picture_is_named_by_its_ending() -> None:
    for name, content in (("a.svg", b"<svg/>"), ("a.eps", b"%!PS-Adobe-3.0"), ("a.heic", b"ftypheic")):
        with pytest.raises(DataError, match=rf"found: a \{name[1:]} file"):
            decode_image(content, name)


def test_a_white_drawing_lies_on_a_ground_where_it_shows() -> None:
    drawing = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    drawing.paste((250, 250, 250, 255), (10, 10, 30, 30))
    shown = np.asarray(decode_image(_bytes(drawing, "PNG"), "x")).astype(int)
    assert abs(shown[20, 20] - shown[2, 2]).min() > 100
    drawing.paste((0, 0, 0, 255), (10, 10, 30, 14))
    outlined = decode_image(_bytes(drawing, "PNG"), "x")
    assert outlined.getpixel((2, 2)) == (255, 255, 255)


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


def test_a_large_jpeg_may_be_decoded_smaller(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(_bytes(Image.new("RGB", (800, 640)), "JPEG"))
    assert min(read_image(tmp_path / "a.jpg", least_side=64).size) in range(64, 640)


def test_a_very_large_image_is_refused_before_it_is_decoded() -> None:
    wide = _bytes(Image.new("1", (9000, 8000)), "PNG")
    with pytest.raises(DataError, match="9000 x 8000"):
        decode_image(wide, "wide.png")


def _ramp(width: int, height: int) -> Image.Image:
    columns = np.linspace(0, 255, width).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(columns[None, :, None], (height, width, 3)).copy())


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (60, 60)])
def test_the_centre_square_is_the_middle(size: tuple[int, int]) -> None:
    image = _ramp(*size)
    square = np.asarray(centre_square(image, 30)).astype(float)
    assert square.shape == (30, 30, 3)
    left = (size[0] - 60) // 2
    crop = np.asarray(image)[:, left : left + 60].astype(float)
    wanted = crop[:60].reshape(30, 2, 30, 2, 3).mean((1, 3))
    assert np.abs(square - wanted)[2:-2, 2:-2].max() < 2


@pytest.mark.parametrize("size", [(90, 30), (30, 90), (1, 9000)])
def test_a_wide_picture_may_be_padded_instead(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (250, 0, 0))
    image.paste((0, 0, 250), (size[0] // 3, size[1] // 3, size[0] * 2 // 3, size[1] * 2 // 3))
    square = np.asarray(padded_square(image, 60)).astype(int)
    assert square.shape == (60, 60, 3)
    assert np.abs(square[0, 0] - (250, 0, 0)).max() < 3, "the border's colour"
    if min(size) > 1:
        blue = square[..., 2] > 125
        assert abs(blue.sum() - 20 * 20 / 3) < 20


def test_ranges_and_shapes() -> None:
    image = Image.new("RGB", (5, 4), (0, 128, 255))
    levels = to_bytes(image)
    assert levels.shape == (3, 4, 5)
    assert levels.dtype == torch.uint8
    assert torch.equal(to_tensor(image), to_unit(levels))


@pytest.fixture
def dataset(tmp_path: Path) -> PreparedDataset:
    write_world(tmp_path / "set", train=5, test=2)
    return PreparedDataset.open(tmp_path / "set")


def _cached(dataset: PreparedDataset) -> list[Path]:
    return sorted((dataset.path / "cache").iterdir())


def test_images_come_in_the_items_order(dataset: PreparedDataset) -> None:
    items = dataset.items[::-1]
    images = load_images(dataset, items, 32, progress=False)
    wanted = torch.stack([to_bytes(centre_square(dataset.load_image(i), 32)) for i in items])
    assert images.dtype == torch.uint8
    assert torch.equal(images, wanted)


def test_the_second_call_decodes_nothing(dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_images(dataset, dataset.items, 32, progress=False)
    monkeypatch.setattr(prepared, "read_image", None)
    assert torch.equal(load_images(dataset, dataset.items, 32, progress=False), first)
    first[0] = 0  # a caller may write to the tensor without touching the file
    assert load_images(dataset, dataset.items, 32, progress=False)[0].any()


def test_sizes_selections_and_new_files_have_their_own_cache(dataset: PreparedDataset) -> None:
    load_images(dataset, dataset.items, 32, progress=False)
    load_images(dataset, dataset.items, 16, progress=False)
    load_images(dataset, dataset.items[:3], 32, progress=False)
    assert len(_cached(dataset)) == 3
    os.utime(dataset.image_path(dataset.items[0]), ns=(1, 1))
    load_images(dataset, dataset.items[:3], 32, progress=False)
    assert len(_cached(dataset)) == 4


def test_a_truncated_cache_is_made_anew(dataset: PreparedDataset) -> None:
    first = load_images(dataset, dataset.items, 32, progress=False).clone()
    (path,) = _cached(dataset)
    path.write_bytes(path.read_bytes()[:500])
    assert torch.equal(load_images(dataset, dataset.items, 32, progress=False), first)


def test_without_room_for_a_cache_the_images_stay_in_memory(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepared, "_reserve", full)
    images = load_images(dataset, dataset.items, 32, progress=False)
    assert images.shape == (7, 3, 32, 32)
    assert _cached(dataset) == []


def test_an_unreadable_image_is_named_and_leaves_no_cache(dataset: PreparedDataset) -> None:
    dataset.image_path(dataset.items[3]).write_bytes(b"RIFF")
    with pytest.raises(DataError, match=dataset.items[3].id):
        load_images(dataset, dataset.items, 32, progress=False)
    assert _cached(dataset) == []
