"""What the page's server lets in and out.

hosts     a page of another site must not reach this server by a name of its own (DNS rebinding)
origins   another site's page may not post here, and reads no answer
sizes     a request's body is refused as soon as it is known to be too large, or stops, and never kept
routes    of Gradio's, those that this page does not use are not there
headers   the browser itself refuses requests beyond the page's own server
"""

import asyncio
import ipaddress
import os
import socket
from collections.abc import Iterable
from contextvars import ContextVar

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from gradio.route_utils import FnIndexInferError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memdriven.errors import ConfigError

CLIENT: ContextVar[str] = ContextVar("client", default="")
"""The address of the visitor whose request is answered."""
API = "/gradio_api"
UNUSED = (
    *("/upload", "/process_recording", "/component_server", "/deep_link", "/vibe", "/undo-vibe", "/stream/"),
    *("/proxy=", "/monitoring", "/profiling", "/run-history", "/dev/", "/login", "/logout"),
)
"""Beginnings of Gradio's routes that this page does not use."""
LARGEST, LARGEST_EVENT = 1_000_000, 11_500_000
"""Bytes of a request's body; an own image is sent as text inside an event."""
PAUSE = 30.0
"""Seconds that the next part of a request's body may take to come."""
ANSWERS = {
    403: ("a request from this page", "open the page itself, and use it there"),
    404: ("a route of this page", "see the page's API documentation"),
    408: ("the rest of the request", "send it again, over a line that stays open"),
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
SCHEME = b'<meta name="color-scheme" content="light dark">'
"""Whoever asks for dark pages sees no white one first. What Gradio is given for its head comes by script."""
ANY, NUMBERS = "*", "0.0.0.0"
"""Among the names a page is asked for by: whatever, and whatever is a number."""
OWN_NAMES = ("localhost", "127.0.0.1", "::1")
"""Of this machine, for its own programs alone."""
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
        still: what stands in the page until its scripts have run.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] = (ANY,),
        frames: Iterable[str] = (),
        forwarded: bool = False,
        still: str = "",
    ) -> None:
        self.inserted = {b"<head>": b"<head>" + SCHEME, b"<gradio-app": still.encode() + b"<gradio-app"}
        self.app, self.hosts, self.forwarded = app, {host.lower() for host in hosts}, forwarded
        policy = "; ".join((*POLICY, " ".join(["frame-ancestors 'self'", *frames])))
        self.headers = {
            "content-security-policy": policy,
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on and its answer back with the headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self.forwarded:
            scope["headers"] = [
                each for each in headers.raw if not each[0].lower().startswith(b"x-forwarded")
            ]
        elif "x-forwarded-for" in headers:
            nearest = headers.getlist("x-forwarded-for")[-1].rpartition(",")[2].strip()
            scope["client"] = (nearest, 0)
        refused = self._refused(scope, headers)
        if refused:
            await self._answer(refused)(scope, receive, send)
            return
        limit, whole, begun = _largest(scope["path"]), False, False
        CLIENT.set(scope["client"][0] if scope.get("client") else "")
        scope["length"] = 0

        async def receive_little() -> Message:
            """Stop reading a body as soon as it is too long, or does not go on."""
            nonlocal refused, whole
            try:
                message = await (receive() if whole else asyncio.wait_for(receive(), PAUSE))
            except TimeoutError:
                refused = 408
                raise _Refused from None
            whole = not message.get("more_body", False)
            scope["length"] += len(message.get("body", b""))
            if scope["length"] > limit:
                refused = 413
                raise _Refused
            return message

        async def send_with_policy(message: Message) -> None:
            nonlocal begun
            if refused and not begun:  # what Gradio says of a body that it could not read
                return
            if message["type"] == "http.response.start":
                begun = True
                # No other site may read an answer, whatever Gradio offers.
                kept = [(n, v) for n, v in message.get("headers", ()) if not n.startswith(b"access-control-")]
                if scope["path"] == "/":  # whose length changes
                    kept = [each for each in kept if each[0] != b"content-length"]
                message["headers"] = [*kept, *Headers(self.headers).raw]
            elif scope["path"] == "/":
                for before, after in self.inserted.items():
                    message["body"] = message.get("body", b"").replace(before, after, 1)
            await send(message)

        try:
            await self.app(scope, receive_little, send_with_policy)
        except _Refused:
            pass
        except FnIndexInferError:
            refused = 404
        except RuntimeError as error:
            # Gradio says in a stream that there is no such call or session, and raises all the same.
            if not (begun and isinstance(error.__cause__, HTTPException)):
                raise
            await send({"type": "http.response.body", "body": b""})
        if refused and not begun:
            await self._answer(refused)(scope, receive, send)

    def _refused(self, scope: Scope, headers: Headers) -> int:
        """Return why a request is refused as an HTTP status; 0 where it is not."""
        host = headers.get("host", "").lower()
        # Without its port: [::1]:7860 or localhost:7860.
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        by_number = NUMBERS in self.hosts and _is_number(name)
        if ANY not in self.hosts and name not in self.hosts and not by_number:
            return 421
        if scope["path"].removeprefix(API).startswith(UNUSED):
            return 404
        origin = headers.get("origin", "").lower()
        if scope["method"] not in ("GET", "HEAD") and origin and origin.partition("://")[2] != host:
            return 403
        length = headers.get("content-length", "0")
        if (
            not (length.isascii() and length.isdigit())
            or len(length) > 15
            or int(length) > _largest(scope["path"])
        ):
            return 413
        return 0

    def _answer(self, status: int) -> JSONResponse:
        """Return a refusal that says what to do."""
        wanted, fix = ANSWERS[status]
        content = {"error": f"wanted: {wanted}; what to do: {fix}"}
        return JSONResponse(content, status, {"connection": "close", **self.headers})


class _Refused(Exception):
    """A body went beyond its limit, or stopped coming."""


def _largest(path: str) -> int:
    return LARGEST_EVENT if path.startswith((f"{API}/queue/join", f"{API}/run/")) else LARGEST


def served_hosts(host: str, allowed: Iterable[str] = ()) -> list[str]:
    """Return by which names a page that listens on `host` may be asked for, those `allowed` among them.

    Where it listens on every address it answers to this machine's names and to every number, as it cannot
    know under which a container or a second network is seen; a name of another site that points here is none.
    """
    names = {host.lower(), *OWN_NAMES, *(name.lower() for name in allowed)}
    if space := os.environ.get("SPACE_HOST"):
        names.add(space.lower())
    if host in ("0.0.0.0", "::"):
        names |= {NUMBERS, socket.gethostname().lower(), socket.getfqdn().lower()}
    return sorted(names)


def served_alone(host: str, *, share: bool, allowed: Iterable[str], forwarded: bool) -> bool:
    """Return whether a page that is served so (see `app.launch`) is reached from this machine alone."""
    return host in OWN_NAMES and not (share or forwarded or [*allowed])


def free_port(host: str, wanted: int) -> int:
    """Return the wanted port, or a free one for 0, if it can be listened on.

    Asked before Gradio starts anything, which leaves its threads behind when it fails.
    """
    if not 0 <= wanted <= 65_535:
        raise ConfigError("--port: a number in 0..65535", str(wanted), "choose another --port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if not _is_number(host):
            socket.getaddrinfo(host, wanted, family)
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, wanted))
            return int(probe.getsockname()[1])
    except (OSError, UnicodeError) as error:
        known = isinstance(error, UnicodeError | socket.gaierror) or error.errno in NOT_OURS
        if not known:
            raise
        fix = "use 127.0.0.1, or 0.0.0.0 to let other machines in"
        raise ConfigError("--host: an address of this machine", f"{host}: {error}", fix) from None


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
