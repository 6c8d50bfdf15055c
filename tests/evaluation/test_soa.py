from __future__ import annotations

import pytest
import torch
from torch import Tensor

from memdriven.errors import EvaluationError
from memdriven.evaluation.soa import named_classes, soa

CLASSES = ["person", "dog", "bus", "bench", "teddy bear", "bear", "knife", "tv"]


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("Two dogs, running.", {"dog"}),
        ("a man sits on BENCHES", {"person", "bench"}),
        ("a teddy bear", {"teddy bear", "bear"}),
        ("knives near a television", {"knife", "tv"}),
        ("two buses", {"bus"}),
        ("a hotdog", set()),
    ],
)
def test_classes_named_by_a_caption(caption: str, found: set[str]) -> None:
    assert named_classes(caption, CLASSES) == found


def bright(images: Tensor) -> list[set[str]]:
    """A detector that sees a dog in bright pictures, and a bus in all."""
    return [{"bus"} | ({"dog"} if float(image.mean()) > 0.5 else set()) for image in images]


def test_class_and_image_means_differ() -> None:
    images = torch.zeros(5, 3, 4, 4, dtype=torch.uint8)
    images[0] = 255
    found = soa(images, [{"dog"}, {"dog"}, {"dog"}, {"bus"}, set()], bright, batch=2)
    assert found.by_class == pytest.approx((1 / 3 + 1) / 2)
    assert found.by_image == pytest.approx(2 / 4)
    assert found.classes == {"bus": (1, 1), "dog": (1, 3)}


def test_captions_without_classes_are_refused() -> None:
    with pytest.raises(EvaluationError, match="name a class"):
        soa(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), [set()], bright)
