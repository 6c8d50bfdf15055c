"""Pictures from files: decoded in one place for every mode and depth, squared, as tensors."""

import contextlib
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from memdriven.data.names import FILES, UNPACK, kind_of
from memdriven.errors import DataError, explained, require

MAX_PIXELS = 64_000_000
"""An image that claims more pixels is refused before it is decoded."""
FRAMES = "several frames"
"""Key of a decoded picture's `info`: whether its file holds frames or pages that were not read."""
_OF_FRAMES = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")  # PSD's are layers, a phone's second JPEG a preview
WEBP_QUALITY = 90
BOX_MARGIN = 1.5
"""Side of the square around an object, over the longer side of its box."""
Fit = Literal["crop", "pad"]
"""How a picture becomes a square: its middle, or the whole of it between bars."""

_BITS, _PHOTOMETRIC, _SAMPLES = 258, 262, 339
"""TIFF's tags BitsPerSample, PhotometricInterpretation (0: white is zero), SampleFormat (2: signed)."""
_SPACES = {"RGB": "RGB ", "RGBA": "RGB ", "CMYK": "CMYK", "L": "GRAY"}
"""Mode -> the colour space of a profile that fits it."""
# Without libtiff Pillow takes planes of 16 bits for planes of 8, and refuses YCbCr that is not compressed.
TiffImagePlugin.READ_LIBTIFF = True
# Pillow refuses a PNG for a text or a profile beyond 1 MB; those of ComfyUI hold whole workflows.
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 24
# What Pillow notes of a damaged tag or an odd palette, in a picture that is read all the same, is for nobody.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_image(path: Path) -> Image.Image:
    """Decode a file; see `decode_image`."""
    with explained(DataError, f"the image {path}", "restore the file or remove its entry", OSError):
        content = path.read_bytes()
    return decode_image(content, str(path))


def decode_image(content: bytes, name: str, least_side: int = 0, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image of any mode, depth and byte order as upright 8-bit sRGB.

    Of several frames the first counts; `info` has `FRAMES` where there were others. Deeper than 8 bits
    is read by its range: the depth that the file declares; or the smallest of 0 to 1 (floating point), 8
    and 16 bits that holds the values; or else the values' own. Colours of another space are brought to
    sRGB by the profile in the file. Transparent parts are white, or dark grey under a drawing that is
    itself all but white.

    Bytes that are no image, are damaged, or hold NaN or infinity are refused, and more than `max_pixels`
    before they are decoded. `name` is for messages, and tells TGA by its ending. With `least_side` a JPEG
    may be decoded at a reduced size whose sides are no smaller.
    """
    formats = FILES["decoders"] + ("TGA",) * name.lower().endswith(".tga")
    # Pillow's decoders make all kinds of errors of damaged files.
    with explained(DataError, f"a readable image in {name}", "replace it or remove its entry", Exception):
        try:
            opened = Image.open(io.BytesIO(content), formats=formats)
        except UnidentifiedImageError:
            wanted = f"a picture in {name}, of a format that is read ({', '.join(FILES['decoders'])})"
            kind = kind_of(name, content)
            found = kind.what if kind else "none, or a damaged header" if content else "an empty file"
            of_a_picture = kind and kind.fix != UNPACK and "csv" not in kind.fix.lower()  # not of a table
            fix = kind.fix if kind and of_a_picture else "replace it or remove its entry"
            raise DataError(wanted, found, fix) from None
        wanted = f"an image of at most {max_pixels / 1e6:.0f} million pixels"
        found, fix = f"{name} with {opened.width} x {opened.height}", "shrink the image or remove its entry"
        require(opened.width * opened.height <= max_pixels, DataError, wanted, found, fix)
        if opened.format == "PNG":
            Image.open(io.BytesIO(content)).verify()  # its sums: what is damaged may be read as black
        if least_side:
            opened.draft("RGB", (least_side, least_side))
        tags = dict(getattr(opened, "tag_v2", {}))  # of TIFF; a copy of the picture loses them
        several = False
        with contextlib.suppress(Exception):  # a damaged second one
            several = opened.format in _OF_FRAMES and bool(getattr(opened, "is_animated", False))
        if opened.format == "TIFF":
            # libtiff gives numbers in this machine's byte order, whatever the file's.
            opened.tile = [
                tile._replace(args=(re.sub(r"(?<=\d)B(?=[FS]?$)", "N", tile.args[0]), *tile.args[1:]))
                for tile in opened.tile
                if isinstance(tile.args, tuple)
            ]
        image: Image.Image = opened
        clear = image.info.get("transparency")
        if image.format == "PNG" and image.mode == "L" and isinstance(clear, int) and content[24] < 8:
            # Pillow brings the pixels of 2 and 4 bits to 8, and no more.
            image.info["transparency"] = clear * 255 // (2 ** content[24] - 1)
        image.load()  # where it is damaged, this says so: below, what Pillow says is passed over
        with contextlib.suppress(Exception):  # a damaged note of how the camera was held
            image = ImageOps.exif_transpose(image)
        image = _in_srgb(_in_8_bits(image, tags, name))
        plain = Image.fromarray(np.asarray(image))  # of its pixels alone: no place, no camera
        if several:
            plain.info[FRAMES] = True
        return plain


def _in_8_bits(image: Image.Image, tags: Mapping[int, Any], name: str) -> Image.Image:
    """Return a picture of one deep or signed channel as L, or LA where a value is transparent.

    Those of 8 bits a channel are returned as they are; `tags` are those of a TIFF file.
    """
    bits, signed = int(tags.get(_BITS, (0,))[0]), tags.get(_SAMPLES, (1,))[0] == 2
    if image.mode[0] not in "IF" and not (signed and image.mode == "L"):
        return image
    values = np.asarray(image)
    if image.mode == "L":
        values = values.view(np.int8)
    if image.mode == "I" and bits == 32 and not signed:
        values = values.view(np.uint32)  # Pillow has signed ones alone
    values = values.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        found = f"{int((~np.isfinite(values)).sum()):,} of {values.size:,} are NaN or infinite"
        fix = "give these pixels a value, or remove its entry"
        raise DataError(f"numbers as the pixels of {name}", found, fix)
    if image.mode.startswith("I;16"):
        low, high = 0.0, 2.0 ** (bits or 16) - 1  # cameras have 12
    elif low >= 0:
        tops = [1.0, 255.0, 65535.0] if image.mode == "F" else [255.0, 65535.0]
        if signed and bits < 32:
            tops = [2.0 ** (bits - 1) - 1]
        low, high = 0.0, next((top for top in tops if high <= top), high)
    scaled = (values - low) / max(high - low, 1e-30) * 255
    if image.mode[0] == "I" and tags.get(_PHOTOMETRIC) == 0:  # white is zero; 8 bits Pillow turns itself
        scaled = 255 - scaled
    grey = Image.fromarray((scaled.clip(0, 255) + 0.5).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return a picture of 8 bits a channel as RGB; what is transparent is laid on a ground."""
    clear, profile = image.has_transparency_data, image.info.get("icc_profile")
    if image.mode == "LAB":
        return _converted(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        image = image.convert("RGBA" if clear else "RGB")
    if profile:
        with contextlib.suppress(Exception):  # a damaged profile is as good as none
            found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space, words = found.profile.xcolor_space, found.profile.profile_description or ""
            if space == _SPACES[image.mode] and "srgb" not in words.lower():
                alpha = image.convert("RGBA").getchannel("A") if clear else None
                image = _converted(image.convert("RGB") if image.mode == "RGBA" else image, found)
                if alpha is not None:
                    image.putalpha(alpha)
    return _on_ground(image.convert("RGBA")) if clear else image.convert("RGB")


def _converted(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return converted


def _on_ground(image: Image.Image) -> Image.Image:
    """Lay an RGBA picture on white, or on dark grey where white would hide it.

    A picture of which nothing would be seen is opaque: TGA and BMP may leave the fourth channel empty.
    """
    pixels = np.asarray(image).astype(np.float32)  # (h, w, 4)
    alpha = pixels[..., 3] / 255
    seen = float(alpha.sum())
    if not seen and np.ptp(pixels, axis=(0, 1)).any():
        return image.convert("RGB")
    contrast = float((alpha * (255 - pixels[..., :3].min(2))).sum()) / max(seen, 1e-6)
    hidden = 0 < seen < 0.98 * alpha.size and contrast < 32
    ground = Image.new("RGBA", image.size, (64, 64, 64) if hidden else "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """Return the central square of a picture, resized to `size` px a side (bicubic, antialiased)."""
    whole = image.size == (size, size)
    return image if whole else ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def square_around(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the crop of 1.5 * max(width, height) around a box's centre, clipped [family].

    The box is left, top, width, height in px; the crop left, top, right, bottom, never empty.
    """
    left, top, width, height = box
    half = max(1, int(max(width, height) * BOX_MARGIN / 2))
    across = min(max(int(left + width / 2), 0), size[0] - 1)
    down = min(max(int(top + height / 2), 0), size[1] - 1)
    return max(0, across - half), max(0, down - half), min(size[0], across + half), min(size[1], down + half)


def padded_square(image: Image.Image, size: int) -> Image.Image:
    """Return the whole of a picture in a square of `size` px, between bars of its border's colour."""
    pixels = np.asarray(image.convert("RGB"))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(border, axis=0).astype(int).tolist()
    width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
    whole = image.resize((width, height), Image.Resampling.BICUBIC)
    return ImageOps.pad(whole, (size, size), color=(red, green, blue))


def tiled(pictures: Sequence[Image.Image], columns: int, side: int, gap: int) -> Image.Image:
    """Return a white page of pictures at `side` px, row by row."""
    step, rows = side + gap, -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * step + gap, rows * step + gap), "white")
    for k, picture in enumerate(pictures):
        place = (gap + k % columns * step, gap + k // columns * step)
        page.paste(picture.resize((side, side), Image.Resampling.LANCZOS), place)
    return page


def to_bytes(image: Image.Image) -> Tensor:
    """Return an RGB picture as uint8 (3, h, w)."""
    array = np.array(image.convert("RGB"), dtype=np.uint8)  # (h, w, 3)
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def to_tensor(image: Image.Image) -> Tensor:
    """Return an RGB picture as float32 (3, h, w) in [0, 1]."""
    return to_unit(to_bytes(image))


def to_unit(images: Tensor) -> Tensor:
    """Map uint8 images to float32 in [0, 1], the range of the encoders."""
    return images.float().div_(255.0)
