"""Comparisons: one thing changes, the memory or a word; and how far captions and pictures lie apart."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from memdriven.data.images import to_tensor
from memdriven.errors import ConfigError, EvaluationError, RetrievalError
from memdriven.memory.bank import BankItem
from memdriven.memory.scores import sentence_scores
from memdriven.models.noise import Noise
from memdriven.pipeline.claims import named_in
from memdriven.pipeline.output import PipelineOutput, Prepared, Retrieval, to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Reference, Request

WRONG = "wrong"
"""Beside the strategies: the item whose captions are least like the words."""
LEVELS = 4
"""Resolutions at which pictures are compared: the full one, then halved three times."""


@dataclass(frozen=True)
class Row:
    """One strategy: its references and a picture for each seed."""

    strategy: str
    retrieval: Retrieval | None
    """None where the strategy has no reference for this caption (`oracle`)."""
    pictures: tuple[Image.Image | None, ...]
    """A seed each; None while it is still to come."""


def across(
    pipe: MemoryDrivenPipeline, request: Request, strategies: Sequence[str]
) -> Iterator[tuple[Row, ...]]:
    """Yield the table of strategies and seeds after each picture, rows not yet begun left out.

    Args:
        pipe: the model.
        request: what all pictures share; its references are those of its own strategy alone.
        strategies: a row each; `WRONG` may be among them.

    Raises:
        CaptionError, RetrievalError, ConfigError: as the pipeline's call; only a missing `oracle`
            gives an empty row instead.
    """
    request = request.seeded()
    own = request.strategy or pipe.config.retrieval.strategy
    done: list[Row] = []
    for strategy in strategies:
        row = Row(strategy, None, (None,) * len(request.seeds))
        if strategy == WRONG:
            far = Reference(least_alike(pipe, request.caption, request.exclude))
            asked = replace(request, strategy=None, references=(far,))
        else:
            given = request.references if strategy == own else None
            asked = replace(request, strategy=strategy, references=given)
        try:
            for output in pipe.stream(asked):
                whole = (
                    stages[-1] if len(stages) == len(pipe.resolutions) else None
                    for stages in output.all_stages
                )
                before, row = row, Row(strategy, output.retrieval, tuple(whole))
                if row.pictures != before.pictures or before.retrieval is None:
                    yield (*done, row)
        except RetrievalError:
            if strategy != "oracle":
                raise
            yield (*done, row)
        done.append(row)


Change = tuple[Literal["same", "gone", "new"], str]


def word_changes(before: str, after: str) -> list[Change]:
    """Return both captions as one line of words: in both, only before, or only after."""
    old, new = before.split(), after.split()
    changes: list[Change] = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            changes += [("same", word) for word in old[i:j]]
        else:
            changes += [("gone", word) for word in old[i:j]]
            changes += [("new", word) for word in new[k:m]]
    return changes


@dataclass(frozen=True)
class Edit:
    """A caption and its edited twin with the same noise and references."""

    before: PipelineOutput
    after: PipelineOutput
    changes: list[Change]
    difference: Tensor
    """Mean absolute difference of the colours at each place, (s, s) in 0..1."""


def edit(pipe: MemoryDrivenPipeline, request: Request, edited: str) -> Edit:
    """Paint a caption and an edited one with the first one's references and noise.

    Raises:
        ConfigError: both captions have the same words.
        CaptionError, RetrievalError: as the pipeline's call.
    """
    changes = word_changes(request.caption, edited)
    if all(kind == "same" for kind, _ in changes):
        raise ConfigError(
            "a caption in which a word is changed", "the same words", "change a word, e.g. the colour"
        )
    before = pipe(request)
    prepared = before.prepared
    after = pipe(replace(prepared.request, caption=edited, references=prepared.references))
    return Edit(before, after, changes, difference(before.images[0], after.images[0]))


def painted(pipe: MemoryDrivenPipeline, prepared: Prepared, noise: Noise | int) -> Image.Image:
    """Return the finished picture of a noise or seed."""
    *_, last = pipe.paint(prepared, noise)
    return to_picture(last.image)


# ----------------------------------------------------------------------------------------------------
# How far pictures lie apart


def difference(first: Image.Image, second: Image.Image) -> Tensor:
    """Return the mean absolute difference of two pictures' colours, (h, w) in 0..1."""
    gap: Tensor = torch.abs(to_tensor(first) - to_tensor(second)).mean(dim=0)
    return gap


def mean_difference(pictures: Sequence[Image.Image], levels: int = LEVELS) -> float:
    """Return how far pictures of one size lie apart, in 0..1: the mean over pairs and resolutions.

    It measures colours and where they are, without a network.

    Raises:
        EvaluationError: fewer than two pictures.
    """
    if len(pictures) < 2:
        raise EvaluationError("two pictures or more", str(len(pictures)), "make more of them")
    level, gaps = torch.stack([to_tensor(each) for each in pictures]), []
    for _ in range(levels):
        gaps.append(torch.pdist(level.flatten(1), p=1).mean() / level[0].numel())
        level = F.avg_pool2d(level, 2)
    return float(sum(gaps)) / levels


# ----------------------------------------------------------------------------------------------------
# How far a caption and the memory lie apart


def cosines(pipe: MemoryDrivenPipeline, caption: str) -> Tensor:
    """Return the cosine of a caption with each item's best caption, (n,).

    Raises:
        CaptionError: the caption cannot be encoded.
    """
    sentence = pipe.retriever.query(caption).text.sentence[0].float().cpu()
    return sentence_scores(sentence, pipe.bank.sentence_keys, pipe.bank.caption_item, pipe.bank.n)[0]


def least_alike(pipe: MemoryDrivenPipeline, caption: str, exclude: Sequence[str] = ()) -> str:
    """Return the id of the item whose captions are all least like this one, `exclude` left out."""
    best = cosines(pipe, caption)
    best[[pipe.bank.index_of(each) for each in exclude]] = torch.inf
    return pipe.bank.ids[int(best.argmin())]


def carries(pipe: MemoryDrivenPipeline, caption: str, item: BankItem) -> tuple[int, int] | None:
    """Return how many of the named things an item has, and how many are named.

    None where the caption names none, or nothing is known of the item's attributes.
    """
    named = [
        (name, value) for name, value in named_in(pipe.checkpoint, caption).claims if name in item.attributes
    ]
    has = sum(item.attributes[name] == value for name, value in named)
    return (has, len(named)) if named else None
