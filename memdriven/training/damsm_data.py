"""What DAMSM trains on: cached v, pictures as bytes and encoded captions, all in RAM."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from memdriven.data.images import to_unit
from memdriven.data.prepared import Item, PreparedDataset, load_images
from memdriven.data.vocabulary import EncodedCaption, Vocabulary
from memdriven.errors import DataError
from memdriven.memory.feature_store import FeatureStore
from memdriven.training.augment import disturb
from memdriven.training.captions import encode_captions
from memdriven.training.distributed import Chance

HELD_OUT = 0.1
"""Part of the training items that is kept for recall when the test split has no features."""
GALLERY = 1000
"""Recall is measured among at most this many images."""
NO_CLASS = -1


class Batch(NamedTuple):
    """One training step's input."""

    v: Tensor
    """(b, 512, h, w) float32."""
    images: Tensor | None
    """(b, 3, s, s) float32 in [0, 1], or None where no pixel network trains."""
    ids: Tensor
    """(b, t) word ids."""
    lengths: Tensor
    """(b,)."""
    class_ids: Tensor
    """(b,), `NO_CLASS` where there is none."""


@dataclass
class DamsmData:
    """Captioned images of one split, ready for batches."""

    items: list[Item]
    levels: Tensor
    """(n, 512, h, w) uint8; v is `levels * scale`."""
    scale: Tensor
    """(n, 1, 1, 1) float32."""
    images: Tensor | None
    """(n, 3, s, s) uint8."""
    captions: list[list[EncodedCaption]]
    class_ids: Tensor
    """(n,) int64."""

    @classmethod
    def load(
        cls,
        dataset: PreparedDataset,
        items: Sequence[Item],
        store: FeatureStore,
        vocabulary: Vocabulary,
        max_words: int,
        pixel_size: int | None,
        progress: bool,
    ) -> DamsmData:
        """Read the items' features, pictures (unless `pixel_size` is None) and captions.

        Raises:
            DataError: an image is unreadable, or none of an item's captions has a known word.
            BankError: the features lack an item or are damaged.
        """
        levels, scale = store.load_all([store.index_of(i.id) for i in items], progress=progress)
        images = None
        if pixel_size is not None:
            images = load_images(dataset, items, pixel_size, progress)
        return cls(
            items=list(items),
            levels=levels,
            scale=scale,
            images=images,
            captions=[encode_captions(item, vocabulary, max_words) for item in items],
            class_ids=torch.tensor([NO_CLASS if item.class_id is None else item.class_id for item in items]),
        )

    def __len__(self) -> int:
        return len(self.items)

    def key(self) -> str:
        """Return a short hash of the item ids, to recognise the same data on resuming."""
        text = "\0".join(item.id for item in self.items)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def order(self, seed: int, epoch: int) -> Tensor:
        """Return an epoch's order of the items (n,), the same for the same seed and epoch."""
        generator = torch.Generator().manual_seed(mixed_seed(seed, epoch, 1))
        return torch.randperm(len(self), generator=generator)

    def v(self, rows: Tensor) -> Tensor:
        """Return the rows' features as float32 (b, 512, h, w)."""
        return self.levels[rows].float().mul_(self.scale[rows])

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """Return a disturbed batch with one random caption an image.

        v is mirrored for half of the items: relu5_3 of a mirrored picture is nearly the mirrored
        relu5_3 of the picture.
        """
        mirrored = torch.rand(len(rows), generator=generator) < 0.5
        v = self.v(rows)
        v[mirrored] = v[mirrored].flip(-1)
        images = None
        if self.images is not None:
            images = disturb(to_unit(self.images[rows]), Chance(generator))
        choice = torch.rand(len(rows), generator=generator).tolist()
        mine = [self.captions[row] for row in rows.tolist()]
        chosen = [own[int(at * len(own))] for own, at in zip(mine, choice, strict=True)]
        ids, lengths = Vocabulary.batch(chosen)
        return Batch(v, images, ids, lengths, self.class_ids[rows])


def choose_items(dataset: PreparedDataset, store: FeatureStore) -> tuple[list[Item], list[Item], str]:
    """Return the training items, the items to measure recall on, and what the latter are.

    Those of the `test` split with features serve for recall; where there are none, every tenth
    training item is held out. At most `GALLERY` are taken, evenly spread.

    Raises:
        DataError: fewer than four training items have features.
    """
    stored = set(store.ids)
    train = [item for item in dataset.split("train") if item.id in stored]
    test = [item for item in dataset.items if item.split == "test" and item.id in stored]
    kind = "test"
    least = 4
    if len(train) < least:
        raise DataError(
            wanted=f"features of at least {least} items of the training split",
            found=f"{len(train)} in {store.path}",
            fix="extract the features of this data set first",
        )
    if not test:
        every = round(1 / HELD_OUT)
        test = train[1::every]
        train = [item for index, item in enumerate(train) if index % every != 1]
        kind = "held-out"
    step = max(1, math.ceil(len(test) / GALLERY))
    return train, test[::step], kind


def mixed_seed(*parts: int) -> int:
    """Return a 63-bit seed that depends on all of the parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
