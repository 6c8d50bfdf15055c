"""Frozen networks of ImageNet: VGG-16, whose relu5_3 is v (Sec. 3.1), and SqueezeNet 1.1 [ours]."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from memdriven.encoders.weights import load_weights, read_weights, weights_hash
from memdriven.errors import CheckpointError, require

STRIDE = 16
"""relu5_3 is this much smaller than its input, after four of VGG's five poolings."""
RELU5_3 = 29
"""Its place among torchvision's `vgg16().features`."""
COARSE = Path(__file__).with_name("vgg16.safetensors.xz")
"""VGG-16 in a few bits a weight (benchmarks/coarse_vgg.py), for images that are read without a download."""
EXACT = "94398b0e3f6ced87"
"""The `hash` of torchvision's weights, which `COARSE` stands for."""
CLASSIFIER = "classifier.6.weight"
"""The last layer of torchvision's whole network; the file of features holds no numbers there."""
DEPTHS = (1, 4, 7, 9, 10, 11, 12)
"""Indices into SqueezeNet's `features` whose outputs are used, as in LPIPS."""


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
        network.load_torchvision(state, str(source or "torchvision's download"))
        return network.to(device)

    def load_torchvision(self, state: Mapping[str, Tensor], name: str) -> None:
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
    torchvision's download are the same network, with the same `hash`. `COARSE` nearly is: its v has a mean
    cosine of 0.99 with theirs, as what a memory keeps of v has.
    """

    NAME, OPTION, VARIABLE = "VGG16_Weights.IMAGENET1K_FEATURES", "--vgg", "MEMDRIVEN_VGG16"
    MEAN = (0.48235, 0.45882, 0.40784)

    def __init__(self) -> None:
        from torchvision.models.vgg import cfgs, make_layers

        # Of vgg16() itself, 124 million unused weights of its classifier would be drawn.
        super().__init__(make_layers(cfgs["D"])[: RELU5_3 + 1])
        self.to(memory_format=torch.channels_last)
        self.coarse = False
        """Whether these are the weights of `COARSE`."""

    @staticmethod
    def at_hand() -> Path | None:
        """Return the exact weights' file, named by `VARIABLE` or downloaded before, or None."""
        if named := os.environ.get(Vgg16Features.VARIABLE):
            return Path(named)
        return min(Path(torch.hub.get_dir(), "checkpoints").glob("vgg16_features-*.pth"), default=None)

    def load_torchvision(self, state: Mapping[str, Tensor], name: str) -> None:
        """See `_ImageNet`; weights that were made for classification are refused."""
        classifies = CLASSIFIER in state and bool(torch.isfinite(state[CLASSIFIER]).all())
        wanted = f"VGG-16 weights for features (IMAGENET1K_FEATURES) in {name}"
        found = "weights for classification (IMAGENET1K_V1), for inputs of another scale"
        require(not classifies, CheckpointError, wanted, found, "give torchvision's vgg16_features file")
        super().load_torchvision({key: state[key].half() for key in self.state_dict() if key in state}, name)
        self.coarse = name == str(COARSE)

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that name the float16 weights, or those that the coarse ones stand for."""
        return EXACT if self.coarse else weights_hash(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return relu5_3 (b, 512, h/16, w/16), not negative, of RGB images (b, 3, h, w) in [0, 1].

        h and w are multiples of 16 (else ValueError), 256 for the bank's. Differentiable in the images.
        """
        if images.ndim != 4 or images.shape[1] != 3 or any(s % STRIDE for s in images.shape[2:]):
            raise ValueError(f"wanted (b, 3, 16i, 16j) images, found {tuple(images.shape)}")
        x = ((images - self.mean) * 255.0).contiguous(memory_format=torch.channels_last)
        v: Tensor = self.features(x)
        return v.contiguous()  # (b, 512, h/16, w/16)
