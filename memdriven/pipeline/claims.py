"""What a caption names, and whether a picture shows it, as the model's own reader sees it.

What is named comes from the caption's own words, by a small grammar of noun phrases ("black wings and tail",
"a long orange bill"), clauses ("its tail is blue"), whole birds ("a red and black duck"), places and poses.
It knows the words of Aviary's captions and their everyday synonyms, and says nothing of what it does not
find: a text network would guess (an owl "has" a hooked beak), and a list with ticks must not. What is denied
("without a crest", "not red") is told, and never ticked: this model cannot leave things out. What the model's
reader of captions expects beyond the words is told apart, as implied by the kind of bird. The reader of
pictures is the one that chooses among references: an account of what the model aims at, not a judgement from
outside, for which `evaluation` has a judge.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from memdriven.aviary.captions import COLOUR_WORDS, PATTERN_WORDS, POSE_WORDS, SHAPE_WORDS, SIZE_WORDS
from memdriven.checkpoint import Checkpoint
from memdriven.data.vocabulary import UnknownWord
from memdriven.encoders.image import CompactBackbone
from memdriven.encoders.text import TextFeatures

# ---- What the words name -------------------------------------------------------------------------

Pair = tuple[str, str]
"""An attribute and its value."""


def _each(**words: str) -> dict[str, str]:
    """Return each of several words with the name that it stands for."""
    return {word: name for name, said in words.items() for word in said.split()}


COLOURS = {
    words.split()[-1]: name for name, said in COLOUR_WORDS.items() for words in said if "colored" not in words
}
COLOURS |= _each(
    red="ruby vermilion cherry",
    yellow="golden gold lemon",
    brown="chocolate brownish",
    blue="navy azure turquoise teal cobalt",
    purple="lavender magenta violet",
    buff="beige cream sandy",
    grey="silver greyish grayish slate",
    green="emerald lime",
    orange="amber",
    black="ebony",
    pink="rosy",
)
"""Colour words, each for one of the fourteen names."""
PARTS: dict[str, tuple[str, ...]] = {
    noun: (attribute,)
    for noun, attribute in _each(
        crown="crown cap",
        head="face cheek cheeks",
        throat="throat chin",
        breast="breast chest",
        belly="belly abdomen underside",
        back="back mantle",
        wing="wing wings",
        tail="tail tails",
        legs="leg legs foot feet",
        beak="beak bill beaks",
        wing_bars="wingbar wingbars",
        eye_ring="eyering",
        eye_stripe="eyestripe",
        crest="crest",
    ).items()
}
PARTS["head"] = ("crown", "head")
"""Nouns, and the attributes that each is about; `beak` stands for its colour and shape."""
PHRASES = {
    tuple(phrase.split()): one
    for one, phrases in {
        "wingbars": ("wing bar", "wing bars", "bars on its wings"),
        "eyering": ("eye ring", "eye rings", "ring around its eye"),
        "eyestripe": ("eye stripe", "stripe through its eye", "eyebrow line"),
        "wings": ("wing feathers",),
        "tail": ("tail feathers",),
        "medium": ("medium sized", "mid sized"),
    }.items()
    for phrase in phrases
}
"""Several words that are one."""
SHAPES = {words.split()[-1]: name for name, said in SHAPE_WORDS.items() for words in said}
SHAPES |= {"long": "long"}
del SHAPES["thin"]
PATTERNS = {word: name for name, said in PATTERN_WORDS.items() for word in said}
SIZES = {
    word: name for name, said in SIZE_WORDS.items() for word in said if " " not in word and "-" not in word
}
SIZES["medium"] = "medium"
POSES = {phrase: name for name, said in POSE_WORDS.items() for phrase in said}
POSES |= _each(flying="flies", swimming="swims", perched="perches perched", standing="stands")
POSES["on a branch"] = "perched"
PLACES = _each(
    snow="snow snowy winter",
    grass="grass meadow lawn grassy",
    sand="sand beach",
    rock="rock rocks stones",
    dusk="dusk sunset",
    water="water lake pond sea",
    foliage="foliage woods leaves forest",
    sky="sky",
)
"""Words that alone say where a bird is, unless they name something else before them."""
WHOLE = ("bird", "birds")
WHOLE_MARK = "whole "
WHOLE_PARTS = (WHOLE_MARK + "back", WHOLE_MARK + "breast")
"""What a bird's own colour is said of, marked, as a part's own colour goes before it."""
DENIALS = frozenset(
    {"no", "not", "without", "never", "lacks", "lacking", "isn", "aren", "hasn", "neither", "nor"}
)
FILLERS = frozenset(
    {"a", "an", "the", "its", "his", "her", "all", "very", "bright", "dark", "light", "pale", "deep", "dull"}
    | {"vivid", "jet", "solid", "slate", "snowy", "colored", "coloured", "feathered", "thin", "wide", "broad"}
)
"""Words that may stand inside a noun phrase without ending it."""

UNDERSTOOD = frozenset({*COLOURS, *PARTS, *SHAPES, *PATTERNS, *SIZES, *PLACES, *WHOLE, *DENIALS, *FILLERS})


@dataclass(frozen=True)
class Named:
    """What a caption's words name, in their order."""

    claims: tuple[Pair, ...] = ()
    denied: tuple[Pair, ...] = ()
    """What it says is not so; the value is empty where the thing itself is denied."""


@dataclass
class _Phrase:
    """The noun phrase that is being read."""

    colours: list[str] = field(default_factory=list)
    shape: str = ""
    pattern: str = ""
    size: str = ""
    denied: bool = False


def named_by(
    caption: str, values: Mapping[str, Sequence[str]], replaced: Mapping[str, str] | None = None
) -> Named:
    """Return what a caption names of the attributes that a model knows.

    Args:
        caption: as it was typed.
        values: the model's attributes, each with its values; others are never named.
        replaced: words of the caption that were taken as others: a typo, a synonym.
    """
    claims: list[Pair] = []
    denied: list[Pair] = []
    of_the_whole: list[Pair] = []
    for attribute, value, no in _read(_words(caption, replaced or {}), values):
        pair = (attribute.removeprefix(WHOLE_MARK), value)
        known = values.get(pair[0], ())
        if value in known or (no and not value and known):
            (denied if no else claims if pair[0] == attribute else of_the_whole).append(pair)
    # A red bird with a yellow breast is red but for the breast.
    parts = {attribute for attribute, _ in claims}
    claims += [pair for pair in of_the_whole if pair[0] not in parts]
    # Of two colours for one part, neither is what the caption names.
    times = Counter(attribute for attribute, _ in set(claims))
    once = (pair for pair in claims if times[pair[0]] == 1)
    return Named(tuple(dict.fromkeys(once)), tuple(dict.fromkeys(denied)))


def _words(caption: str, replaced: Mapping[str, str]) -> list[str]:
    """Return lower-case words and commas, several words that are one joined, replacements made."""
    text = caption.lower().replace("-", " ").replace("n't", " not")
    # A word that stands here means what it says, whatever a model that lacks it reads in its place.
    plain = [
        word if word in UNDERSTOOD else replaced.get(word, word)
        for word in re.findall(r"[^\W\d_]+|[,.;]", text)
    ]
    out: list[str] = []
    while plain:
        for phrase, one in PHRASES.items():
            if tuple(plain[: len(phrase)]) == phrase:
                out.append(one)
                plain = plain[len(phrase) :]
                break
        else:
            out.append(plain.pop(0))
    return out


def _read(words: Sequence[str], values: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, bool]]:
    kinds = set(values.get("body_plan", ()))
    phrase, last = _Phrase(), _Phrase()
    subject: tuple[str, ...] = ()
    be = False
    for place, word in enumerate(words):
        if word in DENIALS:
            phrase.denied = True
        elif word in COLOURS:
            if be:  # "its tail is blue"
                for part in subject:
                    yield from _part(part, _Phrase([COLOURS[word]], denied=phrase.denied))
            else:
                phrase.colours.append(COLOURS[word])
        elif word == "crested":
            yield "crest", "crested", phrase.denied
        elif word in PATTERNS:
            phrase.pattern = PATTERNS[word]
        elif be and word in SHAPES and "beak" in subject:
            yield "beak_shape", SHAPES[word], phrase.denied
        elif word in SHAPES or word in SIZES:
            phrase.shape, phrase.size = SHAPES.get(word, phrase.shape), SIZES.get(word, phrase.size)
        elif word in PARTS:
            bare = not (phrase.colours or phrase.shape or phrase.pattern or phrase.denied)
            if bare and place and words[place - 1] == "and":  # "black wings and tail (are ...)"
                phrase, subject = last, (*subject, *PARTS[word])
            else:
                subject = PARTS[word]
            for part in PARTS[word]:
                yield from _part(part, phrase)
            denied_on = phrase.denied and words[place + 1 : place + 2] == ["or"]
            last, phrase, be = phrase, _Phrase(denied=denied_on), False
        elif word in WHOLE or _kind(word, kinds):
            yield from _whole(phrase, _kind(word, kinds))
            subject, last, phrase, be = WHOLE_PARTS, _Phrase(), _Phrase(), False
        elif word in ("is", "are"):
            be, phrase = True, _Phrase()
        elif word == "and" or word in FILLERS:
            be = be and word not in ("a", "an")  # "this is a red bird"
        else:
            keeps = phrase.denied and word in ("or", "any", "have", "has", "with")
            phrase, be = _Phrase(denied=keeps), False
    yield from _setting(" ".join(words))


def _part(part: str, phrase: _Phrase) -> Iterator[tuple[str, str, bool]]:
    """Yield what a noun phrase says of one part."""
    if part == "beak":
        if phrase.denied and not phrase.colours and not phrase.shape:
            yield "beak_color", "", True
        for colour in phrase.colours:
            yield "beak_color", colour, phrase.denied
        if phrase.shape:
            yield "beak_shape", phrase.shape, phrase.denied
        return
    if part == "crest":
        yield part, "" if phrase.denied else "crested", phrase.denied
        return
    if phrase.pattern and part in ("breast", "belly"):
        yield "pattern", phrase.pattern, phrase.denied
    for colour in phrase.colours:
        yield part, colour, phrase.denied
    if phrase.denied and not phrase.colours:
        yield part, "", True


def _whole(phrase: _Phrase, kind: str) -> Iterator[tuple[str, str, bool]]:
    """Yield what is said of a bird as a whole: one colour is all of it, of two the first is above."""
    if phrase.size:
        yield "size", phrase.size, phrase.denied
    if phrase.colours:
        for part, colour in zip(WHOLE_PARTS, (phrase.colours[0], phrase.colours[-1]), strict=True):
            yield part, colour, phrase.denied
    if phrase.pattern:
        yield "pattern", phrase.pattern, phrase.denied
    if kind:
        yield "body_plan", kind, phrase.denied


def _kind(word: str, kinds: set[str]) -> str:
    """Return the kind of bird that a word is, in the singular; empty for none."""
    return next((w for w in (word, word.removesuffix("s")) if w in kinds), "")


def _setting(text: str) -> Iterator[tuple[str, str, bool]]:
    """Yield where the bird is and what it does."""
    for phrase, pose in POSES.items():
        if found := re.search(rf"\b(not |no |without )?{phrase}\b", text):
            yield "pose", pose, bool(found[1])
    for word, place in PLACES.items():
        for found in re.finditer(rf"\b(not |no |without )?(\w+ )?(\w+ )?(?:{word})\b", text):
            before = (found[3] or found[2] or "").strip()
            after = text[found.end() :].split()[:1]  # "snowy white" and "sky blue" are colours
            if after and after[0] in COLOURS and word in ("snowy", "sky"):
                continue
            if before == "evening":
                place = "dusk"
            yield "background", place, bool(found[1]) or before in ("no", "not")


# ---- What a picture shows of it -------------------------------------------------------------------

IMPLIED = 0.5
"""Probability above which the reader of captions expects a value that no word names."""

Said = Literal["named", "implied", "denied"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One thing that a caption says of its bird."""

    attribute: str
    wanted: str
    """The value that is said; empty where a thing itself is denied."""
    seen: str
    """The value that the picture shows most likely."""
    probability: float
    """Of the said value in the picture, in 0..1."""
    said: Said = "named"
    """`named` by the caption's words, `implied` by its kind, or `denied`."""

    @property
    def holds(self) -> bool:
        """Whether the picture shows what the words name; what is implied or denied is never counted."""
        return self.said == "named" and self.wanted == self.seen


@torch.inference_mode()
def claims(checkpoint: Checkpoint, named: Named, text: TextFeatures, image: Tensor) -> tuple[Claim, ...]:
    """Return what one caption names, implies and denies, with what a picture shows; nothing without readers.

    Args:
        checkpoint: the model.
        named: what the caption's own words name.
        text: the caption's embeddings, not guided.
        image: (1, 3, h, w) in [-1, 1], on the model's device.
    """
    attributes, pixels = checkpoint.attributes, checkpoint.damsm.pixels
    if attributes is None or not isinstance(pixels, CompactBackbone):
        return ()
    maps = pixels.maps((image.float() + 1) / 2)
    seen = attributes.head(maps)[0].softmax(dim=1)

    def claim(attribute: str, wanted: str, said: Said) -> Claim:
        values = attributes.values[attribute]
        row = seen[list(attributes.values).index(attribute)]
        return Claim(
            attribute=attribute,
            wanted=wanted,
            seen=values[int(row[: len(values)].argmax())],
            probability=float(row[values.index(wanted)]) if wanted else 0.0,
            said=said,
        )

    found = [claim(*pair, "named") for pair in named.claims]
    if attributes.reader is not None:
        told = {attribute for attribute, _ in (*named.claims, *named.denied)}
        expected = attributes.reader.attribute_probs(text)[0]
        for row, (attribute, values) in enumerate(attributes.values.items()):
            share, value = expected[row, : len(values)].max(dim=0)
            if attribute not in told and float(share) > IMPLIED:
                found.append(claim(attribute, values[int(value)], "implied"))
    return (*found, *(claim(*pair, "denied") for pair in named.denied))


def named_in(checkpoint: Checkpoint, caption: str, unknown: Sequence[UnknownWord] = ()) -> Named:
    """Return what a caption's own words name of a model's attributes, unknown words as they were read."""
    if checkpoint.attributes is None:
        return Named()
    replaced = {each.word: each.replacement for each in unknown if each.replacement}
    return named_by(caption, checkpoint.attributes.values, replaced)


def wishes(checkpoint: Checkpoint, named: Named) -> Tensor | None:
    """Return what a caption's own words name for `agreement` (attributes, values); None for nothing."""
    if checkpoint.attributes is None or not named.claims:
        return None
    values = checkpoint.attributes.values
    wanted = torch.zeros(len(values), max(map(len, values.values())))
    rows = list(values)
    for attribute, value in named.claims:
        wanted[rows.index(attribute), values[attribute].index(value)] = 1.0
    return wanted
