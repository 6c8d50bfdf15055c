"""Losses beyond the adversarial ones, against closed forms."""

from __future__ import annotations

import torch

from memdriven import losses


def test_diversity_is_the_ratio_of_distances_up_to_a_limit() -> None:
    first = torch.zeros(2, 3, 4, 4)
    second = torch.stack([torch.full((3, 4, 4), 0.2), torch.full((3, 4, 4), -0.6)])
    z, other = torch.zeros(2, 5), torch.full((2, 5), 2.0)
    found = losses.diversity(first, second, z, other, limit=1.0)
    torch.testing.assert_close(found, torch.tensor(-(0.1 + 0.3) / 2))
    found = losses.diversity(first, second, z, other, limit=0.2)
    torch.testing.assert_close(found, torch.tensor(-(0.1 + 0.2) / 2))
    assert losses.diversity(first, first, z, z, limit=0.2) == 0, "the same noise divides by nothing"


def test_diversity_pulls_apart_only_below_the_limit() -> None:
    second = torch.full((1, 3, 4, 4), 0.2, requires_grad=True)
    z, other = torch.zeros(1, 5), torch.ones(1, 5)
    for limit, pulled in ((1.0, True), (0.1, False)):
        value = losses.diversity(torch.zeros(1, 3, 4, 4), second, z, other, limit)
        (gradient,) = torch.autograd.grad(value, second)
        assert bool((gradient < 0).all()) == pulled
        assert bool(gradient.abs().sum() > 0) == pulled
