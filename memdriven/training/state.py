"""Everything a GAN run needs to go on exactly where it stopped, in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from memdriven.errors import TrainingError
from memdriven.files import atomic_write_bytes

SCHEMA = "memdriven.training-state/1"


def save_state(
    path: Path,
    modules: dict[str, nn.Module],
    optimisers: dict[str, torch.optim.Optimizer],
    facts: dict[str, Any],
) -> None:
    """Write modules, optimisers and plain facts (step, seconds, ...) atomically.

    Raises:
        TrainingError: a weight is not finite; the state on disk is left as it was.
        DataError: the disk is full or refuses writing.
    """
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            tensors[f"module/{name}/{key}"] = value.detach().cpu().contiguous().clone()
    for name, optimiser in optimisers.items():
        for index, entry in optimiser.state_dict()["state"].items():
            for key, value in entry.items():
                tensors[f"optimiser/{name}/{index}/{key}"] = value.cpu().contiguous().clone()
    broken = [key for key, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise TrainingError(
            wanted="finite weights",
            found=f"NaN or infinity in {broken[0]}",
            fix=f"the last good state is kept in {path}; lower the learning rate",
        )
    metadata = {"schema": SCHEMA, "facts": json.dumps(facts)}
    atomic_write_bytes(path, safetensors.torch.save(tensors, metadata))


def load_state(
    path: Path,
    modules: dict[str, nn.Module],
    optimisers: dict[str, torch.optim.Optimizer],
    *,
    grow: bool = False,
) -> dict[str, Any]:
    """Restore what `save_state` wrote, in place; return its facts.

    Args:
        path: the file.
        modules: by the names under which they were saved.
        optimisers: likewise; each carries the name of the module that it trains, and whatever
            follows a hyphen.
        grow: modules may have parts that the file lacks: these keep their values, and the
            optimisers of such modules start anew, as do those that moved other weights there.

    Raises:
        TrainingError: the file is missing, damaged, or of a network of another shape.
    """
    try:
        with safetensors.safe_open(path, "pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        if metadata.get("schema") != SCHEMA:
            raise ValueError(f"schema {metadata.get('schema')!r}")
        grown = set()
        for name, module in modules.items():
            missing, extra = module.load_state_dict(_below(tensors, f"module/{name}/"), strict=False)
            if extra or (missing and not grow):
                raise ValueError(f"{name}: parts missing {missing[:2]}, unknown {extra[:2]}")
            if missing:
                grown.add(name)
        for name, optimiser in optimisers.items():
            if name.partition("-")[0] in grown:
                continue
            saved = _below(tensors, f"optimiser/{name}/")
            parameters = [p for group in optimiser.param_groups for p in group["params"]]
            if not _fits(saved, parameters):
                if grow:
                    continue
                raise ValueError(f"moments of other weights than {name}'s")
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in saved.items():
                index, entry = key.split("/")
                state.setdefault(int(index), {})[entry] = _like(value, parameters[int(index)])
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": state, "param_groups": groups})
    except FileNotFoundError:
        raise TrainingError(
            wanted=f"a saved state at {path}", found="no such file", fix="start without --resume"
        ) from None
    except (safetensors.SafetensorError, ValueError, RuntimeError, OSError) as error:
        raise TrainingError(
            wanted=f"a state that memdriven saved at {path}",
            found=str(error)[:300],
            fix="restore the file, or start again in a new run directory",
        ) from error
    facts: dict[str, Any] = json.loads(metadata["facts"])
    return facts


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _fits(saved: dict[str, Tensor], parameters: list[Tensor]) -> bool:
    """Whether saved moments are of weights of these shapes; step counts have none."""
    for key, value in saved.items():
        index = int(key.partition("/")[0])
        if index >= len(parameters) or (value.ndim and value.shape != parameters[index].shape):
            return False
    return True


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """Lay a moment out in memory as its parameter is: the fused Adam walks both as they lie."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
