"""Text inside PNG files, read without decoding a pixel."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from memdriven.errors import DataError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def text_chunk(content: bytes, keyword: str) -> bytes | None:
    """Return the `tEXt` of that keyword before the pixels, or None when there is none.

    Raises:
        DataError: the bytes are no PNG, or a chunk on the way is damaged.
    """
    start = keyword.encode() + b"\0"
    for kind, data in _chunks(content):
        if kind == b"tEXt" and data.startswith(start):
            return data[len(start) :]
        if kind == b"IDAT":
            break
    return None


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, data) of each chunk whose length and checksum hold."""
    position = len(_SIGNATURE)
    if content[:position] != _SIGNATURE:
        raise DataError(wanted="a PNG picture", found="another kind of file", fix="give a PNG")
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 12 + length
        kind, data = content[position + 4 : position + 8], content[position + 8 : end - 4]
        if end > len(content) or zlib.crc32(kind + data) != int.from_bytes(content[end - 4 : end], "big"):
            raise DataError(wanted="a whole PNG", found="a damaged chunk", fix="save it again")
        yield kind, data
        position = end
