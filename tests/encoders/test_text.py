from __future__ import annotations

import torch

from memdriven.config import TextConfig
from memdriven.encoders.text import TextEncoder

CONFIG = TextConfig(embedding_dim=12, dim=8)


def _encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(20, CONFIG).eval()


def test_shapes_and_mask() -> None:
    ids = torch.tensor([[3, 4, 5, 0], [6, 0, 0, 0]])
    features = _encoder()(ids, torch.tensor([3, 1]))
    assert features.words.shape == (2, 4, 8)
    assert features.sentence.shape == (2, 8)
    assert features.mask.tolist() == [[True, True, True, False], [True, False, False, False]]
    assert not features.words[~features.mask].any()


def test_results_depend_neither_on_padding_nor_on_the_batch() -> None:
    encoder = _encoder()
    captions = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 3, 2]]
    ids = torch.zeros(3, 9, dtype=torch.int64)
    for row, caption in zip(ids, captions, strict=True):
        row[: len(caption)] = torch.tensor(caption)
    together = encoder(ids, torch.tensor([3, 1, 7]))
    for number, caption in enumerate(captions):
        alone = encoder(torch.tensor([caption]), torch.tensor([len(caption)]))
        assert torch.allclose(together.words[number, : len(caption)], alone.words[0], atol=1e-6)
        assert torch.allclose(together.sentence[number], alone.sentence[0], atol=1e-6)
        assert torch.allclose(together.words_mean[number], alone.words[0].mean(0), atol=1e-6)


def test_the_sentence_is_the_last_state_of_each_direction() -> None:
    features = _encoder()(torch.tensor([[3, 4, 5, 0, 0]]), torch.tensor([3]))
    assert torch.allclose(features.sentence[0, :4], features.words[0, 2, :4])
    assert torch.allclose(features.sentence[0, 4:], features.words[0, 0, 4:])


def test_every_parameter_learns_and_padding_stays_zero() -> None:
    encoder = _encoder().train()
    features = encoder(torch.tensor([[3, 4, 0]]), torch.tensor([2]))
    (features.words.square().sum() + features.sentence.sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.any(), name
    assert encoder.embedding.weight.grad is not None
    assert not encoder.embedding.weight.grad[0].any()
    assert not encoder.embedding.weight[0].any()
