"""Does a picture show what its caption names, and does it rank that caption above 99 others?

The first is the share of named attributes that the judge finds; the second is R-precision (Xu et al. 2018):
one true caption and 99 mismatched ones, of other classes where classes are known, else of other pictures;
top-1. With DAMSM as the judge (the paper's protocol) the judge was also the generator's training loss, so a
second judge that the generator never saw stands beside it: on Aviary the attribute judge.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.data.attributes import IGNORED
from memdriven.errors import EvaluationError, require
from memdriven.evaluation.context import Context, Prompt
from memdriven.evaluation.judge import attribute_accuracy, caption_log_odds
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import Row
from memdriven.numbers import counted

MISMATCHED = 99
FOLDS = 10
TIE = 1e-6
"""Scores nearer than this are equal."""


def mismatched_captions(
    groups: Sequence[Hashable], captions: Sequence[str], *, count: int = MISMATCHED, seed: int = 0
) -> Tensor:
    """Draw, for each caption, others that do not belong to its picture: ids (n, count).

    Captions of the same group, or of the same words, are never drawn. Drawn without replacement where
    enough are left.

    Args:
        groups: of each caption: its picture's class, or where classes are unknown the picture itself.
        captions: their words.
        count: how many each.
        seed: of the draw.

    Raises:
        EvaluationError: a caption has no mismatched one, or no group.
    """
    if any(group is None for group in groups):
        raise EvaluationError(
            "each caption's class or picture",
            "captions of which neither is known, so that others of the same picture would be drawn",
            "give the picture's id where it has no class",
        )
    rng = np.random.default_rng(seed)
    _, group = np.unique(np.array([str(each) for each in groups]), return_inverse=True)
    _, text = np.unique(np.array(captions), return_inverse=True)
    chosen = np.empty((len(captions), count), dtype=np.int64)
    for i in range(len(captions)):
        allowed = np.flatnonzero((group != group[i]) & (text != text[i]))
        if not len(allowed):
            raise EvaluationError(
                "captions of at least two pictures, with different words",
                f"{counted(len(captions), 'caption')}, none of which can stand against {captions[i]!r}",
                "evaluate over more captions",
            )
        chosen[i] = rng.choice(allowed, count, replace=len(allowed) < count)
    return torch.from_numpy(chosen)


def r_precision(images: Tensor, captions: Tensor, mismatched: Tensor, *, progress: bool = False) -> Tensor:
    """Return which images have a larger product with their own caption than with all others, as 1 or 0 (n,).

    A tie at the top counts as what breaking it at random would give on average.

    Args:
        images: features (n, d).
        captions: features (n, d); caption i belongs to image i.
        mismatched: ids (n, c) of captions that do not belong to image i.
        progress: show a bar.
    """
    right = torch.zeros(len(mismatched))
    rows = torch.split(torch.arange(len(mismatched)), 256)
    for ids in tqdm(rows, desc="R-precision", disable=not progress):
        candidates = torch.cat([ids[:, None], mismatched[ids]], dim=1)  # (b, 1 + c)
        scores = torch.einsum("bd,bcd->bc", images[ids], captions[candidates])
        true, others = scores[:, :1], scores[:, 1:]
        beaten = (others > true + TIE).any(dim=1)
        ties = ((others - true).abs() <= TIE).sum(dim=1)
        right[ids] = torch.where(beaten, 0.0, 1.0 / (1 + ties.float()))
    return right


def fold_means(right: Tensor, folds: int = FOLDS) -> Tensor:
    """Return the means of so many folds, or of as many as there are images."""
    return torch.stack([fold.mean() for fold in right.tensor_split(min(folds, len(right)))])


def measure_attributes(context: Context, row: Row) -> list[Measurement]:
    """Share of the caption's named attributes that the judge finds."""
    _naming(context)
    rates, counts = attribute_accuracy(context.judge, row.images, [p.named for p in context.prompts])
    protocol = f"attribute judge trained on renders, at {context.judge.size} px; top value named"
    details = {"attributes": counts}
    return [
        Measurement(metric, rate, len(row.images), protocol, details.get(metric, {}))
        for metric, rate in rates.items()
    ]


@torch.no_grad()
def measure_r_precision(context: Context, row: Row) -> list[Measurement]:
    """R-precision with DAMSM, which the generator trained against: by cos(global image feature, sentence)."""
    damsm = context.checkpoint.damsm
    vgg = None if damsm.pixels is not None else context.vgg
    images = [
        damsm.look(chunk.to(context.device).float() / 255, vgg)[0].global_.float().cpu()
        for chunk in torch.split(row.images, 64)
    ]
    sentences = [
        context.encode([prompt.caption for prompt in context.prompts[start : start + 256]]).sentence
        for start in range(0, len(context.prompts), 256)
    ]
    features = (F.normalize(torch.cat(parts).float().cpu(), dim=1) for parts in (images, sentences))
    return [_measured(context, context.prompts, "r_precision", "DAMSM (also the training loss)", *features)]


def measure_r_precision_judge(context: Context, row: Row) -> list[Measurement]:
    """R-precision with the attribute judge, which the generator never saw."""
    naming = _naming(context)
    prompts = [context.prompts[i] for i in naming]
    odds = caption_log_odds(context.judge, row.images[naming], [prompt.named for prompt in prompts])
    judge = "attribute judge (never trained against)"
    return [_measured(context, prompts, "r_precision_judge", judge, *odds)]


def _naming(context: Context) -> list[int]:
    """Return which captions name what the judge knows: of the others it can say nothing."""
    asked = context.judge.labels([prompt.named for prompt in context.prompts]) != IGNORED
    naming: list[int] = asked.any(dim=1).nonzero().flatten().tolist()
    require(
        naming,
        EvaluationError,
        "captions that name attributes which the judge knows: " + ", ".join(context.judge.names),
        f"none among {len(context.prompts)}",
        "leave the measure out, or train a judge on this data set",
    )
    return naming


def _measured(
    context: Context, prompts: Sequence[Prompt], metric: str, judge: str, images: Tensor, captions: Tensor
) -> Measurement:
    classes = [prompt.item.class_id for prompt in prompts]
    by_class = None not in classes and len(set(classes)) > 1
    groups = classes if by_class else [prompt.item.id for prompt in prompts]
    mismatched = mismatched_captions(groups, [prompt.caption for prompt in prompts], seed=context.seed)
    right = r_precision(images, captions, mismatched, progress=context.progress)
    folds = fold_means(right)
    distinct = min(len(set(chosen)) for chosen in mismatched.tolist())
    others = f"{MISMATCHED} captions of other {'classes' if by_class else 'pictures'}"
    if distinct < MISMATCHED:
        others += f" (only {distinct} different ones, which makes it easier)"
    details = {"std": round(100 * float(folds.std()), 3), "folds": len(folds)} if len(folds) > 1 else {}
    protocol = f"{judge}; 1 true + {others}, top-1, %"
    return Measurement(metric, 100 * float(right.mean()), len(prompts), protocol, details)
