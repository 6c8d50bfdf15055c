"""A visitor's share of the queue, on the served page and on a line of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import server
from memdriven.ui.server import FairShare
from tests.ui.asking import CAPTION
from tests.ui.test_api import over_http, serve


@pytest.fixture(scope="module")
def served(pipe: MemoryDrivenPipeline) -> Iterator[tuple[Any, str]]:
    page, address = serve(pipe)
    yield page, address
    page.close(verbose=False)


def join(served: tuple[Any, str], session: str) -> str:
    """Ask for retrieval, as the page does, and return the event's name; nobody listens yet."""
    page, address = served
    number = next(number for number, fn in page.fns.items() if fn.api_name == "retrieve")
    data = {"data": [CAPTION, "sentence-sentence", 1], "fn_index": number, "session_hash": session}
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{address}gradio_api/queue/join", json.dumps(data).encode(), headers)) as answer:
        return str(json.load(answer)["event_id"])


def listen(served: tuple[Any, str], session: str) -> list[dict[str, Any]]:
    """Return what a session is told until its stream ends."""
    with urlopen(f"{served[1]}gradio_api/queue/data?session_hash={session}", timeout=60) as stream:
        lines = stream.read().decode().splitlines()
    return [json.loads(each.removeprefix("data: ")) for each in lines if each]


@pytest.fixture
def asked(served: tuple[Any, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the captions that the model was asked for, as they come."""
    captions: list[str] = []
    real = MemoryDrivenPipeline.retrieve

    def retrieve(self: MemoryDrivenPipeline, caption: str, *rest: Any) -> Any:
        captions.append(caption)
        return real(self, caption, *rest)

    monkeypatch.setattr(MemoryDrivenPipeline, "retrieve", retrieve)
    return captions


def test_what_nobody_listens_to_is_not_computed_and_delays_nobody(
    served: tuple[Any, str], asked: list[str]
) -> None:
    for number in range(130):
        join(served, f"hog-{number}")
    assert len(over_http(served[1], "retrieve", [CAPTION, "sentence-sentence", 1])) == 1
    assert len(asked) == 1
    assert len(served[0]._queue) == 0
    told = listen(served, "hog-129")
    assert told[-2]["success"], "who begins to listen is served"
    lost = listen(served, "hog-0")
    assert lost[-1]["session_not_found"]


def test_a_session_has_a_share(served: tuple[Any, str]) -> None:
    for _ in range(server.SESSION):
        join(served, "greedy")
    with pytest.raises(HTTPError) as refused:
        join(served, "greedy")
    assert refused.value.code == 429
    assert "wait for the answers" in json.load(refused.value)["error"]
    join(served, "another")
    assert sum(each["msg"] == "process_completed" for each in listen(served, "greedy")) == server.SESSION
    listen(served, "another")


def test_a_caller_who_listens_too_late_is_told(
    served: tuple[Any, str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    join(served, "late")
    monkeypatch.setattr(server, "PATIENCE", -1.0)
    join(served, "next")
    assert listen(served, "late")[-1]["session_not_found"]
    assert asked == []


class Event:
    def __init__(self, name: str) -> None:
        self._id = name


def test_addresses_take_turns() -> None:
    share = FairShare(None, page=None)  # type: ignore[arg-type]
    names = ["a1", "a2", "a3", "b1", "c1", "b2"]
    share._addresses.update((name, name[0]) for name in names)
    line = [Event(name) for name in names]
    share._take_turns(line)
    assert [each._id for each in line] == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_visitors_address_is_the_nearest_proxys_word_only_where_it_is_believed() -> None:
    scope = {"client": ("10.0.0.1", 5), "headers": [(b"x-forwarded-for", b"evil, 192.0.2.7")]}
    assert FairShare(None, page=None)._address(scope) == "10.0.0.1"  # type: ignore[arg-type]
    behind = FairShare(None, page=None, forwarded=True)  # type: ignore[arg-type]
    assert behind._address(scope) == "192.0.2.7"
