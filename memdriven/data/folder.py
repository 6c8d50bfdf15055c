"""Your own pictures: a folder (or zip) of images, and their captions in a table or in text files.

The Hugging Face imagefolder convention and what other tools write: `metadata.jsonl`, `.csv`, `.tsv`
or `.json` with a column of file names and one of captions, or `a.txt` beside `a.png` or in a folder of
texts. A caption may be a list, a file may have several rows, and the optional columns `split`, `class` and
`box` say what they say. The table lies beside the images, or one in each of the folders `train/`,
`validation/`, `test/`; the images may lie in a zip beside it, under the names that the table gives.

What cannot be read is a fault with its line, and all faults are told at once. A picture without a
usable caption is no fault: it is left out, and the data set's notes say so.
"""

import difflib
import itertools
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from memdriven.data.archive import Archive, archives_in, open_archives
from memdriven.data.images import Fit
from memdriven.data.names import (
    COLUMNS,
    FILE,
    FILES,
    SAVE,
    TEXT,
    UNPACK,
    caption_of_name,
    is_picture,
    kind_of,
    split_of_folder,
    split_of_name,
    texts_elsewhere,
    with_endings,
)
from memdriven.data.prepared import Item, PreparedDataset, Told, assemble, item_ids, refuse_other_content
from memdriven.data.tables import (
    Faults,
    Row,
    all_faults,
    captions_of,
    class_of,
    column_name,
    decoded,
    find_tables,
    first_of,
    is_text,
    listed,
    numbers_of,
    plain_name,
    read_rows,
    split_of_word,
)
from memdriven.data.vocabulary import clean, read_caption, tokenize
from memdriven.errors import DataError, require
from memdriven.numbers import check_number, check_whole, counted, is_whole, shown


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
) -> PreparedDataset:
    """Read your own captioned images: a folder with metadata.jsonl or .csv.

    The Hugging Face imagefolder convention: columns file_name and text. `text` is a caption or a list
    of them, and a file may have several rows. Columns `split`, `class` and `box` are used where they are
    there, as are folders named train and test; a box counts in a picture of `size` (width, height), if
    that is given. Other tools' tables (any separator; image and prompt; a.txt beside a.png) are read, too.
    Repeated captions of an image are kept once. Images without a usable caption are left out; the
    header's `notes` say how many, and all else that was read otherwise than it is written.

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

    Raises:
        DataError: no captions, faults (all of them are named), or `out` cannot be written. Nothing is
            left behind.
    """
    source, out = Path(source), Path(out)
    refuse_other_content(out)
    inside = out.resolve().is_relative_to(source.resolve())
    fix = "choose another one, or its pictures would be read, too, next time"
    require(not inside, DataError, f"a folder outside {source}", out, fix)
    check_number("test fraction", test_fraction, 0, 0.999, DataError)
    check_whole("seed", seed, 0, 2**53 - 1, DataError)
    with open_archives(source, *_packed(source, images), inner=False, follow_links=follow_links) as files:
        read = _Source(files, source)
        read.read_tables(column_name(split_column))
        read.read_beside(captions_from_names)
        pictures = [picture for picture in read.pictures.values() if picture.captions]
        if not pictures:
            raise all_faults(read.faults, str(source)) if read.faults else read.nothing()
        _complete_splits(pictures, test_fraction, seed)
        classes = sorted({p.class_name for p in pictures if p.class_name is not None}, key=_natural)
        items = []
        for picture, item_id in zip(pictures, item_ids([p.name for p in pictures]), strict=True):
            item = Item(
                id=item_id,
                split=picture.split or "train",
                class_id=None if picture.class_name is None else classes.index(picture.class_name),
                class_name=picture.class_name or "",
                captions=list(picture.captions),
                box=picture.box,
            )
            items.append((item, picture.name))
        sizes = {picture.name: picture.size for picture in pictures if picture.size}
        return assemble(
            out,
            files,
            items,
            name=clean(name or (source.stem if source.is_file() else source.resolve().name) or "folder"),
            classes=classes,
            image_size=image_size,
            fit=fit,
            box_sizes=sizes,
            seed=seed,
            source="a captioned folder",
            licence="that of the source",
            faults=read.faults,
            skip_faults=skip_faults,
            notes=read.notes(),
        )


@dataclass
class _Picture:
    """What all rows of one image say together."""

    name: str
    """Its path within the source."""
    captions: dict[str, None] = field(default_factory=dict)
    """Each once, in their order; by a dictionary, as a picture may have 200,000 rows."""
    split: str | None = None
    class_name: str | None = None
    box: tuple[float, ...] | None = None
    size: tuple[float, ...] | None = None
    """Of the picture in which the box counts, where a row says so."""


class _Source:
    """A folder's files, what its rows say of the pictures, and all that is wrong or was left out."""

    def __init__(self, files: Archive, place: Path) -> None:
        self.files, self.place, self.faults, self.table = files, place, Faults(), ""
        self.pictures: dict[str, _Picture] = {}
        self.read: set[str] = set()
        """Tables and texts that were read, or told of."""
        self.told = Told()
        self.columns: dict[str, None] = {}
        """Of the tables, without those that are read."""
        self.by_ends: dict[str, str] = {}
        """Files that were found by the end of a path of elsewhere -> that path."""

    def read_tables(self, split_column: str) -> None:
        """Join the rows of each image, in the tables' order."""
        tables, others = find_tables(self.files, self.place)
        if not tables and any(self._beside(file) for file in self.files.names if is_picture(file)):
            self.told["table", "without columns of file names and captions not read"] = others
            self.read.update(others)
            others = []
        for table in tables or others:
            self.table = table
            self.read.add(table)
            for line, row in read_rows(self.files, table, self.place / table, self.faults):
                with self.faults.noted():
                    place = f"{self.place / table}, line {line}"
                    called = split_of_name(table) if len(tables) > 1 else None
                    self._read_row(table[: table.rfind("/") + 1], row, split_column, called, place)
                    self.columns.update(dict.fromkeys(row))
        known = {split_column, "width", "height", *itertools.chain(*COLUMNS.values())}
        self.columns = {name: None for name in self.columns if not (name in known or is_text(name))}

    def _read_row(self, base: str, row: Row, split_column: str, called: str | None, place: str) -> None:
        """Add what a row of a table in the folder `base` says to its picture; note faults of its fields.

        `called` is the split that the table's name says, where there is a table for each.
        """
        columns, name = f"the columns {', '.join(row)[:200]}", first_of(row, FILE)
        named = "nothing" if name is None else shown(name)
        found = f"{named} as the file's name" if {*FILE} & {*row} else columns
        fix = "name the columns so, and fill both"
        named_so = isinstance(name, str) or is_whole(name)
        require(named_so, DataError, f"file_name and text in {place}", found, fix)
        wanted, fix = f"the column {split_column!r} in {place}", "name one of these with --split-column"
        require(split_column in ("split", *row), DataError, wanted, columns, fix)
        name = PurePosixPath(plain_name(str(name))).as_posix()
        file = self._locate(base, name, place)
        picture = self.pictures.setdefault(file, _Picture(file))
        text = first_of(row, TEXT)
        numbered = ((column, value) for column, value in row.items() if column[-1:].isdecimal())
        texts = [value for column, value in numbered if is_text(column) and value is not None]
        texts += text if isinstance(text, list) else [] if text is None else [text]
        self._describe(picture, texts)
        if not texts:
            self.told["row", "without a caption"].append(f"{file} ({columns})")
        filled = [column for column in TEXT if row.get(column) is not None]
        if filled[1:]:
            what = f"{filled[0]} (not in {', '.join(filled[1:])})"
            self.told["row", f"whose caption is read in the column {what}"].append(file)
        split = row.get(split_column)
        if split is None:
            split = called or split_of_folder(name) or split_of_folder(base)
        for key, said, parse, wanted in (
            ("split", split, split_of_word, "split train, validation or test"),
            (
                "class_name",
                first_of(row, COLUMNS["class"]),
                class_of,
                "a class name: a text or a whole number,",
            ),
            (
                "box",
                first_of(row, COLUMNS["box"]),
                numbers_of,
                "a box of 4 numbers: left, top, width, height in px,",
            ),
        ):
            if said is not None:
                with self.faults.noted():
                    value, before, fix = parse(said), getattr(picture, key), "correct it, or leave it empty"
                    require(value is not None, DataError, f"{wanted} in {place}", shown(said), fix)
                    wanted = f"one {key.partition('_')[0]} for {name}"
                    found = f"{before!r} and, in {place}, {value!r}"
                    require(before in (None, value), DataError, wanted, found, "make them agree")
                    setattr(picture, key, value)
        sides = numbers_of(first_of(row, COLUMNS["size"]) or [row.get("width"), row.get("height")], 2)
        if sides and min(sides) > 0:
            picture.size = picture.size or sides

    def _locate(self, base: str, name: str, place: str) -> str:
        """Return the picture that a row of a table in the folder `base` means."""
        path = base + name
        found = self.files.meant(path)
        if found is None:
            twins = self.files.alike(path)
            spelt = [name, unquote(name), unescape(name), name.strip("'")]
            spelt += with_endings(name) * (not is_picture(name))
            others = [place for each in spelt for place in (base + each, each, *self._only(each))]
            if is_picture(path) and not twins:
                others += with_endings(path) + with_endings(path[: path.rfind(".")])
            found = next(filter(None, map(self.files.meant, others)), None) or self._by_its_end(base, name)
            if found is not None:
                self.told["image", "found elsewhere than the table says"].append(f"{path} at {found}")
        if found is not None and is_picture(found):
            return found
        if found is not None and (kind := kind_of(found)):
            wanted = f"a picture of a format that is read for {place}"
            raise DataError(wanted, f"{found}, {kind.what}", f"{kind.fix}, and name that")
        why = f"no such file in {self.files.place}"
        fix = "add the image or remove the row; names count from the table's own folder, inside the folder"
        if found:
            why = f"{found}, whose name ends as no picture's does"
            fix = "end the names of pictures as their formats do, e.g. .png, or remove the row"
        if not found and twins:
            why = f"{' and '.join(twins)}, either of which is meant"
        if len(self.faults) < 5 and not found:
            same = self.files.ending_with(PurePosixPath(name).name)
            if near := same or difflib.get_close_matches(path, self.files.names, n=1, cutoff=0.81):
                why += f"; is {near[0]} meant?"
            packed = [file for file, kind in self.files.unread.items() if kind.fix == UNPACK]
            why += f"; {packed[0]} is not opened: {UNPACK}" if packed else ""
        if path in self.files.left_out:
            why += "; links that lead out of the folder are not followed without --follow-links"
        raise DataError(f"the image {name[:200]} of {place}", why, fix)

    def _by_its_end(self, base: str, name: str) -> str | None:
        """Return the file that a whole path or an address of elsewhere means: the longest end that is here.

        Where two of them would mean one file, the folders that are not here told them apart: None.
        """
        if not re.match(r"/|~/|\w+:/", name):
            return None
        parts = re.sub(r"[?&].*", "", name).split("/")
        ends = (self.files.meant(base + "/".join(parts[start:])) for start in range(1, len(parts)))
        found = next(filter(None, ends), None)
        return found if found and self.by_ends.setdefault(found, name) == name else None

    def _only(self, path: str) -> list[str]:
        """Return the one file whose path ends so, if there is no other."""
        found = self.files.ending_with(path)
        return found if len(found) == 1 else []

    def read_beside(self, from_names: bool) -> None:
        """Take captions of pictures that no row describes from texts of their names, or from the names."""
        pictures = [name for name in self.files.names if is_picture(name)]
        beside = {file: self._beside(file) for file in pictures}
        self.read.update(*beside.values())
        others = [name for name in self.files.names if name not in self.read]
        by_rows = {name for name, picture in self.pictures.items() if picture.captions}
        elsewhere = {} if by_rows.issuperset(pictures) else texts_elsewhere(pictures, others)
        undescribed = []
        for file in pictures:
            picture = self.pictures.get(file) or _Picture(file, split=split_of_folder(file))
            for found in () if picture.captions else (*beside[file], *elsewhere.get(file, ())):
                if not picture.captions:
                    with self.faults.noted():
                        text = decoded(self.files.read(found), self.place / found)
                        lines = captions_of(text) if found.endswith(".json") else text.splitlines()
                        self._describe(picture, [line for line in lines if line.strip()])
                        if not picture.captions:
                            self.told["text", "without a caption"].append(found)
                    if picture.captions and found not in self.read:
                        self.told["image", "described by a text elsewhere"].append(f"{file} by {found}")
                    self.read.add(found)
            if picture.captions:
                self.pictures[file] = picture
                continue
            undescribed.append(file)
            if from_names:
                picture.captions[caption_of_name(file)] = None
                self.pictures[file] = picture
        how = "described by the file's name" if from_names else "without a caption left out"
        self.told["image", how] = undescribed

    def _beside(self, picture: str) -> list[str]:
        """Return the texts beside a picture, the first of which counts that has a caption."""
        stems = picture[: picture.rfind(".")], picture
        names = (stem + ending for stem in stems for ending in FILES["sidecars"])
        return [found for name in names if (found := self.files.meant(name))]

    def _describe(self, picture: _Picture, values: Sequence[Any]) -> None:
        """Add the usable ones among captions to a picture; tell of the others."""
        for caption in itertools.chain.from_iterable(map(listed, values)):
            # As Karpathy's splits have them.
            value = first_of(caption, TEXT) if isinstance(caption, dict) else caption
            if text := read_caption(value, picture.name, self.told):
                picture.captions[text] = None

    def notes(self) -> list[str]:
        """Tell what was left out and what was read otherwise than it is written."""
        unread = self.files.unread
        rest = [name for name in self.files.names if not is_picture(name) and name not in self.read]
        for noun, what, fix in (
            ("image", "of a format that is not read left out (save as JPEG or PNG)", SAVE),
            ("archive", "not opened (unpack it and give the folder)", UNPACK),
        ):
            self.told[noun, what] = [name for name in rest if name in unread and unread[name].fix == fix]
            rest = [name for name in rest if name not in self.told[noun, what]]
        self.told["other file", "not read"] = rest
        self.told["link", "out of the folder not followed (--follow-links does)"] = self.files.left_out
        self.told["faulty row", "left out"] = [f"{each.wanted}: {each.found}" for each in self.faults]
        for key in self.told:
            if "image" in key:  # of which several rows may tell
                self.told[key] = list(dict.fromkeys(self.told[key]))
        columns = f"{counted(len(self.columns), 'column')} not read: {', '.join(self.columns)[:200]}"
        return self.told.notes() + [columns] * bool(self.columns)

    def nothing(self) -> DataError:
        """Return the error that there is no picture, or none with a caption."""
        names, unread = self.files.names, self.files.unread
        others = [
            f"{name} is {kind.what}: {kind.fix}"
            for name, kind in unread.items()
            if kind.fix not in (SAVE, UNPACK)
        ]
        pictures = sum(map(is_picture, names))
        described = self.pictures or not pictures
        found = (
            "" if described else f"no row in {self.table or 'a table'} and no text beside a picture",
            *self.notes(),
            *others[:1],
            f"{counted(pictures, 'picture')} among {counted(len(names), 'file')}",
        )
        wanted = f"captioned images in {self.place}: metadata.jsonl, metadata.csv or a text file beside each"
        fix = (
            'write one line per image: {"file_name": "a.jpg", "text": "a small red bird"}; '
            "or describe them by their names with --captions-from-names"
        )
        if not pictures:
            wanted = f"pictures in {self.place}, or in a folder of it"
            fix = next((kind.fix for kind in unread.values()), "check the path")
        return DataError(wanted, "; ".join(filter(None, found)), fix)


def _packed(source: Path, images: Path | str | None) -> list[Path]:
    """Return the archive that holds the images, if one does; several are refused."""
    if images is not None:
        return [source / images]
    packed = archives_in(source)
    some, fix = ", ".join(path.name for path in packed), "choose one, or unpack them, e.g. --images "
    wanted = f"one archive of images in {source}"
    require(len(packed) < 2, DataError, wanted, some, fix + some.split(", ")[0])
    return packed


# ---- Splits and items ----------------------------------------------------------------------------


def _complete_splits(pictures: Sequence[_Picture], test_fraction: float, seed: int) -> None:
    """Give every picture a split; draw a test split where there is none.

    Pictures that share no word with those that stay are not drawn: no model of the others could read
    their captions.
    """
    for picture in pictures:
        picture.split = picture.split or "train"
    train = [picture for picture in pictures if picture.split == "train"]
    splits = ", ".join(sorted({str(picture.split) for picture in pictures}))
    fix = "name the training images' split 'train'"
    require(train, DataError, "images in the split 'train'", f"only {splits}", fix)
    if any(picture.split == "test" for picture in pictures):
        return
    to_draw = min(len(train) - 1, max(1, round(test_fraction * len(train)))) if test_fraction else 0
    words = {id(p): {word for caption in p.captions for word in tokenize(caption)} for p in train}
    left = Counter(word for picture in train for word in words[id(picture)])
    for picture in random.Random(seed).sample(train, len(train)):
        if to_draw and any(left[word] > 1 for word in words[id(picture)]):
            picture.split = "test"
            left.subtract(words[id(picture)])
            to_draw -= 1


def _natural(name: str) -> tuple[bool, int, str]:
    """Sort whole numbers by value, before all other names."""
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
