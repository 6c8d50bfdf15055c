"""Fits a `CaptionReader` to the captions of a data set that records what they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from memdriven.data.attributes import IGNORED
from memdriven.data.prepared import Item
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.readers import CaptionReader, reading_loss
from memdriven.encoders.text import TextFeatures
from memdriven.training.captions import TrainingCaptions
from memdriven.training.loop import Loop

EPOCHS, BATCH = 32, 256
LEAST = 200
"""Steps, however few captions there are."""
RATE = 1e-2
"""Adam's learning rate at its peak: it rises over 50 steps and falls to zero."""


class ReaderTrainer:
    """A reader of captions, and the step that fits it."""

    def __init__(self, reader: CaptionReader) -> None:
        self.reader = reader
        self.modules = {"reader": reader}
        self.optimisers = {"reader": torch.optim.Adam(reader.parameters(), RATE)}

    def step(self, batch: tuple[TextFeatures, Tensor], step: int) -> dict[str, Tensor]:
        """Take captions and their labels (b, attributes); return the loss."""
        text, labels = batch
        loss = reading_loss(self.reader(text), labels)
        self.reader.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimisers["reader"].step()
        return {"loss": loss.detach()}


def fit_reader(
    items: Sequence[Item],
    damsm: Damsm,
    vocabulary: Vocabulary,
    max_words: int,
    attributes: Mapping[str, Sequence[str]],
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
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
        seed: of the first weights and the order.
        progress: show bars.
    """
    captions = TrainingCaptions(items, damsm, vocabulary, max_words, attributes, progress=progress)
    labels = captions.labels
    assert labels is not None
    if bool((labels == IGNORED).all()):
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = CaptionReader(captions.words.shape[2], attributes).to(damsm.device)
    chance = torch.Generator().manual_seed(seed)
    steps = max(LEAST, epochs * len(captions.words) // BATCH)

    def draw(step: int) -> tuple[TextFeatures, Tensor]:
        rows = torch.randint(len(captions.words), (BATCH,), generator=chance)
        return captions.text(rows), labels[rows].to(damsm.device)

    Loop(
        trainer=ReaderTrainer(reader),
        draw=draw,
        steps=steps,
        schedule=lambda part, step: min(1.0, (step + 1) / 50) * (1 - part),
        name="caption reader",
        batch_images=BATCH,
        show=progress,
    ).train()
    return reader.eval().requires_grad_(False)
