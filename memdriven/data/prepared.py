"""The prepared data set: the one folder format that every reader writes and every part reads.

```
dataset.json            schema, name, image_size, counts per split, seed, classes, source, licence
items.jsonl             one item per line
images/<split>/<id>.webp
```
"""

import contextlib
import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Self, get_args

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.concurrent import thread_map

from memdriven.data.archive import Archive
from memdriven.data.images import (
    FRAMES,
    WEBP_QUALITY,
    Fit,
    centre_square,
    decode_image,
    padded_square,
    read_image,
    square_around,
    to_bytes,
)
from memdriven.data.names import FILES
from memdriven.data.tables import all_faults
from memdriven.data.vocabulary import clean
from memdriven.errors import DataError, explained, require
from memdriven.files import atomic_file, atomic_folder, atomic_write_bytes, atomic_write_json, read_json
from memdriven.numbers import check_whole, counted, in_range, is_number, is_whole, parse_json, shown

SCHEMA = "memdriven.dataset/1"
HEADER, ITEMS = "dataset.json", "items.jsonl"
_AGAIN = "run `memdriven prepare` again"
_KINDS = {
    **dict.fromkeys(("id", "file", "split", "class_name", "memory"), str),
    **dict.fromkeys(("captions", "caption_attributes", "visible", "noise"), list),
    "attributes": dict,
}
"""Of the fields of an item in its table."""
_LOOK = 12
"""Side in px to which pictures are reduced to find those that repeat another."""
_REPEATED = 0.2
"""Distance of two looks, over the contrast of one, below which a picture repeats another. Of 3,033
flowers the four nearest pairs, each of one photograph, lie at 0.05 to 0.12, all others above 0.33."""
_WORKERS = 4


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


def item_ids(names: Sequence[str]) -> list[str]:
    """Return a distinct, file-name-safe id for each path: its name without what is unsafe."""
    taken, ids = set(FILES["reserved"]), []
    for number, path in enumerate(names):
        name = re.sub(r"[^A-Za-z0-9]+", "-", path[: path.rfind(".")]).strip("-")[-80:]
        unique = name if name and name.lower() not in taken else f"{name or 'image'}-{number}"
        while unique.lower() in taken:
            unique += "x"
        taken.add(unique.lower())
        ids.append(unique)
    return ids


class PreparedDataset:
    """A prepared data set on disk: its items in RAM, its images read when asked for."""

    def __init__(self, path: Path, header: Mapping[str, Any], items: Sequence[Item]) -> None:
        self.path, self.header, self.items = path, header, list(items)
        self.name, self.classes = str(header["name"]), list(header["classes"])
        self.image_size = int(header["image_size"])
        """Side in px of the stored images."""

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Read a data set's header and item table.

        A DataError says that the folder is no prepared data set, or its table is damaged or cut short.
        """
        path = Path(path)
        header = read_json(path / HEADER, DataError, SCHEMA)
        name, size, classes = (header.get(key) for key in ("name", "image_size", "classes"))
        listed = isinstance(classes, list) and all(isinstance(each, str) for each in classes)
        good = isinstance(name, str) and listed and is_whole(size) and 1 <= size <= 4096
        wanted = f"a name, an image_size of 1 to 4,096 px and names of classes in {path / HEADER}"
        require(good, DataError, wanted, f"{shown(name)}, {shown(size)} and {shown(classes)}", _AGAIN)
        table = path / ITEMS
        unreadable = explained(DataError, f"the item table {table}", _AGAIN, OSError, UnicodeDecodeError)
        with unreadable, table.open(encoding="utf-8-sig") as stream:
            lines = [(n, line) for n, line in enumerate(stream, 1) if line.strip()]
        items = [_read_item(line, f"{table}, line {n}") for n, line in lines]
        _check(items, table)
        counts = dict(Counter(item.split for item in items))
        wanted = f"the items that {path / HEADER} counts: {header.get('counts')}"
        require(counts == header.get("counts"), DataError, wanted, counts, _AGAIN)
        return cls(path, header, items)

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
        splits = "splits " + ", ".join(self.header["counts"])
        require(chosen, DataError, f"a split {name!r} in {self.path}", splits, "choose one of these")
        return chosen

    def image_path(self, item: Item) -> Path:
        """Return where an item's image lies."""
        return self.path / item.file

    def load_image(self, item: Item) -> Image.Image:
        """Decode an item's image as RGB."""
        return read_image(self.image_path(item))

    def pixels(self, item: Item, size: int) -> Tensor:
        """Return the central square of an item's image, resized, as uint8 (3, size, size)."""
        return to_bytes(centre_square(self.load_image(item), size))


def _read_item(line: str, place: str) -> Item:
    with explained(DataError, f"an item in {place}", _AGAIN, ValueError, TypeError):
        values = parse_json(line)
        item = Item(**values)
    good = (
        all(isinstance(values.get(name, kind()), kind) for name, kind in _KINDS.items())
        and len(item.id.splitlines()) == 1
        and item.id == clean(item.id)
        and (item.class_id is None or (in_range(item.class_id, 0, 999_999) and is_whole(item.class_id)))
        and all(isinstance(caption, str) for caption in item.captions)
        and (item.box is None or (len(item.box) == 4 and all(map(is_number, item.box))))
        and all(number is None or is_number(number) for number in item.noise)
        and not (item.file.startswith("/") or "\\" in item.file or ".." in PurePosixPath(item.file).parts)
    )
    wanted = f"an item of texts and numbers, with a file inside the folder, in {place}"
    require(good, DataError, wanted, line.strip()[:120], _AGAIN)
    return item


def _check(items: Sequence[Item], place: Path) -> None:
    """Refuse an empty table, repeated ids, and items without captions."""
    faults = ["no item"] if not items else []
    faults += [f"{name} twice" for name, n in Counter(item.id for item in items).items() if n > 1]
    faults += [f"{item.id} without a caption" for item in items if not item.captions]
    wanted, fix = f"items with their own ids and captions in {place}", "correct the source and prepare again"
    require(not faults, DataError, wanted, ", ".join(faults[:3]), fix)


# ---- Writing -------------------------------------------------------------------------------------


def write_prepared(out: Path, items: Sequence[Item], **header: Any) -> None:
    """Write the header and item table of a data set whose images are already in place.

    Args:
        out: the data set's folder.
        items: all items, of every split.
        header: `name`, `image_size` [px] and `classes` (names by class id); for people `source` and
            `licence`, from where and under which terms; `seed`, with which it was drawn; and others.

    Raises:
        DataError: two items share an id, an item has no caption, or the disk is full.
    """
    _check(items, out)
    optional = ("attributes", "caption_attributes", "visible", "box", "memory", "noise")
    kept = ({key: v for key, v in vars(item).items() if v or key not in optional} for item in items)
    table = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    atomic_write_bytes(out / ITEMS, table.encode())
    counts = dict(Counter(item.split for item in items))
    atomic_write_json(out / HEADER, {"schema": SCHEMA, "counts": counts, "seed": 0, **header})


def assemble(
    out: Path,
    files: Archive,
    pictures: Sequence[tuple[Item, str]],
    *,
    image_size: int,
    fit: Fit = "crop",
    cut_boxes: bool = False,
    box_sizes: Mapping[str, Sequence[float]] = MappingProxyType({}),
    faults: Sequence[DataError] = (),
    skip_faults: bool = False,
    notes: Sequence[str] = (),
    **header: Any,
) -> PreparedDataset:
    """Write a prepared data set: each image as a square of `image_size` px, and the tables.

    A plain WebP of that very size is kept byte for byte. Everything is written beside `out` and
    renamed at the end. Test pictures that all but repeat a training picture are told in the notes.

    Where images cannot be read all of them are named, and nothing is left behind.

    Args:
        out: a new or empty folder, or an earlier data set, which is replaced.
        files: where the images lie.
        pictures: the items, each with its image's name in `files`.
        cut_boxes: the square around an item's box is what counts of its picture.
        box_sizes: width and height of the picture in which a box counts, by image name, where that is
            known. The box is scaled with it; that of a picture of other proportions is left out and told.
        faults: what is wrong with the source's tables, to be told with the images that cannot be read.
        skip_faults: these images are left out and told, instead of refused.
        notes: sentences about what was left out or read otherwise.
        header: the name, and other entries of `write_prepared`.
    """
    check_whole("image size", image_size, 8, 4096, DataError)
    require(fit in get_args(Fit), DataError, f"fit among {get_args(Fit)}", shown(fit), "choose one of these")
    refuse_other_content(out)
    _check([item for item, _ in pictures], out)
    if long := next((name for item, name in pictures if len(item.id.encode()) > 200), None):
        raise DataError("names of at most 200 letters", f"{long[:80]}...", "rename the images")
    frames = "of several frames, of which the first is read"
    cropped = "cropped to less than half, their middle" + " (--fit pad keeps the whole)" * (not cut_boxes)
    enlarged = "enlarged to more than twice their size"
    boxless = "whose box counts in a picture of other proportions, prepared without the box"
    told = Told({("image", what): [] for what in (frames, cropped, enlarged, boxless)})
    with atomic_folder(out) as folder:
        for split in {item.split for item, _ in pictures}:
            (folder / "images" / split).mkdir(parents=True)

        def write(picture: tuple[Item, str]) -> tuple[Item, Tensor] | DataError:
            """Write an item's image; return the item and its look (3, 12, 12), or what is wrong with it."""
            item, name = picture
            try:
                content = files.read(name)
                image = decode_image(content, clean(name))
                if item.box is not None:
                    counted_in = box_sizes.get(name, image.size)
                    item = replace(item, box=_scaled_box(item.box, counted_in, image.size, clean(name)))
            except DataError as error:
                return error
            cut = image.crop(square_around(item.box, image.size)) if cut_boxes and item.box else image
            sides = min(cut.size), max(cut.size)
            for what, holds in (
                (frames, FRAMES in image.info),
                (cropped, fit == "crop" and 2 * sides[0] < sides[1]),
                (enlarged, 2 * sides[fit == "pad"] < image_size),
                (boxless, item.box is None and picture[0].box is not None),
            ):
                if holds:
                    told["image", what].append(name)
            # WebP without the extended header has no EXIF, no frames, no alpha.
            plain = content[:4] == b"RIFF" and content[8:16] in (b"WEBPVP8 ", b"WEBPVP8L")
            if cut is not image or image.size != (image_size, image_size) or not plain:
                buffer = io.BytesIO()
                square = (padded_square if fit == "pad" else centre_square)(cut, image_size)
                square.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
                content = buffer.getvalue()
            (folder / item.file).write_bytes(content)
            return item, to_bytes(image.resize((_LOOK, _LOOK), Image.Resampling.BOX))

        written = thread_map(write, pictures, max_workers=_WORKERS, desc=f"{header['name']} images")
        unreadable = [error for error in written if isinstance(error, DataError)]
        kept = [each for each in written if not isinstance(each, DataError)]
        if (faults or unreadable) and not (skip_faults and kept):
            raise all_faults([*faults, *unreadable], files.place)
        if unreadable:
            some = counted(len(unreadable), "image")
            first = f"{unreadable[0].wanted}: {unreadable[0].found}"
            notes = [*notes, f"{some} left out as unreadable, e.g. {first}"]
        for names in told.values():
            names.sort()  # as the threads came to them
        notes = [*notes, *told.notes()]
        items, looks = [item for item, _ in kept], torch.stack([look for _, look in kept])
        notes = [*notes, *_repetitions(items, looks)]
        write_prepared(folder, items, image_size=image_size, **header, notes=notes)
    return PreparedDataset.open(out)


def refuse_other_content(out: Path) -> None:
    """Refuse to replace anything that is not an earlier data set."""
    free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    earlier = (out / HEADER).is_file() and read_json(out / HEADER, DataError).get("schema") == SCHEMA
    wanted = f"a new or empty folder, or an earlier data set, at {out}"
    require(free or earlier, DataError, wanted, "something else", "choose another folder")


class Told(defaultdict[tuple[str, str], list[str]]):
    """What was left out, or read otherwise than it is written, as a noun and what of it -> which ones."""

    def __init__(self, first: Mapping[tuple[str, str], list[str]] = MappingProxyType({})) -> None:
        super().__init__(list, first)

    def notes(self) -> list[str]:
        """Return a sentence of each, in the order in which they came up."""
        told = ((counted(len(those), noun), what, those) for (noun, what), those in self.items() if those)
        return [f"{number} {what}, e.g. {clean(those[0])}" for number, what, those in told]


def _scaled_box(
    box: Sequence[float], counted_in: Sequence[float], size: tuple[int, int], name: str
) -> Sequence[float] | None:
    """Return a box, scaled with its picture to another size; None where the proportions differ.

    A box of less than a pixel, as one in parts of the picture is, or beside its picture is refused.
    """
    scale = size[0] / max(counted_in[0], 1)
    if abs(scale * counted_in[1] - size[1]) > 1 + scale:  # its sides were rounded
        return None
    left, top, width, height = scaled = [scale * side for side in box]
    inside = left < size[0] and top < size[1] and left + width > 0 and top + height > 0
    good = 1 <= width < 1e6 and 1 <= height < 1e6 and inside  # false also where a side is NaN
    wanted, fix = (
        f"a box within the {size[0]} x {size[1]} px of {name}",
        "give the box in px, of this very picture",
    )
    require(good, DataError, wanted, f"left {left}, top {top}, width {width}, height {height}", fix)
    return scaled


def _repetitions(items: Sequence[Item], looks: Tensor) -> Iterator[str]:
    """Tell of held-out pictures that all but repeat a training picture, mirrored or not.

    Args:
        items: of any splits.
        looks: their pictures as (n, 3, 12, 12), 0 to 255.
    """
    train, *others = (
        [index for index, item in enumerate(items) if item.split == split]
        for split in ("train", "validation", "test")
    )
    for held in others:
        if not train or not held:
            continue
        pairs: dict[int, int] = {}
        for part in torch.split(torch.tensor(held), 1024):
            for asked in (looks[part], looks[part].flip(3)):
                rows = asked.float().flatten(1)  # (b, 432)
                apart, nearest = torch.cdist(rows, looks[train].float().flatten(1)).min(1)
                close = apart / rows.shape[1] ** 0.5 < (_REPEATED * rows.std(1, correction=0)).clamp_min(1.5)
                for row in close.nonzero().flatten().tolist():
                    pairs.setdefault(int(part[row]), train[int(nearest[row])])
        if pairs:
            one, other = next(iter(pairs.items()))
            tested = counted(len(held), f"{items[one].split} image")
            yield (
                f"{len(pairs)} of {tested} all but repeat a training image, "
                f"e.g. {items[one].id} repeats {items[other].id}: figures over them flatter"
            )


# ---- All images at once --------------------------------------------------------------------------


def load_images(dataset: PreparedDataset, items: Sequence[Item], size: int) -> Tensor:
    """Return the items' images as uint8 (n, 3, size, size), in the order of `items`.

    The first call decodes them (on several threads) into `<data set>/cache/`; later calls map that
    file. The cache is keyed by the size, the ids, and the image files' lengths and times. Where it
    cannot be written, the images are kept in RAM alone.

    Args:
        dataset: the data set that the items belong to.
        items: which images.
        size: side in px; the central square of each image is resized to it.

    Raises:
        DataError: an image is missing or unreadable.
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.id}\0{item.file}\0".encode())
        with contextlib.suppress(OSError):
            facts = dataset.image_path(item).stat()
            digest.update(f"{facts.st_size} {facts.st_mtime_ns}".encode())
    path = dataset.path / "cache" / f"images-{size}-{digest.hexdigest()[:16]}.bytes"
    shape = (len(items), 3, size, size)
    count = len(items) * 3 * size * size

    def decoded() -> Iterator[Tensor]:
        with ThreadPoolExecutor(_WORKERS) as pool:
            images = pool.map(partial(dataset.pixels, size=size), items)
            yield from tqdm(images, f"images at {size} px", len(items))

    with contextlib.suppress(OSError, DataError):  # no room for a cache; a bad image is met again below
        if not path.is_file() or path.stat().st_size != count:
            with atomic_file(path) as scratch, scratch.open("wb") as stream:
                for image in decoded():
                    stream.write(image.numpy().data)
        return torch.from_file(str(path), shared=False, size=count, dtype=torch.uint8).view(shape)
    images = torch.empty(shape, dtype=torch.uint8)
    for row, image in zip(images, decoded(), strict=True):
        row.copy_(image)
    return images
