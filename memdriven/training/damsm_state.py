"""The state from which DAMSM's training goes on, bit for bit: one safetensors file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from memdriven.errors import CheckpointError, TrainingError
from memdriven.files import atomic_write_bytes

STATE = "last.safetensors"
_KEY = "memdriven.damsm-state/1"


@dataclass
class Progress:
    """Where a training stands. Its randomness follows from the seed and these numbers alone."""

    epoch: int = 0
    """Epochs that are complete."""
    batch: int = 0
    """Batches done of the epoch that is not."""
    step: int = 0
    """Optimiser steps in all."""
    seconds: float = 0.0
    """Time spent training, over all runs."""
    best: float = -1.0
    """Best mean recall so far; the weights that had it are in damsm.safetensors."""


def save_state(
    folder: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    identity: dict[str, Any],
) -> None:
    """Write weights, optimiser and progress as one file, atomically.

    Raises:
        TrainingError: a weight is not finite; the state on disk is left as it was.
        DataError: the disk is full or refuses writing.
    """
    tensors = {f"model/{key}": value for key, value in model.state_dict().items()}
    broken = [k for k, v in tensors.items() if not bool(torch.isfinite(v).all())]
    if broken:
        raise TrainingError(
            wanted="finite weights", found=f"NaN or infinity in {broken[0]}", fix=_advice(folder)
        )
    for name, parameter in model.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser/{name}/{key}"] = value
    content = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    described = {"progress": dataclasses.asdict(progress), "identity": identity}
    metadata = {_KEY: json.dumps(described)}
    atomic_write_bytes(folder / STATE, save(content, metadata=metadata))


def load_state(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, identity: dict[str, Any]
) -> Progress:
    """Restore what `save_state` wrote.

    Raises:
        CheckpointError: there is no state, or it is damaged.
        TrainingError: the state belongs to another data set or other settings.
    """
    path = folder / STATE
    try:
        with safe_open(path, "pt") as file:
            described = json.loads((file.metadata() or {})[_KEY])
            content: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        progress = Progress(**described["progress"])
        found = described["identity"]
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            wanted=f"a state to go on from in {path}",
            found=f"{type(error).__name__}: {error}",
            fix="train anew in another folder",
        ) from error
    changed = [key for key in identity if identity[key] != found.get(key)]
    if changed:
        raise TrainingError(
            wanted=f"the {changed[0]} that the training in {folder} began with",
            found="another one",
            fix="go on with the same data and settings, or use a new folder",
        )
    model.load_state_dict({k.removeprefix("model/"): v for k, v in content.items() if k.startswith("model/")})
    for name, parameter in model.named_parameters():
        prefix = f"optimiser/{name}/"
        own = {k.removeprefix(prefix): v for k, v in content.items() if k.startswith(prefix)}
        if own:
            optimiser.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device) for key, value in own.items()
            }
    return progress


def not_finite(folder: Path, what: str, step: int) -> TrainingError:
    """Return the error of a loss or gradient that is no number any more."""
    return TrainingError(
        wanted=f"a finite {what}", found=f"NaN or infinity at step {step}", fix=_advice(folder)
    )


def _advice(folder: Path) -> str:
    return (
        f"the last good state is kept in {folder / STATE}: look at the data, lower "
        "damsm.learning_rate, and train anew or resume"
    )
