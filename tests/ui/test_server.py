"""What the page's server refuses: foreign hosts and origins, large bodies, routes nobody needs."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

import app as starter
from memdriven.errors import ConfigError
from memdriven.ui import server
from memdriven.ui.server import OwnServerOnly, free_port, served_alone, served_hosts

PARTS = {"host": "127.0.0.1:7860"}


class Inner:
    """An application that reads its body and answers as Gradio would, with open CORS."""

    def __init__(self) -> None:
        self.read = 0
        self.headers: dict[bytes, bytes] = {}
        self.client: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers, self.client = dict(scope["headers"]), scope.get("client")
        more = True
        while more:
            message = await receive()
            self.read += len(message.get("body", b""))
            more = message.get("more_body", False)
        cors = [(b"access-control-allow-origin", b"*"), (b"access-control-allow-credentials", b"true")]
        await send({"type": "http.response.start", "status": 200, "headers": cors})
        await send({"type": "http.response.body", "body": b"served"})


def ask(
    gate: Any, path: str = "/", method: str = "GET", body: Iterable[bytes] = (), **headers: str
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return status, headers and body of one request."""
    sent: list[Any] = []
    parts = iter([*body])

    async def receive() -> dict[str, Any]:
        part = next(parts, None)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {**PARTS, **headers}
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    with ThreadPoolExecutor(1) as beside:  # this thread may have the browser's event loop
        beside.submit(asyncio.run, gate(scope, receive, send)).result()
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:])


def gate(inner: Any, **options: Any) -> OwnServerOnly:
    return OwnServerOnly(inner, hosts=served_hosts("127.0.0.1"), **options)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "[::2]:80"]
)
def test_another_sites_name_is_not_served(host: str) -> None:
    inner = Inner()
    status, headers, body = ask(gate(inner), host=host)
    assert status == 421
    assert "--allowed-host" in json.loads(body)["error"]
    assert b"access-control-allow-origin" not in headers
    assert not inner.headers


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:1", "[::1]:7860"])
def test_this_machines_own_names_are_served(host: str) -> None:
    assert ask(gate(Inner()), host=host)[0] == 200
    named = OwnServerOnly(Inner(), hosts=served_hosts("127.0.0.1", ["birds.example"]))
    assert ask(named, host="birds.example")[0] == 200
    assert ask(OwnServerOnly(Inner()), host="anything.example")[0] == 200, "a public tunnel"


@pytest.mark.parametrize("listens", ["0.0.0.0", "::"])
def test_a_page_for_the_whole_network_is_served_by_any_number_and_no_foreign_name(listens: str) -> None:
    """A pupil asks by the number that the teacher's machine has in the classroom's network."""
    page = OwnServerOnly(Inner(), hosts=served_hosts(listens))
    for host in ("192.168.1.17:7860", "10.0.0.2", "[fe80::1]:7860"):
        assert ask(page, host=host)[0] == 200
    for host in ("evil.example:7860", "192.168.1.17.evil.example", "1921680117.example"):
        assert ask(page, host=host)[0] == 421
    assert ask(gate(Inner()), host="192.168.1.17:7860")[0] == 421


def test_a_visitors_address_is_the_nearest_proxys_word_only_where_it_is_believed() -> None:
    for believed, address in ((True, ("192.0.2.7", 0)), (False, None)):
        inner = Inner()
        ask(gate(inner, forwarded=believed), x_forwarded_for="evil, 192.0.2.7")
        assert inner.client == address


def test_a_foreign_page_may_neither_post_nor_read() -> None:
    inner = Inner()
    path = "/gradio_api/queue/join"
    assert ask(gate(inner), path, "POST", [b"{}"], origin="http://evil.example")[0] == 403
    assert ask(gate(inner), path, "POST", [b"{}"], origin="null")[0] == 403
    assert inner.read == 0
    assert ask(gate(inner), path, "POST", [b"{}"], origin="http://127.0.0.1:7860")[0] == 200
    assert ask(gate(inner), path, "POST", [b"{}"])[0] == 200, "a program sends no origin"
    status, headers, _ = ask(gate(inner), origin="http://evil.example")
    assert status == 200
    assert not [name for name in headers if name.startswith(b"access-control-")]


@pytest.mark.parametrize(
    "path",
    [
        *("/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/process_recording"),
        *("/gradio_api/component_server", "/gradio_api/deep_link", "/gradio_api/vibe-edit/"),
        *("/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/stream/1/close", "/monitoring", "/upload"),
    ],
)
def test_routes_that_the_page_does_not_use_are_not_there(path: str) -> None:
    inner = Inner()
    assert ask(gate(inner), path, "POST", [b"x"])[0] == 404
    assert inner.read == 0


def test_a_large_body_is_refused_unread() -> None:
    inner = Inner()
    huge = str(300_000_000)
    status, _, body = ask(gate(inner), "/gradio_api/queue/join", "POST", [b"x"], content_length=huge)
    assert (status, inner.read) == (413, 0)
    assert "8 MB" in json.loads(body)["error"]
    for odd in ("-1", "1e9", "9" * 5000, "x"):
        assert ask(gate(inner), "/", "POST", [b"x"], content_length=odd)[0] == 413
    parts = [b"x" * 400_000] * 5  # no length is told
    assert ask(gate(inner), "/gradio_api/call/generate", "POST", parts)[0] == 413
    assert inner.read < server.LARGEST
    assert ask(gate(Inner()), "/gradio_api/queue/join", "POST", parts)[0] == 200


def test_a_body_that_stops_coming_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PAUSE", 0.05)
    sent: list[Any] = []

    class Gradio(Inner):
        """Says in words of its own that it could not read a body."""

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            with suppress(Exception):
                return await super().__call__(scope, receive, send)
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"?"})

    async def receive() -> dict[str, Any]:
        if scope["length"]:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": b"half", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/gradio_api/queue/join"}
    scope["headers"] = [(b"host", b"127.0.0.1")]
    with ThreadPoolExecutor(1) as beside:
        beside.submit(asyncio.run, gate(Gradio())(scope, receive, send)).result(20)
    assert [each.get("status") for each in sent] == [408, None]
    assert (b"connection", b"close") in sent[0]["headers"]
    assert "send it again" in json.loads(sent[1]["body"])["error"]


def test_a_call_that_is_none_is_answered_in_words(address: str) -> None:
    host, port = address.rstrip("/").rpartition("//")[2].split(":")
    for method, path, body, wanted in (
        ("POST", "/gradio_api/call/nope", {"data": []}, 404),
        ("POST", "/gradio_api/run/nope", {"data": []}, 404),
        ("POST", "/gradio_api/queue/join", {"data": [], "fn_index": 9999, "session_hash": "x"}, 404),
        ("GET", "/gradio_api/call/retrieve/nope", {}, 200),
        ("GET", "/gradio_api/queue/data?session_hash=nope", {}, 200),
    ):
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, b"Not Found" in (text := answer.read()) or b"API documentation" in text) == (
            wanted,
            True,
        ), "a whole answer that says so"
        connection.close()


def test_a_proxys_headers_are_believed_only_when_asked() -> None:
    inner = Inner()
    ask(gate(inner), x_forwarded_host="evil.example", x_forwarded_proto="https")
    assert not [name for name in inner.headers if name.startswith(b"x-forwarded")]
    ask(gate(inner, forwarded=True), x_forwarded_host="birds.example")
    assert inner.headers[b"x-forwarded-host"] == b"birds.example"


def test_frames_of_other_sites_are_refused_unless_named() -> None:
    _, headers, _ = ask(gate(Inner()))
    assert b"frame-ancestors 'self'" in headers[b"content-security-policy"]
    _, headers, _ = ask(gate(Inner(), frames=["https://school.example"]))
    assert b"frame-ancestors 'self' https://school.example" in headers[b"content-security-policy"]


def test_the_served_page_stands_behind_it(address: str) -> None:
    host, port = address.rstrip("/").rpartition("//")[2].split(":")
    for given, method, path, wanted in (
        (f"{host}:{port}", "GET", "/config", 200),
        ("evil.example", "GET", "/config", 421),
        (f"{host}:{port}", "POST", "/gradio_api/upload", 404),
    ):
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request(method, path, headers={"Host": given})
        assert connection.getresponse().status == wanted
        connection.close()


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_cannot_be_is_told(port: int) -> None:
    with pytest.raises(ConfigError, match="--port"):
        free_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_that_is_not_this_machines_is_told(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror("unknown")

    if host == "no-such-host.invalid":
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigError, match="--host"):
        free_port(host, 0)


def test_an_odd_port_in_the_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", "abc")
    with pytest.raises(SystemExit) as stopped:
        starter.read_options([])
    assert stopped.value.code == 2
    assert "invalid int value: 'abc'" in capsys.readouterr().err


def test_a_page_is_alone_only_where_nobody_else_is_let_in() -> None:
    private = {"share": False, "allowed": [], "forwarded": False}
    assert served_alone("127.0.0.1", **private)
    assert not served_alone("0.0.0.0", **private)
    for name, value in (("share", True), ("allowed", ["birds.example"]), ("forwarded", True)):
        assert not served_alone("127.0.0.1", **{**private, name: value})
