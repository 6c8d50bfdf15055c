"""Score functions against plain loops over numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from memdriven.memory import scores


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def cos(a: Tensor, b: Tensor) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a) * sum(float(y) ** 2 for y in b))


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def soft_max(values: list[float], gamma: float) -> float:
    return (math.log(sum(math.exp(gamma * v) for v in values)) - math.log(len(values))) / gamma


def test_sentence_scores() -> None:
    keys, sentence = unit(rows(9, 5)), 3 * rows(5, seed=1)
    owner = torch.tensor([0, 0, 1, 2, 2, 2, 2, 3, 3])
    found, best = scores.sentence_scores(sentence, keys, owner, 4)
    for item in range(4):
        own = [row for row in range(9) if owner[row] == item]
        each = [cos(sentence, keys[row]) for row in own]
        assert float(found[item]) == pytest.approx(max(each), abs=1e-6)
        assert int(best[item]) == own[each.index(max(each))]


def test_the_first_of_equal_captions_is_the_best() -> None:
    keys = unit(torch.ones(4, 3))
    _, best = scores.sentence_scores(torch.ones(3), keys, torch.tensor([0, 0, 1, 1]), 2)
    assert best.tolist() == [0, 2]


def test_words_words_scores() -> None:
    query, stored = rows(3, 6), rows(4, 5, 6, seed=1)
    lengths = [5, 1, 3, 4]
    mask = torch.tensor([[place < length for place in range(5)] for length in lengths])
    found = scores.words_words_scores(query, stored, mask)
    for caption, length in enumerate(lengths):
        cosines = []
        for e in query:
            words = stored[caption, :length]
            attention = softmax([4.0 * cos(e, word) for word in words])
            context = sum(a * word for a, word in zip(attention, words, strict=True))
            cosines.append(cos(e, context))
        assert float(found[caption]) == pytest.approx(soft_max(cosines, 5.0), abs=1e-5)


def test_a_caption_of_one_word_meets_itself_fully() -> None:
    word = rows(1, 6)
    found = scores.words_words_scores(word, word[None], torch.ones(1, 1, dtype=torch.bool))
    assert float(found) == pytest.approx(1.0, abs=1e-6)


def test_words_image_scores() -> None:
    query, regions = rows(3, 6), rows(4, 7, 6, seed=1)
    found = scores.words_image_scores(query, regions)
    for image in range(4):
        dots = [[float(r @ e) for e in query] for r in regions[image]]
        over_words = [softmax(line) for line in dots]
        cosines = []
        for i, e in enumerate(query):
            attention = softmax([4.0 * line[i] for line in over_words])
            context = sum(a * r for a, r in zip(attention, regions[image], strict=True))
            cosines.append(cos(context, e))
        assert float(found[image]) == pytest.approx(soft_max(cosines, 5.0), abs=1e-4)


def test_repeating_a_query_word_does_not_raise_its_score() -> None:
    regions, word = rows(2, 5, 6), rows(1, 6, seed=3)
    mask = torch.ones(2, 5, dtype=torch.bool)
    once = scores.words_words_scores(word, regions, mask)
    twice = scores.words_words_scores(word.repeat(2, 1), regions, mask)
    assert torch.allclose(once, twice, atol=1e-6)


def test_z_scores() -> None:
    values = [3.0, -1.0, 2.0, 2.0]
    mean = sum(values) / 4
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / 4)
    found = scores.z_scores(torch.tensor(values))
    assert found.tolist() == pytest.approx([(v - mean) / deviation for v in values], abs=1e-6)
    assert scores.z_scores(torch.full((5,), 0.7)).tolist() == [0.0] * 5
    assert scores.z_scores(torch.tensor([0.3])).tolist() == [0.0]


def test_fuse() -> None:
    a, b, c = (rows(6, seed=seed) for seed in range(3))
    scale = scores.z_scores
    found = scores.fuse([a, b], [c], 0.3)
    for place in range(6):
        text = (float(scale(a)[place]) + float(scale(b)[place])) / 2
        wanted = 0.3 * text + 0.7 * float(scale(c)[place])
        assert float(found[place]) == pytest.approx(wanted, abs=1e-6)
    assert scores.top(scores.fuse([a], [b], 1.0), 6).tolist() == scores.top(a, 6).tolist()
    assert scores.top(scores.fuse([a], [b], 0.0), 6).tolist() == scores.top(b, 6).tolist()


def test_top_prefers_the_first_of_equal_scores() -> None:
    assert scores.top(torch.tensor([1.0, 3.0, 1.0, 3.0, 2.0]), 4).tolist() == [1, 3, 4, 0]


def test_percentiles_count_what_is_lower() -> None:
    values = [0.5, 0.1, 0.5, 0.9, 0.3]
    found = scores.percentiles(torch.tensor(values), torch.tensor(values))
    wanted = [100 * sum(other < value for other in values) / 5 for value in values]
    assert found.tolist() == pytest.approx(wanted)
    found = scores.percentiles(torch.tensor([0.0, 2.5, 9.0]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert found.tolist() == [0, 50, 100]
