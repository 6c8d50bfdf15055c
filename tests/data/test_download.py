"""Official files: fetched, resumed, checked."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from memdriven.data import download
from memdriven.data.download import ByHand, Remote, fetch, fetch_all
from memdriven.errors import DataError

CONTENT = bytes(range(256)) * 1200  # more than a socket's buffers take at once
SUM = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Host:
    """How the server behaves, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    cuts: list[int] = field(default_factory=list)
    """Bytes after which each next answer breaks off."""
    statuses: list[int] = field(default_factory=list)
    """Error codes of the next answers."""
    ranges: bool = True
    shift: int = 0
    """Bytes by which an answer to a range begins too late."""
    told_length: bool = True
    asked: list[str] = field(default_factory=list)

    def remote(self, **facts: object) -> Remote:
        known: dict[str, object] = {"size": len(CONTENT), "sha256": SUM} | facts
        return Remote(f"{self.url}/files/birds.tgz?download=1", **known)  # type: ignore[arg-type]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    state = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span = self.headers.get("Range", "")
            state.asked.append(span)
            if state.statuses:
                self.send_error(state.statuses.pop(0))
                return
            start = int(span.removeprefix("bytes=").rstrip("-")) if span and state.ranges else 0
            if start >= len(state.content) > 0 and start:
                self.send_error(416)
                return
            start += state.shift if span else 0
            body = state.content[start:]
            self.send_response(206 if span and state.ranges else 200)
            if span and state.ranges:
                whole = len(state.content)
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            if state.told_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.cuts.pop(0)] if state.cuts else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(download, "PAUSE", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once_and_checked(host: Host, tmp_path: Path) -> None:
    path = fetch(host.remote(), tmp_path / "new", progress=False)
    assert path == tmp_path / "new/birds.tgz"
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["birds.tgz"]
    assert fetch(host.remote(), path.parent, progress=False) == path
    assert host.asked == [""]


def test_a_broken_connection_is_taken_up_where_it_broke(host: Host, tmp_path: Path) -> None:
    host.cuts = [100_000, 50_000]
    assert fetch(host.remote(), tmp_path, progress=False).read_bytes() == CONTENT
    assert host.asked == ["", "bytes=100000-", "bytes=150000-"]


def test_a_killed_download_goes_on_in_the_next_run(host: Host, tmp_path: Path) -> None:
    (tmp_path / "birds.tgz.partial").write_bytes(CONTENT[:777])
    assert fetch(host.remote(), tmp_path, progress=False).read_bytes() == CONTENT
    assert host.asked == ["bytes=777-"]
    (tmp_path / "birds.tgz").rename(tmp_path / "birds.tgz.partial")  # killed before the renaming
    fetch(host.remote(), tmp_path, progress=False)
    assert host.asked == ["bytes=777-"]


def test_a_server_without_ranges_sends_everything_again(host: Host, tmp_path: Path) -> None:
    host.ranges, host.cuts = False, [1000]
    assert fetch(host.remote(), tmp_path, progress=False).read_bytes() == CONTENT
    assert host.asked == ["", "bytes=1000-"]


def test_a_partial_file_that_is_too_long_is_begun_again(host: Host, tmp_path: Path) -> None:
    (tmp_path / "birds.tgz.partial").write_bytes(CONTENT + b"more")
    assert fetch(host.remote(), tmp_path, progress=False).read_bytes() == CONTENT
    assert host.asked == [f"bytes={len(CONTENT) + 4}-", ""]


def test_a_range_that_was_not_asked_for_is_not_used(host: Host, tmp_path: Path) -> None:
    (tmp_path / "birds.tgz.partial").write_bytes(CONTENT[:777])
    host.shift = 5
    with pytest.raises(DataError, match="bytes 777- asked for"):
        fetch(host.remote(), tmp_path, progress=False)
    assert (tmp_path / "birds.tgz.partial").read_bytes() == CONTENT[:777]


def test_a_server_that_tells_no_length(host: Host, tmp_path: Path) -> None:
    host.told_length = False
    assert fetch(host.remote(), tmp_path, progress=False).read_bytes() == CONTENT


def test_a_wrong_sum_is_told_and_nothing_is_kept(host: Host, tmp_path: Path) -> None:
    host.content = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match=f"SHA-256 {SUM}; found: 307,200 bytes") as caught:
        fetch(host.remote(), tmp_path, progress=False)
    assert "--archive PATH" in caught.value.fix
    assert names(tmp_path) == []


def test_a_file_that_changed_since_it_was_checked_is_refused(host: Host, tmp_path: Path) -> None:
    path = fetch(host.remote(), tmp_path, progress=False)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"307,199 bytes.*remove .*birds\.tgz"):
        fetch(host.remote(), tmp_path, progress=False)
    assert path.exists(), "it may be the user's own"
    assert len(host.asked) == 1


def test_a_file_put_there_by_hand_is_checked_and_used(host: Host, tmp_path: Path) -> None:
    (tmp_path / "birds.tgz").write_bytes(CONTENT)
    fetch(host.remote(), tmp_path, progress=False)
    assert host.asked == []


def test_refusals_are_told_at_once(host: Host, tmp_path: Path) -> None:
    host.statuses = [404]
    with pytest.raises(DataError, match=r"birds\.tgz \(0 MB\) from http.*HTTP 404") as caught:
        fetch(host.remote(), tmp_path, progress=False)
    assert "--archive PATH" in caught.value.fix
    assert len(host.asked) == 1


def test_a_busy_server_is_asked_again(host: Host, tmp_path: Path) -> None:
    host.statuses = [503, 429]
    assert fetch(host.remote(), tmp_path, progress=False).read_bytes() == CONTENT
    host.statuses = [500] * 99
    with pytest.raises(DataError, match="HTTP 500"):
        fetch(host.remote(), tmp_path / "other", progress=False)
    assert len(host.asked) == 3 + download.TRIES


def test_progress_starts_the_count_of_tries_anew(host: Host, tmp_path: Path) -> None:
    host.cuts = [1000] * (2 * download.TRIES)
    assert fetch(host.remote(), tmp_path, progress=False).read_bytes() == CONTENT
    host.cuts = [1000] + [0] * 99
    with pytest.raises(DataError, match="0 MB are kept, the same command goes on there"):
        fetch(host.remote(), tmp_path / "other", progress=False)


def test_a_host_that_is_down(host: Host, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DataError, match=r"no answer: .*refused") as caught:
        fetch(Remote(f"http://127.0.0.1:{port}/a.zip", 9, SUM), tmp_path, progress=False)
    assert "--archive PATH" in caught.value.fix
    assert names(tmp_path) == []


def test_a_host_that_falls_silent(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/a.zip"
        with pytest.raises(DataError, match=r"no answer: .*timed out"):
            fetch(Remote(url, 9, SUM), tmp_path, progress=False)


def test_several_files_come_in_the_order_asked_for(host: Host, tmp_path: Path) -> None:
    files = [host.remote(), Remote(f"{host.url}/small.zip", len(CONTENT), SUM)]
    paths = fetch_all(files, tmp_path, progress=False)
    assert [path.name for path in paths] == ["birds.tgz", "small.zip"]


def test_a_disk_without_room_is_told_before_the_download(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1000000\.0 GB of room.*--downloads"):
        fetch_all([host.remote(size=10**15)], tmp_path / "new", progress=False)
    assert host.asked == []


def test_what_only_a_person_can_fetch(tmp_path: Path) -> None:
    file = ByHand("text.tar.gz", "https://example.org/text")
    with pytest.raises(DataError, match=r"browsers only: https://example\.org/text") as caught:
        file.find(tmp_path)
    assert "--captions PATH" in caught.value.fix
    (tmp_path / "text.tar.gz").touch()
    assert file.find(tmp_path) == tmp_path / "text.tar.gz"
