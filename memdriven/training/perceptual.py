"""How unlike two pictures look to DAMSM's frozen pixel network, map by map [ours]."""

from __future__ import annotations

import torch
from torch import Tensor

from memdriven.encoders.damsm import Damsm
from memdriven.encoders.image import CompactBackbone
from memdriven.errors import TrainingError


class Perceptual:
    """Distance in the maps of a network that was trained on what captions name.

    A perceptual loss (Johnson et al. 2016) without ImageNet's networks, which are to measure the
    pictures later. Each map's distance is a share of the real picture's own size there, so that
    fine and coarse ones count alike. Pictures are seen at their own size, whatever the network's:
    reduced, a later stage's details would not count.

    Args:
        damsm: trained encoders with the compact pixel network.

    Raises:
        TrainingError: they have another one.
    """

    def __init__(self, damsm: Damsm) -> None:
        if not isinstance(damsm.pixels, CompactBackbone):
            raise TrainingError(
                wanted="encoders with the compact pixel network, for loss.perceptual_weight",
                found="encoders without it",
                fix="train them with damsm.pixel_backbone compact, or set the weight to 0",
            )
        self.network = damsm.pixels

    def __call__(self, fake: Tensor, real: Tensor, own: Tensor) -> Tensor:
        """Return the mean distance of the images whose target is known.

        Args:
            fake: generated images (b, 3, s, s) in [-1, 1].
            real: their targets, of the same shape.
            own: (b,) bool, whether `real` is what `fake` should be.
        """
        with torch.no_grad():
            wanted = self.network.levels((real + 1) / 2)
        found = self.network.levels((fake + 1) / 2)
        apart = torch.stack([
            (a - b).abs().mean(dim=(1, 2, 3)) / b.abs().mean() for a, b in zip(found, wanted)
        ]).mean(dim=0)  # fmt: skip
        return (apart * own).sum() / own.sum().clamp(min=1)
