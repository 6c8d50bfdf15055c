from __future__ import annotations

import base64
import io
import json
import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from memdriven.errors import ConfigError, DataError, MemDrivenError
from memdriven.pipeline.request import MAX_BYTES, MAX_SEED, PNG_KEY, SCHEMA, Recipe, Reference, Variation

RECIPE = Recipe(
    caption="a bird, “crimson” \U0001f426 & <b>black</b>",
    strategy="words-both",
    k=2,
    seeds=(MAX_SEED,),
    references=(Reference("finch-01", 2 / 3), Reference("heron/07", 1 / 3)),
    checkpoint="aviary",
    checkpoint_hash="0123456789ab",
    bank_hash="ba9876543210",
    version="0.1.0",
    guidance=1.5,
)


def changed(**fields: object) -> str:
    return json.dumps({**RECIPE.to_dict(), **fields})


def url_of(plain: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(plain)).decode().rstrip("=")


def test_json_round_trip_keeps_every_bit() -> None:
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE
    assert Recipe.from_json(RECIPE.to_json(indent=1).encode()) == RECIPE
    assert RECIPE.to_json().isascii()


def test_url_round_trip_uses_url_safe_letters_only() -> None:
    text = RECIPE.to_url()
    assert all(letter.isalnum() or letter in "-_" for letter in text)
    assert Recipe.from_url(text) == RECIPE


def test_png_round_trip_leaves_the_pixels_alone() -> None:
    image = Image.effect_noise((20, 10), 80).convert("RGB")
    content = RECIPE.to_png(image)
    assert Recipe.from_png(content) == RECIPE
    with Image.open(io.BytesIO(content)) as read:
        assert read.text[PNG_KEY] == RECIPE.to_json()  # type: ignore[attr-defined]
        assert read.convert("RGB").tobytes() == image.tobytes()


def test_variations_travel_and_plain_recipes_stay_as_they_were() -> None:
    steps = (Variation(seed=3, strength=0.25), Variation(seed=MAX_SEED, strength=1.0))
    varied = replace(RECIPE, variations=steps)
    assert Recipe.from_json(varied.to_json()) == varied
    assert Recipe.from_url(varied.to_url()) == varied
    assert "variations" not in RECIPE.to_dict()


@pytest.mark.parametrize("share", [0, 0.0, 1 / 3, 0.999])
def test_strength_of_the_memory_travels_and_is_written_only_when_less(share: float) -> None:
    weak = replace(RECIPE, memory=share)
    assert Recipe.from_json(weak.to_json()) == weak
    assert Recipe.from_url(weak.to_url()).memory == share
    assert "memory" not in RECIPE.to_dict()
    assert RECIPE.memory == 1
    for wrong in (float("nan"), float("inf"), -1e-9, 1.5, True, "1", None):
        with pytest.raises(ConfigError, match="memory"):
            replace(RECIPE, memory=wrong)  # type: ignore[arg-type]


def test_private_images_are_told_from_the_banks() -> None:
    assert not RECIPE.private
    assert replace(RECIPE, references=(("own:0123456789ab", 1.0),)).private


def test_least_recipe_takes_defaults() -> None:
    least = {"schema": SCHEMA, "caption": "a bird", "strategy": "none", "k": 1, "seed": 0}
    recipe = Recipe.from_json(json.dumps(least))
    assert recipe.neighbours == ()
    assert recipe.variations == ()


HOSTILE_JSON = {
    "no object": "[1]",
    "no JSON": "{",
    "deep": "[" * 30_000,
    "too long": " " * (MAX_BYTES + 1),
    "NaN": changed().replace("1.5", "NaN"),
    "infinity": changed().replace("1.5", "1e999"),
    "twice": changed()[:-1] + ', "seed": 1}',
    "another schema": changed(schema="memdriven.recipe/9"),
    "unknown field": changed(sampler=2.0),
    "missing field": json.dumps({"schema": SCHEMA, "caption": "a", "strategy": "none", "k": 1}),
    "negative seed": changed(seed=-1),
    "large seed": changed(seed=MAX_SEED + 1),
    "float seed": changed(seed=1.0),
    "true as k": changed(k=True),
    "k of zero": changed(k=0),
    "text as k": changed(k="2"),
    "unknown strategy": changed(strategy="sql"),
    "strategy as list": changed(strategy=["none"]),
    "caption as number": changed(caption=3),
    "long caption": changed(caption="a" * 2_001),
    "half a character": changed(caption="\ud800"),
    "neighbours as text": changed(neighbours="ab"),
    "neighbours as numbers": changed(neighbours=[1, 2]),
    "neighbour twice": changed(neighbours=["a", "a"]),
    "many neighbours": changed(neighbours=[str(i) for i in range(65)], weights=[1 / 65] * 65),
    "neighbour lists": changed(neighbours=[["a"], ["b"]]),
    "few weights": changed(weights=[1.0]),
    "negative weight": changed(weights=[-0.5, 1.5]),
    "weights above one": changed(weights=[0.9, 0.9]),
    "weights as text": changed(weights=["0.5", "0.5"]),
    "true as weight": changed(weights=[True, False]),
    "hash with path": changed(checkpoint_hash="../../etc"),
    "hash as null": changed(bank_hash=None),
    "long name": changed(checkpoint="a" * 101),
    "extra of a later version": changed(extra={"sampler": "plain"}),
    "extra as list": changed(extra=[1]),
    "variations as nothing": changed(variations=False),
    "window as text": changed(window=""),
    "variations as object": changed(variations={"seed": 1, "strength": 0.5}),
    "variation without strength": changed(variations=[{"seed": 1}]),
    "variation with more": changed(variations=[{"seed": 1, "strength": 0.5, "x": 1}]),
    "variation of nothing": changed(variations=[{"seed": 1, "strength": 0}]),
    "variation too far": changed(variations=[{"seed": 1, "strength": 1.01}]),
    "variation as true": changed(variations=[{"seed": 1, "strength": True}]),
    "variation with odd seed": changed(variations=[{"seed": -1, "strength": 0.5}]),
    "many variations": changed(variations=[{"seed": 1, "strength": 0.5}] * 33),
    "memory below nothing": changed(memory=-0.01),
    "more than all of the memory": changed(memory=1.01),
    "memory as true": changed(memory=True),
    "memory as text": changed(memory="0.5"),
    "memory as null": changed(memory=None),
    "endless memory": changed(memory=0.5).replace('"memory": 0.5', '"memory": 1e999'),
    "memory that is no number": changed(memory=0.5).replace('"memory": 0.5', '"memory": NaN'),
}


@pytest.mark.parametrize("text", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
def test_hostile_json_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="recipe"):
        Recipe.from_json(text)


HOSTILE_URLS = {
    "empty": "",
    "not base64": "%%%%",
    "not ASCII": "é" * 8,
    "not deflated": base64.urlsafe_b64encode(b"plain").decode(),
    "bomb": url_of(b" " * 50_000_000),
    "cut short": RECIPE.to_url()[:-20],
    "too long": "A" * (MAX_BYTES + 1),
    "something behind": base64.urlsafe_b64encode(zlib.compress(b"{}") + b"more").decode(),
}


@pytest.mark.parametrize("text", HOSTILE_URLS.values(), ids=HOSTILE_URLS)
def test_hostile_url_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="recipe"):
        Recipe.from_url(text)


OLD = json.loads(Path(__file__).with_name("old_recipes.json").read_bytes())


@pytest.mark.parametrize("old", OLD, ids=["plain", "varied", "least"])
def test_recipes_links_and_pictures_of_earlier_versions_open(old: dict[str, str]) -> None:
    recipe = Recipe.from_json(old["json"])
    assert Recipe.from_url(old["url"]) == recipe
    assert Recipe.from_png(base64.b64decode(old["png"])) == recipe
    assert recipe.to_dict() | {"extra": {}} == json.loads(old["json"])
    assert (recipe.mirror, recipe.window) == (None, None)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iTXt compressed"])
def test_a_picture_that_another_program_saved_again(kind: bytes, place: str) -> None:
    """Its text may be compressed or international, before the pixels or behind them."""
    key, text = PNG_KEY.encode(), RECIPE.to_json().encode()
    body = {
        b"tEXt": key + b"\0" + text,
        b"zTXt": key + b"\0\0" + zlib.compress(text),
        b"iTXt": key + b"\0\0\0\0\0" + text,
        b"iTXt compressed": key + b"\0\1\0\0\0" + zlib.compress(text),
    }[kind]
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, format="PNG")
    plain = buffer.getvalue()
    at = plain.index(b"IDAT") - 4 if place == "before" else plain.index(b"IEND") - 4
    assert Recipe.from_png(plain[:at] + chunk(kind[:4], body) + plain[at:]) == RECIPE


def test_text_that_unpacks_without_end_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, format="PNG")
    plain = buffer.getvalue()
    bomb = PNG_KEY.encode() + b"\0\0" + zlib.compress(b" " * 50_000_000)
    at = plain.index(b"IDAT") - 4
    with pytest.raises(MemDrivenError):
        Recipe.from_png(plain[:at] + chunk(b"zTXt", bomb) + plain[at:])


def test_a_picture_without_end_is_not_decoded() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1_000))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")
    with pytest.raises(DataError):
        Recipe.from_png(content)


def test_png_without_a_recipe_is_refused() -> None:
    buffer = io.BytesIO()
    other = PngImagePlugin.PngInfo()
    other.add_text("Comment", "hello")
    Image.new("RGB", (2, 2)).save(buffer, format="PNG", pnginfo=other)
    with pytest.raises(DataError, match="no recipe"):
        Recipe.from_png(buffer.getvalue())
    with pytest.raises(DataError, match="found: another kind of file"):
        Recipe.from_png(b"\xff\xd8\xff")
    for content in (b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\xff\xff\xff\xfftEXt...."):
        with pytest.raises(DataError):
            Recipe.from_png(content)


def test_damaged_bytes_raise_only_errors_of_the_package() -> None:
    source = random.Random(0)
    png = RECIPE.to_png(Image.new("RGB", (4, 4)))
    url = RECIPE.to_url()
    for _ in range(300):
        damaged = bytearray(png)
        damaged[source.randrange(len(png))] ^= 1 << source.randrange(8)
        letters = list(url)
        letters[source.randrange(len(url))] = source.choice("Ab-_9é ")
        for read, given in ((Recipe.from_png, bytes(damaged)), (Recipe.from_url, "".join(letters))):
            try:
                assert isinstance(read(given), Recipe)  # type: ignore[operator]
            except MemDrivenError:
                continue
