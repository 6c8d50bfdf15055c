"""Tables of captions as people make them: any separator, names of columns as other tools have them.

`metadata.jsonl`, `.csv`, `.tsv` or `.json`; a list of objects, one object of captions by file name, or
COCO's lists. A broken row is a fault with its line, and the rows after it are read all the same.
"""

import contextlib
import csv
import io
import itertools
import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from memdriven.data.archive import Archive
from memdriven.data.names import (
    FILE,
    FILES,
    SPLITS,
    TEXT,
    is_empty,
    is_picture,
    kind_of,
    split_of_name,
    with_endings,
)
from memdriven.data.vocabulary import clean
from memdriven.errors import DataError, require
from memdriven.numbers import in_range, json_value, parse_json

TABLES = tuple(
    name + ending for ending in (*FILES["separated"], ".json", ".txt") for name in ("metadata", "captions")
)
"""What a table of captions is called; where there is none, another that describes pictures counts
(`labels.csv`, `captions_val2017.json`, `meta_cap.json`)."""
Row = dict[str, Any]
"""Columns by `column_name`; what is empty is None."""
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_LIST = re.compile(rf"\[(?:[\s,]*(?:{_QUOTED}))+[\s,]*\]", re.DOTALL)
"""A list of texts as Python, JSON or NumPy write it, which `pandas` puts into a field."""
_Fault = Callable[[int, str, str, str], None]
"""Notes a line (0 for the whole file), what was wanted of it, what was found, and what to do."""


class Faults(list[DataError]):
    """All that is wrong with a folder: told at once, at the end."""

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note the error that ends the block, if one does."""
        try:
            yield
        except DataError as error:
            self.append(error)


def all_faults(faults: Sequence[DataError], place: str) -> DataError:
    """Return one error that names all faults of a source, twenty in full.

    Of those that differ in their lines alone one is told in full, with the lines of twenty others.
    """
    if len(faults) == 1:
        return faults[0]
    alike: dict[str, list[DataError]] = defaultdict(list)
    for fault in faults:
        alike[re.sub(r"line \d+(, column \d+)?", "", f"{fault.wanted}: {fault.found}")].append(fault)
    lines = [f"{len(faults)} faults:"]
    for first, *others in list(alike.values())[:20]:
        places = [fault.wanted.rpartition(", ")[2] for fault in others[:20]]
        more = f" and {len(others) - 20} more" if len(others) > 20 else ""
        likewise = f"; likewise {', '.join(places)}{more}" if others else ""
        lines.append(f"{first.wanted}: {first.found}{likewise}")
    lines += [f"and {len(alike) - 20} more"] if len(alike) > 20 else []
    fix = f"{faults[0].fix}; and the like for the others, or leave them out with --skip-faults"
    return DataError(f"no faults in {place}", "\n  ".join(lines), fix)


def decoded(content: bytes, place: Path) -> str:
    """Return the text of a file in UTF-8, UTF-16 or UTF-32, with a byte order mark or without."""
    if kind := kind_of("", content):
        raise DataError(f"UTF-8 text in {place}", kind.what, kind.fix)
    try:
        return content.decode(json.detect_encoding(content)).lstrip("\ufeff")
    except ValueError as error:
        at = getattr(error, "start", None)
        found = str(error) if at is None else f"other bytes in line {content[:at].count(10) + 1}"
        fix = "save the file as UTF-8 text (in Excel: CSV UTF-8)"
        raise DataError(f"UTF-8 text in {place}", found, fix) from error


def column_name(text: str) -> str:
    """Return a column's name as it is compared: lower case, an underscore between words, no remark."""
    text = re.sub(r"[\[(].*", "", text).strip("\"'# \t\r\n\ufeff")
    return re.sub(r"[\s-]+|(?<=[a-z])(?=[A-Z])", "_", text).lower()


def is_text(column: str) -> bool:
    """Whether a column holds captions."""
    return re.sub(r"[_ ]?\d+$", "", column) in TEXT


def plain_name(name: str) -> str:
    """Return a file's name as a row gives it without its number (`a.png#0`), with forward slashes."""
    return re.sub(r"(\.\w+)#\d+$", r"\1", name.strip()).replace("\\", "/")


def listed(value: Any) -> list[Any]:
    """Return a field's captions: one, or those of a list that was written as text (`['a cat', 'a pet']`)."""
    if isinstance(value, str) and _LIST.fullmatch(value.strip()):
        return [re.sub(r"\\(.)", r"\1", text[1:-1]) for text in re.findall(_QUOTED, value)]
    return [value]


def first_of(row: Row, names: Sequence[str]) -> Any:
    """Return what a row says in the first of some columns that it fills."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def split_of_word(value: Any) -> str | None:
    """Return the split that a field says; None where it says none."""
    return SPLITS.get(value.strip().lower()) if isinstance(value, str) else None


def class_of(value: Any) -> str | None:
    """Return a class's name; whole numbers with a point are pandas', of a column with gaps."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    name = re.sub(r"^(\d+)\.0$", r"\1", str(value).strip())
    return None if isinstance(value, float) and "." in name else clean(name).strip()[:200]


def numbers_of(value: Any, count: int = 4) -> tuple[float, ...] | None:
    """Return the numbers of a field, a list or a text; None where it has not so many, or odd ones."""
    sides = value if isinstance(value, list) else re.split(r"[\s,;]+", str(value).strip("[]() "))
    with contextlib.suppress(ValueError):
        numbers = tuple(float(side) if isinstance(side, str) else side for side in sides)
        if len(numbers) == count and all(in_range(side, -1e6, 1e6) for side in numbers):
            return numbers
    return None


def captions_of(text: str) -> list[str]:
    """Return the captions in the JSON that some tools write beside a picture: an object's, or all it is."""
    with contextlib.suppress(ValueError):
        found = parse_json(text)
        if isinstance(found, dict):
            row = {column_name(key): value for key, value in found.items() if not is_empty(value)}
            found = first_of(row, TEXT)
        return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, str)]
    return []


def find_tables(files: Archive, place: Path) -> tuple[list[str], list[str]]:
    """Return the tables of the folder that holds all files and of its split folders, or else of any.

    A folder's table is the one that is called so, or else the one whose first row describes a picture, or one
    for each split. Those of other columns come second: of captions, with columns of unknown names, or of
    something else.
    """
    base = posixpath.commonpath([posixpath.dirname(name) for name in files.names] or [""])
    tables: dict[bool, dict[str, list[str]]] = {True: {}, False: {}}
    others = []
    for name in files.names:
        folder, last = name[: name.rfind("/") + 1], name.rpartition("/")[2].lower()
        near = folder[len(base) :].strip("/").lower() in ("", *SPLITS)
        picture, caption = _first_row_has(files, name)
        if last in TABLES or (picture and caption):
            tables[near].setdefault(folder, []).append(name)
        elif near and (picture or last.endswith(FILES["separated"])):
            others.append(name)
    found = []
    for folder, names in (tables[True] or tables[False]).items():
        named = [name for name in names if name.rpartition("/")[2].lower() in TABLES] or names
        fix = "remove one of them, call the right one metadata.csv, or name them by their splits"
        wanted, several = f"one table of captions in {place / folder}", " and ".join(named)[:300]
        splits = {*map(split_of_name, named)}
        one_each = None not in splits and len(splits) == len(named)
        require(len(named) == 1 or one_each, DataError, wanted, several, fix)
        found += named
    return found, others


def _first_row_has(files: Archive, name: str) -> tuple[bool, bool]:
    """Return whether a table's first row names a picture, and whether it has a caption.

    JSON beside the picture that it tells of has no rows.
    """
    stem = name[: name.rfind(".")]
    if name.lower().endswith((*FILES["separated"], ".json")) and not any(
        map(files.meant, (stem, *with_endings(stem)))
    ):
        with contextlib.suppress(DataError):
            for _, row in itertools.islice(read_rows(files, name, Path(name), Faults()), 1):
                file = plain_name(
                    next((row[column] for column in FILE if isinstance(row.get(column), str)), "")
                )
                picture = is_picture(file) or any(map(files.find, with_endings(file) if file else ()))
                return picture, any(map(is_text, row))
    return False, False


def read_rows(files: Archive, table: str, place: Path, faults: Faults) -> Iterator[tuple[int, Row]]:
    """Yield a table's rows with their lines; note what cannot be read. `place` is for messages."""
    text, base = decoded(files.read(table), place), table[: table.rfind("/") + 1]

    def is_file(name: str) -> bool:
        return is_picture(name) and any(map(files.meant, (base + name, name, files.find(name) or name)))

    def fault(line: int, wanted: str, found: str, fix: str) -> None:
        faults.append(DataError(f"{wanted} in {place}" + f", line {line}" * (line > 0), found, fix))

    is_json = table.lower().endswith((".json", ".jsonl", ".ndjson")) or text.lstrip()[:1] in ("{", "[")
    for line, values in _json_rows(text, fault) if is_json else _csv_rows(text, is_file, fault):
        if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
            values = dict(zip(_unnamed(len(values)), values, strict=True))
        if isinstance(values, dict):
            blank = (is_empty(value) for value in values.values())
            names = map(column_name, map(str, values))
            yield line, {n: None if b else v for n, v, b in zip(names, values.values(), blank, strict=True)}
        else:
            fix = 'write {"file_name": "a.jpg", "text": "a small red bird"}'
            fault(line, "an object with file_name and text", type(values).__name__, fix)


def _unnamed(columns: int) -> list[str]:
    """Return the columns of a row without names: the file's, and captions."""
    return ["file_name", *(f"text_{number}" for number in range(1, columns))]


# ---- JSON ----------------------------------------------------------------------------------------


_BETWEEN = re.compile(r"(?:[\s,\]\0\x1a]|\[(?=\s*\{))*")
"""What lies between the objects of a list, or of lines that became one."""
_NEXT = re.compile(r"^[ \t]*[{\[]", re.MULTILINE), re.compile(r"^(?:[ \t]*[{\[]|[^\s}\]])", re.MULTILINE)
"""How a line begins at which the next value may begin: behind a broken one of several lines, or of one."""


def _json_rows(text: str, fault: _Fault) -> Iterator[tuple[int, Any]]:
    """Yield the rows of JSON, however its lines are broken: a list, an object, or objects without a list.

    A value that is no JSON is one fault, at the line where it begins.
    """
    values, at, line = [], 0, 1
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    while (start := _BETWEEN.match(text, at).end()) < len(text):  # type: ignore[union-attr]
        line += text.count("\n", at, start)
        try:
            value, at = _json_value(text, start)
            values.append((line, value))
        except ValueError as error:
            found, fix = (
                str(error),
                "names and texts in double quotes, commas between, plain numbers, no comments",
            )
            if isinstance(error, json.JSONDecodeError):
                found = f"{error.msg}: line {line + error.lineno - 1}, column {error.colno}"
            fault(line, "JSON, an object a picture,", found[:200], f"correct it: {fix}")
            end = text.find("\n", start)
            whole = text[start] not in "{[" or re.search(r"[}\]],?[ \t]*$", text[start : max(end, start)])
            begin = _NEXT[bool(whole)].search(text, end + 1) if end >= 0 else None
            at = begin.start() if begin else len(text)
        line += text.count("\n", start, at)
    if text.lstrip()[:1] == "[" and text.rstrip()[-1:] != "]":
        fault(line, "the list's end", "no ]", "look whether the file was cut short")
    if len(values) == 1:
        yield from enumerate(_rows_of(values[0][1]), values[0][0])
    else:
        yield from values


def _json_value(text: str, start: int) -> tuple[Any, int]:
    """Return the value at a place, and where it ends: looked for in more lines as long as it is unfinished.

    In all of them at once a table of broken lines would take time that grows with its square.
    """
    size = 1
    while True:
        end = text.find("\n", start + size)
        part = text[start : end if end >= 0 else len(text)]
        try:
            value, length = json_value(part, 0)
            return value, start + length
        except json.JSONDecodeError as error:
            if end < 0 or (error.pos < len(part) and not error.msg.startswith("Unterminated")):
                raise
        size = 2 * len(part)


def _rows_of(content: Any) -> list[Any]:
    """Return the rows of a list of objects, or of an object: of columns, of captions by name, of lists.

    Such lists are those of COCO, and of Karpathy's splits.
    """
    if not isinstance(content, dict):
        of_rows = isinstance(content, list) and not any(isinstance(each, str) for each in content)
        return content if of_rows else [content]
    if isinstance(content.get("annotations"), list):
        images = content.get("images")
        images = [row for row in images if isinstance(row, dict)] if isinstance(images, list) else []
        names = {str(row.get("id")): row.get("file_name") for row in images}
        notes = [row for row in content["annotations"] if isinstance(row, dict)]
        captions = [{TEXT[0]: row["caption"]} if "caption" in row else {} for row in notes]
        ids = [row.get("image_id") for row in notes]
        return [{FILE[0]: names.get(str(id_), id_), **c} for id_, c in zip(ids, captions)]
    named = [content[key] for key in content if column_name(key) in FILE]
    if any(isinstance(value, list | dict) for value in named):
        columns = {key: v for key, v in content.items() if isinstance(v, list | dict)}
        values = (v.values() if isinstance(v, dict) else v for v in columns.values())
        return [dict(zip(columns, row, strict=True)) for row in itertools.zip_longest(*values)]
    if named or any(is_text(column_name(key)) for key in content):
        return [content]  # of one picture
    lists = {
        k: v for k, v in content.items() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)
    }
    splits = {
        k: {"split": k} if split_of_word(k) else {} for k in lists
    }  # a list each, as `datasets` has them
    by_name = ({FILE[0]: k, **(v if isinstance(v, dict) else {TEXT[0]: v})} for k, v in content.items())
    return [splits[k] | row for k, rows in lists.items() for row in rows] or list(by_name)


# ---- Separated columns ---------------------------------------------------------------------------


def _csv_rows(
    text: str, is_file: Callable[[str], bool], fault: _Fault
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a table with any separator; a broken one ends at its line's end."""
    lines = io.StringIO(text, newline="").readlines()

    def fields_of(line: str, separator: str) -> list[str]:
        with contextlib.suppress(csv.Error):
            return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        return []

    def names_a_picture(line: str, separator: str) -> bool:
        """Whether a line begins as a row does: with a picture's name."""
        fields = fields_of(line, separator)
        return len(fields) > 1 and is_file(plain_name(fields[0]))

    first = next((number for number, line in enumerate(lines) if re.match(r"\s*[^\s#]", line)), 0)
    given = re.match(r'"?sep=(.)"?\s*$', lines[first]) if lines else None  # as Excel writes it
    first += given is not None
    header = lines[first] if first < len(lines) else ""
    separators = given[1] if given else ",;\t|"
    options = {one: [column_name(name) for name in fields_of(header, one)] for one in separators}
    headed = [one for one, names in options.items() if {*FILE} & {*names} and any(map(is_text, names))]
    bare = [one for one in options if names_a_picture(header, one)]  # no header: file, caption
    separator = next(iter(headed + bare), max(options, key=lambda one: len(options[one])))
    columns = options[separator]
    if bare and not headed:
        columns, first = _unnamed(len(columns)), first - 1
    twice = next((name for name in columns if name in FILE and columns.count(name) > 1), None)
    if twice or not (headed or bare):
        found = ("the columns " + ", ".join(columns))[:200] if any(columns) else "an empty file"
        fix = "name the columns of files and captions so, each once, with , ; | or a tab between them"
        fault(first + 1, f"one column {twice or 'file_name and one text'}", found, fix)
        return
    names = columns
    # Of captions in columns of one name each counts.
    columns = [f"{c}_{n}" if is_text(c) and c in columns[:n] else c for n, c in enumerate(columns)]

    start = first + 1
    while start < len(lines):
        below = (lines[number] for number in range(start, len(lines)))
        rows = csv.reader(below, delimiter=separator, strict=True, skipinitialspace=True)
        line = start + 1
        try:
            fields = next(rows)
            inside = lines[line : start + rows.line_num]
            if swallowed := sum(names_a_picture(one, separator) for one in inside):
                raise csv.Error(f"it holds {swallowed} more rows")
        except csv.Error as error:
            wanted = "a quote that is closed" if '"' in lines[start] else "a readable row"
            fix = 'write captions as "..." on one line, quotes within them twice ("")'
            fault(line, wanted, f"{error}: {lines[start].strip()[:80]!r}", fix)
            start += 1
            continue
        start += rows.line_num
        while len(fields) > len(columns) and not fields[-1].strip():
            fields.pop()  # separators at the ends of rows alone
        if [column_name(field) for field in fields] == names or not re.search(r"\w", "".join(fields)):
            continue  # the header again, as where tables were joined, or a rule
        if len(fields) > len(columns):
            fix = 'put captions that hold the separator in straight double quotes, "..."'
            fault(line, "as many fields as columns", f"{len(fields)} instead of {len(columns)}", fix)
        else:
            yield line, dict(zip(columns, fields, strict=False))
