"""The captions that train: those of a split that are usable, embedded for G, and a reader of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain, repeat
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.data.prepared import Item
from memdriven.data.vocabulary import IGNORED, EncodedCaption, Vocabulary, label_ids, what_is_not_read
from memdriven.encoders.damsm import TrainedDamsm
from memdriven.encoders.readers import CaptionReader, reading_loss
from memdriven.encoders.text import TextFeatures
from memdriven.errors import CaptionError, DataError, require
from memdriven.training.loop import Descent, Loop

CHUNK = 512
"""Captions in one pass of the text encoder."""
READER_BATCH, READER_EPOCHS = 256, 32
READER_STEPS = 200
"""Of a reader's training at least, however few captions there are."""
READER_RATE = 1e-2
"""Adam's learning rate at its peak: it rises over 50 steps and falls to zero."""


class Captions:
    """The captions of items that have a known word.

    Raises:
        DataError: an item has none of them.
    """

    def __init__(
        self, items: Sequence[Item], vocabulary: Vocabulary, max_words: int, *, progress: bool = False
    ) -> None:
        self.items = list(items)
        self.encoded: list[EncodedCaption] = []
        self.named: list[Mapping[str, Any]] = []
        """What each names; nothing where its data set is silent."""
        self.of: list[range] = []
        """The captions of each item."""
        for item in self.items:
            start = len(self.encoded)
            for caption, named in zip(item.captions, chain(item.caption_attributes, repeat({}))):
                with suppress(CaptionError):
                    self.encoded.append(vocabulary.encode(caption, max_words))
                    self.named.append(named)
            self.of.append(range(start, len(self.encoded)))
            wanted, found = f"a usable caption of item {item.id}", f"no known word in {item.captions!r:.80}"
            require(self.of[-1], DataError, wanted, found, "correct its captions, or drop that item")
        for line in what_is_not_read(self.encoded, max_words) if progress else ():
            tqdm.write(line)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)

    def pick(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Return a random caption (b,) of each item (b,)."""
        mine = [self.of[i] for i in index.tolist()]
        return torch.tensor([own[int(torch.randint(len(own), (), generator=generator))] for own in mine])


class EmbeddedCaptions(Captions):
    """The captions of training images, embedded once: the encoders are frozen, an LSTM slow on a CPU.

    Args:
        items: the training images.
        trained: the encoders, and where longer captions are cut.
        attributes: those to label captions with, and their values.
        reader: says what they name, for G; not without.
        progress: show a bar.
    """

    def __init__(
        self,
        items: Sequence[Item],
        trained: TrainedDamsm,
        attributes: Mapping[str, Sequence[str]] | None = None,
        *,
        reader: CaptionReader | None = None,
        progress: bool = False,
    ) -> None:
        damsm, vocabulary, config, _ = trained
        super().__init__(items, vocabulary, config.text.max_words, progress=progress)
        self.device = damsm.device
        ids, lengths = vocabulary.batch(self.encoded)
        self.words = torch.empty(*ids.shape, damsm.text.lstm.hidden_size * 2, dtype=torch.float16)
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
        self.probs = torch.cat(known) if known else None
        """(m, n) what each caption names, by the reader."""
        counts = torch.tensor([len(own) for own in self.of])
        self.owner = torch.arange(len(self)).repeat_interleave(counts).to(self.device)
        """(m,) the item of each caption."""
        self.labels = label_ids(self.named, attributes) if attributes else None
        """(m, attributes) what each caption names, by its record, where that was asked for."""

    def text(self, rows: Tensor) -> TextFeatures:
        """Return the features of captions (b,), cut to the longest of them."""
        length = int(self.mask[rows].sum(1).max())
        words, mask = self.words[rows, :length], self.mask[rows, :length]
        there = rows.to(self.device)
        return TextFeatures(
            words.to(self.device, non_blocking=True).float(),
            self.sentences[there],
            mask.to(self.device, non_blocking=True),
            None if self.probs is None else self.probs[there].float(),
        )


def fit_reader(
    items: Sequence[Item],
    trained: TrainedDamsm,
    attributes: Mapping[str, Sequence[str]],
    *,
    progress: bool = True,
) -> CaptionReader | None:
    """Return a reader of what training images' captions name of the attributes, by their word embeddings.

    There is none where no caption records what it names. The encoders stand still.
    """
    captions = EmbeddedCaptions(items, trained, attributes, progress=progress)
    labels = captions.labels
    assert labels is not None
    if bool((labels == IGNORED).all()):
        return None
    torch.manual_seed(0)
    reader = CaptionReader(captions.words.shape[2], attributes).to(captions.device)
    chance = torch.Generator().manual_seed(0)

    def draw(step: int) -> tuple[TextFeatures, Tensor]:
        rows = torch.randint(len(captions.words), (READER_BATCH,), generator=chance)
        return captions.text(rows), labels[rows].to(captions.device)

    def losses(batch: tuple[TextFeatures, Tensor], step: int) -> dict[str, Tensor]:
        text, named = batch
        return {"reading": reading_loss(reader(text), named)}

    Loop(
        trainer=Descent({"reader": reader}, torch.optim.Adam(reader.parameters(), READER_RATE), losses),
        draw=draw,
        steps=max(READER_STEPS, READER_EPOCHS * len(captions.words) // READER_BATCH),
        schedule=lambda part, step: min(1.0, (step + 1) / 50) * (1 - part),
        name="caption reader",
        batch_images=READER_BATCH,
        show=progress,
    ).train()
    return reader.eval().requires_grad_(False)
