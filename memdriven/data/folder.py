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
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from memdriven.data.archive import Archive, open_archives
from memdriven.data.assemble import Draft, assemble, refuse_other_content
from memdriven.data.image_file import read_file
from memdriven.data.metadata import Row, find_metadata, read_metadata
from memdriven.data.prepared import Item, PreparedDataset, image_file
from memdriven.data.vocabulary import tokenize
from memdriven.errors import DataError

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
        return _Picture(str(path), own, partial(read_file, path))
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
