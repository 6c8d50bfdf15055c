"""Word-level comparison looks at the likeliest captions, and computes each thing once."""

from __future__ import annotations

import pytest
import torch

from memdriven.memory import retrieval as word_level
from memdriven.memory.retrieval import WordLevel
from tests.memory.conftest import World


def test_only_the_likeliest_captions_are_compared(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    text = world.damsm.encode_captions([world.vocabulary.encode("this disc is red", 24)])
    words, sentence = text.words[0], text.sentence[0]
    level = WordLevel(world.bank, world.damsm, world.vocabulary)
    scores, rows = level.words_words(words, sentence, [3, 0, 7])
    monkeypatch.setattr(word_level, "CAPTIONS_PER_ITEM", 1)
    few, likely = level.words_words(words, sentence, [3, 0, 7])
    for item, row in zip([3, 0, 7], likely.tolist(), strict=True):
        own = world.bank.caption_rows(item)
        assert row == max(own, key=lambda r: float(world.bank.sentence_keys[r] @ sentence))
    assert (few <= scores + 1e-6).all()
    assert torch.equal(few[likely == rows], scores[likely == rows])
    assert world.bank.caption(int(rows[0])) == "this disc is red"
    assert float(scores[0]) > float(scores[1:].max())


def test_captions_and_images_are_encoded_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    level = WordLevel(world.bank, world.damsm, world.vocabulary)
    encoded: list[int] = []
    encode, project = level._encode, level._project
    monkeypatch.setattr(level, "_encode", lambda rows: encoded.extend(rows) or encode(rows))
    monkeypatch.setattr(level, "_project", lambda items: encoded.extend(items) or project(items))
    words, sentence = torch.randn(3, 16), torch.randn(16)
    level.words_words(words, sentence, [1, 2])
    level.words_words(words, sentence, [2, 1, 2])
    assert sorted(encoded) == [2, 3, 4, 5]
    encoded.clear()
    level.words_image(words, [1, 2])
    level.words_image(words, [2, 5])
    assert encoded == [1, 2, 5]


def test_the_batch_does_not_change_the_scores(world: World) -> None:
    words, sentence = torch.randn(3, 16), torch.randn(16)
    level = WordLevel(world.bank, world.damsm, world.vocabulary)
    together, _ = level.words_words(words, sentence, list(range(24)))
    for item in range(24):
        alone = WordLevel(world.bank, world.damsm, world.vocabulary)
        assert torch.allclose(alone.words_words(words, sentence, [item])[0], together[item], atol=1e-5)


def test_what_is_kept_pins_no_more_than_itself(world: World) -> None:
    text = world.damsm.encode_captions([world.vocabulary.encode("this disc is red", 24)])
    level = WordLevel(world.bank, world.damsm, world.vocabulary)
    items = list(range(world.bank.n))
    level.words_words(text.words[0], text.sentence[0], items)
    level.words_image(text.words[0], items)
    for cache in (level._words, level._regions):
        assert len(cache) > 1
        assert all(kept.untyped_storage().nbytes() == kept.nbytes for kept in cache._held.values())
