from __future__ import annotations

import pytest
import torch
from torch import Tensor

from memdriven.errors import EvaluationError
from memdriven.evaluation.kid import kernel_distance


def slow_mmd(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD by double loops over pairs."""
    d = x.shape[1]

    def kernel(a: Tensor, b: Tensor) -> float:
        return (float((a * b).sum()) / d + 1) ** 3

    n, m = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(kernel(a, b) for a in x for b in y) / (n * m)
    return xx + yy - 2 * xy


def test_one_subset_of_everything_equals_the_double_loop() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(14, 5, generator=g, dtype=torch.float64)
    y = torch.randn(14, 5, generator=g, dtype=torch.float64) + 0.5
    found = kernel_distance(x, y, subsets=1, subset_size=14)
    assert found.mean == pytest.approx(slow_mmd(x, y), rel=1e-9)
    assert found.std == 0


def test_unbiased_near_zero_for_one_distribution_and_large_for_two() -> None:
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 300, 6, generator=g)
    same = kernel_distance(x, y, subsets=40, subset_size=50)
    other = kernel_distance(x, y + 1, subsets=40, subset_size=50)
    assert abs(same.mean) < 3 * same.std / 40**0.5 + 0.02
    assert other.mean > 10 * abs(same.mean)


def test_same_seed_same_number_and_caller_keeps_his_random_state() -> None:
    x, y = torch.randn(2, 40, 4, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert kernel_distance(x, y, subset_size=10) == kernel_distance(x, y, subset_size=10)
    assert torch.equal(before, torch.get_rng_state())


def test_a_single_image_is_refused() -> None:
    with pytest.raises(EvaluationError):
        kernel_distance(torch.zeros(1, 3), torch.zeros(9, 3))
