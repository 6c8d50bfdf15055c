"""What a caption names, and whether a picture shows it, as the model's own readers see it.

They are those that choose among memories (`choosing`) and whose loss G was taught by
(`loss.attribute_weight`): an account of what the model aims at, not a judgement from outside, for
which `evaluation` has a judge of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memdriven.checkpoint import Checkpoint
from memdriven.encoders.image import CompactBackbone
from memdriven.encoders.text import TextFeatures

NAMED = 0.5
"""Probability above which a caption counts as naming a value."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One thing that a caption names."""

    attribute: str
    wanted: str
    """The value that the caption names."""
    seen: str
    """The value that the picture shows most likely."""
    probability: float
    """Of the wanted value in the picture, in 0..1."""

    @property
    def holds(self) -> bool:
        """Whether the picture shows what was wanted."""
        return self.wanted == self.seen


@torch.inference_mode()
def claims(checkpoint: Checkpoint, text: TextFeatures, image: Tensor) -> tuple[Claim, ...]:
    """Return what one caption names, with what a picture shows of it; nothing without readers.

    Args:
        checkpoint: the model.
        text: the caption's embeddings, not guided.
        image: (1, 3, h, w) in [-1, 1], on the model's device.
    """
    attributes, pixels = checkpoint.attributes, checkpoint.damsm.pixels
    if attributes is None or attributes.reader is None or not isinstance(pixels, CompactBackbone):
        return ()
    maps = pixels.maps((image.float() + 1) / 2)
    named, seen = attributes.reader.named(text)[0], attributes.head(maps)[0].softmax(dim=1)
    found = []
    for row, (name, values) in enumerate(attributes.values.items()):
        share, value = named[row, : len(values)].max(dim=0)
        if float(share) > NAMED:
            found.append(
                Claim(
                    attribute=name,
                    wanted=values[int(value)],
                    seen=values[int(seen[row].argmax())],
                    probability=float(seen[row, value]),
                )
            )
    return tuple(found)
