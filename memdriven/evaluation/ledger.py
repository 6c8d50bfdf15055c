"""What an evaluation has found: taken over from earlier runs, newly measured, or left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from memdriven.errors import CheckpointError, EvaluationError
from memdriven.evaluation.measurement import Measurement
from memdriven.evaluation.prompts import prompts_hash
from memdriven.evaluation.results import Result, append_results, device_name, format_table, read_results
from memdriven.evaluation.rows import STRATEGY
from memdriven.evaluation.workbench import Workbench

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
