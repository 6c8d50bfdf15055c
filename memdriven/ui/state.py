"""The checkpoints that the visitors of the page share, read-only, each one uses, and the values they send."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from memdriven.checkpoint import bank_folder, model_name
from memdriven.config import MAX_GUIDANCE
from memdriven.data.vocabulary import tokenize
from memdriven.errors import BankError, CheckpointError, ConfigError, require
from memdriven.explore.memory_map import Progress
from memdriven.memory.bank import HEADER
from memdriven.numbers import is_number
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import DRAWN_SEEDS, MAX_SEED, MAX_TRIED
from memdriven.ui import session

RULES = {
    "sentence-sentence": "whole caption vs. captions",
    "words-words": "words vs. captions",
    "sentence-image": "whole caption vs. images",
    "words-image": "words vs. image regions",
    "sentence-both": "whole caption vs. both",
    "words-both": "words vs. both",
    "all": "all combined",
}
"""Each strategy that compares, and its name for people."""
CONCURRENCY_ID, LONG, FETCH = "model", "long", "fetch"
"""Queue groups of what runs the networks, one of each at a time: a picture, and what takes longer than one.
So no picture waits for another visitor's table; they take turns at each stage (`MemoryDrivenPipeline.turn`).
And that of those who wait for a download.
"""

alone = False
"""Whether the page is reached from this machine alone, whose owner may let it fetch what it lacks."""


def has_memory(folder: Path) -> bool:
    """Return whether there is a memory bank that a checkpoint opens with."""
    with suppress(CheckpointError):
        return (bank_folder(folder) / HEADER).is_file()
    return False


class ModelRegistry:
    """Checkpoints by name, opened when somebody asks for one.

    A machine that holds one model comfortably may not hold two, so the one before is let go. Visitors who
    use different checkpoints at once make each other wait for loading; they never see each other's. What a
    long call holds until its end is not opened a second time.
    """

    def __init__(self, folders: Iterable[Path], device: str = "auto") -> None:
        """Offer these, the first one by default; of two of one name, the second with its parent's."""
        self.folders: dict[str, Path] = {}
        for folder in folders:
            name, depth = model_name(folder), 1
            while name in self.folders and depth < len(folder.parts) - 1:
                name, depth = f"{folder.parts[-1 - depth]}/{name}", depth + 1
            self.folders.setdefault(name, folder)
        self.device = device
        self._open: MemoryDrivenPipeline | None = None
        self._held: WeakValueDictionary[str, MemoryDrivenPipeline] = WeakValueDictionary()
        """Those that are in memory: the open one, and one that a long call still paints with."""
        self._lock = threading.Lock()

    @property
    def default(self) -> str:
        """Name of the checkpoint that a new visitor gets."""
        return next(iter(self.folders))

    def put(self, pipe: MemoryDrivenPipeline) -> None:
        """Take an opened pipeline as the one in memory."""
        path = pipe.checkpoint.path.resolve()
        same = (name for name, folder in self.folders.items() if folder.resolve() == path)
        self._open = self._held[next(same, pipe.checkpoint.name)] = pipe

    def get(self, name: str) -> MemoryDrivenPipeline:
        """Return a checkpoint's pipeline, opening it if need be."""
        if (pipe := self._held.get(name)) is not None:
            return pipe
        folder = self.folders.get(name)
        if folder is None:
            raise CheckpointError("a checkpoint of this page", repr(name)[:80], ", ".join(self.folders))
        command = f"python -m memdriven build-memory --checkpoint checkpoints/{folder.name}"
        fix = f"build it: {command} --dataset DATASET --features FEATURES"
        require(has_memory(folder), BankError, f"the memory bank of {name}", "a checkpoint without one", fix)
        with self._lock:
            if (pipe := self._held.get(name)) is None:
                self._open = None  # the old one goes first, so that two are never in memory for one picture
                self._open = pipe = self._held[name] = MemoryDrivenPipeline.from_pretrained(
                    folder, self.device
                )
            return pipe


def find_checkpoints(chosen: Iterable[Path]) -> list[Path]:
    """Return the chosen checkpoint folders, then those beside them that have a config.json."""
    folders = [path.resolve() for path in chosen]
    for parent in dict.fromkeys(folder.parent for folder in folders):
        beside = sorted(parent.iterdir()) if parent.is_dir() else []
        folders += [each for each in beside if each not in folders and (each / "config.json").is_file()]
    return folders


# ---- What each visitor uses ----------------------------------------------------------------------

_SESSIONS = 10_000
"""Tabs whose choice of checkpoint is remembered."""
_registry: list[ModelRegistry] = []
_chosen: dict[str, str] = {}


def use(offered: MemoryDrivenPipeline | ModelRegistry) -> None:
    """Offer checkpoints, or one loaded pipeline."""
    if isinstance(offered, MemoryDrivenPipeline):
        registry = ModelRegistry([offered.checkpoint.path])
        registry.put(offered)
        offered = registry
    _registry[:] = [offered]
    _chosen.clear()


def registry() -> ModelRegistry:
    """Return the checkpoints on offer."""
    require(_registry, CheckpointError, "a loaded checkpoint", "none", "start the page with app.py")
    return _registry[0]


def pipeline() -> MemoryDrivenPipeline:
    """Return the model that the visitor whose handler is running has chosen."""
    return registry().get(chosen())


def choose(name: str) -> MemoryDrivenPipeline:
    """Let the visitor whose handler is running use another checkpoint from now on."""
    pipe = registry().get(name)
    put_back(session(), name)
    return pipe


def put_back(visitor: str | None, name: str | None) -> None:
    """Let a visitor use a checkpoint that is open, or that they used before."""
    if visitor is not None and name is not None:
        _chosen.pop(visitor, None)
        _chosen[visitor] = name
        for oldest in list(_chosen)[:-_SESSIONS]:
            _chosen.pop(oldest, None)


def chosen(visitor: str | None = None) -> str:
    """Return the name of the checkpoint that a visitor uses, by default that whose handler is running."""
    return _chosen.get(visitor or session() or "", registry().default)


_COMMON, _SAMPLE = 0.5, 2_000
"""A word in a larger share than this of so many of the memory's captions tells nothing apart."""


def common_words() -> frozenset[str]:
    """Return the words that most captions of the loaded memory share, e.g. "bird"."""
    return _common_words(pipeline().bank_hash) if _registry else frozenset()


def subject() -> str:
    """Return the longest word that most captions of the loaded memory share, e.g. "bird"; "" for none."""
    words = sorted(word for word in common_words() if word.isalpha() and len(word) > 3)
    return max(words, key=len, default="")  # of equally long ones the first: sets have no order


def paints() -> tuple[str, ...]:
    """Return what the visitor's model paints one of: its memory's subject, and kinds that it tells apart."""
    attributes = pipeline().checkpoint.attributes if _registry else None
    kinds = attributes.values.get("body_plan", ()) if attributes else ()
    return (subject(), *kinds) if subject() else ()


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


# ---- What the page sends, clamped to what it offers ----------------------------------------------

MAX_K = 8
"""More references than this blur into an average."""


def limits(name: str) -> tuple[float, float, float]:
    """Return the least and the largest value of one of the column's numbers, and that of what is none."""
    pipe = pipeline()
    return {
        "k": (1, min(MAX_K, pipe.bank.n), 1),
        "tries": (1, MAX_TRIED if offers_tries() else 1, 1),
        "share": (0.0 if offers_memory() else 1.0, 1.0, 1.0),
        "guidance": (0.0, MAX_GUIDANCE, pipe.config.generator.guidance),
    }[name]


NUMBERS = ("k", "tries", "share", "guidance")


def read_number(name: str, value: object) -> float:
    """Return one of the column's numbers within its limits, whole where these are."""
    low, high, otherwise = limits(name)
    return type(low)(min(high, max(low, value))) if is_number(value) else otherwise


def read_seed(written: object, keep: bool) -> int:
    """Return the seed in the text box when it is to be kept, else a random one."""
    written = written.strip() if isinstance(written, str) else ""
    if not keep or not written:
        return secrets.randbelow(DRAWN_SEEDS)
    whole = written.isascii() and written.isdecimal() and len(written) <= 16 and int(written) <= MAX_SEED
    wanted, fix = f"a seed: a whole number from 0 to {MAX_SEED}", "write digits only, or draw a random seed"
    require(whole, ConfigError, wanted, repr(written[:40]), fix)
    return int(written)


# ---- Long work that is done once for all visitors ------------------------------------------------

Made = TypeVar("Made")
POLL = 0.25
"""Seconds between two looks at the progress."""


class BackgroundTask(Generic[Made]):
    """Something computed for the first visitor who needs it and kept for all.

    A visitor who gives up does not stop it: the next one finds it further on.
    """

    def __init__(self, make: Callable[[Progress], Made]) -> None:
        self.progress = (0, 1)
        worker = ThreadPoolExecutor(1)
        self._future: Future[Made] = worker.submit(make, self._note)
        worker.shutdown(wait=False)

    def wait(self) -> Iterator[tuple[int, int]]:
        """Yield (done, count) until the work is done."""
        while not self._future.done():
            yield self.progress
            time.sleep(POLL)
        self._future.result()

    def result(self) -> Made:
        """Return what was made, waiting for it without a word."""
        return self._future.result()

    @property
    def failed(self) -> bool:
        """Whether the work ended in an error."""
        return self._future.done() and self._future.exception() is not None

    def _note(self, done: int, count: int) -> None:
        self.progress = (done, count)


class TaskCache(Generic[Made]):
    """The work of the last few keys (hashes of banks, so that no bank is kept in memory)."""

    def __init__(self, most: int = 3) -> None:
        self._most, self._lock = most, threading.Lock()
        self._works: dict[str, BackgroundTask[Made]] = {}

    def get(self, key: str, make: Callable[[Progress], Made]) -> BackgroundTask[Made]:
        """Return a key's work, begun in a thread by the first who asks, and anew where it failed."""
        with self._lock:
            work = self._works.pop(key, None)
            self._works[key] = work = BackgroundTask(make) if work is None or work.failed else work
            for oldest in list(self._works)[: -self._most]:
                del self._works[oldest]
        return work
