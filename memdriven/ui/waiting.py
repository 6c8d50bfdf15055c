"""Waiting: for long work that is done once for all, and in line while another's picture is painted.

Beside each event that paints runs one that looks where it stands in Gradio's queue, and says so
in a line of its own, in place of the status, until its turn has come. Whoever need not wait never
hears of it. (In the status line itself its last words could arrive after the painting's.)
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from memdriven.explore.memory_map import Progress
from memdriven.ui import state
from memdriven.ui.html import status
from memdriven.ui.startup import gr, session

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


EVERY = 0.4
"""Seconds between two looks."""
FOLLOWERS = 20
"""Visitors who are told at the same time; well below the 40 events that Gradio runs at once."""
PRESSES = """
document.addEventListener('click', event => {
  if (event.target.closest('#generate, #make-grid, #make-near, .md-run, ' +
      '[data-act="restore"], [data-act="similar"]')) {
    const line = document.querySelector('#status .html-container');
    const before = line.innerHTML;
    setTimeout(() => {
      if (line.innerHTML === before && !line.querySelector('[data-busy="true"]'))
        trigger('submit');
    }, 400);
  }
});
"""
"""Asks for the place in line where a press has not been heard of after 0.4 s.

The browser runs what listens to one press one after the other, so that what must run beside the
painting needs a listener of its own.
"""


def ahead(page: gr.Blocks, visitor: str | None) -> int | None:
    """Return how many requests come before a visitor's; None when none of theirs waits."""
    line = page._queue.event_queue_per_concurrency_id.get(state.CONCURRENCY_ID)
    if visitor is None or line is None:
        return None
    waiting = [event.session_hash for event in line.queue if event.alive]
    return waiting.index(visitor) + line.current_concurrency if visitor in waiting else None


def tell(page: gr.Blocks, line: gr.HTML) -> None:
    """Let a line, built with `PRESSES`, tell each visitor's place.

    Stop takes the visitor out of the queue, which ends this too; cut off, its last words might
    stay.
    """

    async def follow() -> AsyncIterator[Any]:
        visitor = session()
        while (before := ahead(page, visitor)) is not None:
            yield status(f"In line: {before} before you.", busy=True)
            await asyncio.sleep(EVERY)
        yield ""

    line.submit(
        follow,
        None,
        line,
        trigger_mode="once",
        show_progress="hidden",
        concurrency_id="line",
        concurrency_limit=FOLLOWERS,
        api_visibility="private",
    )
