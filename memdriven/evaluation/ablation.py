"""An ablation: one base configuration, each time with one thing changed (Sec. 5.2), trained and measured.

What is on in the base is switched off, and the other way round, so that any preset can be a base. The last
rows, `paper` and `paper-family`, are the presets of those names at the base's sizes. Each row is trained with
one seed and budget:

    out/ablation.json     the base configuration and the budget
    out/memory/           one bank for all rows, which share their encoders
    out/ROW/              the row's training run, with its checkpoint
    out/evaluation/       results.jsonl, pictures

A run that was stopped goes on in the row and step where it was.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from memdriven.checkpoint import load_facts
from memdriven.config import Config, to_dict
from memdriven.errors import ConfigError, EvaluationError, TrainingError, require
from memdriven.evaluation.context import Protocol
from memdriven.evaluation.run import evaluate, refuse_unknown
from memdriven.files import atomic_write_json, read_json
from memdriven.memory.build import build_memory
from memdriven.numbers import counted
from memdriven.presets import PRESETS
from memdriven.training.gan import train_gan
from memdriven.training.run_directory import flat

SCHEMA = "memdriven.ablation/1"
USUAL = Protocol(metrics=("attributes", "r_precision_judge", "fid_vgg", "kid_vgg", "diversity_seed"), n=500)
BASE = "base"
PAPERS = ("paper", "paper-family")
"""Rows that are presets of those names, at the base's sizes and without its further data."""
_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
SIZES, TRAINED_SO = _TABLE["papers"]["sizes"], _TABLE["papers"]["trained_so"]
"""Settings that these keep of the base's generator, and those of the loop that they take over."""


def variants(base: Config) -> dict[str, Config]:
    """Return the base and its variants by name; those that equal the base are left out."""
    rows = {BASE: base}
    for name, sections in _TABLE["row"].items():
        is_on = [getattr(getattr(base, section), each) for section in sections for each in sections[section]]
        changed = {each: replace(getattr(base, each), **settings) for each, settings in sections.items()}
        if not (name.endswith("-on") and all(is_on)):
            rows[name] = replace(base, **changed)
    rows |= {name: _as_preset(base, name) for name in PAPERS}
    return {name: row for name, row in rows.items() if name == BASE or row != base}


def _as_preset(base: Config, name: str) -> Config:
    """Return a preset, its learning rates too, but with the sizes and the budget of a base."""
    literal = PRESETS[name]
    return replace(
        base,
        generator=replace(literal.generator, **{each: getattr(base.generator, each) for each in SIZES}),
        discriminator=replace(base.discriminator, content="average", projected=False),
        loss=literal.loss,
        train=replace(base.train, **{each: getattr(literal.train, each) for each in TRAINED_SO}),
    )


def changes(base: Config, row: Config) -> str:
    """Return the settings in which a row differs from its base, in words."""
    before = dict(flat(to_dict(base)))
    return ", ".join(f"{name} = {value}" for name, value in flat(to_dict(row)) if value != before[name])


def ablate(
    dataset: Path,
    features: Path,
    damsm: Path,
    out: Path,
    base: Config,
    protocol: Protocol = USUAL,
    *,
    steps: int = 0,
    minutes: float = 0.0,
    rows: Sequence[str] = (),
    extra: Sequence[Path] = (),
    memory: Path | None = None,
    dry_run: bool = False,
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
        protocol: how each row is measured, by the seed of its training; beside controls the base alone. On
            a slow CPU fd_squeezenet and kd_squeezenet stand for the measures by VGG.
        steps: a row; 0 means minutes alone. The same steps are the same images for each row.
        minutes: a row; 0 means steps alone.
        rows: beside the base, e.g. no-v content-max; all by default.
        extra: further training data, as `train` takes it; the rows `paper` and `paper-family` do without.
        memory: a memory bank of these encoders; built in OUT when left out.
        dry_run: show the rows and what two steps of the base cost; train nothing.

    Returns:
        Row -> why it has no results, for rows whose training failed.

    Raises:
        ConfigError: no budget, or an unknown row.
        EvaluationError: an unknown metric or control, or the folder holds another ablation.
    """
    every = variants(base)
    unknown = ", ".join(set(rows) - every.keys())
    require(not unknown, ConfigError, f"rows among {', '.join(every)}", unknown, "choose of these")
    refuse_unknown(protocol)
    chosen = {name: row for name, row in every.items() if not rows or name in (BASE, *rows)}
    parts = [f"{counted(steps, 'step')} of {counted(base.train.batch_size, 'image')}"] if steps else []
    parts += [counted(minutes, "minute", "g")] if minutes else []
    budget = f"{' or '.join(parts)}, seed {base.train.seed}, base {base.preset}"
    budget = " with ".join([budget, *(path.name for path in extra)])
    print(f"{counted(len(chosen), 'row')}, each {budget}; results go to {out / 'evaluation'}")
    for name, row in chosen.items():
        print(f"  {name:<18}  {changes(base, row) or 'as configured'}")

    def train(name: str) -> Path:
        """Train a row up to its budget, unless it is; return its checkpoint."""
        run, row = out / name, chosen[name]
        trained = run / "checkpoint"
        if not (trained / "config.json").exists() or not load_facts(trained).get("finished", True):
            train_gan(
                dataset,
                features,
                damsm,
                run,
                replace(row, train=replace(row.train, steps=steps or 10**9, max_minutes=minutes)),
                device=protocol.device,
                resume=(run / "config.json").exists(),
                extra=() if name in PAPERS else extra,
                dry_run=dry_run,
                vgg=protocol.vgg,
                squeezenet=protocol.squeezenet,
            )
        return trained

    if dry_run:
        train(BASE)
        return {}
    fix = "give --steps or --minutes"
    require(steps > 0 or minutes > 0, ConfigError, "a budget a row", "neither steps nor minutes", fix)
    begun, facts = out / "ablation.json", {"schema": SCHEMA, "budget": budget, "base": to_dict(base)}
    if begun.exists() and (earlier := read_json(begun, EvaluationError)) != facts:
        wanted = f"the ablation that {out} was started with: {earlier.get('budget')}"
        found = budget + ("" if earlier.get("base") == facts["base"] else ", another base")
        raise EvaluationError(wanted, found, "use the same settings, or another folder")
    atomic_write_json(begun, facts)
    if memory is None:
        memory = out / "memory"
        if not (memory / "bank.json").exists():
            device = protocol.device
            build_memory(damsm, dataset, features, out=memory, device=device)
    failed: dict[str, str] = {}
    for name in chosen:
        try:
            trained = train(name)
        except TrainingError as error:
            failed[name] = str(error)
            print(f"{name}: {error}")
            continue
        measured = evaluate(
            trained,
            dataset,
            protocol if name == BASE else replace(protocol, controls=()),
            seed=base.train.seed,
            out=out / "evaluation",
            memory=memory,
            variant=name,
            budget=budget,
        )
        print(f"{name}: measured" + "".join(f"; left out: {each}" for each in measured.left_out))
    return failed
