"""What a caption names, and whether a picture shows it, as the model's own reader sees it.

What is named comes from the caption's own words (`naming`). What the model's reader of captions expects
beyond them is told apart, as implied by the kind of bird; what the caption denies is told, and never
ticked: this model cannot leave things out. The reader of pictures is the one that chooses among references:
an account of what the model aims at, not a judgement from outside, for which `evaluation` has a judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from memdriven.checkpoint import Checkpoint
from memdriven.data.vocabulary import UnknownWord
from memdriven.encoders.image import CompactBackbone
from memdriven.encoders.text import TextFeatures
from memdriven.pipeline.naming import Named, named_by

IMPLIED = 0.5
"""Probability above which the reader of captions expects a value that no word names."""

Said = Literal["named", "implied", "denied"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One thing that a caption says of its bird."""

    attribute: str
    wanted: str
    """The value that is said; empty where a thing itself is denied."""
    seen: str
    """The value that the picture shows most likely."""
    probability: float
    """Of the said value in the picture, in 0..1."""
    said: Said = "named"
    """`named` by the caption's words, `implied` by its kind, or `denied`."""

    @property
    def holds(self) -> bool:
        """Whether the picture shows what the words name; what is implied or denied is never counted."""
        return self.said == "named" and self.wanted == self.seen


@torch.inference_mode()
def claims(checkpoint: Checkpoint, named: Named, text: TextFeatures, image: Tensor) -> tuple[Claim, ...]:
    """Return what one caption names, implies and denies, with what a picture shows; nothing without readers.

    Args:
        checkpoint: the model.
        named: what the caption's own words name.
        text: the caption's embeddings, not guided.
        image: (1, 3, h, w) in [-1, 1], on the model's device.
    """
    attributes, pixels = checkpoint.attributes, checkpoint.damsm.pixels
    if attributes is None or not isinstance(pixels, CompactBackbone):
        return ()
    maps = pixels.maps((image.float() + 1) / 2)
    seen = attributes.head(maps)[0].softmax(dim=1)

    def claim(attribute: str, wanted: str, said: Said) -> Claim:
        values = attributes.values[attribute]
        row = seen[list(attributes.values).index(attribute)]
        return Claim(
            attribute=attribute,
            wanted=wanted,
            seen=values[int(row[: len(values)].argmax())],
            probability=float(row[values.index(wanted)]) if wanted else 0.0,
            said=said,
        )

    found = [claim(*pair, "named") for pair in named.claims]
    if attributes.reader is not None:
        told = {attribute for attribute, _ in (*named.claims, *named.denied)}
        expected = attributes.reader.attribute_probs(text)[0]
        for row, (attribute, values) in enumerate(attributes.values.items()):
            share, value = expected[row, : len(values)].max(dim=0)
            if attribute not in told and float(share) > IMPLIED:
                found.append(claim(attribute, values[int(value)], "implied"))
    return (*found, *(claim(*pair, "denied") for pair in named.denied))


def named_in(checkpoint: Checkpoint, caption: str, unknown: Sequence[UnknownWord] = ()) -> Named:
    """Return what a caption's own words name of the attributes that a model knows.

    Args:
        checkpoint: the model.
        caption: as it was typed.
        unknown: words that the model does not know, some with what was read in their place.
    """
    if checkpoint.attributes is None:
        return Named()
    replaced = {each.word: each.replacement for each in unknown if each.replacement}
    return named_by(caption, checkpoint.attributes.values, replaced)


def wishes(checkpoint: Checkpoint, named: Named) -> Tensor | None:
    """Return what a caption's own words name for `agreement` (attributes, values); None for nothing."""
    if checkpoint.attributes is None or not named.claims:
        return None
    values = checkpoint.attributes.values
    wanted = torch.zeros(len(values), max(map(len, values.values())))
    rows = list(values)
    for attribute, value in named.claims:
        wanted[rows.index(attribute), values[attribute].index(value)] = 1.0
    return wanted
