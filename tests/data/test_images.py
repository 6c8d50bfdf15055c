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
from PIL import Image, ImageCms, PngImagePlugin

from memdriven.data import prepared
from memdriven.data.images import (
    FRAMES,
    centre_square,
    decode_image,
    padded_square,
    read_image,
    square_around,
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


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, depth: int, colours: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0))
    body = header + extra + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
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
    "no transparent level": (RAMP * 65535, "u2", "PNG", {"transparency": 65535}),
}


@pytest.mark.parametrize(("values", "kind", "form", "options"), DEEP.values(), ids=DEEP)
def test_every_depth_is_read_by_its_range(
    values: np.ndarray, kind: str, form: str, options: dict[str, int]
) -> None:
    content = _bytes(Image.fromarray(values.astype(kind)), form, **options)
    found = np.asarray(decode_image(content, "x"))[..., 0].astype(float)
    assert np.abs(found - RAMP * 255).max() <= 1.5


def _tiff(
    values: np.ndarray,
    *,
    order: str = "<",
    white: int = 1,
    form: int = 1,
    bits: int = 0,
    packed: bool = False,
) -> bytes:
    """Return a TIFF of one strip; `bits` lays whole numbers tighter than numpy, `packed` deflates."""
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    if bits:
        digits = "".join(format(int(value), f"0{bits}b") for value in values.ravel())
        data = int(digits, 2).to_bytes(len(digits) // 8, "big")
    data = zlib.compress(data) if packed else data
    (height, width), depth = values.shape, bits or 8 * values.dtype.itemsize
    tags = [
        (256, width),
        (257, height),
        (258, depth),
        (259, 8 if packed else 1),
        (262, white),
        (273, 140),
        (277, 1),
    ]
    tags += [(278, height), (279, len(data))] + [(339, form)] * (form != 1)
    entries = b"".join(
        struct.pack(order + "HHI", tag, 3, 1) + struct.pack(order + "HH", value, 0) for tag, value in tags
    )
    header = b"II*\0" if order == "<" else b"MM\0*"
    header += struct.pack(order + "IH", 8, len(tags)) + entries
    return header.ljust(140, b"\0") + data


TIFFS = {
    "12 bits, as cameras have": (_tiff((RAMP * 4095).astype("u2"), bits=12), RAMP),
    "4 bits": (_tiff((RAMP * 15).astype("u1"), bits=4), np.floor(RAMP * 15) / 15),
    "16 bits, white is zero": (_tiff((RAMP * 65535).astype("u2"), white=0), 1 - RAMP),
    "8 bits, white is zero": (_tiff((RAMP * 255).astype("u1"), white=0), 1 - RAMP),
    "32 bits without a sign": (_tiff((RAMP * 4294967295).astype("u4")), RAMP),
    "16 bits with a sign": (_tiff((RAMP * 32767).astype("i2"), form=2), RAMP),
    "16 bits with a sign, the largest byte first": (
        _tiff((RAMP * 32767).astype("i2"), form=2, order=">"),
        RAMP,
    ),
    "8 bits with a sign": (_tiff((RAMP * 255 - 128).astype("i1"), form=2), RAMP),
    "fractions, the largest byte first": (_tiff(RAMP.astype("f4"), form=3, order=">"), RAMP),
    "fractions, the largest byte first, deflated": (
        _tiff(RAMP.astype("f4"), form=3, order=">", packed=True),
        RAMP,
    ),
    "16 bits with a sign, the largest byte first, deflated": (
        _tiff((RAMP * 32767).astype("i2"), form=2, order=">", packed=True),
        RAMP,
    ),
}


@pytest.mark.parametrize(("content", "wanted"), TIFFS.values(), ids=TIFFS)
def test_a_tiff_is_read_as_its_tags_say(content: bytes, wanted: np.ndarray) -> None:
    found = np.asarray(decode_image(content, "x"))[..., 0].astype(float)
    assert np.abs(found - wanted * 255).max() <= 2


COLOURED = np.stack([RAMP, RAMP.T, 1 - RAMP])


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_planes_of_16_bits(order: str) -> None:
    side, planes = RAMP.shape[0], (COLOURED * 65535).astype(order + "u2")
    size = planes[0].nbytes
    tags = [(256, 3, 1, side), (257, 3, 1, side), (258, 3, 3, 134), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 3, 140), (277, 3, 1, 3), (278, 3, 1, side), (279, 4, 3, 152), (284, 3, 1, 2)]
    entries = b"".join(
        struct.pack(
            order + "HHI" + ("HH" if kind == 3 and count == 1 else "I"),
            tag,
            kind,
            count,
            value,
            *[0] * (kind == 3 and count == 1),
        )
        for tag, kind, count, value in tags
    )
    content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags)) + entries
    lists = struct.pack(
        order + "3H3I3I", 16, 16, 16, *(164 + plane * size for plane in range(3)), *[size] * 3
    )
    content = content.ljust(134, b"\0") + lists
    found = np.asarray(decode_image(content + planes.tobytes(), "x")).transpose(2, 0, 1)
    assert np.abs(found - COLOURED * 255).max() <= 1


def test_a_tiff_of_brightness_and_colour() -> None:
    picture = Image.fromarray((COLOURED * 255).astype("u1").transpose(1, 2, 0))
    found = np.asarray(decode_image(_bytes(picture.convert("YCbCr"), "TIFF"), "x")).astype(int)
    assert np.abs(found - np.asarray(picture)).max() <= 3


def test_a_png_whose_sums_are_wrong_is_refused() -> None:
    content = bytearray(_bytes(Image.fromarray((RAMP * 255).astype("u1")), "PNG"))
    for place in range(41, len(content) - 16, 7):  # its pixels: some would be read as black
        content[place] ^= 1
        with pytest.raises(DataError, match="readable image"):
            decode_image(bytes(content), "x")
        content[place] ^= 1


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(odd: float) -> None:
    holed = np.where(RAMP < 0.1, odd, RAMP).astype("f4")
    with pytest.raises(DataError, match=r"pixels of a\.tif; found: 40 of 400 are NaN or infinite"):
        decode_image(_tiff(holed, form=3), "a.tif")


def test_a_tiff_that_cannot_be_read_is_told_from_a_damaged_one() -> None:
    for kind in ("f2", "f8"):
        with pytest.raises(DataError, match="a TIFF of samples that are not read"):
            decode_image(_tiff(RAMP.astype(kind), form=3), "a.tif")


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_level_is_meant_at_its_depth(depth: int) -> None:
    levels = np.arange(16) % 2**depth * (4369 if depth == 16 else 17 if depth == 8 else 1)
    bits = "".join(format(level, f"0{depth}b") for level in levels)
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    clear = _chunk(b"tRNS", struct.pack(">H", levels[1]))
    found = np.asarray(decode_image(_png(16, 1, depth, 0, row, clear), "x"))[0, :, 0]
    shown = np.where(levels == levels[1], 1, levels / (2**depth - 1))
    assert np.abs(found - shown * 255).max() <= 1


def test_colours_of_another_space_are_brought_to_srgb() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"!XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"!XYZ", b"gXYZ", 1)
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert decode_image(_bytes(red, "PNG", icc_profile=srgb), "x").getpixel((1, 1)) == (255, 0, 0)
    for form in ("PNG", "TIFF", "WEBP"):
        content = _bytes(red, form, icc_profile=swapped, lossless=True)
        assert np.abs(np.array(decode_image(content, "x").getpixel((1, 1))) - (0, 255, 0)).max() <= 2
    assert decode_image(_bytes(clear, "PNG", icc_profile=swapped), "x").getpixel((1, 1)) == (255, 255, 255)
    for useless in (b"damaged", swapped[:200]):
        assert decode_image(_bytes(red, "PNG", icc_profile=useless), "x").getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.parametrize(
    "form", ["GIF", "BMP", "DIB", "AVIF", "JPEG2000", "PPM", "PCX", "SGI", "QOI", "ICO", "TGA"]
)
def test_every_container_is_opened(form: str) -> None:
    content = _bytes(Image.new("RGB", (32, 32), (200, 30, 60)), form)
    pixels = np.asarray(decode_image(content, f"x.{form.lower()}"))
    assert np.abs(pixels.astype(int) - (200, 30, 60)).max() < 8


def test_a_png_may_hold_a_long_text_or_profile() -> None:
    """As ComfyUI's, of whole workflows, which Pillow refuses beyond 1 MB."""
    red, info = Image.new("RGB", (8, 8), (255, 0, 0)), PngImagePlugin.PngInfo()
    info.add_itxt("workflow", "x" * 3_000_000, zip=True)
    content = _bytes(red, "PNG", pnginfo=info, icc_profile=bytes(2_000_000))
    assert decode_image(content, "x").getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO"])
def test_of_several_frames_the_first_is_read(form: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((200, 30, 60), (0, 0, 250))]
    content = _bytes(frames[0], form, save_all=True, append_images=frames[1:])
    first = decode_image(content, "x")
    assert np.abs(np.asarray(first).astype(int) - (200, 30, 60)).max() < 8
    assert (FRAMES in first.info) is (form != "MPO"), "whose second picture is a preview"
    assert FRAMES not in decode_image(_bytes(frames[0], form), "x").info


def test_what_is_no_picture_is_named_by_its_beginning_or_its_ending() -> None:
    for name, content, wanted in (
        ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        ("a.jpg", b"\xff\x0a" + bytes(40), "JPEG XL"),
        ("a.png", b"\n<!DOCTYPE html><html>404</html>", "web page"),
        ("a.jpg", b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "download the file"),
        ("a.jpg", b"\x1f\x8b\x08", "what to do: replace it"),
        ("a.png", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.svg", b'<?xml version="1.0"?>\n<svg/>', "SVG"),
        ("a.png", b'<?xml version="1.0"?>\n<!-- by hand -->\n<!DOCTYPE svg PUBLIC "">\n<svg/>', "SVG"),
        ("a.eps", b"%!PS-Adobe-3.0", "PostScript"),
        ("a.xcf", b"gimp xcf", "a picture of another format"),
        ("", b"v/1\x01\x02\0\0\0", "a picture of another format"),
        ("a.pfm", b"PF\n4 4\n-1.0\n", "a picture of another format"),
    ):
        with pytest.raises(DataError, match=wanted):
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


@pytest.mark.parametrize("form", ["TGA", "PNG", "TIFF"])
def test_a_fourth_channel_that_hides_everything_hides_nothing(form: str) -> None:
    """As programs that know of no transparency leave it in a TGA."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    empty = picture.copy()
    empty.putalpha(0)
    assert np.array_equal(decode_image(_bytes(empty, form), "x.tga"), picture)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_camera_was_held(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = Image.new("RGB", (40, 24))
    photo.paste((250, 250, 250), (0, 0, 8, 8))
    upright = decode_image(_bytes(photo, form, exif=exif, lossless=True), "x")
    light = np.asarray(upright)[..., 0] > 125  # rows, columns of the corner that was first in the file
    top, left = light[: len(light) // 2].any(), light[:, : light.shape[1] // 2].any()
    assert upright.size == ((40, 24) if orientation < 5 else (24, 40))
    assert (top, left) == (orientation in (1, 2, 5, 6), orientation in (1, 4, 5, 8))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_a_damaged_note_of_the_camera_does_not_lose_the_photo() -> None:
    photo = _bytes(Image.new("RGB", (40, 20), (250, 0, 0)), "JPEG")
    for note in (b"II*\0\xff\xff\xff\xff", b"", b"no exif", b"II*\0\x08\0\0\0\xff\xff\x12\x01"):
        segment = b"\xff\xe1" + struct.pack(">H", len(note) + 8) + b"Exif\0\0" + note
        assert decode_image(photo[:2] + segment + photo[2:], "x").size == (40, 20)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image at all",
        _bytes(Image.effect_noise((64, 64), 90), "PNG")[:900],
        _bytes(Image.effect_noise((64, 64), 90), "JPEG")[:200],
        _bytes(Image.effect_noise((64, 64), 90).convert("RGB"), "WEBP")[:300],
        _png(60_000, 60_000, 8, 2, b"\0" * 100),
        _png(0, 5, 8, 0, b"\0" * 5),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        _bytes(Image.effect_noise((64, 64), 90), "TIFF")[:-400],
        _bytes(Image.new("L", (64, 64)), "TIFF", compression="tiff_adobe_deflate").replace(b"x\x9c", b"xx"),
    ],
    ids=["empty", "text", "png", "jpeg", "webp", "bomb", "size", "postscript", "tiff", "deflated"],
)
def test_unreadable_images_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png"):
        read_image(path)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.webp"):
        read_image(tmp_path / "gone.webp")


def test_a_large_jpeg_may_be_decoded_smaller() -> None:
    photo = _bytes(Image.new("RGB", (800, 640)), "JPEG")
    assert min(decode_image(photo, "a.jpg", least_side=64).size) in range(64, 640)


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


def test_the_crop_is_a_square_clipped_to_the_image() -> None:
    assert square_around((100.0, 100.0, 40.0, 20.0), (500, 400)) == (90, 80, 150, 140)
    assert square_around((0.0, 0.0, 40.0, 20.0), (500, 400)) == (0, 0, 50, 40)
    for box in np.random.default_rng(0).uniform(1, 200, (50, 4)):
        left, top, right, bottom = square_around(tuple(box), (400, 400))
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 400


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
    images = load_images(dataset, items, 32)
    wanted = torch.stack([to_bytes(centre_square(dataset.load_image(i), 32)) for i in items])
    assert images.dtype == torch.uint8
    assert torch.equal(images, wanted)


def test_the_second_call_decodes_nothing(dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_images(dataset, dataset.items, 32)
    monkeypatch.setattr(prepared, "read_image", None)
    assert torch.equal(load_images(dataset, dataset.items, 32), first)
    first[0] = 0  # a caller may write to the tensor without touching the file
    assert load_images(dataset, dataset.items, 32)[0].any()


def test_sizes_selections_and_new_files_have_their_own_cache(dataset: PreparedDataset) -> None:
    load_images(dataset, dataset.items, 32)
    load_images(dataset, dataset.items, 16)
    load_images(dataset, dataset.items[:3], 32)
    assert len(_cached(dataset)) == 3
    os.utime(dataset.image_path(dataset.items[0]), ns=(1, 1))
    load_images(dataset, dataset.items[:3], 32)
    assert len(_cached(dataset)) == 4


def test_a_truncated_cache_is_made_anew(dataset: PreparedDataset) -> None:
    first = load_images(dataset, dataset.items, 32).clone()
    (path,) = _cached(dataset)
    path.write_bytes(path.read_bytes()[:500])
    assert torch.equal(load_images(dataset, dataset.items, 32), first)


def test_without_room_for_a_cache_the_images_stay_in_memory(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    images = load_images(dataset, dataset.items, 32)
    assert images.shape == (7, 3, 32, 32)
    assert _cached(dataset) == []


def test_an_unreadable_image_is_named_and_leaves_no_cache(dataset: PreparedDataset) -> None:
    dataset.image_path(dataset.items[3]).write_bytes(b"RIFF")
    with pytest.raises(DataError, match=dataset.items[3].id):
        load_images(dataset, dataset.items, 32)
    assert _cached(dataset) == []
