"""Frozen networks of ImageNet: VGG-16, whose relu5_3 is v (Sec. 3.1), and SqueezeNet 1.1 [ours].

On a CPU VGG's layers of many channels use Winograd's minimal filtering F(4x4, 3x3): Lavin & Gray, "Fast
Algorithms for Convolutional Networks", CVPR 2016. Each 4 x 4 tile of outputs costs 36 multiplications a
channel pair in place of 144; torch's own CPU convolutions are direct. A whole bank takes 1.4 times less
CPU time with it (`python -m benchmarks.bank_build`, docs/memory.md).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memdriven.encoders.weights import load_weights, read_weights, weights_hash
from memdriven.errors import CheckpointError, require

STRIDE = 16
"""relu5_3 is this much smaller than its input, after four of VGG's five poolings."""
RELU5_3 = 29
"""Its place among torchvision's `vgg16().features`."""
CLASSIFIER = "classifier.6.weight"
"""The last layer of torchvision's whole network; the file of features holds no numbers there."""
DEPTHS = (1, 4, 7, 9, 10, 11, 12)
"""Indices into SqueezeNet's `features` whose outputs are used, as in LPIPS."""
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


class _ImageNet(nn.Module):
    """The first layers of a torchvision network, frozen, with its parameter names and ImageNet weights."""

    NAME: ClassVar[str]
    """Of torchvision's weights."""
    OPTION: ClassVar[str]
    VARIABLE: ClassVar[str]
    """Environment variable that may name a local weight file."""
    MEAN: ClassVar[tuple[float, float, float]]
    """Of the pixels."""
    mean: Tensor

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("mean", torch.tensor(self.MEAN).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, weights: Path | str | None = None, device: torch.device | str = "cpu") -> Self:
        """Build the network with its ImageNet weights, on a device.

        They come from a safetensors or `.pth` file in torchvision's layout, the file that the environment's
        `VARIABLE` names, or torchvision's download; a CheckpointError says what is wrong with it.
        """
        source = weights or os.environ.get(cls.VARIABLE)
        wanted, fix = f"torchvision's {cls.NAME}", f"name a weight file by {cls.OPTION} or {cls.VARIABLE}"
        try:
            if source:
                state = read_weights(Path(source))
            else:
                from torchvision.models import get_weight

                state = get_weight(cls.NAME).get_state_dict(progress=True, check_hash=True)
        except CheckpointError as error:
            raise CheckpointError(f"{wanted} in {source}", error.found, fix) from error
        except (OSError, RuntimeError) as error:
            found = f"a failed download: {error}"[:200]
            raise CheckpointError(wanted, found, f"{fix}, or connect once") from error
        network = cls()  # type: ignore[call-arg]  # a network's own takes no arguments
        network.take(state, str(source or "torchvision's download"))
        return network.to(device)

    def take(self, state: Mapping[str, Tensor], name: str) -> None:
        """Copy what a torchvision state dict holds of these layers; a CheckpointError says what it lacks."""
        known = {key: state[key] for key in self.state_dict() if key in state}
        load_weights(self, known, name, f"give torchvision's {self.NAME} by {self.OPTION} or {self.VARIABLE}")

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: the network is frozen."""
        return super().train(False)


class SqueezeNet(_ImageNet):
    """A second feature space beside the memory's, small enough for a CPU.

    The evaluation measures in it; a projected discriminator, where one is used, trains on it.
    """

    NAME, OPTION, VARIABLE = "SqueezeNet1_1_Weights.IMAGENET1K_V1", "--squeezenet", "MEMDRIVEN_SQUEEZENET"
    MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    factor: Tensor

    def __init__(self) -> None:
        from torchvision.models import squeezenet1_1

        super().__init__(squeezenet1_1(weights=None).features)
        self.register_buffer("factor", 1 / torch.tensor(self.DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, depths: tuple[int, ...] = DEPTHS) -> list[Tensor]:
        """Return the maps at `depths`, ascending, of images (b, 3, h, w) in [0, 1]."""
        x, maps = (images - self.mean) * self.factor, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            maps += [x] if index in depths else []
        return maps


class Vgg16Features(_ImageNet):
    """Images -> v.

    Weights are rounded to float16 and computed with in float32, so that the half-size file and
    torchvision's download are the same network, with the same `hash`.
    """

    NAME, OPTION, VARIABLE = "VGG16_Weights.IMAGENET1K_FEATURES", "--vgg", "MEMDRIVEN_VGG16"
    MEAN = (0.48235, 0.45882, 0.40784)

    def __init__(self) -> None:
        from torchvision.models.vgg import cfgs, make_layers

        # Of vgg16() itself, 124 million unused weights of its classifier would be drawn.
        super().__init__(make_layers(cfgs["D"])[: RELU5_3 + 1])
        self._transformed: dict[int, Tensor] = {}
        self.to(memory_format=torch.channels_last)

    def take(self, state: Mapping[str, Tensor], name: str) -> None:
        """See `_ImageNet.take`; weights that were made for classification are refused."""
        classifies = CLASSIFIER in state and bool(torch.isfinite(state[CLASSIFIER]).all())
        wanted = f"VGG-16 weights for features (IMAGENET1K_FEATURES) in {name}"
        found = "weights for classification (IMAGENET1K_V1), for inputs of another scale"
        require(not classifies, CheckpointError, wanted, found, "give torchvision's vgg16_features file")
        super().take({key: state[key].half() for key in self.state_dict() if key in state}, name)
        self._transformed.clear()

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that name the float16 weights."""
        return weights_hash(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return relu5_3 (b, 512, h/16, w/16), not negative, of RGB images (b, 3, h, w) in [0, 1].

        h and w are multiples of 16 (else ValueError), 256 for the bank's. Differentiable in the images.
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
    """Convolve x (b, c, h, w), h and w multiples of 4, with zero padding of 1: as `conv2d` up to rounding.

    `transformed` (36, c, k) is from `winograd_weight`, the bias (k,); fast, and returned, in channels_last.
    """
    count, _, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()  # (b, h+2, w+2, c)
    tiles = padded.unfold(1, 6, TILE).unfold(2, 6, TILE).permute(4, 5, 0, 1, 2, 3)  # (6, 6, b, h/4, w/4, c)
    products = torch.bmm((_INPUT_2D @ tiles.reshape(36, -1)).view(36, -1, padded.shape[3]), transformed)
    out = (_OUTPUT_2D @ products.flatten(1)).view(TILE, TILE, count, height // TILE, width // TILE, -1)
    merged = out.permute(2, 3, 0, 4, 1, 5).reshape(count, height, width, -1)
    return merged.add_(bias).permute(0, 3, 1, 2)  # (b, k, h, w)
