"""The SHA-256 of a large file, with progress, and a note of it beside the file."""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

from tqdm import tqdm

from memdriven.files import atomic_write_bytes

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
