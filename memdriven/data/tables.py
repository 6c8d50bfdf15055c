"""Tables of captions as people make them: any separator, names of columns as other tools have them.

`metadata.jsonl`, `.csv`, `.tsv` or `.json`; a list of objects, one object of captions by file name, or
COCO's lists. A broken row is a fault with its line, and the rows after it are read all the same.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memdriven.data.archive import Archive
from memdriven.data.images import ENDINGS
from memdriven.data.prepared import all_faults
from memdriven.errors import DataError
from memdriven.numbers import parse_json

TABLES = tuple(
    f"{name}.{ending}"
    for ending in ("jsonl", "csv", "tsv", "json", "txt")
    for name in ("metadata", "captions")
)
"""What a table of captions is called; another .jsonl, .csv or .tsv counts where it is the only one."""
FILE = ("file_name", "file", "filename", "image", "image_file", "image_path", "image_name", "path", "img")
TEXT = ("text", "caption", "captions", "prompt", "description", "comment", "sentences", "tags")
CLASS, BOX = ("class", "class_name", "class_id", "label", "category"), ("box", "bbox")
"""The columns, in whatever case; of several names the first that a row fills counts. Columns that
differ in a number (`caption 1`, `caption 2`) are captions of one picture."""
SPLITS = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""The words for splits, in column `split` and as folder names -> the splits."""

_MOST_FAULTS = 200
"""More are not looked for."""
_LINE = re.compile("\r\n|\r|\n")


class Faults:
    """All that is wrong with a folder: told at once, at the end."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.found: list[DataError] = []

    def add(self, wanted: str, found: str, fix: str) -> None:
        """Note what is wrong, and go on, unless there is too much of it."""
        self.found.append(DataError(wanted, found, fix))
        if len(self.found) >= _MOST_FAULTS:
            raise self.error()

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note the error that ends the block, if one does."""
        try:
            yield
        except DataError as error:
            self.add(error.wanted, error.found, error.fix)

    def error(self) -> DataError:
        """Return one error that names them all."""
        return all_faults(self.found, str(self.place))


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture."""
    return name.rstrip().lower().endswith(ENDINGS)


def decoded(content: bytes, place: Path) -> str:
    """Return the text of a file in UTF-8, UTF-16 or UTF-32, with a byte order mark or without."""
    try:
        if content.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
            raise ValueError("a spreadsheet or an archive")
        return content.decode(json.detect_encoding(content)).lstrip("\ufeff")
    except ValueError as error:
        at = getattr(error, "start", None)
        found = str(error) if at is None else f"other bytes in line {content[:at].count(10) + 1}"
        fix = "save the file as UTF-8 text (in Excel: CSV UTF-8)"
        raise DataError(f"UTF-8 text in {place}", found, fix) from error


def column_name(text: str) -> str:
    """Return a column's name as it is compared: lower case, underscores for blanks and hyphens."""
    return re.sub(r"[\s-]+", "_", text.strip().strip("\"'").lower())


def is_text(column: str) -> bool:
    """Whether a column holds captions."""
    return re.sub(r"[_ ]?\d+$", "", column) in TEXT


def plain_name(name: str) -> str:
    """Return a file's name as a row gives it without its number (`a.png#0`), with forward slashes."""
    return re.sub(r"#\d+$", "", name.strip()).replace("\\", "/")


def find_tables(files: Archive, place: Path) -> list[str]:
    """Return the source's own table, those of its split folders, or those one folder below."""
    base = ""
    for _ in range(6):
        inside = [name[len(base) :] for name in files.names if name.startswith(base)]
        folders = sorted({name.partition("/")[0] for name in inside if "/" in name})
        splits = [f"{folder}/" for folder in folders if folder.lower() in SPLITS]
        found = [table for folder in ("", *splits) if (table := _table(files, place, base + folder))]
        if found:
            return found
        if len(folders) != 1:
            break
        base += folders[0] + "/"  # all lies one folder further down, as archives are often packed
    named = [name for name in files.names if name.rpartition("/")[2].lower() in TABLES]
    return named if len(named) == 1 else []


def _table(files: Archive, place: Path, folder: str) -> str | None:
    inside = (name.removeprefix(folder) for name in files.names if name.startswith(folder))
    here = [name for name in inside if "/" not in name]
    named = [name for name in here if name.lower() in TABLES]
    tables = named or [name for name in here if name.lower().endswith((".jsonl", ".csv", ".tsv"))]
    if len(tables) > 1:
        raise DataError(
            f"one table of captions in {place / folder}",
            " and ".join(tables),
            "remove one of them, or call the right one metadata.csv",
        )
    return folder + tables[0] if tables else None


def read_rows(files: Archive, table: str, faults: Faults) -> Iterator[tuple[int, Any]]:
    """Yield a table's rows with their lines; note what cannot be read."""
    place = faults.place / table
    text = decoded(files.read(table), place)
    lines = _LINE.split(text)
    if not table.lower().endswith((".json", ".jsonl")):
        yield from _csv_rows(files, faults, table, text)
    elif _has_json_lines(table, lines):
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield number, parse_json(line)
                except ValueError as error:
                    wanted = f"one JSON object in {place}, line {number}"
                    faults.add(wanted, str(error)[:200], "correct the line")
    else:
        try:
            yield from enumerate(_json_rows(parse_json(text)), start=1)
        except ValueError as error:
            found = f"{type(error).__name__}: {error}"[:200]
            raise DataError(f"JSON in {place}", found, "correct the file") from error


def _has_json_lines(table: str, lines: list[str]) -> bool:
    """Whether a table is JSON lines: by its name, or as its first line is an object that names a picture."""
    first = next((line.strip() for line in lines if line.strip()), "")
    if table.lower().endswith(".jsonl"):
        return not first.startswith("[{")
    with contextlib.suppress(ValueError):
        row = parse_json(first)
        return isinstance(row, dict) and any(
            column_name(key) in FILE and isinstance(value, str) for key, value in row.items()
        )
    return False


def _json_rows(content: Any) -> list[Any]:
    """Return the rows of a list of objects, or of an object: of columns, of captions by name, of lists.

    Such lists are those of COCO, and of Karpathy's splits.
    """
    if not isinstance(content, dict):
        return content if isinstance(content, list) else [content]
    if isinstance(content.get("annotations"), list):
        images = content.get("images")
        images = [row for row in images if isinstance(row, dict)] if isinstance(images, list) else []
        names = {str(row.get("id")): row.get("file_name") for row in images}
        return [
            {"file_name": names.get(str(row.get("image_id"))), "text": row.get("caption")}
            for row in content["annotations"]
            if isinstance(row, dict)
        ]
    named = [key for key in content if column_name(key) in FILE]
    if any(isinstance(content[key], list | dict) for key in named):
        columns = {key: v for key, v in content.items() if isinstance(v, list | dict)}
        values = [list(v.values()) if isinstance(v, dict) else v for v in columns.values()]
        return [dict(zip(columns, row, strict=True)) for row in itertools.zip_longest(*values)]
    if named:
        return [content]  # of one picture
    lists = [v for v in content.values() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)]
    if lists:
        return list(itertools.chain.from_iterable(lists))
    return [
        {"file_name": file, **(about if isinstance(about, dict) else {"text": about})}
        for file, about in content.items()
    ]


def _csv_rows(files: Archive, faults: Faults, table: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a table with any separator; a broken one ends at its line's end."""
    place, base = faults.place / table, table[: table.rfind("/") + 1]
    lines = io.StringIO(text, newline="").readlines()
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    given = re.match(r'"?sep=(.)"?\s*$', lines[first]) if lines else None  # as Excel writes it
    first += given is not None
    header = lines[first] if first < len(lines) else ""
    separator, columns = _columns(files, base, header, given[1] if given else ",;\t|")
    if not {*FILE}.intersection(columns) or not any(is_text(column) for column in columns):
        raise DataError(
            f"columns file_name and text in {place}, line {first + 1}",
            ("the columns " + ", ".join(columns))[:200] if any(columns) else "no column",
            "name the columns of the files and of the captions so",
        )
    if twice := next((name for name in columns if name in FILE and columns.count(name) > 1), None):
        raise DataError(
            f"one column {twice} in {place}, line {first + 1}",
            f"{columns.count(twice)} of them",
            "remove or rename the others",
        )
    columns = [
        f"{name}_{number}" if is_text(name) and name in columns[:number] else name
        for number, name in enumerate(columns)
    ]

    def rows_from(number: int) -> Any:
        rest = itertools.islice(lines, number, None)
        return csv.reader(rest, delimiter=separator, strict=True, skipinitialspace=True)

    begin = first + (not _names_a_picture(files, base, lines[first], separator))
    reader = rows_from(begin)
    while True:
        start = begin + reader.line_num
        try:
            fields = next(reader, None)
            within = lines[start + 1 : begin + reader.line_num]
            if swallowed := sum(_names_a_picture(files, base, line, separator) for line in within):
                raise csv.Error(f"it holds {swallowed} more rows")
        except csv.Error as error:
            quoted = "a quote that is closed" if '"' in lines[start] else "a readable row"
            faults.add(
                f"{quoted}, in {place}, line {start + 1}",
                f"{error}: {lines[start].strip()[:80]!r}",
                'write captions as "..." on one line, quotes within them twice ("")',
            )
            begin = start + 1
            reader = rows_from(begin)
            continue
        if fields is None:
            return
        while len(fields) > len(columns) and not fields[-1].strip():
            fields.pop()  # separators at the ends of rows alone
        if len(fields) > len(columns):
            faults.add(
                f"as many fields as columns in {place}, line {start + 1}",
                f"{len(fields)} instead of {len(columns)}",
                "put captions that hold the separator in double quotes",
            )
        elif any(value.strip() for value in fields):
            yield start + 1, {column: value or None for column, value in zip(columns, fields, strict=False)}


def _columns(files: Archive, base: str, header: str, separators: str) -> tuple[str, list[str]]:
    """Return the separator and the columns of a table, from its first line."""
    best: tuple[str, list[str]] = (",", [])
    for separator in separators:
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
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return []


def _names_a_picture(files: Archive, base: str, line: str, separator: str) -> bool:
    """Whether a line begins as a row does: with a picture's name."""
    fields = _fields(line, separator)
    name = plain_name(fields[0]) if len(fields) > 1 else ""
    return is_picture(name) and (files.meant(base + name) or files.meant(name)) is not None
