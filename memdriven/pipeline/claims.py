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

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from memdriven.aviary import captions as aviary
from memdriven.checkpoint import Checkpoint
from memdriven.data.vocabulary import NEAR_SYNONYMS, UnknownWord
from memdriven.devices import repeatable
from memdriven.encoders.damsm import matching_scores
from memdriven.encoders.image import CompactBackbone
from memdriven.encoders.readers import agreement, where_silent
from memdriven.encoders.text import TextFeatures

# ---- What the words name -------------------------------------------------------------------------

Pair = tuple[str, str]
"""An attribute and its value."""


_WORDS = json.loads(Path(__file__).with_name("words.json").read_bytes())


def _each(table: str) -> dict[str, str]:
    """Return each word of a table with the name that it stands for."""
    return {word: name for name, said in _WORDS[table].items() for word in said.split()}


def _last_words(table: Mapping[str, Sequence[str]], without: str) -> dict[str, str]:
    return {words.split()[-1]: name for name, said in table.items() for words in said if without not in words}


FILLERS = tuple(_WORDS["fillers"].split())
"""Words that may stand inside a noun phrase without ending it."""
COLOURS = _last_words(aviary.COLOUR_WORDS, without="colored")
COLOURS |= {
    word: COLOURS[near]
    for word, meant in NEAR_SYNONYMS.items()
    for near in reversed(meant)  # the nearest counts
    if near in COLOURS and word not in COLOURS and word not in FILLERS
}
"""Colour words, each for one of the fourteen names."""
PARTS = {word: name for name, part in aviary.NAMED_PARTS.items() for word in part.words if " " not in word}
PARTS |= _each("parts")
"""Nouns, and the attribute that each is about; a head is its crown, too, and a beak has a shape."""
WHOLE_MARK = "whole "
WHOLE_PARTS = (WHOLE_MARK + "back", WHOLE_MARK + "breast")
"""What a bird's own colour is said of, marked, as a part's own colour goes before it."""
COVERED = {"back": ("crown", "head", "wing", "tail"), "breast": ("throat", "belly")}
"""What a bird's own colour is also meant of, where no word names it: parts beside the back or the breast."""
_ANY = {name: "|".join(words) for name, words in (("COLOUR", COLOURS), ("HOW", FILLERS))}
_ANY["PART"] = "|".join((*PARTS, "bird", "body"))
PHRASES = {
    re.sub("[A-Z]+", lambda name: _ANY[name[0]], said): read for said, read in _WORDS["phrases"].items()
}
"""What is written in several words or in another order, and how it is read; the first rules apply first."""
OWNERS = _each("owners")
"""What a bird with some part is: "red headed"."""
SHAPES = _last_words(aviary.SHAPE_WORDS, without="thin")
PATTERNS = {word: name for name, said in aviary.PATTERN_WORDS.items() for word in said}
SIZES = {"medium": "medium"} | {word: name for name, said in aviary.SIZE_WORDS.items() for word in said}
_HAS = f"((?:(?:{_ANY['COLOUR']}) and )?(?:{'|'.join((*COLOURS, *SHAPES))}))"
_OWNER = re.compile(rf"\b((?:no|not|without) )?{_HAS} ({'|'.join(OWNERS)})\b")
POSES = {phrase: name for name, said in aviary.POSE_WORDS.items() for phrase in said}
POSES |= {"on a branch": "perched"} | _each("poses")
PLACES = _each("places")
"""Words that alone say where a bird is, unless they name something else before them."""
LETTERS = {
    **_each("letters"),
    **dict.fromkeys(FILLERS, "F"),
    **dict.fromkeys(PARTS, "N"),
    **dict.fromkeys((*COLOURS, *SHAPES, *PATTERNS, *SIZES, "crested"), "M"),
}
"""Words by class: Denials and what they reach Over, And, Birds, Is, arTicles, Fillers, Nouns, Modifiers."""
CLAUSE = re.compile("I[FMA]*D?[FMA]*|D[OFTMA]*(?:B|N(?:AN)*(?:O[OFTMA]*N)*)|[MFTA]*(?:B|N(?:AN)*)")
"""In these letters: what is said of the last noun ("is not red"), nouns that are denied ("without a crest or
wing bars"), and nouns with what is said of them ("black wings and tail")."""
UNDERSTOOD = LETTERS.keys() | PLACES.keys() | POSES.keys() | OWNERS.keys()


@dataclass(frozen=True)
class Named:
    """What a caption's words name, in their order."""

    things: tuple[tuple[Pair, ...], ...] = ()
    """What a reader would count: a red head is one thing, of the attributes head and crown, and a red bird is
    one of all its parts that are not named otherwise."""
    denied: tuple[Pair, ...] = ()
    """What it says is not so; the value is empty where the thing itself is denied."""
    covered: tuple[Pair, ...] = ()
    """Of a whole bird's colour the parts beside back and breast: a red bird's wing, which no word names."""

    @property
    def asked(self) -> tuple[Pair, ...]:
        """All things, attribute by attribute."""
        return tuple(pair for thing in self.things for pair in thing)

    @property
    def claims(self) -> tuple[Pair, ...]:
        """Those attributes that words name by themselves."""
        return tuple(pair for pair in self.asked if pair not in self.covered)


def named_by(caption: str, values: Mapping[str, Sequence[str]], unknown: Sequence[UnknownWord] = ()) -> Named:
    """Return what a caption, as it was typed, names of the attributes that a model knows.

    Others than those of `values` are never named; unknown words are read as the model takes them: a typo, a
    synonym.
    """
    replaced = {each.word: each.replacement for each in unknown if each.replacement}
    # Lower-case words and commas, replacements made, several words that are one joined.
    found = re.findall(r"[^\W\d_]+|[,.;]", caption.lower().replace("-", " ").replace("n't", " not"))
    # A word that stands here means what it says, whatever a model that lacks it reads in its place.
    plain = " ".join(word if word in UNDERSTOOD else replaced.get(word, word) for word in found)
    for phrase, one in PHRASES.items():
        plain = re.sub(rf"\b(?:{phrase})\b", one, plain)
    # "A red headed black bird" is "a black bird, red head".
    owned = [f" , {no}{how} {OWNERS[what]}" for no, how, what in _OWNER.findall(plain)]
    words = (_OWNER.sub("", plain) + "".join(owned)).split()

    claims, denied, of_the_whole = dict[Pair, str](), dict[Pair, str](), dict[Pair, str]()
    for noun, attribute, value, no in (*_clauses(words, values.get("body_plan", ())), *_setting(words)):
        pair = (attribute.removeprefix(WHOLE_MARK), value)
        known = values.get(pair[0], ())
        if value in known or (no and not value and known):
            (denied if no else claims if pair[0] == attribute else of_the_whole).setdefault(pair, noun)
    # A red bird with a yellow breast is red but for the breast.
    parts, hosts = {attribute for attribute, _ in claims}, Counter(attribute for attribute, _ in of_the_whole)
    whole = {
        (part, value): noun
        for (host, value), noun in of_the_whole.items()
        for part in (host, *COVERED[host])
        if hosts[host] == 1 and part not in parts and value in values.get(part, ())
    }
    claims |= whole
    # Of two colours for one part, neither is what the caption names.
    times = Counter(attribute for attribute, _ in claims)
    things = defaultdict[tuple[str, str], list[Pair]](list)
    for pair, noun in claims.items():
        if times[pair[0]] == 1:
            things[noun, pair[1]].append(pair)
    covered = tuple(pair for pair in whole if pair[0] not in COVERED)
    return Named(tuple(map(tuple, things.values())), tuple(denied), covered)


DENYING = frozenset(word for word, letter in LETTERS.items() if letter == "D")
_ENDS = r"(?:and|but|with|on|in|at|of|is|are|has|that|which|while|not|nor|or|to)"
_THING = rf"(?!{_ENDS}\b)\w+(?: (?!{_ENDS}\b)\w+){{0,3}}"
_REACHES = r"(?!only\b|just\b)(?:(?:any|have|has|had|having|be|been) )*"
_DENIED = re.compile(rf"\b(?:{'|'.join(DENYING)}) {_REACHES}({_THING})")


def denials(caption: str) -> list[str]:
    """Return what a caption says is not there, in its own words: "a crest" of "without a crest"."""
    return _DENIED.findall(caption.lower().replace("n't", " not"))


_NUMBER = r"(?:two|three|four|five|six|several|many|some|a few|both|(?:pair|flock|group|couple) of)"


def several(caption: str, kinds: Sequence[str]) -> bool:
    """Tell whether a caption names more than one of what a model paints: "two birds", "a bird and a cat"."""
    one, between = f"(?:{'|'.join(map(re.escape, kinds))})", rf"(?:(?!{_ENDS}\b)\w+ ){{0,3}}"
    ways = (
        rf"\b{_NUMBER} {between}{one}s\b",
        rf"^{between}{one}s\b",
        rf"\b{one}s? (?:and|with) (?:another|an?|one|two) {between}{one}\b",
        rf"\b{one}s? and (?:another|an?|one|two)\b",
        rf"\band (?:another|an?|one|two) {between}{one}\b",
    )
    return bool(kinds) and any(re.search(way, caption.lower().replace("-", " ")) for way in ways)


def _clauses(words: Sequence[str], kinds: Sequence[str]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield (noun, attribute, value, whether it is denied) of what is said of parts and birds."""
    letter_of = dict.fromkeys(kinds, "B") | LETTERS
    words = [word if word in letter_of else word.removesuffix("s") for word in words]  # two ducks
    letters, subject = "".join(letter_of.get(word, "X") for word in words), list[str]()
    for clause in CLAUSE.finditer(letters):
        part, said = clause[0], words[clause.start() : clause.end()]
        denied = part.find("D") if "D" in part else len(part)
        if part[0] == "I":
            for noun in subject:
                yield from ((noun, *pair, False) for pair in _said(noun, said[:denied]))
                yield from ((noun, *pair, True) for pair in _said(noun, said[denied:]))
            continue
        nouns = [word for word, letter in zip(said, part, strict=True) if letter in "NB"]
        for noun in nouns:
            pairs = [*_said(noun, said[: said.index(nouns[0])])]
            if noun == "crest":
                pairs = [(noun, "crested" if denied else "")]
            elif not denied and not pairs and noun in PARTS:
                pairs = [(PARTS[noun], "")]
            yield from ((noun, *pair, not denied) for pair in pairs)
        subject = [noun if noun in PARTS else "bird" for noun in nouns]


def _said(noun: str, how: Sequence[str]) -> Iterator[Pair]:
    """Yield what modifiers say of a part, or of a whole bird: of its two colours the first is above."""
    colours = [COLOURS[word] for word in how if word in COLOURS]
    patterns = [("pattern", PATTERNS[word]) for word in how if word in PATTERNS]
    if "crested" in how:
        yield "crest", "crested"
    if noun in PARTS:
        for part in ("crown", "head") if noun == "head" else (PARTS[noun],):
            yield from ((part, colour) for colour in colours)
        if PARTS[noun] in ("breast", "belly"):
            yield from patterns
        if PARTS[noun] == "beak_color":
            yield from [("beak_shape", SHAPES[word]) for word in how if word in SHAPES][-1:]
    else:
        yield from [("size", SIZES[word]) for word in how if word in SIZES][-1:]
        yield from zip(WHOLE_PARTS, (*colours[:1], *colours[-1:]))
        yield from patterns
        if noun not in LETTERS:
            yield "body_plan", noun


def _setting(words: Sequence[str]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield where the bird is and what it does, in the form of `_clauses`."""
    text = " ".join(words)
    for phrase, pose in POSES.items():
        if found := re.search(rf"\b(not |no |without )?{phrase}\b", text):
            yield phrase, "pose", pose, bool(found[1])
    for word, place in PLACES.items():
        for found in re.finditer(rf"\b(not |no |without )?(\w+ )?(\w+ )?(?:{word})\b", text):
            before, after = (found[3] or found[2] or "").strip(), text[found.end() :].split()[:1]
            if after and after[0] in COLOURS and word in ("snowy", "sky"):  # "sky blue" is a colour
                continue
            denied = bool(found[1]) or before in ("no", "not")
            yield word, "background", "dusk" if before == "evening" else place, denied


# ---- What a picture shows of it ------------------------------------------------------------------

IMPLIED = 0.5
"""Probability above which the reader of captions expects a value that no word names."""
SEEN, NOT_SEEN = 0.6, 0.1
"""Probabilities from which, and up to which, the reader of pictures is right nine times in ten, by the judge;
in between it cannot tell, as often where a reference is no render, but a photograph of one's own."""

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
        return self.said == "named" and self.probability >= SEEN

    @property
    def unclear(self) -> bool:
        """Whether the reader of pictures cannot tell."""
        return NOT_SEEN < self.probability < SEEN


def by_thing(named: Named, claims: Sequence[Claim]) -> list[list[Claim]]:
    """Return a picture's claims, those of each thing that the words name together; none without readers."""
    found = {(each.attribute, each.wanted): each for each in claims if each.said == "named"}
    return [[found[pair] for pair in thing] for thing in named.things if found]


@torch.inference_mode()
def claims(checkpoint: Checkpoint, named: Named, text: TextFeatures, image: Tensor) -> tuple[Claim, ...]:
    """Return what one caption names, implies and denies, with what a picture shows; nothing without readers.

    `text` is the caption's embeddings, not guided; `image` (1, 3, h, w) in [-1, 1], on the model's device.
    """
    attributes, pixels = checkpoint.attributes, checkpoint.damsm.pixels
    if attributes is None or not isinstance(pixels, CompactBackbone):
        return ()
    said: list[tuple[Pair, Said]] = [(pair, "named") for pair in named.asked]
    if attributes.reader is not None:
        settled = {attribute for attribute, _ in (*named.asked, *named.denied)}
        expected = attributes.reader.attribute_probs(text)[0]
        for (attribute, values), row in zip(attributes.values.items(), expected, strict=True):
            share, value = row[: len(values)].max(dim=0)
            if attribute not in settled and float(share) > IMPLIED:
                said.append(((attribute, values[int(value)]), "implied"))
    said += [(pair, "denied") for pair in named.denied]
    shown = attributes.head(pixels.maps((image.float() + 1) / 2))[0].softmax(dim=1)
    probabilities = {
        attribute: dict(zip(values, row.tolist()))
        for (attribute, values), row in zip(attributes.values.items(), shown, strict=True)
    }
    return tuple(
        Claim(
            attribute=attribute,
            wanted=wanted,
            seen=max(probabilities[attribute], key=probabilities[attribute].__getitem__),
            probability=probabilities[attribute].get(wanted, 0.0),
            said=how,
        )
        for (attribute, wanted), how in said
    )


@torch.inference_mode()
def score_pictures(checkpoint: Checkpoint, named: Named, text: TextFeatures, images: Tensor) -> Tensor:
    """Return how well each of n pictures fits a caption (n,), on the CPU, to re-rank references by them.

    Two measures are added: DAMSM's word score and, where the encoders were taught attributes, how far a
    picture shows what the caption names. The word score, a twentieth as wide, decides where nothing is named.
    `text` is not guided; `images` (n, 3, s, s) in [-1, 1] lie where the model is, which reads pictures.
    """
    attributes = checkpoint.attributes
    with repeatable():
        (regions, _), maps = checkpoint.damsm.encode_images((images + 1) / 2)
        scores = matching_scores(text.words, text.mask, regions)[:, 0]
        if maps is not None and attributes is not None and named.claims:
            wanted = _wanted(named, attributes.values).to(scores)
            scores = scores + agreement(wanted, attributes.head(maps))
    return scores.cpu()


def told(text: TextFeatures, named: Named, values: Mapping[str, Sequence[str]]) -> TextFeatures:
    """Return one caption's embeddings with what its words name where the reader of captions is silent.

    That reader learned from captions which rarely give a whole bird one colour, and reads it as some part's.
    """
    if text.attributes is None:
        return text
    wanted = _wanted(named, values).to(text.attributes)
    return text._replace(attributes=text.attributes + where_silent(text.attributes, wanted[None]))


def _wanted(named: Named, values: Mapping[str, Sequence[str]]) -> Tensor:
    """Return 1 for what is named (attributes, most values)."""
    wanted = torch.zeros(len(values), max(map(len, values.values())))
    for attribute, value in named.asked:
        wanted[list(values).index(attribute), values[attribute].index(value)] = 1.0
    return wanted
