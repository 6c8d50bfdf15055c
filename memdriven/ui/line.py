"""Waiting in line: one picture at a time is painted, and those who wait are told their place.

Beside each event that paints runs one that looks where it stands in Gradio's queue, and says so
in a line of its own, in place of the status, until its turn has come. Whoever need not wait never
hears of it. (In the status line itself its last words could arrive after the painting's.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from memdriven.ui import state, strings
from memdriven.ui.startup import gr, session
from memdriven.ui.status import status

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
            yield status(strings.IN_LINE.format(count=before), busy=True)
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
