from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from memdriven.errors import EvaluationError
from memdriven.explore.pyramid import mean_pairwise_pyramid


def flat(level: int) -> Image.Image:
    return Image.new("RGB", (16, 16), (level,) * 3)


def test_flat_pictures_differ_by_their_level_at_every_resolution() -> None:
    assert mean_pairwise_pyramid([flat(0), flat(51)]) == pytest.approx(0.2)
    assert mean_pairwise_pyramid([flat(0), flat(51), flat(102)]) == pytest.approx(0.8 / 3)
    assert mean_pairwise_pyramid([flat(9), flat(9)]) == 0


def test_fine_patterns_count_only_where_they_are_resolved() -> None:
    board = np.indices((16, 16)).sum(axis=0) % 2 * 255
    first = Image.fromarray(board.astype(np.uint8)).convert("RGB")
    second = Image.fromarray((255 - board).astype(np.uint8)).convert("RGB")
    assert mean_pairwise_pyramid([first, second]) == pytest.approx(0.25)


def test_one_picture_has_no_distance() -> None:
    with pytest.raises(EvaluationError):
        mean_pairwise_pyramid([flat(0)])
