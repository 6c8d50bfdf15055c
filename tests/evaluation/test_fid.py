from __future__ import annotations

import pytest
import torch
from torch import Tensor

from memdriven.errors import EvaluationError
from memdriven.evaluation.fid import frechet_distance


def whitened(n: int, d: int, seed: int) -> Tensor:
    """Samples whose mean is exactly 0 and whose unbiased covariance is exactly the identity."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x - x.mean(0)
    factor = torch.linalg.cholesky(x.T @ x / (n - 1))
    return torch.linalg.solve_triangular(factor, x.T, upper=False).T


def slow_reference(a: Tensor, b: Tensor) -> float:
    """Tr of the square root by symmetric eigenvalues: Tr (A^1/2 B A^1/2)^1/2."""
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(ca)
    root = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cb @ root).clamp_min(0).sqrt().sum()
    gap = (a.mean(0) - b.mean(0)).square().sum()
    return float(gap + ca.trace() + cb.trace() - 2 * cross)


def test_gaussians_with_a_closed_form() -> None:
    mean = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    scale_a = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    scale_b = torch.tensor([2.0, 2.0, 0.5], dtype=torch.float64)
    a, b = whitened(400, 3, 0) * scale_a, whitened(300, 3, 1) * scale_b + mean
    # Diagonal covariances: |mu|^2 + sum (sigma_a - sigma_b)^2.
    wanted = mean.square().sum() + (scale_a - scale_b).square().sum()
    assert frechet_distance(a, b) == pytest.approx(float(wanted), abs=1e-8)


@pytest.mark.parametrize("d", [4, 24])
def test_equals_the_symmetric_eigenvalue_form(d: int) -> None:
    g = torch.Generator().manual_seed(d)
    a = torch.randn(60, d, generator=g, dtype=torch.float64) @ torch.randn(
        d, d, generator=g, dtype=torch.float64
    )
    b = torch.randn(80, d, generator=g, dtype=torch.float64) + 0.3
    assert frechet_distance(a, b) == pytest.approx(slow_reference(a, b), rel=1e-6)


def test_a_set_is_at_no_distance_from_itself() -> None:
    a = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5)


def test_fewer_images_than_features_still_give_a_number() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(10, 32, generator=g), torch.rand(12, 32, generator=g)
    assert frechet_distance(a, b) == pytest.approx(slow_reference(a.double(), b.double()), rel=1e-3)


def test_other_widths_and_single_images_are_refused() -> None:
    with pytest.raises(EvaluationError, match="same network"):
        frechet_distance(torch.zeros(5, 3), torch.zeros(5, 4))
    with pytest.raises(EvaluationError, match="n >= 2"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))
