"""Captioned pictures in RAM for the training of DAMSM's pixel network, and draws from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from memdriven.config import Config
from memdriven.data.attributes import visible_record
from memdriven.data.prepared import Item, PreparedDataset, load_images
from memdriven.data.vocabulary import EncodedCaption, Vocabulary
from memdriven.training.captions import encode_captions
from memdriven.training.damsm_data import NO_CLASS, mixed_seed


class PixelData:
    """Captioned pictures of one or several data sets, in RAM.

    Args:
        datasets: prepared data sets; items of one and the same class id in two sets do not share
            a class.
        split: `train` or `test`.
        vocabulary: of the trained encoders.
        config: for the picture's size and the longest caption.
        limit: at most this many items, evenly spread.
    """

    def __init__(
        self,
        datasets: Sequence[PreparedDataset],
        split: str,
        vocabulary: Vocabulary,
        config: Config,
        limit: int | None = None,
        progress: bool = True,
    ) -> None:
        pictures: list[Tensor] = []
        classes: list[int] = []
        self.items: list[Item] = []
        for number, dataset in enumerate(datasets):
            items = dataset.split(split)
            items = items[:: max(1, math.ceil(len(items) / limit))] if limit else items
            pictures.append(load_images(dataset, items, config.damsm.pixel_size, progress))
            self.items += items
            offset = number * 1_000_000
            if number == 0:
                self.first = range(len(items))
                """The items of the first data set."""
            classes += [NO_CLASS if i.class_id is None else offset + i.class_id for i in items]
        self.pictures = torch.cat(pictures) if pictures else torch.zeros(0, 3, 1, 1)
        self.class_ids = torch.tensor(classes, dtype=torch.long)
        self.captions = [encode_captions(item, vocabulary, config.text.max_words) for item in self.items]
        self.records = [visible_record(item) for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def rows(self, batch: int, seed: int, step: int) -> Tensor:
        """Return the step's items (batch,) of endless permutations, remainders dropped."""
        epoch, at = divmod(step, len(self) // batch)
        chance = torch.Generator().manual_seed(mixed_seed(seed, epoch))
        return torch.randperm(len(self), generator=chance)[at * batch : (at + 1) * batch]

    def draw(self, rows: Tensor, chance: torch.Generator) -> list[EncodedCaption]:
        """Return one random caption of each item."""
        draws = torch.rand(len(rows), generator=chance).tolist()
        mine = [self.captions[row] for row in rows.tolist()]
        return [own[int(at * len(own))] for own, at in zip(mine, draws, strict=True)]
