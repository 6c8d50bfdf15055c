from __future__ import annotations

import pytest
import torch

from memdriven.errors import EvaluationError
from memdriven.evaluation.inception_score import inception_score


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


def test_fewer_images_than_splits_are_refused() -> None:
    with pytest.raises(EvaluationError, match="n >= 10"):
        inception_score(torch.zeros(9, 3))
