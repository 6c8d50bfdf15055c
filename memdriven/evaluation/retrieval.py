"""What finds what: a picture its caption (R-precision), a caption fitting references (Recall@k).

R-precision (Xu et al. 2018): one true caption and 99 mismatched ones, of other classes where classes are
known, else of other pictures; top-1. With DAMSM as the judge (the paper's protocol) the judge was also the
generator's training loss, so a second judge that the generator never saw stands beside it: on Aviary the
attribute judge.

Recall@k, by each strategy, has two meanings of fitting: the reference is of the caption's class (captions of
the bank's own classes, their own image left out), or it has every attribute that the caption names. The
second also works for unseen species, whose classes the bank does not hold.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.data.vocabulary import tokenize
from memdriven.errors import EvaluationError, require
from memdriven.evaluation.attributes import naming
from memdriven.evaluation.context import Context, Prompt
from memdriven.evaluation.judge import caption_log_odds
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import Row
from memdriven.memory.bank import BankItem
from memdriven.memory.retrieval import STRATEGIES
from memdriven.numbers import counted

MISMATCHED = 99
FOLDS = 10
TIE = 1e-6
"""Scores nearer than this are equal."""
KS = (1, 5, 10)
SEARCHED: tuple[str, ...] = tuple(name for name in STRATEGIES if name not in ("oracle", "none"))
"""Strategies with a search."""
CAPTIONS = 500
"""At most this many captions are searched for."""


def mismatched_captions(
    groups: Sequence[Hashable], captions: Sequence[str], *, count: int = MISMATCHED, seed: int = 0
) -> Tensor:
    """Draw, for each caption, others that do not belong to its picture: ids (n, count).

    Captions of the same group (their picture's class, or where classes are unknown the picture itself), or
    of the same words, whatever their case and marks, are never drawn. None is drawn twice where enough are
    left. An EvaluationError says that a caption has no mismatched one, or no group.
    """
    found, fix = "neither is known of some", "give the picture's id where it has no class"
    require(None not in groups, EvaluationError, "each caption's class or picture", found, fix)
    rng = np.random.default_rng(seed)
    _, group = np.unique(np.array([str(each) for each in groups]), return_inverse=True)
    _, text = np.unique([" ".join(tokenize(caption)) for caption in captions], return_inverse=True)
    chosen = np.empty((len(captions), count), dtype=np.int64)
    for i in range(len(captions)):
        allowed = np.flatnonzero((group != group[i]) & (text != text[i]))
        wanted = "captions of at least two pictures, with different words"
        found = f"{counted(len(captions), 'caption')}, none of which can stand against {captions[i]!r}"
        require(len(allowed), EvaluationError, wanted, found, "evaluate over more captions")
        few = len(allowed) < count  # then each at least once
        chosen[i] = np.resize(rng.permutation(allowed), count) if few else rng.choice(allowed, count, False)
    return torch.from_numpy(chosen)


def r_precision(images: Tensor, captions: Tensor, mismatched: Tensor) -> Tensor:
    """Return which images have a larger product with their own caption than with all others, as 1 or 0 (n,).

    Images and captions are features (n, d), mismatched are the others' ids (n, c). A tie at the top counts
    as what breaking it at random would give on average.
    """
    right = torch.zeros(len(mismatched))
    rows = torch.split(torch.arange(len(mismatched)), 256)
    for ids in tqdm(rows, desc="R-precision"):
        candidates = torch.cat([ids[:, None], mismatched[ids]], dim=1)  # (b, 1 + c)
        scores = torch.einsum("bd,bcd->bc", images[ids], captions[candidates])
        found, fix = "features that are no numbers", "check the pictures and the judge's weights"
        require(scores.isfinite().all(), EvaluationError, "scores to compare", found, fix)
        true, others = scores[:, :1], scores[:, 1:]
        beaten = (others > true + TIE).any(dim=1)
        ties = ((others - true).abs() <= TIE).sum(dim=1)
        right[ids] = torch.where(beaten, 0.0, 1.0 / (1 + ties.float()))
    return right


def fold_means(right: Tensor, folds: int = FOLDS) -> Tensor:
    """Return the means of so many folds, or of as many as there are images."""
    return torch.stack([fold.mean() for fold in right.tensor_split(min(folds, len(right)))])


@torch.no_grad()
def measure_r_precision(context: Context, row: Row) -> list[Measurement]:
    """R-precision with DAMSM, which the generator trained against: by cos(global image feature, sentence)."""
    damsm = context.checkpoint.damsm
    vgg = None if damsm.pixels is not None else context.vgg
    images = [
        damsm.encode_images(chunk.to(context.device).float() / 255, vgg)[0].global_.float().cpu()
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
    known = naming(context)
    prompts = [context.prompts[i] for i in known]
    odds = caption_log_odds(context.judge, row.images[known], [prompt.named for prompt in prompts])
    judge = "attribute judge (never trained against)"
    return [_measured(context, prompts, "r_precision_judge", judge, *odds)]


def _measured(
    context: Context, prompts: Sequence[Prompt], metric: str, judge: str, images: Tensor, captions: Tensor
) -> Measurement:
    classes = [prompt.item.class_id for prompt in prompts]
    by_class = None not in classes and len(set(classes)) > 1
    groups = classes if by_class else [prompt.item.id for prompt in prompts]
    mismatched = mismatched_captions(groups, [prompt.caption for prompt in prompts], seed=context.seed)
    right = r_precision(images, captions, mismatched)
    folds = fold_means(right)
    distinct = min(len(set(chosen)) for chosen in mismatched.tolist())
    others = f"{MISMATCHED} captions of other {'classes' if by_class else 'pictures'}"
    if distinct < MISMATCHED:
        others += f" (only {distinct} different ones, which makes it easier)"
    details = {"std": round(100 * float(folds.std()), 3), "folds": len(folds)} if len(folds) > 1 else {}
    protocol = f"{judge}; 1 true + {others}, top-1, %"
    return Measurement(metric, 100 * float(right.mean()), len(prompts), protocol, details)


def measure_retrieval(context: Context, row: Row) -> list[Measurement]:
    """Return Recall@k of a row's strategy, and the share of named attributes that its first item has.

    Fitting means the caption's class where the bank holds it among others, else every named attribute. A
    depth of more than half of the bank is left out; what chance would find is in the details. An
    EvaluationError says that the captions have neither a class of the bank's nor attributes; of a bank of one
    class everything would be found.
    """
    prompts, bank = context.prompts[:CAPTIONS], context.bank
    classes = {item.class_name for item in bank.items} - {""}
    of_class = [prompt for prompt in prompts if prompt.item.class_name in classes and len(classes) > 1]
    chosen = of_class or [prompt for prompt in prompts if prompt.named]
    wanted = "captions of the bank's classes, at least two, or with attributes"
    lacking = f"{len(classes)} classes in the bank, and no attributes named"
    fix = "leave the measure out, or use a data set that has one of them"
    require(chosen, EvaluationError, wanted, lacking, fix)
    depths = [k for k in KS if 2 * k <= bank.n]
    require(depths, EvaluationError, "a bank of two images or more", bank.n, "leave the measure out")

    def has(prompt: Prompt, item: BankItem) -> float:
        """Return the share of a caption's named attributes that an item has."""
        named = prompt.named.items()
        return sum(bool(item.attributes.get(name) == value) for name, value in named) / len(named)

    def fits(prompt: Prompt, item: BankItem) -> bool:
        return item.class_name == prompt.item.class_name if of_class else has(prompt, item) == 1

    ranks, shares = [], []
    for i, prompt in enumerate(tqdm(chosen, f"retrieval ({row.strategy})")):
        asked = context.request(prompt, context.seed + i, strategy=row.strategy, k=max(depths))
        items = [bank.items[bank.index_of(each)] for each in context.pipe.retrieve(asked).ids]
        ranks.append(next((rank for rank, item in enumerate(items) if fits(prompt, item)), bank.n))
        if prompt.named and items:
            shares.append(has(prompt, items[0]))
    chance = sum(fits(prompt, item) for prompt in chosen for item in bank.items) / len(chosen) / bank.n
    tried = counted(len(chosen), f"{context.split} caption")
    meaning = "its class" if of_class else "all named attributes"
    protocol = f"{tried} in {counted(bank.n, 'image')}; fitting: {meaning}"
    numbers = []
    for k in depths:
        found, by_chance = sum(rank < k for rank in ranks) / len(ranks), round(1 - (1 - chance) ** k, 4)
        numbers.append(Measurement(f"recall@{k}", found, len(chosen), protocol, {"chance": by_chance}))
    if shares:
        protocol = "mean share of named attributes in the first neighbour's record"
        numbers.append(Measurement("attributes_of_first", sum(shares) / len(shares), len(chosen), protocol))
    return numbers
