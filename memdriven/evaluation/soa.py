"""Semantic object accuracy: does a detector find what the caption names (Hinz et al. 2020)?

For captions that name one of the detector's classes, three images each are generated; an image
counts when the detector finds the class at all. SOA-C is the mean over classes, SOA-I over
images. The published numbers used YOLOv3 at 0.5; here torchvision's detectors stand in, so the
detector is part of the protocol's name.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from memdriven.encoders.weights import read_weights
from memdriven.errors import EvaluationError, require
from memdriven.evaluation.context import Context
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import IMAGES, Row, make_row

IMAGES_PER_CAPTION = 3
THRESHOLD = 0.5

Detector = Callable[[Tensor], list[set[str]]]
"""Float images (b, 3, h, w) in [0, 1] to the class names found in each."""

COCO_WORDS: dict[str, tuple[str, ...]] = {
    "person": ("man", "woman", "boy", "girl", "child", "people", "men", "women", "children"),
    "bicycle": ("bike",),
    "motorcycle": ("motorbike", "scooter"),
    "airplane": ("plane", "aeroplane", "jet"),
    "couch": ("sofa",),
    "tv": ("television", "monitor"),
    "cell phone": ("cellphone", "phone"),
    "dog": ("puppy",),
    "cat": ("kitten",),
    "donut": ("doughnut",),
    "potted plant": ("houseplant",),
    "refrigerator": ("fridge",),
    "hair drier": ("hair dryer",),
    "sports ball": ("ball",),
    "mouse": ("mice", "computer mouse"),
    "dining table": ("table", "desk"),
    "tennis racket": ("racket", "racquet"),
    "fire hydrant": ("hydrant",),
    "surfboard": ("surf board",),
    "skis": ("ski",),
}
"""Words of captions that stand for a class, beside its own name and plural [ours]."""
FALSE_FRIENDS = ("train car", "cable car", "street car", "toilet bowl")
"""Phrases that hold a class's word and mean something else [ours]."""
COLOURS = ("orange",)
NO_NOUNS = (
    *("on", "in", "at", "with", "of", "to", "is", "are", "that", "which", "next", "near", "by"),
    *("beside", "behind", "under", "for", "from", "sitting", "laying", "lying", "being", "cut", "and a"),
    *("and an", "and some", "and other"),
)
"""What may follow a colour's word where it is the thing and not the colour [ours]."""


def named_classes(caption: str, classes: Sequence[str]) -> set[str]:
    """Return the classes that a caption names, singular or plural, by name or by `COCO_WORDS`.

    Longer names come first and use their words up: a hot dog is no dog. A colour that is also a
    thing (`COLOURS`) counts where no noun follows it.
    """
    text = " " + " ".join(re.findall(r"\w+", caption.lower())) + " "
    words = dict.fromkeys(FALSE_FRIENDS, "")
    words |= {word: name for name in classes for word in (name.lower(), *COCO_WORDS.get(name, ()))}
    forms = [(form, name) for word, name in words.items() for form in (word, _plural(word))]
    found = set()
    for form, name in sorted(forms, key=lambda pair: -len(pair[0])):
        behind = rf" (?=$|(?:{'|'.join(NO_NOUNS)}) )" if form in COLOURS else " "
        text, count = re.subn(rf" {re.escape(form)}{behind}", " , ", text)
        if count and name:
            found.add(name)
    return found


def _plural(word: str) -> str:
    if word.endswith(("s", "sh", "ch", "x")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word[:-2] + "ves" if word.endswith("fe") else word + "s"


def soa(
    images: Tensor, named: Sequence[set[str]], detector: Detector, *, batch: int = 16
) -> dict[str, tuple[int, int]]:
    """Return in how many images, uint8 (n, 3, h, w), each class is found, and how many captions name it.

    Raises:
        EvaluationError: no caption names a class.
    """
    keep = [i for i, classes in enumerate(named) if classes]
    fix = "use captions of everyday objects, e.g. COCO's"
    require(keep, EvaluationError, "captions that name a class of the detector", "none", fix)
    found, count = Counter[str](), Counter[str]()
    for start in range(0, len(keep), batch):
        chosen = keep[start : start + batch]
        for i, present in zip(chosen, detector(images[chosen].float() / 255), strict=True):
            found.update(named[i] & present)
            count.update(named[i])
    return {name: (found[name], count[name]) for name in sorted(count)}


def torchvision_detector(weights: Path | None = None, device: str = "cpu") -> tuple[Detector, list[str]]:
    """Return Faster R-CNN (ResNet-50 FPN v2) as a detector, and the names of its 80 classes.

    `weights` is a local state dict in torchvision's layout; None downloads torchvision's.

    Raises:
        EvaluationError: the weights are neither here nor to be had.
    """
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_V2_Weights, fasterrcnn_resnet50_fpn_v2

    source = FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1
    categories: list[str] = list(source.meta["categories"])
    try:
        state = read_weights(weights) if weights else source.get_state_dict(progress=True, check_hash=True)
        network = fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
        network.load_state_dict(state)
    except Exception as error:
        wanted = f"a detector's weights ({weights or 'torchvision download'})"
        fix = "give torchvision's fasterrcnn_resnet50_fpn_v2 file by --detector"
        raise EvaluationError(wanted, f"{type(error).__name__}: {error}"[:160], fix) from error
    network = network.to(device).eval()

    @torch.no_grad()
    def detect(images: Tensor) -> list[set[str]]:
        return [
            {categories[int(label)] for label in one["labels"][one["scores"] >= THRESHOLD]}
            for one in network(list(images.to(device)))
        ]

    return detect, [name for name in categories if name not in ("__background__", "N/A")]


_detector = functools.lru_cache(maxsize=1)(torchvision_detector)  # loaded once for all rows


def measure_soa(context: Context, row: Row) -> list[Measurement]:
    """SOA-C and SOA-I (in %): three images a caption where they are generated, else one."""
    detector, classes = _detector(context.protocol.detector, context.device)
    named = [named_classes(prompt.caption, classes) for prompt in context.prompts]
    images, times = row.images, 1
    if row.name not in IMAGES:
        times = IMAGES_PER_CAPTION
        naming = [prompt for prompt, found in zip(context.prompts, named, strict=True) if found]
        named = [found for found in named if found for _ in range(times)]
        repeated = [prompt for prompt in naming for _ in range(times)]
        images = make_row(context, row.name, repeated, f"{row.name}-soa").images
    counts = soa(images, named, detector)
    right, count = map(sum, zip(*counts.values(), strict=True))
    by_class = sum(hit / total for hit, total in counts.values())
    protocol = f"torchvision Faster R-CNN R50-FPN-v2 at {THRESHOLD}, {times} image(s) a caption"
    details = {name: list(tally) for name, tally in counts.items()}
    return [
        Measurement("soa_c", 100 * by_class / len(counts), len(images), protocol, details),
        Measurement("soa_i", 100 * (right / count), len(images), protocol),
    ]
