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

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import PreparedDataset
from memdriven.errors import CheckpointError, EvaluationError
from memdriven.evaluation.measures import MEASURES, NOT_FOR, Measurement
from memdriven.evaluation.prompts import choose_prompts, prompts_hash
from memdriven.evaluation.results import (
    Result,
    append_results,
    device_name,
    format_table,
    read_results,
)
from memdriven.evaluation.strategies import measure_strategies
from memdriven.evaluation.workbench import CONTROLS, MODEL, Resources, Row, Workbench

RETRIEVAL = "retrieval"
"""The measure that has a row a strategy instead of a row of images."""
JUDGED = ("attributes", "r_precision_judge")
"""Measures that depend on the attribute judge."""
METRICS = (*MEASURES, RETRIEVAL)
DEFAULT_METRICS = (
    "attributes", "r_precision", "r_precision_judge", "fid_vgg", "kid_vgg", "diversity",
    "copy_check", RETRIEVAL,
)  # fmt: skip


T = TypeVar("T")


@dataclass(kw_only=True)
class Evaluation:
    """What `evaluate` found."""

    results: list[Result] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Measure or row -> why it is not in the table."""

    def table(self) -> str:
        """The results as text: rows of images, then strategies, then what was left out."""
        images = [r for r in self.results if not r.row.startswith("strategy ")]
        strategies = [r for r in self.results if r.row.startswith("strategy ")]
        parts = [format_table(chosen) for chosen in (images, strategies) if chosen]
        parts += [f"left out: {name} ({why})" for name, why in self.left_out.items()]
        return "\n\n".join(parts)


def evaluate(
    checkpoint: Path, dataset: Path, *, metrics: Sequence[str] = DEFAULT_METRICS, n: int = 1000,
    seed: int = 0, controls: Sequence[str] = CONTROLS, out: Path, split: str = "test",
    resources: Resources | None = None, device: str = "cpu", batch: int = 16,
    progress: bool = True,
) -> Evaluation:  # fmt: skip
    """Measure a checkpoint and its controls, and append the numbers to `out`/results.jsonl.

    Args:
        checkpoint: folder of a checkpoint with its memory bank.
        dataset: prepared data set with the split, and with the bank's images.
        metrics: names among `METRICS`.
        n: captions, one image each (the paper: 30,000).
        seed: noise of image i is seed + i.
        controls: rows beside the model's, among `CONTROLS`.
        out: folder for results, images and cached features.
        split: whose captions are drawn.
        resources: local weights and the attribute judge.
        device: where to run.
        batch: images a forward pass.
        progress: show bars.

    Raises:
        EvaluationError: an unknown metric or control.
        CheckpointError, BankError, DataError: the inputs are unusable.
    """
    _refuse_unknown("metric", metrics, METRICS)
    _refuse_unknown("control", controls, CONTROLS)
    loaded, data = load_checkpoint(checkpoint, device), PreparedDataset.open(dataset)
    prompts = choose_prompts(data, split, n)
    bench = Workbench(
        loaded, data, prompts, resources or Resources(), split=split, seed=seed,
        folder=out / f"{loaded.name}-{loaded.hash}", batch=batch, progress=progress,
    )  # fmt: skip
    ledger = _Ledger(bench, out / "results.jsonl", device)
    for name in (MODEL, *controls):
        _measure_row(bench, ledger, name, [m for m in metrics if m != RETRIEVAL])
    if RETRIEVAL in metrics and not ledger.reuse(None, RETRIEVAL):
        ledger.add(RETRIEVAL, ledger.attempt(RETRIEVAL, partial(measure_strategies, bench)) or [])
    return ledger.evaluation


def _measure_row(bench: Workbench, ledger: _Ledger, name: str, metrics: Sequence[str]) -> None:
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
        ledger.add(metric, [(name, measurement) for measurement in found], row.note)


class _Ledger:
    """Keeps results: those of earlier runs, those of this one, and what was left out."""

    def __init__(self, bench: Workbench, path: Path, device: str) -> None:
        self.bench, self.path, self.device = bench, path, device_name(device)
        self.evaluation = Evaluation()
        self._prompts = prompts_hash(bench.prompts)
        # Later lines replace earlier ones of the same number.
        self._earlier = {
            (result.row, result.metric): result
            for result in read_results(path)
            if self._same(result)
        }

    def _same(self, result: Result) -> bool:
        bench = self.bench
        return (
            result.checkpoint_hash == bench.checkpoint.hash
            and result.dataset == self._dataset
            and result.seed == bench.seed
            and result.prompts == self._prompts
            and result.judge in ("", bench.judge_hash)
        )

    @property
    def _dataset(self) -> str:
        return f"{self.bench.dataset.name}/{self.bench.split}"

    def reuse(self, row: str | None, measure: str) -> bool:
        """Take over an earlier run's numbers of a measure for a row (None: all), if there are."""
        earlier = [
            result
            for result in self._earlier.values()
            if result.measure == measure and row in (None, result.row)
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

    def add(self, measure: str, found: Sequence[tuple[str, Measurement]], note: str = "") -> None:
        """Append the numbers of a measure, each with its row, to the table and to the file."""
        bench = self.bench
        results = [
            Result(
                checkpoint=bench.checkpoint.name, checkpoint_hash=bench.checkpoint.hash,
                dataset=self._dataset, row=row, metric=number.metric,
                protocol=number.protocol + (f"; {note}" if note else ""), value=number.value,
                n=number.n, seed=bench.seed, device=self.device, measure=measure,
                captions=len(bench.prompts), prompts=self._prompts,
                judge=bench.judge_hash if measure in JUDGED else "", details=number.details,
            )
            for row, number in found
        ]  # fmt: skip
        append_results(self.path, results)
        self.evaluation.results += results


def _refuse_unknown(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise EvaluationError(wanted=f"a {kind} among {', '.join(known)}",
                              found=", ".join(unknown), fix="choose of these")  # fmt: skip
