"""Who is painted next, which answers still count, and who is told that others come first.

    held      an event without a listener (`/queue/data`, or `/call/NAME/ID`) is not painted, gives way in a
              full queue, and is forgotten after `PATIENCE` seconds
    session   a tab or program that already has `SESSION` events waiting is refused another (429)
    address   one address has at most `ADDRESS` events waiting, few of them large, and no more than every
              other one's turn; where it opens sessions without end, its own are forgotten first
    ends      a page's stream ends when the page knows, and no press falls between two streams
    press     a press takes the place of one of the same button that waits, and ends a long one that runs
    stop      what a session's presses asked for changes nothing after Stop, and a press after it counts

Gradio alone would paint whatever was asked for, first come first served, whether or not anybody waits for
the answer. Several visitors may share an address (a school, a proxy), which is why an address may have many.
"""

import asyncio
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from inspect import Parameter, signature
from itertools import count
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar, cast
from urllib.parse import parse_qsl
from weakref import WeakSet

from fastapi import HTTPException, Request
from gradio import queueing, routes, state_holder
from gradio.server_messages import ProcessCompletedMessage
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memdriven.ui import gr, session, state
from memdriven.ui.html import PRESS, QUEUED, status
from memdriven.ui.server import CLIENT

SESSION = 8
"""Events of one session that may wait: a press starts up to three."""
ADDRESS = 64
"""Events of one address that may wait with a listener, and as many without; of those the oldest go first.
So 64 pupils behind one proxy press at once; beside these, as many may ask for their places in line."""
LARGE, LARGE_EVENTS = 1_000_000, 2
"""Bytes of a request beyond which an address has only so many events waiting: each holds its own image."""
GIVES_WAY = 1.5
"""Seconds that each step of a long call waits at most for pictures: it goes on, however many there are."""
QUEUE_SIZE = 4 * ADDRESS
"""Requests that may wait, those that tell a place in line included, of all visitors together; no one
address can fill it."""
PATIENCE = 60.0
"""Seconds in which a caller must begin to listen: where 64 ask at once, being answered may take ten."""
GRACE = 30.0
"""Seconds in which a session still counts as listening: over a slow line a message takes long."""
REMEMBERED = 2_000
"""Sessions of whose lost events is told, as many as Gradio keeps messages for; and addresses in turn."""
LOST = f"no such call, or nobody listened to it within {PATIENCE:.0f} s: send it again, then listen at once"
NO_FUNCTION = "no such function of this page: see the page's API documentation"
GROUPS = (state.CONCURRENCY_ID, state.LONG, state.FETCH)
"""Queue groups that Stop ends, and in which a visitor has a place."""
SKIP = gr.skip()
Shown = Mapping[gr.blocks.Block, Any]
"""What components are to show."""
FULL = "Too many answers are still on their way to you: wait for one of them, then try again."


class Mailbox(asyncio.Queue[Any]):
    """A session's messages, which knows whether somebody reads them."""

    readers, left = 0, float("-inf")

    async def get(self) -> Any:
        """Wait for a message."""
        self.readers += 1
        try:
            return await super().get()
        finally:
            self.readers, self.left = self.readers - 1, time.monotonic()

    @property
    def read(self) -> bool:
        """Whether somebody reads, or did a moment ago."""
        return self.readers > 0 or time.monotonic() - self.left < GRACE


class FairQueue(queueing.Queue):
    """Gradio's queue, in which only what is listened to is painted and addresses take turns."""

    pages: ClassVar[WeakSet["FairQueue"]] = WeakSet()
    """Those of all pages of this process."""

    def __init__(self, *settings: Any, **named: Any) -> None:
        super().__init__(*settings, **named)
        self.pages.add(self)
        self.taken = count(1)
        self.turns: OrderedDict[str, int] = OrderedDict()

    async def push(self, body: Any, request: Request, username: str | None) -> Any:
        """Queue an event, its left-out last values filled in; refuse what is beyond a visitor's share."""
        body.session_hash = body.session_hash or secrets.token_hex(16)
        self._forget()
        called = self.blocks.fns.get(body.fn_index)
        if called is None:
            raise HTTPException(404, NO_FUNCTION)
        follows = called.concurrency_id == PLACES
        alike = [event for event in self._waiting() if (event.concurrency_id == PLACES) == follows]
        waiting = [event for event in alike if _address(event.request) == _address(request)]
        mine = sum(event.session_hash == body.session_hash for event in waiting)
        large = [event for event in waiting if _large(event.request)] if _large(request) else []
        heard, large_heard = (sum(map(self._heard, each)) for each in (waiting, large))
        if mine >= SESSION or heard >= ADDRESS or large_heard >= LARGE_EVENTS:
            raise HTTPException(429, FULL)
        if len(large) >= LARGE_EVENTS:
            self._lose(next(event for event in large if not self._heard(event)))
        unheard = [event for event in waiting if event.alive and not self._heard(event)]
        if len(self) >= QUEUE_SIZE:
            unheard = [event for event in self._waiting() if not self._heard(event)]
        if len(unheard) >= ADDRESS or (unheard and len(self) >= QUEUE_SIZE):
            self._lose(unheard[0])
        if called.fn and called.api_visibility == "public":
            defaults = [each.default for each in signature(called.fn).parameters.values()]
            left_out = defaults[len(body.data) :]
            body.data += [None if each is Parameter.empty else each for each in left_out]
        self.pending_messages_per_session.setdefault(body.session_hash, Mailbox())
        queued = await super().push(body, request, username)
        self._replace(self.event_ids_to_events.get(str(queued[1])))
        if body.session_hash in StreamEnds.left:
            with suppress(TimeoutError):
                await asyncio.wait_for(StreamEnds.left[body.session_hash].wait(), FAREWELL)
        return queued

    def get_events(self) -> tuple[list[queueing.Event], bool, str] | None:
        """Take the next event of a line that has a place free."""
        self._forget()
        for name, line in self.event_queue_per_concurrency_id.items():
            if line.concurrency_limit is None or line.current_concurrency < line.concurrency_limit:
                for event in self._in_turn(line.queue)[:1]:
                    line.queue.remove(event)
                    address = _address(event.request)
                    self.turns[address] = next(self.taken)
                    self.turns.move_to_end(address)
                    if len(self.turns) > REMEMBERED:
                        self.turns.popitem(last=False)
                    return [event], False, name
        return None

    async def process_events(self, events: list[queueing.Event], *given: Any, **named: Any) -> None:
        """Run an event to its end; of one that was stopped, the checkpoint that it chose since goes back."""
        await super().process_events(events, *given, **named)
        for event in events:
            if not event.alive:
                state.put_back(event.session_hash, getattr(event, "chosen", None))

    async def give_way(self, event: queueing.Event) -> None:
        """Before a long call's next step, wait a while for the picture that is painted."""
        line = self.event_queue_per_concurrency_id.get(state.CONCURRENCY_ID)
        end = time.monotonic() + GIVES_WAY
        while event.alive and line and line.current_concurrency and time.monotonic() < end:
            await asyncio.sleep(0.01)

    def ahead(self, visitor: str | None) -> int | None:
        """Return how many of its group come before a visitor's next; None when none of theirs waits."""
        places = []
        for line in filter(None, map(self.event_queue_per_concurrency_id.get, GROUPS)):
            sessions = [event.session_hash for event in self._in_turn(line.queue)]
            if visitor in sessions:
                painted = [event for event in self._painted() if event.concurrency_id == line.concurrency_id]
                places.append(sessions.index(visitor) + sum(event.alive for event in painted))
        return min(places, default=None)

    def _painted(self) -> list[queueing.Event]:
        return [event for events in self.active_jobs for event in events or ()]

    def _waiting(self) -> list[queueing.Event]:
        return [event for line in self.event_queue_per_concurrency_id.values() for event in line.queue]

    def _heard(self, event: queueing.Event) -> bool:
        box = self.pending_messages_per_session.get(event.session_hash)
        return isinstance(box, Mailbox) and box.read

    def _replace(self, pressed: queueing.Event | None) -> None:
        """Let a press take the place of one of the same button, by the same session.

        In line, where it waits; and of one that runs, if it takes long and only fills a panel, which is now
        the new one's: nobody waits behind what they asked for themselves.
        """
        if pressed and pressed.fn.api_visibility == "private" and not pressed.fn.collects_event_data:
            line = self.event_queue_per_concurrency_id[pressed.concurrency_id].queue
            runs = self._painted() if pressed.concurrency_id == state.LONG else []
            for event in [each for each in [*line, *runs] if each.fn is pressed.fn and each.alive]:
                if event.session_hash == pressed.session_hash and pressed in line and event is not pressed:
                    if event in line:
                        line.remove(pressed)
                        line.insert(line.index(event), pressed)
                    self._end(event)

    def _in_turn(self, line: Iterable[queueing.Event]) -> list[queueing.Event]:
        """Return the events with a listener: each address's first, that served longest ago before others."""
        rounds: Counter[str] = Counter()
        turns = []
        for event in filter(self._heard, line):
            address = _address(event.request)
            turns.append((rounds[address], self.turns.get(address, 0), event))
            rounds[address] += 1
        return [event for *_, event in sorted(turns, key=lambda turn: turn[:2])]

    def _forget(self) -> None:
        """Lose the events that nobody came to listen to, and the sessions that are long gone."""
        late = time.monotonic() - PATIENCE
        for event in self._waiting():
            if event.enqueue_time < late and not self._heard(event):
                self._lose(event)
        for gone in list(self.pending_event_ids_session)[:-REMEMBERED]:
            if gone not in self.pending_messages_per_session:
                del self.pending_event_ids_session[gone]

    def _lose(self, event: queueing.Event) -> None:
        """Take an event out of its line; whoever listens yet is told."""
        self._leave(event, ProcessCompletedMessage(output={"error": LOST}, success=False))

    def _end(self, event: queueing.Event, shown: Shown = MappingProxyType({})) -> None:
        """Answer an event with `shown` for some components, and with no change of the others."""
        data = [shown.get(part, SKIP) for part in event.fn.outputs]
        self._leave(event, ProcessCompletedMessage(output={"data": data}, success=True))

    def _leave(self, event: queueing.Event, last: ProcessCompletedMessage) -> None:
        """Send an event's last message; one that is painted ends with the step that it is in."""
        self.send_message(event, last)
        event.alive, event.chosen = False, state.chosen(event.session_hash)  # type: ignore[attr-defined]
        line = self.event_queue_per_concurrency_id[event.concurrency_id].queue
        if event in line:
            line.remove(event)
            self.event_ids_to_events.pop(event._id, None)


queueing.Queue = FairQueue  # type: ignore[misc]  # where Gradio looks for the queue of a page


class NothingKept(dict[int, Any]):
    """Takes whatever it is given, and holds none of it."""

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: int) -> Any:
        return {}

    def __setitem__(self, key: int, value: Any) -> None:
        pass


class Session(state_holder.SessionState):
    """What the server holds of a tab or caller.

    Not what each component shows, pictures included: Gradio makes and keeps that for its deep links, which
    this page has not, and while it is made for one caller all others wait.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        super().__init__(cast(gr.Blocks, SimpleNamespace(default_config=blocks.default_config, blocks={})))
        self.config_values = NothingKept()
        self.address = CLIENT.get()


state_holder.SessionState = Session  # type: ignore[misc]


class Sessions(state_holder.StateHolder):
    """What the server holds of all; beyond its limit, the address with most loses what it used least."""

    def update(self, session_id: str) -> None:
        """Count a session as just used."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
            if len(self.session_data) > self.capacity:
                addresses = [cast(Session, held).address for held in self.session_data.values()]
                most, _ = Counter(addresses).most_common(1)[0]
                gone = list(self.session_data)[addresses.index(most)]
                del self.session_data[gone]
                self.time_last_used.pop(gone, None)


routes.StateHolder = Sessions  # type: ignore[attr-defined]  # where Gradio looks for it


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _large(request: Request) -> bool:
    return bool(request.scope.get("length", 0) > LARGE)


FAREWELL = 2.0
"""Seconds in which a page leaves a stream that it was told the end of."""
_END = b'data: {"msg":"close_stream"'


class StreamEnds:
    """ASGI middleware: the stream of a session's answers ends when its page has left it.

    Gradio ends a stream after the last answer. A page that was told so leaves, and opens another with the
    next press. One that presses before it has heard would wait for ever on a stream that has ended: so the
    reply to a press (`FairQueue.push`) waits until the page has left.
    """

    left: ClassVar[dict[str, asyncio.Event]] = {}
    """By session, of the streams that are ending."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; where it is a stream, see to its end."""
        if scope["type"] != "http" or not scope["path"].endswith("/queue/data"):
            await self.app(scope, receive, send)
            return
        session = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("session_hash", "")
        left, done = asyncio.Event(), asyncio.Event()
        done.set()

        async def listen() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                left.set()
                await done.wait()  # or Gradio would drop what the session has asked for meanwhile
            return message

        async def tell(message: Message) -> None:
            if not message.get("body", b"").startswith(_END):
                await send(message)
                return
            self.left[session] = left
            done.clear()
            try:
                await send(message)
                with suppress(TimeoutError):
                    await asyncio.wait_for(left.wait(), FAREWELL)
            finally:
                self.left.pop(session, None)
                done.set()

        await self.app(scope, listen, tell)


# ---- The place in line ---------------------------------------------------------------------------

EVERY = 0.4
"""Seconds between two looks at the place in line."""
PLACES = "line"
"""Queue group of those who ask for their place."""
FOLLOWERS = 20
"""Visitors who are told at the same time; well below the 40 events that Gradio runs at once."""


async def follow() -> AsyncIterator[str]:
    """Yield where in line the visitor stands, until their turn has come.

    In a line of its own: in the status its last words could arrive after the painting's. Whoever need not
    wait never hears of it; Stop takes the visitor out of the queue, which ends this, too.
    """
    visitor = session()
    while before := next((n for each in FairQueue.pages if (n := each.ahead(visitor)) is not None), None):
        yield status(f"In line: {before} before you.", busy=True)
        await asyncio.sleep(EVERY)
    yield ""


def tell(line: gr.HTML) -> None:
    """Let a panel with `place.js` tell each visitor's place."""
    own = {"trigger_mode": "once", "concurrency_id": PLACES, "concurrency_limit": FOLLOWERS}
    line.submit(follow, None, line, **{**QUEUED, **own})


# ---- Stop ----------------------------------------------------------------------------------------


def stop(shown: Shown, giving: gr.blocks.Block | None = None) -> None:
    """End what the visitor's presses asked for (of them those that are `giving` something for a component).

    For handlers that are `async`. Gradio's own `cancels` come from the page, which hears of their end late
    and forgets what was pressed meanwhile. The last message of each event says what the page is to show,
    `shown`: others may be on their way.
    """
    for page in FairQueue.pages:
        for event in [*page._painted(), *page._waiting()]:
            asked = event.session_hash == session() and event.concurrency_id in GROUPS
            if asked and (giving is None or giving in event.fn.outputs):
                page._end(event, shown)


def stop_with(column: SimpleNamespace) -> None:
    """Let the column's button end what its visitor asked for; what is painted of it stays.

    The checkpoint is that in use, whatever was chosen, and no file from before is saved once more.
    """

    async def stopped() -> str:
        line = status("Stopped.")
        stop({column.status: line, column.checkpoint: state.chosen(), column.saved: ""})
        return line

    column.stop.click(stopped, None, column.status, **PRESS)
