"""What to paint: everything that a picture depends on beside the model and its memory, checked once.

The page, the API and the command line fill in a `Request`; `MemoryDrivenPipeline.prepare` and `paint`
read it, and nothing is checked again behind it. Equal requests are equal keys of caches.

A `Recipe` is a request with nothing left open, as JSON: what makes a picture again, small enough for a PNG
text chunk or a link. It holds the references and weights that were used, not only how they were asked for,
so that the same checkpoint gives the same pixels even when retrieval changes. Whatever reads one here treats
it as hostile.
"""

import base64
import binascii
import io
import json
import math
import re
import secrets
import warnings
import zlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from memdriven.config import MAX_GUIDANCE
from memdriven.data.vocabulary import MAX_CHARACTERS
from memdriven.errors import CaptionError, ConfigError, DataError, MemDrivenError, RetrievalError, require
from memdriven.memory.features import decode_v
from memdriven.memory.retrieval import check_strategy
from memdriven.memory.scores import shares
from memdriven.models.noise import Window
from memdriven.numbers import check_number, check_whole, counted, in_range, parse_json, shown

CONTROLS = ("random", "oracle", "none")
"""Strategies that the words do not order: there is no best of several."""
MAX_SEED, DRAWN_SEEDS = 2**53 - 1, 2**32
"""The largest whole number that JSON readers of every language keep exactly; a seed drawn for the caller
is below the second, short enough to read out."""
MAX_SEEDS, MAX_K, MAX_VARIATIONS = 4_096, 1_000_000, 32
MAX_REFERENCES, MAX_TRIED = 64, 16
"""References of one picture, and those painted with to choose them."""
SMALLEST_WINDOW = 0.05
PRIVATE = "own:"
"""Ids that start so are of the caller's own images, which no memory holds."""
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
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Reference(NamedTuple):
    """One item that a picture draws on, and its share of v."""

    id: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class UserImage:
    """An image of the caller's own that stands beside the memory for this caller alone."""

    id: str
    """Starts with `PRIVATE`, then a hash of pixels and features: by it two of them are compared."""
    image: Image.Image = field(compare=False)
    caption: str = field(compare=False)
    features: bytes = field(compare=False, repr=False)
    """Its v, compressed as in a feature store, of `shape` (c, h, w)."""
    shape: tuple[int, int, int] = field(compare=False)

    def v(self) -> Tensor:
        """Return image features (c, h, w), float32."""
        return torch.from_numpy(decode_v(self.features, self.shape))


@dataclass(frozen=True, kw_only=True)
class Variation:
    """A step from one picture's z towards another: what a near-by picture is made with.

    z' = cos(a) z + sin(a) z2 with a = strength * pi / 2 and z2 drawn from `seed`: of the same length on
    average as z, whatever the strength [ours].
    """

    seed: int
    strength: float
    """Above 0; at 1 nothing of the picture's own z is left."""

    def __post_init__(self) -> None:
        for name in ("seed", "strength"):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        check_whole("a variation's seed", self.seed, 0, MAX_SEED)
        good, wanted = in_range(self.strength, 0, 1) and self.strength > 0, "a variation's strength in (0, 1]"
        require(good, ConfigError, wanted, shown(self.strength), "0.2 is a small step, 1 another picture")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One picture, or one for each seed.

    Raises:
        CaptionError: the caption is no text of at most `MAX_CHARACTERS` characters.
        RetrievalError: a strategy, k, reference or weight that no memory can serve.
        ConfigError: another field is out of range.
    """

    caption: str
    seeds: tuple[int, ...] = ()
    """A picture each, at the same references; () draws one."""
    strategy: str | None = None
    """How references are found; None is the checkpoint's own."""
    k: int | None = None
    """How many references are mixed; None is the checkpoint's own number."""
    references: tuple[Reference, ...] | None = None
    """What takes the place of retrieval, shares scaled to sum to 1; () is strategy `none`."""
    exclude: tuple[str, ...] = ()
    """Ids that retrieval must not return."""
    images: tuple[UserImage, ...] = ()
    """The caller's own images, which `references` may name beside the memory's."""
    variations: tuple[Variation, ...] = ()
    """Steps away from each seed's z, one after the other."""
    memory: float = 1.0
    """What v is multiplied by: 0 leaves the words alone. Of use with models trained so (`train.p_fade`)."""
    guidance: float | None = None
    """How far the words move away from the references' captions; None is the checkpoint's own strength."""
    best_of: int = 1
    """Paint with so many nearest references and keep the k whose pictures fit best; not for controls."""
    mirror: bool | None = None
    """Whether the memory is seen mirrored; None leaves it to the seed."""
    window: Window | None = None
    """The part of the memory that is seen, (0, 0, 1) the whole; None leaves it to the seed."""

    def __post_init__(self) -> None:
        """Refuse what is out of range; put lists, shares and numbers in one form."""
        for name in ("k", "memory", "guidance", "best_of", "mirror"):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        kept: dict[str, Any] = {}
        fix = "describe the picture in a sentence or two"
        _check_text("a caption", self.caption, MAX_CHARACTERS, CaptionError, fix)
        kept["seeds"] = _listed("seeds", self.seeds, MAX_SEEDS)
        for seed in kept["seeds"]:
            check_whole("seeds", seed, 0, MAX_SEED)
        if self.strategy is not None:
            check_strategy(self.strategy)
        if self.k is not None:
            check_whole("k", self.k, 1, MAX_K, RetrievalError, "ask for another number of references")
        if self.references is not None:
            given = _scaled(_listed("references", self.references, MAX_REFERENCES, RetrievalError))
            kept |= {"references": given} if given else {"references": None, "strategy": "none"}
        exclude = _listed("exclude", self.exclude, MAX_K, RetrievalError)
        for name in exclude:
            _check_id(name)
        kept["exclude"] = tuple(sorted(set(exclude)))
        kept["images"] = _listed("images", self.images, MAX_REFERENCES, of=UserImage)
        kept["variations"] = _listed("variations", self.variations, MAX_VARIATIONS, of=Variation)
        # As floats: a recipe writes 0 and 0.0 alike.
        fix = "0 leaves the words alone, 1 is all of the memory"
        kept["memory"] = float(check_number("memory", self.memory, 0, 1, fix=fix))
        if self.guidance is not None:
            fix = "0 reads the words alone, 1 doubles what they change"
            kept["guidance"] = float(check_number("guidance", self.guidance, 0, MAX_GUIDANCE, fix=fix))
        check_whole("best_of", self.best_of, 1, MAX_TRIED)
        good, fix = self.mirror is None or isinstance(self.mirror, bool), "leave it out, and the seed decides"
        require(good, ConfigError, "mirror: true, false, or nothing", shown(self.mirror), fix)
        if self.window is not None:
            kept["window"] = _checked_window(_listed("window", self.window, 3))
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    def seeded(self) -> Self:
        """Return this request with at least one seed, drawn where none is given."""
        return self if self.seeds else replace(self, seeds=(drawn_seed(),))

    @classmethod
    def of(
        cls,
        caption: "Request | str",
        strategy: str | None = None,
        k: int | None = None,
        seed: int | None = None,
        *,
        seeds: Sequence[int] | None = None,
        neighbours: Sequence[str] | None = None,
        weights: Sequence[float] | None = None,
        **others: Any,
    ) -> "Request":
        """Return a request from a caption and settings, or a request with some fields changed.

        `seed` is one of `seeds`; `neighbours` are the ids of `references`, with `weights`, equal when None.
        """
        require(seed is None or seeds is None, ConfigError, "seed or seeds", "both", "pass one of them")
        if neighbours is not None or weights is not None:
            others["references"] = _references(neighbours, weights)
        given = {"strategy": strategy, "k": k, "seeds": seeds if seed is None else (seed,)}
        others |= {name: value for name, value in given.items() if value is not None}
        if isinstance(caption, Request):  # or a recipe, whose own fields are left behind
            others = {each.name: getattr(caption, each.name) for each in fields(Request)} | others
            return Request(**others)
        return cls(caption=caption, **others)


def drawn_seed() -> int:
    """Return a seed that nobody chose."""
    return secrets.randbelow(DRAWN_SEEDS)


def _references(ids: Sequence[str] | None, weights: Sequence[float] | None) -> list[Reference]:
    names = _listed("neighbours", ids, MAX_REFERENCES, RetrievalError)
    parts = (1.0,) * len(names)
    if weights is not None:
        parts = _listed("weights", weights, MAX_REFERENCES, RetrievalError)
    wanted = f"{counted(len(names), 'weight')}, one for each reference"
    require(len(parts) == len(names), RetrievalError, wanted, len(parts), "pass as many")
    return list(map(Reference, names, parts))


def _scaled(given: Sequence[Reference]) -> tuple[Reference, ...]:
    """Return references whose shares sum to 1; those that do so already are kept to the last bit."""
    for each in given:
        pair, fix = isinstance(each, tuple | list) and len(each) == 2, "give each as (id, weight)"
        require(pair, RetrievalError, "references: pairs of an id and a weight", shown(each), fix)
        _check_id(each[0])
        check_number("a weight", _plain(each[1]), 0, 1e9, RetrievalError, "give a share of the whole")
    ids, weights = [each[0] for each in given], [float(each[1]) for each in given]
    fix = "raise its weight instead"
    require(len(set(ids)) == len(ids), RetrievalError, "each reference once", shown(ids), fix)
    return tuple(map(Reference, ids, weights if sums_to_one(weights) else shares(weights)))


def sums_to_one(weights: Sequence[float]) -> bool:
    """Return whether weights are shares of a whole, as far as float32 can say."""
    return abs(math.fsum(weights) - 1) <= 1e-4


def _listed(
    name: str,
    value: Any,
    most: int,
    error: type[MemDrivenError] = ConfigError,
    of: type[UserImage | Variation] | None = None,
) -> tuple[Any, ...]:
    """Return a field's values as a tuple."""
    good = isinstance(value, Collection) and not isinstance(value, str | bytes) and len(value) <= most
    good = good and (of is None or all(isinstance(each, of) for each in value))
    wanted = f"{name}: a list of at most {most}" + (f" {of.__name__}s" if of else "")
    require(good, error, wanted, shown(value), "give a list, which may be empty")
    return tuple(map(_plain, value))


def _plain(value: Any) -> Any:
    """Return a number of numpy or torch as Python's, which JSON can hold; anything else as it is."""
    return value.item() if isinstance(value, np.generic | Tensor) and value.ndim == 0 else value


def _check_text(name: str, value: object, longest: int, error: type[MemDrivenError], fix: str) -> None:
    if not isinstance(value, str) or len(value) > longest or _LONE_SURROGATE.search(value):
        found = shown(value)
        if isinstance(value, str) and len(value) > longest:
            found = counted(len(value), "character")
        raise error(f"{name}: text of at most {longest:,} characters", found, fix)


def _check_id(value: object) -> None:
    _check_text("ids", value, 200, RetrievalError, "use ids that retrieval returned")


def _checked_window(window: tuple[Any, ...]) -> Window:
    if len(window) == 3 and all(in_range(each, 0, 1) for each in window):
        x, y, side = map(float, window)
        if side >= SMALLEST_WINDOW and max(x, y) + side <= 1 + 1e-6:
            return x, y, side
    wanted = f"window: left, top and side (at least {SMALLEST_WINDOW}) of a square in (0, 0, 1)"
    raise ConfigError(wanted, shown(window), "(0, 0, 1) is the whole memory")


# ---- A request as JSON ---------------------------------------------------------------------------


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
            raise _recipe_error(error.wanted, error.found) from None
        for name in ("strategy", "k", "guidance"):
            _need(getattr(self, name) is not None, name, None)
        _need(len(self.seeds) == 1, "one seed", self.seeds)
        for name in ("checkpoint", "version", "checkpoint_hash", "bank_hash"):
            value, form = getattr(self, name), "hexadecimal digits" if "hash" in name else "a short line"
            good = isinstance(value, str) and len(value) <= 100 and value.isprintable()
            _need(good and ("hash" not in name or _HASH.fullmatch(value)), f"{name}: {form}", value)

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
        # Of PNG's filtered lines runs are all that is worth looking for: it is faster, and no file is larger.
        image.save(buffer, format="PNG", pnginfo=text, compress_type=zlib.Z_RLE)
        return buffer.getvalue()

    def to_url(self) -> str:
        """Return the recipe as URL-safe text (base64url of deflated JSON, no padding)."""
        packed = zlib.compress(self.to_json().encode("ascii"), 9)
        return base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a recipe from JSON."""
        _need(len(text) <= MAX_BYTES, f"at most {MAX_BYTES} bytes", f"{len(text)} bytes")
        try:
            values = parse_json(text)
        except ValueError as error:
            raise _recipe_error("JSON", f"{type(error).__name__}: {error}") from None
        _need(isinstance(values, dict), "a JSON object", type(values).__name__)
        given: dict[str, Any] = {"extra": {}, "seed": None} | dict(values)
        schema = given.pop("schema", None)
        _need(schema == SCHEMA, f"schema {SCHEMA}", schema)
        extra = given.pop("extra")
        _need(extra == {}, "nothing in `extra`, where a later version's settings are", extra)
        _need("caption" in given and given.keys() <= {*FIELDS, *LATER}, "a caption, known fields", [*given])
        for name in ("neighbours", "weights", "variations", "window"):
            value = given.get(name)
            _need(value is None or isinstance(value, list), f"{name}: a list", value)
            given[name] = value or ()
        ids, weights = given.pop("neighbours"), given.pop("weights")
        good = all(in_range(each, 0, 1) for each in weights) and (not ids or sums_to_one(weights))
        _need(good and len(ids) == len(weights), "weights in 0..1 that sum to 1, one a neighbour", weights)
        try:
            given["variations"] = [Variation(**each) for each in given["variations"]]
        except (TypeError, ConfigError) as error:
            raise _recipe_error("variations: each a seed and a strength in (0, 1]", error) from None
        given |= {"window": given["window"] or None, "references": [*zip(ids, weights)] or None}
        return cls(seeds=(given.pop("seed"),), **given)

    @classmethod
    def from_url(cls, text: str) -> Self:
        """Read a recipe from `to_url`'s text."""
        _need(len(text) <= MAX_BYTES, f"at most {MAX_BYTES} characters", f"{len(text)}")
        try:
            raw = text.encode("ascii")
            packed = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
            reader = zlib.decompressobj()
            plain = reader.decompress(packed, MAX_BYTES)
        except (UnicodeEncodeError, binascii.Error, zlib.error) as error:
            raise _recipe_error("a recipe's link", f"{type(error).__name__}: {error}") from None
        _need(reader.eof and not reader.unused_data, "a whole recipe", "a part, or one too large")
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
            found = str(error)[:120] or type(error).__name__
            if isinstance(error, UnidentifiedImageError):
                found = "another kind of file, or a damaged one"
            raise DataError("a PNG picture", found, "give the PNG that memdriven saved") from None
        fix = "use a picture as memdriven saved it, or a copy that keeps its text"
        if not isinstance(text, str):
            raise DataError("a PNG with a recipe", "no recipe in its text", fix)
        return cls.from_json(text)


def _recipe_error(wanted: str, found: object) -> ConfigError:
    """Return the error of a recipe that cannot be used."""
    fix = "copy it again from where it was made, or use the version of memdriven that made it"
    return ConfigError(f"a recipe ({wanted})", str(found)[:120], fix)


def _need(holds: object, wanted: str, found: object) -> None:
    """Raise a `ConfigError` unless the condition holds."""
    if not holds:
        raise _recipe_error(wanted, shown(found))
