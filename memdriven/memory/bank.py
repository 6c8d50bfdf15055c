"""The memory bank on disk: each item's features, captions, search keys and thumbnail (Sec. 3.1).

    bank.json            schema, hashes of the encoders, counts, size and SHA-256 of each file
    items.jsonl.xz       id, captions, class and attributes, one item a line
    keys.safetensors     int8 directions: `sentence` (m, d) of the captions, `global` (n, d)
    thumbnails.bin, .npy WebP pictures end to end, and the n + 1 byte positions
    features/            a feature store with v

Keys and captions lie in RAM, v and thumbnails are read one item at a time. Word embeddings and
image regions are not stored: retrieval computes them for the few items it re-ranks.
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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.errors import BankError, RetrievalError
from memdriven.files import explain_disk_errors, read_json, sealed, sha256_file
from memdriven.memory import codec


def write_manifest(folder: Path, name: str, schema: str, facts: dict[str, Any], files: Iterable[str]) -> None:
    """Write the header `name` over files that already lie in `folder`.

    The text depends on the content alone (no clock, no paths), so equal folders have equal bytes.
    """
    listing = {
        file: {"bytes": (folder / file).stat().st_size, "sha256": sha256_file(folder / file)}
        for file in sorted(files)
    }
    content = sealed({"schema": schema, **facts, "files": listing})
    with explain_disk_errors(folder):
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path, name: str, schema: str, files: Iterable[str]) -> dict[str, Any]:
    """Return a folder's header after checking its schema and the size of every file.

    Raises:
        BankError: the folder, the header or a file is missing, foreign or truncated.
    """
    if not folder.is_dir():
        raise BankError(
            wanted=f"the folder {folder}", found="no such folder", fix="check the path, or build it first"
        )
    header = read_json(folder / name, BankError)
    if header.get("schema") != schema:
        raise BankError(
            wanted=f"schema {schema} in {folder / name}",
            found=repr(header.get("schema"))[:80],
            fix="use the version that wrote it, or build again",
        )
    for file in files:
        path = folder / file
        found = path.stat().st_size if path.is_file() else None
        wanted = _entry(header, file, path).get("bytes")
        if found is None or found != wanted:
            raise BankError(
                wanted=f"{path} of {wanted} bytes",
                found="no such file" if found is None else f"{found} bytes",
                fix="copy the whole folder again, or build it again",
            )
    return header


def verify_manifest(folder: Path, header: dict[str, Any], files: Iterable[str]) -> None:
    """Compare every file's SHA-256 with the header.

    Raises:
        BankError: a file's content is not what was written.
    """
    for file in files:
        path = folder / file
        wanted = _entry(header, file, path).get("sha256")
        found = sha256_file(path) if path.is_file() else "no such file"
        if found != wanted:
            raise BankError(
                wanted=f"{path} with SHA-256 {wanted}",
                found=found,
                fix="copy the whole folder again, or build it again",
            )


def refuse_other(path: Path, role: str, found: Any, wanted: str | None) -> None:
    """Refuse what was made by another encoder.

    Raises:
        BankError: `wanted` is given and differs; both hashes are named.
    """
    if wanted is not None and found != wanted:
        raise BankError(
            wanted=f"{path} made with the {role} {wanted}",
            found=f"{role} {found}",
            fix="build it again with the encoder in use",
        )


def count(header: dict[str, Any], name: str, path: Path, least: int = 1) -> int:
    """Return a whole number of the header.

    Raises:
        BankError: it is absent, not a whole number, or less than `least`.
    """
    value = header.get(name)
    if type(value) is not int or value < least:
        raise BankError(
            wanted=f"a whole number {name!r} >= {least} in {path}",
            found=repr(value)[:80],
            fix="build it again",
        )
    return value


def write_offsets(path: Path, sizes: Sequence[int]) -> None:
    """Write the n + 1 byte positions of n parts that lie end to end.

    The array goes through memory: `np.save` to a file would hide that a disk is full.
    """
    offsets, content = np.zeros(len(sizes) + 1, np.int64), io.BytesIO()
    np.cumsum(sizes, out=offsets[1:])
    np.save(content, offsets, allow_pickle=False)
    path.write_bytes(content.getvalue())


def read_offsets(path: Path, n: int, size: int) -> NDArray[np.int64]:
    """Return n + 1 byte positions that rise from 0 to `size`.

    Raises:
        BankError: the file does not hold these.
    """
    try:
        offsets = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BankError(
            wanted=f"byte positions in {path}", found=str(error)[:120], fix="build it again"
        ) from error
    if not (
        offsets.shape == (n + 1,)
        and offsets.dtype == np.int64
        and offsets[0] == 0
        and offsets[-1] == size
        and (np.diff(offsets) >= 0).all()
    ):
        raise BankError(
            wanted=f"{n + 1} byte positions from 0 to {size} in {path}",
            found=f"{offsets.dtype} {offsets.shape}",
            fix="build it again",
        )
    checked: NDArray[np.int64] = offsets
    return checked


def _entry(header: dict[str, Any], file: str, path: Path) -> dict[str, Any]:
    files = header.get("files")
    entry = files.get(file) if isinstance(files, dict) else None
    if not isinstance(entry, dict):
        raise BankError(
            wanted=f"size and hash of {path} in the header", found="no such entry", fix="build it again"
        )
    return entry


LEVELS = 127


def quantise_keys(keys: Tensor) -> Tensor:
    """Return int8 rows (n, d) that point where keys (n, d) point; a zero row stays zero."""
    rows = keys.detach().float().cpu()
    largest = rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return (rows / largest * LEVELS).round().to(torch.int8)


def unit_keys(levels: Tensor) -> Tensor:
    """Return float32 rows of length 1 from int8 rows (n, d)."""
    return F.normalize(levels.float(), dim=1)


class KeysWriter:
    """Writes `sentence` (m, d) and `global` (n, d), int8, as safetensors, a part at a time."""

    def __init__(self, path: Path, captions: int, items: int, dim: int) -> None:
        """Begin a file for so many rows of width `dim`."""
        sentence, both = captions * dim, (captions + items) * dim
        table = {
            "sentence": {"dtype": "I8", "shape": [captions, dim], "data_offsets": [0, sentence]},
            "global": {"dtype": "I8", "shape": [items, dim], "data_offsets": [sentence, both]},
        }
        text = json.dumps(table).encode()
        text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8 bytes
        self._stream = path.open("wb")
        self._stream.write(struct.pack("<Q", len(text)) + text)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._stream.close()

    def append(self, rows: bytes) -> None:
        """Write the next int8 rows: first all captions', then all items'."""
        self._stream.write(rows)


STORE_SCHEMA = "memdriven.features/1"
STORE_HEADER = "features.json"
STORE_FILES = ("features.bin", "offsets.npy", "ids.txt")


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
        header = read_manifest(path, STORE_HEADER, STORE_SCHEMA, STORE_FILES)
        refuse_other(path, "image encoder", header.get("encoder"), expect_encoder)
        n = count(header, "count", path / STORE_HEADER)
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
        verify_manifest(self.path, self.header, STORE_FILES)


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
    write_manifest(
        folder, STORE_HEADER, STORE_SCHEMA, {**facts, "count": len(ids), "shape": list(shape)}, STORE_FILES
    )


SCHEMA = "memdriven.bank/1"
HEADER = "bank.json"
ITEMS, KEYS = "items.jsonl.xz", "keys.safetensors"
THUMBNAILS, POSITIONS = "thumbnails.bin", "thumbnails.npy"
FEATURES = "features"
FILES = (ITEMS, KEYS, THUMBNAILS, POSITIONS, f"{FEATURES}/features.json")
AGAIN = "copy the whole folder again, or build it again"
MAX_ITEMS_BYTES = 1 << 31
"""The item table never unpacks to more."""


@dataclass(frozen=True)
class BankItem:
    """What a bank knows of one image, besides its pixels and features."""

    id: str
    captions: tuple[str, ...]
    class_name: str
    attributes: Mapping[str, Any]


class MemoryBank:
    """Read access to a bank; safe to share between threads, e.g. of a web server."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        """Use `MemoryBank.open`, which reads and checks the header first."""
        self.path, self.header = path, header
        n, m = count(header, "count", path / HEADER), count(header, "captions", path / HEADER)
        self.features = FeatureStore.open(path / FEATURES, header.get("encoder"))
        self.items = _read_items(path / ITEMS, count(header, "items_bytes", path / HEADER))
        self.ids = [item.id for item in self.items]
        counts = torch.tensor([len(item.captions) for item in self.items])
        self.caption_item = torch.arange(len(self.items)).repeat_interleave(counts)  # (m,)
        self.first_caption = torch.cat([counts.new_zeros(1), counts.cumsum(0)[:-1]])  # (n,)
        if self.ids != self.features.ids or len(self.items) != n or len(self.caption_item) != m:
            raise BankError(
                wanted=f"{n} items with {m} captions and their features in {path}",
                found=f"{len(self.items)} items, {len(self.caption_item)} captions, "
                f"{len(self.features)} features, or other ids",
                fix="build the memory bank again",
            )
        self.sentence_keys, self.global_keys = _read_keys(path / KEYS, m, n)  # (m, d), (n, d)
        self._positions = read_offsets(path / POSITIONS, n, (path / THUMBNAILS).stat().st_size)
        with (path / THUMBNAILS).open("rb") as stream:
            self._thumbnails = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._rows = {id_: row for row, id_ in enumerate(self.ids)}

    @classmethod
    def open(
        cls, path: Path | str, expect_encoder: str | None = None, expect_vgg: str | None = None
    ) -> MemoryBank:
        """Open a bank, checking schema, sizes, counts and encoders, not every byte (`verify`).

        Args:
            path: the bank's folder.
            expect_encoder: `Damsm.hash()` of the encoders in use; None accepts any.
            expect_vgg: `Vgg16Features.hash` of the network that made v; None accepts any.

        Raises:
            BankError: missing, foreign, truncated, or made by another encoder.
        """
        path = Path(path)
        if not path.is_dir():
            raise BankError(
                wanted=f"a memory bank in {path}",
                found="no such folder",
                fix=f"build it from your data: python -m memdriven build-memory --checkpoint "
                f"{path.parent} --dataset DATA --features FEATURES, after prepare and "
                "extract-features (README), or check the path",
            )
        header = read_manifest(path, HEADER, SCHEMA, FILES)
        refuse_other(path, "DAMSM encoders", header.get("damsm"), expect_encoder)
        refuse_other(path, "image encoder", header.get("encoder"), expect_vgg)
        return cls(path, header)

    def __len__(self) -> int:
        """Return n, the number of items."""
        return len(self.items)

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.items)

    @property
    def encoder(self) -> str:
        """Hash of the DAMSM encoders that made the keys."""
        return str(self.header["damsm"])

    @property
    def max_words(self) -> int:
        """Words at which captions were cut before they were encoded."""
        return count(self.header, "max_words", self.path / HEADER)

    def item(self, index: int) -> BankItem:
        """Return what is known of one item."""
        return self.items[self._checked(index)]

    def v(self, index: int) -> Tensor:
        """Return image features (c, h, w), float32, decompressed from disk now."""
        return torch.from_numpy(self.features[self._checked(index)])

    def thumbnail(self, index: int) -> Image.Image:
        """Return the item's picture, as VGG saw it but smaller.

        Raises:
            BankError: its bytes are damaged.
        """
        try:
            content = io.BytesIO(self.thumbnail_bytes(index))
            with Image.open(content, formats=["WEBP"]) as picture:
                return picture.convert("RGB")
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise BankError(
                wanted=f"thumbnail {index} of {self.path}", found=str(error)[:120], fix=AGAIN
            ) from error

    def thumbnail_bytes(self, index: int) -> bytes:
        """Return the item's picture as the WebP file that the bank keeps."""
        start, end = self._positions[self._checked(index) : index + 2]
        return self._thumbnails[start:end]

    def index_of(self, item_id: str) -> int:
        """Return the row of an id.

        Raises:
            RetrievalError: the bank does not hold it.
        """
        if item_id not in self._rows:
            raise RetrievalError(
                wanted="the id of an item in the memory bank",
                found=repr(item_id)[:80],
                fix=f"use an id such as {self.ids[0]!r}",
            )
        return self._rows[item_id]

    def caption_rows(self, index: int) -> range:
        """Return the rows of an item's captions in `sentence_keys`."""
        first = int(self.first_caption[self._checked(index)])
        return range(first, first + len(self.items[index].captions))

    def caption(self, row: int) -> str:
        """Return the caption behind a row of `sentence_keys`."""
        item = int(self.caption_item[row])
        return self.items[item].captions[row - int(self.first_caption[item])]

    def verify(self) -> None:
        """Check every byte of the bank against the recorded SHA-256.

        Raises:
            BankError: a file's content is not what was written.
        """
        verify_manifest(self.path, self.header, FILES)
        self.features.verify()

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.n:
            raise RetrievalError(
                wanted=f"an item number in 0..{self.n - 1}",
                found=str(index),
                fix="use one that retrieval returned",
            )
        return index


def write_items(path: Path, items: Iterable[BankItem]) -> int:
    """Write the item table, compressed; return its size before."""
    size, compressor = 0, lzma.LZMACompressor(preset=6)
    with path.open("wb") as stream:
        for item in items:
            entry = {
                "id": item.id,
                "captions": item.captions,
                "class": item.class_name,
                "attributes": dict(item.attributes),
            }
            line = (json.dumps(entry, ensure_ascii=False, sort_keys=True) + "\n").encode()
            size += len(line)
            stream.write(compressor.compress(line))
        stream.write(compressor.flush())
    return size


def _read_items(path: Path, size: int) -> list[BankItem]:
    wanted = f"{min(size, MAX_ITEMS_BYTES)} bytes of items in {path}"
    try:
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        table = stream.decompress(path.read_bytes(), max_length=min(size, MAX_ITEMS_BYTES) + 1)
        if len(table) != size or not stream.eof:
            raise ValueError(f"{len(table)} bytes")
        return [_item(json.loads(line)) for line in table.split(b"\n")[:-1]]
    except (lzma.LZMAError, EOFError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BankError(wanted=wanted, found=f"{type(error).__name__}: {error}"[:200], fix=AGAIN) from error


def _item(entry: dict[str, Any]) -> BankItem:
    captions = entry["captions"]
    if not (
        isinstance(entry["id"], str)
        and isinstance(entry["class"], str)
        and isinstance(entry["attributes"], dict)
        and isinstance(captions, list)
        and captions
        and all(isinstance(caption, str) for caption in captions)
    ):
        raise ValueError(f"an odd item {entry['id']!r}"[:80])
    return BankItem(entry["id"], tuple(captions), entry["class"], entry["attributes"])


def _read_keys(path: Path, captions: int, items: int) -> tuple[Tensor, Tensor]:
    """Return unit float32 keys of the captions (m, d) and of the images (n, d)."""
    try:
        keys = load_file(path)
        sentence, global_ = keys["sentence"], keys["global"]
    except (SafetensorError, KeyError, OSError) as error:
        raise BankError(
            wanted=f"keys in {path}", found=str(error)[:120], fix="build the memory bank again"
        ) from error
    shapes = (tuple(sentence.shape), tuple(global_.shape))
    dim = sentence.shape[-1]
    if shapes != ((captions, dim), (items, dim)) or {sentence.dtype, global_.dtype} != {torch.int8}:
        raise BankError(
            wanted=f"int8 keys ({captions}, d) and ({items}, d) in {path}",
            found=f"{shapes}",
            fix="build the memory bank again",
        )
    return unit_keys(sentence), unit_keys(global_)
