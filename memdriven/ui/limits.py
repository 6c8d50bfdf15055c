"""A visitor's share of the queue: what nobody listens to waits apart, and addresses take turns.

Gradio paints whatever was asked for, first come first served, whether or not anybody waits for the
answer. Around it stands this middleware:

    held     an event without a listener (`/queue/data`, or `/call/NAME/ID`) is taken out of the queue until
             somebody listens, and forgotten after `PATIENCE` seconds: it is never painted
    session  a tab or program that already has `SESSION` events waiting is refused another (429)
    address  one address has at most `ADDRESS` events waiting, and no more than every other one's turn

Several visitors may share an address (a school, a proxy), which is why an address may have many.
"""

from __future__ import annotations

import json
import time
from collections import Counter, OrderedDict
from contextlib import suppress
from inspect import Parameter, signature
from typing import Any
from urllib.parse import parse_qs

from memdriven.ui.api import ENDPOINTS
from memdriven.ui.server import API, Application, Message, Receive, Scope, Send, answer
from memdriven.ui.startup import gr

SESSION = 8
"""Events of one session that may wait: a press starts up to three."""
ADDRESS = 64
"""Events of one address that may wait."""
HELD = 64
"""Events of one address that may wait for a listener; the oldest go first."""
PATIENCE = 10.0
"""Seconds in which a caller must begin to listen."""
LOST = f"no such call, or nobody listened to it within {PATIENCE:.0f} s: send it again, then listen at once"


class FairShare:
    """ASGI middleware between `OwnServerOnly` and Gradio's application.

    Args:
        app: Gradio's application.
        page: whose queue it is. Gradio has no public way to look into it.
        forwarded: believe what a proxy in front says of a visitor's address.
    """

    def __init__(self, app: Application, *, page: gr.Blocks, forwarded: bool = False) -> None:
        self.app, self.page, self.forwarded = app, page, forwarded
        self._listening: Counter[str] = Counter()
        self._held: OrderedDict[str, tuple[Any, str, float]] = OrderedDict()
        self._addresses: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; look at what it asks for before its answer goes out."""
        path = scope["path"].removeprefix(API) if scope["type"] == "http" else ""
        if scope.get("method") == "POST" and path.startswith(("/queue/join", "/call/")):
            await self._join(scope, receive, send)
        elif scope.get("method") == "GET" and path.startswith(("/queue/data", "/call/")):
            await self._listen(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _join(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Gradio queue an event, then hold it, keep it, or take it back and refuse it."""
        start: Message = {}
        content, refused, address = b"", False, self._address(scope)

        async def look(message: Message) -> None:
            nonlocal start, content, refused
            if message["type"] == "http.response.start":
                start = message
                return
            content += message.get("body", b"")
            if message.get("more_body", False):
                return
            # Nothing has been awaited since the event was queued, so that its turn has not come.
            refused = start["status"] == 200 and not self._seat(_event_id(content), address)
            if not refused:
                await send(start)
                await send({"type": "http.response.body", "body": content})

        await self.app(scope, completed(scope["path"].removeprefix(API), receive), look)
        if refused:
            await answer(429, send)

    def _seat(self, name: str, address: str) -> bool:
        """Return whether a new event may stay."""
        queue = self.page._queue
        event = queue.event_ids_to_events.get(name)
        if event is None:
            return True
        line: list[Any] = queue.event_queue_per_concurrency_id[event.concurrency_id].queue
        if event not in line:
            return True  # its turn has come already
        self._forget()
        held = [each for each, _, _ in self._held.values()]
        of_session = sum(each.session_hash == event.session_hash for each in [*self._waiting(), *held])
        if of_session > SESSION or self._full(address):
            line.remove(event)
            self._drop(event)
            return False
        self._addresses[name] = address
        if self._listening[event.session_hash]:
            self._take_turns(line)
            return True
        line.remove(event)
        del self._addresses[name]
        self._held[name] = (event, address, time.monotonic())
        mine = [each for each, (_, owner, _) in self._held.items() if owner == address]
        for oldest in mine[:-HELD]:
            self._drop(self._held.pop(oldest)[0])
        return True

    async def _listen(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Queue what a listener waits for, and remember that somebody listens while it does."""
        queue, session = self.page._queue, self._session(scope)
        if session not in queue.pending_messages_per_session:
            await _tell_lost(scope, send)
            return
        self._listening[session] += 1
        refused = False
        for name in [name for name, (event, _, _) in self._held.items() if event.session_hash == session]:
            event, address, _ = self._held.pop(name)
            if self._full(address):
                self._drop(event)
                refused = True
                continue
            self._addresses[name] = address
            line = queue.event_queue_per_concurrency_id[event.concurrency_id].queue
            line.append(event)
            self._take_turns(line)
        try:
            if refused and not queue.pending_event_ids_session.get(session):
                await answer(429, send)
            else:
                await self.app(scope, receive, send)
        finally:
            self._listening[session] -= 1
            if not self._listening[session]:
                del self._listening[session]

    def _waiting(self) -> list[Any]:
        """Return the events in Gradio's lines, with the addresses of all others forgotten."""
        lines = self.page._queue.event_queue_per_concurrency_id.values()
        waiting = [event for each in lines for event in each.queue]
        names = {each._id for each in waiting}
        self._addresses = {name: owner for name, owner in self._addresses.items() if name in names}
        return waiting

    def _full(self, address: str) -> bool:
        """Return whether an address has its share of the lines."""
        self._waiting()
        return list(self._addresses.values()).count(address) >= ADDRESS

    def _take_turns(self, line: list[Any]) -> None:
        """Order a line by rounds: each address's first event, then each one's second."""
        rounds: Counter[str] = Counter()
        turns: dict[str, int] = {}
        for event in line:
            address = self._addresses.get(event._id, event._id)
            turns[event._id] = rounds[address]
            rounds[address] += 1
        line.sort(key=lambda event: turns[event._id])

    def _forget(self) -> None:
        """Drop the held events that nobody came to listen to."""
        late = time.monotonic() - PATIENCE
        for name in [name for name, (_, _, since) in self._held.items() if since < late]:
            self._drop(self._held.pop(name)[0])

    def _drop(self, event: Any) -> None:
        """Let Gradio forget an event that is in no line."""
        queue = self.page._queue
        event.alive = False
        queue.event_ids_to_events.pop(event._id, None)
        pending = queue.pending_event_ids_session.get(event.session_hash, set())
        pending.discard(event._id)
        if not pending and not self._listening[event.session_hash]:
            queue.pending_event_ids_session.pop(event.session_hash, None)
            if event.session_hash in queue.pending_messages_per_session:
                del queue.pending_messages_per_session[event.session_hash]

    def _session(self, scope: Scope) -> str:
        """Return whose events a request listens to."""
        if scope["path"].removeprefix(API).startswith("/queue/data"):
            text: str = scope.get("query_string", b"").decode("latin-1")
            query = parse_qs(text)
            return query.get("session_hash", [""])[-1]
        name: str = scope["path"].rstrip("/").rpartition("/")[2]
        pending: dict[str, set[str]] = self.page._queue.pending_event_ids_session
        return next((session for session, names in pending.items() if name in names), name)

    def _address(self, scope: Scope) -> str:
        """Return a visitor's address: the nearest proxy's word for it, where that is believed."""
        if self.forwarded:
            for name, value in reversed(scope.get("headers", ())):
                if name.lower() == b"x-forwarded-for":
                    nearest: str = value.decode("latin-1").rpartition(",")[2]
                    return nearest.strip()
        return str((scope.get("client") or ("",))[0])


async def _tell_lost(scope: Scope, send: Send) -> None:
    """End a stream in the way that Gradio's clients understand; Gradio itself would break it off."""
    if scope["path"].removeprefix(API).startswith("/queue/data"):
        told = {"msg": "unexpected_error", "message": LOST, "session_not_found": True, "success": False}
        content = f"data: {json.dumps(told)}\n\n".encode()
    else:
        content = f"event: error\ndata: {json.dumps({'error': LOST})}\n\n".encode()
    start = [(b"content-type", b"text/event-stream"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": start})
    await send({"type": "http.response.body", "body": content})


def completed(path: str, receive: Receive) -> Receive:
    """Return a receiver of a call's body in which values left out at the end have their defaults."""
    function = next((each for each in ENDPOINTS if path.rstrip("/") == f"/call/{each.__name__}"), None)
    if function is None:
        return receive
    defaults = [each.default for each in signature(function).parameters.values()]

    async def receive_whole() -> Message:
        content, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return message
            content, more = content + message.get("body", b""), message.get("more_body", False)
        with suppress(ValueError, RecursionError):
            call = json.loads(content)
            if isinstance(call, dict) and isinstance(call.get("data"), list):
                left_out = defaults[len(call["data"]) :]
                call["data"] += [None if each is Parameter.empty else each for each in left_out]
                content = json.dumps(call).encode()
        return {"type": "http.request", "body": content, "more_body": False}

    return receive_whole


def _event_id(content: bytes) -> str:
    try:
        return str(json.loads(content)["event_id"])
    except (ValueError, KeyError, TypeError):
        return ""
