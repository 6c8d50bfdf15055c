"""VGG-16 up to relu5_3: the image features v that the memory bank stores (Sec. 3.1).

On a CPU its layers of many channels use Winograd's minimal filtering F(4x4, 3x3): Lavin & Gray, "Fast
Algorithms for Convolutional Networks", CVPR 2016. Each 4 x 4 tile of outputs costs 36 multiplications a
channel pair in place of 144; torch's own CPU convolutions are direct. A whole bank takes 1.4 times less
CPU time with it (`python -m benchmarks.bank_build`, docs/memory.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memdriven.encoders.weights import imagenet_weights, load_weights, weights_hash
from memdriven.errors import CheckpointError, require

WEIGHTS = "VGG16_Weights.IMAGENET1K_FEATURES"
WEIGHTS_VARIABLE = "MEMDRIVEN_VGG16"
"""Environment variable that may name a local weight file."""
STRIDE = 16
"""relu5_3 is this much smaller than its input, after four of VGG's five poolings."""
RELU5_3 = 29
"""Its place among torchvision's `vgg16().features`."""
CLASSIFIER = "classifier.6.weight"
"""The last layer of torchvision's whole network; the file of features holds no numbers there."""
MEAN = (0.48235, 0.45882, 0.40784)
WINOGRAD_CHANNELS = 256
"""On a CPU, layers with this many input channels use Winograd's convolution."""
TILE = 4
_POINTS = (0, 1, -1, 2, -2)
"""Tiles and filters are polynomials, multiplied by values at these points and at infinity (Cook-Toom)."""
_OTHERS = [[other for other in _POINTS if other != point] for point in _POINTS]
_INPUT = torch.tensor([[*np.poly(others)[::-1], 0.0] for others in _OTHERS] + [[*np.poly(_POINTS)[::-1]]])
"""B^T of Lavin & Gray, Sec. 4.3; the next two are G and A^T."""
_FILTER = torch.tensor(
    [[p**i / math.prod(p - q for q in others) for i in range(3)] for p, others in zip(_POINTS, _OTHERS)]
    + [[0.0, 0.0, 1.0]],
    dtype=torch.float64,
)
_OUTPUT = torch.tensor([[p**i for p in _POINTS] + [i == TILE - 1] for i in range(TILE)], dtype=torch.float64)
_INPUT_2D = torch.kron(_INPUT, _INPUT).float()  # (36, 36)
_OUTPUT_2D = torch.kron(_OUTPUT, _OUTPUT).float()  # (16, 36)


class Vgg16Features(nn.Module):
    """The frozen network images -> v, with torchvision's layers and parameter names.

    Weights are rounded to float16 and computed with in float32, so that the half-size file and
    torchvision's download are the same network, with the same `hash`.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models.vgg import cfgs, make_layers

        # Of vgg16() itself, 124 million unused weights of its classifier would be drawn.
        self.features: nn.Sequential = make_layers(cfgs["D"])[: RELU5_3 + 1]
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self._transformed: dict[int, Tensor] = {}
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, weights: Path | str | None = None, device: torch.device | str = "cpu") -> Vgg16Features:
        """Build the network with its ImageNet weights, on a device.

        They come from a safetensors or `.pth` file in torchvision's layout, the file that `MEMDRIVEN_VGG16`
        names, or torchvision's `IMAGENET1K_FEATURES` download.

        Raises:
            CheckpointError: the file is missing, truncated, not VGG-16, or cannot be downloaded.
        """
        network = cls()
        network.take(*imagenet_weights(WEIGHTS, weights, "--vgg", WEIGHTS_VARIABLE))
        return network.to(memory_format=torch.channels_last).to(device)

    def take(self, state: Mapping[str, Tensor], name: str) -> None:
        """Copy the convolutions' weights from a torchvision state dict; other entries are ignored.

        Raises:
            CheckpointError: an entry is missing, of another shape, or not finite.
        """
        classifies = CLASSIFIER in state and bool(torch.isfinite(state[CLASSIFIER]).all())
        wanted = f"VGG-16 weights for features (IMAGENET1K_FEATURES) in {name}"
        found = "weights for classification (IMAGENET1K_V1), for inputs of another scale"
        require(not classifies, CheckpointError, wanted, found, "give torchvision's vgg16_features file")
        rounded = {key: state[key].half() for key in self.state_dict() if key in state}
        load_weights(self, rounded, name, "give torchvision's vgg16 weights (IMAGENET1K_FEATURES)")
        self._transformed.clear()

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that name the float16 weights."""
        return weights_hash(self)

    def train(self, mode: bool = True) -> Vgg16Features:
        """Stay in evaluation mode: the network is frozen."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return relu5_3 (b, 512, h/16, w/16), not negative, of RGB images (b, 3, h, w) in [0, 1].

        h and w are multiples of 16, 256 for the bank's features. Differentiable in the images.

        Raises:
            ValueError: the images are not (b, 3, h, w) with such sides.
        """
        if images.ndim != 4 or images.shape[1] != 3 or any(s % STRIDE for s in images.shape[2:]):
            raise ValueError(f"wanted (b, 3, 16i, 16j) images, found {tuple(images.shape)}")
        x = ((images - self.mean) * 255.0).contiguous(memory_format=torch.channels_last)
        if x.device.type == "cpu" and not torch.is_grad_enabled():
            return torch.cat([self._forward_on_cpu(one) for one in torch.split(x, 1)])
        v: Tensor = self.features(x)
        return v.contiguous()  # (b, 512, h/16, w/16)

    def _forward_on_cpu(self, x: Tensor) -> Tensor:
        """Compute one image (1, 3, h, w): Winograd's convolution where it is the faster one."""
        for number, layer in enumerate(self.features):
            tiled = not any(side % TILE for side in x.shape[2:])
            if tiled and isinstance(layer, nn.Conv2d) and layer.in_channels >= WINOGRAD_CHANNELS:
                if number not in self._transformed:
                    self._transformed[number] = winograd_weight(layer.weight)
                assert layer.bias is not None
                x = winograd_convolve(x, self._transformed[number], layer.bias)
            else:
                x = layer(x)
        return x.contiguous()


def winograd_weight(weight: Tensor) -> Tensor:
    """Return G w G^T of filters (k, c, 3, 3): (36, c, k) float32."""
    return (
        torch.einsum("ia,kcab,jb->ijck", _FILTER, weight.double(), _FILTER).flatten(0, 1).float().contiguous()
    )


def winograd_convolve(x: Tensor, transformed: Tensor, bias: Tensor) -> Tensor:
    """Convolve with zero padding of 1.

    Args:
        x: (b, c, h, w) float32, h and w multiples of 4; fast when in channels_last.
        transformed: (36, c, k), from `winograd_weight`.
        bias: (k,).

    Returns:
        (b, k, h, w) in channels_last, equal to `conv2d` up to rounding.
    """
    count, _, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()  # (b, h+2, w+2, c)
    down, across = height // TILE, width // TILE
    image, row, column, channel = padded.stride()
    tiles = padded.as_strided(
        (6, 6, count, down, across, padded.shape[3]), (row, column, image, TILE * row, TILE * column, channel)
    ).reshape(36, -1)  # (36, b*h/4*w/4*c)
    products = torch.bmm((_INPUT_2D @ tiles).view(36, -1, padded.shape[3]), transformed)
    out = (_OUTPUT_2D @ products.flatten(1)).view(TILE, TILE, count, down, across, -1)
    merged = out.permute(2, 3, 0, 4, 1, 5).reshape(count, height, width, -1)
    return merged.add_(bias).permute(0, 3, 1, 2)  # (b, k, h, w)
