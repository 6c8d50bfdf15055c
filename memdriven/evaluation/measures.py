"""The measures by name: each takes a workbench and a row, and gives named numbers.

One that lacks its weights raises, and is then left out of the table with the reason, never
replaced by another.
"""

from __future__ import annotations

import torch

from memdriven.evaluation import distances
from memdriven.evaluation.attributes import attribute_accuracy, caption_log_odds
from memdriven.evaluation.copy_check import copy_check
from memdriven.evaluation.diversity import (
    measure_background_entropy,
    measure_diversity_seed,
    measure_diversity_z,
)
from memdriven.evaluation.features import SHARD
from memdriven.evaluation.measurement import Measure, Measurement, ModelMeasure
from memdriven.evaluation.r_precision import (
    MISMATCHED,
    RPrecision,
    cosine_scores,
    dot_scores,
    mismatched_captions,
    r_precision,
)
from memdriven.evaluation.rows import Row
from memdriven.evaluation.soa import IMAGES_PER_CAPTION, THRESHOLD, named_classes, soa
from memdriven.evaluation.views import as_seen
from memdriven.evaluation.workbench import Workbench


def measure_attributes(bench: Workbench, row: Row) -> list[Measurement]:
    """Share of the caption's named attributes that the judge finds."""
    found = attribute_accuracy(bench.judge, row.images, [p.named for p in bench.prompts])
    protocol = f"attribute judge trained on renders, at {bench.judge.size} px; top value named"
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


def measure_r_precision(bench: Workbench, row: Row) -> list[Measurement]:
    """R-precision with DAMSM, which the generator trained against."""
    scores = cosine_scores(bench.damsm_images(row.images), bench.damsm_sentences())
    found = r_precision(scores, _mismatched(bench), progress=bench.progress)
    return [_r_precision("r_precision", found, row, "DAMSM (also the training loss)")]


def measure_r_precision_judge(bench: Workbench, row: Row) -> list[Measurement]:
    """R-precision with the attribute judge, which the generator never saw."""
    images, captions = caption_log_odds(bench.judge, row.images, [prompt.named for prompt in bench.prompts])
    found = r_precision(dot_scores(images, captions), _mismatched(bench), progress=bench.progress)
    return [_r_precision("r_precision_judge", found, row, "attribute judge (never trained against)")]


def _mismatched(bench: Workbench) -> torch.Tensor:
    return mismatched_captions(
        [prompt.item.class_id for prompt in bench.prompts],
        [prompt.caption for prompt in bench.prompts],
        seed=bench.seed,
    )


def _r_precision(metric: str, found: RPrecision, row: Row, judge: str) -> Measurement:
    return Measurement(
        metric=metric,
        value=100 * found.mean,
        n=len(row.images),
        protocol=f"{judge}; 1 true + {MISMATCHED} captions of other classes, top-1, %",
        details={"std": round(100 * found.std, 3)},
    )


def measure_copy_check(bench: Workbench, row: Row) -> list[Measurement]:
    """Distance to the training images, as percentiles of their own."""
    space, cache = bench.squeezenet_space, bench.cache
    training = space.cached(bench.training_images, cache, progress=bench.progress)
    place = {item.id: i for i, item in enumerate(bench.training_items)}
    drew_on = None
    if row.drew_on is not None:
        drew_on = torch.tensor([place.get(one or "", -1) for one in row.drew_on])
    as_made = space.cached(row.images, cache, progress=bench.progress)
    # Part by part: images may be a file far larger than the memory.
    mirrored = [
        space.cached(part.flip(3), cache, progress=bench.progress) for part in torch.split(row.images, SHARD)
    ]
    views, ways = None, "as made or mirrored"
    generator = bench.checkpoint.generator
    if drew_on is not None and row.seeds is not None and generator.config.zoom:
        seen = as_seen(generator, bench.training_images, drew_on, row.seeds)
        views, ways = (
            space.cached(seen, cache, progress=bench.progress),
            ("as made, mirrored, or beside its memory as the noise saw it"),
        )
    found = copy_check([as_made, torch.cat(mirrored)], training, drew_on, views)
    protocol = f"{space.name}, {ways}; percentile of {len(training)} training images' nearest distances"
    return [
        Measurement(metric=metric, value=value, n=len(row.images), protocol=protocol)
        for metric, value in found.summary().items()
    ]


def measure_soa(bench: Workbench, row: Row) -> list[Measurement]:
    """SOA-C and SOA-I (in %): three images a caption where they are generated, else one."""
    detector, classes = bench.detector
    named = [named_classes(prompt.caption, classes) for prompt in bench.prompts]
    images, times = row.images, 1
    if row.name not in ("real", "retrieved"):
        times = IMAGES_PER_CAPTION
        naming = [prompt for prompt, found in zip(bench.prompts, named, strict=True) if found]
        named = [found for found in named if found for _ in range(times)]
        images = bench.row(
            row.name, [prompt for prompt in naming for _ in range(times)], f"{row.name}-soa"
        ).images
    found = soa(images, named, detector)
    protocol = f"torchvision Faster R-CNN R50-FPN-v2 at {THRESHOLD}, {times} image(s) a caption"
    counts = {name: list(tally) for name, tally in found.classes.items()}
    return [
        Measurement(
            metric="soa_c", value=100 * found.by_class, n=len(images), protocol=protocol, details=counts
        ),
        Measurement(metric="soa_i", value=100 * found.by_image, n=len(images), protocol=protocol),
    ]


MEASURES: dict[str, Measure] = {
    "attributes": measure_attributes,
    "r_precision": measure_r_precision,
    "r_precision_judge": measure_r_precision_judge,
    "fid_vgg": distances.frechet("fid_vgg", distances.vgg),
    "kid_vgg": distances.kernel("kid_vgg", distances.vgg),
    "fd_squeezenet": distances.frechet("fd_squeezenet", distances.squeezenet),
    "kd_squeezenet": distances.kernel("kd_squeezenet", distances.squeezenet),
    "fid_a": distances.frechet("fid_a", distances.inception("a")),
    "fid_b": distances.frechet("fid_b", distances.inception("b")),
    "fid_c": distances.frechet("fid_c", distances.inception("c")),
    "kid_a": distances.kernel("kid_a", distances.inception("a")),
    "inception_score": distances.measure_inception_score,
    "copy_check": measure_copy_check,
    "soa": measure_soa,
}
"""Every measure of pictures by the name that `--metrics` takes; `retrieval` stands beside them.

`fd_squeezenet` and `kd_squeezenet` cost a fortieth of VGG's time: a CPU's choice where rows are
many."""
MODEL_MEASURES: dict[str, ModelMeasure] = {
    "diversity_seed": measure_diversity_seed,
    "diversity_z": measure_diversity_z,
    "background_entropy": measure_background_entropy,
}
"""Measures of the model alone, which paint pictures of their own."""
NOT_FOR: dict[str, tuple[str, ...]] = {"copy_check": ("real", "retrieved")}
"""Rows that a measure has nothing to say of."""
