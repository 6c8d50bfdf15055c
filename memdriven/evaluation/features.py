"""Feature spaces that measures look through: one `Extractor` each, named and hashed.

`vgg`: spatial mean of relu5_3, the memory's own network (`fid_vgg`, `kid_vgg`). `squeezenet`: spatial mean of
SqueezeNet 1.1's last maps. It is not v's space; but a generator that was trained with the perceptual loss or
the projected discriminator has looked through it, so it is no independent witness of such a one.

Inception comes in three forms, which cannot be compared with each other. `a`: the 2015 TensorFlow network,
images resized to 299 px as TensorFlow 1 did, without antialiasing (pytorch-fid, torch-fidelity,
torchmetrics). `b`: torchvision's ImageNet Inception-v3 (the code of DM-GAN, DAE-GAN, DF-GAN). `c`: the
network of `a` on images resized by Pillow with antialiasing, fractions kept (clean-fid). One model scores
very differently in each, so a number is only ever named with its form. Where the weights are absent, the
form is left out; it is never replaced by another.

Form `b` keeps a slip of the family's code, as published numbers hold it: torchvision's weights want pixels in
[-1, 1], but get x * std / 0.5 + (mean - 0.5) / 0.5 of pixels in [0, 1], about [-0.19, 0.43]. It is what
torchvision's network does by itself under `transform_input`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from memdriven.encoders.image import resized
from memdriven.encoders.weights import read_weights
from memdriven.errors import EvaluationError

BATCH = 32
"""Images a forward pass."""


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """Images to feature vectors through one frozen network."""

    name: str
    """Names the space in protocols, e.g. `vgg16 relu5_3 mean at 128 px`."""
    side: int
    """Images are resized (bilinear, antialiased) to this side in px first."""
    function: Callable[[Tensor], Tensor]
    """Float images (b, 3, side, side) in [0, 1] to vectors (b, d)."""
    device: str = "cpu"

    @torch.no_grad()
    def __call__(self, images: Tensor, *, progress: bool = False) -> Tensor:
        """Return float32 features (n, d), on the CPU, of uint8 images (n, 3, h, w)."""
        parts = []
        for chunk in tqdm(torch.split(images, BATCH), self.name, disable=not progress):
            scaled = resized(chunk.to(self.device).float() / 255, self.side)
            parts.append(self.function(scaled).float().cpu())
        return torch.cat(parts)


def pooled_maps(name: str, network: nn.Module, side: int, device: str = "cpu") -> Extractor:
    """Return the spatial mean of a network's maps (b, d, h, w); of the last ones where it has several."""

    def pooled(images: Tensor) -> Tensor:
        maps = network(images)
        last: Tensor = maps if isinstance(maps, Tensor) else maps[-1]
        return last.float().mean(dim=(2, 3))

    return Extractor(name=f"{name} mean at {side} px", side=side, function=pooled, device=device)


Form = Literal["a", "b", "c"]
SIDE = 299


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
    try:
        if weights is not None and not weights.is_file():
            raise FileNotFoundError("no such file")
        if form == "b":
            network, side = _torchvision(weights), SIDE
        else:
            network = Inception2015(_fidelity(weights), antialiased=form == "c", logits=logits)
    except ImportError as error:
        wanted = f"torch-fidelity, which holds the network of FID form ({form})"
        fix = 'pip install "memdriven[evaluation]" (or: pip install torch-fidelity)'
        raise EvaluationError(wanted, str(error)[:160], fix) from error
    except Exception as error:  # foreign bytes and failed downloads raise all kinds
        option = "--inception-b" if form == "b" else "--inception-a"
        raise EvaluationError(
            f"Inception weights of FID form ({form}): {weights or 'the library download'}",
            f"{type(error).__name__}: {error}".splitlines()[0][:160],
            f"give the file of this form by {option}; the form is left out meanwhile",
        ) from error
    network = network.to(device).eval()
    name = f"inception form ({form}) {'logits' if logits else 'pool'} from {side} px"
    return Extractor(name=name, side=side, function=network, device=device)


class Inception2015(nn.Module):
    """Forms (a) and (c): the layers of torch-fidelity's 2015 network after either resize."""

    def __init__(self, network: nn.Module, *, antialiased: bool, logits: bool) -> None:
        super().__init__()
        *layers, fc = network.children()  # in the order in which pixels pass through them
        self.layers, self.fc = nn.Sequential(*layers), fc
        self.antialiased, self.logits = antialiased, logits

    def forward(self, images: Tensor) -> Tensor:
        """Map images (b, 3, h, w) in [0, 1] to features (b, 2048) or scores (b, 1008)."""
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

        pixels = (images * 255).round().clamp(0, 255)
        if self.antialiased:
            x = pillow_resize(pixels.cpu(), SIDE).to(images.device)
        else:
            x = interpolate_bilinear_2d_like_tensorflow1x(pixels, (SIDE, SIDE), align_corners=False)
        pooled: Tensor = self.layers((x - 128) / 128).flatten(1)  # (b, 2048)
        return pooled @ self.fc.weight.T if self.logits else pooled  # type: ignore[operator]


def pillow_resize(images: Tensor, side: int) -> Tensor:
    """Resize images (b, 3, h, w) in 0..255 by Pillow's antialiased bicubic, as clean-fid does.

    Each channel is resized as float32, and cut to 0..255 without rounding.
    """
    planes = [
        np.asarray(Image.fromarray(plane).resize((side, side), Image.Resampling.BICUBIC))
        for plane in images.float().flatten(0, 1).numpy()
    ]
    return torch.from_numpy(np.stack(planes).clip(0, 255)).view(*images.shape[:2], side, side)


def _torchvision(weights: Path | None) -> nn.Module:
    """Return form (b): images (b, 3, 299, 299) in [0, 1] to features (b, 2048)."""
    from torchvision.models import Inception_V3_Weights, inception_v3

    source = Inception_V3_Weights.IMAGENET1K_V1
    state = read_weights(weights) if weights else source.get_state_dict(progress=True, check_hash=True)
    network = inception_v3(weights=None, aux_logits=True, init_weights=False, transform_input=True)
    network.load_state_dict(state)
    network.fc = nn.Identity()
    return network  # type: ignore[no-any-return]


def _fidelity(weights: Path | None) -> nn.Module:
    """Return torch-fidelity's network of the 2015 weights."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    if weights is None:
        torch.hub.load_state_dict_from_url(URL_INCEPTION_V3, check_hash=True, weights_only=True)
        weights = Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rsplit("/", 1)[1]
    read_weights(weights)  # the library unpickles the file without restrictions: first it is read with them
    return FeatureExtractorInceptionV3(  # type: ignore[no-any-return]
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
    )
