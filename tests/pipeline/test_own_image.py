from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from memdriven.encoders.imagenet import COARSE, Vgg16Features
from memdriven.errors import CheckpointError, DataError
from memdriven.pipeline import own_image
from memdriven.pipeline.pipeline import MemoryDrivenPipeline


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return base64.b64encode(buffer.getvalue()).decode()


class FakeNetwork:
    """In place of VGG-16, for a memory that was drawn instead of computed."""

    hash = "0" * 16

    def __call__(self, images: Tensor) -> Tensor:
        return images.mean(dim=1, keepdim=True)[:, :, ::16, ::16].expand(1, 512, 16, 16)


def test_an_upload_becomes_a_plain_square_without_its_secrets() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"  # turned on its side
    wide = Image.new("RGB", (400, 300), "red")
    wide.paste("blue", (0, 0, 400, 100))
    made = own_image.read_picture(encoded(wide, "JPEG", exif=exif, quality=95))
    assert made.size == (256, 256)
    assert made.mode == "RGB"
    assert not made.getexif()
    assert not made.info
    red, _, blue = made.getpixel((230, 128))  # type: ignore[misc]
    assert blue > red  # the blue upper edge has turned to the right


def test_transparency_is_white_and_every_kind_is_read() -> None:
    clear = own_image.read_picture(encoded(Image.new("RGBA", (30, 30), (0, 0, 0, 0))))
    assert clear.getpixel((5, 5)) == (255, 255, 255)
    for kind in ("PNG", "JPEG", "WEBP"):
        assert own_image.read_picture(encoded(Image.new("L", (64, 40)), kind)).mode == "RGB"


def bomb() -> str:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    return base64.b64encode(content).decode()


HOSTILE = {
    "svg": base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(),
    "html": base64.b64encode(b"<script>1</script>").decode(),
    "empty": "",
    "not base64": "%%%",
    "nothing": None,
    "number": 3,
    "cut": encoded(Image.effect_noise((300, 300), 90))[:2_000],
    "bomb": bomb(),
    "too large": "A" * (own_image.MAX_BYTES * 4 // 3 + 8),
}


def test_a_picture_of_another_kind_is_named() -> None:
    for content, kind in ((b"\0\0\0\x18ftypheic", "a HEIC picture"), (b"%PDF-1.7", "a PDF")):
        with pytest.raises(DataError, match=f"found: {kind}"):
            own_image.read_picture(base64.b64encode(content).decode())


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_uploads_are_refused_with_a_message(content: object) -> None:
    with pytest.raises(DataError, match="a picture: PNG, JPEG"):
        own_image.read_picture(content)


def test_guest_is_named_after_its_pixels(pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_image, "feature_network", FakeNetwork)
    picture = own_image.read_picture(encoded(Image.effect_noise((300, 200), 60)))
    first, again = own_image.user_image(picture, pipe), own_image.user_image(picture.copy(), pipe)
    assert first.id == again.id
    assert first.id.startswith("own:")
    assert first.image.size == (96, 96)
    wanted = FakeNetwork()(torch.zeros(1, 3, 256, 256)).shape[1:]
    assert tuple(first.v().shape) == tuple(wanted)
    other = own_image.user_image(Image.new("RGB", (256, 256), "red"), pipe)
    assert other.id != first.id


def test_weights_are_looked_for_and_never_fetched(
    pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(Vgg16Features.VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    used = list[Path]()
    monkeypatch.setattr(own_image, "_network", used.append)
    own_image.feature_network()
    cached = tmp_path / "checkpoints" / "vgg16_features-abc.pth"
    cached.parent.mkdir()
    cached.touch()
    own_image.feature_network()
    monkeypatch.setenv(Vgg16Features.VARIABLE, "elsewhere.safetensors")
    own_image.feature_network()
    assert used == [COARSE, cached, Path("elsewhere.safetensors")]
    monkeypatch.setattr(own_image, "feature_network", type("Other", (), {"hash": "1"}))
    with pytest.raises(CheckpointError, match=r"made this memory.*MEMDRIVEN_VGG16"):
        own_image.user_image(Image.new("RGB", (256, 256)), pipe)


def test_an_image_is_read_with_nothing_but_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The shipped memory's own pictures are read as what lies there: nobody's features are as near."""
    monkeypatch.delenv(Vgg16Features.VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    shipped = MemoryDrivenPipeline.from_pretrained("checkpoints/aviary")
    rows = range(0, shipped.bank.n, shipped.bank.n // 4)
    stored = torch.stack([shipped.bank.v(row).flatten() for row in rows])
    for place, row in enumerate(rows):
        small = shipped.bank.thumbnail(row).resize((256, 256), Image.Resampling.BICUBIC)
        read = own_image.user_image(small, shipped).v().flatten()
        alike = torch.cosine_similarity(read[None], stored)
        assert alike.argmax() == place
        assert alike[place] > 0.5
