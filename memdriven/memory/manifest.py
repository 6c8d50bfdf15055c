"""The header of a folder of files: schema, facts, and size and SHA-256 of every file beside it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memdriven.errors import BankError
from memdriven.files import explain_disk_errors, read_json, sealed, sha256_file


def write_manifest(folder: Path, name: str, schema: str, facts: dict[str, Any], files: Iterable[str]) -> None:
    """Write the header `name` over files that already lie in `folder`.

    The text depends on the content alone (no clock, no paths), so equal folders have equal bytes.
    """
    listing = {
        file: {"bytes": (folder / file).stat().st_size, "sha256": sha256_file(folder / file)}
        for file in sorted(files)
    }
    content = sealed({"schema": schema, **facts, "files": listing})
    with explain_disk_errors(folder):
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path, name: str, schema: str, files: Iterable[str]) -> dict[str, Any]:
    """Return a folder's header after checking its schema and the size of every file.

    Raises:
        BankError: the folder, the header or a file is missing, foreign or truncated.
    """
    if not folder.is_dir():
        raise BankError(
            wanted=f"the folder {folder}", found="no such folder", fix="check the path, or build it first"
        )
    header = read_json(folder / name, BankError)
    if header.get("schema") != schema:
        raise BankError(
            wanted=f"schema {schema} in {folder / name}",
            found=repr(header.get("schema"))[:80],
            fix="use the version that wrote it, or build again",
        )
    for file in files:
        path = folder / file
        found = path.stat().st_size if path.is_file() else None
        wanted = _entry(header, file, path).get("bytes")
        if found is None or found != wanted:
            raise BankError(
                wanted=f"{path} of {wanted} bytes",
                found="no such file" if found is None else f"{found} bytes",
                fix="copy the whole folder again, or build it again",
            )
    return header


def verify_manifest(folder: Path, header: dict[str, Any], files: Iterable[str]) -> None:
    """Compare every file's SHA-256 with the header.

    Raises:
        BankError: a file's content is not what was written.
    """
    for file in files:
        path = folder / file
        wanted = _entry(header, file, path).get("sha256")
        found = sha256_file(path) if path.is_file() else "no such file"
        if found != wanted:
            raise BankError(
                wanted=f"{path} with SHA-256 {wanted}",
                found=found,
                fix="copy the whole folder again, or build it again",
            )


def refuse_other(path: Path, role: str, found: Any, wanted: str | None) -> None:
    """Refuse what was made by another encoder.

    Raises:
        BankError: `wanted` is given and differs; both hashes are named.
    """
    if wanted is not None and found != wanted:
        raise BankError(
            wanted=f"{path} made with the {role} {wanted}",
            found=f"{role} {found}",
            fix="build it again with the encoder in use",
        )


def count(header: dict[str, Any], name: str, path: Path, least: int = 1) -> int:
    """Return a whole number of the header.

    Raises:
        BankError: it is absent, not a whole number, or less than `least`.
    """
    value = header.get(name)
    if type(value) is not int or value < least:
        raise BankError(
            wanted=f"a whole number {name!r} >= {least} in {path}",
            found=repr(value)[:80],
            fix="build it again",
        )
    return value


def write_offsets(path: Path, sizes: Sequence[int]) -> None:
    """Write the n + 1 byte positions of n parts that lie end to end.

    The array goes through memory: `np.save` to a file would hide that a disk is full.
    """
    offsets, content = np.zeros(len(sizes) + 1, np.int64), io.BytesIO()
    np.cumsum(sizes, out=offsets[1:])
    np.save(content, offsets, allow_pickle=False)
    path.write_bytes(content.getvalue())


def read_offsets(path: Path, n: int, size: int) -> NDArray[np.int64]:
    """Return n + 1 byte positions that rise from 0 to `size`.

    Raises:
        BankError: the file does not hold these.
    """
    try:
        offsets = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BankError(
            wanted=f"byte positions in {path}", found=str(error)[:120], fix="build it again"
        ) from error
    if not (
        offsets.shape == (n + 1,)
        and offsets.dtype == np.int64
        and offsets[0] == 0
        and offsets[-1] == size
        and (np.diff(offsets) >= 0).all()
    ):
        raise BankError(
            wanted=f"{n + 1} byte positions from 0 to {size} in {path}",
            found=f"{offsets.dtype} {offsets.shape}",
            fix="build it again",
        )
    checked: NDArray[np.int64] = offsets
    return checked


def _entry(header: dict[str, Any], file: str, path: Path) -> dict[str, Any]:
    files = header.get("files")
    entry = files.get(file) if isinstance(files, dict) else None
    if not isinstance(entry, dict):
        raise BankError(
            wanted=f"size and hash of {path} in the header", found="no such entry", fix="build it again"
        )
    return entry
