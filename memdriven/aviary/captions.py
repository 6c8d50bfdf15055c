"""Ten sentences about a bird, in the manner of people who describe what they see.

A small grammar: an opening (what kind of bird), two to five attributes as noun phrases or short
clauses, and sometimes where it is or what it does. Only attributes that can be seen in the picture
are named, and every caption comes with the record of what it names.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "bright red", "scarlet", "crimson"),
    "orange": ("orange", "orange", "bright orange", "vivid orange"),
    "yellow": ("yellow", "yellow", "bright yellow", "golden yellow"),
    "olive": ("olive", "olive", "olive colored", "dull olive"),
    "green": ("green", "green", "bright green", "vivid green"),
    "blue": ("blue", "blue", "bright blue", "deep blue"),
    "purple": ("purple", "purple", "violet", "deep purple"),
    "brown": ("brown", "brown", "dark brown"),
    "rufous": ("rufous", "rufous", "rusty", "chestnut"),
    "buff": ("buff", "buff", "tan", "pale buff"),
    "grey": ("grey", "gray", "grey", "slate gray"),
    "black": ("black", "black", "jet black", "solid black"),
    "white": ("white", "white", "bright white", "snowy white"),
    "pink": ("pink", "pink", "light pink", "rosy pink"),
}
"""Words for each named colour; the plain name most often."""


@dataclass(frozen=True)
class _Part:
    """How a part or marking is called, seen and mentioned."""

    words: tuple[str, ...] = ()
    share: float = 0.0
    """Of the bird's pixels, that the part must have to be named."""
    weight: float = 1.0
    """How often it is mentioned, against 1."""
    shows_on: str = ""
    """The part whose pixels count, where it has none of its own."""


NAMED_PARTS = {
    "crown": _Part(("crown", "crown", "cap"), 0.012, 3.0),
    "head": _Part(("face", "face", "cheeks"), 0.012, 2.2),
    "throat": _Part(("throat", "throat", "chin"), 0.010, 2.0),
    "breast": _Part(("breast", "breast", "chest"), 0.03, 3.0),
    "belly": _Part(("belly", "belly", "abdomen", "underside"), 0.03, 2.6),
    "back": _Part(("back", "back", "mantle"), 0.03, 2.0),
    "wing": _Part(("wings", "wings", "wing feathers"), 0.04, 3.0),
    "tail": _Part(("tail", "tail", "tail feathers"), 0.012, 1.6),
    "wing_bars": _Part(("wing bars", "wingbars", "bars on its wings"), 0.006, 2.0),
    "eye_ring": _Part(("eye ring", "eyering", "ring around its eye"), 0.0022),
    "eye_stripe": _Part(("eye stripe", "stripe through its eye", "eyebrow line"), 0.0035),
    "legs": _Part(("legs", "legs", "feet"), 0.005),
    "beak_color": _Part((), 0.005, 1.8, "beak"),
    "beak_shape": _Part((), 0.008, 2.4, "beak"),
    "crest": _Part((), 0.02, 1.5, "crown"),
    "pattern": _Part((), 0.0, 2.2),
}
PLURAL = frozenset(("wings", "cheeks", "legs", "feet", "wing bars", "wingbars", "bars on its wings"))
PLURAL |= {"wing feathers", "tail feathers"}
"""Names of parts that take "are"."""
BEAK_WORDS = ("beak", "beak", "bill")

SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "short": ("short", "tiny", "small"),
    "thick": ("thick", "stout", "heavy"),
    "pointed": ("pointed", "sharp", "pointy"),
    "long": ("long", "very long", "long thin"),
    "curved": ("curved", "downcurved", "long curved"),
    "hooked": ("hooked", "hooked"),
    "flat": ("flat", "wide flat", "broad flat"),
}

PATTERN_WORDS: dict[str, tuple[str, ...]] = {
    "streaked": ("streaked", "streaky"),
    "spotted": ("spotted", "speckled"),
    "barred": ("barred", "striped"),
}

SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium sized", "mid-sized"),
    "large": ("large", "big"),
}

POSE_WORDS: dict[str, tuple[str, ...]] = {
    "perched": ("perched on a branch", "sitting on a branch", "resting on a twig"),
    "standing": ("standing", "on its feet"),
    "swimming": ("swimming", "floating", "paddling"),
    "flying": ("flying", "in flight", "with its wings spread"),
    "clinging": ("clinging to a tree trunk", "climbing a tree trunk", "on a tree trunk"),
}

PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "foliage": ("in front of green leaves", "among green foliage", "in the woods"),
    "water": ("on the water", "over the water", "by the water"),
    "grass": ("on the grass", "in a green meadow", "on a lawn"),
    "snow": ("in the snow", "on a snowy day", "in winter"),
    "sand": ("on the sand", "on a sandy beach", "at the beach"),
    "rock": ("on a rock", "on grey stones", "among the rocks"),
    "dusk": ("at dusk", "at sunset", "under an evening sky"),
    "sky": ("against the blue sky", "under a blue sky", "against a bright sky"),
}


def visible_attributes(attributes: dict[str, str], shares: dict[str, float]) -> list[str]:
    """Attributes that the picture shows.

    attributes: all of them; shares: each part's share of the bird's pixels, from the part map.
    Markings that the bird does not have are never listed; kind, size, pose and place always are.
    """
    seen = []
    for name, value in attributes.items():
        if name in ("size", "body_plan", "pose", "background"):
            seen.append(name)
        elif value in ("none", "plain"):
            continue
        elif name == "pattern":
            if shares.get("breast", 0.0) + shares.get("belly", 0.0) > 0.10:
                seen.append(name)
        elif shares.get(NAMED_PARTS[name].shows_on or name, 0.0) >= NAMED_PARTS[name].share:
            seen.append(name)
    return seen


CAPTIONS = 10
WORDS = (8, 22)
"""Least and most words in a caption."""

_BODY = ("crown", "throat", "breast", "belly", "back", "wing", "tail", "head")


@dataclass
class _Phrase:
    """A thing that the bird has: "a red crown", the record of it, the words of a short clause."""

    text: str
    names: dict[str, str]
    subject: str = ""
    colour: str = ""
    plural: bool = False


def _article(text: str) -> str:
    return ("an " if text[0] in "aeiou" else "a ") + text


class _Speaker:
    """One annotator before one picture."""

    def __init__(self, attributes: dict[str, str], visible: Sequence[str], rng: random.Random) -> None:
        self.of, self.visible, self.rng = attributes, set(visible), rng

    def colour(self, name: str) -> str:
        return self.rng.choice(COLOUR_WORDS[name])

    def phrase(self, name: str) -> _Phrase:
        """A noun phrase for one attribute."""
        rng, value = self.rng, self.of[name]
        if name in ("beak_color", "beak_shape"):
            word, names, parts = rng.choice(BEAK_WORDS), {}, []
            if name == "beak_shape" or ("beak_shape" in self.visible and rng.random() < 0.5):
                parts.append(rng.choice(SHAPE_WORDS[self.of["beak_shape"]]))
                names["beak_shape"] = self.of["beak_shape"]
            if name == "beak_color" or ("beak_color" in self.visible and rng.random() < 0.45):
                parts.append(rng.choice(COLOUR_WORDS[self.of["beak_color"]][:2]))
                names["beak_color"] = self.of["beak_color"]
            return _Phrase(_article(" ".join([*parts, word])), names)
        if name == "pattern":
            where = "breast" if "breast" in self.visible else "belly"
            word, names = rng.choice(NAMED_PARTS[where].words), {"pattern": value}
            text = rng.choice(PATTERN_WORDS[value])
            if where in self.visible and rng.random() < 0.5:
                text, names = (f"{text} {self.colour(self.of[where])}", {**names, where: self.of[where]})
            return _Phrase(_article(f"{text} {word}"), names)
        if name == "crest":
            return _Phrase(
                rng.choice(("a crest on its head", "a pointed crest", "a feathered crest")), {"crest": value}
            )
        colour, word = self.colour(value), rng.choice(NAMED_PARTS[name].words)
        if name == "head" and self.of["crown"] == value and rng.random() < 0.7:
            word = "head"
        text = f"{colour} {word}"
        plural = word in PLURAL
        return _Phrase(text if plural else _article(text), {name: value}, word, colour, plural)

    def shared(self, one: str, other: str) -> _Phrase:
        """Two parts of one colour: "black wings and tail"."""
        colour = self.colour(self.of[one])
        first, second = self.rng.choice(NAMED_PARTS[one].words), self.rng.choice(NAMED_PARTS[other].words)
        text = f"{colour} {first} and {second}"
        names = {one: self.of[one], other: self.of[other]}
        return _Phrase(
            text if first in PLURAL else _article(text), names, f"{first} and {second}", colour, True
        )

    def phrases(self, count: int) -> list[_Phrase]:
        """Noun phrases for about `count` different attributes, the showy ones more often."""
        pool = sorted(self.visible - {"size", "body_plan", "pose", "background"})
        out: list[_Phrase] = []
        named: set[str] = set()
        while pool and len(named) < count:
            name = self.rng.choices(pool, [NAMED_PARTS[n].weight for n in pool])[0]
            twins = [
                n for n in pool if n in _BODY and name in _BODY and n != name and self.of[n] == self.of[name]
            ]
            if twins and count - len(named) >= 2 and self.rng.random() < 0.6:
                new = self.shared(name, self.rng.choice(twins))
            else:
                new = self.phrase(name)
            if named & new.names.keys():
                pool.remove(name)
                continue
            out.append(new)
            named |= new.names.keys()
            pool = [n for n in pool if n not in named]
        return out

    def kind(self, names: dict[str, str]) -> str:
        """What to call the bird: "bird", "small bird", "duck", "red and black bird"."""
        rng, words = self.rng, []
        if rng.random() < 0.34:
            words.append(rng.choice(SIZE_WORDS[self.of["size"]]))
            names["size"] = self.of["size"]
        if (
            rng.random() < 0.24
            and {"back", "breast"} <= self.visible
            and not {"back", "breast"} & names.keys()
        ):
            one, other = (
                rng.choice(COLOUR_WORDS[self.of["back"]][:2]),
                rng.choice(COLOUR_WORDS[self.of["breast"]][:2]),
            )
            same = self.of["back"] == self.of["breast"]
            words.append(one if same else f"{one} and {other}")
            names |= {"back": self.of["back"], "breast": self.of["breast"]}
        if rng.random() < 0.30:
            words.append(self.of["body_plan"])
            names["body_plan"] = self.of["body_plan"]
        else:
            words.append("bird")
        return " ".join(words)

    def setting(self, names: dict[str, str], odds: float) -> str:
        """Where it is and what it does, or nothing: " standing in the snow"."""
        if self.rng.random() > odds:
            return ""
        pose, place = self.of["pose"], self.of["background"]
        roll = self.rng.random()
        text = ""
        if roll < 0.66:
            text += " " + self.rng.choice(POSE_WORDS[pose])
            names["pose"] = pose
        if roll > 0.40:
            options = PLACE_WORDS[place]
            if place == "water":
                options = {"swimming": options[:1], "flying": options[1:2]}.get(pose, options[2:])
            elif place == "foliage" and pose == "flying":
                options = options[:1]
            text += " " + self.rng.choice(options)
            names["background"] = place
        return text

    def sentence(self) -> tuple[str, dict[str, str]]:
        """One caption and what it names."""
        rng = self.rng
        things = self.phrases(rng.choice((2, 2, 3, 3, 3, 4)))
        if not things:
            things = [_Phrase("feathers all over", {})]
        names: dict[str, str] = {}
        for thing in things:
            names |= thing.names
        form = rng.randrange(9)
        clause = [t for t in things if t.subject and " its " not in t.text]
        if form <= 1:
            text = f"this {self.kind(names)} has {_list(things)}"
        elif form == 2:
            text = f"{_article(self.kind(names))} with {_list(things)}{self.setting(names, 0.6)}"
        elif form == 3:
            text = f"this is {_article(self.kind(names))} with {_list(things)}"
        elif form == 4 and clause:
            last = rng.choice(clause)
            rest = [t for t in things if t is not last]
            verb = "are" if last.plural else "is"
            tail = f", and its {last.subject} {verb} {last.colour}"
            text = (
                f"the {self.kind(names)} has {_list(rest)}{tail}"
                if rest
                else f"this is {_article(self.kind(names))}{tail}"
            )
        elif form == 5 and len(clause) >= 2:
            one, other = clause[0], clause[1]
            text = (
                f"the {self.kind(names)} has {one.text} while its {other.subject} "
                f"{'are' if other.plural else 'is'} {other.colour}"
            )
            names = {
                k: v
                for k, v in names.items()
                if k in one.names or k in other.names or k not in _all_names(things)
            }
        elif form == 6:
            where = self.setting(names, 1.0).strip()
            text = f"{_article(self.kind(names))} {where}, it has {_list(things)}"
        elif form == 7:
            where = self.setting(names, 1.0).strip()
            text = f"{where}, {_article(self.kind(names))} with {_list(things)}"
        else:
            text = f"a bird that has {_list(things)}{self.setting(names, 0.25)}"
        return text + ".", names


def _all_names(things: Sequence[_Phrase]) -> set[str]:
    return {name for thing in things for name in thing.names}


def _list(things: Sequence[_Phrase]) -> str:
    texts = [thing.text for thing in things]
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1]


def describe(
    attributes: dict[str, str], visible: Sequence[str], rng: random.Random
) -> list[tuple[str, dict[str, str]]]:
    """`CAPTIONS` distinct captions, each with the attributes it names.

    attributes: the full record; visible: those that may be named; rng: the only source of chance.
    """
    speaker = _Speaker(attributes, visible, rng)
    out: dict[str, dict[str, str]] = {}
    while len(out) < CAPTIONS:
        text, names = speaker.sentence()
        if WORDS[0] <= len(text.split()) <= WORDS[1] and 2 <= len(names) <= 5 and text not in out:
            out[text] = names
    return list(out.items())
