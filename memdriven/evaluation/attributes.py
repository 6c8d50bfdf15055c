"""Attribute accuracy: does a picture show what its caption names?

For every caption, each attribute that it names (wing colour: black, ...) is asked of the
attribute judge; the attribute counts as found when the judge's most likely value is the named
one. Report it beside the rate of real renders, which is the judge's own ceiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from memdriven.aviary.species import COLOURS
from memdriven.data.attributes import IGNORED
from memdriven.errors import EvaluationError
from memdriven.evaluation.context import Context
from memdriven.evaluation.judge import AttributeJudge
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import Row


def is_colour(values: Sequence[str]) -> bool:
    """Whether an attribute with these values is the colour of a part (`none` counts as one)."""
    named = set(values) - {"none"}
    return bool(named) and named <= set(COLOURS)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How often something was asked and how often it was there."""

    right: int = 0
    count: int = 0

    @property
    def rate(self) -> float:
        """right / count; NaN when nothing was asked."""
        return self.right / self.count if self.count else float("nan")


@dataclass(frozen=True, kw_only=True)
class AttributeAccuracy:
    """What `attribute_accuracy` found."""

    overall: Tally
    """Over every named attribute of every image."""
    asked_colours: Tally
    """Over the named colours of parts: the headline."""
    all_colours_right: Tally
    """Images whose named colours are all there, of the images that name any."""
    most_colours_right: Tally
    """Images with more than half of their named colours there, of the images that name any."""
    by_attribute: dict[str, Tally] = field(default_factory=dict)

    def summary(self) -> dict[str, float]:
        """The rates by short name, for a table."""
        return {
            "asked_colours": self.asked_colours.rate,
            "all_colours_right": self.all_colours_right.rate,
            "most_colours_right": self.most_colours_right.rate,
            "attributes": self.overall.rate,
        }

    def details(self) -> dict[str, Any]:
        """The counts, JSON-ready."""
        return {
            name: {"right": t.right, "count": t.count, "rate": round(t.rate, 4)}
            for name, t in sorted(self.by_attribute.items())
        }


def attribute_accuracy(
    judge: AttributeJudge, images: Tensor, caption_attributes: Sequence[Mapping[str, Any]]
) -> AttributeAccuracy:
    """Return the share of caption-named attributes that the judge finds in the images.

    Args:
        judge: a trained judge.
        images: uint8 (n, 3, h, w).
        caption_attributes: n records, what each image's caption names. Attributes and values
            that the judge does not know are left out of the counts.

    Raises:
        EvaluationError: the numbers of images and records differ.
    """
    _same_number(images, caption_attributes)
    labels = judge.labels(caption_attributes)  # (n, a)
    asked = labels != IGNORED
    right = (judge.log_probabilities(images).argmax(dim=2) == labels) & asked
    colour = torch.tensor([is_colour(values) for values in judge.attributes.values()])
    colours, found = asked[:, colour].sum(dim=1), right[:, colour].sum(dim=1)  # (n,)
    naming = int((colours > 0).sum())
    return AttributeAccuracy(
        overall=Tally(right=int(right.sum()), count=int(asked.sum())),
        asked_colours=Tally(right=int(found.sum()), count=int(colours.sum())),
        all_colours_right=Tally(right=int(((found == colours) & (colours > 0)).sum()), count=naming),
        most_colours_right=Tally(right=int((2 * found > colours).sum()), count=naming),
        by_attribute={
            name: Tally(right=int(right[:, i].sum()), count=int(asked[:, i].sum()))
            for i, name in enumerate(judge.names)
            if asked[:, i].any()
        },
    )


def caption_log_odds(
    judge: AttributeJudge, images: Tensor, caption_attributes: Sequence[Mapping[str, Any]]
) -> tuple[Tensor, Tensor]:
    """Return factors whose product says how well each caption fits each image [ours].

        sum over the caption's attributes of  log p(value | image) - log p(value)

    The prior keeps captions that name much, or name common things, comparable.

    Returns:
        images (n, d) and captions (m, d): images @ captions.T is the table (n, m).
    """
    log_p = judge.log_probabilities(images)  # (n, a, v)
    prior = torch.zeros(log_p.shape[1:])
    for i, shares in enumerate(judge.priors.values()):
        prior[i, : len(shares)] = torch.tensor(shares)
    odds = (log_p - prior.clamp_min(1e-6).log()).masked_fill(prior == 0, 0.0)  # (n, a, v)
    labels = judge.labels(caption_attributes)  # (m, a)
    named = torch.zeros(len(labels), *prior.shape)
    known = (labels != IGNORED).nonzero()
    named[known[:, 0], known[:, 1], labels[known[:, 0], known[:, 1]]] = 1.0
    return odds.flatten(1), named.flatten(1)


def _same_number(images: Tensor, records: Sequence[Any]) -> None:
    if len(images) != len(records):
        raise EvaluationError(
            wanted="one attribute record an image",
            found=f"{len(images)} and {len(records)}",
            fix="pass the record of the caption each image was made from",
        )


def measure_attributes(context: Context, row: Row) -> list[Measurement]:
    """Share of the caption's named attributes that the judge finds."""
    found = attribute_accuracy(context.judge, row.images, [prompt.named for prompt in context.prompts])
    protocol = f"attribute judge trained on renders, at {context.judge.size} px; top value named"
    return [
        Measurement(
            metric=metric,
            value=value,
            n=len(row.images),
            protocol=protocol,
            details=found.details() if metric == "attributes" else {},
        )
        for metric, value in found.summary().items()
    ]
