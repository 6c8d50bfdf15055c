"""What the page's server lets in and out, each visitor's share of the queue, and their place in line.

    hosts     a page of another site must not reach this server by a name of its own (DNS rebinding)
    origins   another site's page may not post here, and reads no answer
    sizes     a request's body is refused as soon as it is known to be too large, and never kept
    routes    of Gradio's, those that this page does not use are not there
    headers   the browser itself refuses requests beyond the page's own server


Gradio paints whatever was asked for, first come first served, whether or not anybody waits for the
answer. Around it stands this middleware:

    held     an event without a listener (`/queue/data`, or `/call/NAME/ID`) is taken out of the queue until
             somebody listens, and forgotten after `PATIENCE` seconds: it is never painted
    session  a tab or program that already has `SESSION` events waiting is refused another (429)
    address  one address has at most `ADDRESS` events waiting, and no more than every other one's turn

Several visitors may share an address (a school, a proxy), which is why an address may have many.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from inspect import Parameter, signature
from typing import Any
from urllib.parse import parse_qs

from memdriven.errors import ConfigError
from memdriven.ui import gr, session, state
from memdriven.ui.api import ENDPOINTS
from memdriven.ui.html import status

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"
UNUSED = (
    *("/upload", "/process_recording", "/component_server", "/deep_link", "/vibe", "/undo-vibe", "/stream/"),
    *("/proxy=", "/monitoring", "/profiling", "/run-history", "/dev/", "/login", "/logout"),
)
"""Beginnings of Gradio's routes that this page does not use."""
LARGEST = {f"{API}/queue/join": 11_500_000, f"{API}/run/": 11_500_000}
"""Bytes of a body by the beginning of its route: an own image is sent as text inside an event."""
LARGEST_OTHER = 1_000_000
ANSWERS = {
    403: ("a request from this page", "open the page itself, and use it there"),
    404: ("a route of this page", "see the page's API documentation"),
    413: ("a smaller request", "send an image of at most 8 MB, and a caption of at most 2,000 characters"),
    429: (
        "fewer calls at once: each visitor has a share of the queue",
        "wait for the answers to the calls that you have sent, then send this one again",
    ),
    421: ("the host that this server listens on", "start it with --allowed-host NAME to serve that name"),
}
POLICY = (
    "default-src 'self'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "style-src 'self' 'unsafe-inline'",
    # Gradio compiles its templates in the browser.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
    "connect-src 'self'",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
)
ANY, NUMBERS = "*", "0.0.0.0"
"""Among the names a page is asked for by: whatever, and whatever is a number."""
NOT_OURS = (99, 49, 10049)
"""EADDRNOTAVAIL of Linux, macOS and Windows."""


class OwnServerOnly:
    """ASGI middleware: lets in what this page's own visitors send, and answers the rest by itself.

    Args:
        app: Gradio's application.
        hosts: names and addresses that the page may be asked for by; `*` for any, `0.0.0.0` for any that is
            a number, which no other site's name can be.
        frames: sites that may show the page in a frame; none by default.
        forwarded: believe what a proxy in front says of host and scheme.
    """

    def __init__(
        self,
        app: Application,
        *,
        hosts: Iterable[str] = (ANY,),
        frames: Iterable[str] = (),
        forwarded: bool = False,
    ) -> None:
        self.app, self.hosts, self.forwarded = app, {host.lower() for host in hosts}, forwarded
        ancestors = " ".join(["'self'", *frames])
        policy = "; ".join((*POLICY, f"frame-ancestors {ancestors}"))
        self.headers = [
            (b"content-security-policy", policy.encode("ascii")),
            (b"referrer-policy", b"no-referrer"),
            (b"x-content-type-options", b"nosniff"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on and its answer back with the headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope.get("headers", ())}
        if not self.forwarded:
            scope["headers"] = [
                (n, v) for n, v in scope.get("headers", ()) if not n.lower().startswith(b"x-forwarded")
            ]
        refused = self._refused(scope, headers)
        if refused:
            await self._answer(refused, send)
            return
        limit, read, begun = _largest(scope["path"]), 0, False

        async def receive_little() -> Message:
            """Stop reading a body without a length as soon as it is too long."""
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                raise _TooLarge
            return message

        async def send_with_policy(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                # No other site may read an answer, whatever Gradio offers.
                kept = [(n, v) for n, v in message.get("headers", ()) if not n.startswith(b"access-control-")]
                message["headers"] = [*kept, *self.headers]
            await send(message)

        try:
            await self.app(scope, receive_little, send_with_policy)
        except _TooLarge:
            if not begun:
                await self._answer(413, send)

    def _refused(self, scope: Scope, headers: dict[bytes, bytes]) -> int:
        """Return why a request is refused as an HTTP status; 0 where it is not."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = _name(host)
        by_number = NUMBERS in self.hosts and _is_number(name)
        if ANY not in self.hosts and name not in self.hosts and not by_number:
            return 421
        path = scope["path"].removeprefix(API)
        if path.startswith(UNUSED):
            return 404
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if scope["method"] not in ("GET", "HEAD") and origin and origin.partition("://")[2] != host:
            return 403
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 15 or int(length) > _largest(scope["path"]):
            return 413
        return 0

    async def _answer(self, status: int, send: Send) -> None:
        await answer(status, send, self.headers)


async def answer(status: int, send: Send, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a refusal as JSON that says what to do."""
    wanted, fix = ANSWERS[status]
    content = json.dumps({"error": f"wanted: {wanted}; what to do: {fix}"}).encode()
    start = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    start += [(b"connection", b"close"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": content})


class _TooLarge(Exception):
    """A body went beyond its limit."""


def _largest(path: str) -> int:
    return next((size for start, size in LARGEST.items() if path.startswith(start)), LARGEST_OTHER)


def _name(host: str) -> str:
    """Return a Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def served_hosts(host: str, allowed: Iterable[str] = ()) -> list[str]:
    """Return by which names a page that listens on `host` may be asked for.

    Where it listens on every address it answers to this machine's names and to every number, as it cannot
    know under which a container or a second network is seen; a name of another site that points here is none.

    Args:
        host: the address listened on.
        allowed: further names, those of a proxy or a Space; `*` for any.
    """
    names = {host.lower(), "localhost", "127.0.0.1", "::1", *(name.lower() for name in allowed)}
    if space := os.environ.get("SPACE_HOST"):
        names.add(space.lower())
    if host in ("0.0.0.0", "::"):
        names |= {NUMBERS, socket.gethostname().lower(), socket.getfqdn().lower()}
    return sorted(names)


def free_port(host: str, wanted: int) -> int:
    """Return the wanted port, or a free one for 0, if it can be listened on.

    Asked before Gradio starts anything, which leaves its threads behind when it fails.

    Raises:
        ConfigError: there is no such port, or the host is no address of this machine.
        OSError: the port is taken.
    """
    if not 0 <= wanted <= 65_535:
        raise ConfigError(
            wanted="--port: a number in 0..65535", found=str(wanted), fix="choose another --port"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if not _is_number(host):
            socket.getaddrinfo(host, wanted, family)
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, wanted))
            return int(probe.getsockname()[1])
    except socket.gaierror:
        problem = "no such name"
    except UnicodeError:
        problem = "no name that can be looked up"
    except OSError as error:
        if error.errno not in NOT_OURS:
            raise
        problem = "not an address of this machine"
    raise ConfigError(
        wanted="--host: an address of this machine",
        found=f"{host}: {problem}",
        fix="use 127.0.0.1, or 0.0.0.0 to let other machines in",
    )


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


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
