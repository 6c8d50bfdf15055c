"""A training's folder: frozen settings, state, metrics as JSONL, sample grids."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from memdriven.errors import TrainingError, require
from memdriven.files import atomic_file, atomic_write_bytes, atomic_write_json, explain_disk_errors, read_json

STATE, METRICS, SAMPLES = "state.safetensors", "metrics.jsonl", "samples"
RESULTS = ("checkpoint", "damsm.safetensors", "judge.json")
"""What a training leaves for others, by its kind."""


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
        require(
            resume or not held,
            TrainingError,
            f"an empty run directory {path}",
            f"one that holds a training ({', '.join(held)})",
            "pass --resume to go on with it, or choose another folder",
        )
        left = [name for name in held if name != file]
        require(
            not resume or self.resumes or not left,
            TrainingError,
            f"a state to resume in {self.state}",
            f"no such file, but {', '.join(left)} of an earlier training",
            "restore the state, or start anew in another folder without --resume",
        )
        if self.resumes and self.frozen.exists():
            before = dict(_flat(read_json(self.frozen, TrainingError)))
            changed = [
                f"{name} = {value}, not {before[name]}"
                for name, value in _flat(json.loads(json.dumps(settings)))
                if name not in free and name in before and before[name] != value
            ]
            require(
                not changed,
                TrainingError,
                f"the settings that {path} was begun with",
                "; ".join(changed)[:600],
                "use the same settings, or start a new run directory",
            )

    def begin(self, step: int) -> None:
        """Freeze the settings, and drop the metrics of steps behind `step`, which come again.

        Of several rows of one step the last is kept, and no row that a killed writer tore.
        """
        atomic_write_json(self.frozen, self.settings)
        log = self.path / METRICS
        if log.exists():
            rows = {row["step"]: row for row in _rows(log) if row["step"] <= step}
            lines = [json.dumps(rows[key]) + "\n" for key in sorted(rows)]
            atomic_write_bytes(log, "".join(lines).encode())

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with explain_disk_errors(self.path), (self.path / METRICS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def save_grid(self, step: int, images: Tensor, columns: int, legend: str) -> Path:
        """Write images (n, 3, h, w) in [-1, 1] as a PNG under samples/, and what its rows are; return it."""
        from torchvision.utils import save_image

        folder = self.path / SAMPLES
        readme = folder / "README.md"
        if not readme.exists():
            atomic_write_bytes(readme, f"{legend}\n".encode())
        path = folder / f"{step:06d}.png"
        with atomic_file(path) as scratch:
            options = {"nrow": columns, "padding": 2, "pad_value": 1.0}
            save_image(images.clamp(-1, 1).add(1).div(2), scratch, "png", **options)
        return path


def _flat(settings: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (section.name, value) of nested settings."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{section}{name}.")
        else:
            yield f"{section}{name}", value


def _rows(log: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a metrics file that are whole."""
    for line in log.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            yield row
