"""The captions that train: which of an item's are usable, and all of a split's, encoded once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.data.attributes import label_ids
from memdriven.data.prepared import Item
from memdriven.data.vocabulary import EncodedCaption, Vocabulary, what_is_not_read
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.readers import CaptionReader
from memdriven.encoders.text import TextFeatures
from memdriven.errors import CaptionError, DataError

CHUNK = 512
"""Captions in one pass of the text encoder."""


def usable_captions(item: Item, vocabulary: Vocabulary, max_words: int) -> dict[int, EncodedCaption]:
    """Return an item's usable captions by their places among all of its captions.

    Raises:
        DataError: it has none.
    """
    encoded: dict[int, EncodedCaption] = {}
    for place, caption in enumerate(item.captions):
        try:
            encoded[place] = vocabulary.encode(caption, max_words)
        except CaptionError as error:
            reason = error
    if not encoded:
        raise DataError(
            wanted=f"a usable caption of item {item.id}",
            found=reason.found,
            fix="correct its captions, or drop that item",
        )
    return encoded


def named_by(item: Item, usable: Iterable[int]) -> list[Mapping[str, Any]]:
    """Return what captions of an item name, by their places; nothing where the data set is silent."""
    records = item.caption_attributes
    return [records[place] if place < len(records) else {} for place in usable]


class TrainingCaptions:
    """All usable captions of items, encoded: the encoders are frozen, an LSTM slow on a CPU.

    Args:
        items: the training images.
        damsm: trained encoders.
        vocabulary: theirs.
        max_words: longer captions are cut.
        attributes: those to label captions with, and their values.
        reader: says what they name, for G; not without.
        progress: show a bar.
    """

    def __init__(
        self,
        items: Sequence[Item],
        damsm: Damsm,
        vocabulary: Vocabulary,
        max_words: int,
        attributes: Mapping[str, Sequence[str]] | None = None,
        *,
        reader: CaptionReader | None = None,
        progress: bool = False,
    ) -> None:
        self.device = damsm.device
        encoded: list[EncodedCaption] = []
        owner: list[int] = []
        named: list[Mapping[str, Any]] = []
        self.of: list[range] = []
        """The captions of each item."""
        for index, item in enumerate(items):
            usable = usable_captions(item, vocabulary, max_words)
            self.of.append(range(len(encoded), len(encoded) + len(usable)))
            encoded.extend(usable.values())
            owner.extend([index] * len(usable))
            named.extend(named_by(item, usable))
        for line in what_is_not_read(encoded, max_words) if progress else ():
            tqdm.write(line)
        ids, lengths = vocabulary.batch(encoded)
        width = damsm.text.lstm.hidden_size * 2
        self.words = torch.empty(*ids.shape, width, dtype=torch.float16)
        self.mask = torch.empty(ids.shape, dtype=torch.bool)
        sentences, known = [], []
        with torch.no_grad():
            chunks = torch.split(torch.arange(len(ids)), CHUNK)
            for rows in tqdm(chunks, desc="captions", disable=not progress):
                text = damsm.text(ids[rows].to(self.device), lengths[rows].to(self.device))
                self.words[rows], self.mask[rows] = text.words.half().cpu(), text.mask.cpu()
                sentences.append(text.sentence)
                if reader is not None:
                    known.append(reader.attribute_probs(text).flatten(1).half())
        self.sentences = torch.cat(sentences)  # (m, d)
        self.named = torch.cat(known) if known else None
        """(m, n) what each caption names, by the reader."""
        self.owner = torch.tensor(owner, device=self.device)
        """(m,) the item of each caption."""
        self.labels = label_ids(named, attributes) if attributes else None
        """(m, attributes) what each caption names, where that was asked for."""

    def pick(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Return a random caption (b,) of each item (b,)."""
        mine = [self.of[i] for i in index.tolist()]
        return torch.tensor([own[int(torch.randint(len(own), (), generator=generator))] for own in mine])

    def text(self, rows: Tensor) -> TextFeatures:
        """Return the features of captions (b,), cut to the longest of them."""
        length = int(self.mask[rows].sum(1).max())
        words, mask = self.words[rows, :length], self.mask[rows, :length]
        return TextFeatures(
            words.to(self.device, non_blocking=True).float(),
            self.sentences[rows.to(self.device)],
            mask.to(self.device, non_blocking=True),
            None if self.named is None else self.named[rows.to(self.device)].float(),
        )
