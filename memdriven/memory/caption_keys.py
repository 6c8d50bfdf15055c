"""The captions' part of building a bank: s of each caption, in blocks that survive a kill."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.data.vocabulary import EncodedCaption, Vocabulary
from memdriven.encoders.damsm import Damsm
from memdriven.memory.keys import quantise_keys
from memdriven.memory.shards import Shards

CAPTION_BATCH = 256
CAPTION_BLOCK = 4096
"""Captions between two writes."""


def fill_captions(
    shards: Shards, damsm: Damsm, vocabulary: Vocabulary, texts: Sequence[str], max_words: int, progress: bool
) -> None:
    """Write the blocks that are missing: s of their captions as int8, end to end."""
    with tqdm(desc="memory captions", total=len(texts), disable=not progress) as bar:
        for number, start in enumerate(range(0, len(texts), CAPTION_BLOCK)):
            block = texts[start : start + CAPTION_BLOCK]
            if shards.done(number) == 0:
                encoded = [vocabulary.encode(text, max_words) for text in block]
                keys = quantise_keys(sentence_keys(damsm, encoded))
                shards.write(number, [keys.numpy().tobytes()])
            bar.update(len(block))


def sentence_keys(damsm: Damsm, captions: Sequence[EncodedCaption], progress: bool = False) -> Tensor:
    """Return s of every caption (m, d), encoding captions of like length together."""
    order = sorted(range(len(captions)), key=lambda row: len(captions[row].ids))
    parts = []
    starts = range(0, len(order), CAPTION_BATCH)
    for start in tqdm(starts, "captions", disable=not progress):
        batch = [captions[row] for row in order[start : start + CAPTION_BATCH]]
        with torch.no_grad():
            parts.append(damsm.encode_captions(batch).sentence.float().cpu())
    return torch.cat(parts)[torch.argsort(torch.tensor(order))]
