from __future__ import annotations

import pytest
import torch

from memdriven.errors import EvaluationError
from memdriven.evaluation.distances import SUSPECT, copy_check, nearest_distances, percentile

TRAINING = torch.randn(1100, 6, generator=torch.Generator().manual_seed(0))


def test_nearest_distances_equal_a_loop_across_blocks() -> None:
    found = nearest_distances(TRAINING, TRAINING, skip_self=True)
    for i in (0, 511, 512, 600, 1099):
        gaps = (TRAINING.double() - TRAINING[i].double()).norm(dim=1)
        gaps[i] = float("inf")
        assert float(found[i]) == pytest.approx(float(gaps.min()), abs=1e-6)


def test_percentile_counts_what_is_smaller() -> None:
    found = percentile(torch.tensor([0.0, 2.5, 9.0]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert found.tolist() == [0, 50, 100]


def test_copies_are_at_zero_and_new_images_are_not() -> None:
    copies = copy_check([TRAINING[:50] + 1e-5], TRAINING, torch.arange(50))
    assert copies.neighbour is not None
    assert copies.nearest.max() == copies.neighbour.max() == 0
    fresh = torch.randn(400, 6, generator=torch.Generator().manual_seed(1))
    found = copy_check([fresh], TRAINING)
    assert 40 < found.nearest.median() < 60
    assert (found.nearest < SUSPECT).float().mean() < 0.04
    assert found.neighbour is None


def test_the_nearer_of_several_views_counts() -> None:
    fresh = torch.randn(50, 6, generator=torch.Generator().manual_seed(1)) + 3
    found = copy_check([fresh, TRAINING[:50]], TRAINING, torch.arange(50))
    assert found.neighbour is not None
    assert found.nearest.max() == found.neighbour.max() == 0


def test_neighbours_may_be_missing_for_some() -> None:
    found = copy_check([TRAINING[:2]], TRAINING, torch.tensor([-1, 900]))
    assert found.neighbour is not None
    assert len(found.neighbour) == 1


def test_a_tiny_training_set_is_refused() -> None:
    with pytest.raises(EvaluationError, match="three training images"):
        copy_check([TRAINING[:2]], TRAINING[:2])


def test_features_that_are_no_numbers_are_no_proof_of_difference() -> None:
    with pytest.raises(EvaluationError, match="than numbers"):
        copy_check([torch.full((2, TRAINING.shape[1]), torch.nan)], TRAINING)


def test_training_images_that_are_all_one_are_refused() -> None:
    with pytest.raises(EvaluationError, match="differ from each other"):
        copy_check([torch.randn(2, 4)], torch.ones(5, 4))


def test_a_copy_of_what_the_noise_saw_is_a_copy() -> None:
    """The part of a memory that a picture saw counts, though the whole of it is far."""
    fresh = torch.randn(50, TRAINING.shape[1], generator=torch.Generator().manual_seed(5)) + 3
    rows = torch.arange(50)
    rows[0] = -1
    alone = copy_check([fresh], TRAINING, rows)
    assert (alone.nearest > 1).all()
    found = copy_check([fresh], TRAINING, rows, fresh + 1e-6)
    assert found.neighbour is not None
    assert found.neighbour.max() == 0
    assert found.nearest[1:].max() == 0
    assert found.nearest[0] == alone.nearest[0], "no memory, nothing seen"
