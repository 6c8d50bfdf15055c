"""Fits a `CaptionReader` to the captions of a data set that records what they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from tqdm import trange

from memdriven.data.attributes import IGNORED
from memdriven.data.prepared import Item
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.caption_reader import CaptionReader, reading_loss
from memdriven.encoders.damsm import Damsm
from memdriven.training.captions import TrainingCaptions

EPOCHS, BATCH = 32, 256
LEAST = 200
"""Steps, however few captions there are."""
RATE = 1e-2
"""Adam's learning rate at its peak: it rises over 50 steps and falls to zero."""


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
    assert captions.labels is not None
    if bool((captions.labels == IGNORED).all()):
        return None
    chance = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = CaptionReader(captions.words.shape[2], attributes).to(damsm.device)
    optimiser = torch.optim.Adam(reader.parameters(), RATE)
    steps = max(LEAST, epochs * len(captions.words) // BATCH)
    for step in trange(steps, desc="caption reader", unit="step", disable=not progress):
        rate = RATE * min(1.0, (step + 1) / 50) * (1 - step / steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        rows = torch.randint(len(captions.words), (BATCH,), generator=chance)
        loss = reading_loss(reader(captions.text(rows)), captions.labels[rows].to(damsm.device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return reader.eval().requires_grad_(False)
