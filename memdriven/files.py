"""Files and folders that are whole or absent: atomic writes, hashes, and JSON with clear errors.

A writer works on a scratch path beside its target, `.NAME.scratch-...`, which it locks; what it made
becomes the target in one rename. A lock dies with its process, so whatever lies there unlocked was left by
a killed writer, and the next one removes it: scratch never piles up.
"""

import contextlib
import ctypes
import errno
import glob
import hashlib
import io
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from memdriven.errors import DataError, MemDrivenError, explained, require
from memdriven.numbers import parse_json, shown

try:
    import fcntl
except ImportError:  # Windows has no such locks: nothing is swept there
    fcntl = None  # type: ignore[assignment]

SEAL = "content_sha256"
"""The field of a JSON object that holds the hash of all others."""
PREVIOUS = "previous"
"""Where two folders cannot be exchanged at once, the old one waits in the scratch for its removal."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNWRITABLE = ["EACCES", "EROFS", "EPERM", "EISDIR", "ENOTDIR", "ENAMETOOLONG", "ELOOP"]
"""Errors of a path that cannot be written, whatever is done about the disk."""


def print_what_cannot_be_printed() -> None:
    """Let output of any letters go to any terminal or file: what its encoding lacks is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def explain_disk_errors(target: Path) -> Iterator[None]:
    """Turn a full disk, or a folder that refuses writing, into a `DataError` about `target`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            folder = next(each for each in target.absolute().parents if each.exists())
            found = f"a full disk ({shutil.disk_usage(folder).free / 1e6:.0f} MB free)"
            fix = "free some space or choose another folder; nothing half-written was left"
            raise DataError(f"room to write {target}", found, fix) from error
        if errno.errorcode.get(error.errno or 0) in _UNWRITABLE:
            raise _cannot_write(target, error) from error
        raise


def check_writable(path: Path) -> None:
    """Refuse a path that cannot be written, before the work whose result goes there; nothing is left.

    A DataError says why the nearest folder that exists takes no new file.
    """
    folder = path.absolute()
    while folder.is_file() or not os.path.lexists(folder):
        folder = folder.parent
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(target: Path, error: OSError) -> DataError:
    found = error.strerror or type(error).__name__
    return DataError(f"to write {target}", found, "choose another path, in a folder that you may write to")


@contextlib.contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a scratch file that becomes `path` when the block ends well, else vanishes.

    A reader of `path` sees the old content or the new, never a part.
    """
    path = Path(path)
    with explain_disk_errors(path), scratch_of(path, Path.touch) as scratch:
        yield scratch
        with scratch.open("rb+") as stream:
            os.fsync(stream.fileno())
        scratch.chmod(0o644)
        os.replace(scratch, path)


def atomic_write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    with atomic_file(path) as scratch:
        scratch.write_bytes(content)


def atomic_write_json(path: Path | str, content: Any) -> None:
    """Write JSON, indented and with a final newline, atomically."""
    atomic_write_bytes(path, _json(content).encode())


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


@contextlib.contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield a scratch folder that becomes `path` when the block ends well, else vanishes.

    A folder already at `path` is replaced only then.
    """
    path = Path(path)
    with explain_disk_errors(path), scratch_of(path, Path.mkdir) as scratch:
        new = scratch / "new"
        new.mkdir()
        yield new
        new.chmod(0o755)
        if not (path.exists() and _exchange(new, path)):
            if path.exists():
                os.replace(path, scratch / PREVIOUS)
            os.replace(new, path)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two paths in one step, as Linux can; false where that cannot be done."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


@contextlib.contextmanager
def scratch_of(target: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Make and lock a path beside `target`, removed when the block ends; first, what killed ones left is."""
    begin = f".{target.name}.scratch-"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f"{glob.escape(begin)}*"):
            _sweep(left, target)
        handle = None
        while handle is None:  # another process may sweep the path before it is locked
            path = target.with_name(f"{begin}{secrets.token_hex(4)}")
            make(path)
            handle = _lock(path)
    except (FileExistsError, FileNotFoundError) as error:
        raise _cannot_write(target, error) from error
    try:
        yield path
    finally:
        _remove(path)
        os.close(handle)


def remove_folder(folder: Path) -> None:
    """Remove a folder, whether or not a signal comes meanwhile; what cannot be removed stays."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(left: Path, target: Path) -> None:
    """Remove a scratch path, unless a living writer holds it; put right a swap that was killed."""
    if (handle := _lock(left)) is not None:
        if (left / PREVIOUS).exists() and not target.exists():  # killed between two renames
            os.replace(left / PREVIOUS, target)
        if fcntl:
            _remove(left)
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        remove_folder(path)
    else:
        path.unlink(missing_ok=True)


def _lock(path: Path) -> int | None:
    """Lock a path; None where another process holds it, or has removed it.

    Closing the handle that is returned gives the lock up, as the end of the process does.
    """
    if not fcntl:
        return os.open(os.devnull, os.O_RDONLY)
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:  # a disk without locks
        return handle
    os.close(handle)
    return None


@contextlib.contextmanager
def held(folder: Path, work: str) -> Iterator[None]:
    """Make a folder, if need be, and keep every other process out of it until the block ends.

    A DataError says that another does this `work` there now, or that the disk refuses writing.
    """
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = _lock(folder)
    wanted, fix = f"to be alone in {folder} for {work}", "wait until it has ended, or choose another folder"
    if handle is None:
        raise DataError(wanted, "another process that does the same there", fix)
    try:
        yield
    finally:
        os.close(handle)


def sha256_file(path: Path | str) -> str:
    """Return a file's SHA-256 as hexadecimal text."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def size_of(path: Path) -> int:
    """Return a file's size in bytes; a text's whichever line endings an editor or git has given it."""
    return path.stat().st_size if (text := _text(path)) is None else len(text)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256; a text's whichever line endings it has."""
    return sha256_file(path) if (text := _text(path)) is None else hashlib.sha256(text).hexdigest()


def _text(path: Path) -> bytes | None:
    return path.read_bytes().replace(b"\r\n", b"\n") if path.suffix in (".json", ".txt") else None


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with the SHA-256 of all else as its field `SEAL`, which `read_json` checks."""
    plain = {name: value for name, value in content.items() if name != SEAL}
    return plain | {SEAL: hashlib.sha256(_json(plain).encode(errors="surrogatepass")).hexdigest()}


def read_json(path: Path | str, kind: type[MemDrivenError], schema: str | None = None) -> dict[str, Any]:
    """Return the JSON object that a file holds, of a schema where one is named.

    An error of `kind` says that the file is missing, not JSON, no object, of another schema, or not as its
    seal says.
    """
    path, fix = Path(path), "restore the file from its source"
    with explained(kind, f"JSON in {path}", fix, ValueError, OSError):
        require(path.exists(), kind, f"the file {path}", "no such file", "check the path")
        content = parse_json(path.read_bytes())
    require(isinstance(content, dict), kind, f"a JSON object in {path}", type(content).__name__, fix)
    found, again = content.get("schema"), "use the version of memdriven that wrote it, or make it again"
    require(schema in (None, found), kind, f"schema {schema} in {path}", shown(found), again)
    if SEAL in content and content != sealed(content):
        fix += f", or delete its {SEAL} if you changed it yourself"
        raise kind(f"{path} with the content that its {SEAL} is of", "another content", fix)
    return dict(content)
