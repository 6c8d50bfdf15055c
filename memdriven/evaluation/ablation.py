"""An ablation: one base configuration, each time with one thing changed (Sec. 5.2), trained and measured.

What is on in the base is switched off, and the other way round, so that any preset can be a base. The last
rows, `paper` and `paper-family`, are the presets of those names at the base's sizes. Each row is trained with
one seed and budget:

    out/ablation.json     the base configuration and the budget
    out/memory/           one bank for all rows, which share their encoders
    out/ROW/              the row's training run, with its checkpoint
    out/evaluation/       results.jsonl, pictures, features

A run that was stopped goes on in the row and step where it was.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from tyro import conf

from memdriven.checkpoint import load_facts
from memdriven.config import Config, GeneratorConfig, TrainConfig, to_dict
from memdriven.devices import choose_device
from memdriven.encoders.damsm import load_damsm
from memdriven.errors import ConfigError, EvaluationError, TrainingError, require
from memdriven.evaluation.context import Resources
from memdriven.evaluation.rows import CONTROLS
from memdriven.evaluation.run import evaluate
from memdriven.files import atomic_write_json, read_json
from memdriven.memory.build import build_memory
from memdriven.numbers import counted
from memdriven.presets import PRESETS
from memdriven.training.gan import train_gan

BASE, PAPER, PAPER_FAMILY = "base", "paper", "paper-family"
TRAINED_SO = (
    *("p_swap", "p_fade", "augment", "learning_rate", "d_learning_rate", "decay_from"),
    *("betas", "crop"),
)
"""Settings of the loop that a preset's row takes over."""
SIZES = (
    *("stages", "width", "residual_blocks", "z_dim", "condition_dim"),
    *("text_dim", "acm_width", "feature_width"),
)
"""What the row `paper` keeps of the base's generator."""
SWAP = TrainConfig().p_swap
"""p_swap where it is switched on."""


class Variant(NamedTuple):
    """One row."""

    name: str
    """Short, fit for a folder's name."""
    changes: dict[str, Any]
    """`section.field` -> its value in this row."""
    config: Config


def variants(base: Config) -> list[Variant]:
    """Return the base and its variants; those that equal the base are left out."""
    settings = base.discriminator
    on_off = {True: "on", False: "off"}
    swaps, mismatched = base.train.p_swap > 0, base.loss.mismatched
    table: dict[str, dict[str, Any]] = {
        "content-average": {"discriminator.content": "average"},
        "content-max": {"discriminator.content": "max"},
        "content-none": {"discriminator.content": "none"},
        "no-v": {"generator.use_v": False, "generator.use_v_global": False},
        "v-global-only": {"generator.use_v": False, "generator.use_v_global": True},
        f"fuse-early-{on_off[not base.generator.fuse_early]}": _early(base.generator),
        f"p-swap-{on_off[not swaps]}": {"train.p_swap": 0.0 if swaps else SWAP},
        f"spectral-norm-{on_off[not settings.spectral_norm]}": {
            "discriminator.spectral_norm": not settings.spectral_norm
        },
        f"mismatched-{on_off[not mismatched]}": {"loss.mismatched": not mismatched},
        PAPER: _as_preset(base, PAPER),
        PAPER_FAMILY: _as_preset(base, PAPER_FAMILY),
    }
    rows = [Variant(name, changes, with_changes(base, changes)) for name, changes in table.items()]
    return [Variant(BASE, {}, base), *(row for row in rows if row.config != base)]


def _early(generator: GeneratorConfig) -> dict[str, Any]:
    """Return early fusion switched over, and off with all that is built on it."""
    if not generator.fuse_early:
        return {"generator.fuse_early": True}
    built_on = {"early_blocks": 0, "text_code": 0, "attribute_dim": 0, "noise_code": 0}
    more = {f"generator.{n}": v for n, v in built_on.items() if getattr(generator, n) != v}
    return {"generator.fuse_early": False, **more}


def _as_preset(base: Config, name: str) -> dict[str, Any]:
    """Return what makes a preset of a base, its learning rates too, but for its sizes and its budget."""
    literal = PRESETS[name]
    wanted = {
        "generator": {f: v for f, v in vars(literal.generator).items() if f not in SIZES},
        "discriminator": {"content": "average", "projected": False},
        "loss": vars(literal.loss),
        "train": {f: getattr(literal.train, f) for f in TRAINED_SO},
    }
    return {
        f"{section}.{name}": value
        for section, values in wanted.items()
        for name, value in values.items()
        if getattr(getattr(base, section), name) != value
    }


def with_changes(config: Config, changes: dict[str, Any]) -> Config:
    """Return a configuration with `section.field` values replaced.

    Raises:
        ConfigError: there is no such field, or the values cannot work together.
    """
    sections: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        section, _, name = path.partition(".")
        known = hasattr(getattr(config, section, None), name)
        require(known, ConfigError, "a setting such as loss.mismatched", path, "see train --help")
        sections.setdefault(section, {})[name] = value
    parts = {name: dataclasses.replace(getattr(config, name), **each) for name, each in sections.items()}
    return dataclasses.replace(config, **parts)


def chosen(rows: list[Variant], names: tuple[str, ...]) -> list[Variant]:
    """Return the rows of these names, the base always first; all without names.

    Raises:
        ConfigError: an unknown name.
    """
    known = [row.name for row in rows]
    unknown = ", ".join(name for name in names if name not in known)
    require(not unknown, ConfigError, "rows among " + ", ".join(known), unknown, "choose of these")
    return [row for row in rows if not names or row.name in (BASE, *names)]


SCHEMA = "memdriven.ablation/1"
METRICS = ("attributes", "r_precision_judge", "fid_vgg", "kid_vgg", "diversity_seed")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an ablation needs."""

    dataset: Path
    """Folder of a prepared data set."""
    features: Path
    """Folder of its features (extract-features)."""
    damsm: Path
    """Folder of trained encoders (train-damsm), which all rows share."""
    out: Path
    """Folder for the rows' runs and the results."""
    base: Annotated[Config, conf.arg(name="")]  # its sections are options themselves
    steps: int = 0
    """Steps a row; 0 means minutes alone. The same steps are the same images for each row."""
    minutes: float = 0.0
    """Minutes a row; 0 means steps alone."""
    rows: tuple[str, ...] = ()
    """Rows beside the base, e.g. no-v content-max; all by default."""
    metrics: Sequence[str] = METRICS
    """Measures of evaluate; on a slow CPU fd_squeezenet and kd_squeezenet for those by VGG."""
    n: int = 500
    """Captions of the evaluation."""
    split: str = "test"
    """Whose captions: test, or validation, to choose a row by."""
    controls: Sequence[str] = CONTROLS
    """Measured for the base alone."""
    resources: Annotated[Resources, conf.arg(name="")] = field(default_factory=Resources)
    extra: Sequence[Path] = ()
    """Further training data, as `train` takes it; the row `paper` does without."""
    memory: Path | None = None
    """A memory bank of these encoders; built in OUT when left out."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    batch: int = 16
    """Images a forward pass of the evaluation."""
    progress: conf.Suppress[bool] = True

    @property
    def budget(self) -> str:
        """The budget in words: part of each result."""
        size, parts = self.base.train.batch_size, []
        if self.steps:
            parts.append(f"{counted(self.steps, 'step')} of {counted(size, 'image')}")
        if self.minutes:
            parts.append(f"{counted(self.minutes, 'minute', 'g')}")
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
    lines = [f"{counted(len(rows), 'row')}, each {plan.budget}; results go to {plan.out / 'evaluation'}"]
    for row in rows:
        changed = ", ".join(f"{name} = {value}" for name, value in row.changes.items())
        lines.append(f"  {row.name:<{width}}  {changed or 'as configured'}")
    return "\n".join(lines)


def ablate(plan: Plan, say: Callable[[str], object] = print, *, dry_run: bool = False) -> dict[str, str]:
    """Train one base and its variants with the same seed and budget; measure each.

    Rows: content features by max, by average or none; no v; v_global only; early fusion, p_swap,
    spectral norm and mismatched pairs switched over; the paper's own equations at the base's sizes. A
    run that was stopped goes on where it was. `report OUT` makes the table.

    Args:
        plan: what to do.
        say: takes the plan, and a line after each row.
        dry_run: show the rows and what two steps of the base cost; train nothing.

    Returns:
        Row -> why it has no results, for rows whose training failed.

    Raises:
        ConfigError: no budget, or an unknown row.
        EvaluationError: the folder holds another ablation.
    """
    say(plan_text(plan))
    if dry_run:
        _train(plan, variants(plan.base)[0], dry_run=True)
        return {}
    budget = plan.steps > 0 or plan.minutes > 0
    fix = "give --steps or --minutes"
    require(budget, ConfigError, "a budget a row", "neither steps nor minutes", fix)
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
            split=plan.split,
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
            f"the ablation that {plan.out} was started with: {earlier.get('budget')}",
            plan.budget + ("" if earlier.get("base") == facts["base"] else ", another base"),
            "use the same settings, or another folder",
        )
    atomic_write_json(path, facts)


def _memory(plan: Plan) -> Path:
    """Build the rows' common bank, unless it is there."""
    out = plan.out / "memory"
    if not (out / "bank.json").exists():
        encoders = load_damsm(plan.damsm, choose_device(plan.device))
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


def _train(plan: Plan, row: Variant, *, dry_run: bool = False) -> Path:
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
        dry_run=dry_run,
        vgg=plan.resources.vgg,
        squeezenet=plan.resources.squeezenet,
        progress=plan.progress,
    )
    return made
