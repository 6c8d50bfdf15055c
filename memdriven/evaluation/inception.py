"""Inception features for FID in its three forms, which cannot be compared with each other.

`a`: the 2015 TensorFlow network, images resized to 299 px as TensorFlow 1 did, without
antialiasing (pytorch-fid, torch-fidelity, torchmetrics). `b`: torchvision's ImageNet Inception-v3
(the code of DM-GAN, DAE-GAN, DF-GAN). `c`: the network of `a` on images resized by Pillow with
antialiasing, fractions kept (clean-fid). One model scores very differently in each, so a number is
only ever named with its form. Where the weights are absent, the form is left out; it is never
replaced by another.

On the scaling of `b`: torchvision's weights want pixels in [-1, 1]. The family's code instead takes
pixels in [0, 1] through the step x * std / 0.5 + (mean - 0.5) / 0.5, which reaches [-1, 1] only
from pixels that ImageNet's mean and std normalised before; so its network sees about
[-0.19, 0.43]. Published numbers of form `b` hold that step, hence so does ours. It is what
torchvision's network does by itself under `transform_input`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from memdriven.encoders.weights import read_weights, weights_hash
from memdriven.errors import EvaluationError
from memdriven.evaluation.features import Extractor

Form = Literal["a", "b", "c"]
SIDE = 299
FEATURES = 2048
EXTRA = 'pip install "memdriven[fid]" (or: pip install torch-fidelity)'
LAYERS_2015 = (
    "Conv2d_1a_3x3",
    "Conv2d_2a_3x3",
    "Conv2d_2b_3x3",
    "MaxPool_1",
    "Conv2d_3b_1x1",
    "Conv2d_4a_3x3",
    "MaxPool_2",
    "Mixed_5b",
    "Mixed_5c",
    "Mixed_5d",
    "Mixed_6a",
    "Mixed_6b",
    "Mixed_6c",
    "Mixed_6d",
    "Mixed_6e",
    "Mixed_7a",
    "Mixed_7b",
    "Mixed_7c",
    "AvgPool",
)
"""torch-fidelity's names of the layers, from the pixels to the pooled features."""


def inception_extractor(
    form: Form, weights: Path | None, side: int, *, logits: bool = False, device: str = "cpu"
) -> Extractor:
    """Return Inception's pooled features (n, 2048), or its class scores (n, 1008), in one form.

    Args:
        form: see the module.
        weights: a local weight file: torch-fidelity's `weights-inception-2015-12-05-6726825d.pth`
            for `a` and `c`, torchvision's `inception_v3` for `b`. None downloads the library's.
        side: of the images that will come, in px; the form's own resize starts from it.
        logits: forms a and c: the class scores without their bias instead of pooled features.
        device: where to run.

    Raises:
        EvaluationError: the weights, or torch-fidelity for `a` and `c`, are not to be had.
    """
    if weights is not None and not weights.is_file():
        raise _unusable(form, weights, "no such file")
    try:
        network: nn.Module
        if form == "b":
            network, side = _torchvision(weights), SIDE
        else:
            network = _fidelity(weights, antialiased=form == "c", logits=logits)
    except ImportError as error:
        raise EvaluationError(
            wanted=f"torch-fidelity, which holds the network of FID form ({form})",
            found=str(error)[:160],
            fix=EXTRA,
        ) from error
    except Exception as error:  # foreign bytes and failed downloads raise all kinds
        raise _unusable(form, weights, f"{type(error).__name__}: {error}") from error
    network = network.to(device).eval()
    return Extractor(
        name=f"inception form ({form}) {'logits' if logits else 'pool'} from {side} px",
        identity=weights_hash(network),
        side=side,
        function=network,
        device=device,
    )


class Inception2015(nn.Module):
    """Forms (a) and (c): torch-fidelity's layers of the 2015 network after either resize."""

    def __init__(self, network: nn.Module, *, antialiased: bool, logits: bool) -> None:
        super().__init__()
        self.network, self.antialiased, self.logits = network, antialiased, logits

    def forward(self, images: Tensor) -> Tensor:
        """Map images (b, 3, h, w) in [0, 1] to features (b, 2048) or scores (b, 1008)."""
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

        pixels = (images * 255).round().clamp(0, 255)
        if self.antialiased:
            x = pillow_resize(pixels.cpu(), SIDE).to(images.device)
        else:
            size = (SIDE, SIDE)
            x = interpolate_bilinear_2d_like_tensorflow1x(pixels, size, align_corners=False)
        x = (x - 128) / 128
        for name in LAYERS_2015:
            x = getattr(self.network, name)(x)
        pooled: Tensor = x.flatten(1)  # (b, 2048)
        if self.logits:
            weight: Tensor = self.network.fc.weight  # type: ignore[union-attr, assignment]
            return pooled @ weight.T
        return pooled


def pillow_resize(images: Tensor, side: int) -> Tensor:
    """Resize images (b, 3, h, w) in 0..255 by Pillow's antialiased bicubic, as clean-fid does.

    Each channel is resized as float32, and cut to 0..255 without rounding.
    """
    import numpy as np
    from PIL import Image

    def channel(plane: Any) -> Any:
        image = Image.fromarray(plane)
        return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))

    planes = images.float().numpy()
    resized = np.stack([np.stack([channel(plane) for plane in picture]) for picture in planes])
    return torch.from_numpy(resized.clip(0, 255))


def _torchvision(weights: Path | None) -> nn.Module:
    """Return form (b): images (b, 3, 299, 299) in [0, 1] to features (b, 2048)."""
    from torchvision.models import Inception_V3_Weights, inception_v3

    if weights is None:
        source = Inception_V3_Weights.IMAGENET1K_V1
        state = dict(source.get_state_dict(progress=True, check_hash=True))
    else:
        state = read_weights(weights)
    network = inception_v3(weights=None, aux_logits=True, init_weights=False, transform_input=True)
    network.load_state_dict(state)
    network.fc = nn.Identity()
    pooled: nn.Module = network
    return pooled


def _fidelity(weights: Path | None, *, antialiased: bool, logits: bool) -> nn.Module:
    """Return form (a) or (c)."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    if weights is None:
        torch.hub.load_state_dict_from_url(URL_INCEPTION_V3, check_hash=True, weights_only=True)
        weights = Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rsplit("/", 1)[1]
    # The library unpickles the file without restrictions, so it is read with them first.
    read_weights(weights)
    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", [str(FEATURES)], feature_extractor_weights_path=str(weights)
    )
    return Inception2015(network, antialiased=antialiased, logits=logits)


def _unusable(form: Form, weights: Path | None, found: str) -> EvaluationError:
    option = "--inception-b" if form == "b" else "--inception-a"
    return EvaluationError(
        wanted=f"Inception weights of FID form ({form}): {weights or 'the library download'}",
        found=found.splitlines()[0][:160] if found else "an unknown failure",
        fix=f"give the file of this form by {option}; the form is left out meanwhile",
    )
