"""Reading off words what a caption names: written out again, word by word."""

from __future__ import annotations

import math

import torch

from memdriven.data.vocabulary import IGNORED
from memdriven.encoders.readers import FLOOR, CaptionReader, agreement, reading_loss, where_silent
from memdriven.encoders.text import TextFeatures

VALUES = {"crown": ("blue", "green", "red"), "crest": ("no", "yes")}


def reader_and_text() -> tuple[CaptionReader, TextFeatures]:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        reader = CaptionReader(6, VALUES)
    reader.requires_grad_(False).bias.copy_(torch.randn(reader.bias.shape, generator=generator))
    words = torch.randn(2, 5, 6, generator=generator)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    return reader, TextFeatures(words * mask[..., None], torch.randn(2, 6), mask)


def test_each_attribute_looks_at_its_words() -> None:
    reader, text = reader_and_text()
    found = reader(text)
    assert found.shape == (2, 2, 4)
    for caption, length in enumerate((5, 3)):
        words = text.words[caption, :length].double()
        for row, values in enumerate(VALUES.values()):
            query = reader.look.weight[row].double()
            weights = [math.exp(float(word @ query)) for word in words]
            pooled = sum(w * word for w, word in zip(weights, words)) / sum(weights)
            for value in [*range(len(values)), 3]:
                wanted = float(reader.weight[row, value].double() @ pooled + reader.bias[row, value])
                assert math.isclose(float(found[caption, row, value]), wanted, abs_tol=1e-5)
    assert found[:, 1, 2].eq(float("-inf")).all(), "the second attribute has two values"


def test_padding_changes_nothing() -> None:
    reader, text = reader_and_text()
    short = TextFeatures(text.words[1:, :3], text.sentence[1:], text.mask[1:, :3])
    torch.testing.assert_close(reader(short)[0], reader(text)[1])


def test_what_is_left_to_one_is_not_named() -> None:
    reader, text = reader_and_text()
    named, whole = reader.attribute_probs(text), reader(text).softmax(2)
    assert named.shape == (2, 2, 3)
    torch.testing.assert_close(1 - named.sum(2), whole[..., 3])


def test_an_unnamed_attribute_is_a_label_too() -> None:
    reader, text = reader_and_text()
    logits = reader(text)
    labels = torch.tensor([[1, IGNORED], [IGNORED, 0]])
    log_p = logits.log_softmax(2)
    wanted = -(log_p[0, 0, 1] + log_p[0, 1, 3] + log_p[1, 0, 3] + log_p[1, 1, 0]) / 4
    torch.testing.assert_close(reading_loss(logits, labels), wanted)


def test_agreement_is_the_expected_log_likelihood_with_a_floor() -> None:
    named = torch.tensor([[0.75, 0.0, 0.25], [0.0, 0.5, 0.0]])
    shown = torch.tensor([[0.5, 0.25, 0.25], [0.001, 0.999, 0.0]]).log()[None]
    wanted = 0.75 * math.log(0.5) + 0.25 * math.log(0.25) + 0.5 * math.log(0.999)
    assert math.isclose(float(agreement(named, shown)), wanted, rel_tol=1e-5)
    hidden = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert float(agreement(hidden, shown)) == FLOOR
    assert float(agreement(torch.zeros(2, 3), shown)) == 0


def test_what_is_asked_fills_what_a_caption_leaves_open() -> None:
    named = torch.tensor([[0.1, 0.2, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.3, 0.0, 0.0]])
    asked = torch.tensor([[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 0.5, 0.0]]])
    wanted = torch.tensor([[0.0, 0.0, 0.7, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.35, 0.0]])
    torch.testing.assert_close(where_silent(named, asked), wanted)
