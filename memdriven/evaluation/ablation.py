"""`ablate`: trains each row of an ablation with one seed and budget, and measures it.

    out/ablation.json     the base configuration and the budget
    out/memory/           one bank for all rows, which share their encoders
    out/ROW/              the row's training run, with its checkpoint
    out/evaluation/       results.jsonl, images, features

A run that was stopped goes on in the row and step where it was.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from memdriven.checkpoint import load_facts
from memdriven.config import Config, to_dict
from memdriven.encoders.damsm_files import load_damsm
from memdriven.errors import ConfigError, EvaluationError, TrainingError
from memdriven.evaluation.resources import Resources
from memdriven.evaluation.rows import CONTROLS
from memdriven.evaluation.run import evaluate
from memdriven.evaluation.variants import PAPER, Variant, chosen, variants
from memdriven.files import atomic_write_json, read_json
from memdriven.memory.build import build_memory
from memdriven.training.gan import train_gan

SCHEMA = "memdriven.ablation/1"
METRICS = ("attributes", "r_precision_judge", "fid_vgg", "kid_vgg", "diversity_seed")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an ablation needs."""

    dataset: Path
    features: Path
    damsm: Path
    out: Path
    base: Config
    steps: int = 0
    """Steps a row; 0 means minutes alone."""
    minutes: float = 0.0
    """Minutes a row; 0 means steps alone. Only steps give each row the same number of images."""
    rows: tuple[str, ...] = ()
    """Names of rows beside the base; all by default."""
    metrics: Sequence[str] = METRICS
    n: int = 500
    """Captions of the evaluation."""
    controls: Sequence[str] = CONTROLS
    """Measured for the base alone."""
    resources: Resources = field(default_factory=Resources)
    extra: Sequence[Path] = ()
    """Further training data, as `train` takes it; the row `paper` does without."""
    memory: Path | None = None
    """A bank of these encoders; built under `out` when None."""
    device: str = "cpu"
    batch: int = 16
    """Images a forward pass of the evaluation."""
    progress: bool = True

    @property
    def budget(self) -> str:
        """The budget in words: part of each result."""
        size, parts = self.base.train.batch_size, []
        if self.steps:
            parts.append(f"{self.steps} steps of {size} images")
        if self.minutes:
            parts.append(f"{self.minutes:g} minutes")
        words = f"{' or '.join(parts)}, seed {self.base.train.seed}, base {self.base.preset}"
        return " with ".join([words, *(path.name for path in self.extra)])

    def settings(self, variant: Variant) -> Config:
        """Return a row's configuration with its budget."""
        loop = dataclasses.replace(variant.config.train, steps=self.steps or 10**9, max_minutes=self.minutes)
        return dataclasses.replace(variant.config, train=loop)


def plan_text(plan: Plan) -> str:
    """Return the rows and what each changes, for a look before the start."""
    rows = chosen(variants(plan.base), plan.rows)
    width = max(len(row.name) for row in rows)
    lines = [f"{len(rows)} rows, each {plan.budget}"]
    for row in rows:
        changed = ", ".join(f"{name} = {value}" for name, value in row.changes.items())
        lines.append(f"  {row.name:<{width}}  {changed or 'as configured'}")
    return "\n".join(lines)


def ablate(plan: Plan, say: Callable[[str], object] = print) -> dict[str, str]:
    """Train and measure every row; results go to `out`/evaluation/results.jsonl.

    Args:
        plan: what to do.
        say: takes a line after each row.

    Returns:
        Row -> why it has no results, for rows whose training failed.

    Raises:
        ConfigError: no budget, or an unknown row.
        EvaluationError: the folder holds another ablation.
    """
    if plan.steps <= 0 and plan.minutes <= 0:
        raise ConfigError(
            wanted="a budget a row", found="neither steps nor minutes", fix="give --steps or --minutes"
        )
    rows = chosen(variants(plan.base), plan.rows)
    _freeze(plan)
    memory = plan.memory or _memory(plan)
    failed: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        started = time.perf_counter()
        try:
            trained = _train(plan, row)
        except TrainingError as error:
            failed[row.name] = str(error)
            say(f"{number}/{len(rows)} {row.name}: {error}")
            continue
        found = evaluate(
            trained,
            plan.dataset,
            metrics=plan.metrics,
            n=plan.n,
            seed=plan.base.train.seed,
            controls=plan.controls if number == 1 else (),
            out=plan.out / "evaluation",
            resources=plan.resources,
            memory=memory,
            device=plan.device,
            batch=plan.batch,
            variant=row.name,
            budget=plan.budget,
            progress=plan.progress,
        )
        spent = (time.perf_counter() - started) / 60
        left_out = "".join(f"; left out: {name}" for name in found.left_out)
        say(f"{number}/{len(rows)} {row.name}: {spent:.1f} minutes{left_out}")
    return failed


def _freeze(plan: Plan) -> None:
    """Write down the base and the budget, or compare with those of an earlier start."""
    path = plan.out / "ablation.json"
    facts = {"schema": SCHEMA, "budget": plan.budget, "base": to_dict(plan.base)}
    if path.exists() and (earlier := read_json(path, EvaluationError)) != facts:
        raise EvaluationError(
            wanted=f"the ablation that {plan.out} was started with: {earlier.get('budget')}",
            found=plan.budget + ("" if earlier.get("base") == facts["base"] else ", another base"),
            fix="use the same settings, or another folder",
        )
    atomic_write_json(path, facts)


def _memory(plan: Plan) -> Path:
    """Build the rows' common bank, unless it is there."""
    out = plan.out / "memory"
    if not (out / "bank.json").exists():
        encoders = load_damsm(plan.damsm, plan.device)
        build_memory(
            plan.dataset,
            plan.features,
            encoders.damsm,
            encoders.vocabulary,
            out,
            max_words=encoders.config.text.max_words,
            progress=plan.progress,
        )
    return out


def _train(plan: Plan, row: Variant) -> Path:
    """Train a row up to its budget, unless it is; return its checkpoint."""
    run = plan.out / row.name
    made = run / "checkpoint"
    if (made / "config.json").exists() and load_facts(made).get("finished", True):
        return made
    train_gan(
        plan.dataset,
        plan.features,
        plan.damsm,
        run,
        plan.settings(row),
        device=plan.device,
        resume=(run / "config.json").exists(),
        extra=() if row.name == PAPER else plan.extra,
        vgg_weights=plan.resources.vgg,
        squeezenet_weights=plan.resources.squeezenet,
        progress=plan.progress,
    )
    return made
