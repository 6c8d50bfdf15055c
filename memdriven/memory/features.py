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

import io
import lzma
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tokenize import TokenError
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from memdriven.errors import BankError, explained, require
from memdriven.files import atomic_write_json, read_json, sealed, sha256_of, size_of
from memdriven.numbers import check_whole, counted, is_whole, shown

COSINE = 0.991
"""Cosine between float32 v and its decoded levels that an encoded item reaches at the least."""
ROUNDING = 0.35
"""Below 0.5: values in the dead zone near zero go to zero, where they cost nothing."""
BISECTIONS = 16
MAX_LEVEL = MAX_GAP = 255
MAX_COUNT = 1 << 53
"""Items that a header may claim."""

_SCALE = struct.Struct("<f")
_FILTERS = [{"id": lzma.FILTER_LZMA1, "lc": 0, "lp": 0, "pb": 0, "dict_size": 1 << 18, "preset": 6}]
"""No literal context (lc = 0): the planes hold too few bytes to learn one."""
AGAIN = "copy the whole folder again, or build it again"


# ---- One item ------------------------------------------------------------------------------------


def encode_v(v: NDArray[np.floating], cosine: float = COSINE) -> bytes:
    """Return v (c, h, w) as one blob from which `decode_v` gives back what points at least so much alike.

    A BankError refuses negative or non-finite values, and a cosine that 255 levels cannot reach.
    """
    flat = np.asarray(v, dtype=np.float32).ravel()
    good, fix = np.isfinite(flat).all() and (flat >= 0).all(), "check the encoder's weights and input"
    require(good, BankError, "finite, non-negative features (of a ReLU)", "other values", fix)
    places = np.flatnonzero(flat)
    levels, scale = _quantise(flat[places].astype(np.float64), cosine)
    places, levels = places[levels > 0], levels[levels > 0]

    # Where a gap exceeds a byte, levels of zero are put in.
    gaps = np.diff(places, prepend=-1) - 1
    fillers = np.repeat(np.arange(len(places)), gaps // (MAX_GAP + 1))
    short = np.insert(gaps % (MAX_GAP + 1), fillers, MAX_GAP).astype(np.uint8)
    planes = short.tobytes() + np.insert(levels, fillers, np.uint8(0)).tobytes()
    return _SCALE.pack(scale) + lzma.compress(planes, lzma.FORMAT_RAW, filters=_FILTERS)


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
    best, found = levels_at(fine), "features whose largest value dwarfs the rest"
    fix = "ask for a lower cosine, or check the encoder"
    require(reaches(best), BankError, f"cosine {cosine} from {MAX_LEVEL} levels", found, fix)
    for _ in range(BISECTIONS):
        step = (fine * coarse) ** 0.5
        levels = levels_at(step)
        if reaches(levels):
            fine, best = step, levels
        else:
            coarse = step
    return best.astype(np.uint8), float(best @ values / (best @ best))


def decode_levels(blob: bytes, shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], float]:
    """Return (levels (c, h, w) uint8, scale) of a blob; v is about scale * levels.

    A BankError refuses a blob that is damaged or of another shape.
    """
    levels = np.zeros(shape, np.uint8)
    damaged = struct.error, lzma.LZMAError, EOFError, ValueError, IndexError
    with explained(BankError, "the compressed features of one item", AGAIN, *damaged):
        (scale,) = _SCALE.unpack(blob[: _SCALE.size])
        stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
        planes = stream.decompress(blob[_SCALE.size :], max_length=2 * levels.size + 1)
        if not stream.eof or len(planes) % 2 or not 0 <= scale < np.inf:
            raise ValueError("an incomplete stream, or one too long")
        gaps, values = np.frombuffer(planes, np.uint8).reshape(2, -1)
        levels.reshape(-1)[np.cumsum(gaps + np.int64(1)) - 1] = values
    return levels, float(scale)


def decode_v(blob: bytes, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return v (c, h, w) of a blob."""
    levels, scale = decode_levels(blob, shape)
    return levels * np.float32(scale)


# ---- Folders -------------------------------------------------------------------------------------


class SealedFolder:
    """A folder under a header that says what is in it: facts, and size and SHA-256 of every file.

    The header's text depends on the content alone (no clock, no paths): equal folders have equal bytes.
    """

    NAME: ClassVar[str]
    SCHEMA: ClassVar[str]
    FILES: ClassVar[tuple[str, ...]]
    BUILD: ClassVar[str] = "check it, or build it"
    """What to do where there is no such folder; {} is the one around it."""

    def __init__(self, path: Path | str) -> None:
        """Read the header and compare the files' sizes with it, not their content (`verify`)."""
        self.path = path = Path(path)
        fix = self.BUILD.format(path.parent)
        require(path.is_dir(), BankError, f"the folder {path}", "no such folder", fix)
        self.header = read_json(path / self.NAME, BankError, self.SCHEMA)
        self._compare("bytes", size_of)

    def verify(self) -> None:
        """Check every byte against the recorded SHA-256."""
        self._compare("sha256", sha256_of)

    def _compare(self, field: str, measure: Callable[[Path], object]) -> None:
        for file in self.FILES:
            path, wanted = self.path / file, self.recorded(file, field)
            found = measure(path) if path.is_file() else "no such file"
            require(found == wanted, BankError, f"{path} with {field} {shown(wanted)}", found, AGAIN)

    @classmethod
    def seal(cls, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the header over files that already lie in `folder`."""
        sizes = {file: (size_of(folder / file), sha256_of(folder / file)) for file in sorted(cls.FILES)}
        files = {file: {"bytes": size, "sha256": digest} for file, (size, digest) in sizes.items()}
        atomic_write_json(folder / cls.NAME, sealed({"schema": cls.SCHEMA, **facts, "files": files}))

    def count(self, name: str) -> int:
        """Return a whole number of the header."""
        name_there = f"{name!r} in {self.path / self.NAME}"
        return check_whole(name_there, self.header.get(name), 1, MAX_COUNT, BankError, AGAIN)

    def made_with(self, role: str, field: str, wanted: str | None) -> None:
        """Refuse what another encoder made; None accepts any."""
        found, fix = self.header.get(field), "build it again with the encoder in use"
        mine, other = f"{self.path} made with the {role} {wanted}", f"{role} {shown(found)}"
        require(wanted is None or found == wanted, BankError, mine, other, fix)

    def recorded(self, file: str, field: str) -> Any:
        """Return what the header says of a file."""
        try:
            return self.header["files"][file][field]
        except (KeyError, TypeError):
            raise BankError(f"{field} of {self.path / file} in the header", "no such entry", AGAIN) from None


class Parts:
    """n byte strings that lie end to end in a file, which is mapped and not read."""

    def __init__(self, content: Path, positions: Path, n: int) -> None:
        damaged = ValueError, OSError, EOFError, SyntaxError, TokenError
        with explained(BankError, f"byte positions in {positions}", AGAIN, *damaged):
            self.offsets = np.load(positions, allow_pickle=False)
        require(
            (self.offsets.shape, self.offsets.dtype) == ((n + 1,), np.int64)
            and (self.offsets[0], self.offsets[-1]) == (0, size_of(content))
            and (np.diff(self.offsets) >= 0).all(),
            BankError,
            f"{n + 1} byte positions from 0 to {size_of(content)} in {positions}",
            f"{self.offsets.dtype} {self.offsets.shape}",
            AGAIN,
        )
        with content.open("rb") as stream:
            self._map, self._content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), content

    def __getitem__(self, index: int) -> bytes:
        there = self._map.size()  # of the file: reading beyond its end would kill the process
        require(
            there >= len(self._map), BankError, f"{self._content} as it was opened", f"{there} bytes", AGAIN
        )
        return self._map[self.offsets[index] : self.offsets[index + 1]]

    @staticmethod
    def write(content: Path, positions: Path, parts: Iterable[bytes]) -> None:
        """Write byte strings end to end, and where each begins."""
        with content.open("wb") as stream:
            sizes = [stream.write(part) for part in parts]
        array = io.BytesIO()  # `np.save` to a file would hide that a disk is full
        np.save(array, np.cumsum([0, *sizes], dtype=np.int64), allow_pickle=False)
        positions.write_bytes(array.getvalue())


class FeatureStore(SealedFolder):
    """Image features v (c, h, w) of many items, decompressed when asked for; threads may share it."""

    NAME = "features.json"
    SCHEMA = "memdriven.features/1"
    FILES = ("features.bin", "offsets.npy", "ids.txt")

    def __init__(self, path: Path | str, expect_encoder: str | None = None) -> None:
        """Open a store of the VGG with hash `expect_encoder`, or of any; a BankError says what is wrong."""
        super().__init__(path)
        self.made_with("image encoder", "encoder", expect_encoder)
        self.encoder = str(self.header.get("encoder"))
        """Hash of the VGG that made the features."""
        n, shape = self.count("count"), self.header.get("shape")
        if not (isinstance(shape, list) and len(shape) == 3 and all(is_whole(s) and s > 0 for s in shape)):
            raise BankError(f"a shape [c, h, w] in {path}", shown(shape), AGAIN)
        self.shape: tuple[int, int, int] = (shape[0], shape[1], shape[2])
        # Damaged bytes are read as other ids: no two of them may be alike, and the bank's are compared.
        names = self.path / "ids.txt"
        self.ids = names.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        self._rows = {id_: row for row, id_ in enumerate(self.ids)}
        found = f"{len(self._rows)} of {len(self.ids)}"
        good = len(self.ids) == len(self._rows) == n
        require(good, BankError, f"{n} different ids in {names}", found, AGAIN)
        self.blobs = Parts(self.path / "features.bin", self.path / "offsets.npy", n)
        """Each item's compressed bytes."""

    def summary(self) -> str:
        """Return what there is and where, for people."""
        return f"features of {counted(len(self), 'image')} in {self.path}"

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Return v (c, h, w) of one item."""
        return decode_v(self.blobs[index], self.shape)

    def index_of(self, item_id: str) -> int:
        """Return the row of an id."""
        wanted = f"features of item {shown(item_id)} in {self.path}"
        require(item_id in self._rows, BankError, wanted, "no such id", "extract the features again")
        return self._rows[item_id]

    def load_all(self, rows: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Decode some rows, or all, in threads: levels (m, c, h, w) uint8 and scale (m, 1, 1, 1) float32.

        The pair is exact: `levels[i] * scale[i]` equals `store[i]`, in a quarter of its memory.
        """
        rows = range(len(self)) if rows is None else rows
        levels, scale = torch.empty((len(rows), *self.shape), dtype=torch.uint8), torch.empty(len(rows))
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            work = pool.map(lambda row: decode_levels(self.blobs[row], self.shape), rows)
            for place, one in enumerate(tqdm(work, "features", len(rows), unit="item")):
                levels[place], scale[place] = torch.from_numpy(one[0]), one[1]
        return levels, scale[:, None, None, None]


def write_store(
    folder: Path, ids: Sequence[str], blobs: Iterable[bytes], shape: Sequence[int], facts: Mapping[str, Any]
) -> None:
    """Write a store's files into an existing folder (make it atomic around this).

    `ids` are of one line each, `blobs` what `encode_v` made of their v of `shape`; the header gets the facts,
    of which one is `encoder`, the VGG's hash.
    """
    Parts.write(folder / "features.bin", folder / "offsets.npy", blobs)
    (folder / "ids.txt").write_text("".join(f"{id_}\n" for id_ in ids), encoding="utf-8")
    FeatureStore.seal(folder, {**facts, "count": len(ids), "shape": list(shape)})
