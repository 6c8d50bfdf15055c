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
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, get_args

from memdriven.config import Strategy
from memdriven.errors import DataError
from memdriven.pipeline.png import text_chunk
from memdriven.pipeline.recipe_fields import (
    check,
    check_extra,
    check_guidance,
    check_memory,
    check_text,
    check_weights,
    check_whole,
    recipe_error,
    refuse_constant,
    unique_pairs,
)

if TYPE_CHECKING:
    from PIL import Image

SCHEMA = "memdriven.pipeline.recipe/1"
PNG_KEY = "memdriven.pipeline.recipe"
"""Keyword of the PNG text chunk that holds the recipe's JSON."""
STRATEGIES: tuple[str, ...] = get_args(Strategy)
MAX_BYTES = 32_768
"""A recipe's JSON is never larger."""
MAX_SEED = 2**53 - 1
"""The largest whole number that JSON readers of every language keep exactly."""
MAX_NEIGHBOURS = 64
MAX_K = 1_000_000
MAX_CAPTION = 2_000
MAX_VARIATIONS = 32
PRIVATE = "own:"
"""Ids that start so are of a visitor's own images, which no memory bank holds."""
_HASH = re.compile(r"[0-9a-f]{0,64}")

Scalar = str | int | float | bool
"""What an extra setting may hold."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """A step from one picture's noise towards other noise: what a near-by picture is made with.

    z' = cos(a) z + sin(a) z2 with a = strength * pi / 2 and z2 drawn from `seed`: of the same
    length on average as z, whatever the strength (ours).
    """

    seed: int
    strength: float
    """Above 0; at 1 nothing of the picture's own noise is left."""

    def __post_init__(self) -> None:
        """Refuse what no page could have written."""
        check_whole("variation's seed", self.seed, 0, MAX_SEED)
        good = isinstance(self.strength, int | float) and not isinstance(self.strength, bool)
        check(good and 0 < self.strength <= 1, "a variation's strength above 0, at most 1", self.strength)

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Rebuild from a recipe's JSON object.

        Raises:
            ConfigError: a field is missing, unknown, or of another type or range.
        """
        good = isinstance(values, dict) and set(values) == {"seed", "strength"}
        check(good, "variations: objects of seed and strength", values)
        assert isinstance(values, dict)
        return cls(**values)


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
    variations: tuple[Variation, ...] = ()
    """Steps away from the seed's noise, one after the other; none for the seed's own picture."""
    memory: float = 1.0
    """What the mixed features v are multiplied by, in 0..1: at 0 the words are alone."""
    guidance: float = 0.0
    """How far the words were moved away from what the neighbours' captions say."""
    extra: Mapping[str, Scalar] = field(default_factory=dict)
    """Settings of later versions (truncation, ...): kept, shown, never guessed at."""

    def __post_init__(self) -> None:
        """Refuse what no pipeline could have written."""
        check_whole("k", self.k, 1, MAX_K)
        check_whole("seed", self.seed, 0, MAX_SEED)
        check_text("caption", self.caption, MAX_CAPTION)
        check(self.strategy in STRATEGIES, "a strategy: " + ", ".join(STRATEGIES), self.strategy)
        check(
            len(self.neighbours) <= MAX_NEIGHBOURS,
            f"at most {MAX_NEIGHBOURS} neighbours",
            len(self.neighbours),
        )
        for name in self.neighbours:
            check_text("a neighbour's id", name, 200)
        check(len(set(self.neighbours)) == len(self.neighbours), "each neighbour once", self.neighbours)
        check_weights(self.weights, len(self.neighbours))
        check(
            len(self.variations) <= MAX_VARIATIONS,
            f"at most {MAX_VARIATIONS} variations",
            len(self.variations),
        )
        for name in ("checkpoint", "version"):
            check_text(name, getattr(self, name), 100)
        for name in ("checkpoint_hash", "bank_hash"):
            value = getattr(self, name)
            good = isinstance(value, str) and _HASH.fullmatch(value) is not None
            check(good, f"{name}: hexadecimal digits", value)
        check_memory(self.memory)
        check_guidance(self.guidance)
        check_extra(self.extra)

    @property
    def private(self) -> bool:
        """Whether it needs a visitor's own image, which no memory bank holds."""
        return any(name.startswith(PRIVATE) for name in self.neighbours)

    def with_seed(self, seed: int) -> Self:
        """Return this recipe with another noise and everything else fixed."""
        return replace(self, seed=seed, variations=())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values, schema first."""
        return {
            "schema": SCHEMA,
            "caption": self.caption,
            "strategy": self.strategy,
            "k": self.k,
            "seed": self.seed,
            "neighbours": list(self.neighbours),
            "weights": list(self.weights),
            "checkpoint": self.checkpoint,
            "checkpoint_hash": self.checkpoint_hash,
            "bank_hash": self.bank_hash,
            "version": self.version,
            "extra": dict(self.extra),
            **({"variations": [asdict(v) for v in self.variations]} if self.variations else {}),
            **({"memory": self.memory} if self.memory != 1 else {}),
            **({"guidance": self.guidance} if self.guidance else {}),
        }

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
        check(isinstance(values, dict), "a JSON object", type(values).__name__)
        assert isinstance(values, dict)
        check(values.get("schema") == SCHEMA, f"schema {SCHEMA}", values.get("schema"))
        given = {key: value for key, value in values.items() if key != "schema"}
        known = set(cls.__dataclass_fields__)
        unknown = sorted(str(key)[:40] for key in set(given) - known)
        check(not unknown, "fields of a recipe (later settings go into `extra`)", unknown)
        missing = sorted({"caption", "strategy", "k", "seed"} - set(given))
        check(not missing, "caption, strategy, k and seed", "no " + ", ".join(missing))
        for name in ("neighbours", "weights", "variations"):
            value = given.get(name, [])
            check(isinstance(value, list), f"{name}: a list", type(value).__name__)
            given[name] = tuple(value)
        given["variations"] = tuple(map(Variation.from_dict, given["variations"]))
        extra = given.get("extra", {})
        check(isinstance(extra, dict), "extra: an object", type(extra).__name__)
        return cls(**given)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a recipe from JSON.

        Raises:
            ConfigError: the text is too long, not JSON, or not a valid recipe.
        """
        check(len(text) <= MAX_BYTES, f"at most {MAX_BYTES} bytes", f"{len(text)} bytes")
        try:
            values = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=unique_pairs)
        except (ValueError, RecursionError) as error:
            raise recipe_error("JSON", f"{type(error).__name__}: {error}") from None
        return cls.from_dict(values)

    @classmethod
    def from_url(cls, text: str) -> Self:
        """Read a recipe from `to_url`'s text.

        Raises:
            ConfigError: the text is too long, damaged, or not a valid recipe.
        """
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
        """Read the recipe that `pipeline` wrote into a PNG file; pixels are not decoded.

        Raises:
            DataError: the bytes are no PNG or hold no recipe.
            ConfigError: the recipe inside is not valid.
        """
        text = text_chunk(content, PNG_KEY)
        if text is not None:
            return cls.from_json(text)
        raise DataError(
            wanted="a PNG with a recipe",
            found="no recipe in its text",
            fix="use a picture as memdriven saved it; other programs drop the text",
        )
