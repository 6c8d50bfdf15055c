"""Files by name, wherever they lie: in a folder, a zip, a tar, or a folder that holds some of these.

Read by hand where a library unpacks everything first (`torchvision.datasets.utils.extract_archive`):
nothing here follows a name or a link out of its place, swells beyond a limit, or takes what an
operating system left (`._a.jpg`, `__MACOSX`, `.ipynb_checkpoints`, `Thumbs.db`) for data.
"""

import bz2
import contextlib
import gzip
import json
import lzma
import os
import posixpath
import re
import shutil
import struct
import tarfile
import tempfile
import threading
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from memdriven.data.names import ARCHIVE, FILES, UNPACK, Foreign, kind_of, left_by_a_system
from memdriven.errors import DataError, explained, require
from memdriven.files import explain_disk_errors
from memdriven.numbers import counted

MAX_FILE = 1 << 28
"""A file inside an archive may unpack to at most this many bytes; COCO's captions are 66 MB."""
MAX_RATIO = 50
"""A tar may unpack to at most this many times its size (or `MAX_FILE`): texts reach 10."""
MAX_HEADER = 1 << 16
"""A file in a tar may have at most this many bytes of headers, which `tarfile` takes into RAM."""
USED = FILES["pictures"] + FILES["separated"] + FILES["sidecars"]
"""How names end of pictures, tables and texts: others in a tar are not unpacked."""
_OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""How compressed tars begin, and what opens them."""


class Archive:
    """Files by name; names have forward slashes. Safe to share by threads."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.left_out: list[str] = []
        """Links that lead out of their folder, and folders that cannot be read."""
        self._read: dict[str, Callable[[], bytes]] = {}
        self._links: dict[str, str] = {}
        """Links within the folder -> the files and folders that they name."""
        self._plain: dict[str, list[str]] = defaultdict(list)
        """Names without regard to case and to how letters are composed -> the names as they are."""
        self._last: dict[str, list[str]] = defaultdict(list)
        """Names without their folders -> the names as they are."""

    def add(self, name: str, read: Callable[[], bytes]) -> None:
        """Add a file, unless a system left it there, one of that name is there, or it leads out."""
        if not left_by_a_system(name) and name not in self._read and ".." not in name.split("/"):
            self._plain[_plain(name)].append(name)
            self._last[name.rpartition("/")[2]].append(name)
            self._read[name] = read

    def link(self, name: str, path: str) -> None:
        """Add a link to a path from the root, or note that it leads out; none is ever made on disk."""
        if path != ".." and not path.startswith(("/", "../")):
            self._links[name] = path
        elif not left_by_a_system(name):
            self.left_out.append(name)

    @property
    def names(self) -> list[str]:
        """All files, sorted."""
        return sorted(self._read)

    @property
    def unread(self) -> dict[str, Foreign]:
        """Files of kinds that are not read, with what they are."""
        return {name: kind for name in self.names if (kind := kind_of(name))}

    def meant(self, name: str, links: int = 8) -> str | None:
        """Return the file that a name means, or None.

        That very one, or the one that a link within the folder leads to, or else the only one that
        differs in case or in how its letters are composed (a Mac writes an accent apart). At most so
        many links are followed, as they may lead in circles.
        """
        if name in self._read:
            return name
        for link, target in self._links.items():
            if name == link or name.startswith(link + "/"):
                return self.meant((target + name[len(link) :]).lstrip("/"), links - 1) if links else None
        alike = self.alike(name)
        found = [one for one in alike if _composed(one) == _composed(name)] or alike
        for encoding in () if found or name.isascii() else FILES["zip_encodings"]:
            with contextlib.suppress(UnicodeEncodeError):
                old = _composed(name).encode(encoding).decode("cp437").replace("\\", "/")
                if old in self._read:
                    return old
        return found[0] if len(found) == 1 else None

    def alike(self, name: str) -> list[str]:
        """Return the files whose names differ from one in case or in how letters are composed alone."""
        return self._plain.get(_plain(name), [])

    def read(self, name: str) -> bytes:
        """Return the bytes of the file that a name means; a missing or damaged one is refused by name."""
        name = self.meant(name) or name
        wanted, fix = f"an undamaged {name} in {self.place}", "restore it, or download the archive again"
        require(name in self._read, DataError, wanted, "no such file", fix)
        with explained(DataError, wanted, fix, Exception):
            return self._read[name]()

    def text(self, name: str) -> str:
        """Return a file in UTF-8, UTF-16 or UTF-32 as text; bytes that are none of it are replaced."""
        content = self.read(name)
        return content.decode(json.detect_encoding(content), errors="replace").lstrip("\ufeff")

    def ending_with(self, path: str) -> list[str]:
        """Return the names that are a path, or end with `/` and the path; the shortest first."""
        found = [n for n in self._last.get(path.rpartition("/")[2], ()) if f"/{n}".endswith(f"/{path}")]
        return sorted(found, key=lambda name: (len(name), name))

    def find(self, path: str) -> str | None:
        """Return the first of `ending_with`, or None."""
        return next(iter(self.ending_with(path)), None)

    def need(self, path: str) -> str:
        """Return `find`'s name; a file that is not there is refused."""
        if name := self.find(path):
            return name
        found = f"{counted(len(self._read), 'other file')}, e.g. {', '.join(self.names[:3])}"
        fix = "give the official archive, or the folder it unpacks to"
        raise DataError(f"{path} in {self.place}", found, fix)

    def matching(self, pattern: str) -> list[re.Match[str]]:
        """Return the matches of an expression, in whatever case, at the end of the names, sorted by name."""
        expression = re.compile(r"(?:.*/)?" + pattern, re.IGNORECASE)
        matches = (expression.fullmatch(name) for name in self.names)
        return [match for match in matches if match]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", _composed(name.strip()).casefold())


@contextlib.contextmanager
def open_archives(*paths: Path, inner: bool = True, follow_links: bool = False) -> Iterator[Archive]:
    """Open folders and archives as one.

    Zips are read in place; tars, which cannot be, are unpacked to a temporary folder. With `inner`,
    archives that lie in a given folder are opened, too; with `follow_links`, links that lead out of a
    folder are followed, as a download cache has them.
    """
    with contextlib.ExitStack() as stack:
        archive = Archive(" and ".join(map(str, paths)))
        for path in paths:
            if path.is_dir():
                _add_folder(archive, path, follow_links, opened=paths)
                for packed in archives_in(path) if inner else ():
                    _add_file(archive, packed, stack)
            elif path.is_file():
                _add_file(archive, path, stack)
            else:
                raise DataError(f"the archive or folder {path}", "nothing there", "check the path")
        yield archive


def archives_in(folder: Path) -> list[Path]:
    """Return the zips and tars that lie in a folder, sorted, without hidden ones."""
    named = sorted(path for path in folder.glob("[!.]*") if path.name.lower().endswith(FILES["archives"]))
    return [path for path in named if path.is_file()]


def _add_folder(archive: Archive, folder: Path, follow_links: bool, opened: Sequence[Path] = ()) -> None:
    """Add a folder's files, under their own names alone where links within it lead to them.

    Those of `opened`, archives in it that are opened by themselves, are left out.
    """
    root = os.path.realpath(folder)
    seen, waiting = {root}, [(str(folder), "")]
    while waiting:
        place, prefix = waiting.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:  # no permission, or a name longer than the system takes
            archive.left_out.append(f"{prefix[:80]} ({error.strerror})")
            continue
        for entry in entries:
            name = prefix + entry.name
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                if target == root or target.startswith(root + os.sep):
                    archive.link(name, target[len(root) + 1 :].replace(os.sep, "/"))
                    continue
                if not follow_links or target in seen:
                    archive.link(name, "..")
                    continue
            with contextlib.suppress(OSError):
                if entry.is_dir():
                    seen.add(os.path.realpath(entry.path))
                    waiting.append((entry.path, name + "/"))
                elif entry.is_file() and Path(entry.path) not in opened:
                    archive.add(name, Path(entry.path).read_bytes)


def _add_file(archive: Archive, path: Path, stack: contextlib.ExitStack) -> None:
    wanted, fix = f"a folder, or a whole zip or tar archive, at {path}", "download the archive again"
    if not path.name.lower().endswith(FILES["archives"]):
        fix = "give the folder that holds it"
    with path.open("rb") as stream:
        kind = kind_of(path.name, stream.read(512))
    if kind not in (None, ARCHIVE):
        raise DataError(wanted, kind.what, kind.fix if kind.fix == UNPACK else fix)
    # Whatever the libraries make of damaged and hostile archives.
    with explained(DataError, wanted, fix, Exception):
        if zipfile.is_zipfile(path):
            _add_zip(archive, stack.enter_context(zipfile.ZipFile(path)))
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="memdriven-")))
            with explain_disk_errors(folder):
                _unpack(archive, path, folder)
            _add_folder(archive, folder, follow_links=False)


class _Metered:
    """A tar's bytes, of which its headers take few and all of them not more than a limit.

    `tarfile` reads a header of any length at once, and looks for a field in it in time that grows with
    the square of its longest run of digits.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self.stream, self.limit = stream, limit
        self.header: int | None = MAX_HEADER
        """How much of the next file's headers may yet be read; None while a file is unpacked."""

    def read(self, size: int) -> bytes:
        if self.header is None:
            return self.stream.read(size)
        self.header -= size
        content = self.stream.read(size) if size >= 0 and self.header >= 0 else None
        if content is None or (size > tarfile.BLOCKSIZE and re.search(rb"\d{100}", content)):
            raise tarfile.TarError("a header that is too large")
        return content

    def seek(self, place: int) -> int:
        if place > self.limit:
            raise tarfile.TarError(f"more than {self.limit:,} bytes: too large")
        return self.stream.seek(place)

    def tell(self) -> int:
        return self.stream.tell()


def _unpack(archive: Archive, path: Path, folder: Path) -> None:
    """Unpack the files of a tar that readers use; none of them may lead out of the folder.

    Links are noted, not made: a chain of them would lead later files out of the folder.
    """
    with path.open("rb") as stream:
        beginning = stream.read(6)
    opener = next((opener for magic, opener in _OPENERS.items() if beginning.startswith(magic)), open)
    with opener(path, "rb") as stream:
        metered = _Metered(stream, max(MAX_FILE, MAX_RATIO * path.stat().st_size))
        tar = tarfile.open(fileobj=cast(IO[bytes], metered), mode="r:")  # noqa: SIM115
        for member in tar:
            if member.size > MAX_FILE:
                raise tarfile.TarError(f"{member.name[:80]!r} of {member.size:,} bytes: too large")
            used = member.name.lower().endswith(USED)
            if member.isfile() and used and not left_by_a_system(member.name):
                metered.header = None
                place = (folder / member.name.lstrip("/")).resolve()
                if not place.is_relative_to(folder.resolve()):
                    raise tarfile.TarError(f"{member.name[:80]!r} leads outside the archive")
                place.parent.mkdir(parents=True, exist_ok=True)
                # `TarFile.extract` needs its filter to be safe, which Python 3.11 has from 3.11.4 on alone.
                with cast(IO[bytes], tar.extractfile(member)) as content, place.open("wb") as file:
                    shutil.copyfileobj(content, file)
            elif member.isfile() and kind_of(member.name):
                archive.add(posixpath.normpath(member.name), bytes)  # by its name alone
            elif member.islnk() or member.issym():
                name = posixpath.normpath(member.name)
                base = posixpath.dirname(name) if member.issym() else ""  # a hard link's counts from the root
                archive.link(name, posixpath.normpath(posixpath.join(base, member.linkname)))
            metered.header = MAX_HEADER
            tar.members.clear()  # type: ignore[attr-defined]  # which nobody asks for again
            tar.pax_headers = {}  # else copied for every file to come
        metered.header = None
        while metered.read(1 << 20):  # to the end, where a gzip's sum stands
            metered.seek(metered.tell())


def _add_zip(archive: Archive, content: zipfile.ZipFile) -> None:
    lock = threading.Lock()

    def read(entry: zipfile.ZipInfo) -> bytes:
        if entry.file_size > MAX_FILE:
            raise zipfile.BadZipFile(f"{entry.file_size:,} bytes unpacked")
        method, locked = entry.compress_type, entry.flag_bits & 1
        plain = method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack whatever the size claims
        wanted = f"{entry.filename} stored or deflated, without a password"
        found = "an encrypted file" if locked else f"compression method {method}"
        require(plain and not locked, DataError, wanted, found, "unpack the archive and give the folder")
        with lock, content.open(entry) as stream:
            return stream.read(entry.file_size + 1)  # `content.read` unpacks whatever the size claims

    # Of entries of one name the last counts, as for whatever unpacks them: it replaces the others.
    for entry in reversed(content.infolist()):
        if not entry.is_dir():
            name = _zip_name(entry).replace("\\", "/").removeprefix("./").lstrip("/")
            archive.add(name, partial(read, entry))


def _zip_name(entry: zipfile.ZipInfo) -> str:
    """Return a file's name; without the UTF-8 flag it is often UTF-8 nevertheless (macOS, `zip`)."""
    if entry.flag_bits & 0x800:
        return entry.filename
    with contextlib.suppress(struct.error, UnicodeDecodeError):
        extra = entry.extra
        while len(extra) >= 4:
            kind, length = struct.unpack("<HH", extra[:4])
            if kind == 0x7075:  # Info-ZIP's Unicode path: version, checksum, name
                return extra[9 : 4 + length].decode("utf-8")
            extra = extra[4 + length :]
    with contextlib.suppress(UnicodeError):
        return entry.filename.encode("cp437").decode("utf-8")
    return entry.filename
