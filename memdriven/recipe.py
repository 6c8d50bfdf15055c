"""Everything that makes an image again, small enough for a PNG text chunk or a link.

A recipe holds the resolved neighbours and weights, not only how they were asked for, so that the
same checkpoint gives the same pixels even when retrieval changes. Every reader here treats its
input as hostile: sizes, types and ranges are checked before anything is used.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, TypeGuard, get_args

from memdriven.config import Strategy
from memdriven.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL import Image

SCHEMA = "memdriven.recipe/1"
PNG_KEY = "memdriven.recipe"
"""Keyword of the PNG text chunk that holds the recipe's JSON."""
STRATEGIES: tuple[str, ...] = get_args(Strategy)
MAX_BYTES = 32_768
"""A recipe's JSON is never larger."""
MAX_SEED = 2**53 - 1
"""The largest whole number that JSON readers of every language keep exactly."""
MAX_NEIGHBOURS = 64
MAX_K = 1_000_000
MAX_CAPTION = 2_000
MAX_EXTRA = 16
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HASH = re.compile(r"[0-9a-f]{0,64}")
_EXTRA_KEY = re.compile(r"[a-z][a-z0-9_]{0,31}")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WEIGHT_TOLERANCE = 1e-4

Scalar = str | int | float | bool
"""What an extra setting may hold."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One picture's effective inputs; equal recipes give equal pixels on one machine."""

    caption: str
    strategy: str
    k: int
    seed: int
    neighbours: tuple[str, ...] = ()
    """Ids of the bank items whose features were used, best first; none for `none`."""
    weights: tuple[float, ...] = ()
    """Their shares of v; they sum to 1."""
    checkpoint: str = ""
    """The checkpoint's name, for people."""
    checkpoint_hash: str = ""
    bank_hash: str = ""
    version: str = ""
    """Version of memdriven that made the picture."""
    extra: Mapping[str, Scalar] = field(default_factory=dict)
    """Settings of later versions (guidance, truncation, ...): kept, shown, never guessed at."""

    def __post_init__(self) -> None:
        """Refuse what no pipeline could have written."""
        _whole("k", self.k, 1, MAX_K)
        _whole("seed", self.seed, 0, MAX_SEED)
        _text("caption", self.caption, MAX_CAPTION)
        _check(self.strategy in STRATEGIES, "a strategy: " + ", ".join(STRATEGIES), self.strategy)
        _check(len(self.neighbours) <= MAX_NEIGHBOURS, f"at most {MAX_NEIGHBOURS} neighbours",
               len(self.neighbours))  # fmt: skip
        for name in self.neighbours:
            _text("a neighbour's id", name, 200)
        _check(len(set(self.neighbours)) == len(self.neighbours), "each neighbour once",
               self.neighbours)  # fmt: skip
        _weights(self.weights, len(self.neighbours))
        for name in ("checkpoint", "version"):
            _text(name, getattr(self, name), 100)
        for name in ("checkpoint_hash", "bank_hash"):
            value = getattr(self, name)
            good = isinstance(value, str) and _HASH.fullmatch(value) is not None
            _check(good, f"{name}: hexadecimal digits", value)
        _extra(self.extra)

    def with_seed(self, seed: int) -> Self:
        """Return this recipe with another noise and everything else fixed."""
        return replace(self, seed=seed)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values, schema first."""
        return {
            "schema": SCHEMA, "caption": self.caption, "strategy": self.strategy, "k": self.k,
            "seed": self.seed, "neighbours": list(self.neighbours), "weights": list(self.weights),
            "checkpoint": self.checkpoint, "checkpoint_hash": self.checkpoint_hash,
            "bank_hash": self.bank_hash, "version": self.version, "extra": dict(self.extra),
        }  # fmt: skip

    def to_json(self, indent: int | None = None) -> str:
        """Return JSON in ASCII, so that it fits any PNG text chunk unchanged."""
        return json.dumps(self.to_dict(), ensure_ascii=True, allow_nan=False, indent=indent)

    def to_png(self, image: Image.Image) -> bytes:
        """Return the picture as PNG bytes that carry this recipe in a text chunk."""
        from PIL import PngImagePlugin

        text = PngImagePlugin.PngInfo()
        text.add_text(PNG_KEY, self.to_json())
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", pnginfo=text)
        return buffer.getvalue()

    def to_url(self) -> str:
        """Return the recipe as URL-safe text (base64url of deflated JSON, no padding)."""
        packed = zlib.compress(self.to_json().encode("ascii"), 9)
        return base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Rebuild a recipe from `to_dict`'s values.

        Raises:
            ConfigError: a field is missing, unknown, or of another type or range.
        """
        _check(isinstance(values, dict), "a JSON object", type(values).__name__)
        assert isinstance(values, dict)
        _check(values.get("schema") == SCHEMA, f"schema {SCHEMA}", values.get("schema"))
        given = {key: value for key, value in values.items() if key != "schema"}
        known = set(cls.__dataclass_fields__)
        unknown = sorted(str(key)[:40] for key in set(given) - known)
        _check(not unknown, "fields of a recipe (later settings go into `extra`)", unknown)
        missing = sorted({"caption", "strategy", "k", "seed"} - set(given))
        _check(not missing, "caption, strategy, k and seed", "no " + ", ".join(missing))
        for name in ("neighbours", "weights"):
            value = given.get(name, [])
            _check(isinstance(value, list), f"{name}: a list", type(value).__name__)
            given[name] = tuple(value)
        extra = given.get("extra", {})
        _check(isinstance(extra, dict), "extra: an object", type(extra).__name__)
        return cls(**given)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a recipe from JSON.

        Raises:
            ConfigError: the text is too long, not JSON, or not a valid recipe.
        """
        _check(len(text) <= MAX_BYTES, f"at most {MAX_BYTES} bytes", f"{len(text)} bytes")
        try:
            values = json.loads(
                text, parse_constant=_refuse_constant, object_pairs_hook=_unique_pairs
            )
        except (ValueError, RecursionError) as error:
            raise _error("JSON", f"{type(error).__name__}: {error}") from None
        return cls.from_dict(values)

    @classmethod
    def from_url(cls, text: str) -> Self:
        """Read a recipe from `to_url`'s text.

        Raises:
            ConfigError: the text is too long, damaged, or not a valid recipe.
        """
        _check(len(text) <= MAX_BYTES, f"at most {MAX_BYTES} characters", f"{len(text)}")
        try:
            raw = text.encode("ascii")
            packed = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
            reader = zlib.decompressobj()
            plain = reader.decompress(packed, MAX_BYTES)
        except (UnicodeEncodeError, binascii.Error, zlib.error) as error:
            raise _error("a recipe's link", f"{type(error).__name__}: {error}") from None
        _check(reader.eof and not reader.unused_data, "a whole recipe", "a part, or one too large")
        return cls.from_json(plain)

    @classmethod
    def from_png(cls, content: bytes) -> Self:
        """Read the recipe that `pipeline` wrote into a PNG file; pixels are not decoded.

        Raises:
            DataError: the bytes are no PNG or hold no recipe.
            ConfigError: the recipe inside is not valid.
        """
        for kind, data in _png_chunks(content):
            if kind == b"tEXt" and data.startswith(PNG_KEY.encode() + b"\0"):
                return cls.from_json(data.split(b"\0", 1)[1])
            if kind == b"IDAT":
                break
        raise DataError(
            wanted="a PNG with a recipe", found="no recipe in its text",
            fix="use a picture as memdriven saved it; other programs drop the text",
        )  # fmt: skip


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number, which True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def sums_to_one(weights: Sequence[float]) -> bool:
    """Return whether weights are shares of a whole, as far as float32 can say."""
    return abs(math.fsum(weights) - 1.0) <= _WEIGHT_TOLERANCE


def _png_chunks(content: bytes) -> Iterable[tuple[bytes, bytes]]:
    """Yield (type, data) of each chunk whose length and checksum hold."""
    position = len(_PNG_SIGNATURE)
    if content[:position] != _PNG_SIGNATURE:
        raise DataError(wanted="a PNG picture", found="another kind of file", fix="give a PNG")
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 12 + length
        kind, data = content[position + 4 : position + 8], content[position + 8 : end - 4]
        if end > len(content) or zlib.crc32(kind + data) != int.from_bytes(
            content[end - 4 : end], "big"
        ):
            raise DataError(wanted="a whole PNG", found="a damaged chunk", fix="save it again")
        yield kind, data
        position = end


def _error(wanted: str, found: object) -> ConfigError:
    return ConfigError(
        wanted=f"a recipe ({wanted})", found=str(found)[:120],
        fix="copy the recipe again from where it was made",
    )  # fmt: skip


def _check(holds: bool, wanted: str, found: object) -> None:
    if not holds:
        raise _error(wanted, repr(found))


def _whole(name: str, value: object, low: int, high: int) -> None:
    good = is_whole(value) and low <= value <= high
    _check(good, f"{name}: a whole number in {low}..{high}", value)


def _text(name: str, value: object, longest: int) -> None:
    good = isinstance(value, str) and len(value) <= longest
    _check(good, f"{name}: text of at most {longest} characters", value)
    _check(not _LONE_SURROGATE.search(str(value)), f"{name}: text that can be written", value)


def _weights(weights: tuple[Any, ...], count: int) -> None:
    _check(len(weights) == count, f"{count} weights, one a neighbour", len(weights))
    for weight in weights:
        good = isinstance(weight, int | float) and not isinstance(weight, bool)
        _check(good and 0.0 <= weight <= 1.0, "weights in 0..1", weight)
    _check(not weights or sums_to_one(weights), "weights that sum to 1", math.fsum(weights))


def _extra(extra: Mapping[Any, Any]) -> None:
    _check(len(extra) <= MAX_EXTRA, f"at most {MAX_EXTRA} extra settings", len(extra))
    for key, value in extra.items():
        _check(isinstance(key, str) and _EXTRA_KEY.fullmatch(key) is not None,
               "names of extra settings in lower case", key)  # fmt: skip
        _check(isinstance(value, str | int | float | bool), "plain extra settings", value)
        if isinstance(value, float):
            _check(math.isfinite(value), "finite extra settings", value)
        _check(len(str(value)) <= 200, "short extra settings", value)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a field is given twice")
    return values
