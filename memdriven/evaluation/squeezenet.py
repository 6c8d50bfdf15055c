"""Distances in SqueezeNet's feature space, which is not the memory's.

Between two pictures they are LPIPS-like: at seven depths, activations are normalised over
channels, and the squared differences are averaged over positions and summed over depths (Zhang
et al. 2018 with all weights one; the learned weights are left out, so it is not LPIPS).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memdriven.encoders.squeezenet import SqueezeNet
from memdriven.encoders.weights import weights_hash
from memdriven.evaluation.features import Extractor


def squeezenet_extractor(network: SqueezeNet, side: int = 128, device: str = "cpu") -> Extractor:
    """Return the spatial mean of the last maps, (n, 512)."""
    return Extractor(
        name=f"squeezenet1_1 mean at {side} px",
        identity=weights_hash(network),
        side=side,
        function=lambda images: network(images)[-1].mean(dim=(2, 3)),
        device=device,
    )


def perceptual_distances(maps_a: list[Tensor], maps_b: list[Tensor]) -> Tensor:
    """Return the LPIPS-like distance of each pair: maps (b, c, h, w) by depth to (b,)."""
    total = torch.zeros(maps_a[0].shape[0], device=maps_a[0].device)
    for a, b in zip(maps_a, maps_b, strict=True):
        difference = nn.functional.normalize(a, dim=1) - nn.functional.normalize(b, dim=1)
        total = total + difference.square().sum(dim=1).mean(dim=(1, 2))
    return total
