"""Blobs of a long computation, kept in shards so that a killed run goes on where it was."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from memdriven.errors import DataError, MemDrivenError
from memdriven.files import atomic_write_bytes, atomic_write_json, held, read_json


class Shards:
    """A folder `<out>.partial` of numbered shards beside a plan that says what they are for.

    Shards left by a run with another plan are thrown away, those of an equal one are kept. It is a
    context manager: until it is left, no other process works in the folder.
    """

    def __init__(self, out: Path, plan: dict[str, Any]) -> None:
        """Open, or begin, the shards of `out`; `plan` is all that the blobs depend on.

        Raises:
            DataError: another process works at `out` now, or the disk is full or refuses writing.
        """
        self.folder = out.parent / f"{out.name}.partial"
        with contextlib.ExitStack() as lock:
            lock.enter_context(held(self.folder, f"work on {out.name}"))
            self._begin(plan)
            self._lock = lock.pop_all()

    def __enter__(self) -> Self:
        """Return the shards."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let other processes work here."""
        self._lock.close()

    def _begin(self, plan: dict[str, Any]) -> None:
        wanted = json.loads(json.dumps(plan))
        found: Any = None
        with contextlib.suppress(MemDrivenError):
            found = read_json(self.folder / "plan.json", DataError)
        if found != wanted:
            for old in self.folder.iterdir():
                old.unlink()
            atomic_write_json(self.folder / "plan.json", wanted)

    def done(self, number: int) -> int:
        """Return how many blobs a shard holds; 0 when it is absent or damaged."""
        try:
            return len(load_file(self._path(number))["sizes"])
        except (FileNotFoundError, SafetensorError, KeyError):
            return 0

    def write(self, number: int, blobs: Sequence[bytes]) -> None:
        """Write one shard, whole or not at all.

        Raises:
            DataError: the disk is full or refuses writing.
        """
        tensors: dict[str, NDArray[Any]] = {
            "sizes": np.asarray([len(blob) for blob in blobs], np.int64),
            "bytes": np.frombuffer(b"".join(blobs), np.uint8),
        }
        atomic_write_bytes(self._path(number), save(tensors))

    def blobs(self, count: int) -> Iterator[bytes]:
        """Yield the blobs of the first `count` shards in order, one shard in memory at a time."""
        for number in range(count):
            tensors = load_file(self._path(number))
            content, start = tensors["bytes"].tobytes(), 0
            for size in tensors["sizes"].tolist():
                yield content[start : start + size]
                start += size

    def remove(self) -> None:
        """Delete the folder, once its blobs lie elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:05d}.safetensors"
