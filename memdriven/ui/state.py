"""The checkpoints that the visitors of the page share, read-only, each one uses, and the values they send."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

from memdriven.checkpoint import bank_folder, model_name
from memdriven.config import MAX_GUIDANCE
from memdriven.data.vocabulary import tokenize
from memdriven.errors import BankError, CheckpointError, ConfigError, require
from memdriven.explore.memory_map import Progress
from memdriven.memory.bank import HEADER
from memdriven.models.noise import Window
from memdriven.numbers import is_number
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import DRAWN_SEEDS, MAX_SEED, MAX_TRIED
from memdriven.ui import session

RULES = (
    ("whole caption vs. captions", "sentence-sentence"),
    ("words vs. captions", "words-words"),
    ("whole caption vs. images", "sentence-image"),
    ("words vs. image regions", "words-image"),
    ("whole caption vs. both", "sentence-both"),
    ("words vs. both", "words-both"),
    ("all combined", "all"),
)
CONCURRENCY_ID = "model"
"""Queue group of everything that runs the networks: one at a time on one machine."""


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
        """Offer these, the first one by default; of two folders of one name, the second with its parent's."""
        self.entries: dict[str, Entry] = {}
        for entry in entries:
            name, depth = entry.name, 1
            while name in self.entries and depth < len(entry.path.parts) - 1:
                name, depth = f"{entry.path.parts[-1 - depth]}/{name}", depth + 1
            self.entries.setdefault(name, entry)
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
        path = pipe.checkpoint.path.resolve()
        same = (name for name, entry in self.entries.items() if entry.path.resolve() == path)
        self._open = (next(same, pipe.checkpoint.name), pipe)

    def get(self, name: str) -> MemoryDrivenPipeline:
        """Return a checkpoint's pipeline, opening it if need be."""
        held = self._open
        if held is not None and held[0] == name:
            return held[1]
        entry = self.entries.get(name)
        if entry is None:
            raise CheckpointError("a checkpoint of this page", repr(name)[:80], ", ".join(self.entries))
        command = f"python -m memdriven build-memory --checkpoint checkpoints/{entry.path.name}"
        fix = f"build it: {command} --dataset DATASET --features FEATURES"
        require(entry.complete, BankError, f"the memory bank of {name}", "a checkpoint without one", fix)
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
    for parent in dict.fromkeys(folder.parent for folder in folders):
        beside = sorted(parent.iterdir()) if parent.is_dir() else []
        folders += [each for each in beside if each not in folders and (each / "config.json").is_file()]
    return [Entry(model_name(folder), folder) for folder in folders]


# ---------------------------------------------------------------------------------------------------------
# What each visitor uses.

_SESSIONS = 10_000
"""Tabs whose choice of checkpoint is remembered."""
_shelf: list[Shelf] = []
_chosen: OrderedDict[str, str] = OrderedDict()


def use(offered: MemoryDrivenPipeline | Shelf) -> None:
    """Show a shelf of checkpoints, or one loaded pipeline."""
    _shelf[:] = [offered if isinstance(offered, Shelf) else Shelf.holding(offered)]
    _chosen.clear()


def shelf() -> Shelf:
    """Return the checkpoints on offer."""
    if not _shelf:
        raise CheckpointError("a loaded checkpoint", "none", "start the page with app.py")
    return _shelf[0]


def pipeline() -> MemoryDrivenPipeline:
    """Return the model that the visitor whose handler is running has chosen."""
    return shelf().get(chosen())


def choose(name: str) -> MemoryDrivenPipeline:
    """Let the visitor whose handler is running use another checkpoint from now on."""
    pipe, visitor = shelf().get(name), session()
    if visitor is not None:
        _chosen[visitor] = name
        _chosen.move_to_end(visitor)
        while len(_chosen) > _SESSIONS:
            _chosen.popitem(last=False)
    return pipe


def chosen() -> str:
    """Return the name of the checkpoint that the visitor whose handler is running uses."""
    return _chosen.get(session() or "", shelf().default)


_COMMON = 0.5
"""A word in a larger share of the memory's captions than this tells nothing apart."""
_SAMPLE = 2_000


def common_words() -> frozenset[str]:
    """Return the words that most captions of the loaded memory share, e.g. "bird"."""
    return _common_words(pipeline().bank_hash) if _shelf else frozenset()


def subject() -> str:
    """Return the longest word that most captions of the loaded memory share, e.g. "bird"; "" for none."""
    words = sorted(word for word in common_words() if word.isalpha() and len(word) > 3)
    return max(words, key=len, default="")  # of equally long ones the first: sets have no order


@lru_cache(maxsize=8)
def _common_words(bank_hash: str) -> frozenset[str]:
    """Count once for each bank; the key is its hash, so that no bank is kept in memory by it."""
    bank = pipeline().bank
    items = bank.items[:: max(1, bank.n // _SAMPLE)]
    counts = Counter(word for item in items for word in set(tokenize(item.captions[0])))
    return frozenset(word for word, count in counts.items() if count > _COMMON * len(items))


def offers_memory() -> bool:
    """Return whether the visitor's model was trained on weakened memories, too."""
    return pipeline().config.train.p_fade > 0


def offers_tries() -> bool:
    """Return whether the visitor's model can tell which of several pictures fits the words."""
    return pipeline().checkpoint.damsm.pixels is not None


# ---------------------------------------------------------------------------------------------------------
# What the page sends, clamped to what it offers.

MAX_K = 8
"""More references than this blur into an average."""


def read_seed(written: object, keep: bool) -> int:
    """Return the seed in the text box when it is to be kept, else a random one."""
    written = written.strip() if isinstance(written, str) else ""
    if not keep or not written:
        return secrets.randbelow(DRAWN_SEEDS)
    whole = written.isascii() and written.isdecimal() and len(written) <= 16 and int(written) <= MAX_SEED
    wanted, fix = f"a seed: a whole number from 0 to {MAX_SEED}", "write digits only, or draw a random seed"
    require(whole, ConfigError, wanted, repr(written[:40]), fix)
    return int(written)


def _clamped(value: object, low: float, high: float, otherwise: float) -> float:
    """Return a number from the page within its limits; `otherwise` for what is none."""
    return float(min(high, max(low, value))) if is_number(value) else otherwise


def read_k(k: object) -> int:
    """Return the number of references."""
    return int(_clamped(k, 1, min(MAX_K, pipeline().bank.n), 1))


def read_tries(tries: object) -> int:
    """Return how many references are tried; one where the model cannot choose."""
    return int(_clamped(tries, 1, MAX_TRIED, 1)) if offers_tries() else 1


def read_memory(share: object) -> float:
    """Return how much of the memory is used; all of it where the model offers no less."""
    return _clamped(share, 0, 1, 1) if offers_memory() else 1.0


def read_guidance(guidance: object) -> float:
    """Return how far words are moved from their memory's; else the model's own."""
    return _clamped(guidance, 0, MAX_GUIDANCE, pipeline().config.generator.guidance)


def read_window(written: object) -> Window | None:
    """Return the part of the memory that is seen, from "left top side"; None where the seed decides."""
    parts = written.replace(",", " ").split() if isinstance(written, str) else []
    if not parts:
        return None
    try:
        x, y, side = map(float, parts)
    except ValueError:
        wanted, fix = (
            "a window: left, top and side of a square in 0 to 1",
            "choose one, or write e.g. 0.1 0.1 0.8",
        )
        raise ConfigError(wanted, repr(written)[:40], fix) from None
    return x, y, side


def shown_window(window: Window | None) -> str:
    """Return a window as `read_window` takes it; "" where the seed decides."""
    return " ".join(f"{share:.6g}" for share in window) if window is not None else ""


# ---------------------------------------------------------------------------------------------------------
# Long work that is done once for all visitors.

Made = TypeVar("Made")
POLL = 0.25
"""Seconds between two looks at the progress."""


@dataclass
class Once(Generic[Made]):
    """Something computed for the first visitor who needs it and kept for all, one key at a time."""

    make: Callable[[Progress], Made] | None
    told: tuple[int, int] = (0, 1)
    _future: Future[Made] | None = field(default=None, repr=False)

    def wait(self) -> Iterator[tuple[int, int]]:
        """Yield (done, count) until the work is done; begin it when nobody has.

        A visitor who gives up does not stop it: the next one finds it further on.
        """
        if self._future is None:
            assert self.make is not None
            worker = ThreadPoolExecutor(1)
            self._future = worker.submit(self.make, self._tell)
            worker.shutdown(wait=False)
        while not self._future.done():
            yield self.told
            time.sleep(POLL)
        if self._future.exception() is not None:
            failed, self._future = self._future, None
            failed.result()
        self.make = None  # what it holds on to, e.g. a bank, is needed no more

    def result(self) -> Made:
        """Return what was made, waiting for it without a word."""
        for _ in self.wait():
            pass
        assert self._future is not None
        return self._future.result()

    def _tell(self, done: int, count: int) -> None:
        self.told = (done, count)


class Shelved(Generic[Made]):
    """The work of the last few keys (hashes of banks, so that no bank is kept in memory)."""

    def __init__(self, most: int = 3) -> None:
        self._most = most
        self._works: OrderedDict[str, Once[Made]] = OrderedDict()

    def get(self, key: str, make: Callable[[Progress], Made]) -> Once[Made]:
        """Return a key's work; `make` is called in a thread when somebody waits for it."""
        work = self._works.setdefault(key, Once(make))
        self._works.move_to_end(key)
        while len(self._works) > self._most:
            self._works.popitem(last=False)
        return work
