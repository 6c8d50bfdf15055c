from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from memdriven.data.vocabulary import UnknownWord
from memdriven.memory.retrieval import Neighbour
from memdriven.pipeline.output import Retrieval
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
    assert marked == 'A <mark style="--strength:1.00">Red</mark> bird'


def test_marks_say_how_strongly_a_word_was_matched() -> None:
    marked = mark_words("red wings", ["red", "wings"], {"red": 0.8, "wings": 0.4})
    assert '--strength:1.00">red' in marked
    assert '--strength:0.50">wings' in marked
    assert mark_words("red", ["red"], {"red": 0.0}) == '<mark style="--strength:1.00">red</mark>'


def test_captions_of_the_memory_are_escaped() -> None:
    hostile = replace(BIRD, caption="<img src=x onerror=1> red", class_name="<b>", id='"><i>')
    made = memory_panel(replace(FOUND, neighbours=(hostile,)), [hostile])
    assert "<img src=x" not in made
    assert "<b>" not in made
    assert "<i>" not in made


def test_card_has_rank_caption_and_percentile() -> None:
    made = memory_panel(FOUND)
    assert "No. 1" in made
    assert "closer to your words than 99.8 % of the memory" in made
    assert "of the mix" not in made
    assert f'alt="Reference 1: {BIRD.caption}"' in made


def test_share_of_the_mix_shows_when_there_is_a_mix() -> None:
    other = replace(BIRD, id="b", rank=2, weight=0.25, percentile=None, score=None)
    made = memory_panel(replace(FOUND, neighbours=(BIRD, other)))
    assert "75 % of the mix" in made
    assert "25 % of the mix" in made
    assert made.count("md-bar-label") == 1


def test_memory_off_and_next_in_line() -> None:
    assert ("The memory is switched off: this picture comes from words and noise alone.") in memory_panel(
        replace(FOUND, strategy="none", neighbours=())
    )
    spare = replace(BIRD, id="spare", rank=2)
    made = memory_panel(FOUND, [spare])
    assert "Runners-up (not used)" in made
    assert made.index("finch-01") < made.index('data-id="spare"')


def test_unknown_words_are_struck_through_with_an_offer() -> None:
    made = unknown_words(
        [
            UnknownWord("smal", "small", "typo"),
            UnknownWord("crimson", "red", "synonym"),
            UnknownWord("<zzz>", None, "unknown"),
        ],
        truncated=3,
    )
    assert "<del>smal</del><span>read as</span>" in made
    assert 'data-unknown="crimson" data-known="red"' in made
    assert "<del>&lt;zzz&gt;</del>" in made
    assert "last 3 words" in made
    assert unknown_words([]) == ""
