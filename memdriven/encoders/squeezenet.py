"""SqueezeNet 1.1 of ImageNet: a second feature space beside the memory's, small enough for a CPU.

The evaluation measures in it; a projected discriminator, where one is used, trains on it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from memdriven.encoders.weights import imagenet_weights, load_weights

DEPTHS = (1, 4, 7, 9, 10, 11, 12)
"""Indices into `features` whose outputs are used, as in LPIPS."""
ENVIRONMENT = "MEMDRIVEN_SQUEEZENET"
WEIGHTS = "SqueezeNet1_1_Weights.IMAGENET1K_V1"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels."""


class SqueezeNet(nn.Module):
    """The convolutions of torchvision's `squeezenet1_1`, frozen."""

    mean: Tensor
    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import squeezenet1_1

        self.features: nn.Sequential = squeezenet1_1(weights=None).features
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("factor", 1 / torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor, depths: tuple[int, ...] = DEPTHS) -> list[Tensor]:
        """Return the maps at `depths`, ascending, of images (b, 3, h, w) in [0, 1]."""
        x, maps = (images - self.mean) * self.factor, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            maps += [x] if index in depths else []
        return maps

    @classmethod
    def load(cls, weights: Path | str | None = None, device: torch.device | str = "cpu") -> SqueezeNet:
        """Load a local file (.safetensors or .pth), $MEMDRIVEN_SQUEEZENET, or torchvision's."""
        network = cls()
        state, name = imagenet_weights(WEIGHTS, weights, "--squeezenet", ENVIRONMENT)
        kept = {key: value for key, value in state.items() if key.startswith("features.")}
        load_weights(network, kept, name, f"give SqueezeNet 1.1 by --squeezenet or {ENVIRONMENT}")
        return network.to(device)
