from __future__ import annotations

import math
import sys
import warnings

import pytest
import torch
from torch import Tensor
from torchmetrics.image.inception import InceptionScore

from memdriven.errors import EvaluationError
from memdriven.evaluation.distances import Precomputed, frechet_distance, inception_score, kernel_distance


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
    found = kernel_distance(x, y, subsets=3, subset_size=14)
    assert found.mean == pytest.approx(slow_mmd(x, y), rel=1e-9)
    assert math.isnan(found.std), "three times the same images have no spread"
    assert kernel_distance(x, y, subsets=3, subset_size=7).std > 0


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


def test_certain_and_evenly_spread_classes_score_their_number() -> None:
    logits = torch.nn.functional.one_hot(torch.arange(200) % 5).float() * 100
    assert inception_score(logits, splits=1).mean == pytest.approx(5, rel=1e-3)


def test_undecided_classifier_scores_one() -> None:
    found = inception_score(torch.zeros(100, 7))
    assert found.mean == pytest.approx(1)
    assert found.std == pytest.approx(0, abs=1e-6)


def test_equals_a_slow_reference() -> None:
    logits = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).double()
    p = logits.softmax(1)
    marginal = p.mean(0)
    divergences = [sum(float(q * (q / m).log()) for q, m in zip(row, marginal)) for row in p]
    wanted = torch.tensor(sum(divergences) / 40).exp()
    assert inception_score(logits, splits=1).mean == pytest.approx(float(wanted), rel=1e-6)


def test_ten_splits_are_ten() -> None:
    """As torchmetrics where n is a multiple of ten; of 11 images it makes six splits."""
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(3)).double()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)
        torch.manual_seed(4)
        metric = InceptionScore(feature=Precomputed(6), splits=10)
        metric.update(logits)
        mean, std = metric.compute()
    found = inception_score(logits, seed=4)
    assert (found.mean, found.std) == pytest.approx((float(mean), float(std)), rel=1e-6)
    certain = torch.nn.functional.one_hot(torch.arange(11), 11) * 100.0
    assert sorted({len(part) for part in certain.tensor_split(10)}) == [1, 2]
    assert inception_score(certain).mean == pytest.approx((2 + 9 * 1) / 10, rel=1e-6)


def test_without_torchmetrics_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(EvaluationError, match=r"memdriven\[evaluation\]"):
        frechet_distance(torch.rand(5, 3), torch.rand(5, 3))


def test_fewer_images_than_splits_are_refused() -> None:
    with pytest.raises(EvaluationError, match="n >= 10"):
        inception_score(torch.zeros(9, 3))
