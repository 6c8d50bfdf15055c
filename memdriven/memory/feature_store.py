"""Image features v of many items on disk, compressed one by one and read one by one.

A folder of four files: `features.json` (header), `features.bin` (the items' blobs end to end),
`offsets.npy` (n + 1 byte positions in it) and `ids.txt` (one id a line).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from memdriven.errors import BankError
from memdriven.files import explain_disk_errors
from memdriven.memory import codec
from memdriven.memory.manifest import (
    count,
    read_manifest,
    read_offsets,
    refuse_other,
    verify_manifest,
    write_manifest,
    write_offsets,
)

SCHEMA = "memdriven.features/1"
HEADER = "features.json"
FILES = ("features.bin", "offsets.npy", "ids.txt")


class FeatureStore:
    """Read access to a store; safe to share between threads.

    Opening maps `features.bin` without reading it; an item is decompressed when it is asked for.
    """

    def __init__(
        self, path: Path, header: dict[str, Any], ids: list[str], offsets: NDArray[np.int64]
    ) -> None:
        """Use `FeatureStore.open`; this takes parts that were already checked."""
        self.path, self.header, self.ids, self.offsets = path, header, ids, offsets
        shape = header["shape"]
        self.shape: tuple[int, int, int] = (shape[0], shape[1], shape[2])
        with (path / "features.bin").open("rb") as stream:
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._rows = {id_: row for row, id_ in enumerate(ids)}

    @classmethod
    def open(cls, path: Path | str, expect_encoder: str | None = None) -> FeatureStore:
        """Open a store, checking its schema, sizes, offsets and encoder.

        Args:
            path: the store's folder.
            expect_encoder: hash of the VGG in use; None accepts any.

        Raises:
            BankError: missing, foreign, truncated, or made by another encoder.
        """
        path = Path(path)
        header = read_manifest(path, HEADER, SCHEMA, FILES)
        refuse_other(path, "image encoder", header.get("encoder"), expect_encoder)
        n = count(header, "count", path / HEADER)
        shape = header.get("shape")
        if not (
            isinstance(shape, list)
            and len(shape) == 3
            and all(type(side) is int and side > 0 for side in shape)
        ):
            raise BankError(
                wanted="a shape [c, h, w]", found=repr(shape)[:80], fix="build the feature store again"
            )
        # Damaged bytes are read as other ids: no two of them may be alike, and the bank's are compared.
        ids = (path / "ids.txt").read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        offsets = read_offsets(path / "offsets.npy", n, (path / "features.bin").stat().st_size)
        if len(ids) != n or len(set(ids)) != n:
            raise BankError(
                wanted=f"{n} different ids in {path / 'ids.txt'}",
                found=f"{len(ids)} lines, {len(set(ids))} different",
                fix="build the feature store again",
            )
        return cls(path, header, ids, offsets)

    def __len__(self) -> int:
        """Return n, the number of items."""
        return len(self.ids)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Return v (c, h, w) of one item.

        Raises:
            IndexError: there is no such row.
            BankError: the item's bytes are damaged.
        """
        return codec.decode(self.blob(index), self.shape)

    @property
    def encoder(self) -> str:
        """Hash of the VGG that made the features."""
        return str(self.header["encoder"])

    def index_of(self, item_id: str) -> int:
        """Return the row of an id.

        Raises:
            BankError: the store does not hold it.
        """
        if item_id not in self._rows:
            raise BankError(
                wanted=f"features of item {item_id!r} in {self.path}",
                found="no such id",
                fix="extract the features again",
            )
        return self._rows[item_id]

    def blob(self, index: int) -> bytes:
        """Return one item's compressed bytes.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self._map[self.offsets[index] : self.offsets[index + 1]]

    def load_all(
        self, indices: Sequence[int] | None = None, *, workers: int | None = None, progress: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Decode many items at once, e.g. for training, in threads.

        The pair is exact: `levels[i] * scale[i]` equals `store[i]`, in a quarter of its memory
        (131 kB an item at 512 x 16 x 16).

        Args:
            indices: rows to decode, in this order; all by default.
            workers: threads; the machine's cores by default.
            progress: show a bar.

        Returns:
            levels (m, c, h, w) uint8 and scale (m, 1, 1, 1) float32.

        Raises:
            BankError: an item's bytes are damaged.
        """
        rows = range(len(self)) if indices is None else indices
        levels = torch.empty((len(rows), *self.shape), dtype=torch.uint8)
        scale = torch.empty((len(rows), 1, 1, 1))
        views, scales = levels.numpy(), scale.view(-1).numpy()

        def fill(place: int) -> None:
            _, scales[place] = codec.decode_levels(self.blob(rows[place]), self.shape, views[place])

        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            work = pool.map(fill, range(len(rows)))
            for _ in tqdm(work, "features", total=len(rows), disable=not progress, unit="item"):
                pass
        return levels, scale

    def verify(self) -> None:
        """Check every file's SHA-256 against the header.

        Raises:
            BankError: a file's content is not what was written.
        """
        verify_manifest(self.path, self.header, FILES)


def write_store(
    folder: Path, ids: Sequence[str], blobs: Iterable[bytes], shape: Sequence[int], facts: dict[str, Any]
) -> None:
    """Write a store's files into an existing folder (make it atomic around this).

    Args:
        folder: where the four files go.
        ids: one id an item, each without line breaks.
        blobs: one `codec.encode` result an item, in the ids' order.
        shape: (c, h, w) of every item.
        facts: entries for the header; `encoder`, the VGG's hash, is one of them.

    Raises:
        DataError: the disk is full.
    """
    with explain_disk_errors(folder):
        with (folder / "features.bin").open("wb") as stream:
            sizes = [stream.write(blob) for blob in blobs]
        write_offsets(folder / "offsets.npy", sizes)
        (folder / "ids.txt").write_text("".join(f"{id_}\n" for id_ in ids), encoding="utf-8")
    write_manifest(folder, HEADER, SCHEMA, {**facts, "count": len(ids), "shape": list(shape)}, FILES)
