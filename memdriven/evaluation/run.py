"""`evaluate`: every asked measure for the model and its controls, as a table and as JSONL.

Rows of images and features of real images are kept under `out`, and a number that `results.jsonl`
already holds for the same checkpoint, protocol, n and seed is not measured again, so a long
evaluation that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from memdriven.checkpoint import load_checkpoint
from memdriven.data.prepared import PreparedDataset
from memdriven.errors import EvaluationError
from memdriven.evaluation.figures import draw_figures
from memdriven.evaluation.ledger import Evaluation, Ledger
from memdriven.evaluation.measures import MEASURES, MODEL_MEASURES, NOT_FOR
from memdriven.evaluation.prompts import choose_prompts
from memdriven.evaluation.resources import Resources
from memdriven.evaluation.rows import CONTROLS, MODEL, ROWS, STRATEGY, Row
from memdriven.evaluation.strategies import SEARCHED, measure_strategy
from memdriven.evaluation.workbench import Workbench
from memdriven.memory.retrieval import STRATEGIES

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
