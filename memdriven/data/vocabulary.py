"""Captions to word ids and back, what becomes of words that the vocabulary lacks; attributes to labels."""

import contextlib
import functools
import html
import itertools
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from memdriven.data.names import STAND_IN, is_empty
from memdriven.errors import CaptionError, CheckpointError, DataError, WordlessCaptionError, require
from memdriven.numbers import counted

if TYPE_CHECKING:
    from memdriven.data.prepared import Item

SCHEMA = "memdriven.vocabulary/1"
PADDING = 0
"""Word id of the padding behind a short caption."""
MAX_CHARACTERS = 2000
"""A longer caption is refused, rather than cut to its first words in silence."""

NEAR_SYNONYMS: dict[str, list[str]] = json.loads(Path(__file__).with_name("synonyms.json").read_bytes())
"""Unknown word -> candidates, the nearest in meaning first."""
COMMON_WORDS = frozenset(Path(__file__).with_name("common_words.txt").read_text("utf-8").split())
"""Everyday English: where a vocabulary lacks one of these it was meant all the same, and is no typo."""

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(
    "[\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e80-\u0edf"  # Thai, Lao
    "\u1000-\u102a\u103f\u1050-\u1055\u1780-\u17b3\u1950-\u19df\u1a00-\u1a54"  # Myanmar, Khmer, Tai
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua980-\ua9b2\uf900-\ufaff"  # kana, Han
    "\U0001b000-\U0001b16f\U00020000-\U000323af]"
)
"""Letters of scripts that put no space between words: each is a token of its own."""
_AS_BYTES = {code: 0xDC00 + code for code in range(0x80, 0xA0)}
"""Letters that cp1252 lacks, and Latin-1 has, as `surrogateescape` writes their bytes."""
_JOINERS = "\u200c\u200d"
_STACKERS = "\u1039\u17d2\u1a60\ua9c0"
"""Signs of Myanmar, Khmer, Tai Tham and Javanese that put the next letter below the one before."""
_NO_LETTERS = re.compile(
    "[\u00ad\u061c\u0640\u180e\u200e\u200f\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]"
)
"""What changes how a word looks, and no word: soft hyphens, Arabic's stretching, directions, variants."""


def tokenize(text: str) -> list[str]:
    r"""Return a caption's lower-case `\w+` tokens [family], after Unicode NFKC normalisation.

    But an underscore is no letter, as in the tags of booru sites (`long_hair`) and names of files [ours].
    Combining signs (vowels of Devanagari, points of Hebrew, accents without a letter of their own)
    belong to the letter before them, as do joiners. In scripts that put no space between words each
    letter, with its signs and what is stacked below it, is a token: Chinese, Japanese, Thai, Lao, Khmer,
    Myanmar.
    """
    text = unicodedata.normalize("NFKC", text).lower()
    if text.isascii():
        return _WORD.findall(text)
    text = _NO_LETTERS.sub("", text)
    spans = (match.span() for match in _TOKEN.finditer("".join(map(_kind, text))))
    return [text[start:end].rstrip(_JOINERS) for start, end in spans]


_TOKEN = re.compile("(?:L[LMS]*|A[MS]*)(?:(?<=S)(?:L[LMS]*|A[MS]*))*")
"""A token, in the kinds of its characters."""


def _kind(character: str) -> str:
    """Return a letter's kind: Letter, letter that stands Alone, Mark, Stacking mark, or none."""
    if character.isalnum():
        return "A" if _UNSPACED.match(character) else "L"
    if character in _STACKERS:
        return "S"
    return "M" if character in _JOINERS or unicodedata.category(character)[0] == "M" else " "


def read_caption(value: object, name: str, told: defaultdict[tuple[str, str], list[str]]) -> str:
    """Return a caption of the image `name` on one line; "" for one that cannot be used, which is told.

    HTML's names of letters (`&eacute;`) and UTF-8 that was read in another encoding (`Ã©`) are put right.
    """
    written = value if isinstance(value, str) else ""
    meant = written
    for _ in range(2):  # some did it twice
        meant = html.unescape(meant)
        with contextlib.suppress(UnicodeError):  # what was read right is no UTF-8 now
            meant = meant.translate(_AS_BYTES).encode("cp1252", "surrogateescape").decode()
    text = " ".join(clean(meant).split())
    if is_empty(text):
        fault = "empty" if isinstance(value, str) else "no text"
    elif len(text) > MAX_CHARACTERS:
        fault = f"longer than {MAX_CHARACTERS:,} characters"
    elif not (words := tokenize(text)):
        fault = "without a word"
    elif len(words) > 4 and all(word.isdecimal() for word in words):
        fault = "numbers alone, as of boxes"
    else:
        if meant != written:
            told["caption", "mended, of which HTML or a wrong encoding had changed letters"].append(name)
        return text
    told["caption", f"left out: {fault}"].append(name)
    return ""


def clean(text: str) -> str:
    """Return a text without halves of characters, which no file can hold, and without control characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text.encode("utf-8", "replace").decode())


@dataclass(frozen=True)
class UnknownWord:
    """A word that the vocabulary lacks, and the known word that stands in for it, if any."""

    word: str
    replacement: str | None
    reason: Literal["typo", "synonym", "unknown"]


@dataclass(frozen=True)
class EncodedCaption:
    """A caption as word ids, with an account of everything that was changed or left out."""

    ids: list[int]
    """Ids of `words`, none of them padding."""
    words: list[str]
    """The words that were encoded, after replacement."""
    unknown: tuple[UnknownWord, ...]
    """Words that were replaced or dropped, in the caption's order, up to the last that is read."""
    truncated: int
    """Known words cut from the end because the caption was longer than `max_words`."""


_REMEMBERED = 20_000
_LONG_WORD = 8
"""From this length a typo may be two edits away."""
_SHORT_WORD = 3
"""Up to this length only two swapped letters count as a typo: too many words are near."""
_TRAILS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qawsedrftgyhujikolp", "azsxdcfvgbhnjmk")
SLIPS = {frozenset(pair) for trail in _TRAILS for pair in itertools.pairwise(trail)}
SLIPS |= {frozenset(pair) for pair in itertools.combinations("aeiouy", 2)}
"""Letters that are written for each other: neighbours on a keyboard, along its rows and in zigzag between two
of them, and vowels, which sound alike."""


def what_is_not_read(captions: Iterable[EncodedCaption], max_words: int) -> list[str]:
    """Tell, in a line each, how many captions are cut, what words are left out, and if all read alike."""
    captions, told = list(captions), []
    cut = sum(caption.truncated > 0 for caption in captions)
    left_out = (w.word for caption in captions for w in caption.unknown if w.replacement is None)
    unknown = Counter(word for word in left_out if word != STAND_IN)
    if cut:
        longer = f"{cut:,} of {len(captions):,} captions are longer than {max_words} words"
        told.append(f"{longer}: the rest of them is not read (--text.max-words)")
    if unknown:
        words = ", ".join(word for word, _ in unknown.most_common(5))
        number = counted(len(unknown), "word")
        told.append(f"not in the vocabulary and left out of captions: {number}, e.g. {words}")
    if len(captions) > 1 and len({tuple(caption.ids) for caption in captions}) == 1:
        told.append(f"all {len(captions):,} captions are read as the same words: they tell no pictures apart")
    return told


class Vocabulary:
    """A fixed list of known words; id 0 is padding, ids from 1 are the words in order.

    `len` counts the padding, so it is the number of rows of an embedding table.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._ids = {word: index for index, word in enumerate(self.words, start=1)}
        self._letters = [frozenset(word) for word in self.words]
        self._stand_in = functools.lru_cache(_REMEMBERED)(self._find_stand_in)

    @classmethod
    def build(cls, captions: Iterable[str]) -> Self:
        """Collect the words of captions, the most frequent first."""
        counts = Counter(word for caption in captions for word in tokenize(caption))
        require(counts, DataError, "captions with words", "none", "give captions of the pictures")
        return cls(sorted(counts, key=lambda word: (-counts[word], word)))

    def __len__(self) -> int:
        return len(self.words) + 1

    def encode(self, text: str, max_words: int) -> EncodedCaption:
        """Turn a caption into word ids.

        An unknown word is replaced by a near synonym or, failing that, by the known word that it
        is a likely typo of; a word with neither is left out. All are listed in `unknown`. A
        WordlessCaptionError says that the caption is empty, or has no known word, a CaptionError that it is
        longer than 2,000 characters.
        """
        wanted, found = f"a caption of at most {MAX_CHARACTERS:,} characters", f"{len(text):,} characters"
        fix = "describe the picture in a sentence or two"
        require(len(text) <= MAX_CHARACTERS, CaptionError, wanted, found, fix)
        tokens, found = tokenize(text), repr(text.strip()[:40]) if text.strip() else "an empty caption"
        fix = "describe the picture in a sentence, e.g. 'a small red bird'"
        if not tokens:
            raise WordlessCaptionError("a caption with at least one word", found, fix)
        unknown = {each.word: each for each in self.unknown(text)}
        read = [unknown[word].replacement if word in unknown else word for word in tokens]
        words = [word for word in read if word is not None]
        if not words:
            raise WordlessCaptionError(
                f"a caption with some of the {counted(len(self.words), 'word')} that the model knows",
                "only unknown words: " + ", ".join(list(unknown)[:8]),
                "use other words, e.g. " + ", ".join(w for w in self.words[:40] if len(w) > 3),
            )
        kept = words[:max_words]
        places = [place for place, word in enumerate(read) if word is not None]
        heard = set(tokens[: places[max_words]] if len(words) > max_words else tokens)
        return EncodedCaption(
            ids=[self._ids[word] for word in kept],
            words=kept,
            unknown=tuple(each for each in unknown.values() if each.word in heard),
            truncated=len(words) - len(kept),
        )

    def readable(self, captions: Iterable[str], max_words: int) -> list[tuple[str, EncodedCaption]]:
        """Return those of some captions that can be encoded, each beside what `encode` makes of it."""
        found = []
        for caption in captions:
            with contextlib.suppress(CaptionError):
                found.append((caption, self.encode(caption, max_words)))
        return found

    def unknown(self, text: str) -> tuple[UnknownWord, ...]:
        """Return a caption's unknown words, each once, with what stands in for them."""
        words = dict.fromkeys(tokenize(text))
        return tuple(self._stand_in(word) for word in words if word not in self._ids)

    def _find_stand_in(self, word: str) -> UnknownWord:
        """Return what becomes of an unknown word."""
        for synonym in near_synonyms(word):
            if synonym in self._ids:
                return UnknownWord(word, synonym, "synonym")
        known = self._likely_meant(word)
        return UnknownWord(word, known, "unknown" if known is None else "typo")

    def _likely_meant(self, word: str) -> str | None:
        """Return the nearest known word within one edit (two for long words), or None.

        The first letter is hardly ever wrong, unless it was swapped with the second; a common word was meant.
        Among equally near ones the more frequent is likelier; but fingers invent no letters, they only strike
        one twice, so that what would have any other letter too many counts last.
        """
        if not word.isalpha() or not COMMON_WORDS.isdisjoint((word, *(word.removesuffix(e) for e in _PLAIN))):
            return None
        reach = 2 if len(word) >= _LONG_WORD else 1
        own, found = frozenset(word), []
        for index, (known, letters) in enumerate(zip(self.words, self._letters, strict=True)):
            if known[0] != word[0] and known[:2] != word[1::-1]:
                continue
            if len(own ^ letters) > 2 * reach or len(known) < _SHORT_WORD:
                continue  # an edit changes two letters at most
            distance, reordered = edit_distance(word, known, reach), sorted(word) == sorted(known)
            if distance <= reach and (reordered or len(word) > _SHORT_WORD):
                found.append((distance, len(word) > len(known) and own != letters, index))
        return self.words[min(found)[-1]] if found else None

    @staticmethod
    def batch(captions: Sequence[EncodedCaption]) -> tuple[Tensor, Tensor]:
        """Return ids (b, t) int64 with 0 behind each caption's end, and lengths (b,) int64."""
        lengths = [len(caption.ids) for caption in captions]
        ids = pad_sequence([torch.tensor(c.ids) for c in captions], batch_first=True, padding_value=PADDING)
        return ids, torch.tensor(lengths)  # (b, t), (b,)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return {"schema": SCHEMA, "words": list(self.words)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Rebuild a vocabulary from `to_json`'s content."""
        schema, words = content.get("schema"), content.get("words")
        texts = isinstance(words, list) and all(isinstance(word, str) and word for word in words)
        good = schema == SCHEMA and texts and words and len(set(words)) == len(words)
        found = f"schema {schema!r} with {type(words).__name__} of words"
        fix = "restore vocabulary.json from the checkpoint's source"
        require(good, CheckpointError, f"a word list of schema {SCHEMA}", found, fix)
        return cls(words)  # type: ignore[arg-type]


_ENDINGS = (
    *(("ies", "y"), ("es", ""), ("s", ""), ("ish", "e"), ("ish", ""), ("dish", ""), ("ly", ""), ("ing", "")),
    *(("ed", ""), ("ed", "e"), ("y", ""), ("er", ""), ("est", "")),
)
"""Inflections of English, and what a stem has in their place."""
_PLAIN = ("s", "ing")
"""Endings that leave a common word one."""
_SHORTEST_STEM = 3


def near_synonyms(word: str) -> list[str]:
    """Return the words that may stand for `word`, the best first.

    After the table come the word's own inflections (`yellowish` -> `yellow`, `wing` -> `wings`),
    then the table's entries for those (`goldish` -> `gold` -> `yellow`). A common word is no inflection of
    another (`flower` of `flow`, `they` of `the`).
    """
    stems = [
        word[: len(word) - len(ending)] + rest
        for ending, rest in _ENDINGS
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM and word not in COMMON_WORDS
    ]
    related = [*stems, word + "s", word + "ed"]
    through = [synonym for stem in stems for synonym in NEAR_SYNONYMS.get(stem, ())]
    return list(dict.fromkeys([*NEAR_SYNONYMS.get(word, ()), *related, *through]))


def edit_distance(a: str, b: str, limit: int) -> int:
    """Return the edits between two words, or `limit` + 1 when there are more than `limit`.

    An edit inserts or deletes a letter, swaps two neighbours, or replaces a letter by one of its `SLIPS` (the
    optimal string alignment distance, but for other replacements). `difflib` knows no swaps, and its ratio of
    matching blocks takes "rad" for "road" before "red".
    """
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return edit_distance(a[1:], b[1:], limit)
    rest = [(a[1:], b), (a, b[1:])]
    if frozenset((a[0], b[0])) in SLIPS:
        rest.append((a[1:], b[1:]))
    if a[:2] == b[1::-1]:
        rest.append((a[2:], b[2:]))
    return 1 + min(edit_distance(*pair, limit - 1) for pair in rest)


# ---- Attributes as labels for a classifier -------------------------------------------------------

IGNORED = -1
"""Label of an attribute that an image lacks or does not show."""
ABSENT = ("none", "plain")
"""Values that say that a marking is not there."""


def attribute_values(records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return each attribute's values in the records, sorted; one-valued ones are left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, value in (pair for record in records for pair in record.items()):
        if value is not None and not isinstance(value, list | dict):
            found[name].add(str(value))
    return {name: tuple(sorted(values)) for name, values in found.items() if len(values) > 1}


def visible_record(item: "Item") -> dict[str, Any]:
    """Return the attributes that an item's picture shows (all of them if it does not say).

    What a picture lacks (`ABSENT`) can be seen in it too, so that a classifier learns to say so.
    """
    return {
        name: value
        for name, value in item.attributes.items()
        if not item.visible or name in item.visible or value in ABSENT
    }


def label_ids(records: Sequence[Mapping[str, Any]], attributes: Mapping[str, Sequence[str]]) -> Tensor:
    """Return label ids (n, attributes) of records; `IGNORED` where a value is absent."""
    ids = {name: {value: i for i, value in enumerate(values)} for name, values in attributes.items()}
    rows = [[ids[name].get(str(each.get(name)), IGNORED) for name in ids] for each in records]
    return torch.tensor(rows, dtype=torch.long).view(len(rows), len(ids))
