"""What a new run begins with: another run's networks, or a checkpoint's generator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memdriven.checkpoint import Checkpoint, load_checkpoint
from memdriven.config import Config, from_dict, to_dict
from memdriven.errors import CheckpointError, TrainingError
from memdriven.files import read_json
from memdriven.training.run_directory import STATE
from memdriven.training.state import load_state
from memdriven.training.step import GanTrainer

WEIGHTS = "generator.safetensors"


def begin_from(folder: Path, trainer: GanTrainer, later: Path | None = None) -> list[dict[str, Any]]:
    """Load what an earlier training left, in place; return each part of it: steps, minutes, settings.

    Args:
        folder: a run directory, whose networks and optimisers are taken, or a checkpoint, which
            holds the averaged generator alone, so that the discriminators start fresh. What
            either lacks (early fusion, say) keeps its first values; a checkpoint's later stages
            are left behind, and what it knows of other data's attributes (`attribute_dim`). With
            stages or parts frozen that the run had not frozen, its checkpoint is taken: they are to
            stay as they make pictures.
        trainer: the new run's networks.
        later: a checkpoint whose later stages are taken, those that `folder` lacks, as they were
            trained on another first one.

    Raises:
        TrainingError: neither is there, or the networks are of another shape.
        CheckpointError: the checkpoint is damaged, or its generator of another shape.
    """
    train = trainer.config.train
    frozen = train.frozen_stages
    kept = (frozen, train.frozen_names)
    if any(kept) and not (folder / WEIGHTS).exists() and kept != _frozen_in(folder):
        folder = folder / "checkpoint"
    elif (folder / STATE).exists() or not (folder / WEIGHTS).exists():
        past = load_state(folder / STATE, trainer.modules, trainer.optimisers, grow=True)
        settings = read_json(folder / "config.json", TrainingError)
        part = {"steps": past["step"], "minutes": past["seconds"] / 60, "config": settings}
        return [*past.get("earlier", []), part]
    made = load_checkpoint(folder)
    parts = _parts(made)
    if made.config.generator.stages < frozen:
        raise CheckpointError(
            wanted=f"a generator of at least {frozen} stages in {folder}, as so many are frozen",
            found=f"{made.config.generator.stages}",
            fix="lower train.frozen_stages",
        )
    left = tuple(
        f"{name}."
        for stage in range(trainer.config.generator.stages, made.config.generator.stages)
        for name in made.generator.stage_parts(stage)
    )
    if made.config.generator.attribute_dim != trainer.config.generator.attribute_dim:
        left = (*left, "early.text_code.attributes.", "early.text_code.noise.gate.")
    weights = {k: v for k, v in made.generator.state_dict().items() if not k.startswith(left)}
    weights |= of_rank(weights, trainer.config.generator.first_rank)
    if "first.linear.0.weight" in weights:
        weights.pop("first.linear.weight", None)
    if later is not None:
        other = load_checkpoint(later)
        known = [(part["steps"], part["minutes"]) for part in parts]
        parts = [*(p for p in _parts(other) if (p["steps"], p["minutes"]) not in known), *parts]
        names = [
            f"{name}."
            for stage in range(made.config.generator.stages, other.config.generator.stages)
            for name in other.generator.stage_parts(stage)
        ]
        weights |= {k: v for k, v in other.generator.state_dict().items() if k.startswith(tuple(names))}
    for module in (trainer.generator, trainer.average.module):
        own = module.state_dict()
        wrong = [k for k, v in weights.items() if k not in own or own[k].shape != v.shape]
        if wrong:
            raise CheckpointError(
                wanted="a generator of this run's shape, to start from",
                found=f"{wrong[0]} in {folder} is unknown, or of another shape",
                fix="use the preset and the settings that it was trained with",
            )
        module.load_state_dict(weights, strict=False)
    return parts


def _parts(made: Checkpoint) -> list[dict[str, Any]]:
    """Return what is known of a checkpoint's training, by parts: steps, minutes, data set, settings."""
    last = {name: made.facts[name] for name in ("steps", "minutes", "dataset") if name in made.facts}
    return [*made.facts.get("earlier_runs", []), {**last, "config": to_dict(made.config)}]


def of_rank(weights: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Return the first stage's full linear layer as two of a rank, by its singular values."""
    full = weights.get("first.linear.weight")
    if not rank or full is None:
        return {}
    u, s, v = torch.linalg.svd(full.float(), full_matrices=False)
    root = s[:rank].sqrt()  # shared, so that both layers learn at one pace
    return {
        "first.linear.0.weight": (root[:, None] * v[:rank]).contiguous(),
        "first.linear.1.weight": (u[:, :rank] * root).contiguous(),
    }


def _frozen_in(run: Path) -> tuple[int, tuple[str, ...]]:
    train = from_dict(Config, read_json(run / "config.json", TrainingError)).train
    return train.frozen_stages, train.frozen_names
