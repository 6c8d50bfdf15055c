from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.errors import EvaluationError
from memdriven.evaluation.diversity import diversity, mean_pairwise_distance


def maps(images: Tensor) -> list[Tensor]:
    return [images, F.avg_pool2d(images, 2)]


def test_equals_a_loop_over_pairs() -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    total, pairs = 0.0, 0
    for i in range(4):
        for j in range(i):
            for depth in maps(images):
                a, b = (depth[k] / depth[k].norm(dim=0) for k in (i, j))
                total += float((a - b).square().sum(0).mean())
            pairs += 1
    assert mean_pairwise_distance(images, maps) == pytest.approx(total / pairs, rel=1e-5)


def test_equal_images_have_none_and_one_image_is_refused() -> None:
    same = torch.rand(1, 3, 8, 8).expand(5, 3, 8, 8)
    assert mean_pairwise_distance(same, maps) == pytest.approx(0, abs=1e-8)
    with pytest.raises(EvaluationError, match="two images"):
        mean_pairwise_distance(same[:1], maps)


def test_groups_are_averaged_not_mixed() -> None:
    red, green = torch.zeros(2, 3, 8, 8)
    red[0], green[1] = 1, 1
    apart_only_between = torch.stack([red.expand(3, 3, 8, 8), green.expand(3, 3, 8, 8)])
    assert diversity(apart_only_between, maps) == pytest.approx(0, abs=1e-8)
