"""`evaluate`: every asked measure for the model and its controls, as a table and as JSONL.

Rows of images and features of real images are kept under `out`, and a number that `results.jsonl`
already holds for the same checkpoint, protocol, n and seed is not measured again, so a long
evaluation that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import PreparedDataset
from memdriven.errors import CheckpointError, EvaluationError
from memdriven.evaluation import distances
from memdriven.evaluation.attributes import attribute_accuracy, caption_log_odds
from memdriven.evaluation.copy_check import copy_check
from memdriven.evaluation.diversity import (
    measure_background_entropy,
    measure_diversity_seed,
    measure_diversity_z,
)
from memdriven.evaluation.features import SHARD
from memdriven.evaluation.figures import draw_figures
from memdriven.evaluation.r_precision import (
    MISMATCHED,
    RPrecision,
    cosine_scores,
    dot_scores,
    mismatched_captions,
    r_precision,
)
from memdriven.evaluation.results import (
    Measurement,
    Result,
    append_results,
    device_name,
    format_table,
    read_results,
)
from memdriven.evaluation.retrieval import SEARCHED, measure_strategy
from memdriven.evaluation.rows import (
    CONTROLS,
    MODEL,
    ROWS,
    STRATEGY,
    Row,
    as_seen,
    choose_prompts,
    prompts_hash,
)
from memdriven.evaluation.soa import IMAGES_PER_CAPTION, THRESHOLD, named_classes, soa
from memdriven.evaluation.workbench import Measure, ModelMeasure, Resources, Workbench
from memdriven.memory.retrieval import STRATEGIES

JUDGED = ("attributes", "r_precision_judge", "background_entropy")
"""Measures that depend on the attribute judge."""
T = TypeVar("T")


@dataclass(kw_only=True)
class Evaluation:
    """What `evaluate` found."""

    results: list[Result] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Measure or row -> why it is not in the table."""

    def table(self) -> str:
        """The results as text: rows of images, then strategies, then what was left out."""
        images = [r for r in self.results if not r.row.startswith(STRATEGY)]
        strategies = [r for r in self.results if r.row.startswith(STRATEGY)]
        parts = [format_table(chosen) for chosen in (images, strategies) if chosen]
        parts += [f"left out: {name} ({why})" for name, why in self.left_out.items()]
        return "\n\n".join(parts)


class Ledger:
    """Keeps results: those of earlier runs, those of this one, and what was left out."""

    def __init__(
        self, bench: Workbench, path: Path, device: str, *, variant: str = "", budget: str = ""
    ) -> None:
        self.bench, self.path, self.device = bench, path, device_name(device)
        self.variant, self.budget = variant, budget
        self.evaluation = Evaluation()
        self._prompts = prompts_hash(bench.prompts)
        # Later lines replace earlier ones of the same number.
        self._earlier = {
            (result.row, result.metric): result for result in read_results(path) if self._same(result)
        }

    def _same(self, result: Result) -> bool:
        bench = self.bench
        return (
            result.checkpoint_hash == bench.checkpoint.hash
            and result.dataset == self._dataset
            and result.seed == bench.seed
            and result.prompts == self._prompts
            and result.memory == bench.memory_hash
            and result.judge in ("", bench.judge_hash)
            and result.k == bench.checkpoint.config.retrieval.k
            and (result.variant, result.budget) == (self.variant, self.budget)
        )

    @property
    def _dataset(self) -> str:
        return f"{self.bench.dataset.name}/{self.bench.split}"

    def reuse(self, row: str, measure: str) -> bool:
        """Take over an earlier run's numbers of a measure for a row, if there are."""
        earlier = [
            result for result in self._earlier.values() if result.measure == measure and result.row == row
        ]
        self.evaluation.results += earlier
        return bool(earlier)

    def attempt(self, name: str, action: Callable[[], T]) -> T | None:
        """Run a step; where something that it needs is missing, leave it out, with the reason."""
        try:
            return action()
        except (EvaluationError, CheckpointError) as error:
            self.evaluation.left_out[name] = str(error)
            return None

    def add(
        self, measure: str, found: Sequence[tuple[str, Measurement]], note: str = "", strategy: str = ""
    ) -> None:
        """Append the numbers of a measure, each with its row, to the table and to the file."""
        bench = self.bench
        results = [
            Result(
                checkpoint=bench.model_name,
                checkpoint_hash=bench.checkpoint.hash,
                dataset=self._dataset,
                row=row,
                metric=number.metric,
                protocol=number.protocol + (f"; {note}" if note else ""),
                value=number.value,
                n=number.n,
                seed=bench.seed,
                device=self.device,
                measure=measure,
                captions=len(bench.prompts),
                prompts=self._prompts,
                judge=bench.judge_hash if measure in JUDGED else "",
                details=number.details,
                memory=bench.memory_hash,
                strategy=strategy,
                k=bench.checkpoint.config.retrieval.k,
                variant=self.variant,
                budget=self.budget,
            )
            for row, number in found
        ]
        append_results(self.path, results)
        self.evaluation.results += results


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


__all__ = ["DEFAULT_METRICS", "METRICS", "Evaluation", "evaluate"]

RETRIEVAL = "retrieval"
"""The measure that has a row a strategy instead of a row of images."""
METRICS = (*MEASURES, *MODEL_MEASURES, RETRIEVAL)
RENAMED = {"diversity": "diversity_seed"}
DEFAULT_METRICS = (
    "attributes",
    "r_precision",
    "r_precision_judge",
    "fid_vgg",
    "kid_vgg",
    "diversity_seed",
    "diversity_z",
    "copy_check",
    RETRIEVAL,
)


def evaluate(
    checkpoint: Path,
    dataset: Path,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    n: int = 1000,
    seed: int = 0,
    controls: Sequence[str] = CONTROLS,
    strategies: Sequence[str] = (),
    out: Path,
    split: str = "test",
    resources: Resources | None = None,
    memory: Path | None = None,
    device: str = "cpu",
    batch: int = 16,
    figures: bool = True,
    variant: str = "",
    budget: str = "",
    progress: bool = True,
) -> Evaluation:
    """Measure a checkpoint and its controls, and append the numbers to `out`/results.jsonl.

    Args:
        checkpoint: folder of a checkpoint with its memory bank.
        dataset: prepared data set with the split, and with the bank's images.
        metrics: names among `METRICS`.
        n: captions, one image each (the paper: 30,000).
        seed: noise of image i is seed + i.
        controls: rows beside the model's, among `ROWS`.
        strategies: further rows whose neighbours these strategies find, among `STRATEGIES`.
        out: folder for results, images and cached features.
        split: whose captions are drawn.
        resources: local weights and the attribute judge.
        memory: a memory bank in place of the checkpoint's own.
        device: where to run.
        batch: images a forward pass.
        figures: also draw the example pictures that a report shows.
        variant, budget: an ablation's row and what its rows were trained with, for the record.
        progress: show bars.

    Raises:
        EvaluationError: an unknown metric, control or strategy.
        CheckpointError, BankError, DataError: the inputs are unusable.
    """
    metrics = [RENAMED.get(name, name) for name in metrics]
    _refuse_unknown("metric", metrics, METRICS)
    _refuse_unknown("control", controls, ROWS)
    _refuse_unknown("strategy", strategies, STRATEGIES)
    loaded, data = load_checkpoint(checkpoint, device), PreparedDataset.open(dataset)
    prompts = choose_prompts(data, split, n)
    bench = Workbench(
        loaded,
        data,
        prompts,
        resources or Resources(),
        split=split,
        seed=seed,
        folder=out / f"{loaded.name}-{loaded.hash}",
        memory=memory,
        batch=batch,
        progress=progress,
    )
    ledger = Ledger(bench, out / "results.jsonl", device, variant=variant, budget=budget)
    for name in (MODEL, *controls, *_strategy_rows(bench, controls, strategies)):
        _measure_row(bench, ledger, name, [m for m in metrics if m in MEASURES])
    for name in metrics:
        if name in MODEL_MEASURES:
            _measure_model(bench, ledger, name)
    if RETRIEVAL in metrics:
        _measure_retrieval(bench, ledger)
    if figures:
        ledger.attempt("figures", partial(draw_figures, bench, variant))
    return ledger.evaluation


def _strategy_rows(bench: Workbench, controls: Sequence[str], strategies: Sequence[str]) -> list[str]:
    """Return the rows of strategies that no other row shows already."""
    shown = {bench.checkpoint.config.retrieval.strategy, *controls}
    return [STRATEGY + name for name in strategies if name not in shown]


def _measure_retrieval(bench: Workbench, ledger: Ledger) -> None:
    for strategy in SEARCHED:
        row = STRATEGY + strategy
        if ledger.reuse(row, RETRIEVAL):
            continue
        found = ledger.attempt(RETRIEVAL, partial(measure_strategy, bench, strategy))
        if found is None:
            return
        ledger.add(RETRIEVAL, [(row, number) for number in found], strategy=strategy)


def _measure_model(bench: Workbench, ledger: Ledger, metric: str) -> None:
    if not ledger.reuse(MODEL, metric):
        found = ledger.attempt(metric, partial(MODEL_MEASURES[metric], bench)) or []
        strategy = bench.checkpoint.config.retrieval.strategy
        ledger.add(metric, [(MODEL, measurement) for measurement in found], strategy=strategy)


def _measure_row(bench: Workbench, ledger: Ledger, name: str, metrics: Sequence[str]) -> None:
    """Measure what is still missing of one row; its images are made only if something is."""
    row: Row | None = None
    for metric in metrics:
        if name in NOT_FOR.get(metric, ()) or metric in ledger.evaluation.left_out:
            continue
        if ledger.reuse(name, metric):
            continue
        row = row or ledger.attempt(f"row {name}", partial(bench.row, name))
        if row is None:
            return
        found = ledger.attempt(metric, partial(MEASURES[metric], bench, row)) or []
        ledger.add(metric, [(name, measurement) for measurement in found], row.note, row.strategy)


def _refuse_unknown(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise EvaluationError(
            wanted=f"a {kind} among {', '.join(known)}", found=", ".join(unknown), fix="choose of these"
        )
