"""`evaluate`: every asked measure for the model and its controls, as a table and as JSONL.

    for each row:  captions -> pictures -> measure -> results.jsonl

A number that `results.jsonl` already holds for the same model, memory, captions, seed and pixels is not
measured again, and said to be taken over; painted pictures are kept under `out`. So a long evaluation that
was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from memdriven.data.prepared import PreparedDataset
from memdriven.errors import CheckpointError, DataError, EvaluationError, require
from memdriven.evaluation.attributes import (
    measure_attributes,
    measure_part_colours,
    measure_r_precision,
    measure_r_precision_judge,
)
from memdriven.evaluation.copy_check import measure_copy_check, near_duplicates
from memdriven.evaluation.distances import SPACES, measure_distance, measure_inception_score
from memdriven.evaluation.diversity import (
    measure_background_entropy,
    measure_diversity_seed,
    measure_diversity_z,
)
from memdriven.evaluation.results import Measurement, Result, append_results, format_table, read_results
from memdriven.evaluation.retrieval import SEARCHED, measure_strategy
from memdriven.evaluation.rows import (
    CONTROLS,
    IMAGES,
    MODEL,
    REAL,
    ROWS,
    STRATEGY,
    Context,
    Resources,
    Row,
    choose_prompts,
    make_row,
    pixels_hash,
    setting,
)
from memdriven.evaluation.soa import measure_soa
from memdriven.memory.retrieval import STRATEGIES
from memdriven.numbers import check_whole
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

T = TypeVar("T")
MEASURES: dict[str, Callable[[Context, Row], list[Measurement]]] = {
    "attributes": measure_attributes,
    "r_precision": measure_r_precision,
    "r_precision_judge": measure_r_precision_judge,
    **{name: partial(measure_distance, name) for name in SPACES},
    "inception_score": measure_inception_score,
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
DEFAULT_METRICS = (
    *("attributes", "r_precision", "r_precision_judge", "fid_vgg", "kid_vgg"),
    *("diversity_seed", "diversity_z", "copy_check", RETRIEVAL),
)
JUDGED = ("attributes", "r_precision_judge", "background_entropy")
"""Measures that depend on the attribute judge."""


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
            retrieved-best-of-8, of eight retrieved images the one that fits best by the same reader;
            rival, a GAN without a memory, where one lies beside the checkpoint (train-rival); and
            best-of-N, guidance-X, k-N, the model with that setting.
        strategies: further rows, whose neighbours these strategies of retrieval find.
        out: folder for results.jsonl and generated images.
        split: whose captions are painted: test, or validation, to choose settings by.
        resources: local weights and the attribute judge.
        memory: a memory bank in place of the checkpoint's own.
        device: where to run.
        batch: images a forward pass.
        variant, budget: an ablation's row and what its rows were trained with, for the record.
        progress: show bars.

    Raises:
        EvaluationError: an unknown metric, control or strategy.
        CheckpointError, BankError, DataError: the inputs are unusable.
    """
    check_whole("captions", n, 1, 10**6, EvaluationError)
    check_whole("batch", batch, 1, 4096, EvaluationError)
    check_whole("seed", seed, 0, 2**40, EvaluationError)
    for kind, names, known in (
        ("metric", metrics, METRICS),
        ("control", [name for name in controls if not setting(name)], ROWS),
        ("strategy", strategies, STRATEGIES),
    ):
        unknown = ", ".join(name for name in names if name not in known)
        wanted = f"a {kind} among {', '.join(known)}"
        require(not unknown, EvaluationError, wanted, unknown, "choose of these")
    for name in controls:
        Request(caption="a caption", **setting(name))  # refuses a number out of range

    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, device, memory=memory)
    data = PreparedDataset.open(dataset)
    context = Context(
        pipe=pipe,
        dataset=data,
        prompts=choose_prompts(data, split, n),
        resources=resources or Resources(),
        split=split,
        seed=seed,
        folder=out / f"{pipe.checkpoint.name}-{pipe.checkpoint.hash}",
        batch=batch,
        progress=progress,
    )
    found = Evaluation(context, out / "results.jsonl", variant, budget)
    if split == "train":
        found.notes.append("these pictures were trained on: the numbers say what is known by heart")
    if len(context.prompts) < n:
        found.notes.append(f"{n} captions were asked for, and split {split} has {len(context.prompts)}")

    own = pipe.config.retrieval.strategy
    further = [STRATEGY + name for name in strategies if name not in (own, *controls)]
    for name in dict.fromkeys((MODEL, *controls, *further)):
        found.measure_row(name, [metric for metric in dict.fromkeys(metrics) if metric in MEASURES])
    for metric in dict.fromkeys(metrics):
        if metric in MODEL_MEASURES:
            found.measure(metric, MODEL, partial(MODEL_MEASURES[metric], context), own)
    for strategy in SEARCHED if RETRIEVAL in metrics else ():
        if RETRIEVAL not in found.left_out:
            action = partial(measure_strategy, context, strategy)
            found.measure(RETRIEVAL, STRATEGY + strategy, action, strategy)
    if split != "train":
        try:
            found.notes += near_duplicates(context)
        except DataError as error:  # an image of the training split that no measure needed
            found.left_out["near-duplicates"] = str(error)
    return found


class Evaluation:
    """What `evaluate` found; numbers of earlier runs are taken over from the file of results."""

    def __init__(self, context: Context, path: Path, variant: str, budget: str) -> None:
        self.results: list[Result] = []
        self.left_out: dict[str, str] = {}
        """Measure or row -> why it is not in the table."""
        self.notes: list[str] = []
        """What a reader must know of all of it."""
        self._context, self._path, self._taken = context, path, list[Result]()
        identity = {**context.identity, "variant": variant, "budget": budget}
        device = torch.device(context.device)
        judge = context.judge.hash if context.resources.judge else ""
        self._facts = {
            **identity,
            "checkpoint": context.checkpoint.name,
            "captions": len(context.prompts),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "judge": judge,
        }
        self._earlier = {  # later lines replace earlier ones of the same number
            (result.row, result.metric, result.pictures): result
            for result in read_results(path)
            if result.judge in ("", judge) and identity.items() <= vars(result).items()
        }

    def measure_row(self, name: str, metrics: Sequence[str]) -> None:
        """Make one row of pictures, or take it from disk, and measure what is missing of it."""
        metrics = [each for each in metrics if each not in self.left_out]
        if name in IMAGES:  # nothing that could be a copy
            metrics = [each for each in metrics if each != "copy_check"]
        context = self._context
        row = self.attempt(f"row {name}", partial(make_row, context, name)) if metrics else None
        if row is None:
            return
        for metric in metrics:
            images = [row.images]  # all pictures that enter the number
            if metric == "copy_check" or (metric in SPACES and name == REAL):
                images.append(context.training_images)
            if metric in SPACES:
                images.append(context.reference_images)
            pictures, action = "+".join(map(pixels_hash, images)), partial(MEASURES[metric], context, row)
            self.measure(metric, name, action, row.strategy, pictures, row.note)

    def measure(
        self,
        measure: str,
        row: str,
        action: Callable[[], list[Measurement]],
        strategy: str,
        pictures: str = "",
        note: str = "",
    ) -> None:
        """Add a row's numbers of a measure: an earlier run's where there are, else measured and appended."""
        key = (measure, row, pictures)
        results = [r for r in self._earlier.values() if (r.measure, r.row, r.pictures) == key]
        self._taken += results
        if not results:
            facts = self._facts if measure in JUDGED else {**self._facts, "judge": ""}
            facts = {**facts, "row": row, "measure": measure, "strategy": strategy, "pictures": pictures}
            for each in self.attempt(measure, action) or []:
                protocol = each.protocol + (f"; {note}" if note else "")
                results.append(Result(**each._replace(protocol=protocol)._asdict(), **facts))
            append_results(self._path, results)
        self.results += results

    def attempt(self, name: str, action: Callable[[], T]) -> T | None:
        """Run a step; where something that it needs is missing, leave it out, with the reason."""
        try:
            return action()
        except (EvaluationError, CheckpointError) as error:
            self.left_out[name] = str(error)
            return None

    def table(self) -> str:
        """The results as text: rows of images, then strategies, then what was left out."""
        tables: dict[bool, list[tuple[str, Result]]] = {}
        for each in self.results:
            tables.setdefault(each.row.startswith(STRATEGY), []).append((each.row, each))
        parts = [format_table(rows) for _, rows in sorted(tables.items())]
        parts += [f"left out: {name} ({why})" for name, why in self.left_out.items()]
        notes = self.notes
        if self._taken:
            since = min(result.time for result in self._taken)[:10]
            taken = f"{len(self._taken)} of these numbers are taken over from {self._path} (since {since})"
            notes = [taken, *notes]
        return "\n\n".join([*parts, *(f"note: {note}" for note in notes)])
