"""The checkpoints that a page can switch between; one of them is in memory at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from memdriven.checkpoint import bank_folder
from memdriven.errors import BankError, CheckpointError
from memdriven.memory.bank import HEADER
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import strings


@dataclass(frozen=True)
class Entry:
    """One checkpoint folder."""

    name: str
    path: Path

    @property
    def complete(self) -> bool:
        """Whether there is a memory bank that it opens with."""
        with suppress(CheckpointError):
            return (bank_folder(self.path) / HEADER).is_file()
        return False


class Shelf:
    """Checkpoints by name, opened when somebody asks for one.

    A machine that holds one model comfortably may not hold two, so the one before is let go.
    Visitors who use different checkpoints at once make each other wait for loading; they never
    see each other's.
    """

    def __init__(self, entries: Iterable[Entry], device: str = "auto") -> None:
        """Offer these, the first one by default."""
        self.entries: dict[str, Entry] = {}
        for entry in entries:
            self.entries.setdefault(entry.name, entry)
        self.device = device
        self._open: tuple[str, MemoryDrivenPipeline] | None = None
        self._lock = threading.Lock()

    @classmethod
    def holding(cls, pipe: MemoryDrivenPipeline) -> Shelf:
        """Return a shelf with one checkpoint, already open."""
        shelf = cls([Entry(pipe.checkpoint.name, pipe.checkpoint.path)])
        shelf.put(pipe)
        return shelf

    @property
    def default(self) -> str:
        """Name of the checkpoint that a new visitor gets."""
        return next(iter(self.entries))

    def put(self, pipe: MemoryDrivenPipeline) -> None:
        """Take an opened pipeline as the one in memory."""
        self._open = (pipe.checkpoint.name, pipe)

    def get(self, name: str) -> MemoryDrivenPipeline:
        """Return a checkpoint's pipeline, opening it if need be.

        Raises:
            CheckpointError: there is no such checkpoint, or it is damaged.
            BankError: its memory is missing or damaged.
        """
        held = self._open
        if held is not None and held[0] == name:
            return held[1]
        entry = self.entries.get(name)
        if entry is None:
            raise CheckpointError(
                wanted=strings.SHELF_WANTED, found=repr(name)[:80], fix=", ".join(self.entries)
            )
        if not entry.complete:
            raise BankError(
                wanted=strings.NO_BANK_WANTED.format(name=name),
                found=strings.NO_BANK_FOUND,
                fix=strings.NO_BANK_FIX.format(path=entry.path.name),
            )
        with self._lock:
            held = self._open
            if held is None or held[0] != name:
                # Let the old one go first, so that never two are in memory.
                self._open = held = None
                held = (name, MemoryDrivenPipeline.from_pretrained(entry.path, self.device))
                self._open = held
        return held[1]


def find_checkpoints(chosen: Iterable[Path]) -> list[Entry]:
    """Return the chosen checkpoint folders, then those beside them.

    A folder counts as a checkpoint when it has a config.json.
    """
    folders = [path.resolve() for path in chosen]
    found = [Entry(folder.name, folder) for folder in folders]
    for parent in dict.fromkeys(folder.parent for folder in folders):
        if not parent.is_dir():
            continue
        for folder in sorted(parent.iterdir()):
            if folder not in folders and (folder / "config.json").is_file():
                found.append(Entry(folder.name, folder))
    return found
