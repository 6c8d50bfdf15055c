"""What the page's server lets in and out, each visitor's share of the queue, and their place in line.

    hosts     a page of another site must not reach this server by a name of its own (DNS rebinding)
    origins   another site's page may not post here, and reads no answer
    sizes     a request's body is refused as soon as it is known to be too large, and never kept
    routes    of Gradio's, those that this page does not use are not there
    headers   the browser itself refuses requests beyond the page's own server

    held      an event without a listener (`/queue/data`, or `/call/NAME/ID`) is not painted, and forgotten
              after `PATIENCE` seconds
    session   a tab or program that already has `SESSION` events waiting is refused another (429)
    address   one address has at most `ADDRESS` events waiting, and no more than every other one's turn

Gradio alone would paint whatever was asked for, first come first served, whether or not anybody waits for
the answer. Several visitors may share an address (a school, a proxy), which is why an address may have many.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import secrets
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from inspect import Parameter, signature
from itertools import count
from typing import Any, ClassVar
from weakref import WeakSet

from fastapi import HTTPException, Request
from gradio import queueing
from gradio.route_utils import FnIndexInferError
from gradio.server_messages import ProcessCompletedMessage

from memdriven.errors import ConfigError
from memdriven.ui import gr, session, state
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
LARGEST, LARGEST_EVENT = 1_000_000, 11_500_000
"""Bytes of a request's body; an own image is sent as text inside an event."""
ANSWERS = {
    403: ("a request from this page", "open the page itself, and use it there"),
    404: ("a route of this page", "see the page's API documentation"),
    413: ("a smaller request", "send an image of at most 8 MB, and a caption of at most 2,000 characters"),
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

    It reads no body and keeps no state but the settings.

    Args:
        app: Gradio's application.
        hosts: names and addresses that the page may be asked for by; `*` for any, `0.0.0.0` for any that is
            a number, which no other site's name can be.
        frames: sites that may show the page in a frame; none by default.
        forwarded: believe what a proxy in front says of host, scheme and the visitor's address.
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
        policy = "; ".join((*POLICY, " ".join(["frame-ancestors 'self'", *frames])))
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
        given = scope.get("headers", ())
        headers = {name.lower(): value for name, value in given}
        if not self.forwarded:
            scope["headers"] = [each for each in given if not each[0].lower().startswith(b"x-forwarded")]
        elif b"x-forwarded-for" in headers:
            nearest = headers[b"x-forwarded-for"].decode("latin-1").rpartition(",")[2].strip()
            scope["client"] = (nearest, 0)
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
        except FnIndexInferError:
            await self._answer(404, send)
        except RuntimeError as error:
            # Gradio says in a stream that there is no such call or session, and raises all the same.
            if not (begun and isinstance(error.__cause__, HTTPException)):
                raise
            await send({"type": "http.response.body", "body": b""})

    def _refused(self, scope: Scope, headers: dict[bytes, bytes]) -> int:
        """Return why a request is refused as an HTTP status; 0 where it is not."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        # Without its port: [::1]:7860 or localhost:7860.
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        by_number = NUMBERS in self.hosts and _is_number(name)
        if ANY not in self.hosts and name not in self.hosts and not by_number:
            return 421
        if scope["path"].removeprefix(API).startswith(UNUSED):
            return 404
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if scope["method"] not in ("GET", "HEAD") and origin and origin.partition("://")[2] != host:
            return 403
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 15 or int(length) > _largest(scope["path"]):
            return 413
        return 0

    async def _answer(self, status: int, send: Send) -> None:
        """Send a refusal as JSON that says what to do."""
        wanted, fix = ANSWERS[status]
        content = json.dumps({"error": f"wanted: {wanted}; what to do: {fix}"}).encode()
        start = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        start += [(b"connection", b"close"), *self.headers]
        await send({"type": "http.response.start", "status": status, "headers": start})
        await send({"type": "http.response.body", "body": content})


class _TooLarge(Exception):
    """A body went beyond its limit."""


def _largest(path: str) -> int:
    return LARGEST_EVENT if path.startswith((f"{API}/queue/join", f"{API}/run/")) else LARGEST


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


# ---------------------------------------------------------------------------------------------------------
# The queue: who is painted next, and who is told that others come first.

SESSION = 8
"""Events of one session that may wait: a press starts up to three."""
ADDRESS = 64
"""Events of one address that may wait with a listener, and as many without; of those the oldest go first."""
QUEUE_SIZE = 4 * ADDRESS
"""Requests that may wait, those that tell a place in line included, of all visitors together; no one
address can fill it."""
PATIENCE = 10.0
"""Seconds in which a caller must begin to listen."""
GRACE = 30.0
"""Seconds in which a session still counts as listening: over a slow line a message takes long."""
REMEMBERED = 2_000
"""Sessions of whose lost events is told, as many as Gradio keeps messages for; and addresses in turn."""
LOST = f"no such call, or nobody listened to it within {PATIENCE:.0f} s: send it again, then listen at once"
NO_FUNCTION = "no such function of this page: see the page's API documentation"
FULL = "fewer calls at once: wait for the answers to the calls that you have sent, then send this one again"


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

    pages: ClassVar[WeakSet[FairQueue]] = WeakSet()
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
        address = _address(request)
        waiting = [event for event in self._waiting() if _address(event.request) == address]
        mine = sum(event.session_hash == body.session_hash for event in waiting)
        if mine >= SESSION or sum(map(self._heard, waiting)) >= ADDRESS:
            raise HTTPException(429, FULL)
        unheard = [event for event in waiting if not self._heard(event)]
        if len(unheard) >= ADDRESS:
            self._lose(unheard[0])
        called = self.blocks.fns.get(body.fn_index)
        if called is None:
            raise HTTPException(404, NO_FUNCTION)
        if called.fn and called.api_visibility == "public":
            defaults = [each.default for each in signature(called.fn).parameters.values()]
            left_out = defaults[len(body.data) :]
            body.data += [None if each is Parameter.empty else each for each in left_out]
        self.pending_messages_per_session.setdefault(body.session_hash, Mailbox())
        return await super().push(body, request, username)

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

    def ahead(self, visitor: str | None) -> int | None:
        """Return how many paintings come before a visitor's; None when none of theirs waits."""
        line = self.event_queue_per_concurrency_id.get(state.CONCURRENCY_ID)
        sessions = [event.session_hash for event in self._in_turn(line.queue)] if line else []
        return sessions.index(visitor) + line.current_concurrency if line and visitor in sessions else None

    def _waiting(self) -> list[queueing.Event]:
        return [event for line in self.event_queue_per_concurrency_id.values() for event in line.queue]

    def _heard(self, event: queueing.Event) -> bool:
        box = self.pending_messages_per_session.get(event.session_hash)
        return isinstance(box, Mailbox) and box.read

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
        self.send_message(event, ProcessCompletedMessage(output={"error": LOST}, success=False))
        self.event_queue_per_concurrency_id[event.concurrency_id].queue.remove(event)
        if event.data and event.data.event_id:
            self.event_ids_to_events.pop(event.data.event_id, None)


queueing.Queue = FairQueue  # type: ignore[misc]  # where Gradio looks for the queue of a page


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


EVERY = 0.4
"""Seconds between two looks at the place in line."""
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
    """Let a panel, made with `PRESSES`, tell each visitor's place."""
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
