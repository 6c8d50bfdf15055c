"""Captions say what is there, and the record says what they say."""

from __future__ import annotations

import re

import pytest

from memdriven.aviary.captions import (
    BEAK_WORDS,
    CAPTIONS,
    COLOUR_WORDS,
    NAMED_PARTS,
    PATTERN_WORDS,
    PLACE_WORDS,
    POSE_WORDS,
    SHAPE_WORDS,
    SIZE_WORDS,
    WORDS,
    describe,
    visible_attributes,
)
from memdriven.aviary.plumage import PARTS
from memdriven.aviary.species import ATTRIBUTES, sample_bird, stream

Said = list[tuple[str, dict[str, str]]]
ALL_SEEN = dict.fromkeys(PARTS, 0.06)
SINGLE = {"size": SIZE_WORDS, "pose": POSE_WORDS, "background": PLACE_WORDS}
"""Attributes that one group of words names."""


def _described(k: int) -> tuple[dict[str, str], list[str], Said]:
    bird = sample_bird((k * 7) % 200, k, 2)
    shares = {part: share for j, (part, share) in enumerate(ALL_SEEN.items()) if (j + k) % 3 or k % 4}
    visible = visible_attributes(bird.attributes, shares)
    return bird.attributes, visible, describe(bird.attributes, visible, stream("test", k))


BIRDS = [_described(k) for k in range(40)]


def _has(text: str, phrases: tuple[str, ...]) -> bool:
    return any(re.search(rf"\b{re.escape(phrase)}\b", text) for phrase in phrases)


def _says(text: str, name: str, value: str) -> bool:
    """Whether the words of an attribute's value, and of its part, are in the text."""
    if name in SINGLE:
        return _has(text, SINGLE[name][value])
    if name == "body_plan":
        return _has(text, (value,))
    if name == "beak_shape":
        return _has(text, SHAPE_WORDS[value]) and _has(text, BEAK_WORDS)
    if name == "beak_color":
        return _has(text, COLOUR_WORDS[value]) and _has(text, BEAK_WORDS)
    if name == "pattern":
        parts = (*NAMED_PARTS["breast"].words, *NAMED_PARTS["belly"].words)
        return _has(text, PATTERN_WORDS[value]) and _has(text, parts)
    if name == "crest":
        return _has(text, ("crest",))
    parts = (*NAMED_PARTS[name].words, *(("head",) if name == "head" else ()))
    whole = name in ("back", "breast")  # "a red and black bird"
    return _has(text, COLOUR_WORDS[value]) and (whole or _has(text, parts))


def test_the_record_is_true_visible_and_said() -> None:
    for attributes, visible, said in BIRDS:
        for text, names in said:
            for name, value in names.items():
                assert attributes[name] == value
                assert name in visible
                assert _says(text, name, value), f"{name}={value} in {text!r}"


def test_what_is_said_is_in_the_record() -> None:
    alone = ("crown", "throat", "tail", "eye_ring", "wing_bars")  # parts named by no other attribute
    for _, _, said in BIRDS:
        for text, names in said:
            for name in alone:
                assert _has(text, NAMED_PARTS[name].words) == (name in names), text
            assert _has(text, ("crest",)) == ("crest" in names), text
            assert _has(text, BEAK_WORDS) == bool({"beak_shape", "beak_color"} & names.keys()), text


def test_no_colour_is_said_that_the_bird_does_not_have() -> None:
    for attributes, _, said in BIRDS:
        own = {value for value in attributes.values() if value in COLOUR_WORDS}
        foreign = {w.split()[-1] for c in set(COLOUR_WORDS) - own for w in COLOUR_WORDS[c]}
        foreign -= {w.split()[-1] for c in own for w in COLOUR_WORDS[c]} | {"colored"}
        for text, _ in said:
            for places in PLACE_WORDS.values():  # "green leaves", "blue sky"
                for place in places:
                    text = text.replace(place, "")
            assert not foreign & set(re.findall(r"[a-z]+", text)), text


def test_ten_distinct_captions_of_sensible_length() -> None:
    openings = set()
    for _, _, said in BIRDS:
        texts = [text for text, _ in said]
        assert len(texts) == len(set(texts)) == CAPTIONS == 10
        for text, names in said:
            assert WORDS[0] <= len(text.split()) <= WORDS[1]
            assert 2 <= len(names) <= 6
            assert text == text.strip().lower()
            assert text.endswith(".")
            assert "  " not in text
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text), text
            openings.add(" ".join(text.split()[:2]))
    assert len(openings) > 20  # varied syntax


def test_captions_follow_from_their_stream() -> None:
    attributes, visible, said = BIRDS[0]
    assert describe(attributes, visible, stream("test", 0)) == said
    assert describe(attributes, visible, stream("test", 1)) != said


@pytest.mark.parametrize("name", ["wing_bars", "eye_ring", "eye_stripe", "crest", "pattern"])
def test_absent_markings_are_never_visible(name: str) -> None:
    bare = {key: values[0] for key, values in ATTRIBUTES.items()}
    assert name not in visible_attributes(bare, ALL_SEEN)
    marked = {**bare, name: ATTRIBUTES[name][1]}
    assert name in visible_attributes(marked, ALL_SEEN)
    assert name not in visible_attributes(marked, {})


def test_a_hidden_part_is_not_named() -> None:
    facts = sample_bird(0, 0, 0).attributes
    assert "wing" not in visible_attributes(facts, {**ALL_SEEN, "wing": 0.0})
    assert "beak_color" not in visible_attributes(facts, {**ALL_SEEN, "beak": 0.0})
    assert visible_attributes(facts, {}) == ["size", "body_plan", "pose", "background"]
