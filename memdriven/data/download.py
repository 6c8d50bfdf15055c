"""Official files: fetched on from where they were cut, and checked before anything reads them.

`torch.hub.download_url_to_file` begins a broken download again, which 13 GB do not bear.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from memdriven.errors import DataError
from memdriven.files import atomic_write_bytes, explain_disk_errors

BLOCK = 1 << 20


def sha256_with_progress(path: Path, name: str, progress: bool) -> str:
    """Return a file's SHA-256 as hexadecimal text, showing a bar when it takes over a second."""
    digest = hashlib.sha256()
    with (
        path.open("rb") as stream,
        tqdm(
            total=path.stat().st_size,
            desc=f"checking {name}",
            unit="B",
            unit_scale=True,
            disable=not progress,
            delay=1,
        ) as bar,
    ):
        while block := stream.read(BLOCK):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()


def write_note(path: Path, sha256: str) -> None:
    """Write `<name>.sha256`, in the format of the command `sha256sum`."""
    atomic_write_bytes(_note(path), f"{sha256}  {path.name}\n".encode())


def read_note(path: Path) -> str | None:
    """Return a file's noted SHA-256, or None where there is none or the file changed since."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        note = _note(path)
        sha256 = note.read_text(encoding="utf-8").partition(" ")[0]
        unchanged = note.stat().st_mtime_ns >= path.stat().st_mtime_ns
        return sha256 if unchanged and re.fullmatch("[0-9a-f]{64}", sha256) else None
    return None


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as dead."""
TRIES = 4
"""Connections in a row that bring nothing before a download gives up."""
PAUSE = 1.0
"""Seconds before the second of these; each later pause is twice as long."""
_PASSING = (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS)


@dataclass(frozen=True)
class Remote:
    """A file on an official host."""

    url: str
    size: int | None = None
    """Bytes, where they are published or widely recorded."""
    sha256: str | None = None
    """None: no sum is known; the one found is then written beside the file, and told."""

    @property
    def name(self) -> str:
        """The file's name."""
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True)
class ByHand:
    """A file that only a person can fetch, because its host serves browsers alone."""

    name: str
    page: str
    option: str
    """The command-line option that takes it."""

    def find(self, folder: Path) -> Path:
        """Return the file in a download folder.

        Raises:
            DataError: it is not there; the message is the manual step.
        """
        if not (folder / self.name).is_file():
            raise DataError(
                f"{self.name}, which its host gives to browsers only: {self.page}",
                f"no such file in {folder}",
                f"open that page, download the file, and give it with {self.option} PATH "
                f"(or move it into {folder})",
            )
        return folder / self.name


def fetch_all(files: Sequence[Remote], folder: Path, progress: bool = True) -> list[Path]:
    """Download several files, the smallest first; see `fetch`.

    Raises:
        DataError: as `fetch`, or all of them do not fit on the disk.
    """
    missing = [file for file in files if not (folder / file.name).is_file()]
    wanted = sum((file.size or 0) - _length(_partial(folder / file.name)) for file in missing)
    _check_room(folder, wanted)
    order = sorted(files, key=lambda file: (file.size or 0, file.url))
    found = {file.url: fetch(file, folder, progress) for file in order}
    return [found[file.url] for file in files]


def fetch(file: Remote, folder: Path, progress: bool = True) -> Path:
    """Download a file, or return the one that is there already, once its SHA-256 is right.

    Bytes are collected in `<name>.partial`; a later call goes on after them (HTTP Range), as does
    this one after a broken connection. The sum is written to `<name>.sha256`, so that a file is
    read through once only.

    Args:
        file: what to fetch.
        folder: where it goes.
        progress: show bars.

    Raises:
        DataError: the host is down or refuses, the content is not what was published, or the disk
            is full or refuses writing.
    """
    target = folder / file.name
    with explain_disk_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
        if not target.is_file():
            partial = _partial(target)
            _check_room(folder, (file.size or 0) - _length(partial))
            _complete(file, partial, progress)
            found = _check(file, partial, progress)
            os.replace(partial, target)
            write_note(target, found)
        elif not _was_checked(file, target):
            write_note(target, _check(file, target, progress))
    return target


def _partial(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _complete(file: Remote, partial: Path, progress: bool) -> None:
    """Bring `partial` to its full length over as many connections as that takes."""
    failures = 0
    while True:
        before = _length(partial)
        try:
            if _receive(file, partial, progress):
                return
            problem: Exception = EOFError("the connection ended early")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in _PASSING:
                raise _unreachable(file, partial, f"HTTP {error.code} {error.reason}") from error
            problem = error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and _is_disk(error):
                raise
            problem = error
        failures = 1 if _length(partial) > before else failures + 1
        if failures >= TRIES:
            raise _unreachable(file, partial, _plain(problem)) from problem
        time.sleep(PAUSE * 2 ** (failures - 1))


def _receive(file: Remote, partial: Path, progress: bool) -> bool:
    """Append what one connection brings; return whether the file is whole now."""
    start = _length(partial)
    if file.size is not None and start == file.size:
        return True
    request = urllib.request.Request(file.url, headers={"User-Agent": "memdriven"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        error.close()
        partial.unlink()  # longer than the file is now: begin again
        return False
    with answer:
        start, end = _extent(answer, start)
        with (
            partial.open("r+b" if start else "wb") as stream,
            tqdm(
                total=end, initial=start, desc=file.name, unit="B", unit_scale=True, disable=not progress
            ) as bar,
        ):
            stream.seek(start)
            stream.truncate()
            while block := answer.read(BLOCK):
                stream.write(block)
                bar.update(len(block))
            length = stream.tell()
    return length == end if end is not None else file.size in (None, length)


def _extent(answer: Any, asked: int) -> tuple[int, int | None]:
    """Return where an answer's bytes begin, and the file's length where the server tells."""
    length = answer.headers.get("Content-Length")
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0, int(length) if length else None  # no ranges here: everything comes again
    span = str(answer.headers.get("Content-Range", ""))
    begin = span.removeprefix("bytes ").partition("-")[0]
    if begin != str(asked):
        raise http.client.HTTPException(f"bytes {asked}- asked for, {span!r} came")
    return asked, asked + int(length) if length else None


def _check(file: Remote, path: Path, progress: bool) -> str:
    """Compare a file's SHA-256 with the published one, and return it; a wrong download goes."""
    found, size = sha256_with_progress(path, file.name, progress), _length(path)
    if file.sha256 is None:
        tqdm.write(f"{file.name}: SHA-256 {found}; none is published to compare it with")
    elif found != file.sha256:
        removed = path.suffix == ".partial"
        if removed:
            path.unlink()
        raise DataError(
            f"{file.name} with SHA-256 {file.sha256}",
            f"{size:,} bytes with SHA-256 {found}",
            ("" if removed else f"remove {path}, then ")
            + f"try again; if that repeats, fetch {file.url} yourself and give it with "
            "--archive PATH",
        )
    return found


def _was_checked(file: Remote, path: Path) -> bool:
    noted = read_note(path)
    return noted is not None and file.size in (None, _length(path)) and file.sha256 in (None, noted)


def _check_room(folder: Path, wanted: int) -> None:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if wanted > free:
        raise DataError(
            f"{wanted / 1e9:.1f} GB of room for archives in {folder}",
            f"{free / 1e9:.1f} GB free",
            "free some space, or choose another folder with --downloads",
        )


def _is_disk(error: OSError) -> bool:
    """Tell a full or refusing disk from a failing network."""
    refusals = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)
    return error.errno in refusals and not isinstance(error, urllib.error.URLError | ssl.SSLError)


def _unreachable(file: Remote, partial: Path, found: str) -> DataError:
    size = f" ({file.size / 1e6:,.0f} MB)" if file.size else ""
    kept = _length(partial)
    again = f"; {kept / 1e6:,.0f} MB are kept, the same command goes on there" if kept else ""
    return DataError(
        f"{file.name}{size} from {file.url}",
        found + again,
        "try again later, or fetch the file from elsewhere and give it with --archive PATH",
    )


def _plain(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return f"no answer: {reason}" if str(reason) else f"no answer: {type(error).__name__}"
