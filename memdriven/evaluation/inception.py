"""Inception features for FID in its three forms, from weights that the user gives.

`a`: the 2015 TensorFlow network, images resized to 299 px without antialiasing (pytorch-fid,
torch-fidelity, torchmetrics). `b`: torchvision's ImageNet Inception-v3 (DM-GAN, DF-GAN). `c`:
the network of `a` on images resized by Pillow with antialiasing (clean-fid). One model scores
very differently in each, so a number is only ever named with its form. Where the weights are
absent the form is left out; it is never replaced by another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memdriven.encoders.weights import read_weights, weights_hash
from memdriven.errors import EvaluationError
from memdriven.evaluation.features import Extractor

Form = Literal["a", "b", "c"]
SIDE = 299
FEATURES = 2048


def inception_extractor(
    form: Form, weights: Path | None, side: int, *, logits: bool = False, device: str = "cpu"
) -> Extractor:
    """Return Inception's pooled features (n, 2048), or its logits (n, classes), in one form.

    Args:
        form: see the module.
        weights: a local weight file: torch-fidelity's `weights-inception-2015-12-05-6726825d.pth`
            for `a` and `c`, torchvision's `inception_v3` for `b`.
        side: of the images that will come, in px; the form's own resize starts from it.
        logits: the class scores instead of the pooled features.
        device: where to run.

    Raises:
        EvaluationError: the weights, or torch-fidelity for `a` and `c`, are not here.
    """
    if weights is None or not weights.exists():
        raise EvaluationError(
            wanted=f"Inception weights for form ({form})", found=str(weights or "no path given"),
            fix="give the file by --inception-a or --inception-b; the form is left out meanwhile",
        )  # fmt: skip
    try:
        network = _torchvision(weights, logits) if form == "b" else _fidelity(weights, logits, form)
    except Exception as error:
        raise EvaluationError(
            wanted=f"an Inception network of form ({form}) from {weights}",
            found=f"{type(error).__name__}: {error}"[:160],
            fix="give the weights of this form; (a) and (c) also need `pip install torch-fidelity`",
        ) from error
    network = network.to(device).eval()
    return Extractor(
        name=f"inception form ({form}) {'logits' if logits else 'pool'}",
        identity=weights_hash(network), side=side, function=network, device=device,
    )  # fmt: skip


class TorchvisionInception(nn.Module):
    """Form (b): bilinear resize to 299 px, pixels to [-1, 1], torchvision's network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map images (b, 3, h, w) in [0, 1] to features (b, 2048) or logits (b, 1000)."""
        x = F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False)
        result: Tensor = self.network(2 * x - 1)
        return result


class FidelityInception(nn.Module):
    """Forms (a) and (c): the 2015 network as torchmetrics wraps it; it resizes by itself."""

    def __init__(self, network: nn.Module, antialiased: bool) -> None:
        super().__init__()
        self.network = network
        self.antialiased = antialiased

    def forward(self, images: Tensor) -> Tensor:
        """Map images (b, 3, h, w) in [0, 1] to features (b, 2048) or logits (b, 1008)."""
        pixels = (images * 255).round().clamp(0, 255).byte()
        if self.antialiased:
            pixels = pillow_resize(pixels.cpu(), SIDE).to(images.device)
        result: Tensor = self.network(pixels)
        return result


def pillow_resize(images: Tensor, side: int) -> Tensor:
    """Resize uint8 images (b, 3, h, w) by Pillow's antialiased bicubic, as clean-fid does.

    Clean-fid resizes each channel as float32 and keeps the fractions; they are rounded here, for
    the network takes bytes.
    """
    import numpy as np
    from PIL import Image

    def channel(plane: Any) -> Any:
        image = Image.fromarray(plane.astype(np.float32), mode=None)
        return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))

    planes = np.stack(
        [np.stack([channel(plane) for plane in picture]) for picture in images.numpy()]
    )
    return torch.from_numpy(planes.round().clip(0, 255).astype(np.uint8))


def _torchvision(weights: Path, logits: bool) -> nn.Module:
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, aux_logits=True, init_weights=False)
    network.load_state_dict(read_weights(weights))
    if not logits:
        network.fc = nn.Identity()
    return TorchvisionInception(network)


def _fidelity(weights: Path, logits: bool, form: Form) -> nn.Module:
    from torchmetrics.image.fid import NoTrainInceptionV3

    features = "logits_unbiased" if logits else str(FEATURES)
    network = NoTrainInceptionV3(
        name="inception-v3-compat", features_list=[features],
        feature_extractor_weights_path=str(weights), antialias=False,
    )  # fmt: skip
    return FidelityInception(network, antialiased=form == "c")
