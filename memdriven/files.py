"""Files that are whole or absent: atomic writes, hashes, and JSON with clear errors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memdriven.errors import DataError, MemDrivenError


@contextlib.contextmanager
def explain_disk_errors(target: Path) -> Iterator[None]:
    """Turn a full disk, or a folder that refuses writing, into a `DataError` about `target`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                wanted=f"room to write {target}",
                found=f"a full disk ({_free_space(target)} free)",
                fix="free some space or choose another folder; nothing half-written was left",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise DataError(
                wanted=f"to write {target}",
                found=error.strerror or "no permission",
                fix="choose a folder that you may write to",
            ) from error
        raise


def _free_space(target: Path) -> str:
    folder = target.absolute()
    while not folder.exists():
        folder = folder.parent
    return f"{shutil.disk_usage(folder).free / 1e6:.0f} MB"


def atomic_write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises:
        DataError: the disk is full or refuses writing; the old file is untouched.
    """
    path = Path(path)
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise


def atomic_write_json(path: Path | str, content: Any) -> None:
    """Write JSON, indented and with a final newline, atomically."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write_bytes(path, (text + "\n").encode())


@contextlib.contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield a scratch folder that becomes `path` when the block ends well, else vanishes.

    A folder already at `path` is replaced only then.
    """
    path = Path(path)
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield scratch
            scratch.chmod(0o755)
            if path.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
                os.replace(path, old / "previous")
                os.replace(scratch, path)
                shutil.rmtree(old, ignore_errors=True)
            else:
                os.replace(scratch, path)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise


def sha256_file(path: Path | str) -> str:
    """Return a file's SHA-256 as hexadecimal text."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(path: Path | str, kind: type[MemDrivenError]) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        MemDrivenError: of `kind`, when the file is missing, not JSON, or not an object.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise kind(wanted=f"the file {path}", found="no such file", fix="check the path") from None
    except (ValueError, OSError, RecursionError) as error:
        raise kind(
            wanted=f"JSON in {path}",
            found=f"{type(error).__name__}: {error}"[:200],
            fix="restore the file from its source",
        ) from error
    if not isinstance(content, dict):
        raise kind(
            wanted=f"a JSON object in {path}",
            found=type(content).__name__,
            fix="restore the file from its source",
        )
    return content
