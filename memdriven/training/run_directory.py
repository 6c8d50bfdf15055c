"""A training run's folder: frozen config, metrics as JSONL, sample grids, TensorBoard if there."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from memdriven.config import Config, from_dict, to_dict
from memdriven.errors import TrainingError
from memdriven.files import atomic_write_bytes, atomic_write_json, explain_disk_errors, read_json

UNFROZEN = ("steps", "max_minutes", "log_every", "sample_every", "save_every", "workers")
"""Settings of the loop that a resumed run may change."""


class RunDirectory:
    """Creates, checks and writes one run's folder.

    Raises:
        TrainingError: the folder holds a run with other settings, or one that was not to be
            resumed.
    """

    def __init__(self, path: Path, config: Config, *, resume: bool) -> None:
        self.path = path
        frozen = path / "config.json"
        if frozen.exists():
            if not resume:
                raise TrainingError(
                    wanted=f"an empty run directory {path}",
                    found="one that holds a run",
                    fix="pass --resume to go on with it, or choose another folder",
                )
            self._check_same(config, from_dict(Config, read_json(frozen, TrainingError)))
        atomic_write_json(frozen, to_dict(config))
        self._board = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(path / "tensorboard"))

    def _check_same(self, new: Config, old: Config) -> None:
        now, then = to_dict(new), to_dict(old)
        for values in (now, then):
            for name in UNFROZEN:
                values["train"].pop(name)
        for section, values in now.items():
            if values != then[section]:
                raise TrainingError(
                    wanted=f"the settings that {self.path} was started with",
                    found=f"{section} = {values}, not {then[section]}"[:600],
                    fix="use the same settings, or start a new run directory",
                )

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl, and its numbers to TensorBoard."""
        with explain_disk_errors(self.path), (self.path / "metrics.jsonl").open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        if self._board is not None:
            for name, value in record.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(name, value, record.get("step", 0))

    def save_grid(self, name: str, images: Tensor, columns: int) -> None:
        """Write images (n, 3, h, w) in [-1, 1] as one PNG under samples/."""
        atomic_write_bytes(self.path / "samples" / f"{name}.png", png(grid(images, columns)))

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()


def grid(images: Tensor, columns: int, gap: int = 2) -> Tensor:
    """Lay images (n, 3, h, w) in [-1, 1] out in rows: uint8 (H, W, 3), white between."""
    n, _, height, width = images.shape
    rows = -(-n // columns)
    sheet = torch.ones(3, rows * (height + gap) + gap, columns * (width + gap) + gap)
    for index, image in enumerate(images.detach().float().cpu()):
        y = gap + (index // columns) * (height + gap)
        x = gap + (index % columns) * (width + gap)
        sheet[:, y : y + height, x : x + width] = image
    return ((sheet.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0)


def png(pixels: Tensor) -> bytes:
    """Return uint8 pixels (h, w, 3) as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
