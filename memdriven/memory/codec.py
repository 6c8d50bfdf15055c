"""One item's image features v as a few kilobytes: dead-zone quantisation, gap coding, LZMA [ours].

relu5_3 is 92-96 % zeros, and most of what is left is small. A value x becomes the level
floor(x / step + ROUNDING); the step is the largest for which the levels still point where v
points, cos(levels, v) >= the cosine asked for, found per item by bisection. The levels that are
not zero are written as two planes of bytes, first the distance of each from the one before
(row by row, channel by channel), then the levels, and LZMA's adaptive coder does the rest.

A blob is the float32 `scale` followed by a raw LZMA stream; v is about `scale * levels`, with the
scale that makes the squared error least. docs/memory.md holds the layouts that were tried.
"""

from __future__ import annotations

import lzma
import struct

import numpy as np
from numpy.typing import NDArray

from memdriven.errors import BankError

COSINE = 0.991
"""Cosine between float32 v and its decoded levels that an encoded item reaches at the least."""
ROUNDING = 0.35
"""Below 0.5: values in the dead zone near zero go to zero, where they cost nothing."""
BISECTIONS = 16
MAX_LEVEL = 255
MAX_GAP = 255

_SCALE = struct.Struct("<f")
_FILTERS = [{"id": lzma.FILTER_LZMA1, "lc": 0, "lp": 0, "pb": 0, "dict_size": 1 << 18, "preset": 6}]
"""No literal context (lc = 0): the planes hold too few bytes to learn one."""


def encode(v: NDArray[np.floating], cosine: float = COSINE) -> bytes:
    """Return v (c, h, w), non-negative and finite, as one blob.

    Args:
        v: image features of one item.
        cosine: the least cosine between v and what `decode` gives back, in (0, 1).

    Raises:
        BankError: v holds a negative or non-finite value, or 255 levels cannot reach `cosine`.
    """
    flat = np.asarray(v, dtype=np.float32).ravel()
    if not (np.isfinite(flat).all() and (flat >= 0).all()):
        raise BankError(
            wanted="finite, non-negative features (the output of a ReLU)",
            found="a negative, infinite or NaN value",
            fix="check the encoder's weights and input",
        )
    places = np.flatnonzero(flat)
    levels, scale = _quantise(flat[places].astype(np.float64), cosine)
    kept = levels > 0
    gaps, values = _with_fillers(places[kept], levels[kept])
    planes = gaps.tobytes() + values.tobytes()
    return _SCALE.pack(scale) + lzma.compress(planes, lzma.FORMAT_RAW, filters=_FILTERS)


def decode_levels(
    blob: bytes | memoryview, shape: tuple[int, int, int], out: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], float]:
    """Return (levels (c, h, w) uint8, scale) of a blob; v is about scale * levels.

    Args:
        blob: what `encode` gave.
        shape: (c, h, w) of v.
        out: array to fill in place of a new one.

    Raises:
        BankError: the blob is damaged or belongs to another shape.
    """
    size = int(np.prod(shape))
    levels = np.zeros(shape, np.uint8) if out is None else out
    try:
        (scale,) = _SCALE.unpack(blob[: _SCALE.size])
        stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
        planes = stream.decompress(blob[_SCALE.size :], max_length=2 * size)
    except (struct.error, lzma.LZMAError, EOFError) as error:
        raise _damaged(str(error)) from error
    if len(planes) % 2 or not np.isfinite(scale) or scale < 0:
        raise _damaged("an incomplete stream")
    gaps, values = np.frombuffer(planes, np.uint8).reshape(2, -1)
    places = np.cumsum(gaps + np.int64(1)) - 1
    if len(places) and places[-1] >= size:
        raise _damaged(f"more than {size} values")
    if not stream.eof:  # a full plane may leave the end mark unread
        try:
            if stream.decompress(b"", max_length=1) or not stream.eof:
                raise _damaged("an incomplete stream")
        except (lzma.LZMAError, EOFError) as error:
            raise _damaged(str(error)) from error
    flat = levels.reshape(-1)
    flat[:] = 0
    flat[places] = values
    return levels, float(scale)


def decode(blob: bytes | memoryview, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return v (c, h, w) of a blob.

    Raises:
        BankError: the blob is damaged or belongs to another shape.
    """
    levels, scale = decode_levels(blob, shape)
    return levels * np.float32(scale)


def _quantise(values: NDArray[np.float64], cosine: float) -> tuple[NDArray[np.uint8], float]:
    """Return the coarsest (levels, scale) of the non-zero values that reach the cosine."""
    if len(values) == 0:
        return np.zeros(0, np.uint8), 0.0
    norm = float(np.sqrt(values @ values))

    def levels_at(step: float) -> NDArray[np.float64]:
        return np.minimum(np.floor(values / step + ROUNDING), MAX_LEVEL)

    def reaches(levels: NDArray[np.float64]) -> bool:
        length = float(np.sqrt(levels @ levels))
        return length > 0 and float(levels @ values) >= cosine * length * norm

    peak = float(values.max())
    fine, coarse = peak / (MAX_LEVEL + 1 - ROUNDING), peak / (1 - ROUNDING)
    best = levels_at(fine)
    if not reaches(best):
        raise BankError(
            wanted=f"cosine {cosine} from {MAX_LEVEL} levels",
            found="features whose largest value dwarfs the rest",
            fix="ask for a lower cosine, or check the encoder",
        )
    for _ in range(BISECTIONS):
        step = (fine * coarse) ** 0.5
        levels = levels_at(step)
        if reaches(levels):
            fine, best = step, levels
        else:
            coarse = step
    return best.astype(np.uint8), float(best @ values / (best @ best))


def _with_fillers(
    places: NDArray[np.int64], levels: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (gaps, levels), with levels of zero put in where a gap exceeds a byte."""
    gaps = np.diff(places, prepend=-1) - 1
    fillers = np.repeat(np.arange(len(places)), gaps // (MAX_GAP + 1))
    short = np.insert(gaps % (MAX_GAP + 1), fillers, MAX_GAP)
    return short.astype(np.uint8), np.insert(levels, fillers, np.uint8(0))


def _damaged(found: str) -> BankError:
    return BankError(
        wanted="the compressed features of one item",
        found=found or "damaged data",
        fix="build the memory bank or feature store again",
    )
