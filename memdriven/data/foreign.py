"""Files of kinds that are not read: what each is, and what to do with it.

Nobody's file is passed over in silence because it is a spreadsheet, an archive in an archive or a phone's
picture: whoever meets one names it, by its first bytes or by the ending of its name.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Foreign(NamedTuple):
    """A kind of file that is not read."""

    what: str
    fix: str
    endings: tuple[str, ...] = ()
    begins: bytes = rb"(?!)"
    """A regular expression of its first bytes."""


SAVE, UNPACK, CAPTIONS = (
    "save it as JPEG or PNG",
    "unpack it and give the folder",
    "write its captions as metadata.csv, with the columns file_name and text",
)
KINDS = (
    Foreign(
        "a HEIC picture, as phones take them", SAVE, (".heic", ".heif", ".hif"), rb".{4}ftyp(hei|hev|m[is])"
    ),
    Foreign("a JPEG XL picture", SAVE, (".jxl",), rb"\xff\x0a|\0\0\0\x0cJXL "),
    Foreign(
        "a TIFF of samples that are not read, such as halves or doubles",
        SAVE,
        begins=rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
    ),
    Foreign("an SVG drawing", SAVE, (".svg", ".svgz"), rb"\s*(<\?xml[^>]*>\s*)?<svg"),
    Foreign("a PDF or PostScript page", SAVE, (".pdf", ".eps", ".ps", ".ai"), rb"%PDF|%!PS"),
    Foreign(
        "a camera's raw file",
        SAVE,
        (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    ),
    Foreign(
        "a picture of another format",
        SAVE,
        (".icns", ".dds", ".xcf", ".exr", ".hdr", ".jxr", ".wdp", ".pam", ".psb", ".kra", ".cur", ".xpm"),
    ),
    Foreign(
        "a film",
        "save its frames as PNG",
        (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"),
        rb".{4}ftyp(?!avi)|RIFF.{4}AVI |\x1a\x45\xdf\xa3",
    ),
    Foreign(
        "a web page, which a download gave in the file's place",
        "download the file itself",
        (),
        rb"\s*<(!doctype )?html",
    ),
    Foreign(
        "a pointer of Git LFS, which `git lfs pull` fills",
        "run that, or download the file",
        (),
        rb"version https://git-lfs",
    ),
    Foreign(
        "a spreadsheet",
        "save it as CSV UTF-8",
        (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"),
        rb"\xd0\xcf\x11\xe0",
    ),
    Foreign(
        "a table or database in binary form",
        CAPTIONS,
        (
            *(".parquet", ".arrow", ".feather", ".orc", ".sqlite", ".sqlite3", ".db", ".mdb", ".lmdb"),
            *(".h5", ".hdf5", ".tfrecord", ".tfrecords", ".npy", ".npz", ".pkl", ".pickle", ".mat"),
        ),
        rb"PAR1|ARROW1|ORC|SQLite format 3|\x89HDF",
    ),
    Foreign("YAML, TOML or XML", CAPTIONS, (".yaml", ".yml", ".toml", ".xml")),
    Foreign("a document", CAPTIONS, (".docx", ".doc", ".odt", ".rtf"), rb"\{\\rtf"),
    Foreign(
        "an archive of another kind than zip and tar",
        UNPACK,
        (".rar", ".7z", ".zst", ".lz4", ".lzma", ".z", ".iso", ".dmg", ".cab"),
        rb"Rar!|7z\xbc\xaf|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18|\x1f\x9d",
    ),
    Foreign(
        "an archive or a spreadsheet",
        UNPACK,
        (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz"),
        rb"PK\x03\x04|\x1f\x8b|BZh|\xfd7zXZ|.{257}ustar",
    ),
)
ARCHIVE = KINDS[-1]
"""Zip and tar are read where they are the source or lie beside its table, and not within one another."""


def kind_of(name: str, content: bytes = b"") -> Foreign | None:
    """Return the kind of a file that is not read, by how it begins or else by its name."""
    beginning = content[:512]
    known = (kind for kind in KINDS if re.match(kind.begins, beginning, re.DOTALL | re.IGNORECASE))
    return next(known, next((kind for kind in KINDS if name.lower().endswith(kind.endings)), None))
