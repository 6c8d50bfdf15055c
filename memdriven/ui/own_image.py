"""A visitor's own image beside the memory: checked, re-encoded, and seen by its own tab alone.

The image arrives as text inside an event, never as a file of the server. What is kept of it is a
square of the size that the feature network sees, with neither EXIF nor name, in the `gr.State`
of the tab.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image

from memdriven.data.images import centre_square, decode_image, to_tensor
from memdriven.encoders.vgg import WEIGHTS_VARIABLE, Vgg16Features
from memdriven.errors import CheckpointError, DataError, MemDrivenError
from memdriven.memory.features import encode_v
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import PRIVATE, UserImage
from memdriven.ui import strings

MAX_BYTES = 8_000_000
MAX_PIXELS = 24_000_000
SIDE = 256
"""Side in px of the square that v is made of."""
THUMBNAIL = 96
_TORCHVISION_FILES = "vgg16_features-*.pth"


def read_upload(content: object) -> Image.Image:
    """Return an uploaded image (base64 text) as a square of `SIDE` px, made anew of its pixels.

    Raises:
        DataError: too large, too many pixels, or no PNG, JPEG or WebP.
    """
    if not isinstance(content, str) or len(content) > MAX_BYTES * 4 // 3 + 4:
        raise _refused(strings.UPLOAD_LARGE.format(megabytes=MAX_BYTES // 1_000_000))
    try:
        image = decode_image(base64.b64decode(content, validate=True), "", SIDE, MAX_PIXELS)
    except (DataError, binascii.Error, ValueError):
        raise _refused(strings.UPLOAD_KIND) from None
    return centre_square(image, SIDE)


def guest(image: Image.Image, pipe: MemoryDrivenPipeline) -> UserImage:
    """Return an image with its features, named after its pixels.

    Raises:
        CheckpointError: the feature network's weights are not on this machine, or are not those
            that made the memory.
    """
    vgg = feature_network()
    made_with = pipe.bank.header.get("encoder")
    if made_with != vgg.hash:
        raise CheckpointError(wanted=strings.VGG_OTHER_WANTED, found=vgg.hash, fix=strings.VGG_OTHER_FIX)
    with pipe.turn, torch.inference_mode():
        v = vgg(to_tensor(image)[None])[0].numpy()
    name = hashlib.sha256(image.tobytes()).hexdigest()[:12]
    return UserImage(
        id=PRIVATE + name,
        image=centre_square(image, THUMBNAIL),
        caption=strings.OWN_CAPTION,
        features=encode_v(v),
        shape=v.shape,
    )


def weight_file() -> Path | None:
    """Return the feature network's weights on this machine, or None; nothing is downloaded."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    if named:
        return Path(named)
    cached = sorted(Path(torch.hub.get_dir(), "checkpoints").glob(_TORCHVISION_FILES))
    return cached[0] if cached else None


@lru_cache(maxsize=1)
def _network(path: Path) -> Vgg16Features:
    return Vgg16Features.load(path)


def feature_network() -> Vgg16Features:
    """Return VGG-16 from weights that are already here.

    Raises:
        CheckpointError: they are not.
    """
    path = weight_file()
    if path is None:
        raise CheckpointError(
            wanted=strings.VGG_WANTED,
            found=strings.VGG_FOUND,
            fix=strings.VGG_FIX.format(variable=WEIGHTS_VARIABLE),
        )
    return _network(path)


def _refused(found: str) -> MemDrivenError:
    return DataError(wanted=strings.UPLOAD_WANTED, found=found, fix=strings.UPLOAD_FIX)
