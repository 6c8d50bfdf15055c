"""What the encoders train on: captions, pictures and cached v of data sets, all in RAM.

Whatever is drawn at a step is a function of the seed and the step's number, so a resumed training
sees what it would have seen.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

from memdriven.config import Config
from memdriven.data.images import to_unit
from memdriven.data.prepared import Item, PreparedDataset, load_images
from memdriven.data.vocabulary import EncodedCaption, Vocabulary
from memdriven.encoders.damsm import Damsm, cosine
from memdriven.errors import DataError, require
from memdriven.memory.features import FeatureStore
from memdriven.training.augment import disturb
from memdriven.training.captions import Captions
from memdriven.training.distributed import Chance, World

HELD_OUT = 10
"""Every so many'th training item is held out, to choose an epoch by."""
LEAST_GALLERY = 20
"""Images among which recall decides something."""
GALLERY = 1000
"""Recall is measured among at most this many images."""
RECALL_AT = (1, 5, 10)
NO_CLASS = -1


def mixed_seed(*parts: int) -> int:
    """Return a 63-bit seed that depends on all of the parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def permuted_rows(count: int, batch: int, seed: int, step: int) -> Tensor:
    """Return the step's rows (batch,) of endless permutations of `count`, remainders dropped."""
    epoch, at = divmod(step, count // batch)
    chance = torch.Generator().manual_seed(mixed_seed(seed, epoch, 1))
    return torch.randperm(count, generator=chance)[at * batch : (at + 1) * batch]


class Captioned(NamedTuple):
    """The captions of a batch."""

    captions: list[EncodedCaption]
    drawn: list[int]
    """Their numbers."""
    class_ids: Tensor | None
    """(b,), where members of one class are no negatives."""


class CaptionedImages(Captions):
    """Captioned images of one or several data sets.

    Args:
        sets: data sets, each with those of its items that are used; members of one class id in two sets
            do not share a class.
        vocabulary: of the encoders.
        config: for the longest caption and the picture's size.
        pictures: load the pictures.
        features: load the cached v of the first set's items that it has.
        device: of the class ids.
        progress: show bars.

    Raises:
        DataError: an image is unreadable, or none of an item's captions has a known word.
        BankError: the features are damaged.
    """

    def __init__(
        self,
        sets: Sequence[tuple[PreparedDataset, Sequence[Item]]],
        vocabulary: Vocabulary,
        config: Config,
        *,
        pictures: bool,
        features: FeatureStore | None = None,
        device: torch.device | str = "cpu",
        progress: bool = True,
    ) -> None:
        items = [item for _, chosen in sets for item in chosen]
        super().__init__(items, vocabulary, config.text.max_words, progress=progress)
        self.config = config.damsm
        self.class_ids = torch.tensor(
            [
                NO_CLASS if item.class_id is None else 1_000_000 * number + item.class_id
                for number, (_, chosen) in enumerate(sets)
                for item in chosen
            ],
            dtype=torch.long,
            device=device,
        )  # (n,)
        self.pictures: Tensor | None = None
        """(n, 3, s, s) uint8."""
        if pictures and items:
            size = config.damsm.pixel_size
            self.pictures = torch.cat([load_images(*each, size, progress) for each in sets if each[1]])
        stored = {} if features is None else {name: row for row, name in enumerate(features.ids)}
        featured = [i for i, item in enumerate(sets[0][1]) if item.id in stored]
        self.featured = torch.tensor(featured, dtype=torch.long)
        """The items with features (n',)."""
        if features is not None and featured:
            known = [stored[items[i].id] for i in featured]
            self.levels, self.scale = features.load_all(known, progress=progress)

    def key(self) -> str:
        """Return a short hash of the item ids, to recognise the same data on resuming."""
        text = "\0".join(item.id for item in self.items)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def captioned(self, rows: Tensor, generator: torch.Generator) -> Captioned:
        """Return a random caption of each item."""
        drawn = self.pick(rows, generator).tolist()
        classes = self.class_ids[rows] if self.config.mask_same_class else None
        return Captioned([self.encoded[caption] for caption in drawn], drawn, classes)

    def v(self, rows: Tensor) -> Tensor:
        """Return features as float32 (b, 512, h, w), of rows of `featured`."""
        return self.levels[rows].float().mul_(self.scale[rows])

    def disturbed(self, rows: Tensor, generator: torch.Generator, world: World | None = None) -> Tensor:
        """Return this process's pictures as float32 (b, 3, s, s) in [0, 1], a little disturbed."""
        assert self.pictures is not None
        return disturb(to_unit(self.pictures[rows]), Chance(generator, world))


class Split(NamedTuple):
    """The items of a data set that train, that choose the epoch, and that measure the result."""

    train: list[Item]
    held_out: list[Item]
    """Empty where a tenth of the training items is too small a gallery to decide anything."""
    test: list[Item]


def split_items(dataset: PreparedDataset, store: FeatureStore) -> Split:
    """Split the items that have features.

    The test split chooses nothing: what is measured on it later would be flattered.

    Raises:
        DataError: fewer than four training items have features.
    """
    stored = set(store.ids)
    train = [item for item in dataset.split("train") if item.id in stored]
    test = [item for item in dataset.items if item.split == "test" and item.id in stored]  # may be none
    require(
        len(train) >= 4,
        DataError,
        f"four training images or more with features in {store.path}",
        f"{len(train)} of the {len(dataset.split('train'))} that {dataset.path} has",
        "add pictures, or extract the features of this data set",
    )
    held_out = train[1::HELD_OUT]
    if len(held_out) < LEAST_GALLERY:
        return Split(train, [], test)
    return Split([item for index, item in enumerate(train) if index % HELD_OUT != 1], held_out, test)


def gallery(items: Sequence[Item], vocabulary: Vocabulary, max_words: int) -> list[Item]:
    """Return at most `GALLERY` of the items, evenly spread, without those that have no known word."""
    found = []
    for item in items[:: max(1, math.ceil(len(items) / GALLERY))]:
        with suppress(DataError):
            found += Captions([item], vocabulary, max_words).items
    return found


@torch.no_grad()
def recall(model: Damsm, data: CaptionedImages, chunk: int = 50) -> dict[str, float]:
    """Return Recall@1/5/10 of each item's first caption among the items' images, as parts of 1.

    The score is cos(sentence, global). Keys are `<side>_recall@<k>` with the sides `heads`, where there
    are features of all items, and `pixels`, where there are pictures and a network for them. Chance is
    k / n; a tie counts as a miss.
    """
    if not len(data):
        return {}
    was_training = model.training
    model.eval()
    sentences: list[Tensor] = []
    sides: dict[str, list[Tensor]] = {}
    for rows in torch.split(torch.arange(len(data)), chunk):
        first = [data.encoded[data.of[row].start] for row in rows.tolist()]
        sentences.append(model.encode_captions(first).sentence)
        if len(data.featured) == len(data):
            v = data.v(rows).to(model.device)
            sides.setdefault("heads", []).append(model.heads(v).global_)
        if model.pixels is not None and data.pictures is not None:
            images = to_unit(data.pictures[rows]).to(model.device)
            sides.setdefault("pixels", []).append(model.pixels(images).global_)
    model.train(was_training)
    result: dict[str, float] = {}
    for side, parts in sides.items():
        scores = cosine(torch.cat(sentences), torch.cat(parts))  # (n captions, n images)
        own = scores.diagonal()[:, None]
        ranks = len(scores) - 1 - (scores < own).sum(1)  # a tie, or NaN, counts as a miss
        for k in RECALL_AT:
            result[f"{side}_recall@{k}"] = round(float((ranks < k).float().mean()), 4)
    return result
