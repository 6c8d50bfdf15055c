"""Ten sentences about a bird, in the manner of people who describe what they see.

A small grammar: an opening (what kind of bird), two to five attributes as noun phrases or short
clauses, and sometimes where it is or what it does. Only attributes that can be seen in the picture
are named, and every caption comes with the record of what it names.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class _Part:
    """How a part or marking is called, seen and mentioned."""

    words: Sequence[str] = ()
    share: float = 0.0
    """Of the bird's pixels, that the part must have to be named."""
    weight: float = 1.0
    """How often it is mentioned, against 1."""
    shows_on: str = ""
    """The part whose pixels count, where it has none of its own."""


_WORDS = json.loads(Path(__file__).with_name("words.json").read_bytes())
NAMED_PARTS = {name: _Part(**values) for name, values in _WORDS["parts"].items()}
PLURAL = frozenset(_WORDS["plural"])
"""Names of parts that take "are"."""
BEAK_WORDS: list[str] = _WORDS["beaks"]
Words = dict[str, list[str]]
"""Words for each value of an attribute; the plain one most often."""
COLOUR_WORDS: Words = _WORDS["colours"]
SHAPE_WORDS: Words = _WORDS["shapes"]
PATTERN_WORDS: Words = _WORDS["patterns"]
SIZE_WORDS: Words = _WORDS["sizes"]
POSE_WORDS: Words = _WORDS["poses"]
PLACE_WORDS: Words = _WORDS["places"]


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
    """A thing that the bird has ("a red crown") and the record of it."""

    text: str
    names: dict[str, str]
    clause: str = ""
    """The same in a short clause: "its crown is red"."""


def _coloured(colour: str, subject: str, names: dict[str, str], plural: bool) -> _Phrase:
    text = f"{colour} {subject}"
    clause = "" if " its " in text else f"its {subject} {'are' if plural else 'is'} {colour}"
    first = subject.partition(" and ")[0]
    return _Phrase(text if first in PLURAL else _article(text), names, clause)


def _article(text: str) -> str:
    return ("an " if text[0] in "aeiou" else "a ") + text


def _list(things: Sequence[_Phrase]) -> str:
    *others, last = [thing.text for thing in things]
    return f"{', '.join(others)} and {last}" if others else last


class _Speaker:
    """One annotator before one picture."""

    def __init__(self, attributes: dict[str, str], visible: Sequence[str], rng: random.Random) -> None:
        self.of, self.visible, self.rng = attributes, set(visible), rng

    def part(self, name: str) -> str:
        return self.rng.choice(NAMED_PARTS[name].words)

    def phrase(self, name: str) -> _Phrase:
        """A noun phrase for one attribute."""
        rng, value = self.rng, self.of[name]
        names: dict[str, str] = {}
        if name in ("beak_color", "beak_shape"):
            word, parts = rng.choice(BEAK_WORDS), []
            shapes, colours = SHAPE_WORDS[self.of["beak_shape"]], COLOUR_WORDS[self.of["beak_color"]][:2]
            for one, words, odds in (("beak_shape", shapes, 0.5), ("beak_color", colours, 0.45)):
                if name == one or (one in self.visible and rng.random() < odds):
                    parts.append(rng.choice(words))
                    names[one] = self.of[one]
            return _Phrase(_article(" ".join([*parts, word])), names)
        if name == "pattern":
            where = "breast" if "breast" in self.visible else "belly"
            word, names["pattern"], text = self.part(where), value, rng.choice(PATTERN_WORDS[value])
            if where in self.visible and rng.random() < 0.5:
                text += " " + rng.choice(COLOUR_WORDS[self.of[where]])
                names[where] = self.of[where]
            return _Phrase(_article(f"{text} {word}"), names)
        if name == "crest":
            crests = ("a crest on its head", "a pointed crest", "a feathered crest")
            return _Phrase(rng.choice(crests), {"crest": value})
        colour, word = rng.choice(COLOUR_WORDS[value]), self.part(name)
        if name == "head" and self.of["crown"] == value and rng.random() < 0.7:
            word = "head"
        return _coloured(colour, word, {name: value}, word in PLURAL)

    def shared(self, one: str, other: str) -> _Phrase:
        """Two parts of one colour: "black wings and tail"."""
        colour = self.rng.choice(COLOUR_WORDS[self.of[one]])
        subject = f"{self.part(one)} and {self.part(other)}"
        return _coloured(colour, subject, {name: self.of[name] for name in (one, other)}, True)

    def phrases(self, count: int) -> list[_Phrase]:
        """Noun phrases for about `count` different attributes, the showy ones more often."""
        pool = sorted(self.visible - {"size", "body_plan", "pose", "background"})
        out: list[_Phrase] = []
        named: set[str] = set()
        while pool and len(named) < count:
            name = self.rng.choices(pool, [NAMED_PARTS[n].weight for n in pool])[0]
            alike = [n for n in pool if n in _BODY and n != name and self.of[n] == self.of[name]]
            twins = alike if name in _BODY else []
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
        """What to call the bird: "bird", "small bird", "duck", "red and black bird"; note what it names."""
        rng, words, of = self.rng, [], self.of
        if rng.random() < 0.34:
            words.append(rng.choice(SIZE_WORDS[of["size"]]))
            names["size"] = of["size"]
        both = {"back", "breast"}
        if rng.random() < 0.24 and both <= self.visible and not both & names.keys():
            back, breast = (rng.choice(COLOUR_WORDS[of[part]][:2]) for part in ("back", "breast"))
            words.append(back if of["back"] == of["breast"] else f"{back} and {breast}")
            names |= {"back": of["back"], "breast": of["breast"]}
        if rng.random() < 0.30:
            names["body_plan"] = of["body_plan"]
        return " ".join([*words, names.get("body_plan", "bird")])

    def setting(self, names: dict[str, str], odds: float) -> str:
        """Where it is and what it does, or nothing: " standing in the snow"; note what it names."""
        if self.rng.random() > odds:
            return ""
        pose, place = self.of["pose"], self.of["background"]
        roll, text = self.rng.random(), ""
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
        things = self.phrases(self.rng.choice((2, 2, 3, 3, 3, 4))) or [_Phrase("feathers all over", {})]
        names = {name: value for thing in things for name, value in thing.names.items()}
        form, clauses = self.rng.randrange(9), [thing for thing in things if thing.clause]
        if form <= 1:
            text = f"this {self.kind(names)} has {_list(things)}"
        elif form == 2:
            text = f"{_article(self.kind(names))} with {_list(things)}{self.setting(names, 0.6)}"
        elif form == 3:
            text = f"this is {_article(self.kind(names))} with {_list(things)}"
        elif form == 4 and clauses:
            last = self.rng.choice(clauses)
            rest = [thing for thing in things if thing is not last]
            kind = self.kind(names)
            text = f"the {kind} has {_list(rest)}" if rest else f"this is {_article(kind)}"
            text += f", and {last.clause}"
        elif form == 5 and len(clauses) >= 2:
            text = f"the {self.kind(names)} has {clauses[0].text} while {clauses[1].clause}"
            unsaid = {name for thing in things if thing not in clauses[:2] for name in thing.names}
            names = {name: value for name, value in names.items() if name not in unsaid}
        elif form in (6, 7):
            where, kind = self.setting(names, 1.0).strip(), _article(self.kind(names))
            having = f"{kind} {where}, it has" if form == 6 else f"{where}, {kind} with"
            text = f"{having} {_list(things)}"
        else:
            text = f"a bird that has {_list(things)}{self.setting(names, 0.25)}"
        return text + ".", names


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
