"""Comparisons: one thing changes, the memory or a word; and how far captions and pictures lie apart."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from memdriven.data.images import to_tensor
from memdriven.errors import ConfigError, RetrievalError, require
from memdriven.memory.bank import BankItem
from memdriven.memory.scores import sentence_scores
from memdriven.models.noise import Noise
from memdriven.pipeline.claims import Named
from memdriven.pipeline.output import PipelineOutput, Prepared, Retrieval, to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import CONTROLS, Reference, Request

OTHERS = 4
WRONG = "wrong"
"""Beside the strategies: the item whose captions are least like the words."""


class Row(NamedTuple):
    """One strategy: its references and the pictures so far, a seed each."""

    strategy: str
    retrieval: Retrieval | None
    """None where the strategy has no reference for this caption (`oracle`)."""
    pictures: tuple[Image.Image, ...] = ()


def across(
    pipe: MemoryDrivenPipeline, request: Request, strategies: Sequence[str]
) -> Iterator[tuple[Row, ...]]:
    """Yield the table of strategies and seeds as each row begins, and after each picture.

    The request is what all pictures share; its references are those of its own strategy alone. Each strategy,
    `WRONG` among them, is a row: an empty one where a caption has no `oracle`.
    """
    request = request.seeded()
    own, rows = request.strategy or pipe.config.retrieval.strategy, tuple[Row, ...]()
    for strategy in strategies:
        if strategy == WRONG:
            far = Reference(least_alike(pipe, request.caption, request.exclude))
            asked = replace(request, strategy=None, references=(far,))
        else:
            given = request.references if strategy == own else None
            asked = replace(request, strategy=strategy, references=given)
        try:
            prepared = pipe.prepare(asked)
        except RetrievalError:
            if strategy != "oracle":
                raise
            rows = (*rows, Row(strategy, None))
            yield rows
            continue
        rows = (*rows, Row(strategy, prepared.retrieval))
        yield rows
        for seed in request.seeds:
            pictures = (*rows[-1].pictures, painted(pipe, prepared, seed))
            rows = (*rows[:-1], rows[-1]._replace(pictures=pictures))
            yield rows


def by_others(pipe: MemoryDrivenPipeline, prepared: Prepared, noise: int | Noise) -> Iterator[Image.Image]:
    """Yield a picture of the same words and noise with each of the next `OTHERS` references in line alone."""
    request, used = prepared.request, prepared.retrieval
    strategy = None if used.strategy in CONTROLS else used.strategy
    found = pipe.retrieve(request.caption, strategy, min(pipe.bank.n, OTHERS + len(used)))
    for each in [name for name in found.ids if name not in used.ids][:OTHERS]:
        other = replace(request, strategy=found.strategy, references=(Reference(each),), k=1)
        yield painted(pipe, pipe.prepare(other), noise)


def word_changes(before: str, after: str) -> list[tuple[str, str]]:
    """Return both captions as one line of words: `same` in both, `gone` after, or `new`."""
    old, new = before.split(), after.split()
    changes = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        changes += [("same" if kind == "equal" else "gone", word) for word in old[i:j]]
        changes += [("new", word) for word in new[k:m] if kind != "equal"]
    return changes


def edit(pipe: MemoryDrivenPipeline, request: Request, edited: str) -> tuple[PipelineOutput, PipelineOutput]:
    """Paint a caption and an edited one, of other words, with the first one's references and noise."""
    other, wanted = request.caption.split() != edited.split(), "a caption in which a word is changed"
    require(other, ConfigError, wanted, "the same words", "change a word, e.g. the colour")
    before = pipe(request)
    prepared = before.prepared
    return before, pipe(replace(prepared.request, caption=edited, references=prepared.retrieval.shares))


def painted(pipe: MemoryDrivenPipeline, prepared: Prepared, noise: Noise | int) -> Image.Image:
    """Return the finished picture of a noise or seed."""
    *_, last = pipe.paint(prepared, noise)
    return to_picture(last.image)


# ---- How far pictures lie apart ------------------------------------------------------------------


def difference(first: Image.Image, second: Image.Image) -> Tensor:
    """Return the mean absolute difference of two pictures' colours, (h, w) in 0..1."""
    gap: Tensor = torch.abs(to_tensor(first) - to_tensor(second)).mean(dim=0)
    return gap


def mean_difference(pictures: Sequence[Image.Image]) -> float:
    """Return the mean of `difference` over all places and pairs of two or more pictures, in 0..1."""
    rows = torch.stack([to_tensor(each).flatten() for each in pictures])
    return float(torch.pdist(rows, p=1).mean()) / rows.shape[1]


# ---- How far a caption and the memory lie apart --------------------------------------------------


def cosines(pipe: MemoryDrivenPipeline, caption: str) -> Tensor:
    """Return the cosine of a caption with each item's best caption, (n,)."""
    sentence = pipe.retriever.query(caption).text.sentence[0].float().cpu()
    return sentence_scores(sentence, pipe.bank.sentence_keys, pipe.bank.caption_item, pipe.bank.n)[0]


def least_alike(pipe: MemoryDrivenPipeline, caption: str, exclude: Sequence[str] = ()) -> str:
    """Return the id of the item whose captions are all least like this one, `exclude` left out."""
    best = cosines(pipe, caption)
    best[[pipe.bank.index_of(each) for each in exclude]] = torch.inf
    return pipe.bank.ids[int(best.argmin())]


def carries(named: Named, item: BankItem) -> tuple[int, int] | None:
    """Return how many of the things that a caption names an item has, and how many are named.

    None where the caption names none, or nothing is known of the item's attributes.
    """
    told = [[pair for pair in thing if pair[0] in item.attributes] for thing in named.things]
    has = [all(item.attributes[name] == value for name, value in pairs) for pairs in told if pairs]
    return (sum(has), len(has)) if has else None
