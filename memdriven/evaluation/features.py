"""Feature spaces that measures look through: one `Extractor` each, named and hashed.

`vgg`: spatial mean of relu5_3, the memory's own network (`fid_vgg`, `kid_vgg`).
`squeezenet`: spatial mean of SqueezeNet 1.1's last maps, a space that neither the memory nor the
generator ever saw (copy check, diversity). Inception's forms are in `inception.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.encoders.weights import weights_hash
from memdriven.files import atomic_write_bytes


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """Images to feature vectors through one frozen network."""

    name: str
    """Names the space in protocols, e.g. `vgg16 relu5_3 mean at 128 px`."""
    identity: str
    """Hash of the weights: keys the cache."""
    side: int
    """Images are resized (bilinear, antialiased) to this side in px first."""
    function: Callable[[Tensor], Tensor]
    """Float images (b, 3, side, side) in [0, 1] to vectors (b, d)."""
    device: str = "cpu"

    @torch.no_grad()
    def __call__(self, images: Tensor, *, batch: int = 32, progress: bool = False) -> Tensor:
        """Return float32 features (n, d), on the CPU, of uint8 images (n, 3, h, w)."""
        parts = []
        with tqdm(total=len(images), desc=self.name, unit="img", disable=not progress) as bar:
            for chunk in torch.split(images, batch):
                scaled = resize(chunk.to(self.device).float() / 255, self.side)
                parts.append(self.function(scaled).float().cpu())
                bar.update(len(chunk))
        return torch.cat(parts)

    def cached(self, images: Tensor, folder: Path | None, *, progress: bool = False) -> Tensor:
        """As a call, but kept in a folder under the hash of the pixels and of this space."""
        if folder is None:
            return self(images, progress=progress)
        from safetensors import SafetensorError
        from safetensors.torch import load, save

        digest = hashlib.sha256(f"{self.name}|{self.identity}|{tuple(images.shape)}|".encode())
        for chunk in torch.split(images, 256):
            digest.update(chunk.contiguous().numpy().data)
        path = folder / f"{digest.hexdigest()[:32]}.safetensors"
        if path.exists():
            try:
                return load(path.read_bytes())["features"]
            except (SafetensorError, KeyError):
                path.unlink()
        features = self(images, progress=progress)
        atomic_write_bytes(path, save({"features": features.contiguous()}))
        return features


def resize(images: Tensor, side: int) -> Tensor:
    """Resize float images (b, 3, h, w) in [0, 1] to a square side: bilinear, antialiased."""
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)


def vgg_extractor(vgg: nn.Module, side: int, device: str = "cpu") -> Extractor:
    """Return pooled relu5_3: `vgg` maps images (b, 3, h, w) in [0, 1] to (b, 512, h', w')."""

    def function(images: Tensor) -> Tensor:
        maps: Tensor = vgg(images)
        return maps.float().mean(dim=(2, 3))

    return Extractor(
        name=f"vgg16 relu5_3 mean at {side} px", identity=weights_hash(vgg), side=side,
        function=function, device=device,
    )  # fmt: skip
