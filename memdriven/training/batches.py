"""Batches for the GAN: images of every stage, a caption, and the memory's features.

Each batch is a pure function of (seed, step, rank), so a resumed run sees what it would have
seen, and the order of epochs is a fresh permutation each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.config import Config
from memdriven.data.prepared import Item, PreparedDataset, load_images
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.caption_reader import CaptionReader
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.text import TextFeatures
from memdriven.errors import TrainingError
from memdriven.memory.feature_store import FeatureStore
from memdriven.models.generator import BASE_SIZE
from memdriven.models.window import draw_windows, seen_through
from memdriven.training.captions import TrainingCaptions
from memdriven.training.memories import Memories

CHANGE = 0.2
"""Difference of a colour channel, in [-1, 1], that counts as a change."""
RESIDENT_BYTES = 12e9
"""Images and features up to this size are kept on the GPU."""


@dataclass(frozen=True)
class Batch:
    """What one training step needs."""

    images: list[Tensor]
    """Real images of every stage, (b, 3, s, s) in [-1, 1]."""
    text: TextFeatures
    v: Tensor
    """Memory features (b, 512, 16, 16): the image's own, or neighbours' (p_swap), some of them
    weakened (p_fade)."""
    own: Tensor
    """(b,) bool: whether v is the image's own, in full strength."""
    class_ids: Tensor | None
    z: Tensor
    epsilon: Tensor
    labels: Tensor | None = None
    """(b, attributes) what the captions name, for the attribute loss."""

    places: Tensor | None = None
    """(b, 1, s, s) weight of each place in the reconstruction loss, with `loss.change_weight`."""

    @property
    def words(self) -> Tensor:
        """Masked mean of the word embeddings (b, d), with what the captions name if G reads it."""
        return self.text.for_generator


class GanData:
    """The training split in memory, and the batches drawn from it.

    Args:
        dataset: a prepared data set.
        features: its feature store (relu5_3 of every training image).
        damsm: trained encoders, on `device`.
        vocabulary: of the encoders.
        extra: more data sets, whose training images have no features of their own: their v is that
            of the memory they name, or else always neighbours' [ours].
        attributes: those to label captions with, and their values.
        reader: of what captions name, where G is told it.
    """

    def __init__(
        self,
        dataset: Path,
        features: Path,
        damsm: Damsm,
        vocabulary: Vocabulary,
        config: Config,
        device: torch.device,
        *,
        extra: Sequence[Path] = (),
        attributes: Mapping[str, Sequence[str]] | None = None,
        reader: CaptionReader | None = None,
        progress: bool = True,
    ) -> None:
        self.config, self.device, self.damsm = config, device, damsm
        self.vocabulary = vocabulary
        self.size = BASE_SIZE << (config.generator.stages - 1)
        self.items: list[Item] = []
        sets = [PreparedDataset.open(folder) for folder in (dataset, *extra)]
        self.name = " + ".join(prepared.name for prepared in sets)
        # Crops are cut where the stored pictures have room for it; none are enlarged for it.
        least = min(prepared.image_size for prepared in sets)
        wanted = 2 * self.size if config.generator.zoom else round(self.size * config.train.crop)
        side = max(self.size, min(wanted, least))
        images = []
        for prepared in sets:
            items = prepared.split("train")
            images.append(load_images(prepared, items, side, progress=progress))
            self.items += items
        self.images = torch.cat(images) if extra else images[0]
        self.featured = len(sets[0].split("train"))
        store = FeatureStore.open(features)
        position = {identifier: i for i, identifier in enumerate(store.ids)}
        # Whose features each image is painted from: its own, those of a named memory, or none.
        needed = [item.id for item in self.items[: self.featured]]
        needed += [item.memory for item in self.items[self.featured :]]
        missing = [name for name in needed if name and name not in position]
        if missing:
            raise TrainingError(
                wanted=f"features of all training images, and of what they name, in {features}",
                found=f"{len(missing)} without, e.g. {missing[0]}",
                fix="run extract-features on this data set again",
            )
        self.rows = torch.tensor([position[name] if name else -1 for name in needed])
        """(n,) row of the features of each image, -1 where it has none."""
        first = {name: i for i, name in enumerate(needed[: self.featured])}
        self.painted_from = torch.tensor([first.get(name, i) for i, name in enumerate(needed)])
        """(n,) the image whose features each image is painted from to begin with."""
        self.features, self.feature_scale = store.load_all(progress=progress)
        if device.type == "cuda" and self.images.nbytes + self.features.nbytes < RESIDENT_BYTES:
            self.images, self.features = self.images.to(device), self.features.to(device)
        classes = [item.class_id for item in self.items]
        self.class_ids = None if None in classes else torch.tensor(classes)
        self.captions = TrainingCaptions(
            self.items, damsm, vocabulary, config.text.max_words, attributes, reader=reader, progress=progress
        )
        self.memories = Memories(
            config,
            self.captions.sentences,
            self.captions.owner,
            self.class_ids,
            pool=self.featured,
            given=self.rows >= 0,
        )
        told = repr([(item.id, tuple(item.captions)) for item in self.items])
        self.identity = {
            "vgg": str(store.header["encoder"]),
            "items": hashlib.sha256(told.encode()).hexdigest()[:16],
        }
        """Names the data: a run resumes with no other."""

    def __len__(self) -> int:
        """Return the number of training images."""
        return len(self.items)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """Return the batch of this step and process."""
        config = self.config.train
        generator = torch.Generator().manual_seed((config.seed * 1_000_003 + step) * 512 + rank)
        index = self._indices(step * world + rank)
        chosen = self.captions.draw(index, generator)
        with torch.no_grad():
            text = self.captions.text(chosen)
            sources, shares = self.memories.draw(index, text.sentence, generator)
        flips = torch.rand(len(index), generator=generator) < (0.5 if config.flip else 0.0)
        rows = self.rows[sources].to(self.features.device)
        v = self.features[rows].to(self.device, non_blocking=True).float()
        v = (v * (self.feature_scale[rows.cpu()] * shares[..., None, None, None]).to(self.device)).sum(1)
        flips = flips.to(self.device)[:, None, None, None]
        source_images: Tensor | None = None
        if self.config.generator.zoom:
            windows = draw_windows(len(index), self.config.generator.zoom, generator)
            v = seen_through(v, windows.to(v.device))
            images = self._zoom(index, windows)
            if self.config.loss.change_weight:
                source_images = self._zoom(self.painted_from[index], windows)
        else:
            images = self._crop(index, generator)
        v = torch.where(flips, v.flip(3), v)
        images = torch.where(flips, images.flip(3), images).float() / 127.5 - 1
        places = None
        if source_images is not None:
            before = torch.where(flips, source_images.flip(3), source_images).float() / 127.5 - 1
            places = 1 + self.config.loss.change_weight * changed(before, images)
        shape = (len(index), self.config.generator.z_dim)
        z = torch.randn(shape, generator=generator)
        epsilon = torch.randn(len(index), self.config.generator.condition_dim, generator=generator)
        classes = None if self.class_ids is None else self.class_ids[index].to(self.device)
        strength = self.memories.strength(len(index), generator)
        labels = self.captions.labels
        return Batch(
            pyramid(images, self.config.generator.stages),
            text,
            v * strength.to(self.device)[:, None, None, None],
            ((sources[:, 0] == index) & (strength == 1)).to(self.device),
            classes,
            z.to(self.device),
            epsilon.to(self.device),
            None if labels is None else labels[chosen].to(self.device),
            places,
        )

    def _indices(self, position: int) -> Tensor:
        """Return the `position`-th batch of an endless run of permutations."""
        size, n = self.config.train.batch_size, len(self)
        found: list[Tensor] = []
        start, wanted = position * size, size
        while wanted:
            epoch, offset = divmod(start, n)
            order = torch.randperm(
                n, generator=torch.Generator().manual_seed(self.config.train.seed * 7919 + epoch)
            )
            found.append(order[offset : offset + wanted])
            start += len(found[-1])
            wanted -= len(found[-1])
        return torch.cat(found)

    def _crop(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images' random crops, uint8 (b, 3, size, size)."""
        full = self.images[index.to(self.images.device)]
        room = full.shape[-1] - self.size
        if not room:
            return full.to(self.device, non_blocking=True)
        corners = torch.randint(room + 1, (len(index), 2), generator=generator).tolist()
        crops = [image[:, y : y + self.size, x : x + self.size] for image, (y, x) in zip(full, corners)]
        return torch.stack(crops).to(self.device, non_blocking=True)

    def _zoom(self, index: Tensor, windows: Tensor) -> Tensor:
        """Return what the windows (b, 3) show of the images, uint8 (b, 3, size, size)."""
        full = self.images[index.to(self.images.device)]
        side = full.shape[-1]
        parts = []
        for image, (x, y, share) in zip(full, windows.tolist()):
            left, top = round(x * side), round(y * side)
            span = round(share * side)
            part = image[None, :, top : top + span, left : left + span].float()
            parts.append(F.interpolate(part, (self.size, self.size), mode="bilinear", antialias=True))
        zoomed = torch.cat(parts).round().clamp(0, 255).to(torch.uint8)
        return zoomed.to(self.device, non_blocking=True)


def changed(before: Tensor, after: Tensor) -> Tensor:
    """Return where images in [-1, 1] differ visibly, and next to it: (b, 1, s, s) of 0 and 1."""
    apart = (after - before).abs().amax(dim=1, keepdim=True) > CHANGE
    return F.max_pool2d(apart.float(), 3, stride=1, padding=1)


def pyramid(images: Tensor, stages: int) -> list[Tensor]:
    """Return the images at every stage's size, smallest first, each the mean of 2x2 pixels."""
    sizes = [images]
    for _ in range(stages - 1):
        sizes.append(F.avg_pool2d(sizes[-1], 2))
    return sizes[::-1]
