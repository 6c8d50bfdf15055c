"""Long work that happens once, with its progress told to whoever waits for it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from memdriven.explore.memory_map import Progress

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

        Raises:
            MemDrivenError: what the work itself raised; the next visitor begins it again.
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
