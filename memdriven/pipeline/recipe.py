"""A request with nothing left open, as JSON: what makes a picture again.

Small enough for a PNG text chunk or a link. A recipe holds the references and weights that were used,
not only how they were asked for, so that the same checkpoint gives the same pixels even when retrieval
changes. Every reader here treats its input as hostile.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import warnings
import zlib
from dataclasses import asdict, dataclass
from typing import Any, Self

from PIL import Image, PngImagePlugin

from memdriven.errors import ConfigError, DataError, MemDrivenError
from memdriven.numbers import in_range, parse_json, shown
from memdriven.pipeline.request import PRIVATE, Request, Variation, sums_to_one

SCHEMA = "memdriven.recipe/1"
FIELDS = (
    *("caption", "strategy", "k", "seed", "neighbours", "weights"),
    *("checkpoint", "checkpoint_hash", "bank_hash", "version"),
)
LATER = {"variations": (), "memory": 1.0, "guidance": 0.0, "mirror": None, "window": None}
"""Fields that the first versions did not have, written only where they say something else than this."""
PNG_KEY = "memdriven.recipe"
"""Keyword of the PNG text chunk that holds the recipe's JSON."""
MAX_BYTES = 32_768
"""A recipe's JSON is never larger."""
MAX_PIXELS = 1 << 24
"""Larger pictures are not decoded to look for a recipe behind their pixels."""
_HASH = re.compile(r"[0-9a-f]{0,64}")


@dataclass(frozen=True, kw_only=True)
class Recipe(Request):
    """The request of one picture, and what made it; equal recipes give equal pixels on one machine."""

    strategy: str
    k: int
    guidance: float = 0.0
    checkpoint: str = ""
    """The checkpoint's name, for people."""
    checkpoint_hash: str = ""
    bank_hash: str = ""
    version: str = ""
    """Version of memdriven that made the picture."""

    def __post_init__(self) -> None:
        """Refuse what no pipeline could have written."""
        try:
            super().__post_init__()
        except MemDrivenError as error:
            raise recipe_error(error.wanted, error.found) from None
        for name in ("strategy", "k", "guidance"):
            check(getattr(self, name) is not None, name, None)
        check(len(self.seeds) == 1, "one seed", self.seeds)
        for name in ("checkpoint", "version", "checkpoint_hash", "bank_hash"):
            value, form = getattr(self, name), "hexadecimal digits" if "hash" in name else "a short line"
            good = isinstance(value, str) and len(value) <= 100 and value.isprintable()
            check(good and ("hash" not in name or _HASH.fullmatch(value)), f"{name}: {form}", value)

    @property
    def seed(self) -> int:
        """The picture's own."""
        return self.seeds[0]

    @property
    def neighbours(self) -> tuple[str, ...]:
        """Ids of the items whose features were used, best first; none for `none`."""
        return tuple(each.id for each in self.references or ())

    @property
    def weights(self) -> tuple[float, ...]:
        """Their shares of v; they sum to 1."""
        return tuple(each.weight for each in self.references or ())

    @property
    def private(self) -> bool:
        """Whether it needs a visitor's own image, which no memory bank holds."""
        return any(name.startswith(PRIVATE) for name in self.neighbours)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values, schema first."""
        values: dict[str, Any] = json.loads(self.to_json())
        return values

    def to_json(self, indent: int | None = None) -> str:
        """Return JSON in ASCII, so that it fits any PNG text chunk unchanged."""
        later = (name for name, plain in LATER.items() if getattr(self, name) != plain)
        values = {"schema": SCHEMA} | {name: getattr(self, name) for name in (*FIELDS, *later)}
        return json.dumps(values, allow_nan=False, indent=indent, default=asdict)

    def to_png(self, image: Image.Image) -> bytes:
        """Return the picture as PNG bytes that carry this recipe in a text chunk."""
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
        """Rebuild a recipe from `to_dict`'s values."""
        check(isinstance(values, dict), "a JSON object", type(values).__name__)
        given = {"extra": {}, "seed": None} | dict(values)  # type: ignore[call-overload]
        schema = given.pop("schema", None)
        check(schema == SCHEMA, f"schema {SCHEMA}", schema)
        check(given.pop("extra") == {}, "no settings of a later version", "some in `extra`")
        check("caption" in given and given.keys() <= {*FIELDS, *LATER}, "a caption, known fields", [*given])
        for name in ("neighbours", "weights", "variations", "window"):
            check(isinstance(given.get(name) or [], list), f"{name}: a list", given.get(name))
            given[name] = given.get(name) or ()
        ids, weights = given.pop("neighbours"), given.pop("weights")
        good = all(in_range(each, 0, 1) for each in weights) and (not ids or sums_to_one(weights))
        check(good and len(ids) == len(weights), "weights in 0..1 that sum to 1, one a neighbour", weights)
        try:
            given["variations"] = [Variation(**each) for each in given["variations"]]
        except (TypeError, ConfigError) as error:
            raise recipe_error("variations: each a seed and a strength in (0, 1]", error) from None
        given |= {"window": given["window"] or None, "references": [*zip(ids, weights)] or None}
        return cls(seeds=(given.pop("seed"),), **given)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a recipe from JSON."""
        check(len(text) <= MAX_BYTES, f"at most {MAX_BYTES} bytes", f"{len(text)} bytes")
        try:
            values = parse_json(text)
        except ValueError as error:
            raise recipe_error("JSON", f"{type(error).__name__}: {error}") from None
        return cls.from_dict(values)

    @classmethod
    def from_url(cls, text: str) -> Self:
        """Read a recipe from `to_url`'s text."""
        check(len(text) <= MAX_BYTES, f"at most {MAX_BYTES} characters", f"{len(text)}")
        try:
            raw = text.encode("ascii")
            packed = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
            reader = zlib.decompressobj()
            plain = reader.decompress(packed, MAX_BYTES)
        except (UnicodeEncodeError, binascii.Error, zlib.error) as error:
            raise recipe_error("a recipe's link", f"{type(error).__name__}: {error}") from None
        check(reader.eof and not reader.unused_data, "a whole recipe", "a part, or one too large")
        return cls.from_json(plain)

    @classmethod
    def from_png(cls, content: bytes) -> Self:
        """Read the recipe in a PNG file, in whichever of its text chunks it stands.

        Pixels are decoded only where none stands before them. A DataError says that the bytes are no PNG or
        hold no recipe, a ConfigError that it is not valid.
        """
        try:
            with warnings.catch_warnings(), Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                text = image.info.get(PNG_KEY)
                if text is None and image.width * image.height <= MAX_PIXELS:
                    image.load()  # other programs write it behind the pixels
                    text = getattr(image, "text", {}).get(PNG_KEY)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
            raise DataError("a PNG picture", str(error)[:120] or type(error).__name__, "give a PNG") from None
        fix = "use a picture as memdriven saved it, or a copy that keeps its text"
        if not isinstance(text, str):
            raise DataError("a PNG with a recipe", "no recipe in its text", fix)
        return cls.from_json(text)


def recipe_error(wanted: str, found: object) -> ConfigError:
    """Return the error of a recipe that cannot be used."""
    fix = "copy the recipe again from where it was made"
    return ConfigError(f"a recipe ({wanted})", str(found)[:120], fix)


def check(holds: object, wanted: str, found: object) -> None:
    """Raise a `ConfigError` unless the condition holds."""
    if not holds:
        raise recipe_error(wanted, shown(found))
