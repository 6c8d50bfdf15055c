"""What hostile or careless callers do to the served page: each attack tried once, with what came of it.

    python -m benchmarks.attacks --checkpoint checkpoints/aviary

A part is a function that yields rows (what was tried, what came of it, whether it held); further parts
are added to `PARTS`. It starts a server of its own on a free port, and takes some three minutes.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CAPTION = "a small red bird with black wings"
LONG_CALLS = ("table", "run", "vary", "draw", "check")
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "grey", "brown")
Row = tuple[str, str, bool]
CLIENTS, CROWD_SECONDS = 64, 600
"""Of the crowd, and how long it is waited for: some two minutes on two idle cores."""


@dataclass(frozen=True)
class Server:
    """A running page."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ask(
        self, path: str, body: object = None, source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, str]:
        """Return the status and text of one request: POST with a body, else GET."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=300, source_address=(source, 0)
        )
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            if body is None:
                connection.request("GET", path, headers=given)
            else:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                # Whoever refuses a body unread hangs up while it is still being sent.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.request("POST", path, content, {"Content-Type": "application/json"} | given)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def call(
        self, name: str, data: list[Any] | bytes, source: str = "127.0.0.1", **fields: str
    ) -> tuple[str, str]:
        """Return kind and content of an endpoint's answer: complete, error, a status or an exception."""
        given = data if isinstance(data, bytes) else json.dumps(data).encode()
        body = json.dumps({**fields, "data": None}).encode().removesuffix(b"null}") + given + b"}"
        try:
            status, text = self.ask(f"/gradio_api/call/{name}", body, source)
            if status == 200:
                event = json.loads(text)["event_id"]
                status, text = self.ask(f"/gradio_api/call/{name}/{event}", source=source)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__, str(error)
        if status != 200:
            return str(status), text
        lines = [each for each in text.splitlines() if each and "heartbeat" not in each]
        return lines[-2].removeprefix("event: "), lines[-1].removeprefix("data: ")

    def press(self, name: str, session: str, source: str = "127.0.0.1", **event: str) -> str:
        """Return what the page answers to a press of a visitor who changed nothing before."""
        config = json.loads(self.ask("/config")[1])
        values = {each["id"]: each["props"].get("value") for each in config["components"]}
        number, called = next(
            (n, each) for n, each in enumerate(config["dependencies"]) if each["api_name"] == name
        )
        data = [values[each] for each in called["inputs"]]
        body = {"data": data, "fn_index": number, "session_hash": session, "event_data": event}
        status, text = self.ask(
            f"/gradio_api/{'queue/join' if called['queue'] else 'run/predict'}", body, source
        )
        if status == 200 and called["queue"]:
            _, text = self.ask(f"/gradio_api/queue/data?session_hash={session}", source=source)
        return text

    def memory(self, what: str = "VmRSS") -> float:
        """Return the resident size in MB, or its peak (`VmHWM`)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        line = next(each for each in status.splitlines() if each.startswith(what))
        return int(line.split()[1]) * 1024 / 1e6


@contextmanager
def serving(checkpoint: Path, log: Path) -> Iterator[Server]:
    """Start the app, wait until it answers, and end it with SIGTERM."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "app.py", "--no-browser", "--port", str(port), "--checkpoint", str(checkpoint)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    server = Server(port, process, log)
    try:
        for _ in range(300):
            try:
                if server.ask("/config")[0] == 200:
                    break
            except OSError:
                time.sleep(0.5)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def queue_hog(server: Server) -> Iterator[Row]:
    """130 calls at once of one visitor, without and with a listener; another one's calls meanwhile."""
    numbers = {
        each.get("api_name"): place
        for place, each in enumerate(json.loads(server.ask("/config")[1])["dependencies"])
    }
    data = [CAPTION, list(range(9)), "sentence-sentence", 1]
    for kind, hog in (("another address", "127.0.0.2"), ("the same address", "127.0.0.1")):
        answers = Counter(
            server.ask(
                "/gradio_api/queue/join",
                {"data": data, "fn_index": numbers["grid"], "session_hash": f"{kind[0]}{number}"},
                hog,
            )[0]
            for number in range(130)
        )
        begun = time.monotonic()
        told, _ = server.call("generate", [CAPTION, "sentence-sentence", 1, 7])
        waited = time.monotonic() - begun
        yield (
            f"130 grids, nobody listening, {kind}",
            f"{dict(answers)}; {told} in {waited:.1f} s",
            told == "complete" and waited < 10,
        )
    with ThreadPoolExecutor(130) as pool:
        calls = [pool.submit(server.call, "grid", data, "127.0.0.2") for _ in range(130)]
        time.sleep(3)
        begun = time.monotonic()
        told, _ = server.call("generate", [CAPTION, "sentence-sentence", 1, 8])
        waited = time.monotonic() - begun
        kinds = Counter(each.result()[0] for each in calls)
    yield (
        "130 grids, all listened to",
        f"{dict(kinds)}; {told} in {waited:.1f} s",
        told == "complete" and waited < 10,
    )


def long_calls(server: Server) -> Iterator[Row]:
    """One visitor's table, morph, grid, figure, copy check; how long another's pictures wait meanwhile."""

    def picture(seed: int) -> float:
        begun = time.monotonic()
        told, _ = server.call("generate", [f"{CAPTION} and a {COLOURS[seed % 8]} tail", None, None, seed])
        return time.monotonic() - begun if told == "complete" else float("inf")

    alone = sorted(picture(seed) for seed in range(9))[4]
    yield "a picture alone, median of nine", f"{alone:.2f} s", True
    for name in LONG_CALLS:
        waits = list[float]()
        with ThreadPoolExecutor(1) as pool:
            begun = time.monotonic()
            call = pool.submit(server.press, name, f"long-{name}", "127.0.0.2")
            time.sleep(alone / 2)
            while not call.done():
                waits.append(picture(100 + len(waits)))
            took, told = time.monotonic() - begun, call.result()
        most = max(waits, default=alone)
        yield (
            f"{name} for {took:.1f} s, meanwhile {len(waits)} pictures of another",
            f"at most {most:.2f} s, {most / alone:.1f} times alone",
            '"success":true' in told and most - alone < max(1.0, alone),
        )


def sessions(server: Server) -> Iterator[Row]:
    """More sessions of one address than the server keeps; what another visitor pinned before."""
    _, found = server.call("retrieve", [CAPTION, None, 8])
    pinned = json.loads(found)[0][-1]["id"]
    server.press("click", "visitor", act="pin", id=pinned)
    numbers = [each["api_name"] for each in json.loads(server.ask("/config")[1])["dependencies"]]
    body = {"data": ["random"], "fn_index": numbers.index("show_source")}
    answers = Counter(
        server.ask("/gradio_api/run/predict", {**body, "session_hash": f"new-{n}"}, "127.0.0.2")[0]
        for n in range(1_100)
    )
    kept = pinned in server.press("look", "visitor")
    yield (
        "1,100 sessions of one address",
        f"{dict(answers)}; another's pin: {'kept' if kept else 'gone'}",
        kept,
    )


def large_events(server: Server) -> Iterator[Row]:
    """40 calls of 10 MB that wait for a listener, and a wrong value of 10 MB."""
    config = json.loads(server.ask("/config")[1])["dependencies"]
    numbers, before = [each["api_name"] for each in config], server.memory()
    body = {"data": ["x" * 10_000_000], "fn_index": numbers.index("retrieve")}
    answers = Counter(
        server.ask("/gradio_api/queue/join", {**body, "session_hash": f"large-{n}"}, "127.0.0.2")[0]
        for n in range(40)
    )
    grown = server.memory() - before
    yield "40 calls of 10 MB, nobody listening", f"{dict(answers)}; {grown:+.0f} MB", grown < 150
    before = server.log.stat().st_size
    body["fn_index"] = numbers.index("show_source")
    status, told = server.ask("/gradio_api/run/predict", {**body, "session_hash": "wrong"})
    written = server.log.stat().st_size - before
    seen = f"{status}, {len(told)} letters; {written} bytes of log"
    yield "a choice of 10 MB", seen, written < 5_000 and len(told) < 1_000


def bodies(server: Server) -> Iterator[Row]:
    """Bodies that are too large, told beforehand or not, and routes that nobody needs."""
    before, begun = server.memory(), time.monotonic()
    status, _ = server.ask("/gradio_api/queue/join", b"x", Content_Length="300000000")
    yield "300 MB announced", f"{status} in {time.monotonic() - begun:.2f} s", status == 413
    held = [server.ask("/gradio_api/call/generate", b"x" * 1_000_001)[0] for _ in range(10)]
    grown = server.memory() - before
    yield ("10 calls of 1 MB", f"{dict(Counter(held))}; {grown:+.0f} MB", set(held) == {413} and grown < 50)
    for route in ("upload", "component_server", "process_recording", "deep_link", "proxy=http://127.0.0.1/"):
        status, _ = server.ask(f"/gradio_api/{route}", b"x")
        yield f"POST /gradio_api/{route}", str(status), status == 404


def hosts(server: Server) -> Iterator[Row]:
    """Names of other sites that point here, and posts from their pages."""
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example"):
        status, text = server.ask("/config", Host=host)
        yield f"Host: {host}", str(status), status == 421 and "dependencies" not in text
    status, _ = server.ask("/gradio_api/call/generate", {"data": [CAPTION]}, Origin="http://evil.example")
    yield "POST with a foreign Origin", str(status), status == 403
    status, text = server.ask("/config", X_Forwarded_Host="evil.example")
    yield "X-Forwarded-Host", str(status), status == 200 and "evil.example" not in text


HOSTILE: tuple[tuple[str, str], ...] = (
    *(("retrieve", f'["{CAPTION}", "sentence-sentence", {k}]') for k in ("1" + 400 * "0", "1e999", "NaN")),
    *(("retrieve", f'["{CAPTION}", "sentence-sentence", {k}]') for k in ('"3"', "null", "[1]", "0", "true")),
    *(("grid", f'["{CAPTION}", {seeds}]') for seeds in ("1", "[null]", "[[1]]", '{"a": 1}', "[1e308]")),
    *(
        ("generate", f'["{CAPTION}", "sentence-sentence", 1, 7, {ids}]')
        for ids in ("[1]", "[null]", "[true]", "[0.5]", '[["a"]]', '[{"a": 1}]', '"abc"', "5")
    ),
    *(
        ("generate", f'["{CAPTION}", "sentence-sentence", 1, 7, ["x"], {weights}]')
        for weights in ('["a"]', "[null]", "[[1]]", "5", "[1" + 400 * "0" + "]", "[NaN]", '"1"', '{"1": 2}')
    ),
    ("generate", f'["{CAPTION}", "sentence-sentence", 1, 7, ["x", "y"], [1e308, 1e308]]'),
    *(("generate", f"[{caption}]") for caption in ("null", "5", '["a"]', '{"a": 1}', '""')),
    *(("generate", f'["{CAPTION}", {strategy}]') for strategy in ("null", "[]", "{}", "5")),
    ("generate", "[]"),
    ("generate", "[" + ", ".join(["1"] * 40) + "]"),
)


def api_values(server: Server) -> Iterator[Row]:
    """Values of wrong kinds: each is served or told why not, never `{"error": null}`."""
    for name, values in HOSTILE:
        kind, content = server.call(name, values.encode())
        shown = values.replace(CAPTION, "...")
        yield (
            f"{name} {shown if len(shown) < 60 else shown[:57] + '...'}",
            f"{kind} {content[:90]}",
            "Traceback" not in content and '"error": null' not in content and content != "null",
        )
    kind, _ = server.call("generate", [CAPTION])
    yield "generate with a caption alone", kind, kind == "complete"


def crowd(server: Server) -> Iterator[Row]:
    """64 clients at once, and what they leave in memory and in the log."""
    begun = time.monotonic()
    pool = ThreadPoolExecutor(CLIENTS)
    calls = [
        pool.submit(server.call, "generate", [f"{CAPTION} {n}", "all", 4, n]) for n in range(3 * CLIENTS)
    ]
    done, late = wait(calls, CROWD_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    answers = [each.result() for each in done]
    kinds = Counter(kind for kind, _ in answers)
    size, peak = server.memory(), server.memory("VmHWM")
    told = f"{dict(kinds)}, {len(late)} unanswered after {time.monotonic() - begun:.0f} s"
    yield (
        f"{CLIENTS} clients, {len(calls)} pictures",
        f"{told}; RSS {size:.0f} MB, at most {peak:.0f} MB",
        kinds["complete"] == len(calls) and peak < 1_300,
    )
    for error, times in Counter(each for each in answers if each[0] != "complete").most_common(5):
        yield f"of these {times} times", " ".join(error)[:300], False
    log = server.log.read_text("utf-8", errors="replace")
    traces = log.count("Traceback (most recent call last)")
    yield "the log of all this", f"{len(log) / 1e3:.0f} kB, {traces} traces", len(log) < 1_000_000


PARTS: dict[str, Callable[[Server], Iterator[Row]]] = {
    "queue": queue_hog,
    "long": long_calls,
    "sessions": sessions,
    "large": large_events,
    "bodies": bodies,
    "hosts": hosts,
    "api": api_values,
    "crowd": crowd,
}


def main() -> int:
    """Try the chosen attacks, print a table, and return 1 where one did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints" / "aviary")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--log", type=Path, default=Path(tempfile.gettempdir()) / "attacks.log")
    options = parser.parse_args()
    held = True
    with serving(options.checkpoint, options.log) as server:
        print(f"RSS of the fresh server: {server.memory():.0f} MB\n")
        print("| part | tried | seen | held |\n|---|---|---|---|")
        for part in options.parts:
            for tried, seen, good in PARTS[part](server):
                held &= good
                cells = (part, tried, seen, "yes" if good else "NO")
                print("| " + " | ".join(each.replace("|", "/") for each in cells) + " |", flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
