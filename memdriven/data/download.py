"""Official files: fetched on from where they were cut, and checked before anything reads them.

`torch.hub.download_url_to_file` begins a broken download again, which 13 GB do not bear.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
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

from memdriven.errors import DataError, require
from memdriven.files import explain_disk_errors

BLOCK = 1 << 20
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as dead."""
TRIES = 4
"""Connections in a row that bring nothing before a download gives up."""
PAUSE = 1.0
"""Seconds before the second of these; each later pause is twice as long."""


@dataclass(frozen=True)
class Remote:
    """A file on an official host."""

    url: str
    size: int
    """Bytes."""
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True)
class ByHand:
    """A file that only a person can fetch, because its host serves browsers alone."""

    name: str
    page: str

    def find(self, folder: Path) -> Path:
        """Return the file in a download folder; the error where it is not there is the manual step."""
        require(
            (folder / self.name).is_file(),
            DataError,
            f"{self.name}, which its host gives to browsers only: {self.page}",
            f"no such file in {folder}",
            f"open that page, download the file, and give it with --captions PATH (or move it into {folder})",
        )
        return folder / self.name


def fetch_all(files: Sequence[Remote], folder: Path, progress: bool = True) -> list[Path]:
    """Download several files, the smallest first, unless all of them do not fit on the disk."""
    missing = [file for file in files if not (folder / file.name).is_file()]
    wanted = sum(file.size - _length(_partial(folder / file.name)) for file in missing)
    place = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(place).free
    require(
        wanted <= free,
        DataError,
        f"{wanted / 1e9:.1f} GB of room for archives in {folder}",
        f"{free / 1e9:.1f} GB free",
        "free some space, or choose another folder with --downloads",
    )
    for file in sorted(files, key=lambda file: file.size):
        fetch(file, folder, progress)
    return [folder / file.name for file in files]


def fetch(file: Remote, folder: Path, progress: bool = True) -> Path:
    """Download a file, or return the one that is there already, once its SHA-256 is right.

    Bytes are collected in `<name>.partial`; a later call goes on after them (HTTP Range), as does
    this one after a broken connection.
    """
    target = folder / file.name
    with explain_disk_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            _check(file, target, progress, f"remove {target}, then ")
        else:
            partial = _partial(target)
            _complete(file, partial, progress)
            try:
                _check(file, partial, progress)
            except DataError:
                partial.unlink()
                raise
            os.replace(partial, target)
    return target


def _partial(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _complete(file: Remote, partial: Path, progress: bool) -> None:
    """Bring `partial` to its full length over as many connections as that takes."""
    failures = 0
    while (before := _length(partial)) != file.size:
        again = True
        try:
            _receive(file, partial, progress)
            problem = "no answer: the connection ended early"
        except urllib.error.HTTPError as error:
            error.close()
            problem = f"HTTP {error.code} {error.reason}"
            again = error.code >= 500 or error.code in (408, 429)
            if error.code == 416 and before:  # longer than the file is now: begin again
                partial.unlink()
                again = True
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and _is_disk(error):
                raise
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            problem = f"no answer: {str(reason) or type(error).__name__}"
        kept = _length(partial)
        failures = 1 if kept > before else failures + 1
        if not again or (failures >= TRIES and kept != file.size):
            raise DataError(
                f"{file.name} ({file.size / 1e6:,.0f} MB) from {file.url}",
                problem
                + (f"; {kept / 1e6:,.0f} MB are kept, the same command goes on there" if kept else ""),
                "try again later, or fetch the file from elsewhere and give it with --archive PATH",
            )
        time.sleep(PAUSE * 2 ** (failures - 1) * (kept != file.size))


def _receive(file: Remote, partial: Path, progress: bool) -> None:
    """Append what one connection brings."""
    start = _length(partial)
    request = urllib.request.Request(file.url, headers={"User-Agent": "memdriven"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
            span = str(answer.headers.get("Content-Range", ""))
            if span.removeprefix("bytes ").partition("-")[0] != str(start):
                raise http.client.HTTPException(f"bytes {start}- asked for, {span!r} came")
        else:
            start = 0  # no ranges here: everything comes again
        bar: dict[str, Any] = {"desc": file.name, "initial": start, "disable": not progress}
        with (
            partial.open("r+b" if start else "wb") as stream,
            tqdm.wrapattr(answer, "read", file.size, **bar) as body,
        ):
            stream.seek(start)
            shutil.copyfileobj(body, stream, BLOCK)


def _check(file: Remote, path: Path, progress: bool, first: str = "") -> None:
    """Compare a file's SHA-256 with the published one; `first` is what to do before trying again."""
    digest, size = hashlib.sha256(), _length(path)
    bar: dict[str, Any] = {"desc": f"checking {file.name}", "delay": 1, "disable": not progress}
    with path.open("rb") as stream, tqdm.wrapattr(stream, "read", size, **bar) as content:
        while block := content.read(BLOCK):
            digest.update(block)
    require(
        digest.hexdigest() == file.sha256,
        DataError,
        f"{file.name} with SHA-256 {file.sha256}",
        f"{size:,} bytes with SHA-256 {digest.hexdigest()}",
        f"{first}try again; if that repeats, fetch {file.url} yourself and give it with --archive PATH",
    )


def _is_disk(error: OSError) -> bool:
    """Tell a full or refusing disk from a failing network."""
    refusals = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)
    return error.errno in refusals and not isinstance(error, urllib.error.URLError | ssl.SSLError)
