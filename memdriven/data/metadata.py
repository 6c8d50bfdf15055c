"""Reading `metadata.jsonl`, `metadata.csv` or `captions.jsonl`: what is in a folder's images."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memdriven.data.vocabulary import MAX_CHARACTERS
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
