from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from memdriven.aviary.render import render_birds
from memdriven.aviary.species import COLOURS, PLUMAGE, SRGB, sample_bird
from memdriven.data.prepared import Item
from memdriven.errors import CheckpointError, EvaluationError
from memdriven.evaluation import attributes
from memdriven.evaluation.attributes import (
    PART_SIDE,
    lab,
    mean_colours,
    measure_part_colours,
    named_classes,
    part_means,
    soa,
    torchvision_detector,
)
from memdriven.evaluation.context import Prompt
from memdriven.evaluation.rows import Row
from memdriven.models.noise import Noise, View


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[int, ...], expected: tuple[float, ...]) -> None:
    found = lab(torch.tensor(rgb, dtype=torch.float64)[:, None, None])
    assert found.flatten().tolist() == pytest.approx(expected, abs=0.02)


def test_a_part_of_few_pixels_has_no_colour() -> None:
    masks = torch.zeros(1, len(PLUMAGE), 8, 8, dtype=torch.bool)
    masks[0, 0, :2] = masks[0, 1, 0, :3] = True
    means = part_means(torch.ones(1, 3, 8, 8), masks)
    assert means[0, 0].tolist() == pytest.approx([100, 0, 0], abs=0.01)
    assert means[0, 1:].isnan().all()


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory whose wing is the left half and whose belly the right one, in plain colours."""
    mask = torch.zeros(len(PLUMAGE), PART_SIDE, PART_SIDE, dtype=torch.bool)
    mask[PLUMAGE.index("wing"), :, : PART_SIDE // 2] = mask[PLUMAGE.index("belly"), :, PART_SIDE // 2 :] = (
        True
    )
    plain = torch.tensor([SRGB[name] for name in COLOURS]).T[:, :, None] / 255  # (3, 14, 1)
    monkeypatch.setattr(attributes, "_part_map", lambda *sighting: mask)
    monkeypatch.setattr(attributes, "mean_colours", lambda: lab(plain)[:, 0].expand(len(PLUMAGE), -1, -1))


def painted(left: str, right: str) -> Tensor:
    image = torch.tensor(SRGB[left], dtype=torch.uint8)[None, :, None, None].repeat(
        1, 1, PART_SIDE, PART_SIDE
    )
    image[0, :, :, PART_SIDE // 2 :] = torch.tensor(SRGB[right], dtype=torch.uint8)[:, None, None]
    return image


def measured(
    image: Tensor, mirror: float | None, name: str = "aviary", reference: str = "aviary-0001-0002"
) -> Any:
    item = Item(id="x", split="test", captions=("a bird",))
    context = SimpleNamespace(
        prompts=[
            Prompt(item=item, caption="a bird", named={"wing": "red", "belly": "blue", "size": "small"})
        ],
        dataset=SimpleNamespace(header={"seed": 0}, name=name),
        checkpoint=SimpleNamespace(generator=None),
    )
    row = Row(name="model", images=image, drew_on=[reference], seeds=None if mirror is None else range(7, 8))
    return measure_part_colours(context, row)  # type: ignore[arg-type]


@pytest.mark.usefixtures("halves")
def test_a_parts_colour_is_looked_for_where_the_noise_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def noise(seed: int, generator: Any) -> Noise:
        return Noise(torch.zeros(1, 1), torch.zeros(1, 1), View(mirrored=1.0))

    monkeypatch.setattr(attributes, "draw_noise", noise)
    (plain,) = measured(painted("red", "blue"), None)
    assert (plain.value, plain.details) == (
        1.0,
        {"wing": {"right": 1, "count": 1}, "belly": {"right": 1, "count": 1}},
    )
    assert measured(painted("blue", "red"), None)[0].value == 0
    assert measured(painted("blue", "red"), 1.0)[0].value == 1, "mirrored"
    assert measured(painted("red", "white"), None)[0].value == 0.5


@pytest.mark.usefixtures("halves")
def test_other_memories_are_refused() -> None:
    for given in ({"name": "cub"}, {"reference": "own-1"}):
        with pytest.raises(EvaluationError, match="from Aviary"):
            measured(painted("red", "blue"), None, **given)


def test_renders_of_unseen_species_are_read_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "RENDERS", 12)
    mean_colours.cache_clear()
    specs = [sample_bird(150 + 3 * i, i, 5) for i in range(3)]
    pictures, parts = render_birds(specs, PART_SIDE)
    shown = attributes.shown_colours(pictures, attributes._masks(parts))
    mean_colours.cache_clear()
    right = [spec.attributes[part] == name for spec, seen in zip(specs, shown) for part, name in seen.items()]
    assert len(right) > 12
    assert sum(right) / len(right) > 0.7


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
    torchvision_detector.cache_clear()
    unsure, _ = torchvision_detector(path)
    assert unsure(images.float() / 255) == [set(), set()], "below the threshold"


def test_a_detector_without_its_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.pth"):
        torchvision_detector(tmp_path / "absent.pth")
