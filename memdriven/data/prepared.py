"""The prepared data set: the one folder format that every reader writes and every part reads.

```
dataset.json            schema, name, image_size, counts per split, seed, classes, source, licence
items.jsonl             one item per line
images/<split>/<id>.webp
```
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from memdriven.data.images import centre_square, read_image
from memdriven.errors import DataError
from memdriven.files import atomic_file, atomic_write_bytes, atomic_write_json, read_json
from memdriven.numbers import is_number, is_whole, parse_json, shown

SCHEMA = "memdriven.dataset/1"
HEADER, ITEMS = "dataset.json", "items.jsonl"


@dataclass(frozen=True)
class Item:
    """One captioned image."""

    id: str
    file: str
    """Path of the image inside the data set's folder, with forward slashes."""
    split: str
    class_id: int | None
    class_name: str
    captions: Sequence[str]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What is true of the image, where the data set knows."""
    caption_attributes: Sequence[Mapping[str, Any]] = ()
    """For each caption, the part of `attributes` that it names."""
    visible: Sequence[str] = ()
    """Names of the attributes that can be seen in the image."""
    box: Sequence[float] | None = None
    """Left, top, width, height in px of the object in the source's own photograph, if known."""
    memory: str = ""
    """Id of the image whose features it is painted from, where those are not its own."""
    noise: Sequence[float | None] = ()
    """The first numbers of the noise z that asks for this image; None where it does not depend on one."""

    def __post_init__(self) -> None:
        """Make the sequences immutable."""
        for name in ("captions", "caption_attributes", "visible", "box", "noise"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))


def image_file(split: str, item_id: str) -> str:
    """Return the `file` of an item: `images/<split>/<id>.webp`."""
    return f"images/{split}/{item_id}.webp"


class PreparedDataset:
    """A prepared data set on disk: its items in RAM, its images read when asked for."""

    def __init__(self, path: Path, header: Mapping[str, Any], items: Sequence[Item]) -> None:
        self.path, self.header, self.items = path, header, list(items)

    @classmethod
    def open(cls, path: Path | str) -> PreparedDataset:
        """Read a data set's header and item table.

        Raises:
            DataError: the folder is no prepared data set, or its table is damaged or cut short.
        """
        path = Path(path)
        header = read_json(path / HEADER, DataError)
        if header.get("schema") != SCHEMA:
            raise DataError(
                f"a data set of schema {SCHEMA} in {path}",
                f"schema {header.get('schema')!r}",
                "run `memdriven prepare` again",
            )
        name, size, classes = (header.get(key) for key in ("name", "image_size", "classes"))
        listed = isinstance(classes, list) and all(isinstance(each, str) for each in classes)
        if not (isinstance(name, str) and listed and is_whole(size) and 1 <= size <= 4096):
            raise DataError(
                f"a name, an image_size of 1 to 4,096 px and names of classes in {path / HEADER}",
                f"{shown(name)}, {shown(size)} and {shown(classes)}",
                "run `memdriven prepare` again",
            )
        items = _read_items(path / ITEMS)
        counts = dict(Counter(item.split for item in items))
        if counts != header.get("counts"):
            raise DataError(
                f"the items that {path / HEADER} counts: {header.get('counts')}",
                str(counts),
                "run `memdriven prepare` again",
            )
        return cls(path, header, items)

    @property
    def name(self) -> str:
        """The data set's name."""
        return str(self.header["name"])

    @property
    def image_size(self) -> int:
        """Side in px of the stored images."""
        return int(self.header["image_size"])

    @property
    def classes(self) -> list[str]:
        """Class names by class id."""
        return list(self.header["classes"])

    def __len__(self) -> int:
        return len(self.items)

    def summary(self) -> str:
        """Return what there is and where, and the notes of its making, for people."""
        counts = ", ".join(f"{count:,} {split}" for split, count in self.header["counts"].items())
        first = f"{self.name} in {self.path}: {counts} images at {self.image_size} px"
        return "\n  ".join([first, *self.header.get("notes", ())])

    def split(self, name: str) -> list[Item]:
        """Return the items of one split, in order.

        Raises:
            DataError: the data set has no such split.
        """
        chosen = [item for item in self.items if item.split == name]
        if not chosen:
            raise DataError(
                f"a split {name!r} in {self.path}",
                "splits " + ", ".join(self.header["counts"]),
                "choose one of these",
            )
        return chosen

    def image_path(self, item: Item) -> Path:
        """Return where an item's image lies."""
        return self.path / item.file

    def load_image(self, item: Item) -> Image.Image:
        """Decode an item's image as RGB.

        Raises:
            DataError: the file is missing or damaged.
        """
        return read_image(self.image_path(item))


def write_prepared(
    out: Path,
    *,
    name: str,
    items: Sequence[Item],
    classes: Sequence[str],
    image_size: int,
    seed: int = 0,
    source: str = "",
    licence: str = "",
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write the header and item table of a data set whose images are already in place.

    Args:
        out: the data set's folder.
        name: short name, e.g. `aviary`.
        items: all items, of every split.
        classes: class names by class id.
        image_size: side of the images in px.
        seed: what the data set was drawn with.
        source: where it comes from, for people.
        licence: under which terms, for people.
        extra: further header entries.

    Raises:
        DataError: two items share an id, an item has no caption, or the disk is full.
    """
    _check(items, out)
    lines = [json.dumps(_to_json(item), ensure_ascii=False) + "\n" for item in items]
    atomic_write_bytes(out / ITEMS, "".join(lines).encode())
    counts = dict(Counter(item.split for item in items))
    header = {
        "schema": SCHEMA,
        "name": name,
        "image_size": image_size,
        "counts": counts,
        "seed": seed,
        "classes": list(classes),
        "source": source,
        "licence": licence,
        **(extra or {}),
    }
    atomic_write_json(out / HEADER, header)


def _to_json(item: Item) -> dict[str, Any]:
    values = {entry.name: getattr(item, entry.name) for entry in dataclasses.fields(item)}
    optional = ("attributes", "caption_attributes", "visible", "box", "memory", "noise")
    return {key: value for key, value in values.items() if key not in optional or value}


def _read_items(path: Path) -> list[Item]:
    try:
        with path.open(encoding="utf-8") as stream:
            items = [_read_item(line, f"{path}, line {n}") for n, line in enumerate(stream, start=1)]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the item table {path}", f"{type(error).__name__}: {error}", "run `memdriven prepare` again"
        ) from error
    _check(items, path)
    return items


def _read_item(line: str, place: str) -> Item:
    try:
        values = parse_json(line)
        item = Item(**values)
        good = (
            isinstance(item.id, str)
            and isinstance(item.file, str)
            and isinstance(item.split, str)
            and isinstance(item.class_id, int | None)
            and isinstance(item.class_name, str)
            and isinstance(item.memory, str)
            and isinstance(values["captions"], list)
            and all(isinstance(caption, str) for caption in item.captions)
            and isinstance(item.attributes, dict)
            and (item.box is None or _is_box(item.box))
            and all(number is None or is_number(number) for number in item.noise)
        )
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"an item in {place}", f"{type(error).__name__}: {error}", "run `memdriven prepare` again"
        ) from error
    inside = good and not PurePosixPath(item.file).is_absolute() and "\\" not in item.file
    if not inside or ".." in PurePosixPath(item.file).parts:
        raise DataError(
            f"an item with a file inside the folder in {place}", line[:120], "run `memdriven prepare` again"
        )
    return item


def _is_box(box: Sequence[Any]) -> bool:
    return len(box) == 4 and all(map(is_number, box))


def _check(items: Sequence[Item], place: Path) -> None:
    """Refuse an empty table, repeated ids, and items without captions."""
    repeated = [item_id for item_id, n in Counter(item.id for item in items).items() if n > 1]
    bare = [item.id for item in items if not item.captions]
    for wrong, found in (
        (not items, "no item"),
        (repeated, f"repeated ids, e.g. {repeated[:1]}"),
        (bare, f"items without a caption, e.g. {bare[:1]}"),
    ):
        if wrong:
            raise DataError(
                f"items with their own ids and captions in {place}",
                found,
                "correct the source and prepare again",
            )


FOLDER = "cache"
_WORKERS = 4


def load_images(dataset: PreparedDataset, items: Sequence[Item], size: int, progress: bool = True) -> Tensor:
    """Return the items' images as uint8 (n, 3, size, size), in the order of `items`.

    The first call decodes them (on several threads) into `<data set>/cache/`; later calls map that
    file. The cache is keyed by the size, the ids, and the image files' lengths and times, so a
    data set that was prepared anew is decoded anew. A folder that cannot be written to, or a full
    disk, means no cache, not an error: the images are then kept in RAM alone.

    Args:
        dataset: the data set that the items belong to.
        items: which images.
        size: side in px; the central square of each image is resized to it.
        progress: show a bar.

    Raises:
        DataError: an image is missing or unreadable.
    """
    path = dataset.path / FOLDER / f"images-{size}-{_key(dataset, items)}.npy"
    shape = (len(items), 3, size, size)
    cached = _map_cache(path, shape)
    if cached is None:
        with contextlib.suppress(OSError, DataError):  # a bad image is met again below
            _write_cache(path, dataset, items, size, progress)
            cached = _map_cache(path, shape)
    if cached is None:
        cached = np.empty(shape, dtype=np.uint8)
        _decode_into(cached, dataset, items, size, progress)
    return torch.from_numpy(cached)


def _key(dataset: PreparedDataset, items: Sequence[Item]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.id}\0{item.file}\0".encode())
        with contextlib.suppress(OSError):
            facts = dataset.image_path(item).stat()
            digest.update(f"{facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _map_cache(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Map a cache file copy-on-write, or return None when it is absent or not what is wanted."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _write_cache(
    path: Path, dataset: PreparedDataset, items: Sequence[Item], size: int, progress: bool
) -> None:
    with atomic_file(path) as scratch:
        shape = (len(items), 3, size, size)
        array = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(scratch)
        _decode_into(array, dataset, items, size, progress)
        array.flush()


def _reserve(path: Path) -> None:
    """Take the disk space now: writing to a mapped file on a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


def _decode_into(
    array: np.ndarray, dataset: PreparedDataset, items: Sequence[Item], size: int, progress: bool
) -> None:
    def decode(index: int) -> None:
        image = read_image(dataset.image_path(items[index]), least_side=size)
        array[index] = np.asarray(centre_square(image, size)).transpose(2, 0, 1)

    with ThreadPoolExecutor(_WORKERS) as pool:
        jobs = pool.map(decode, range(len(items)))
        for _ in tqdm(jobs, f"images at {size} px", len(items), disable=not progress):
            pass
