"""Your own pictures: a folder (or zip) of images, and their captions in a table or in text files.

The Hugging Face imagefolder convention and what other tools write: `metadata.jsonl`, `.csv`, `.tsv`
or `.json` with a column of file names and one of captions, or `a.txt` beside `a.png`. A caption may be
a list, a file may have several rows, and the optional columns `split`, `class` and `box` say what
they say. The table lies beside the images, or one in each of the folders `train/`, `validation/`,
`test/`; the images may lie in a zip beside it, under the names that the table gives.

What cannot be read is a fault with its line, and all faults are told at once. A picture without a
usable caption is no fault: it is left out, and the data set's notes say so.
"""

from __future__ import annotations

import contextlib
import difflib
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from memdriven.data.archive import Archive, open_archives
from memdriven.data.assemble import Draft, assemble, clean, counted, refuse_other_content
from memdriven.data.images import ENDINGS, Fit
from memdriven.data.prepared import Item, PreparedDataset, image_file
from memdriven.data.tables import (
    BOX,
    CLASS,
    FILE,
    SPLITS,
    TEXT,
    Faults,
    column_name,
    decoded,
    find_tables,
    is_picture,
    is_text,
    plain_name,
    read_rows,
)
from memdriven.data.vocabulary import MAX_CHARACTERS, STAND_IN, tokenize
from memdriven.errors import DataError
from memdriven.numbers import check_number, in_range, shown

SIDECARS = (".txt", ".caption")
NO_CAPTION = ("nan", "null", "none", "n/a")
"""What other programs write into an empty field."""
SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")


@dataclass
class _Picture:
    """What all rows of one image say together."""

    name: str
    """Its path within the source."""
    captions: list[str] = field(default_factory=list)
    split: str | None = None
    class_name: str | None = None
    box: tuple[float, float, float, float] | None = None


class _Source:
    """A folder's files, and all that is wrong with it or was left out."""

    def __init__(self, files: Archive, place: Path) -> None:
        self.files, self.place, self.faults = files, place, Faults(place)
        self.by_name: dict[str, list[str]] = {}
        """Files by their names without folders."""
        for file in files.names:
            self.by_name.setdefault(file.rpartition("/")[2], []).append(file)
        self.pictures: dict[str, _Picture] = {}
        self.unusable: Counter[str] = Counter()
        """Captions that were left out, by reason."""
        self.columns = ""
        """Those of the first row that has no caption."""
        self.elsewhere: dict[str, str] = {}
        """Names that count from another folder than their table's -> the files found."""

    def locate(self, base: str, name: str, place: str) -> str | None:
        """Return the file that a row of a table in the folder `base` means, or note a fault."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or ".." in parts or parts[0] == "/" or re.match(r"[A-Za-z]:|\w+://", name):
            self.faults.add(
                f"a file_name inside the folder, in {place}",
                shown(name),
                "copy the image into the folder and name it relative to the table",
            )
            return None
        plain = "/".join(parts)
        found = self.files.meant(base + plain)
        if found is None:
            plain_ones = [base + unquote(plain), *(base + plain + kind for kind in ENDINGS)]
            ending = [file for file in self.by_name.get(parts[-1], ()) if f"/{file}".endswith(f"/{plain}")]
            found = self.files.meant(plain) or (ending[0] if len(ending) == 1 else None)
            found = found or next((file for one in plain_ones if (file := self.files.meant(one))), None)
            if found is not None:
                self.elsewhere[base + plain] = found
        if found is not None and is_picture(found):
            return found
        names = self.files.names if len(self.faults.found) < 5 else ()
        near = difflib.get_close_matches(base + plain, names, n=1, cutoff=0.8)
        linked = "; links that lead out of the folder are not followed without --follow-links"
        twins = self.files.alike(base + plain)
        none = f"{' and '.join(twins)}, either of which is meant" if twins else "no such file in "
        none += "" if twins else self.files.place
        self.faults.add(
            f"the image {name[:200]} of {place}",
            (f"{found}, no picture" if found else none)
            + (f"; is {near[0]} meant?" if near and not found else "")
            + (linked if base + plain in self.files.left_out else ""),
            "add the image or remove the row; names count from the table's own folder",
        )
        return None

    def captions(self, values: Sequence[Any]) -> list[str]:
        """Return the usable ones among a row's captions; count the others."""
        usable = []
        for value in values:
            if isinstance(value, dict):  # as Karpathy's splits have them
                value = _first(value, ("raw", *TEXT))
            text = " ".join(clean(value).split()) if isinstance(value, str) else ""
            if not text or text.lower() in NO_CAPTION:
                self.unusable["empty" if value is None or isinstance(value, str) else "no text"] += 1
            elif len(text) > MAX_CHARACTERS:
                self.unusable[f"longer than {MAX_CHARACTERS:,} characters"] += 1
            elif not tokenize(text):
                self.unusable["without a word"] += 1
            else:
                usable.append(text)
        return usable

    def notes(self, uncaptioned: Sequence[str]) -> list[str]:
        """Tell what was left out and what was read otherwise than it is written."""
        notes = []
        if uncaptioned:
            some = counted(len(uncaptioned), "image")
            notes.append(f"{some} without a caption left out, e.g. {clean(uncaptioned[0])}")
        for reason, count in self.unusable.items():
            notes.append(f"{counted(count, 'caption')} left out: {reason}")
        for name, found in list(self.elsewhere.items())[:1]:
            some = counted(len(self.elsewhere), "image")
            notes.append(f"{some} found elsewhere than the table says, e.g. {clean(name)} at {clean(found)}")
        if self.files.left_out:
            first = clean(self.files.left_out[0])
            notes.append(
                f"{counted(len(self.files.left_out), 'link')} out of the folder not followed "
                f"(--follow-links does), e.g. {first}"
            )
        return notes


def prepare_folder(
    source: Path | str,
    out: Path | str,
    *,
    images: Path | str | None = None,
    name: str | None = None,
    split_column: str = "split",
    image_size: int = 256,
    fit: Fit = "crop",
    test_fraction: float = 0.1,
    captions_from_names: bool = False,
    skip_faults: bool = False,
    follow_links: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> PreparedDataset:
    """Read your own captioned images: a folder with metadata.jsonl or .csv.

    The Hugging Face imagefolder convention: columns file_name and text. `text` is a caption or a list
    of them, and a file may have several rows. Columns `split`, `class` and `box` are used where they are
    there, as are folders named train and test. Other tools' tables (any separator; image and prompt;
    a.txt beside a.png) are read, too. Repeated captions of an image are kept once. Images without a
    usable caption are left out; the header's `notes` say how many, and all else that was read otherwise
    than it is written.

    Args:
        source: the folder with the table or the text files, or a zip or tar of it.
        out: folder for the data set: new, empty, or an earlier data set.
        images: zip or tar with the images, relative to `source`, or absolute; by default they lie
            beside the table, or in the one zip that is there.
        name: of the data set; the source's by default.
        split_column: column that holds the split.
        image_size: side in px.
        fit: `crop` keeps each image's central square, `pad` the whole of it between bars.
        test_fraction: part of the training images that becomes the test split, chosen by `seed`,
            where nothing in the folder names a test split.
        captions_from_names: images without a caption are described by their file's name.
        skip_faults: faulty rows and unreadable images are left out and told, instead of refused.
        follow_links: links that lead out of the folder are followed, as a download cache has them.
        seed: of that choice.
        progress: show a bar.

    Raises:
        DataError: no captions, faults (all of them are named), or `out` cannot be written. Nothing is
            left behind.
    """
    source, out = Path(source), Path(out)
    refuse_other_content(out)
    check_number("test fraction", test_fraction, 0, 0.999, DataError)
    if not source.exists():
        raise DataError(f"the folder {source}", "no such folder", "check the path")
    packed = _packed(source, images)
    with open_archives(source, *packed, inner=False, follow_links=follow_links) as files:
        read = _Source(files, source)
        _read_tables(read, split_column)
        pictures = list(read.pictures.values())
        described = {picture.name for picture in pictures if picture.captions}
        for file in files.names:
            if is_picture(file) and file not in described:
                captions = _beside(read, file)
                if not captions and captions_from_names:
                    captions = [caption_of_name(file)]
                if captions:
                    picture = read.pictures.setdefault(file, _Picture(file, split=_split_of_folder(file)))
                    picture.captions = captions
        uncaptioned = [file for file in files.names if is_picture(file) and not _captioned(read, file)]
        pictures = [picture for picture in read.pictures.values() if picture.captions]
        if not pictures:
            raise read.faults.error() if read.faults.found else _nothing(read)
        notes = read.notes(uncaptioned)
        if read.faults.found:
            first = read.faults.found[0]
            some = counted(len(read.faults.found), "faulty row")
            notes.append(f"{some} left out, e.g. {first.wanted}: {first.found}")
        _complete_splits(pictures, test_fraction, seed)
        classes = sorted({p.class_name for p in pictures if p.class_name is not None}, key=_natural)
        ids = _ids([picture.name for picture in pictures])
        numbers = {class_name: number for number, class_name in enumerate(classes)}
        return assemble(
            out,
            [
                _draft(files, picture, item_id, numbers)
                for picture, item_id in zip(pictures, ids, strict=True)
            ],
            name=clean(name or (source.stem if source.is_file() else source.resolve().name) or "folder"),
            classes=classes,
            image_size=image_size,
            fit=fit,
            seed=seed,
            source="a captioned folder",
            licence="that of the source",
            faults=read.faults.found,
            skip_faults=skip_faults,
            notes=notes,
            progress=progress,
            extra={
                "images_without_caption": len(uncaptioned),
                "captions_without_words": read.unusable["without a word"],
            },
        )


def caption_of_name(name: str) -> str:
    """Return what a file's path says: `fruit/red_apple-03.png` is "fruit red apple", `1.png` a picture."""
    words = re.split(r"[\W_]+", PurePosixPath(name).with_suffix("").as_posix())
    split_words = {word for words in SPLITS.values() for word in words} | {"images", "img", "image", "data"}
    letters = [re.sub(r"\d+", "", word).lower() for word in words]
    return " ".join(dict.fromkeys(word for word in letters if word and word not in split_words)) or STAND_IN


def _captioned(read: _Source, file: str) -> bool:
    return file in read.pictures and bool(read.pictures[file].captions)


def _nothing(read: _Source) -> DataError:
    found = "rows without a caption" if read.pictures else "no row in a table and no text beside a picture"
    found += "".join(f"; {counted(count, 'caption')} {reason}" for reason, count in read.unusable.items())
    found += f"; the columns {read.columns}" if read.columns else ""
    pictures = sum(map(is_picture, read.files.names))
    if sheet := next((name for name in read.files.names if name.lower().endswith(SPREADSHEETS)), None):
        found += f"; {sheet} is a spreadsheet, which is read when saved as CSV UTF-8"
    return DataError(
        f"captioned images in {read.place}: metadata.jsonl, metadata.csv or a text file beside each",
        f"{found}; {pictures} pictures among {len(read.files.names)} files",
        'write one line per image: {"file_name": "a.jpg", "text": "a small red bird"}; '
        "or describe them by their names with --captions-from-names",
    )


def _packed(source: Path, images: Path | str | None) -> list[Path]:
    """Return the archive that holds the images, if one does.

    Raises:
        DataError: several zips lie in the folder, and nothing says which one.
    """
    if images is not None:
        return [source / images]
    zips = sorted(path for path in source.glob("*.[zZ][iI][pP]") if path.name[0] != ".")
    if len(zips) > 1:
        raise DataError(
            f"one zip of images in {source}",
            ", ".join(zip_.name for zip_ in zips),
            f"choose one, e.g. --images {zips[0].name}",
        )
    return zips


# -- Rows -----------------------------------------------------------------------------------------------


def _read_tables(read: _Source, split_column: str) -> None:
    """Join the rows of each image, in the tables' order."""
    for table in find_tables(read.files, read.place):
        base = table[: table.rfind("/") + 1]
        for line, values in read_rows(read.files, table, read.faults):
            place = f"{read.place / table}, line {line}"
            if not isinstance(values, dict):
                read.faults.add(
                    f"an object with file_name and text in {place}", type(values).__name__, "correct the line"
                )
                continue
            _read_row(read, base, {str(key): value for key, value in values.items()}, split_column, place)


def _read_row(read: _Source, base: str, values: dict[str, Any], split_column: str, place: str) -> None:
    """Add what a row says to its picture, or note a fault."""
    row = {column_name(key): value for key, value in values.items()}
    name = _first(row, FILE)
    texts = [value for column, value in row.items() if re.search(r"\d$", column) and is_text(column)]
    text = _first(row, TEXT)
    texts += text if isinstance(text, list) else [text] if text is not None else []
    if not isinstance(name, str) or not name.strip():
        columns = ", ".join(map(str, values))[:200]
        read.faults.add(
            f"file_name and text in {place}", f"the columns {columns}", "name the columns so, and fill both"
        )
        return
    column = column_name(split_column)
    if column != "split" and column not in row:
        read.faults.add(
            f"the column {split_column!r} in {place}",
            "the columns " + ", ".join(map(str, values))[:200],
            "name one of these with --split-column",
        )
        return
    file = read.locate(base, plain_name(name), place)
    if file is None:
        return
    folder = name.replace("\\", "/").removeprefix("./").rpartition("/")[0]
    told = {
        "split": _split(read, row.get(column), folder, place) or _split_of_folder(base + "x"),
        "class_name": _class(read, _first(row, CLASS), place),
        "box": _box(read, _first(row, BOX), place),
    }
    picture = read.pictures.setdefault(file, _Picture(file))
    picture.captions = list(dict.fromkeys([*picture.captions, *read.captions(texts or [""])]))
    if not texts:
        read.columns = read.columns or ", ".join(map(str, values))[:200]
    for key, value in told.items():
        before = getattr(picture, key)
        if before is not None and value is not None and before != value:
            read.faults.add(
                f"one {key.partition('_')[0]} for {name}",
                f"{before!r} and, in {place}, {value!r}",
                "make them agree",
            )
        elif value is not None:
            setattr(picture, key, value)


def _first(row: dict[str, Any], names: Sequence[str]) -> Any:
    """Return what a row says in the first of some columns that it fills."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def _beside(read: _Source, file: str) -> list[str]:
    """Return the captions in a text file beside a picture, one a line."""
    stem = file[: file.rfind(".")]
    for name in (place + ending for place in (stem, file) for ending in SIDECARS):
        if (found := read.files.meant(name)) is not None:
            try:
                lines = decoded(read.files.read(found), read.place / found).splitlines()
            except DataError as error:
                read.faults.add(error.wanted, error.found, error.fix)
                return []
            return list(dict.fromkeys(read.captions([line for line in lines if line.strip()])))
    return []


def _split_of_folder(name: str) -> str | None:
    first = name.partition("/")[0].lower() if "/" in name else ""
    return next((split for split, words in SPLITS.items() if first in words), None)


def _split(read: _Source, value: Any, folder: str, place: str) -> str | None:
    if value is None:
        return _split_of_folder(folder + "/")
    word = value.strip().lower() if isinstance(value, str) else ""
    for split, words in SPLITS.items():
        if word in words:
            return split
    fix = "correct the split, or leave it empty"
    read.faults.add(f"split train, validation or test in {place}", shown(value), fix)
    return None


def _class(read: _Source, value: Any, place: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        fix = "give a text or a whole number, or leave it empty"
        read.faults.add(f"a class name in {place}", shown(value), fix)
        return None
    return clean(str(value).strip())[:200]


def _box(read: _Source, value: Any, place: str) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    sides = value if isinstance(value, list) else re.split(r"[\s,;]+", str(value).strip("[]() "))
    with contextlib.suppress(ValueError):
        numbers = [float(side) if isinstance(side, str) else side for side in sides]
        if len(numbers) == 4 and all(in_range(side, -1e6, 1e6) for side in numbers):
            left, top, width, height = numbers
            return left, top, width, height
    read.faults.add(
        f"a box of 4 numbers in {place}: left, top, width, height in px",
        shown(value),
        "correct it, or leave it empty",
    )
    return None


# -- Splits and items -----------------------------------------------------------------------------------


def _complete_splits(pictures: Sequence[_Picture], test_fraction: float, seed: int) -> None:
    """Give every picture a split; draw a test split where there is none.

    Pictures that share no word with those that stay are not drawn: no model of the others could read
    their captions.
    """
    for picture in pictures:
        picture.split = picture.split or "train"
    train = [picture for picture in pictures if picture.split == "train"]
    if not train:
        raise DataError(
            "images in the split 'train'",
            "only " + ", ".join(sorted({str(p.split) for p in pictures})),
            "name the training images' split 'train'",
        )
    count = min(len(train) - 1, max(1, round(test_fraction * len(train))))
    if not test_fraction or count < 1 or any(picture.split == "test" for picture in pictures):
        return
    rng = random.Random(seed)
    chosen = rng.sample(train, count)
    others = [picture for picture in train if not any(picture is one for one in chosen)]
    words = {id(p): {word for caption in p.captions for word in tokenize(caption)} for p in train}
    left = Counter(word for picture in train for word in words[id(picture)])
    drawn = 0
    for picture in (*chosen, *rng.sample(others, len(others))):
        if drawn < count and any(left[word] > 1 for word in words[id(picture)]):
            picture.split = "test"
            left.subtract(words[id(picture)])
            drawn += 1


def _draft(files: Archive, picture: _Picture, item_id: str, classes: dict[str, int]) -> Draft:
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
    return Draft(item, clean(picture.name), partial(files.read, picture.name))


def _natural(name: str) -> tuple[bool, int, str]:
    """Sort whole numbers by value, before all other names."""
    digits = name.lstrip("0") if name.isdecimal() else name
    return (not name.isdecimal(), len(digits) if name.isdecimal() else 0, digits)


def _ids(names: Sequence[str]) -> list[str]:
    """Return a distinct, file-name-safe id for each path: its name without what is unsafe."""
    taken: set[str] = set()
    ids: list[str] = []
    for number, path in enumerate(names):
        name = re.sub(r"[^A-Za-z0-9]+", "-", path[: path.rfind(".")]).strip("-")[-80:]
        unique = name if name and name.lower() not in taken else f"{name or 'image'}-{number}"
        while unique.lower() in taken:
            unique += "x"
        taken.add(unique.lower())
        ids.append(unique)
    return ids
