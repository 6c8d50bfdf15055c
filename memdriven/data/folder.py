"""Your own pictures: a folder of images with a metadata file of captions.

The Hugging Face imagefolder convention: `metadata.jsonl` or `metadata.csv` with the columns
`file_name` (relative to the metadata file) and `text`. Ours on top: `text` may be a list, a file
may have several rows, and the optional columns `split`, `class` and `box` say what they say. The
metadata file lies beside the images, or one in each of the folders `train/`, `validation/`,
`test/`; or the images lie in a zip beside it, under the names that the metadata gives. It may
also be called `captions.jsonl`, with columns `file` and `captions`.
"""

from __future__ import annotations

import contextlib
import csv
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from memdriven.data.archive import Archive, open_archives
from memdriven.data.prepared import Draft, Item, PreparedDataset, assemble, image_file, refuse_other_content
from memdriven.data.vocabulary import MAX_CHARACTERS, tokenize
from memdriven.errors import DataError

NAMES = ("metadata.jsonl", "metadata.csv", "captions.jsonl")
FILE, TEXT = ("file_name", "file"), ("text", "captions", "caption")
CLASS, BOX = ("class", "class_name", "class_id"), ("box", "bbox")
"""The columns; of several names the first that a row fills counts."""
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""The splits and the words for them, in column `split` and as folder names."""


@dataclass(frozen=True)
class Row:
    """One row of a metadata file."""

    file_name: str
    captions: tuple[str, ...]
    split: str | None
    class_: str | None
    box: tuple[float, float, float, float] | None
    place: str
    """File and line, for messages."""


def find_metadata(source: Path) -> list[tuple[Path, str | None]]:
    """Return the metadata files of a folder, each with the split that its folder's name gives.

    Raises:
        DataError: there is none, or two of them in one folder.
    """
    if not source.is_dir():
        raise DataError(wanted=f"the folder {source}", found="no such folder", fix="check the path")
    folders: list[tuple[Path, str | None]] = [(source, None)]
    folders += [
        (path, split)
        for path in sorted(source.iterdir())
        if path.is_dir()
        for split, words in SPLITS.items()
        if path.name.lower() in words
    ]
    found: list[tuple[Path, str | None]] = []
    for folder, split in folders:
        here = [folder / name for name in NAMES if (folder / name).is_file()]
        if len(here) > 1:
            names = " and ".join(path.name for path in here)
            raise DataError(wanted=f"one metadata file in {folder}", found=names, fix="remove one of them")
        found += [(path, split) for path in here]
    if not found:
        raise DataError(
            wanted=f"{' or '.join(NAMES)} in {source}, or in its folders train and test",
            found="none",
            fix='write one line per image: {"file_name": "a.jpg", "text": "a small red bird"}',
        )
    return found


def read_metadata(path: Path, split_column: str = "split") -> Iterator[Row]:
    """Yield a metadata file's rows.

    A row without a split takes the first folder of its file_name where that is named like one.

    Raises:
        DataError: the file or a row is malformed.
    """
    try:
        rows = _json_rows(path) if path.suffix == ".jsonl" else _csv_rows(path)
        for line, values in rows:
            yield _row(values, f"{path}, line {line}", split_column)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            wanted=f"readable UTF-8 rows in {path}",
            found=f"{type(error).__name__}: {error}"[:200],
            fix="save the file as UTF-8 text",
        ) from error


def _json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    wanted=f"one JSON object in {path}, line {number}",
                    found=str(error)[:200],
                    fix="correct the line",
                ) from error


def _csv_rows(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        for values in reader:
            if None in values:
                raise DataError(
                    wanted=f"as many fields as columns in {path}, line {reader.line_num}",
                    found="more",
                    fix="put captions that hold commas in double quotes",
                )
            yield reader.line_num, {key: value or None for key, value in values.items()}


def _row(values: Any, place: str, split_column: str) -> Row:
    if not isinstance(values, dict):
        raise DataError(
            wanted=f"an object with file_name and text in {place}",
            found=type(values).__name__,
            fix="correct the line",
        )
    name, text = _first(values, FILE), _first(values, TEXT)
    texts = text if isinstance(text, list) else [text]
    if not isinstance(name, str) or not name or not texts:
        raise DataError(
            wanted=f"file_name and text in {place}",
            found="the columns " + ", ".join(map(str, values)),
            fix="name the columns file_name and text, and fill both",
        )
    if split_column != "split" and split_column not in values:
        raise DataError(
            wanted=f"the column {split_column!r} in {place}",
            found="the columns " + ", ".join(map(str, values)),
            fix="name one of these with --split-column",
        )
    captions = tuple(_caption(entry, name, place) for entry in texts)
    return Row(
        name,
        captions,
        _split(values.get(split_column), name, place),
        _class(_first(values, CLASS), place),
        _box(_first(values, BOX), place),
        place,
    )


def _first(values: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Return what a row says in the first of some columns that it fills."""
    filled = (values[name] for name in names if values.get(name) is not None)
    return next(filled, None)


def _caption(text: Any, name: str, place: str) -> str:
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_CHARACTERS:
        found = f"{len(text):,} characters" if isinstance(text, str) else repr(text)[:80]
        raise DataError(
            wanted=f"a caption of 1 to {MAX_CHARACTERS:,} characters for {name} in {place}",
            found="an empty one" if isinstance(text, str) and not text.strip() else found,
            fix="correct the text, or remove the row",
        )
    return " ".join(text.split())


def _split(value: Any, name: str, place: str) -> str | None:
    if value is None:
        first, slash, _ = name.replace("\\", "/").removeprefix("./").partition("/")
        if not slash or not any(first.lower() in words for words in SPLITS.values()):
            return None
        value = first
    for split, words in SPLITS.items():
        if isinstance(value, str) and value.strip().lower() in words:
            return split
    raise DataError(
        wanted=f"split train, validation or test in {place}",
        found=repr(value)[:80],
        fix="correct the split, or leave it empty",
    )


def _class(value: Any, place: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise DataError(
            wanted=f"a class name in {place}",
            found=repr(value)[:80],
            fix="give a text or a whole number, or leave it empty",
        )
    return str(value).strip()


def _box(value: Any, place: str) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    sides = value if isinstance(value, list) else str(value).split()
    try:
        left, top, width, height = (float(side) for side in sides)
    except (TypeError, ValueError):
        raise DataError(
            wanted=f"a box of 4 numbers in {place}: left, top, width, height in px",
            found=repr(value)[:80],
            fix="correct it, or leave it empty",
        ) from None
    return left, top, width, height


IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass
class _Picture:
    """What all rows of one image say together."""

    file: str
    """Where it lies, for messages."""
    name: PurePosixPath
    """Its path within the source."""
    read: Callable[[], bytes]
    captions: list[str] = field(default_factory=list)
    split: str | None = None
    class_name: str | None = None
    box: tuple[float, float, float, float] | None = None


def prepare_folder(
    source: Path | str,
    out: Path | str,
    *,
    images: Path | str | None = None,
    name: str | None = None,
    split_column: str = "split",
    image_size: int = 256,
    test_fraction: float = 0.1,
    seed: int = 0,
    progress: bool = True,
) -> PreparedDataset:
    """Read a captioned folder and write it as a prepared data set.

    Repeated captions of an image are kept once; captions without a single word are left out.

    Args:
        source: the folder with the metadata file.
        out: folder for the data set: new, empty, or an earlier data set.
        images: zip or tar with the images, relative to `source`, or absolute; by default they lie
            beside the metadata file, or in the one zip that is there.
        name: of the data set; the source's by default.
        split_column: column that holds the split.
        image_size: side in px; each image's central square is kept.
        test_fraction: part of the training images that becomes the test split, chosen by `seed`,
            where nothing in the folder names a test split.
        seed: of that choice.
        progress: show a bar.

    Raises:
        DataError: the metadata is missing, malformed or contradicts itself, a file name points
            out of the folder, an image is missing or unreadable, a caption is empty or longer
            than 2,000 characters, or `out` cannot be written. Nothing is left behind.
    """
    source, out = Path(source), Path(out)
    refuse_other_content(out)
    if not 0 <= test_fraction < 1:
        raise DataError(
            wanted="a test fraction of 0 or more, below 1", found=str(test_fraction), fix="change it"
        )
    with contextlib.ExitStack() as stack:
        packed = _packed(source, images)
        archive = None if packed is None else stack.enter_context(open_archives(packed))
        pictures, wordless = _gather(source, archive, split_column)
        _complete_splits(pictures, test_fraction, seed)
        classes = sorted({p.class_name for p in pictures if p.class_name is not None}, key=_natural)
        ids = _ids([picture.name for picture in pictures])
        numbers = {class_name: number for number, class_name in enumerate(classes)}
        drafts = [_draft(picture, item_id, numbers) for picture, item_id in zip(pictures, ids, strict=True)]
        return assemble(
            out,
            drafts,
            name=name or source.resolve().name or "folder",
            classes=classes,
            image_size=image_size,
            seed=seed,
            source="a captioned folder",
            licence="that of the source",
            progress=progress,
            extra={
                "images_without_caption": _uncaptioned(source, archive, pictures),
                "captions_without_words": wordless,
            },
        )


def _packed(source: Path, images: Path | str | None) -> Path | None:
    """Return the archive that holds the images, if one does.

    Raises:
        DataError: several zips lie in the folder, and nothing says which one.
    """
    if images is not None:
        return source / images
    zips = sorted(source.glob("*.zip"))
    if len(zips) > 1:
        raise DataError(
            wanted=f"one zip of images in {source}",
            found=", ".join(zip_.name for zip_ in zips),
            fix=f"choose one, e.g. --images {zips[0].name}",
        )
    return zips[0] if zips else None


def _gather(source: Path, archive: Archive | None, split_column: str) -> tuple[list[_Picture], int]:
    """Join the rows of each image, in the metadata's order; count captions without words."""
    pictures: dict[str, _Picture] = {}
    wordless = 0
    for metadata, folder_split in find_metadata(source):
        for row in read_metadata(metadata, split_column):
            found = _locate(source, metadata.parent, row, archive)
            picture = pictures.setdefault(found.file, found)
            spoken = [caption for caption in row.captions if tokenize(caption)]
            wordless += len(row.captions) - len(spoken)
            picture.captions = list(dict.fromkeys([*picture.captions, *spoken]))
            for name, value in (
                ("split", row.split or folder_split),
                ("class_name", row.class_),
                ("box", row.box),
            ):
                before = getattr(picture, name)
                if before is not None and value is not None and before != value:
                    raise DataError(
                        wanted=f"one {name.partition('_')[0]} for {row.file_name}",
                        found=f"{before!r} and, in {row.place}, {value!r}",
                        fix="make them agree",
                    )
                setattr(picture, name, before if value is None else value)
    silent = [picture.file for picture in pictures.values() if not picture.captions]
    if not pictures or silent:
        raise DataError(
            wanted=f"captioned images in {source}",
            found=f"no word about {silent[0]}" if silent else "metadata without rows",
            fix="add a row with file_name and text for each image",
        )
    return list(pictures.values()), wordless


def _locate(source: Path, folder: Path, row: Row, archive: Archive | None) -> _Picture:
    """Return the image of a row: a file of the folder or else of the archive.

    Raises:
        DataError: the name is absolute, leads out of the source (also by a link), or names no file.
    """
    name = PurePosixPath(row.file_name.replace("\\", "/"))
    windows_drive = bool(re.match(r"[A-Za-z]:", row.file_name))
    path = (folder / name).resolve() if "\0" not in row.file_name else folder
    if name.is_absolute() or windows_drive or ".." in name.parts or not path.is_relative_to(source.resolve()):
        raise DataError(
            wanted=f"a file_name inside the folder, in {row.place}",
            found=repr(row.file_name)[:120],
            fix="copy the image into the folder and name it relative to the metadata file",
        )
    if path.is_file():
        own = PurePosixPath(path.relative_to(source.resolve()).as_posix())
        return _Picture(str(path), own, path.read_bytes)
    packed = None
    if archive is not None:
        packed = inside if (inside := name.as_posix()) in archive else archive.find(inside)
    if archive is None or packed is None:
        where = "" if archive is None else f", in the folder or in {archive.place}"
        raise DataError(
            wanted=f"the image {row.file_name} of {row.place}",
            found=f"no such file{where}",
            fix="add the image or remove the row",
        )
    return _Picture(f"{archive.place}: {packed}", name, partial(archive.read, packed))


def _complete_splits(pictures: Sequence[_Picture], test_fraction: float, seed: int) -> None:
    """Give every picture a split; draw a test split where there is none."""
    for picture in pictures:
        picture.split = picture.split or "train"
    train = [picture for picture in pictures if picture.split == "train"]
    if any(picture.split == "test" for picture in pictures):
        chosen: list[_Picture] = []
    else:
        count = min(len(train) - 1, max(1, round(test_fraction * len(train))))
        chosen = random.Random(seed).sample(train, count) if test_fraction and count > 0 else []
    for picture in chosen:
        picture.split = "test"
    if not train:
        raise DataError(
            wanted="images in the split 'train'",
            found="only " + ", ".join(sorted({str(p.split) for p in pictures})),
            fix="name the training images' split 'train'",
        )


def _draft(picture: _Picture, item_id: str, classes: dict[str, int]) -> Draft:
    split = picture.split or "train"
    item = Item(
        id=item_id,
        file=image_file(split, item_id),
        split=split,
        class_id=None if picture.class_name is None else classes[picture.class_name],
        class_name=picture.class_name or "",
        captions=picture.captions,
        box=picture.box,
    )
    return Draft(item, picture.file, picture.read)


def _natural(name: str) -> tuple[bool, int, str]:
    """Sort whole numbers by value, before all other names."""
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def _ids(paths: Sequence[PurePosixPath]) -> list[str]:
    """Return a distinct, file-name-safe id for each path: its name without what is unsafe."""
    taken: set[str] = set()
    ids: list[str] = []
    for number, path in enumerate(paths):
        name = re.sub(r"[^A-Za-z0-9]+", "-", path.with_suffix("").as_posix()).strip("-")[-80:]
        unique = name if name and name.lower() not in taken else f"{name or 'image'}-{number}"
        while unique.lower() in taken:
            unique += "x"
        taken.add(unique.lower())
        ids.append(unique)
    return ids


def _uncaptioned(source: Path, archive: Archive | None, pictures: Sequence[_Picture]) -> int:
    known = {picture.file for picture in pictures}
    files = [str(path.resolve()) for path in source.rglob("*")]
    files += [] if archive is None else [f"{archive.place}: {name}" for name in archive.names]
    return sum(name.lower().endswith(IMAGE_ENDINGS) and name not in known for name in files)
