"""The order of answers: none is put over that to a newer question, nor over what was typed since.

While a picture is painted other words may be written, and their references be shown: the picture's own come
later, and answer what nobody asks any more. So what an event gives for a component stays away from when a
later event with another question, which gives something for it, too, has begun.
"""

import time
from collections.abc import Collection
from contextvars import ContextVar
from enum import Enum
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from gradio import queueing

from memdriven.errors import MemDrivenError
from memdriven.ui import gr
from memdriven.ui.html import report
from memdriven.ui.queue import SKIP, FairQueue
from memdriven.ui.state import LONG

SAID = 300
"""Letters that a caller is told of a wrong value."""
UNEXPECTED = "The page did not expect that: see its API documentation, or try again."


class Asked(NamedTuple):
    """When an event came, and the values of the page's question that it was asked with or has set."""

    came: float
    question: dict[gr.blocks.Block, Any]
    typed: bool = False
    """Whether it only tells that a visitor wrote into a component."""
    follows: bool = False
    """Whether it only follows a change of the question, by a visitor or by another event."""
    by_hand: bool = False
    """Whether a visitor has changed something of the question."""

    def gives_way(self, other: "Asked | None", is_status: bool) -> bool:
        """Return whether another event's answer stays.

        That is one which came later, with another question or a value by hand. What only follows a change
        leaves the status to what asks the same, before or after it, or has made the change.
        """
        if other is None or other is self:
            return False
        same = all(other.question.get(part, value) == value for part, value in self.question.items())
        if self.came < other.came:
            return other.typed or not same or (is_status and self.follows)
        return is_status and self.follows and (same or not self.by_hand)


ASKED: ContextVar[tuple[Asked, queueing.Event | None]] = ContextVar("asked")
"""Of the event whose step is running; and the event itself, unless it is beside the queue."""


class Page(gr.Blocks):
    """A page on which no answer is put over that to a newer question."""

    question: Collection[gr.blocks.Block] = ()
    """The components whose values make a question."""
    status_line: gr.blocks.Block | None = None
    """The component that says what was done."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.newest: WeakKeyDictionary[Any, dict[gr.blocks.Block, Asked]] = WeakKeyDictionary()
        """By session, what each component answers or is about to."""
        self.values: WeakKeyDictionary[Any, dict[gr.blocks.Block, Any]] = WeakKeyDictionary()
        """By session, the question's values as they were asked with or set last: others are a visitor's."""

    async def process_api(
        self, block_fn: Any, inputs: list[Any], state: Any = None, *given: Any, **named: Any
    ) -> dict[str, Any]:
        """Run an event, or the next step of a generator's."""
        name = named.get("event_id") or ""
        found = (page.event_ids_to_events.get(name) for page in FairQueue.pages)
        event: Any = next(filter(None, found), None)
        newest = self.newest.setdefault(state, {}) if state else {}
        last = self.values.setdefault(state, {}) if state else {}
        asked = getattr(event, "asked", None)
        if asked is None:
            came = event.enqueue_time if event else time.monotonic()
            asks = any(part in self.question for part in block_fn.inputs)
            follows = asks and all(name == "change" for _, name in block_fn.targets)
            asked = Asked(came, {}, block_fn.fn is typed, follows)
            for part, value in zip(block_fn.inputs, inputs, strict=False):
                if part in self.question:
                    asked.question[part] = state[part._id] if part.stateful else value
                    if last.get(part, getattr(part, "value", value)) != value and not part.stateful:
                        newest[part] = Asked(came, {}, typed=True)
                        asked = asked._replace(by_hand=True)
                    last[part] = value
            for part in block_fn.outputs:
                if not asked.gives_way(newest.get(part), part is self.status_line):
                    newest[part] = asked
            if event:
                event.asked = asked
        if event and event.concurrency_id == LONG:
            for page in list(FairQueue.pages):
                await page.give_way(event)
        ASKED.set((asked, event))
        try:
            made = await super().process_api(block_fn, inputs, state, *given, **named)
        except MemDrivenError as error:  # of an endpoint; the page's own handlers tell theirs in the status
            raise gr.Error(str(error), print_exception=False) from error
        except gr.Error as error:  # Gradio's own, of a value, which it repeats however long
            raise gr.Error(error.message[:SAID], print_exception=False) from None
        except Exception as error:
            report(error)
            raise gr.Error(UNEXPECTED, print_exception=False) from None
        if not made["is_generating"]:  # a generator's last values are sent once more
            for place, part in enumerate(block_fn.outputs):
                if asked.gives_way(newest.get(part), part is self.status_line):
                    made["data"][place] = SKIP
        return made

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """Leave the outdated out of an event's answer; all of a stopped one's, which nobody is shown."""
        asked, event = ASKED.get((None, None))
        parts, stopped = block_fn.outputs, event is not None and not event.alive
        if asked and state and parts:
            values = [predictions] if len(parts) == 1 else predictions
            if isinstance(predictions, dict) and set(predictions) <= set(parts):
                values = [predictions.get(part, SKIP) for part in parts]
            values = list(values)
            for place, (part, value) in enumerate(zip(parts, values, strict=True)):
                if isinstance(value, Enum):  # a generator's end
                    continue
                if stopped or asked.gives_way(self.newest[state].get(part), part is self.status_line):
                    values[place] = SKIP
                elif part in self.question and not isinstance(value, (dict, gr.blocks.Block)):
                    asked.question[part] = self.values[state][part] = value
            predictions = values[0] if len(parts) == 1 else values
        return await super().postprocess_data(block_fn, predictions, state)


async def typed() -> Any:
    """Leave a component as a visitor wrote it; `Page` hears of it, and no earlier event replaces it."""
    return SKIP
