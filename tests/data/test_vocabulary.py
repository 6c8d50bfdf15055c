"""Captions to words, words to ids, and what stands in for unknown words."""

from __future__ import annotations

import itertools
import json
import random
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from memdriven.data.names import caption_of_name
from memdriven.data.vocabulary import (
    NEAR_SYNONYMS,
    SLIPS,
    Vocabulary,
    edit_distance,
    near_synonyms,
    tokenize,
    what_is_not_read,
)
from memdriven.errors import CaptionError, CheckpointError, DataError


def _slow_distance(a: str, b: str) -> int:
    """Optimal string alignment, with likely replacements only, by plain recursion."""
    if not a or not b:
        return len(a) + len(b)
    costs = [_slow_distance(a[:-1], b) + 1, _slow_distance(a, b[:-1]) + 1]
    if a[-1] == b[-1] or {a[-1], b[-1]} in SLIPS:
        costs.append(_slow_distance(a[:-1], b[:-1]) + (a[-1] != b[-1]))
    if len(a) > 1 and len(b) > 1 and a[-1] == b[-2] and a[-2] == b[-1]:
        costs.append(_slow_distance(a[:-2], b[:-2]) + 1)
    return min(costs)


def test_edit_distance_equals_the_recursion() -> None:
    words = ["", "a", "as", "sa", "asd", "ads", "das", "asdf", "asfd", "sadf", "add"]
    for a, b in itertools.product(words, words):
        for limit in (1, 2):
            assert edit_distance(a, b, limit) == min(_slow_distance(a, b), limit + 1)


CAPTIONS = [
    "a small red bird with black wings and a yellow beak",
    "this bird has a red crown, brown wings and a short beak",
    "a bird with a speckled breast and a colorful tail",
    "blue, or blu as some write it",
]


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.build(CAPTIONS)


def test_tokens_are_lower_case_words_without_punctuation() -> None:
    words = ["a", "red", "breasted", "bird", "it", "s", "3cm"]
    assert tokenize("A RED-breasted bird, it's 3cm!") == words
    assert tokenize("ｒｅｄ ﬁnch") == ["red", "finch"]  # full width, ligature
    assert tokenize("long_hair, été_bleu, _") == ["long", "hair", "été", "bleu"]  # tags


OTHER_SCRIPTS = {
    "Chinese": ("红色的小鸟", "红 色 的 小 鸟"),
    "Japanese beside Latin": ("赤いtiny鳥", "赤 い tiny 鳥"),
    "Thai: vowels and tones above belong to their letter": ("นกสีแดง", "น ก สี แ ด ง"),
    "Khmer": ("ស្លាប", "ស្លា ប"),
    "Korean has spaces": ("빨간 새", "빨간 새"),
    "Hindi: vowel signs are no ends of words": ("लाल चिड़िया", "लाल चिड़िया"),
    "Hebrew with points": ("צִפּוֹר אֲדֻמָּה", "צִפּוֹר אֲדֻמָּה"),
    "Persian with a joiner": ("می\u200cخواهم", "می\u200cخواهم"),
    "an accent by itself": ("re\u0301d, x\u0304y", "réd x\u0304y"),
    "a soft hyphen": ("co\u00adop", "coop"),
    "Khmer's stacked letters": ("បក្សីក្រហម", "ប ក្សី ក្រ ហ ម"),
    "Myanmar's stacked letters": ("မန္တလေး", "မ န္တ လေး"),
    "Arabic stretched": ("ـطائـر", "طائر"),
    "Mongolian's vowel apart": ("ᠴᠠᠭᠠ\u180eᠠ", "ᠴᠠᠭᠠᠠ"),
    "directions and variants": ("a\u200e\u061c1\ufe0f\u2060b", "a1b"),
    "an emoji of several": ("👨\u200d👩\u200d👧 family ❤\ufe0f red", "family red"),
    "signs without a letter": ("\u0301 \ufe0f red", "red"),
    "pictures between words": ("red🐦bird", "red bird"),
}


@pytest.mark.parametrize(("text", "words"), OTHER_SCRIPTS.values(), ids=OTHER_SCRIPTS)
def test_every_script_is_split_as_its_readers_do(text: str, words: str) -> None:
    tokens = tokenize(text)
    wanted = unicodedata.normalize("NFKC", words).split(" ")
    assert tokens == wanted
    assert tokenize(unicodedata.normalize("NFD", text)) == wanted, "however its letters are composed"
    assert tokenize(" ".join(tokens)) == wanted


def test_shipped_vocabularies_and_latin_captions_are_split_as_ever() -> None:
    for path in (Path(__file__).parents[2] / "checkpoints").glob("*/vocabulary.json"):
        for word in json.loads(path.read_bytes())["words"]:
            assert tokenize(word) == [word]
    rng = random.Random(0)
    letters = "abcdeéèñüßøçœ0_ '-–—,.!“”’ \t\nÀÉŽŁ"
    for _ in range(300):
        text = "".join(rng.choices(letters, k=30))
        assert tokenize(text) == re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).lower())


def test_the_most_frequent_words_come_first_and_ties_go_by_alphabet() -> None:
    built = Vocabulary.build(["b a", "a c"])
    assert built.words == ("a", "b", "c")
    assert len(built) == 4


def test_captions_without_a_word_are_refused() -> None:
    with pytest.raises(DataError, match="captions with words"):
        Vocabulary.build(["", "!"])


def test_known_words_become_their_ids(vocabulary: Vocabulary) -> None:
    encoded = vocabulary.encode("A red bird!", 24)
    assert encoded.words == ["a", "red", "bird"]
    assert [vocabulary.words[i - 1] for i in encoded.ids] == encoded.words
    assert encoded.unknown == ()
    assert encoded.truncated == 0


@pytest.mark.parametrize(
    ("word", "replacement", "reason"),
    [
        ("crimson", "red", "synonym"),
        ("golden", "yellow", "synonym"),
        ("bill", "beak", "synonym"),
        ("yellowish", "yellow", "synonym"),
        ("bluish", "blue", "synonym"),
        ("wing", "wings", "synonym"),
        ("chestnut", "brown", "synonym"),
        ("yelow", "yellow", "typo"),
        ("brid", "bird", "typo"),
        ("rde", "red", "typo"),
        ("speckeldd", "speckled", "typo"),
        ("xylophone", None, "unknown"),
        ("bed", None, "unknown"),  # one edit from "red", but too short to be sure
        ("r2d2", None, "unknown"),
    ],
)
def test_an_unknown_word_is_replaced_or_reported(
    vocabulary: Vocabulary, word: str, replacement: str | None, reason: str
) -> None:
    encoded = vocabulary.encode(f"a {word} bird with a {word}", 24)
    (unknown,) = encoded.unknown  # once, though it occurs twice
    assert (unknown.word, unknown.replacement, unknown.reason) == (word, replacement, reason)
    stand_in = [replacement] if replacement else []
    assert encoded.words == ["a", *stand_in, "bird", "with", "a", *stand_in]
    assert vocabulary.encode(f"a {word} bird", 24).unknown == (unknown,)  # remembered


def _shipped(name: str) -> Vocabulary:
    path = Path(__file__).parents[2] / "checkpoints" / name / "vocabulary.json"
    return Vocabulary.from_json(json.loads(path.read_bytes()))


def test_common_words_are_never_corrected_and_typos_are() -> None:
    meant = "night sits facing band lack might sight send write bell grew sand they starting shallow tale"
    typos = (
        "blak black, yelow yellow, brid bird, wihte white, blakc black, beack beak, balck black, gren green, "
        "oragne orange, brwon brown, smlal small, wiht with, yallow yellow, feahters feathers, whitr white, "
        "hummingbrid hummingbird, woodpeker woodpecker, kingfishre kingfisher, bred bred, rad rad, "
        "bkack black"
    )
    known = _shipped("aviary")
    for word in meant.split():
        if word not in known.words:
            (read,) = known.unknown(word)
            assert read.replacement is None or read.reason == "synonym", read
    for word, wanted in map(str.split, typos.split(", ")):
        (read,) = known.unknown(word)
        assert (read.replacement or word) == wanted, read


@pytest.mark.parametrize("word", ["swallow", "flaming", "sand", "flower", "evening", "making"])
def test_what_another_vocabulary_lacks_is_no_typo_of_its_words(word: str) -> None:
    (read,) = _shipped("birds").unknown(word)
    assert read.replacement is None


@pytest.mark.parametrize("name", ["aviary", "birds"])
def test_nine_in_ten_usual_typos_find_their_word(name: str) -> None:
    """Swaps, doubled letters, letters left out and neighbouring keys, behind the first letter."""
    known, right = _shipped(name), list[bool]()
    for word in [word for word in known.words if len(word) > 4 and word.isalpha()][:40]:
        places = range(1, len(word) - 1)
        typos = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in places}
        typos |= {word[:i] + word[i] + word[i:] for i in places} | {word[:i] + word[i + 1 :] for i in places}
        right += [known.unknown(typo)[0].replacement == word for typo in typos - {*known.words}]
    assert sum(right) / len(right) >= 0.9
    right = []
    for word in [word for word in known.words if len(word) > 3][:12]:
        others = [(i, key) for i in range(1, len(word)) for key in "abcdefghijklmnopqrstuvwxyz"]
        typos = {word[:i] + key + word[i + 1 :] for i, key in others if {word[i], key} in SLIPS}
        right += [known.unknown(typo)[0].replacement == word for typo in typos - {*known.words}]
    assert sum(right) / len(right) >= 0.95, "the frequent words are meant, whatever their letters"


def test_a_synonym_needs_its_target_in_the_vocabulary() -> None:
    known = Vocabulary(["bird", "blue"])
    assert known.encode("a crimson bird", 24).unknown[1].replacement is None


def test_words_beyond_the_limit_are_counted(vocabulary: Vocabulary) -> None:
    encoded = vocabulary.encode("a qqqqqq small red bird with zzzzzz black wings", 4)
    assert encoded.words == ["a", "small", "red", "bird"]
    assert encoded.truncated == 3
    assert [each.word for each in encoded.unknown] == ["qqqqqq"], "what is behind the cut is not heard at all"


@pytest.mark.parametrize("text", ["", "   \n", "!?!", "a" * 10_000, "xylophone qqqqqq"])
def test_unusable_captions_are_refused(vocabulary: Vocabulary, text: str) -> None:
    with pytest.raises(CaptionError) as caught:
        vocabulary.encode(text, 24)
    assert caught.value.fix


def test_a_batch_is_padded_behind_the_words(vocabulary: Vocabulary) -> None:
    long, short = vocabulary.encode("a small red bird", 24), vocabulary.encode("bird", 24)
    ids, lengths = Vocabulary.batch([short, long])
    assert ids.tolist() == [short.ids + [0] * 3, long.ids]
    assert lengths.tolist() == [1, 4]


def test_json_round_trip_and_foreign_json(vocabulary: Vocabulary) -> None:
    content = vocabulary.to_json()
    assert Vocabulary.from_json(content).words == vocabulary.words
    for broken in (
        {},
        {**content, "words": ["a", "a"]},
        {**content, "words": [1]},
        {**content, "schema": "other/1"},
        {**content, "words": []},
    ):
        with pytest.raises(CheckpointError, match="vocabulary"):
            Vocabulary.from_json(broken)
    assert "red" in vocabulary.words


def _stand_in_captions(count: int) -> list[str]:
    """Captions with the frequencies of a real collection: word r occurs as often as 1 / r."""
    chance = random.Random(0)
    letters = "etaoinshrdlcum"
    words = list(
        dict.fromkeys("".join(chance.choices(letters, k=chance.randint(3, 11))) for _ in range(6000))
    )
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))
    return [" ".join(chance.choices(words, cum_weights=weights, k=12)) for _ in range(count)]


def test_a_large_collection_of_captions() -> None:
    captions = _stand_in_captions(1500)
    vocabulary = Vocabulary.build(captions)
    assert 1500 < len(vocabulary) <= 6001
    counts = Counter(word for caption in captions for word in caption.split())
    assert [counts[word] for word in vocabulary.words] == sorted(counts.values(), reverse=True)
    assert all(not vocabulary.encode(caption, 24).unknown for caption in captions[:500])
    unseen = [word + "q" for word in vocabulary.words[:8]]
    for word in unseen:
        (unknown,) = vocabulary.encode(f"{vocabulary.words[0]} {word}", 24).unknown
        expected = [
            known
            for known in vocabulary.words
            if edit_distance(word, known, 2) <= (2 if len(word) >= 8 else 1)
        ]
        assert unknown.replacement in expected


def test_the_synonym_table_is_clean() -> None:
    for word, candidates in NEAR_SYNONYMS.items():
        assert tokenize(word) == [word]
        assert word not in candidates
        assert all(tokenize(candidate) == [candidate] for candidate in candidates)
    assert len(NEAR_SYNONYMS) >= 80
    assert near_synonyms("goldish")[-1] == "yellow"


def test_what_is_not_read_is_told() -> None:
    known = Vocabulary(["a", "red", "bird"])
    captions = [known.encode(text, 3) for text in ("a red bird", "a red red bird", "a xylophone bird")]
    assert what_is_not_read(captions, 3) == [
        "1 of 3 captions are longer than 3 words: the rest of them is not read (--text.max-words)",
        "not in the vocabulary and left out of captions: 1 word, e.g. xylophone",
    ]
    assert what_is_not_read(captions[:1], 3) == []
    alike = "all 2 captions are read as the same words: they tell no pictures apart"
    assert alike in what_is_not_read([known.encode(f"a red bird, {n}", 3) for n in ("one", "two")], 3)
    nameless = f"a {caption_of_name('img/0001.png')}"
    assert what_is_not_read([known.encode(nameless, 3)], 3) == [], "nobody wrote this word"
