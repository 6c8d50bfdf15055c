from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from memdriven.errors import EvaluationError
from memdriven.evaluation.soa import named_classes, soa, torchvision_detector

CLASSES = [
    "person",
    "dog",
    "bus",
    "bench",
    "teddy bear",
    "bear",
    "knife",
    "tv",
    "hot dog",
    "orange",
    "mouse",
    "skis",
    "cat",
    "car",
    "bowl",
]


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("Two dogs, running.", {"dog"}),
        ("a man sits on BENCHES", {"person", "bench"}),
        ("a teddy bear", {"teddy bear"}),
        ("a teddy bear beside a bear", {"teddy bear", "bear"}),
        ("hot dogs, and a dog", {"hot dog", "dog"}),
        ("a hot dog", {"hot dog"}),
        ("train cars, and a toilet bowl", set()),
        ("an orange cat", {"cat"}),
        ("an orange and white cat", {"cat"}),
        ("an orange", {"orange"}),
        ("oranges in a bowl", {"orange", "bowl"}),
        ("an orange and a knife", {"orange", "knife"}),
        ("mice on one ski", {"mouse", "skis"}),
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


def test_an_image_counts_for_each_class_that_its_caption_names() -> None:
    images = torch.zeros(5, 3, 4, 4, dtype=torch.uint8)
    images[0] = 255
    found = soa(images, [{"dog"}, {"dog"}, {"dog"}, {"bus"}, set()], bright, batch=2)
    assert found == {"bus": (1, 1), "dog": (1, 3)}


def test_captions_without_classes_are_refused() -> None:
    with pytest.raises(EvaluationError, match="name a class"):
        soa(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), [set()], bright)


def small_faster_rcnn(**options: Any) -> nn.Module:
    """torchvision's Faster R-CNN with its 91 labels over a backbone of one layer."""
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.rpn import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    assert options == {"weights": None, "weights_backbone": None}
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8), nn.ReLU())
    backbone.out_channels = 4  # type: ignore[assignment]
    return FasterRCNN(
        backbone,
        91,
        min_size=32,
        max_size=32,
        rpn_anchor_generator=AnchorGenerator(((16,),), ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 2, 2),
        box_detections_per_img=5,
    )


def test_torchvisions_detector_reads_weights_and_names_what_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = small_faster_rcnn(weights=None, weights_backbone=None)
    bias = network.roi_heads.box_predictor.cls_score.bias  # type: ignore[union-attr]
    with torch.no_grad():
        bias[18] = 9.0  # label 18 is "dog"
    path = tmp_path / "detector.pth"
    torch.save(network.state_dict(), path)
    monkeypatch.setattr("torchvision.models.detection.fasterrcnn_resnet50_fpn_v2", small_faster_rcnn)
    detect, names = torchvision_detector(path)
    assert len(names) == 80
    assert {"person", "dog", "toothbrush"} <= set(names)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert detect(images.float() / 255) == [{"dog"}, {"dog"}]
    assert soa(images, [{"dog"}, {"bus"}], detect) == {"dog": (1, 1), "bus": (0, 1)}
    with torch.no_grad():
        bias[18] = 0.0
    torch.save(network.state_dict(), path)
    unsure, _ = torchvision_detector(path)
    assert unsure(images.float() / 255) == [set(), set()], "below the threshold"


def test_a_detector_without_its_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="--detector"):
        torchvision_detector(tmp_path / "absent.pth")
