"""A visitor's share of the queue, on the served page and on a line of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, takewhile
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from gradio.queueing import EventQueue

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import queue, state
from memdriven.ui.queue import FairQueue, Mailbox
from tests.ui.asking import CAPTION
from tests.ui.conftest import Visitor, serve
from tests.ui.test_api import over_http


@pytest.fixture(scope="module")
def served(pipe: MemoryDrivenPipeline) -> Iterator[tuple[Any, str]]:
    page, address = serve(pipe)
    yield page, address
    page.close(verbose=False)


def join(served: tuple[Any, str], session: str, place: bool = False) -> str:
    """Ask for retrieval or a place in line, return the event's name; nobody listens yet."""
    page, address = served
    number = next(
        number
        for number, called in page.fns.items()
        if (called.concurrency_id == queue.PLACES if place else called.api_name == "retrieve")
    )
    values = [] if place else [CAPTION, "sentence-sentence", 1]
    data = {"data": values, "fn_index": number, "session_hash": session}
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{address}gradio_api/queue/join", json.dumps(data).encode(), headers)) as answer:
        return str(json.load(answer)["event_id"])


def listen(served: tuple[Any, str], session: str) -> list[dict[str, Any]]:
    """Return what a session is told until its stream ends."""
    with stream(served, session) as lines:
        return list(lines)


@contextmanager
def stream(served: tuple[Any, str], session: str) -> Iterator[Iterator[dict[str, Any]]]:
    """Listen as the page does, which leaves when it is told of the end; yield what it is told."""
    with urlopen(f"{served[1]}gradio_api/queue/data?session_hash={session}", timeout=60) as answer:
        told = (json.loads(line.removeprefix(b"data: ")) for line in answer if line.strip())
        last = {"msg": "close_stream"}
        yield chain(takewhile(lambda each: each["msg"] != "close_stream", told), [last])


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
    for number in range(queue.ADDRESS + 2):
        join(served, f"hog-{number}")
    assert len(over_http(served[1], "retrieve", [CAPTION, "sentence-sentence", 1])) == 1
    assert len(asked) == 1
    assert listen(served, f"hog-{queue.ADDRESS + 1}")[-2]["success"], "who begins to listen is served"
    assert listen(served, "hog-0")[-2]["output"]["error"] == queue.LOST


def test_a_session_has_a_share(served: tuple[Any, str]) -> None:
    for _ in range(queue.SESSION):
        join(served, "greedy")
    with pytest.raises(HTTPError) as refused:
        join(served, "greedy")
    assert refused.value.code == 429
    assert "wait for the answers" in json.load(refused.value)["detail"]
    join(served, "another")
    assert sum(each["msg"] == "process_completed" for each in listen(served, "greedy")) == queue.SESSION
    listen(served, "another")


def test_a_caller_who_listens_too_late_is_told(
    served: tuple[Any, str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "PATIENCE", -1.0)
    join(served, "late")
    assert listen(served, "late")[-2]["output"]["error"] == queue.LOST
    assert asked == []


def test_a_press_while_a_stream_ends_is_heard(
    served: tuple[Any, str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "FAREWELL", 60.0)
    join(served, "quick")
    with ThreadPoolExecutor(1) as pool:
        with stream(served, "quick") as told:
            assert [each["msg"] for each in told][-2:] == ["process_completed", "close_stream"]
            press = pool.submit(join, served, "quick")
            while len(asked) < 2:
                assert not press.done(), "nobody opens a stream while they have one"
            assert not press.done()
        press.result()
    assert listen(served, "quick")[-2]["success"]


def test_a_visitor_is_told_of_too_many_presses_in_plain_words(
    visit: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visit()
    visitor.expected = "429"
    monkeypatch.setattr(queue, "SESSION", 0)
    visitor.page.click("#generate")
    visitor.page.get_by_text(queue.FULL).wait_for()
    for term in ("call", "request", "session", "event", "queue"):
        assert term not in queue.FULL


def test_the_places_in_line_have_a_share_of_their_own(
    served: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class behind one proxy: all press at once, and each asks how many come first."""
    monkeypatch.setattr(queue, "ADDRESS", 2)
    with monkeypatch.context() as still:
        still.setattr(FairQueue, "_heard", lambda *_: True)
        still.setattr(FairQueue, "get_events", lambda _: None)
        for pupil in ("one", "two"):
            join(served, pupil)
            join(served, pupil, place=True)
        with pytest.raises(HTTPError):
            join(served, "three")
        with pytest.raises(HTTPError):
            join(served, "three", place=True)
    for pupil in ("one", "two"):
        assert sum(each["msg"] == "process_completed" for each in listen(served, pupil)) == 2


def test_of_a_caller_no_copy_of_the_page_is_held(served: tuple[Any, str]) -> None:
    page, _ = served
    join(served, "caller")
    assert listen(served, "caller")[-2]["success"]
    held = page.state_holder.session_data["caller"]
    assert len(held.config_values) == 0
    assert held.blocks_config.fns == page.fns


class Event:
    """An event of a session, named after its address and its number."""

    def __init__(self, name: str) -> None:
        self.session_hash, self.concurrency_id = name, state.CONCURRENCY_ID
        self.request = SimpleNamespace(client=SimpleNamespace(host=name[0]))
        self.enqueue_time = float("inf")


@pytest.fixture
def line() -> FairQueue:
    """A queue on which nobody works, with room for one."""

    async def build() -> FairQueue:
        return FairQueue(True, 1, 1, None, None)

    with ThreadPoolExecutor(1) as other:  # in this thread a browser's loop may be running
        made = other.submit(lambda: asyncio.run(build())).result()
    made.event_queue_per_concurrency_id[state.CONCURRENCY_ID] = EventQueue(state.CONCURRENCY_ID, 1)
    return made


def wait_in(line: FairQueue, *names: str) -> None:
    """Let events wait, all but those in capitals with a listener."""
    for name in names:
        box = line.pending_messages_per_session[name] = Mailbox()
        box.readers = int(name.islower())
        line.event_queue_per_concurrency_id[state.CONCURRENCY_ID].queue.append(Event(name))  # type: ignore[arg-type]


def test_addresses_take_turns(line: FairQueue) -> None:
    wait_in(line, "a1", "a2", "A3", "a4", "b1", "c1", "b2")
    order = [line.get_events() for _ in range(7)]
    assert [each and each[0][0].session_hash for each in order] == ["a1", "b1", "c1", "a2", "b2", "a4", None]
    line.event_queue_per_concurrency_id[state.CONCURRENCY_ID].current_concurrency = 1
    wait_in(line, "a5")
    assert line.get_events() is None, "one at a time"


def test_places_in_line(line: FairQueue) -> None:
    assert line.ahead("a1") is None
    wait_in(line, "Z1", "a1", "a2", "b1")
    line.event_queue_per_concurrency_id[state.CONCURRENCY_ID].current_concurrency = 1
    assert [line.ahead(name) for name in ("a1", "b1", "a2", "Z1", "e1", None)] == [1, 2, 3, None, None, None]


def test_a_mailbox_knows_its_readers() -> None:
    async def look() -> list[bool]:
        box = Mailbox()
        seen = [box.read]
        reading = asyncio.create_task(box.get())
        await asyncio.sleep(0)
        seen.append(box.read)
        box.put_nowait("word")
        assert await reading == "word"
        seen.append(box.read)
        box.left -= queue.GRACE
        return [*seen, box.read]

    with ThreadPoolExecutor(1) as other:  # in this thread a browser's loop may be running
        assert other.submit(lambda: asyncio.run(look())).result() == [False, True, True, False]
