"""A visitor's own image as a reference: an uploaded picture, made anew of its pixels, with its features.

What is kept of it is a square of the size that the feature network sees, with neither EXIF nor name.
"""

import base64
import hashlib
from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image

from memdriven.data.images import centre_square, decode_image, to_tensor
from memdriven.data.names import KINDS
from memdriven.encoders.imagenet import COARSE, Vgg16Features
from memdriven.errors import CheckpointError, DataError, require
from memdriven.memory.features import encode_v
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import PRIVATE, UserImage

MAX_BYTES, MAX_PIXELS = 8_000_000, 24_000_000
OTHER_KIND = "another kind of file, a damaged one, or one with more pixels"
CAPTION = "your own image"
VGG_MB = 528
SIDE, THUMBNAIL = 256, 96
"""Sides in px of the square that v is made of, and of its card."""


def read_upload(content: object) -> bytes:
    """Return the bytes of an uploaded file (base64 text) that may be a picture."""
    if not isinstance(content, str) or len(content) > MAX_BYTES * 4 // 3 + 4:
        raise _no_picture("more than 8 MB")
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        raise _no_picture(OTHER_KIND) from None


def read_picture(content: object) -> Image.Image:
    """Return an uploaded picture as a square of `SIDE` px, made anew of its pixels."""
    whole = read_upload(content)
    try:
        return centre_square(decode_image(whole, "", SIDE, MAX_PIXELS), SIDE)
    except DataError as error:
        known = error.found in {kind.what for kind in KINDS}
        raise _no_picture(error.found if known else OTHER_KIND) from None


def _no_picture(found: str) -> DataError:
    """Return the error of a file that cannot be taken for a picture."""
    wanted = "a picture: PNG, JPEG, WebP or another common format, up to 8 MB and 24 million pixels"
    return DataError(wanted, found, "save it as a JPEG of ordinary size and add that")


def user_image(image: Image.Image, pipe: MemoryDrivenPipeline) -> UserImage:
    """Return an image with its features, named after both."""
    vgg = feature_network()
    wanted = "the feature network that made this memory"
    fix = f"name the weights that it was built with in {Vgg16Features.VARIABLE}"
    require(pipe.bank.header.get("encoder") == vgg.hash, CheckpointError, wanted, vgg.hash, fix)
    with pipe.turn, torch.inference_mode():
        v = vgg(to_tensor(image)[None])[0].numpy()
    features = encode_v(v)
    return UserImage(
        id=PRIVATE + hashlib.sha256(image.tobytes() + features).hexdigest()[:12],
        image=centre_square(image, THUMBNAIL),
        caption=CAPTION,
        features=features,
        shape=v.shape,
    )


def fetched() -> int:
    """Return how many MB of the feature network's weights have come so far."""
    parts = Path(torch.hub.get_dir(), "checkpoints").glob("vgg16_features-*")
    return max((part.stat().st_size for part in parts if part.exists()), default=0) // 10**6


_network = lru_cache(maxsize=1)(Vgg16Features.load)


def feature_network() -> Vgg16Features:
    """Return VGG-16, exact where its weights are at hand, else from those that come with the package."""
    return _network(Vgg16Features.at_hand() or COARSE)
