"""What a training needs to go on exactly where it stopped: one safetensors file with a checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from memdriven.errors import CheckpointError
from memdriven.files import atomic_write_bytes

SCHEMA = "memdriven.training-state/2"
_ENTRY = "memdriven"
"""The file's one entry of metadata: several would be written in any order."""
_BLANK = "0" * 64
"""Stands where the checksum goes, while it is computed."""


def first_broken(modules: Mapping[str, nn.Module]) -> str | None:
    """Return the name of a weight that is not finite, or None."""
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                return f"{name}.{key}"
    return None


def save_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    facts: Mapping[str, Any],
) -> None:
    """Write modules, optimisers and plain facts (step, seconds, ...) atomically.

    Raises:
        DataError: the disk is full or refuses writing; the state on disk is left as it was.
    """
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            tensors[f"module/{name}/{key}"] = value
    for name, optimiser in optimisers.items():
        for index, entry in optimiser.state_dict()["state"].items():
            for key, value in entry.items():
                tensors[f"optimiser/{name}/{index}/{key}"] = value
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    described = json.dumps({"schema": SCHEMA, "facts": facts, "sha256": _BLANK})
    content = safetensors.torch.save(tensors, {_ENTRY: described})
    checksum = hashlib.sha256(content).hexdigest()
    atomic_write_bytes(path, content.replace(_BLANK.encode(), checksum.encode(), 1))


@contextmanager
def _explained(path: Path, fix: str) -> Iterator[None]:
    """Turn what a damaged file raises into an error of ours."""
    try:
        yield
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}"
        raise CheckpointError(f"a state that memdriven saved at {path}", found[:300], fix) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and facts of a state whose every byte is as it was written."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    described = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_ENTRY])
    if described["schema"] != SCHEMA:
        raise ValueError(f"schema {described['schema']!r}, not {SCHEMA!r}")
    checksum = described["sha256"].encode()
    if hashlib.sha256(content.replace(checksum, _BLANK.encode(), 1)).hexdigest().encode() != checksum:
        raise ValueError("another checksum than it was written with: the file is damaged")
    return safetensors.torch.load(content), described["facts"]


def read_module(path: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of one module that `save_state` wrote, and the facts beside them.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    with _explained(path, "name the folder of a training run"):
        tensors, facts = _read(path)
        return _below(tensors, f"module/{name}/"), facts


def load_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
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
        CheckpointError: the file is missing, damaged, or of a network of another shape.
    """
    with _explained(path, "restore the file, or start again in a new run directory"):
        tensors, facts = _read(path)
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
