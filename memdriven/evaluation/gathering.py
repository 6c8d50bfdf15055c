"""Rows of images picked from others: in memory while they are few, else in a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from memdriven.errors import EvaluationError
from memdriven.files import atomic_write_json, explain_disk_errors, read_json

IN_MEMORY = 1 << 30
"""Bytes; 30,000 images of 256 px are six times as many."""
CHUNK = 512


def gather(images: Tensor, rows: Tensor, path: Path, *, in_memory: int = IN_MEMORY) -> Tensor:
    """Return images[rows], uint8 (n, 3, h, w); beyond `in_memory` bytes it is mapped from a file.

    A file that already holds them is used as it is.

    Args:
        images: uint8 (m, 3, h, w), which may itself be mapped from a file.
        rows: (n,) whole numbers.
        path: the .npy file; a .json beside it says what it holds.
        in_memory: bytes up to which no file is written.
    """
    if len(rows) * images[0].numel() <= in_memory:
        return images[rows]
    mark, shape = path.with_suffix(".json"), (len(rows), *images.shape[1:])
    key = f"{shape} {hashlib.sha256(rows.numpy().tobytes()).hexdigest()} {_hash(images)}"
    if not _holds(path, mark, key):
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            mark.unlink(missing_ok=True)
            target = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
            for start in range(0, len(rows), CHUNK):
                target[start : start + CHUNK] = images[rows[start : start + CHUNK]].numpy()
            target.flush()
        atomic_write_json(mark, {"key": key})
    return torch.from_numpy(np.lib.format.open_memmap(path, mode="r+"))


def _holds(path: Path, mark: Path, key: str) -> bool:
    if not (path.exists() and mark.exists()):
        return False
    return read_json(mark, EvaluationError).get("key") == key


def _hash(images: Tensor) -> str:
    digest = hashlib.sha256()
    for chunk in torch.split(images, CHUNK):
        digest.update(chunk.contiguous().numpy().data)
    return digest.hexdigest()
