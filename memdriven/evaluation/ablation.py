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

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from memdriven.checkpoint import load_facts
from memdriven.config import Config, GeneratorConfig, TrainConfig, to_dict
from memdriven.devices import choose_device
from memdriven.encoders.damsm import load_damsm
from memdriven.errors import ConfigError, EvaluationError, TrainingError, require
from memdriven.evaluation.rows import CONTROLS, Resources
from memdriven.evaluation.run import evaluate
from memdriven.files import atomic_write_json, read_json
from memdriven.memory.build import build_memory
from memdriven.numbers import counted
from memdriven.presets import PRESETS
from memdriven.training.gan import train_gan

SCHEMA = "memdriven.ablation/1"
METRICS = ("attributes", "r_precision_judge", "fid_vgg", "kid_vgg", "diversity_seed")
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
    parts = {name: replace(getattr(config, name), **each) for name, each in sections.items()}
    return replace(config, **parts)


def ablate(
    dataset: Path,
    features: Path,
    damsm: Path,
    out: Path,
    base: Config,
    *,
    steps: int = 0,
    minutes: float = 0.0,
    rows: Sequence[str] = (),
    metrics: Sequence[str] = METRICS,
    n: int = 500,
    split: str = "test",
    controls: Sequence[str] = CONTROLS,
    resources: Resources | None = None,
    extra: Sequence[Path] = (),
    memory: Path | None = None,
    device: str = "auto",
    batch: int = 16,
    dry_run: bool = False,
    say: Callable[[str], object] = print,
    progress: bool = True,
) -> dict[str, str]:
    """Train one base and its variants with the same seed and budget; measure each.

    Rows: content features by max, by average or none; no v; v_global only; early fusion, p_swap,
    spectral norm and mismatched pairs switched over; the paper's own equations at the base's sizes. A
    run that was stopped goes on where it was. `report OUT` makes the table.

    Args:
        dataset: folder of a prepared data set.
        features: folder of its features (extract-features).
        damsm: folder of trained encoders (train-damsm), which all rows share.
        out: folder for the rows' runs and the results.
        base: the configuration in which each row changes one thing.
        steps: a row; 0 means minutes alone. The same steps are the same images for each row.
        minutes: a row; 0 means steps alone.
        rows: beside the base, e.g. no-v content-max; all by default.
        metrics: measures of evaluate; on a slow CPU fd_squeezenet and kd_squeezenet for those by VGG.
        n: captions of the evaluation.
        split: whose captions: test, or validation, to choose a row by.
        controls: measured for the base alone.
        resources: local weights and the attribute judge.
        extra: further training data, as `train` takes it; the row `paper` does without.
        memory: a memory bank of these encoders; built in OUT when left out.
        device: auto, cpu, cuda, cuda:1, ...
        batch: images a forward pass of the evaluation.
        dry_run: show the rows and what two steps of the base cost; train nothing.
        say: takes the plan, and a line after each row.
        progress: show bars.

    Returns:
        Row -> why it has no results, for rows whose training failed.

    Raises:
        ConfigError: no budget, or an unknown row.
        EvaluationError: the folder holds another ablation.
    """
    every, resources = variants(base), resources or Resources()
    unknown = ", ".join(set(rows) - {row.name for row in every})
    known = ", ".join(row.name for row in every)
    require(not unknown, ConfigError, f"rows among {known}", unknown, "choose of these")
    chosen = [row for row in every if not rows or row.name in (BASE, *rows)]
    parts = [f"{counted(steps, 'step')} of {counted(base.train.batch_size, 'image')}"] if steps else []
    parts += [counted(minutes, "minute", "g")] if minutes else []
    budget = f"{' or '.join(parts)}, seed {base.train.seed}, base {base.preset}"
    budget = " with ".join([budget, *(path.name for path in extra)])
    say(f"{counted(len(chosen), 'row')}, each {budget}; results go to {out / 'evaluation'}")
    for row in chosen:
        changes = ", ".join(f"{name} = {value}" for name, value in row.changes.items())
        say(f"  {row.name:<18}  {changes or 'as configured'}")

    def train(row: Variant) -> Path:
        """Train a row up to its budget, unless it is; return its checkpoint."""
        run = out / row.name
        if (run / "checkpoint/config.json").exists() and load_facts(run / "checkpoint").get("finished", True):
            return run / "checkpoint"
        loop = replace(row.config.train, steps=steps or 10**9, max_minutes=minutes)
        train_gan(
            dataset,
            features,
            damsm,
            run,
            replace(row.config, train=loop),
            device=device,
            resume=(run / "config.json").exists(),
            extra=() if row.name == PAPER else extra,
            dry_run=dry_run,
            vgg=resources.vgg,
            squeezenet=resources.squeezenet,
            progress=progress,
        )
        return run / "checkpoint"

    if dry_run:
        train(chosen[0])
        return {}
    fix = "give --steps or --minutes"
    require(steps > 0 or minutes > 0, ConfigError, "a budget a row", "neither steps nor minutes", fix)
    _freeze(out / "ablation.json", {"schema": SCHEMA, "budget": budget, "base": to_dict(base)})
    if memory is None:
        memory = out / "memory"
        if not (memory / "bank.json").exists():
            encoders = load_damsm(damsm, choose_device(device))
            words = encoders.config.text.max_words
            given = (encoders.damsm, encoders.vocabulary, memory)
            build_memory(dataset, features, *given, max_words=words, progress=progress)
    failed: dict[str, str] = {}
    for row in chosen:
        try:
            trained = train(row)
        except TrainingError as error:
            failed[row.name] = str(error)
            say(f"{row.name}: {error}")
            continue
        found = evaluate(
            trained,
            dataset,
            metrics=metrics,
            n=n,
            split=split,
            seed=base.train.seed,
            controls=controls if row.name == BASE else (),
            out=out / "evaluation",
            resources=resources,
            memory=memory,
            device=device,
            batch=batch,
            variant=row.name,
            budget=budget,
            progress=progress,
        )
        say(f"{row.name}: measured" + "".join(f"; left out: {name}" for name in found.left_out))
    return failed


def _freeze(path: Path, facts: dict[str, Any]) -> None:
    """Write down the base and the budget, or compare with those of an earlier start."""
    if path.exists() and (earlier := read_json(path, EvaluationError)) != facts:
        wanted = f"the ablation that {path.parent} was started with: {earlier.get('budget')}"
        found = facts["budget"] + ("" if earlier.get("base") == facts["base"] else ", another base")
        raise EvaluationError(wanted, found, "use the same settings, or another folder")
    atomic_write_json(path, facts)
