"""Your own pictures: a folder of images with a metadata file of captions.

The Hugging Face imagefolder convention: `metadata.jsonl` or `metadata.csv` with the columns
`file_name` (relative to the metadata file) and `text`. Ours on top: `text` may be a list, a file
may have several rows, and the optional columns `split` and `class` say what they say. The
metadata file lies beside the images, or one in each of the folders `train/`, `validation/`,
`test/`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from memdriven.data.assemble import Draft, assemble
from memdriven.data.image_file import read_image
from memdriven.data.metadata import Row, find_metadata, read_metadata
from memdriven.data.prepared import Item, PreparedDataset, image_file
from memdriven.errors import DataError

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass
class _Picture:
    """What all rows of one image say together."""

    path: Path
    place: str
    captions: list[str] = field(default_factory=list)
    split: str | None = None
    class_name: str | None = None


def prepare_folder(
    source: Path | str,
    out: Path | str,
    *,
    image_size: int = 256,
    test_fraction: float = 0.1,
    seed: int = 0,
    progress: bool = True,
) -> PreparedDataset:
    """Read a captioned folder and write it as a prepared data set.

    Args:
        source: the folder with the metadata file.
        out: folder for the data set: new, empty, or an earlier data set.
        image_size: side in px; each image's central square is kept.
        test_fraction: part of the training images that becomes the test split, chosen by `seed`,
            where nothing in the folder names a test split.
        seed: of that choice.
        progress: show a bar.

    Raises:
        DataError: the metadata is missing, malformed or contradicts itself, a file name points
            out of the folder, an image is missing or unreadable, a caption is empty or longer
            than 2,000 characters, or `out` cannot be written. Nothing is left behind.
    """  # fmt: skip
    source, out = Path(source), Path(out)
    if not 0 <= test_fraction < 1:
        raise DataError(wanted="a test fraction of 0 or more, below 1", found=str(test_fraction),
                        fix="change it")  # fmt: skip
    pictures = _gather(source)
    _complete_splits(pictures, test_fraction, seed)
    classes = sorted({p.class_name for p in pictures if p.class_name is not None})
    ids = _ids([picture.path.relative_to(source.resolve()) for picture in pictures])
    drafts = [
        _draft(picture, item_id, classes) for picture, item_id in zip(pictures, ids, strict=True)
    ]
    return assemble(
        out, drafts, name=source.resolve().name or "folder", classes=classes,
        image_size=image_size, seed=seed, source="a captioned folder",
        licence="that of the source", progress=progress,
        extra={"images_without_caption": _uncaptioned(source, pictures)},
    )  # fmt: skip


def _gather(source: Path) -> list[_Picture]:
    """Join the rows of each image, in the metadata's order."""
    pictures: dict[Path, _Picture] = {}
    for metadata, folder_split in find_metadata(source):
        for row in read_metadata(metadata):
            path = _inside(source, metadata.parent, row)
            picture = pictures.setdefault(path, _Picture(path, row.place))
            picture.captions += [c for c in row.captions if c not in picture.captions]
            for name, value in (("split", row.split or folder_split), ("class_name", row.class_)):
                before = getattr(picture, name)
                if before is not None and value is not None and before != value:
                    raise DataError(
                        wanted=f"one {name.partition('_')[0]} for {row.file_name}",
                        found=f"{before!r} and, in {row.place}, {value!r}", fix="make them agree",
                    )  # fmt: skip
                setattr(picture, name, before if value is None else value)
    if not pictures:
        raise DataError(wanted=f"captioned images in {source}", found="metadata without rows",
                        fix="add a row with file_name and text for each image")  # fmt: skip
    return list(pictures.values())


def _inside(source: Path, folder: Path, row: Row) -> Path:
    """Return the real path of a row's image.

    Raises:
        DataError: the name is absolute, leads out of the source (also by a link), or names no file.
    """
    name = PurePosixPath(row.file_name.replace("\\", "/"))
    windows_drive = bool(re.match(r"[A-Za-z]:", row.file_name))
    path = (folder / name).resolve() if "\0" not in row.file_name else folder
    if (
        name.is_absolute()
        or windows_drive
        or ".." in name.parts
        or not path.is_relative_to(source.resolve())
    ):
        raise DataError(
            wanted=f"a file_name inside the folder, in {row.place}",
            found=repr(row.file_name)[:120],
            fix="copy the image into the folder and name it relative to the metadata file",
        )
    if not path.is_file():
        raise DataError(wanted=f"the image {row.file_name} of {row.place}", found="no such file",
                        fix="add the image or remove the row")  # fmt: skip
    return path


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


def _draft(picture: _Picture, item_id: str, classes: Sequence[str]) -> Draft:
    split = picture.split or "train"
    item = Item(
        id=item_id, file=image_file(split, item_id), split=split,
        class_id=None if picture.class_name is None else classes.index(picture.class_name),
        class_name=picture.class_name or "", captions=picture.captions,
    )  # fmt: skip
    return Draft(item, partial(read_image, picture.path))


def _ids(paths: Sequence[Path]) -> list[str]:
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


def _uncaptioned(source: Path, pictures: Sequence[_Picture]) -> int:
    known = {picture.path for picture in pictures}
    files = (path for path in source.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    return sum(path.resolve() not in known for path in files)
