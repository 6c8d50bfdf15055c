"""Distances between the features of two sets of images, and Inception's score of one.

    Frechet:  d^2 = |mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))        (Heusel et al. 2017)
    kernel:   unbiased squared MMD with k(x, y) = (x . y / d + 1)^3              (Binkowski et al. 2018)
    score:    exp E_x KL(p(y|x) || p(y))                                        (Salimans et al. 2016)

What a Frechet distance is called depends on the features: `fid_a`, `fid_b`, `fid_c` on Inception in three
forms that cannot be compared with each other (`features.py`), `fid_vgg` on pooled relu5_3 of VGG-16, which
must never be called FID. It grows as n falls; a kernel distance (KID) does not, so small samples can be
compared by it. Scores of different classifiers (a bird-tuned Inception on CUB, ImageNet's on COCO) cannot be
compared, so the classifier is part of the protocol's name.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from memdriven.errors import EvaluationError
from memdriven.evaluation.features import Extractor, Form, inception_extractor
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import REAL, Context, Row
from memdriven.numbers import counted


class Precomputed(nn.Module):
    """Stands where torchmetrics expects a network: hands the features on."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """Return the features (b, d) as they came."""
        return features


def _computed(kernel: bool, real: Tensor, fake: Tensor, **options: Any) -> Any:
    """Return what torchmetrics' KID or FID gives for features (n, d) and (m, d), in float64."""
    if real.ndim != 2 or real.shape[1:] != fake.shape[1:] or min(len(real), len(fake)) < 2:
        raise EvaluationError(
            "two feature tables (n, d) of the same d, n >= 2",
            f"{tuple(real.shape)} and {tuple(fake.shape)}",
            "take both from the same network, over more images",
        )
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance
    except ImportError as error:
        wanted = "torchmetrics, which computes Frechet and kernel distances"
        fix = 'pip install "memdriven[evaluation]" (or: pip install torchmetrics)'
        raise EvaluationError(wanted, str(error)[:160], fix) from error
    kind = KernelInceptionDistance if kernel else FrechetInceptionDistance
    metric = kind(feature=Precomputed(real.shape[1]), **options)
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    return metric.compute()


def _finite(value: Tensor) -> float:
    if not bool(value.isfinite()):
        fix = "look for features that are no numbers, or all the same"
        raise EvaluationError("a distance", str(float(value)), fix)
    return float(value)


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Return the squared Frechet distance of Gaussians fitted to features (n, d) and (m, d).

    Covariances are unbiased. It grows as n falls, so n belongs beside the number.

    Raises:
        EvaluationError: fewer than two images, features of different widths, or no torchmetrics.
    """
    return max(_finite(_computed(False, real, fake)), 0.0)


class Spread(NamedTuple):
    """Mean and standard deviation over subsets or splits; NaN where there is only one."""

    mean: float
    std: float


def kernel_distance(
    real: Tensor, fake: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> Spread:
    """Return KID over random subsets of features (n, d) and (m, d).

    The subset size is cut to the smaller set's number of images; where that is all of both, every subset
    is the same, and has no spread.

    Raises:
        EvaluationError: fewer than two images, features of different widths, or no torchmetrics.
    """
    size = min(subset_size, len(real), len(fake))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # a note on memory
        torch.manual_seed(seed)
        mean, std = _computed(True, real, fake, subsets=subsets, subset_size=size)
    one = subsets == 1 or size == len(real) == len(fake)  # each subset is the whole
    return Spread(_finite(mean), math.nan if one else float(std))


def inception_score(logits: Tensor, *, splits: int = 10, seed: int = 0) -> Spread:
    """Return the score of a classifier's logits (n, classes) in shuffled splits.

    By hand, as torchmetrics cuts n images into fewer splits than are asked for where n is no multiple.

    Raises:
        EvaluationError: fewer images than splits, or not a (n, classes) table.
    """
    if logits.ndim != 2 or len(logits) < splits:
        wanted, fix = f"logits (n, classes), n >= {splits}", "score more images, or use fewer splits"
        raise EvaluationError(wanted, str(tuple(logits.shape)), fix)
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    scores = []
    for part in logits[order].double().log_softmax(dim=1).tensor_split(splits):  # log p(y|x)
        marginal = part.exp().mean(dim=0).log()  # log p(y)
        scores.append((part.exp() * (part - marginal)).sum(dim=1).mean().exp())
    found = torch.stack(scores)
    return Spread(float(found.mean()), float(found.std()) if splits > 1 else math.nan)


def _inception(form: Form, context: Context, *, logits: bool = False) -> Extractor:
    weights = context.resources.inception_b if form == "b" else context.resources.inception_a
    return inception_extractor(form, weights, context.size, logits=logits, device=context.device)


SPACES: dict[str, Callable[[Context], Extractor]] = {
    "fid_vgg": attrgetter("vgg_space"),
    "kid_vgg": attrgetter("vgg_space"),
    "fd_squeezenet": attrgetter("squeezenet_space"),
    "kd_squeezenet": attrgetter("squeezenet_space"),
    "fid_a": partial(_inception, "a"),
    "fid_b": partial(_inception, "b"),
    "fid_c": partial(_inception, "c"),
    "kid_a": partial(_inception, "a"),
}
"""Each distance's feature space; names of kernel distances begin with k."""


def measure_distance(metric: str, context: Context, row: Row) -> list[Measurement]:
    """Frechet or kernel distance (x 1000) of a row to the split's images, by its name in `SPACES`.

    For `real` the row is the training split's images, as the reference is the split's own.
    """
    space = SPACES[metric](context)
    images = context.training_sample(len(row.images)) if row.name == REAL else row.images
    real = context.features(space, context.reference_images)
    fake = context.features(space, images)
    tested = counted(len(real), f"{context.split} image")
    source = "training images" if row.name == REAL else f"{context.size} px images"
    protocol = f"{space.name}; {source} against {tested} at {context.size} px"
    details = {}
    if metric.startswith("k"):
        found = kernel_distance(real, fake, seed=context.seed)
        value, protocol = 1000 * found.mean, f"KID x 1000, {protocol}"
        details = {} if math.isnan(found.std) else {"std": round(1000 * found.std, 4)}
    else:
        value, protocol = frechet_distance(real, fake), f"Frechet distance, {protocol}"
        least, width = min(len(real), len(fake)), real.shape[1]
        if least < width:
            protocol += f"; {least} images are fewer than {width} features, so it is mostly their number's"
    return [Measurement(metric, value, len(fake), protocol, details)]


def measure_inception_score(context: Context, row: Row) -> list[Measurement]:
    """Inception score by the 2015 network's classes, as tables of COCO have it."""
    space = _inception("a", context, logits=True)
    found = inception_score(context.features(space, row.images), seed=context.seed)
    protocol = f"IS, {space.name}, 10 splits; not the bird-tuned network of CUB tables"
    return [Measurement("inception_score", found.mean, len(row.images), protocol, {"std": found.std})]
