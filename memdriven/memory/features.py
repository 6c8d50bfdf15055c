"""Image features v on disk: one item as a few kilobytes, and folders of many [ours].

    features.json        schema, hash of VGG-16, shape, count, size and SHA-256 of each file
    features.bin         the items' v, end to end, each as `encode_v` gives it
    offsets.npy, ids.txt n + 1 byte positions, and one id a line

relu5_3 is 92-96 % zeros, and most of what is left is small. A value x becomes the level
floor(x / step + ROUNDING); the step is the largest for which the levels still point where v
points, cos(levels, v) >= the cosine asked for, found per item by bisection. The levels that are
not zero are written as two planes of bytes, first the distance of each from the one before
(row by row, channel by channel), then the levels, and LZMA's adaptive coder does the rest.

A blob is the float32 `scale` followed by a raw LZMA stream; v is about `scale * levels`, with the
scale that makes the squared error least. docs/memory.md holds the layouts that were tried.
"""

from __future__ import annotations

import io
import json
import lzma
import mmap
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from memdriven.errors import BankError, require
from memdriven.files import explain_disk_errors, read_json, sealed, sha256_file
from memdriven.numbers import check_whole, is_whole, shown

COSINE = 0.991
"""Cosine between float32 v and its decoded levels that an encoded item reaches at the least."""
ROUNDING = 0.35
"""Below 0.5: values in the dead zone near zero go to zero, where they cost nothing."""
BISECTIONS = 16
MAX_LEVEL = 255
MAX_GAP = 255
MAX_COUNT = 1 << 53
"""Items that a header may claim."""

_SCALE = struct.Struct("<f")
_FILTERS = [{"id": lzma.FILTER_LZMA1, "lc": 0, "lp": 0, "pb": 0, "dict_size": 1 << 18, "preset": 6}]
"""No literal context (lc = 0): the planes hold too few bytes to learn one."""
AGAIN = "copy the whole folder again, or build it again"


# ---- One item ---


def encode_v(v: NDArray[np.floating], cosine: float = COSINE) -> bytes:
    """Return v (c, h, w), non-negative and finite, as one blob.

    Args:
        v: image features of one item.
        cosine: the least cosine between v and what `decode_v` gives back, in (0, 1).

    Raises:
        BankError: v holds a negative or non-finite value, or 255 levels cannot reach `cosine`.
    """
    flat = np.asarray(v, dtype=np.float32).ravel()
    require(
        bool(np.isfinite(flat).all() and (flat >= 0).all()),
        BankError,
        "finite, non-negative features (the output of a ReLU)",
        "a negative, infinite or NaN value",
        "check the encoder's weights and input",
    )
    places = np.flatnonzero(flat)
    levels, scale = _quantise(flat[places].astype(np.float64), cosine)
    kept = levels > 0
    gaps, values = _with_fillers(places[kept], levels[kept])
    planes = gaps.tobytes() + values.tobytes()
    return _SCALE.pack(scale) + lzma.compress(planes, lzma.FORMAT_RAW, filters=_FILTERS)


def decode_levels(
    blob: bytes | memoryview, shape: tuple[int, int, int], out: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], float]:
    """Return (levels (c, h, w) uint8, scale) of a blob; v is about scale * levels.

    Args:
        blob: what `encode_v` gave.
        shape: (c, h, w) of v.
        out: array to fill in place of a new one.

    Raises:
        BankError: the blob is damaged or belongs to another shape.
    """
    size = int(np.prod(shape))
    levels = np.zeros(shape, np.uint8) if out is None else out
    try:
        (scale,) = _SCALE.unpack(blob[: _SCALE.size])
        stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
        planes = stream.decompress(blob[_SCALE.size :], max_length=2 * size)
    except (struct.error, lzma.LZMAError, EOFError) as error:
        raise _damaged(str(error)) from error
    if len(planes) % 2 or not np.isfinite(scale) or scale < 0:
        raise _damaged("an incomplete stream")
    gaps, values = np.frombuffer(planes, np.uint8).reshape(2, -1)
    places = np.cumsum(gaps + np.int64(1)) - 1
    if len(places) and places[-1] >= size:
        raise _damaged(f"more than {size} values")
    if not stream.eof:  # a full plane may leave the end mark unread
        try:
            if stream.decompress(b"", max_length=1) or not stream.eof:
                raise _damaged("an incomplete stream")
        except (lzma.LZMAError, EOFError) as error:
            raise _damaged(str(error)) from error
    flat = levels.reshape(-1)
    flat[:] = 0
    flat[places] = values
    return levels, float(scale)


def decode_v(blob: bytes | memoryview, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return v (c, h, w) of a blob."""
    levels, scale = decode_levels(blob, shape)
    return levels * np.float32(scale)


def _quantise(values: NDArray[np.float64], cosine: float) -> tuple[NDArray[np.uint8], float]:
    """Return the coarsest (levels, scale) of the non-zero values that reach the cosine."""
    if len(values) == 0:
        return np.zeros(0, np.uint8), 0.0
    norm = float(np.sqrt(values @ values))

    def levels_at(step: float) -> NDArray[np.float64]:
        return np.minimum(np.floor(values / step + ROUNDING), MAX_LEVEL)

    def reaches(levels: NDArray[np.float64]) -> bool:
        length = float(np.sqrt(levels @ levels))
        return length > 0 and float(levels @ values) >= cosine * length * norm

    peak = float(values.max())
    fine, coarse = peak / (MAX_LEVEL + 1 - ROUNDING), peak / (1 - ROUNDING)
    best = levels_at(fine)
    require(
        reaches(best),
        BankError,
        f"cosine {cosine} from {MAX_LEVEL} levels",
        "features whose largest value dwarfs the rest",
        "ask for a lower cosine, or check the encoder",
    )
    for _ in range(BISECTIONS):
        step = (fine * coarse) ** 0.5
        levels = levels_at(step)
        if reaches(levels):
            fine, best = step, levels
        else:
            coarse = step
    return best.astype(np.uint8), float(best @ values / (best @ best))


def _with_fillers(
    places: NDArray[np.int64], levels: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (gaps, levels), with levels of zero put in where a gap exceeds a byte."""
    gaps = np.diff(places, prepend=-1) - 1
    fillers = np.repeat(np.arange(len(places)), gaps // (MAX_GAP + 1))
    short = np.insert(gaps % (MAX_GAP + 1), fillers, MAX_GAP)
    return short.astype(np.uint8), np.insert(levels, fillers, np.uint8(0))


def _damaged(found: str) -> BankError:
    return BankError(
        "the compressed features of one item",
        found or "damaged data",
        "build the memory bank or feature store again",
    )


# ---- Folders ---


class SealedFolder:
    """A folder under a header that says what is in it: facts, and size and SHA-256 of every file.

    The header's text depends on the content alone (no clock, no paths): equal folders have equal bytes.
    """

    NAME: ClassVar[str]
    SCHEMA: ClassVar[str]
    FILES: ClassVar[tuple[str, ...]]

    def __init__(self, path: Path) -> None:
        """Read the header and compare the files' sizes with it, not their content (`verify`)."""
        self.path = path
        require(
            self.path.is_dir(),
            BankError,
            f"the folder {path}",
            "no such folder",
            "check the path, or build it first",
        )
        self.header = read_json(self.path / self.NAME, BankError, self.SCHEMA)
        for file in self.FILES:
            found = self.path / file
            size, wanted = found.stat().st_size if found.is_file() else None, self._recorded(file, "bytes")
            require(
                size is not None and size == wanted,
                BankError,
                f"{found} of {shown(wanted)} bytes",
                "no such file" if size is None else f"{size} bytes",
                AGAIN,
            )

    @classmethod
    def seal(cls, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the header over files that already lie in `folder`."""
        files = {
            file: {"bytes": (folder / file).stat().st_size, "sha256": sha256_file(folder / file)}
            for file in sorted(cls.FILES)
        }
        content = sealed({"schema": cls.SCHEMA, **facts, "files": files})
        with explain_disk_errors(folder):
            text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
            (folder / cls.NAME).write_text(text + "\n", encoding="utf-8")

    def verify(self) -> None:
        """Check every byte against the recorded SHA-256."""
        for file in self.FILES:
            path, wanted = self.path / file, self._recorded(file, "sha256")
            found = sha256_file(path) if path.is_file() else "no such file"
            require(found == wanted, BankError, f"{path} with SHA-256 {shown(wanted)}", found, AGAIN)

    def count(self, name: str) -> int:
        """Return a whole number of the header."""
        name_there = f"{name!r} in {self.path / self.NAME}"
        return check_whole(name_there, self.header.get(name), 1, MAX_COUNT, BankError, AGAIN)

    def made_with(self, role: str, field: str, wanted: str | None) -> None:
        """Refuse what another encoder made."""
        found = self.header.get(field)
        require(
            wanted is None or found == wanted,
            BankError,
            f"{self.path} made with the {role} {wanted}",
            f"{role} {shown(found)}",
            "build it again with the encoder in use",
        )

    def parts(self, content: str, positions: str, n: int) -> Parts:
        """Open a file of n parts that lie end to end."""
        path, size = self.path / positions, (self.path / content).stat().st_size
        try:
            offsets = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise BankError(f"byte positions in {path}", shown(str(error)), AGAIN) from error
        require(
            offsets.shape == (n + 1,)
            and offsets.dtype == np.int64
            and offsets[0] == 0
            and offsets[-1] == size
            and bool((np.diff(offsets) >= 0).all()),
            BankError,
            f"{n + 1} byte positions from 0 to {size} in {path}",
            f"{offsets.dtype} {offsets.shape}",
            AGAIN,
        )
        return Parts(self.path / content, offsets)

    def _recorded(self, file: str, field: str) -> Any:
        files = self.header.get("files")
        entry = files.get(file) if isinstance(files, dict) else None
        if not isinstance(entry, dict):
            raise BankError(f"size and hash of {self.path / file} in the header", "no such entry", AGAIN)
        return entry.get(field)


class Parts:
    """Byte strings that lie end to end in a file, which is mapped and not read."""

    def __init__(self, path: Path, offsets: NDArray[np.int64]) -> None:
        self.offsets = offsets
        with path.open("rb") as stream:
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def __getitem__(self, index: int) -> bytes:
        return self._map[self.offsets[index] : self.offsets[index + 1]]


def write_parts(content: Path, positions: Path, parts: Iterable[bytes]) -> None:
    """Write byte strings end to end, and where each begins.

    The positions go through memory: `np.save` to a file would hide that a disk is full.
    """
    with content.open("wb") as stream:
        sizes = [stream.write(part) for part in parts]
    array = io.BytesIO()
    np.save(array, np.cumsum([0, *sizes], dtype=np.int64), allow_pickle=False)
    positions.write_bytes(array.getvalue())


class FeatureStore(SealedFolder):
    """Image features v (c, h, w) of many items; safe to share between threads."""

    NAME = "features.json"
    SCHEMA = "memdriven.features/1"
    FILES = ("features.bin", "offsets.npy", "ids.txt")

    @classmethod
    def open(cls, path: Path | str, expect_encoder: str | None = None) -> Self:
        """Open a store; an item is decompressed when it is asked for.

        Args:
            path: the store's folder.
            expect_encoder: hash of the VGG in use; None accepts any.

        Raises:
            BankError: missing, foreign, truncated, or made by another encoder.
        """
        return cls(Path(path), expect_encoder)

    def __init__(self, path: Path, expect_encoder: str | None) -> None:
        super().__init__(path)
        self.made_with("image encoder", "encoder", expect_encoder)
        n, shape = self.count("count"), self.header.get("shape")
        if not (
            isinstance(shape, list) and len(shape) == 3 and all(is_whole(side) and side > 0 for side in shape)
        ):
            raise BankError(f"a shape [c, h, w] in {self.path}", shown(shape), AGAIN)
        self.shape: tuple[int, int, int] = (shape[0], shape[1], shape[2])
        # Damaged bytes are read as other ids: no two of them may be alike, and the bank's are compared.
        self.ids = (self.path / "ids.txt").read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        self._rows = {id_: row for row, id_ in enumerate(self.ids)}
        require(
            len(self.ids) == len(self._rows) == n,
            BankError,
            f"{n} different ids in {self.path / 'ids.txt'}",
            f"{len(self.ids)} lines, {len(self._rows)} different",
            AGAIN,
        )
        self._blobs = self.parts("features.bin", "offsets.npy", n)

    def __len__(self) -> int:
        """Return n, the number of items."""
        return len(self.ids)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Return v (c, h, w) of one item."""
        return decode_v(self.blob(index), self.shape)

    @property
    def encoder(self) -> str:
        """Hash of the VGG that made the features."""
        return str(self.header["encoder"])

    def index_of(self, item_id: str) -> int:
        """Return the row of an id."""
        require(
            item_id in self._rows,
            BankError,
            f"features of item {shown(item_id)} in {self.path}",
            "no such id",
            "extract the features again",
        )
        return self._rows[item_id]

    def blob(self, index: int) -> bytes:
        """Return one item's compressed bytes."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self._blobs[index]

    def load_all(
        self, indices: Sequence[int] | None = None, *, progress: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Decode many items at once, e.g. for training, in threads.

        The pair is exact: `levels[i] * scale[i]` equals `store[i]`, in a quarter of its memory
        (131 kB an item at 512 x 16 x 16).

        Args:
            indices: rows to decode, in this order; all by default.
            progress: show a bar.

        Returns:
            levels (m, c, h, w) uint8 and scale (m, 1, 1, 1) float32.
        """
        rows = range(len(self)) if indices is None else indices
        levels = torch.empty((len(rows), *self.shape), dtype=torch.uint8)
        scale = torch.empty((len(rows), 1, 1, 1))
        views, scales = levels.numpy(), scale.view(-1).numpy()

        def fill(place: int) -> None:
            _, scales[place] = decode_levels(self.blob(rows[place]), self.shape, views[place])

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            work = pool.map(fill, range(len(rows)))
            for _ in tqdm(work, "features", total=len(rows), disable=not progress, unit="item"):
                pass
        return levels, scale


def write_store(
    folder: Path, ids: Sequence[str], blobs: Iterable[bytes], shape: Sequence[int], facts: Mapping[str, Any]
) -> None:
    """Write a store's files into an existing folder (make it atomic around this).

    Args:
        folder: where the four files go.
        ids: one id an item, each without line breaks.
        blobs: one `codec.encode` result an item, in the ids' order.
        shape: (c, h, w) of every item.
        facts: entries for the header; `encoder`, the VGG's hash, is one of them.
    """
    with explain_disk_errors(folder):
        write_parts(folder / "features.bin", folder / "offsets.npy", blobs)
        (folder / "ids.txt").write_text("".join(f"{id_}\n" for id_ in ids), encoding="utf-8")
    FeatureStore.seal(folder, {**facts, "count": len(ids), "shape": list(shape)})
