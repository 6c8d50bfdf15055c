"""VGG-16 up to relu5_3: the image features v that the memory bank stores (Sec. 3.1)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from memdriven.encoders import winograd
from memdriven.encoders.weights import read_weights, weights_hash
from memdriven.errors import CheckpointError

WEIGHTS_VARIABLE = "MEMDRIVEN_VGG16"
"""Environment variable that may name a local weight file."""
STRIDE = 16
"""relu5_3 is this much smaller than its input, after four of VGG's five poolings."""
WINOGRAD_CHANNELS = 256
"""On a CPU, layers with this many input channels use Winograd's convolution."""
CLASSIFIER = "classifier.6.weight"
"""The last layer of torchvision's whole network; the file of features holds no numbers there."""

_MEAN = (0.48235, 0.45882, 0.40784)
_LAYERS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)
"""Channels of each 3x3 convolution; 0 is a 2x2 max pooling."""


def _relu5_3_layers() -> nn.Sequential:
    """Return layers 0..29 of torchvision's `vgg16().features`, the last one being relu5_3."""
    layers: list[nn.Module] = []
    channels = 3
    for width in _LAYERS:
        if width == 0:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*layers)


class Vgg16Features(nn.Module):
    """The frozen network images -> v, with torchvision's layer numbers and parameter names.

    Weights are rounded to float16 and computed with in float32, so that the half-size file and
    torchvision's download are the same network, with the same `hash`.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = _relu5_3_layers()
        self._winograd: dict[int, Tensor] = {}
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def load(cls, weights: Path | str | None = None, device: torch.device | str = "cpu") -> Vgg16Features:
        """Build the network with its ImageNet weights.

        Args:
            weights: a safetensors or `.pth` file in torchvision's layout; without it the file
                that `MEMDRIVEN_VGG16` names, else torchvision's `IMAGENET1K_FEATURES` download.
            device: where the network shall compute.

        Raises:
            CheckpointError: the file is missing, truncated, not VGG-16, or cannot be downloaded.
        """
        source = weights or os.environ.get(WEIGHTS_VARIABLE)
        network = cls()
        if source:
            network.take(read_weights(Path(source)), str(source))
        else:
            network.take(_download(), "torchvision's download")
        return network.to(memory_format=torch.channels_last).to(device)

    def take(self, state: Mapping[str, Tensor], name: str) -> None:
        """Copy the convolutions' weights from a torchvision state dict; other entries are ignored.

        Raises:
            CheckpointError: an entry is missing, of another shape, or not finite.
        """
        head = state.get(CLASSIFIER)
        if head is not None and bool(torch.isfinite(head).all()):
            raise CheckpointError(
                wanted=f"VGG-16 weights for features (IMAGENET1K_FEATURES) in {name}",
                found="weights for classification (IMAGENET1K_V1), for inputs of another scale",
                fix="give torchvision's vgg16_features file",
            )
        rounded: dict[str, Tensor] = {}
        for key, own in self.state_dict().items():
            given = state.get(key)
            if given is None or given.shape != own.shape:
                found = "no such entry" if given is None else f"shape {tuple(given.shape)}"
                raise CheckpointError(
                    wanted=f"VGG-16 entry {key} of shape {tuple(own.shape)} in {name}",
                    found=found,
                    fix="give torchvision's vgg16 weights (IMAGENET1K_FEATURES)",
                )
            rounded[key] = given.half().float()
            if not bool(torch.isfinite(rounded[key]).all()):
                raise CheckpointError(
                    wanted=f"finite numbers in {key} of {name}",
                    found="NaN or infinity",
                    fix="fetch the weight file again",
                )
        self.load_state_dict(rounded)
        self._winograd.clear()

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that name the float16 weights."""
        return weights_hash(self)

    def train(self, mode: bool = True) -> Vgg16Features:
        """Stay in evaluation mode: the network is frozen."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return relu5_3 of RGB images in [0, 1].

        Args:
            images: (b, 3, h, w), h and w multiples of 16; 256 for the bank's features.

        Returns:
            v: (b, 512, h/16, w/16), non-negative. Differentiable in the images.

        Raises:
            ValueError: the images are not (b, 3, h, w) with such sides.
        """
        if images.ndim != 4 or images.shape[1] != 3 or any(s % STRIDE for s in images.shape[2:]):
            raise ValueError(f"wanted (b, 3, 16i, 16j) images, found {tuple(images.shape)}")
        if images.device.type == "cpu" and not torch.is_grad_enabled():
            return torch.cat([self._forward_on_cpu(image[None]) for image in images])
        v: Tensor = self.features(self._scaled(images))
        return v.contiguous()  # (b, 512, h/16, w/16)

    def _scaled(self, images: Tensor) -> Tensor:
        return ((images - self.mean) * 255.0).contiguous(memory_format=torch.channels_last)

    def _forward_on_cpu(self, image: Tensor) -> Tensor:
        """Compute one image (1, 3, h, w): Winograd's convolution where it is the faster one."""
        maps = self._scaled(image)
        for number, layer in enumerate(self.features):
            tiled = not any(side % winograd.TILE for side in maps.shape[2:])
            if tiled and isinstance(layer, nn.Conv2d) and layer.in_channels >= WINOGRAD_CHANNELS:
                maps = self._winograd_layer(number, layer, maps)
            else:
                maps = layer(maps)
        return maps.contiguous()

    def _winograd_layer(self, number: int, layer: nn.Conv2d, maps: Tensor) -> Tensor:
        if number not in self._winograd:
            self._winograd[number] = winograd.transform_weight(layer.weight)
        assert layer.bias is not None
        return winograd.convolve(maps, self._winograd[number], layer.bias)


def _download() -> Mapping[str, Tensor]:
    """Fetch torchvision's ImageNet features, or read them from its cache."""
    from torchvision.models import VGG16_Weights

    try:
        state: Mapping[str, Tensor] = VGG16_Weights.IMAGENET1K_FEATURES.get_state_dict(
            progress=True, check_hash=True
        )
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            wanted="the ImageNet VGG-16 weights",
            found=f"the download failed: {error}"[:200],
            fix=f"connect once, or set {WEIGHTS_VARIABLE} to a local weight file",
        ) from error
    return state
