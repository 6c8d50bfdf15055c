"""Local weight files that measures may need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Local files that measures may need; what is absent is left out and named."""

    judge: Path | None = None
    """Folder of an attribute judge (train-judge)."""
    vgg: Path | None = None
    """VGG-16 weights; without it $MEMDRIVEN_VGG16 or torchvision's download."""
    squeezenet: Path | None = None
    """SqueezeNet 1.1 weights; without it $MEMDRIVEN_SQUEEZENET or torchvision's download."""
    inception_a: Path | None = None
    """The 2015 TensorFlow Inception weights as torch-fidelity publishes them, for FID forms a and
    c and the Inception score; without it torch-fidelity's download."""
    inception_b: Path | None = None
    """torchvision's Inception-v3 weights, for FID form b; without it its download."""
    detector: Path | None = None
    """torchvision's fasterrcnn_resnet50_fpn_v2 weights, for SOA; without it its download."""
