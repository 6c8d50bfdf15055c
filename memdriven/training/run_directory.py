"""A training's folder: frozen settings, metrics as JSONL, sample grids, and the state to go on from.

A state holds all that a training needs to go on exactly where it stopped: modules, moments of optimisers, and
plain facts (step, seconds, ...) in one safetensors file with a checksum.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from memdriven.errors import CheckpointError, TrainingError, explained, require
from memdriven.files import atomic_file, atomic_write_bytes, atomic_write_json, explain_disk_errors, read_json
from memdriven.numbers import is_whole

Modules = Mapping[str, nn.Module]
Optimisers = Mapping[str, torch.optim.Optimizer]

STATE, METRICS, SAMPLES = "state.safetensors", "metrics.jsonl", "samples"
RESULTS = ("checkpoint", "damsm.safetensors", "judge.json")
"""What a training leaves for others, by its kind."""
SCHEMA = "memdriven.training-state/2"
_ENTRY = "memdriven"
"""A state's one entry of metadata: several would be written in any order."""
_BLANK = "0" * 64
"""Stands where the checksum goes, while it is computed."""
_STATE = "a state that memdriven saved at {}"
_ANEW = "restore the file, or start again in a new run directory"


class RunDirectory:
    """Checks, makes and writes one training's folder; nothing is written before `begin`.

    Args:
        path: the folder.
        settings: what a resumed training must agree in with its beginning, as JSON.
        resume: go on with the training that the folder holds.
        file: where the settings are kept.
        free: settings, with their sections, that a resumed training may change.

    Raises:
        TrainingError: the folder holds a training and was not to be resumed, has lost its state, or
            was begun with other settings.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        *,
        resume: bool,
        file: str = "run.json",
        free: Collection[str] = (),
    ) -> None:
        self.path, self.settings, self.state, self.frozen = path, settings, path / STATE, path / file
        self.asked = resume
        """Whether to go on was asked for."""
        held = [name for name in (file, STATE, METRICS, *RESULTS) if (path / name).exists()]
        self.resumes = resume and STATE in held
        """Whether there is a state to go on from."""
        wanted, found = f"an empty run directory {path}", f"one that holds a training ({', '.join(held)})"
        fix = "pass --resume to go on with it, or choose another folder"
        require(resume or not held, TrainingError, wanted, found, fix)
        left = [name for name in held if name != file]
        wanted = f"a state to resume in {self.state}"
        found = f"no such file, but {', '.join(left)} of an earlier training"
        fix = "restore the state, or start anew in another folder without --resume"
        require(not resume or self.resumes or not left, TrainingError, wanted, found, fix)
        if self.resumes and self.frozen.exists():
            before = dict(flat(read_json(self.frozen, TrainingError)))
            changed = [
                f"{name} = {value}, not {before[name]}"
                for name, value in flat(json.loads(json.dumps(settings)))
                if name not in free and name in before and before[name] != value
            ]
            wanted, found = f"the settings that {path} was begun with", "; ".join(changed)[:600]
            fix = "use the same settings, or start a new run directory"
            require(not changed, TrainingError, wanted, found, fix)

    def begin(self, step: int) -> None:
        """Freeze the settings, and drop the metrics of steps behind `step`, which come again."""
        atomic_write_json(self.frozen, self.settings)
        log = self.path / METRICS
        if log.exists():
            lines = [json.dumps(row) + "\n" for at, row in read_metrics(log).items() if at <= step]
            atomic_write_bytes(log, "".join(lines).encode())

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with explain_disk_errors(self.path), (self.path / METRICS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def save_grid(self, step: int, images: Tensor, columns: int) -> Path:
        """Write images (n, 3, h, w) in [-1, 1] as a PNG under samples/; return it."""
        from torchvision.utils import save_image

        path = self.path / SAMPLES / f"{step:06d}.png"
        with atomic_file(path) as scratch:
            options = {"nrow": columns, "padding": 2, "pad_value": 1.0}
            save_image(images.clamp(-1, 1).add(1).div(2), scratch, "png", **options)
        return path


def flat(nested: Mapping[Any, Any], joint: str = ".", above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (section.name, value) of nested settings, or of other mappings, with another joint."""
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from flat(value, joint, f"{above}{name}{joint}")
        else:
            yield f"{above}{name}", value


def read_metrics(log: Path) -> dict[int, dict[str, Any]]:
    """Return a training's rows of metrics by step, in order.

    A resumed training repeats the steps after its last save: the later row of a step counts. Rows that a
    killed writer tore are passed over.
    """
    rows = {}
    for line in log.read_bytes().splitlines():
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and is_whole(row.get("step")):
                rows[row["step"]] = row
    return dict(sorted(rows.items()))


# ---- State ---------------------------------------------------------------------------------------


def save_state(path: Path, modules: Modules, optimisers: Optimisers, facts: Mapping[str, Any]) -> None:
    """Write modules, optimisers and facts atomically.

    A DataError says that the disk is full or refuses writing; the state on disk is left as it was.
    """
    held = {
        "module": {name: module.state_dict() for name, module in modules.items()},
        "optimiser": {name: optimiser.state_dict()["state"] for name, optimiser in optimisers.items()},
    }
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in flat(held, "/")}
    described = json.dumps({"schema": SCHEMA, "facts": facts, "sha256": _BLANK})
    content = safetensors.torch.save(tensors, {_ENTRY: described})
    checksum = hashlib.sha256(content).hexdigest()
    atomic_write_bytes(path, content.replace(_BLANK.encode(), checksum.encode(), 1))


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and facts of a state whose every byte is as it was written.

    A CheckpointError says that the file is missing or damaged.
    """
    require(path.is_file(), CheckpointError, _STATE.format(path), "no such file", _ANEW)
    damaged = SafetensorError, ValueError, KeyError, TypeError, AttributeError, OSError
    with explained(CheckpointError, _STATE.format(path), _ANEW, *damaged):
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        described = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_ENTRY])
        checksum = described["sha256"].encode()
        blank = content.replace(checksum, _BLANK.encode(), 1)
        if described["schema"] != SCHEMA or hashlib.sha256(blank).hexdigest().encode() != checksum:
            raise ValueError("another schema or checksum than it was written with")
        found = safetensors.torch.load(content), described["facts"]
    return found


def load_state(path: Path, modules: Modules, optimisers: Optimisers, *, grow: bool = False) -> dict[str, Any]:
    """Restore what `save_state` wrote, in place; return its facts.

    Args:
        path: the file.
        modules: by the names under which they were saved.
        optimisers: likewise; each carries the name of the module that it trains.
        grow: modules may have parts that the file lacks: these keep their values, and the
            optimisers of such modules start anew, as do those that moved other weights there.

    Raises:
        CheckpointError: the file is missing, damaged, or of a network of another shape.
    """
    tensors, facts = read_state(path)
    grown, wanted = set(), _STATE.format(path)
    for name, module in modules.items():
        with explained(CheckpointError, wanted, _ANEW, RuntimeError):
            missing, extra = module.load_state_dict(below(tensors, f"module/{name}/"), strict=False)
        found = f"{name}: parts missing {missing[:2]}, unknown {extra[:2]}"
        require(not extra and (grow or not missing), CheckpointError, wanted, found, _ANEW)
        if missing:
            grown.add(name)
    for name, optimiser in optimisers.items():
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        moments = _moments(below(tensors, f"optimiser/{name}/"), parameters)
        found = f"moments of other weights than {name}'s"
        require(grow or moments is not None, CheckpointError, wanted, found, _ANEW)
        if moments is not None and name not in grown:
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": moments, "param_groups": groups})
    return facts


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def first_broken(modules: Modules) -> str | None:
    """Return the name of a weight that is not finite, or None."""
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                return f"{name}.{key}"
    return None


def _moments(saved: Mapping[str, Tensor], parameters: list[Tensor]) -> dict[int, dict[str, Tensor]] | None:
    """Return moments by the numbers of their parameters; None where they are of other weights.

    Each is laid out in memory as its parameter is: the fused Adam walks both as they lie.
    """
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in saved.items():
        index, entry = key.split("/")
        if value.ndim:  # step counts have no shape
            if int(index) >= len(parameters) or value.shape != parameters[int(index)].shape:
                return None
            value = torch.empty_like(parameters[int(index)], requires_grad=False).copy_(value)
        found.setdefault(int(index), {})[entry] = value
    return found
