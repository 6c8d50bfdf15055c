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
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_CAFFE_MEAN = (123 / 255, 117 / 255, 104 / 255)
_CAFFE_LIMIT = 0.02


class SqueezeNet(nn.Module):
    """The convolutions of torchvision's `squeezenet1_1`, frozen.

    Weights exist for two input scalings: torchvision's (ImageNet mean and deviation) and Caffe's
    (0..255 minus the mean). The first layer's weights tell which: Caffe's are a hundred times
    smaller.
    """

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import squeezenet1_1

        self.features: nn.Sequential = squeezenet1_1(weights=None).features
        self.mean: Tensor
        self.factor: Tensor
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("factor", 1 / torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.register_load_state_dict_post_hook(_scale)  # type: ignore[no-untyped-call]
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


def _scale(network: SqueezeNet, _: object) -> None:
    """Set mean and factor, which bring images in [0, 1] to the input, as the loaded weights want it."""
    weight: Tensor = network.features[0].weight  # type: ignore[assignment]
    if float(weight.abs().mean()) < _CAFFE_LIMIT:
        network.mean.copy_(torch.tensor(_CAFFE_MEAN).view(1, 3, 1, 1))
        network.factor.fill_(255.0)
