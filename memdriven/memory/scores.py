"""Scores between a caption and bank items, how they are combined, and how references are picked.

Pure functions of tensors; Sec. 3.2 names the sentence- and word-level scores, the rest is ours.
Shapes: t words, d text width, m captions, n items, l words of a stored caption, r regions.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.encoders.damsm import GAMMA1, GAMMA2, matching_scores
from memdriven.errors import RetrievalError, require
from memdriven.numbers import shown


def sentence_scores(
    sentence: Tensor, keys: Tensor, caption_item: Tensor, items: int
) -> tuple[Tensor, Tensor]:
    """Return max_k cos(s, s_jk) of n items (n,), and for each the row of its most similar caption (n,).

    `sentence` is s (d,), `keys` (m, d) are unit sentence embeddings of captions, `caption_item` (m,) is the
    item of each, rising; each of the n has one at least.
    """
    similarity = keys @ F.normalize(sentence, dim=0)  # (m,)
    highest = similarity.new_full((items,), -torch.inf)
    highest.scatter_reduce_(0, caption_item, similarity, "amax")
    rows = (similarity == highest[caption_item]).nonzero()[:, 0]
    best = torch.full((items,), len(keys), device=keys.device)
    best.scatter_reduce_(0, caption_item[rows], rows, "amin")
    return highest, best


def words_words_scores(words: Tensor, caption_words: Tensor, mask: Tensor) -> Tensor:
    """Score stored captions word by word, (m,) in [-1, 1].

    c_i = sum_l a_il e_l, with a_il = softmax_l(gamma1 cos(e_i, e_l)), gathers what a caption says
    of query word i; the score is (1/gamma2) (log sum_i exp(gamma2 cos(e_i, c_i)) - log t).
    The contexts c_i are never formed: e_i . c_i = sum_l a_il e_i . e_l and
    |c_i|^2 = sum_lm a_il a_im e_l . e_m, which is cheaper while captions are shorter than d.

    `words` e (t, d) are the query's, without padding; `mask` (m, l) is true where a caption has a word.
    """
    tiny = torch.finfo(words.dtype).tiny
    dots = F.normalize(words, dim=1) @ caption_words.transpose(1, 2)  # (m, t, l), |e_i| = 1
    gram = caption_words @ caption_words.transpose(1, 2)  # (m, l, l)
    lengths = gram.diagonal(dim1=1, dim2=2).clamp_min(tiny).sqrt()  # (m, l)
    logits = (GAMMA1 * dots / lengths[:, None]).masked_fill(~mask[:, None], -torch.inf)
    attention = logits.softmax(dim=2)  # (m, t, l)
    squared = ((attention @ gram) * attention).sum(dim=2).clamp_min(tiny)  # (m, t)
    cosines = (attention * dots).sum(dim=2) / squared.sqrt()
    return (torch.logsumexp(GAMMA2 * cosines, dim=1) - math.log(len(words))) / GAMMA2


def words_image_scores(words: Tensor, regions: Tensor) -> Tensor:
    """Score images with regions (n, r, d) by DAMSM's R of words (t, d), whatever t: (n,) in [-1, 1]."""
    mask = torch.ones(1, len(words), dtype=torch.bool, device=words.device)
    score = matching_scores(words[None], mask, regions)  # (n, 1)
    return score[:, 0] - math.log(len(words)) / GAMMA2


def word_similarity(words: Tensor, others: Tensor) -> Tensor:
    """Return the cosine of each query word (t, d) with each of `others` (m, l, d): (m, t, l)."""
    return F.normalize(words, dim=1) @ F.normalize(others, dim=2).transpose(1, 2)


def z_scores(scores: Tensor) -> Tensor:
    """Shift and scale to mean 0 and standard deviation 1; equal scores become 0."""
    deviation = scores.std(correction=0)
    if deviation <= torch.finfo(scores.dtype).eps * scores.abs().max():
        return torch.zeros_like(scores)
    return (scores - scores.mean()) / deviation


def fuse(text: list[Tensor], image: list[Tensor], alpha: float) -> Tensor:
    """alpha * text + (1 - alpha) * image, each the mean of its parts (n,) as z-scores.

    One part without the other keeps its own scale.
    """
    if not (text and image):
        (alone,) = text + image
        return alone
    of_text, of_image = (torch.stack([z_scores(part) for part in parts]).mean(0) for parts in (text, image))
    return alpha * of_text + (1 - alpha) * of_image


def top(scores: Tensor, count: int) -> Tensor:
    """Return the places of the highest scores, best first; the first of equal ones wins."""
    return torch.argsort(scores, descending=True, stable=True)[:count]


def percentiles(values: Tensor, reference: Tensor) -> Tensor:
    """Return for each value the percentage (0..100) of the reference that is lower."""
    lower = torch.searchsorted(reference.sort().values, values.contiguous())
    return 100.0 * lower.double() / len(reference)


def shares(weights: Sequence[float]) -> list[float]:
    """Return weights scaled to sum to 1; a RetrievalError says that they cannot be."""
    given = [float(weight) for weight in weights]
    total = math.fsum(given) if all(map(math.isfinite, given)) else math.nan
    good = (total > 0 or not given) and min(given, default=0) >= 0
    wanted = "non-negative finite weights, not all of them zero"
    require(good, RetrievalError, wanted, shown(given), "give one such weight for each reference")
    return [share / total for share in given]


def scaled(weights: Sequence[float]) -> list[float]:
    """Return the shares of references that were kept; equal ones where the far ones' came to nothing."""
    return shares(weights if any(weights) else [1.0] * len(weights))
