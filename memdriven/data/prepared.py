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
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from memdriven.data.images import WEBP_QUALITY, Fit, centre_square, decode_image, padded_square, read_image
from memdriven.errors import DataError
from memdriven.files import atomic_folder, atomic_write_bytes, atomic_write_json, read_json

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
                wanted=f"a data set of schema {SCHEMA} in {path}",
                found=f"schema {header.get('schema')!r}",
                fix="run `memdriven prepare` again",
            )
        items = _read_items(path / ITEMS)
        counts = dict(Counter(item.split for item in items))
        if counts != header.get("counts"):
            raise DataError(
                wanted=f"the items that {path / HEADER} counts: {header.get('counts')}",
                found=str(counts),
                fix="run `memdriven prepare` again",
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

    def split(self, name: str) -> list[Item]:
        """Return the items of one split, in order.

        Raises:
            DataError: the data set has no such split.
        """
        chosen = [item for item in self.items if item.split == name]
        if not chosen:
            raise DataError(
                wanted=f"a split {name!r} in {self.path}",
                found="splits " + ", ".join(self.header["counts"]),
                fix="choose one of these",
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
            wanted=f"the item table {path}",
            found=f"{type(error).__name__}: {error}",
            fix="run `memdriven prepare` again",
        ) from error
    _check(items, path)
    return items


def _read_item(line: str, place: str) -> Item:
    try:
        values = json.loads(line)
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
            and all(number is None or type(number) in (int, float) for number in item.noise)
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            wanted=f"an item in {place}",
            found=f"{type(error).__name__}: {error}",
            fix="run `memdriven prepare` again",
        ) from error
    inside = good and not PurePosixPath(item.file).is_absolute() and "\\" not in item.file
    if not inside or ".." in PurePosixPath(item.file).parts:
        raise DataError(
            wanted=f"an item with a file inside the folder in {place}",
            found=line[:120],
            fix="run `memdriven prepare` again",
        )
    return item


def _is_box(box: Sequence[Any]) -> bool:
    return len(box) == 4 and all(type(side) in (int, float) for side in box)


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
                wanted=f"items with their own ids and captions in {place}",
                found=found,
                fix="correct the source and prepare again",
            )


@dataclass(frozen=True)
class Draft:
    """An item whose image has yet to be written, and how to come by it."""

    item: Item
    source: str
    """Name of the source's image file, for messages."""
    read: Callable[[], bytes]
    """Returns that file's bytes."""
    crop: Callable[[Image.Image], Image.Image] | None = None
    """Cuts the part that counts out of the whole picture."""


def assemble(
    out: Path,
    drafts: Sequence[Draft],
    *,
    name: str,
    classes: Sequence[str],
    image_size: int,
    seed: int = 0,
    source: str,
    licence: str,
    fit: Fit = "crop",
    skip_faults: bool = False,
    notes: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> PreparedDataset:
    """Write a prepared data set: each image as a square of `image_size` px, and the tables.

    A plain WebP of that very size is kept byte for byte. Everything is written beside `out` and
    renamed at the end. Test pictures that all but repeat a training picture are told in the notes.

    Args:
        out: a new or empty folder, or an earlier data set, which is replaced.
        drafts: the items with their images.
        name: see `write_prepared`, like the rest.
        classes: class names by class id.
        image_size: side of the images in px, 8 to 4,096.
        seed: of the split, where one was drawn.
        source: where it comes from, for people.
        licence: under which terms, for people.
        fit: crop to the middle, or pad to the whole.
        skip_faults: images that cannot be read are left out and told, instead of refused.
        notes: sentences about what was left out or read otherwise.
        extra: further header entries.
        progress: show a bar.

    Raises:
        DataError: images cannot be read (all of them are named), `out` holds something else, or the
            disk is full; nothing is left behind then.
    """
    if not 8 <= image_size <= 4096:
        raise DataError(wanted="an image size of 8 to 4,096 px", found=str(image_size)[:40], fix="change it")
    refuse_other_content(out)
    if long := next((draft for draft in drafts if len(draft.item.id.encode()) > 200), None):
        raise DataError(
            wanted="names of at most 200 letters", found=f"{long.source[:80]}...", fix="rename the images"
        )
    faults: list[DataError] = []
    looks: dict[str, np.ndarray] = {}
    with atomic_folder(out) as folder:
        for split in {draft.item.split for draft in drafts}:
            (folder / "images" / split).mkdir(parents=True)

        def write(draft: Draft) -> None:
            try:
                content, looks[draft.item.id] = _square(draft, image_size, fit)
            except DataError as error:
                faults.append(error)
            else:
                (folder / draft.item.file).write_bytes(content)

        with ThreadPoolExecutor(_WORKERS) as pool:
            work = pool.map(write, drafts)
            try:
                for _ in tqdm(work, f"{name} images", len(drafts), disable=not progress):
                    pass
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        items = [draft.item for draft in drafts if draft.item.id in looks]
        if faults and not (skip_faults and items):
            raise all_faults(faults, source)
        left = [f"{len(faults)} images were left out, e.g.: {faults[0].found}"] if faults else []
        write_prepared(
            folder,
            name=name,
            items=items,
            classes=classes,
            image_size=image_size,
            seed=seed,
            source=source,
            licence=licence,
            extra={**(extra or {}), "notes": [*notes, *left, *_repetitions(items, looks)]},
        )
    return PreparedDataset.open(out)


def clean(text: str) -> str:
    """Return a text without halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def all_faults(faults: Sequence[DataError], place: str) -> DataError:
    """Return one error that names all faults of a source, the first twenty in full."""
    if len(faults) == 1:
        return faults[0]
    lines = [f"\n  {fault.wanted}: {fault.found}" for fault in faults[:20]]
    rest = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
    return DataError(
        wanted=f"no faults in {place}",
        found=f"{len(faults)} faults:" + "".join(lines) + rest,
        fix=f"{faults[0].fix}; and the like for the others, or leave them out with --skip-faults",
    )


def _square(draft: Draft, size: int, fit: Fit) -> tuple[bytes, np.ndarray]:
    """Return a draft's picture as WebP, and its look: 12 x 12 means of its colours, (432,) float32.

    One that is as wanted already is not compressed a second time.
    """
    content = draft.read()
    image = decode_image(content, draft.source)
    if draft.item.box is not None:
        check_box(draft.item.box, image.size, draft.source)
    if draft.crop is None and image.size == (size, size) and _is_plain_webp(content):
        square = image
    else:
        whole = image if draft.crop is None else draft.crop(image)
        square = padded_square(whole, size) if fit == "pad" else centre_square(whole, size)
        buffer = io.BytesIO()
        square.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
        content = buffer.getvalue()
    look = np.asarray(square.resize((12, 12), Image.Resampling.BOX), np.float32).ravel()
    return content, look


def check_box(box: Sequence[float], size: tuple[int, int], name: str) -> None:
    """Refuse a box (left, top, width, height) that shows nothing of its picture.

    Raises:
        DataError: it has no area, or lies beside the picture.
    """
    left, top, width, height = box
    inside = left < size[0] and top < size[1] and left + width > 0 and top + height > 0
    if not (0 < width < 1e6 and 0 < height < 1e6 and inside):  # also where a side is NaN
        raise DataError(
            wanted=f"a box within the {size[0]} x {size[1]} px of {name}",
            found=f"left {left}, top {top}, width {width}, height {height}",
            fix="give the box of this very picture, not of another size of it",
        )


def _repetitions(items: Sequence[Item], looks: Mapping[str, np.ndarray]) -> list[str]:
    """Tell of test pictures that all but repeat a training picture."""
    train, test = ([item for item in items if item.split == split] for split in ("train", "test"))
    if not train or not test:
        return []
    known, asked = (np.stack([looks[item.id] for item in part]) for part in (train, test))
    pairs = []
    for start in range(0, len(test), 1024):
        part = asked[start : start + 1024]
        squared = (part**2).sum(1)[:, None] + (known**2).sum(1) - 2 * part @ known.T  # (<= 1024, train)
        nearest = squared.argmin(1)
        apart = np.sqrt(squared[np.arange(len(part)), nearest].clip(0) / part.shape[1])
        for row in np.flatnonzero(apart < np.maximum(1.5, REPEATED * part.std(1))):
            pairs.append((test[start + row].id, train[nearest[row]].id))
    if not pairs:
        return []
    return [
        f"{len(pairs)} of {len(test)} test images all but repeat a training image, e.g. {pairs[0][0]} "
        f"repeats {pairs[0][1]}: figures over them flatter"
    ]


def _is_plain_webp(content: bytes) -> bool:
    """Return whether a file is WebP without the extended header: no EXIF, no frames, no alpha."""
    return content[:4] == b"RIFF" and content[8:15] == b"WEBPVP8" and content[15:16] in b" L"


def refuse_other_content(out: Path) -> None:
    """Refuse to replace anything that is not an earlier data set.

    Raises:
        DataError: `out` is a file, or a folder with other content.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    header = out / HEADER
    if header.is_file() and read_json(header, DataError).get("schema") == SCHEMA:
        return
    raise DataError(
        wanted=f"a new or empty folder, or an earlier data set, at {out}",
        found="something else",
        fix="choose another folder for the data set",
    )


FOLDER = "cache"
_WORKERS = 4
REPEATED = 0.2
"""Distance of two looks, over the contrast of one, below which a picture repeats another. Of 3,033
flowers the four nearest pairs, each of one photograph, lie at 0.05 to 0.12, all others above 0.33."""


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
        with contextlib.suppress(OSError):
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
    path.parent.mkdir(exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        shape = (len(items), 3, size, size)
        array = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(Path(scratch))
        _decode_into(array, dataset, items, size, progress)
        array.flush()
        os.replace(scratch, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)


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
