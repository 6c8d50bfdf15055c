"""The captions that train: which of an item's are usable, all of a split's embedded, and their reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.data.attributes import IGNORED, label_ids
from memdriven.data.prepared import Item
from memdriven.data.vocabulary import EncodedCaption, Vocabulary, what_is_not_read
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.readers import CaptionReader, reading_loss
from memdriven.encoders.text import TextFeatures
from memdriven.errors import CaptionError, DataError
from memdriven.training.loop import Descent, Loop

CHUNK = 512
"""Captions in one pass of the text encoder."""
READER_BATCH = 256
READER_STEPS = 200
"""Of a reader's training at least, however few captions there are."""
READER_RATE = 1e-2
"""Adam's learning rate at its peak: it rises over 50 steps and falls to zero."""

UsableCaption = tuple[EncodedCaption, Mapping[str, Any]]
"""A caption, and what it names; nothing where its data set is silent."""


def usable_captions(item: Item, vocabulary: Vocabulary, max_words: int) -> list[UsableCaption]:
    """Return those of an item's captions that have a known word.

    Raises:
        DataError: it has none.
    """
    usable: list[UsableCaption] = []
    for place, caption in enumerate(item.captions):
        named = item.caption_attributes[place] if place < len(item.caption_attributes) else {}
        try:
            usable.append((vocabulary.encode(caption, max_words), named))
        except CaptionError as error:
            reason = error
    if not usable:
        raise DataError(
            f"a usable caption of item {item.id}", reason.found, "correct its captions, or drop that item"
        )
    return usable


class TrainingCaptions:
    """All usable captions of items, embedded: the encoders are frozen, an LSTM slow on a CPU.

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
        usable: list[UsableCaption] = []
        self.of: list[range] = []
        """The captions of each item."""
        for item in items:
            start = len(usable)
            usable += usable_captions(item, vocabulary, max_words)
            self.of.append(range(start, len(usable)))
        encoded = [caption for caption, _ in usable]
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
        counts = torch.tensor([len(own) for own in self.of])
        self.owner = torch.arange(len(self.of)).repeat_interleave(counts).to(self.device)
        """(m,) the item of each caption."""
        self.labels = label_ids([named for _, named in usable], attributes) if attributes else None
        """(m, attributes) what each caption names, where that was asked for."""

    def pick(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Return a random caption (b,) of each item (b,)."""
        mine = [self.of[i] for i in index.tolist()]
        return torch.tensor([own[int(torch.randint(len(own), (), generator=generator))] for own in mine])

    def text(self, rows: Tensor) -> TextFeatures:
        """Return the features of captions (b,), cut to the longest of them."""
        length = int(self.mask[rows].sum(1).max())
        words, mask = self.words[rows, :length], self.mask[rows, :length]
        there = rows.to(self.device)
        return TextFeatures(
            words.to(self.device, non_blocking=True).float(),
            self.sentences[there],
            mask.to(self.device, non_blocking=True),
            None if self.named is None else self.named[there].float(),
        )


def fit_reader(
    items: Sequence[Item],
    damsm: Damsm,
    vocabulary: Vocabulary,
    max_words: int,
    attributes: Mapping[str, Sequence[str]],
    *,
    epochs: int = 32,
    progress: bool = True,
) -> CaptionReader | None:
    """Return a reader of captions' word embeddings; None where no caption records what it names.

    Args:
        items: training images.
        damsm: trained encoders, which stand still.
        vocabulary: theirs.
        max_words: longer captions are cut.
        attributes: those to read, and their values.
        epochs: over all captions.
        progress: show bars.
    """
    captions = TrainingCaptions(items, damsm, vocabulary, max_words, attributes, progress=progress)
    labels = captions.labels
    assert labels is not None
    if bool((labels == IGNORED).all()):
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader = CaptionReader(captions.words.shape[2], attributes).to(damsm.device)
    chance = torch.Generator().manual_seed(0)

    def draw(step: int) -> tuple[TextFeatures, Tensor]:
        rows = torch.randint(len(captions.words), (READER_BATCH,), generator=chance)
        return captions.text(rows), labels[rows].to(damsm.device)

    def losses(batch: tuple[TextFeatures, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        text, named = batch
        loss = reading_loss(reader(text), named)
        return loss, {"loss": loss}

    Loop(
        trainer=Descent({"reader": reader}, torch.optim.Adam(reader.parameters(), READER_RATE), losses),
        draw=draw,
        steps=max(READER_STEPS, epochs * len(captions.words) // READER_BATCH),
        schedule=lambda part, step: min(1.0, (step + 1) / 50) * (1 - part),
        name="caption reader",
        batch_images=READER_BATCH,
        show=progress,
    ).train()
    return reader.eval().requires_grad_(False)
