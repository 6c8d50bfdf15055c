"""Tables of captions as people make them: any separator, names of columns as other tools have them.

`metadata.jsonl`, `.csv`, `.tsv` or `.json`; a list of objects, one object of captions by file name, or
COCO's lists. A broken row is a fault with its line, and the rows after it are read all the same.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memdriven.data.archive import Archive
from memdriven.data.assemble import all_faults
from memdriven.data.images import ENDINGS
from memdriven.errors import DataError
from memdriven.numbers import parse_json

TABLES = tuple(
    f"{name}.{ending}"
    for ending in ("jsonl", "csv", "tsv", "json", "txt")
    for name in ("metadata", "captions")
)
"""What a table of captions is called; another .jsonl, .csv or .tsv counts where it is the only one."""
FILE = ("file_name", "file", "filename", "image", "image_file", "image_path", "image_name", "path", "img")
TEXT = ("text", "caption", "captions", "prompt", "description", "comment")
CLASS, BOX = ("class", "class_name", "class_id", "label", "category"), ("box", "bbox")
"""The columns, in whatever case; of several names the first that a row fills counts. Columns that
differ in a number (`caption 1`, `caption 2`) are captions of one picture."""
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""The splits and the words for them, in column `split` and as folder names."""

_MOST_FAULTS = 200
"""More are not looked for."""


class Faults:
    """All that is wrong with a folder: told at once, at the end."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.found: list[DataError] = []

    def add(self, wanted: str, found: str, fix: str) -> None:
        """Note what is wrong, and go on.

        Raises:
            DataError: with all faults, when there are too many to go on.
        """
        self.found.append(DataError(wanted=wanted, found=found, fix=fix))
        if len(self.found) >= _MOST_FAULTS:
            raise self.error()

    def error(self) -> DataError:
        """Return one error that names them all."""
        return all_faults(self.found, str(self.place))


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture."""
    return name.lower().endswith(ENDINGS)


def column_name(text: str) -> str:
    """Return a column's name as it is compared: lower case, underscores for blanks and hyphens."""
    return re.sub(r"[\s-]+", "_", text.strip().strip("\"'").lower())


def find_tables(files: Archive, place: Path) -> list[str]:
    """Return the tables of the source: its own, those of its split folders, or those one folder below.

    Raises:
        DataError: several in one folder, and nothing says which one.
    """
    base = ""
    for _ in range(6):
        inside = [name[len(base) :] for name in files.names if name.startswith(base)]
        folders = sorted({name.partition("/")[0] for name in inside if "/" in name})
        splits = [folder for folder in folders if any(folder.lower() in words for words in SPLITS.values())]
        found = [
            table
            for folder in ("", *(f"{split}/" for split in splits))
            if (table := _table(files, place, base + folder))
        ]
        if found:
            return found
        if len(folders) != 1:
            break
        base += folders[0] + "/"  # all lies one folder further down, as archives are often packed
    named = [name for name in files.names if name.rpartition("/")[2].lower() in TABLES]
    return named if len(named) == 1 else []


def _table(files: Archive, place: Path, folder: str) -> str | None:
    here = [name for name in files.names if name.startswith(folder) and "/" not in name[len(folder) :]]
    named = [name for name in here if name[len(folder) :].lower() in TABLES]
    tables = named or [name for name in here if name.lower().endswith((".jsonl", ".csv", ".tsv"))]
    if len(tables) > 1:
        raise DataError(
            wanted=f"one table of captions in {place / folder}",
            found=" and ".join(name[len(folder) :] for name in tables),
            fix="remove one of them, or call the right one metadata.csv",
        )
    return tables[0] if tables else None


def read_rows(files: Archive, table: str, faults: Faults) -> Iterator[tuple[int, Any]]:
    """Yield a table's rows with their lines; note what cannot be read.

    Raises:
        DataError: the file is no text, or has no columns for files and captions.
    """
    content = files.read(table)
    place = faults.place / table
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            wanted=f"UTF-8 text in {place}",
            found=f"other bytes in line {content[: error.start].count(10) + 1}",
            fix="save the file as UTF-8 text (in Excel: CSV UTF-8)",
        ) from error
    if table.lower().endswith(".json"):
        yield from _json_rows(text, place)
    elif table.lower().endswith(".jsonl"):
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                try:
                    yield number, parse_json(line)
                except ValueError as error:
                    faults.add(
                        f"one JSON object in {place}, line {number}", str(error)[:200], "correct the line"
                    )
    else:
        yield from _csv_rows(files, faults, table, text)


def _json_rows(text: str, place: Path) -> Iterator[tuple[int, Any]]:
    """Yield the rows of a list of objects, of one object of captions by file name, or of COCO's lists."""
    try:
        content = parse_json(text)
    except ValueError as error:
        raise DataError(
            wanted=f"JSON in {place}", found=f"{type(error).__name__}: {error}"[:200], fix="correct the file"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        images = [row for row in content.get("images") or () if isinstance(row, dict)]
        names = {str(row.get("id")): row.get("file_name") for row in images}
        rows = [row for row in content["annotations"] if isinstance(row, dict)]
        content = [
            {"file_name": names.get(str(row.get("image_id"))), "text": row.get("caption")} for row in rows
        ]
    elif isinstance(content, dict):
        content = [{"file_name": file, "text": caption} for file, caption in content.items()]
    yield from enumerate(content if isinstance(content, list) else [content], start=1)


def _csv_rows(files: Archive, faults: Faults, table: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a table with any separator; a broken one ends at its line's end."""
    place, base = faults.place / table, table[: table.rfind("/") + 1]
    lines = io.StringIO(text, newline="").readlines()
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    given = re.match(r"sep=(.)\s*$", lines[first]) if lines else None  # as Excel writes it
    first += given is not None
    separator, columns = _columns(files, base, lines[first] if first < len(lines) else "", given and given[1])
    if not {*FILE}.intersection(columns) or not any(is_text(column) for column in columns):
        raise DataError(
            wanted=f"columns file_name and text in {place}, line {first + 1}",
            found=("the columns " + ", ".join(columns))[:200] if any(columns) else "no column",
            fix="name the columns of the files and of the captions so",
        )
    begin = first + (not _names_a_picture(files, base, lines[first], separator))
    reader = csv.reader(itertools.islice(lines, begin, None), delimiter=separator, strict=True)
    while True:
        start = begin + reader.line_num
        try:
            fields = next(reader, None)
            within = lines[start + 1 : begin + reader.line_num]
            if swallowed := sum(_names_a_picture(files, base, line, separator) for line in within):
                raise csv.Error(f"it holds {swallowed} more rows")
        except csv.Error as error:
            faults.add(
                f"a quote that is closed, in {place}, line {start + 1}",
                f"{error}: {lines[start].strip()[:80]!r}",
                'write captions as "..." on one line, quotes within them twice ("")',
            )
            begin = start + 1
            reader = csv.reader(itertools.islice(lines, begin, None), delimiter=separator, strict=True)
            continue
        if fields is None:
            return
        if len(fields) > len(columns):
            faults.add(
                f"as many fields as columns in {place}, line {start + 1}",
                f"{len(fields)} instead of {len(columns)}",
                "put captions that hold the separator in double quotes",
            )
        elif any(value.strip() for value in fields):
            yield start + 1, {column: value or None for column, value in zip(columns, fields, strict=False)}


def _columns(files: Archive, base: str, header: str, given: str | None) -> tuple[str, list[str]]:
    """Return the separator and the columns of a table, from its first line."""
    best: tuple[str, list[str]] = (",", [])
    for separator in [given] if given else [",", ";", "\t", "|"]:
        fields = _fields(header, separator)
        columns = [column_name(field) for field in fields]
        if {*FILE}.intersection(columns) and any(is_text(column) for column in columns):
            return separator, columns
        if len(fields) >= 2 and _names_a_picture(files, base, header, separator):  # no header: file, caption
            return separator, ["file_name", *(f"text_{number}" for number in range(1, len(fields)))]
        best = max(best, (separator, columns), key=lambda pair: len(pair[1]))
    return best


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _names_a_picture(files: Archive, base: str, line: str, separator: str) -> bool:
    """Whether a line begins as a row does: with a picture's name."""
    fields = _fields(line, separator)
    name = fields[0].strip().replace("\\", "/") if len(fields) > 1 else ""
    return is_picture(name) and (files.meant(base + name) or files.meant(name)) is not None


def is_text(column: str) -> bool:
    """Whether a column holds captions."""
    return re.sub(r"[_ ]?\d+$", "", column) in TEXT
