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


@dataclass(frozen=True, kw_only=True)
class Item:
    """One captioned image."""

    id: str
    file: str = ""
    """Path of the image inside the data set's folder; `images/<split>/<id>.webp` when left out."""
    split: str
    class_id: int | None = None
    class_name: str = ""
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
        """Name the file, and make the sequences immutable."""
        object.__setattr__(self, "file", self.file or image_file(self.split, self.id))
        for name in ("captions", "caption_attributes", "visible", "box", "noise"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))


def image_file(split: str, item_id: str) -> str:
    """Return where the image of an item lies in its data set's folder."""
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
            raise _outdated(f"a data set of schema {SCHEMA} in {path}", f"schema {header.get('schema')!r}")
        name, size, classes = (header.get(key) for key in ("name", "image_size", "classes"))
        listed = isinstance(classes, list) and all(isinstance(each, str) for each in classes)
        if not (isinstance(name, str) and listed and is_whole(size) and 1 <= size <= 4096):
            raise _outdated(
                f"a name, an image_size of 1 to 4,096 px and names of classes in {path / HEADER}",
                f"{shown(name)}, {shown(size)} and {shown(classes)}",
            )
        items = _read_items(path / ITEMS)
        counts = dict(Counter(item.split for item in items))
        if counts != header.get("counts"):
            wanted = f"the items that {path / HEADER} counts: {header.get('counts')}"
            raise _outdated(wanted, str(counts))
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
        first = f"{self.name} in {self.path}: {counts} image{'s' * (len(self) != 1)} at {self.image_size} px"
        return "\n  ".join([first, *self.header.get("notes", ())])

    def split(self, name: str) -> list[Item]:
        """Return the items of one split, in order; one without any is refused."""
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
        """Decode an item's image as RGB."""
        return read_image(self.image_path(item))


def write_prepared(
    out: Path,
    *,
    items: Sequence[Item],
    name: str,
    image_size: int,
    classes: Sequence[str] = (),
    seed: int = 0,
    source: str = "",
    licence: str = "",
    **further: Any,
) -> None:
    """Write the header and item table of a data set whose images are already in place.

    Args:
        out: the data set's folder.
        items: all items, of every split.
        name: short name, e.g. `aviary`.
        image_size: side of the images in px.
        classes: class names by class id.
        seed: what the data set was drawn with.
        source: where it comes from, for people.
        licence: under which terms, for people.
        further: header entries.

    Raises:
        DataError: two items share an id, an item has no caption, or the disk is full.
    """
    _check(items, out)
    lines = [json.dumps(_to_json(item), ensure_ascii=False) + "\n" for item in items]
    atomic_write_bytes(out / ITEMS, "".join(lines).encode())
    header = {
        "schema": SCHEMA,
        "name": name,
        "image_size": image_size,
        "counts": dict(Counter(item.split for item in items)),
        "seed": seed,
        "classes": list(classes),
        "source": source,
        "licence": licence,
        **further,
    }
    atomic_write_json(out / HEADER, header)


def _to_json(item: Item) -> dict[str, Any]:
    values = {entry.name: getattr(item, entry.name) for entry in dataclasses.fields(item)}
    optional = ("attributes", "caption_attributes", "visible", "box", "memory", "noise")
    return {key: value for key, value in values.items() if key not in optional or value}


def _outdated(wanted: str, found: str) -> DataError:
    return DataError(wanted, found, "run `memdriven prepare` again")


def _read_items(path: Path) -> list[Item]:
    try:
        with path.open(encoding="utf-8") as stream:
            items = [_read_item(line, f"{path}, line {n}") for n, line in enumerate(stream, start=1)]
    except (OSError, UnicodeDecodeError) as error:
        raise _outdated(f"the item table {path}", f"{type(error).__name__}: {error}") from error
    _check(items, path)
    return items


_KINDS = {
    **dict.fromkeys(("id", "file", "split", "class_name", "memory"), str),
    **dict.fromkeys(("captions", "caption_attributes", "visible", "noise"), list),
    "attributes": dict,
}


def _read_item(line: str, place: str) -> Item:
    try:
        values = parse_json(line)
        item = Item(**values)
    except (ValueError, TypeError) as error:
        raise _outdated(f"an item in {place}", f"{type(error).__name__}: {error}") from error
    good = (
        all(isinstance(values.get(name, kind()), kind) for name, kind in _KINDS.items())
        and isinstance(item.class_id, int | None)
        and all(isinstance(caption, str) for caption in item.captions)
        and (item.box is None or (len(item.box) == 4 and all(map(is_number, item.box))))
        and all(number is None or is_number(number) for number in item.noise)
        and not (item.file.startswith("/") or "\\" in item.file or ".." in PurePosixPath(item.file).parts)
    )
    if not good:
        raise _outdated(f"an item with a file inside the folder in {place}", line[:120])
    return item


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
    path = dataset.path / "cache" / f"images-{size}-{_key(dataset, items)}.npy"
    shape = (len(items), 3, size, size)

    def mapped() -> np.ndarray | None:
        """Map the cache copy-on-write, unless it is absent or not what is wanted."""
        with contextlib.suppress(OSError, ValueError, EOFError):
            array: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
            return array if array.shape == shape and array.dtype == np.uint8 else None
        return None

    def decode_into(array: np.ndarray) -> None:
        def decode(index: int) -> None:
            image = read_image(dataset.image_path(items[index]), least_side=size)
            array[index] = np.asarray(centre_square(image, size)).transpose(2, 0, 1)

        with ThreadPoolExecutor(_WORKERS) as pool:
            jobs = pool.map(decode, range(len(items)))
            for _ in tqdm(jobs, f"images at {size} px", len(items), disable=not progress):
                pass

    images = mapped()
    if images is None:
        with (
            contextlib.suppress(OSError, DataError),
            atomic_file(path) as scratch,
        ):  # a bad image is met below
            array = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.uint8, shape=shape)
            if hasattr(os, "posix_fallocate"):  # writing to a mapped file on a full disk kills the process
                with scratch.open("r+b") as stream:
                    os.posix_fallocate(stream.fileno(), 0, scratch.stat().st_size)
            decode_into(array)
            array.flush()
        images = mapped()
    if images is None:
        images = np.empty(shape, dtype=np.uint8)
        decode_into(images)
    return torch.from_numpy(images)


def _key(dataset: PreparedDataset, items: Sequence[Item]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.id}\0{item.file}\0".encode())
        with contextlib.suppress(OSError):
            facts = dataset.image_path(item).stat()
            digest.update(f"{facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
