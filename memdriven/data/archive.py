"""Official data archives, read in place: a folder, a zip, a tar, or a folder that holds some."""

from __future__ import annotations

import contextlib
import lzma
import re
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from memdriven.errors import DataError
from memdriven.files import explain_disk_errors

MAX_FILE = 1 << 28
"""A file inside an archive may unpack to at most this many bytes; COCO's captions are 66 MB."""
MAX_RATIO = 50
"""A tar may unpack to at most this many times its size (or `MAX_FILE`): texts reach 10."""
USED = (".txt", ".json", ".jpg", ".jpeg", ".png", ".webp")
"""Endings of the files that readers ask for; others in a tar are not unpacked."""
_TAR = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


class Archive:
    """Files by name, wherever they lie; names have forward slashes. Safe to share by threads."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._read: dict[str, Callable[[], bytes]] = {}

    @property
    def names(self) -> list[str]:
        """All files, sorted."""
        return sorted(self._read)

    def __contains__(self, name: str) -> bool:
        return name in self._read

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            DataError: there is no such file, or it is damaged.
        """
        if name not in self._read:
            raise DataError(
                wanted=f"{name} in {self.place}",
                found="no such file",
                fix="give the complete official archive",
            )
        try:
            return self._read[name]()
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise DataError(
                wanted=f"{name} in {self.place}",
                found=f"a damaged file ({type(error).__name__}: {error})"[:200],
                fix="download the archive again",
            ) from error

    def text(self, name: str) -> str:
        """Return a file as text; bytes that are not UTF-8 are replaced.

        Raises:
            DataError: there is no such file, or it is damaged.
        """
        return self.read(name).decode("utf-8", errors="replace")

    def find(self, ending: str) -> str | None:
        """Return the shortest name that is `ending` or ends with `/` + `ending`, or None."""
        found = [n for n in self._read if n == ending or n.endswith("/" + ending)]
        return min(found, key=lambda name: (len(name), name), default=None)

    def need(self, ending: str) -> str:
        """Return `find`'s name.

        Raises:
            DataError: there is no such file.
        """
        name = self.find(ending)
        if name is None:
            raise DataError(
                wanted=f"{ending} in {self.place}",
                found=f"{len(self._read)} other files, e.g. {', '.join(self.names[:3])}",
                fix="give the official archive, or the folder it unpacks to",
            )
        return name

    def matching(self, pattern: str) -> list[re.Match[str]]:
        """Return the matches of a regular expression at the end of the names, sorted by name."""
        expression = re.compile(r"(?:.*/)?" + pattern)
        matches = (expression.fullmatch(name) for name in self.names)
        return [match for match in matches if match]


@contextlib.contextmanager
def open_archives(*paths: Path) -> Iterator[Archive]:
    """Open folders and archives as one; archives inside a given folder are opened, too.

    Zips are read in place; tars, which cannot be, are unpacked to a temporary folder.

    Raises:
        DataError: a path is missing, no archive, damaged, or holds names that point outside.
    """
    with contextlib.ExitStack() as stack:
        archive = Archive(" and ".join(map(str, paths)))
        for path in paths:
            if path.is_dir():
                _add_folder(archive, path, "")
                for inner in sorted(path.iterdir()):
                    if _is_archive(inner):
                        _add_file(archive, inner, stack)
            elif path.is_file():
                _add_file(archive, path, stack)
            else:
                raise DataError(
                    wanted=f"the archive or folder {path}", found="nothing there", fix="check the path"
                )
        yield archive


def _is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith((".zip", *_TAR))


def _add_folder(archive: Archive, folder: Path, prefix: str) -> None:
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.resolve().is_relative_to(root):
            archive._read[prefix + path.relative_to(folder).as_posix()] = path.read_bytes


def _add_file(archive: Archive, path: Path, stack: contextlib.ExitStack) -> None:
    try:
        if zipfile.is_zipfile(path):
            _add_zip(archive, stack.enter_context(zipfile.ZipFile(path)))
        elif tarfile.is_tarfile(path):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="memdriven-"))
            with explain_disk_errors(Path(folder)), tarfile.open(path) as tar:
                _unpack(tar, Path(folder), max(MAX_FILE, MAX_RATIO * path.stat().st_size))
            _add_folder(archive, Path(folder), "")
        else:
            raise DataError(
                wanted=f"a zip or tar archive at {path}", found="neither", fix="download the archive again"
            )
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise DataError(
            wanted=f"a whole archive at {path}",
            found=f"{type(error).__name__}: {error}"[:200],
            fix="download the archive again",
        ) from error


def _unpack(tar: tarfile.TarFile, folder: Path, limit: int) -> None:
    """Unpack the files of a tar that readers use; none of them may lead out of the folder.

    Raises:
        tarfile.TarError: a name points outside, or the files are too large.
    """
    for member in tar:
        limit -= member.size
        if member.size > MAX_FILE or limit < 0:
            raise tarfile.TarError(f"{member.name[:80]!r} of {member.size:,} bytes: too large")
        if member.isfile() and member.name.lower().endswith(USED):  # links are left out, too
            tar.extract(member, folder, filter="data")


def _add_zip(archive: Archive, content: zipfile.ZipFile) -> None:
    lock = threading.Lock()

    def reader(entry: zipfile.ZipInfo) -> Callable[[], bytes]:
        def read() -> bytes:
            if entry.file_size > MAX_FILE:
                raise zipfile.BadZipFile(f"{entry.file_size:,} bytes unpacked")
            with lock:
                return content.read(entry)

        return read

    for entry in content.infolist():
        if not entry.is_dir():
            archive._read[entry.filename] = reader(entry)
