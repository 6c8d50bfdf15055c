from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from memdriven.data.vocabulary import UnknownWord
from memdriven.memory.retrieval import Neighbour
from memdriven.pipeline.output import Retrieval
from memdriven.ui import state
from memdriven.ui.references import mark_words, memory_panel, unknown_words

pytestmark = pytest.mark.usefixtures("loaded")
BIRD = Neighbour(
    id="finch-01",
    image=Image.new("RGB", (96, 96)),
    caption="A Red bird, with black wings.",
    rank=1,
    weight=0.75,
    score=0.5,
    percentile=99.84,
    class_name="finch",
)
FOUND = Retrieval(
    caption="a red bird", strategy="sentence-sentence", k=1, neighbours=(BIRD,), words=("a", "red", "bird")
)


def test_shared_words_are_marked_small_and_common_ones_are_not() -> None:
    marked = mark_words("A Red bird", ["a", "red", "bird"], common={"bird"})
    assert marked == [("A", ""), (" ", ""), ("Red", "1.00"), (" ", ""), ("bird", "")]
    assert 'A <mark style="--strength:1.00">Red</mark> bird' in memory_panel(replace(FOUND, words=("red",)))


def test_marks_say_how_strongly_a_word_was_matched() -> None:
    marked = mark_words("red wings", ["red", "wings"], {"red": 0.8, "wings": 0.4})
    assert [each for each in marked if each[1]] == [("red", "1.00"), ("wings", "0.50")]
    assert mark_words("red", ["red"], {"red": 0.0}) == [("red", "1.00")]


def test_captions_of_the_memory_are_escaped() -> None:
    hostile = replace(BIRD, caption="<img src=x onerror=1> red", class_name="<b>", id='"><i>')
    made = memory_panel(replace(FOUND, neighbours=(hostile,)), [hostile])
    assert "<img src=x" not in made
    assert "<b>" not in made
    assert "<i>" not in made


def test_card_has_rank_and_caption_and_says_how_far_it_fits() -> None:
    made = memory_panel(FOUND)
    assert "No. 1" in made
    assert "of the mix" not in made
    assert f'alt="Reference 1: {BIRD.caption}"' in made


def test_share_of_the_mix_shows_when_there_is_a_mix() -> None:
    other = replace(BIRD, id="b", rank=2, weight=0.25, percentile=None, score=None)
    made = memory_panel(replace(FOUND, neighbours=(BIRD, other)))
    assert "75 % of the mix" in made
    assert "25 % of the mix" in made


def test_memory_off_and_next_in_line() -> None:
    assert ("The memory is switched off: this picture comes from words and noise alone.") in memory_panel(
        replace(FOUND, strategy="none", neighbours=())
    )
    spare = replace(BIRD, id="spare", rank=2)
    made = memory_panel(FOUND, [spare])
    assert "Runners-up (not used)" in made
    assert made.index("finch-01") < made.index('data-id="spare"')


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("a red bird with black wings", "its caption has 3 of your 3 main words"),
        ("a red bird with a blue crown", "its caption has 1 of your 3 main words"),
        ("a red one", "its caption has 1 of your 2 main words"),
        ("it is red", "its caption has your main word"),
        ("it is blue", "its caption lacks your main word"),
        ("red without wings", "its caption has your main word"),
        ("it is", ""),
    ],
)
def test_where_nothing_is_named_the_words_that_a_reference_has_are_counted(
    monkeypatch: pytest.MonkeyPatch, words: str, says: str
) -> None:
    monkeypatch.setattr(state, "common_words", lambda: frozenset({"bird"}))
    bird = replace(BIRD, id=state.pipeline().bank.ids[0])
    made = memory_panel(replace(FOUND, caption=words, words=tuple(words.split()), neighbours=(bird,)))
    assert says in made
    assert ("md-bar-label" in made) == bool(says)
    assert "of the memory" not in made, "that is nearly all of it for every first reference"
    assert "md-bar-label" not in memory_panel(FOUND), "an image that is not in the memory"


def test_unknown_words_are_struck_through_with_an_offer() -> None:
    unknown = [
        UnknownWord("smal", "small", "typo"),
        UnknownWord("crimson", "red", "synonym"),
        UnknownWord("<zzz>", None, "unknown"),
    ]
    made = unknown_words("", unknown, truncated=3)
    assert "<del>smal</del><span>read as</span>" in made
    assert 'data-unknown="crimson" data-known="red"' in made
    assert "<del>&lt;zzz&gt;</del>" in made
    assert "last 3 words" in made
    assert unknown_words("", []) == ""


def test_many_ignored_words_are_one_line_to_open() -> None:
    three, four = ([UnknownWord(word, None, "unknown") for word in "abcd"[:n]] for n in (3, 4))
    assert unknown_words("", three).count("<li>") == unknown_words("", four).count("<li>") == 1
    assert "<details>" not in unknown_words("", three)
    made = unknown_words("", four)
    assert "<summary>4 words are not in the vocabulary (ignored)</summary><del>a</del>" in made


@pytest.mark.parametrize(
    ("caption", "ignored", "told"),
    [
        ("a bird without a crest", "without", "it may paint a crest."),
        ("a bird that is not red", "not", "it may paint red."),
        ("it has no red on it", "no", "it may paint red."),
        ("a bird with no antlers", "no antlers", ""),
        ("a small red bird", "", ""),
    ],
)
def test_a_denial_is_told_at_once(caption: str, ignored: str, told: str) -> None:
    made = unknown_words(caption, [UnknownWord(word, None, "unknown") for word in ignored.split()])
    assert told in made
    assert "not in the vocabulary" not in made or not told, "that it was not understood says less"
    assert ("cannot leave things out" in made) == bool(told)


def test_several_birds_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "paints", lambda: ("bird", "owl"))
    assert "This model paints one bird at a time." in unknown_words("two yellow birds", [])
    assert "one bird" not in unknown_words("an owl", [])
    monkeypatch.setattr(state, "paints", tuple)
    assert unknown_words("two yellow birds", []) == "", "of this memory no subject is known"
