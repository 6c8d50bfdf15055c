"""Measures that compare two sets of images: Frechet and kernel distances, and Inception's score."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from memdriven.evaluation.features import Extractor
from memdriven.evaluation.fid import frechet_distance
from memdriven.evaluation.inception import Form, inception_extractor
from memdriven.evaluation.inception_score import inception_score
from memdriven.evaluation.kid import kernel_distance
from memdriven.evaluation.measurement import Measure, Measurement
from memdriven.evaluation.rows import Row
from memdriven.evaluation.workbench import Workbench

Space = Callable[[Workbench], Extractor]
"""Gives a feature space, or raises where its weights are absent."""


def vgg(bench: Workbench) -> Extractor:
    """Pooled relu5_3."""
    return bench.vgg_space


def squeezenet(bench: Workbench) -> Extractor:
    """Pooled maps of SqueezeNet, a fortieth of VGG in time."""
    return bench.squeezenet_space


def inception(form: Form) -> Space:
    """Inception in one of the three forms."""

    def space(bench: Workbench) -> Extractor:
        weights = bench.resources.inception_b if form == "b" else bench.resources.inception_a
        return inception_extractor(form, weights, bench.size, device=bench.device)

    return space


def frechet(metric: str, space_of: Space) -> Measure:
    """Frechet distance to the split's images in one feature space."""

    def measure(bench: Workbench, row: Row) -> list[Measurement]:
        space = space_of(bench)
        real, fake = _two_sets(bench, row, space)
        return [
            Measurement(
                metric=metric,
                value=frechet_distance(real, fake),
                n=len(fake),
                protocol=f"Frechet distance, {_against(bench, space, row)}",
            )
        ]

    return measure


def kernel(metric: str, space_of: Space) -> Measure:
    """Kernel distance (x 1000) to the split's images in one feature space."""

    def measure(bench: Workbench, row: Row) -> list[Measurement]:
        space = space_of(bench)
        real, fake = _two_sets(bench, row, space)
        found = kernel_distance(real, fake, seed=bench.seed)
        return [
            Measurement(
                metric=metric,
                value=1000 * found.mean,
                n=len(fake),
                protocol=f"KID x 1000, {_against(bench, space, row)}",
                details={"std": round(1000 * found.std, 4)},
            )
        ]

    return measure


def measure_inception_score(bench: Workbench, row: Row) -> list[Measurement]:
    """Inception score by the 2015 network's classes, as tables of COCO have it."""
    space = inception_extractor(
        "a", bench.resources.inception_a, bench.size, logits=True, device=bench.device
    )
    logits = space.cached(row.images, bench.cache, progress=bench.progress)
    found = inception_score(logits, seed=bench.seed)
    return [
        Measurement(
            metric="inception_score",
            value=found.mean,
            n=len(logits),
            protocol=f"IS, {space.name}, 10 splits; not the bird-tuned network of CUB tables",
            details={"std": found.std},
        )
    ]


def _two_sets(bench: Workbench, row: Row, space: Extractor) -> tuple[Tensor, Tensor]:
    """Return features of the split's images, and of the row's.

    For `real` the row is the training split's images, as the reference is the other split.
    """
    images = row.images if row.name != "real" else bench.training_sample(len(row.images))
    real = space.cached(bench.reference_images, bench.cache, progress=bench.progress)
    return real, space.cached(images, bench.cache, progress=bench.progress)


def _against(bench: Workbench, space: Extractor, row: Row) -> str:
    source = "training images" if row.name == "real" else f"{bench.size} px images"
    return (
        f"{space.name}; {source} against {len(bench.reference_images)} {bench.split} images"
        f" at {bench.size} px"
    )
