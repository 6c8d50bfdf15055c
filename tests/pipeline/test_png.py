from __future__ import annotations

import io

import pytest
from PIL import Image, PngImagePlugin

from memdriven.errors import DataError
from memdriven.pipeline.png import text_chunk


def written(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_text_is_found_by_its_whole_keyword() -> None:
    content = written(recipes="no", recipe="yes", other="x")
    assert text_chunk(content, "recipe") == b"yes"
    assert text_chunk(content, "rec") is None


def test_damage_and_other_files_are_refused() -> None:
    content = written(recipe="yes")
    place = content.index(b"yes")
    damaged = content[:place] + b"no!" + content[place + 3 :]
    for wrong in (damaged, content[: place + 2], b"GIF89a", b""):
        with pytest.raises(DataError):
            text_chunk(wrong, "recipe")
