"""`evaluate`: every asked measure for the model and its controls, as a table and as JSONL.

    for each row:  captions -> pictures -> measure -> results.jsonl

A number that `results.jsonl` already holds for the same model, memory, captions, seed and pixels is not
measured again, and said to be taken over; painted pictures and features of images are kept under `out`. So a
long evaluation that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import PreparedDataset
from memdriven.devices import choose_device
from memdriven.errors import CheckpointError, DataError, EvaluationError
from memdriven.evaluation import distances
from memdriven.evaluation.attributes import measure_attributes, measure_r_precision, measure_r_precision_judge
from memdriven.evaluation.context import Context, Resources, choose_prompts, prompts_hash
from memdriven.evaluation.copy_check import measure_copy_check, near_duplicates
from memdriven.evaluation.diversity import (
    measure_background_entropy,
    measure_diversity_seed,
    measure_diversity_z,
)
from memdriven.evaluation.part_colours import measure_part_colours
from memdriven.evaluation.report import draw_figures
from memdriven.evaluation.results import (
    Measurement,
    Result,
    append_results,
    device_name,
    format_table,
    read_results,
)
from memdriven.evaluation.retrieval import SEARCHED, measure_strategy
from memdriven.evaluation.rows import CONTROLS, IMAGES, MODEL, REAL, ROWS, STRATEGY, Row, make_row
from memdriven.evaluation.soa import measure_soa
from memdriven.memory.retrieval import STRATEGIES
from memdriven.numbers import check_whole

T = TypeVar("T")
MEASURES: dict[str, Callable[[Context, Row], list[Measurement]]] = {
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
    "part_colours": measure_part_colours,
}
"""Every measure of a row of pictures. One that lacks its weights raises, and is then left out of the table
with the reason, never replaced by another."""
MODEL_MEASURES: dict[str, Callable[[Context], list[Measurement]]] = {
    "diversity_seed": measure_diversity_seed,
    "diversity_z": measure_diversity_z,
    "background_entropy": measure_background_entropy,
}
"""Measures of the model alone, which paint pictures of their own."""
RETRIEVAL = "retrieval"
"""The measure that has a row a strategy instead of a row of images."""
METRICS = (*MEASURES, *MODEL_MEASURES, RETRIEVAL)
RENAMED = {"diversity": "diversity_seed"}
DEFAULT_METRICS = (
    *("attributes", "r_precision", "r_precision_judge", "fid_vgg", "kid_vgg"),
    *("diversity_seed", "diversity_z", "copy_check", RETRIEVAL),
)
JUDGED = ("attributes", "r_precision_judge", "background_entropy")
"""Measures that depend on the attribute judge."""
BESIDE_TRAINING = ("copy_check",)
"""Measures that compare a row with the training images; those of `AGAINST_SPLIT` with the split's."""
AGAINST_SPLIT = tuple(name for name in MEASURES if name.startswith(("fid", "kid", "fd", "kd")))


def evaluate(
    checkpoint: Path,
    dataset: Path,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    n: int = 1000,
    seed: int = 0,
    controls: Sequence[str] = CONTROLS,
    strategies: Sequence[str] = (),
    out: Path = Path("runs/evaluation"),
    split: str = "test",
    resources: Resources | None = None,
    memory: Path | None = None,
    device: str = "auto",
    batch: int = 16,
    figures: bool = True,
    variant: str = "",
    budget: str = "",
    progress: bool = True,
) -> Evaluation:
    """Measure a checkpoint beside its controls; append the numbers to OUT/results.jsonl.

    Measures: attributes r_precision r_precision_judge fid_vgg kid_vgg fd_squeezenet kd_squeezenet fid_a
    fid_b fid_c kid_a inception_score copy_check soa part_colours retrieval; of the model alone
    diversity_seed diversity_z background_entropy. What lacks its weights is left out and said so. A run
    that was stopped goes on where it was.

    Args:
        checkpoint: folder of a checkpoint with its memory bank.
        dataset: folder of a prepared data set with the split, and with the bank's images.
        metrics: which measures.
        n: captions, one image each (the paper: 30000).
        seed: noise of image i is drawn from seed + i.
        controls: rows beside the model's: the retrieved images themselves, real images (for distances: of
            the other split), random memory, no memory, each caption's own image as memory; also best-of-8,
            the model with the one of eight references whose picture fits the words best, and
            retrieved-best-of-8, of eight retrieved images the one that fits best by the same reader; and
            rival, a GAN without a memory, where one lies beside the checkpoint (train-rival).
        strategies: further rows, whose neighbours these strategies of retrieval find.
        out: folder for results.jsonl, generated images and cached features.
        split: whose captions are painted.
        resources: local weights and the attribute judge.
        memory: a memory bank in place of the checkpoint's own.
        device: where to run.
        batch: images a forward pass.
        figures: also paint the example pictures that a report shows.
        variant, budget: an ablation's row and what its rows were trained with, for the record.
        progress: show bars.

    Raises:
        EvaluationError: an unknown metric, control or strategy.
        CheckpointError, BankError, DataError: the inputs are unusable.
    """
    device = str(choose_device(device))
    check_whole("captions", n, 1, 10**6, EvaluationError)
    check_whole("batch", batch, 1, 4096, EvaluationError)
    check_whole("seed", seed, 0, 2**40, EvaluationError)
    metrics = list(dict.fromkeys(RENAMED.get(name, name) for name in metrics))
    controls, strategies = list(dict.fromkeys(controls)), list(dict.fromkeys(strategies))
    _refuse_unknown("metric", metrics, METRICS)
    _refuse_unknown("control", controls, ROWS)
    _refuse_unknown("strategy", strategies, STRATEGIES)
    loaded, data = load_checkpoint(checkpoint, device), PreparedDataset.open(dataset)
    context = Context(
        loaded,
        data,
        choose_prompts(data, split, n),
        resources or Resources(),
        split=split,
        seed=seed,
        folder=out / f"{loaded.name}-{loaded.hash}",
        memory=memory,
        batch=batch,
        progress=progress,
    )
    store = ResultStore(context, out / "results.jsonl", device, variant=variant, budget=budget)
    if split == "train":
        store.note("these captions and pictures were trained on: the numbers say what is known by heart")
    if len(context.prompts) < n:
        store.note(f"{n} captions were asked for, and split {split} has {len(context.prompts)}")
    shown = {loaded.config.retrieval.strategy, *controls}
    further = [STRATEGY + name for name in strategies if name not in shown]
    for name in (MODEL, *controls, *further):
        _measure_row(context, store, name, [metric for metric in metrics if metric in MEASURES])
    for metric in metrics:
        if metric in MODEL_MEASURES and not store.reuse(MODEL, metric):
            found = store.attempt(metric, partial(MODEL_MEASURES[metric], context)) or []
            store.add(metric, MODEL, found, strategy=loaded.config.retrieval.strategy)
    if RETRIEVAL in metrics:
        _measure_retrieval(context, store)
    if figures:
        store.attempt("figures", partial(draw_figures, context, variant))
    if split != "train":
        try:
            store.note(near_duplicates(context))
        except DataError as error:  # an image of the training split that no measure needed
            store.evaluation.left_out["near-duplicates"] = str(error)
    return store.evaluation


def _measure_row(context: Context, store: ResultStore, name: str, metrics: Sequence[str]) -> None:
    """Make one row of pictures, or take it from disk, and measure what is missing of it."""
    left_out = store.evaluation.left_out
    metrics = [m for m in metrics if m not in left_out and not (m == "copy_check" and name in IMAGES)]
    row = store.attempt(f"row {name}", partial(make_row, context, name)) if metrics else None
    if row is None:
        return
    for metric in metrics:
        pictures = _pictures(context, row, metric)
        if not store.reuse(name, metric, pictures):
            found = store.attempt(metric, partial(MEASURES[metric], context, row)) or []
            store.add(metric, name, found, note=row.note, strategy=row.strategy, pictures=pictures)


def _pictures(context: Context, row: Row, metric: str) -> str:
    """Return a hash of all pixels that enter a number."""
    hashes = [row.pixels]
    if metric in BESIDE_TRAINING or (metric in AGAINST_SPLIT and row.name == REAL):
        hashes.append(context.training_pixels)
    if metric in AGAINST_SPLIT:
        hashes.append(context.reference_pixels)
    return "+".join(hashes)


def _measure_retrieval(context: Context, store: ResultStore) -> None:
    for strategy in SEARCHED:
        row = STRATEGY + strategy
        if store.reuse(row, RETRIEVAL):
            continue
        found = store.attempt(RETRIEVAL, partial(measure_strategy, context, strategy))
        if found is None:
            return
        store.add(RETRIEVAL, row, found, strategy=strategy)


def _refuse_unknown(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise EvaluationError(
            wanted=f"a {kind} among {', '.join(known)}", found=", ".join(unknown), fix="choose of these"
        )


@dataclass(kw_only=True)
class Evaluation:
    """What `evaluate` found."""

    results: list[Result] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Measure or row -> why it is not in the table."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know of all of it."""

    def table(self) -> str:
        """The results as text: rows of images, then strategies, then what was left out."""
        images = [r for r in self.results if not r.row.startswith(STRATEGY)]
        strategies = [r for r in self.results if r.row.startswith(STRATEGY)]
        parts = [format_table(chosen) for chosen in (images, strategies) if chosen]
        parts += [f"left out: {name} ({why})" for name, why in self.left_out.items()]
        parts += [f"note: {note}" for note in self.notes]
        return "\n\n".join(parts)


class ResultStore:
    """Keeps results: those of earlier runs, those of this one, and what was left out."""

    def __init__(
        self, context: Context, path: Path, device: str, *, variant: str = "", budget: str = ""
    ) -> None:
        self.path, self.evaluation = path, Evaluation()
        checkpoint = context.checkpoint
        self.about = {
            "checkpoint_hash": checkpoint.hash,
            "dataset": f"{context.dataset.name}/{context.split}",
            "seed": context.seed,
            "prompts": prompts_hash(context.prompts),
            "memory": context.memory_hash,
            "k": checkpoint.config.retrieval.k,
            "variant": variant,
            "budget": budget,
        }
        self.judge, self.captions = context.judge_hash, len(context.prompts)
        self.model, self.device = context.model_name, device_name(device)
        # Later lines replace earlier ones of the same number.
        self._earlier = {
            (result.row, result.metric, result.pictures): result
            for result in read_results(path)
            if all(getattr(result, name) == value for name, value in self.about.items())
            and result.judge in ("", self.judge)
        }
        self._taken: list[Result] = []

    def reuse(self, row: str, measure: str, pictures: str = "") -> bool:
        """Take over an earlier run's numbers of a measure for a row of these pixels, if there are."""
        earlier = [
            result
            for result in self._earlier.values()
            if (result.measure, result.row, result.pictures) == (measure, row, pictures)
        ]
        self.evaluation.results += earlier
        if earlier:
            self._taken += earlier
            since = min(result.time for result in self._taken)[:10]
            words = f"{len(self._taken)} of these numbers are taken over from {self.path} (since {since})"
            self.evaluation.notes[:] = [words, *(n for n in self.evaluation.notes if "taken over" not in n)]
        return bool(earlier)

    def note(self, words: str) -> None:
        """Say something under the table."""
        self.evaluation.notes += [words] if words else []

    def attempt(self, name: str, action: Callable[[], T]) -> T | None:
        """Run a step; where something that it needs is missing, leave it out, with the reason."""
        try:
            return action()
        except (EvaluationError, CheckpointError) as error:
            self.evaluation.left_out[name] = str(error)
            return None

    def add(
        self,
        measure: str,
        row: str,
        found: Sequence[Measurement],
        *,
        note: str = "",
        strategy: str = "",
        pictures: str = "",
    ) -> None:
        """Append a row's numbers of a measure to the table and to the file."""
        results = [
            Result(
                checkpoint=self.model,
                row=row,
                metric=number.metric,
                protocol=number.protocol + (f"; {note}" if note else ""),
                value=number.value,
                n=number.n,
                device=self.device,
                measure=measure,
                captions=self.captions,
                judge=self.judge if measure in JUDGED else "",
                details=number.details,
                strategy=strategy,
                pictures=pictures,
                **self.about,  # type: ignore[arg-type]
            )
            for number in found
        ]
        append_results(self.path, results)
        self.evaluation.results += results
