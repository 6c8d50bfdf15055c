"""R-precision: does a picture rank its own caption above 99 others (Xu et al. 2018)?

One true caption and 99 mismatched ones, of other classes where classes are known; top-1. With
DAMSM as the judge (the paper's protocol) the judge was also the generator's training loss, so a
second judge that the generator never saw stands beside it: on Aviary the attribute judge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.errors import EvaluationError

MISMATCHED = 99
FOLDS = 10
TIE = 1e-6
"""Scores nearer than this are equal."""


@dataclass(frozen=True)
class RPrecision:
    """Mean of the folds and their standard deviation, as shares in 0..1."""

    mean: float
    std: float


def mismatched_captions(
    classes: Sequence[int | str | None], captions: Sequence[str], *, count: int = MISMATCHED, seed: int = 0
) -> Tensor:
    """Draw, for each caption, others that do not belong to its picture: ids (n, count).

    Captions of the same class, or of the same words, are never drawn; where classes are unknown
    (None), only other captions are. Drawn without replacement where enough are left.

    Raises:
        EvaluationError: a caption has no mismatched one.
    """
    rng = np.random.default_rng(seed)
    # Every caption belongs to a group; its own group is what must not be drawn.
    labels = [f"class {c}" if c is not None else f"caption {i}" for i, c in enumerate(classes)]
    _, group = np.unique(np.array(labels), return_inverse=True)
    _, text = np.unique(np.array(captions), return_inverse=True)
    chosen = np.empty((len(captions), count), dtype=np.int64)
    for i in range(len(captions)):
        allowed = np.flatnonzero((group != group[i]) & (text != text[i]))
        if not len(allowed):
            raise EvaluationError(
                wanted="captions of at least two classes",
                found=f"{len(captions)} captions of one",
                fix="evaluate over more captions",
            )
        chosen[i] = rng.choice(allowed, count, replace=len(allowed) < count)
    return torch.from_numpy(chosen)


def r_precision(
    scores: Callable[[Tensor, Tensor], Tensor],
    mismatched: Tensor,
    *,
    folds: int = FOLDS,
    progress: bool = False,
) -> RPrecision:
    """Return the share of images whose own caption scores highest.

    Args:
        scores: maps image ids (b,) and caption ids (b, c) to scores (b, c).
        mismatched: caption ids (n, c) that do not belong to image i; caption i does.
        folds: the images are split into this many for the standard deviation.
        progress: show a bar.

    A tie at the top counts as what breaking it at random would give on average.
    """
    n = len(mismatched)
    right = torch.zeros(n)
    for ids in tqdm(torch.split(torch.arange(n), 256), desc="R-precision", disable=not progress):
        candidates = torch.cat([ids[:, None], mismatched[ids]], dim=1)  # (b, 1 + c)
        value = scores(ids, candidates)
        true, others = value[:, :1], value[:, 1:]
        beaten = (others > true + TIE).any(dim=1)
        ties = ((others - true).abs() <= TIE).sum(dim=1)
        right[ids] = torch.where(beaten, 0.0, 1.0 / (1 + ties.float()))
    rates = torch.stack([fold.mean() for fold in right.chunk(min(folds, n))])
    return RPrecision(float(right.mean()), float(rates.std()) if len(rates) > 1 else 0.0)


def cosine_scores(images: Tensor, sentences: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return cos(global image feature, sentence): images (n, d), sentences (n, d)."""
    return dot_scores(F.normalize(images, dim=1), F.normalize(sentences, dim=1))


def dot_scores(images: Tensor, captions: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return images . captions, of (n, d) and (n, d), without the whole (n, n) table."""

    def scores(ids: Tensor, candidates: Tensor) -> Tensor:
        return torch.einsum("bd,bcd->bc", images[ids], captions[candidates])

    return scores
