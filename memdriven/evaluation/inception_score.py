"""Inception score: exp E_x KL(p(y|x) || p(y)) over ten splits (Salimans et al. 2016).

Values of different classifiers (a bird-tuned Inception on CUB, ImageNet's on COCO) cannot be
compared, so the classifier is part of the protocol's name.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from memdriven.errors import EvaluationError
from memdriven.evaluation.fid import Precomputed


@dataclass(frozen=True)
class Score:
    """Mean and standard deviation over the splits."""

    mean: float
    std: float


def inception_score(logits: Tensor, *, splits: int = 10, seed: int = 0) -> Score:
    """Return the score of a classifier's logits (n, classes) in shuffled splits.

    Raises:
        EvaluationError: fewer images than splits, or not a (n, classes) table.
    """
    from torchmetrics.image.inception import InceptionScore

    if logits.ndim != 2 or len(logits) < splits:
        raise EvaluationError(
            wanted=f"logits (n, classes), n >= {splits}",
            found=str(tuple(logits.shape)),
            fix="score more images, or use fewer splits",
        )
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # a note on memory
        torch.manual_seed(seed)
        metric = InceptionScore(feature=Precomputed(logits.shape[1]), splits=splits)
        metric.update(logits.double())
        mean, std = metric.compute()
    return Score(float(mean), float(std) if splits > 1 else 0.0)
