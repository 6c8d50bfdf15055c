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
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.encoders.weights import weights_hash
from memdriven.files import atomic_write_bytes

BATCH = 32
"""Images a forward pass."""
SHARD = 1024
"""Images whose features are kept together."""


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

    def __call__(self, images: Tensor, *, batch: int = BATCH, progress: bool = False) -> Tensor:
        """Return float32 features (n, d), on the CPU, of uint8 images (n, 3, h, w)."""
        with tqdm(total=len(images), desc=self.name, unit="img", disable=not progress) as bar:
            return self._made(images, bar, batch)

    @torch.no_grad()
    def _made(self, images: Tensor, bar: Any, batch: int = BATCH) -> Tensor:
        parts = []
        for chunk in torch.split(images, batch):
            scaled = resize(chunk.to(self.device).float() / 255, self.side)
            parts.append(self.function(scaled).float().cpu())
            bar.update(len(chunk))
        return torch.cat(parts)

    def cached(self, images: Tensor, folder: Path | None, *, progress: bool = False) -> Tensor:
        """As a call, but kept in a folder under the hash of the pixels and of this space.

        Kept in parts of `SHARD` images, so that a run that was cut short goes on after its last
        whole part.
        """
        if folder is None:
            return self(images, progress=progress)
        with tqdm(total=len(images), desc=self.name, unit="img", disable=not progress) as bar:
            parts = [self._part(chunk, folder, bar) for chunk in torch.split(images, SHARD)]
        return torch.cat(parts)

    def _part(self, images: Tensor, folder: Path, bar: Any) -> Tensor:
        """Read one part's features, or make and keep them."""
        from safetensors import SafetensorError
        from safetensors.torch import load, save

        digest = hashlib.sha256(f"{self.name}|{self.identity}|{tuple(images.shape)}|".encode())
        digest.update(images.contiguous().numpy().data)
        path = folder / f"{digest.hexdigest()[:32]}.safetensors"
        if path.exists():
            try:
                features = load(path.read_bytes())["features"]
                bar.update(len(images))
                return features
            except (SafetensorError, KeyError):
                path.unlink()
        features = self._made(images, bar)
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
        name=f"vgg16 relu5_3 mean at {side} px",
        identity=weights_hash(vgg),
        side=side,
        function=function,
        device=device,
    )
