"""How unlike two pictures look to a frozen network, map by map [ours]."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from memdriven.encoders.damsm import Damsm
from memdriven.encoders.image import CompactBackbone
from memdriven.encoders.squeezenet import SqueezeNet
from memdriven.errors import TrainingError

DEPTHS = (1, 4, 7, 12)
"""Which of SqueezeNet 1.1's layers: the last of each scale."""


class Perceptual:
    """Distance in a frozen network's maps (Johnson et al. 2016).

    Each map's distance is a share of the real picture's own size there, so that fine and coarse
    ones count alike. Pictures are seen at their own size, whatever the network's: reduced, a later
    stage's details would not count.

    Args:
        levels: maps images (b, 3, s, s) in [0, 1] to the maps that are compared.
    """

    def __init__(self, levels: Callable[[Tensor], list[Tensor]]) -> None:
        self.levels = levels

    @classmethod
    def of_damsm(cls, damsm: Damsm) -> Perceptual:
        """Compare by what was trained on what captions name, and will measure nothing later.

        Raises:
            TrainingError: these encoders lack the compact pixel network.
        """
        if not isinstance(damsm.pixels, CompactBackbone):
            raise TrainingError(
                wanted="encoders with the compact pixel network, for loss.perceptual_weight",
                found="encoders without it",
                fix="train them with damsm.pixel_backbone compact, choose the network squeezenet, "
                "or set the weight to 0",
            )
        return cls(damsm.pixels.levels)

    @classmethod
    def of_squeezenet(cls, network: SqueezeNet) -> Perceptual:
        """Compare by ImageNet's photographs; measures by SqueezeNet are flattered then."""
        return cls(partial(network, depths=DEPTHS))

    def __call__(self, fake: Tensor, real: Tensor, own: Tensor) -> Tensor:
        """Return the mean distance of the images whose target is known.

        Args:
            fake: generated images (b, 3, s, s) in [-1, 1].
            real: their targets, of the same shape.
            own: (b,) bool, whether `real` is what `fake` should be.
        """
        with torch.no_grad():
            wanted = self.levels((real + 1) / 2)
        found = self.levels((fake + 1) / 2)
        apart = torch.stack(
            [(a - b).abs().mean(dim=(1, 2, 3)) / b.abs().mean() for a, b in zip(found, wanted)]
        ).mean(dim=0)
        return (apart * own).sum() / own.sum().clamp(min=1)
