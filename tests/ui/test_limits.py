"""A visitor's share of the queue, on the served page and on a line of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from itertools import chain, takewhile
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from gradio.queueing import EventQueue

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import gr, queue, state
from memdriven.ui.queue import FairQueue, Mailbox, Sessions
from memdriven.ui.server import CLIENT
from tests.ui.asking import CAPTION
from tests.ui.conftest import serve
from tests.ui.test_api import over_http


@pytest.fixture(scope="module")
def served(pipe: MemoryDrivenPipeline) -> Iterator[tuple[Any, str]]:
    page, address = serve(pipe)
    yield page, address
    page.close(verbose=False)


def ask(served: tuple[Any, str], path: str, name: str, session: str, values: list[Any] | None = None) -> Any:
    """Return what the server answers where a function is asked for, by default as the page begins."""
    page, address = served
    number, called = next((number, each) for number, each in page.fns.items() if each.api_name == name)
    if values is None:
        begun = {part: None if part.stateful else part.value for part in called.inputs}
        values = [CAPTION if part.elem_id == "caption" else value for part, value in begun.items()]
    data = {"data": values, "fn_index": number, "session_hash": session}
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{address}gradio_api/{path}", json.dumps(data).encode(), headers)) as answer:
        return json.load(answer)


RETRIEVE = (CAPTION, "sentence-sentence", 1)


def join(
    served: tuple[Any, str], session: str, name: str = "retrieve", values: Sequence[Any] | None = None
) -> str:
    """Ask for retrieval, or what has another name, return the event's name; nobody listens yet."""
    given = RETRIEVE if name == "retrieve" and values is None else values
    return str(ask(served, "queue/join", name, session, given and [*given])["event_id"])


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
    assert "wait for one of them" in json.load(refused.value)["detail"]
    join(served, "another")
    assert sum(each["msg"] == "process_completed" for each in listen(served, "greedy")) == queue.SESSION
    listen(served, "another")


def test_a_caller_who_listens_too_late_is_told(
    served: tuple[Any, str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "PATIENCE", -1.0)
    join(served, "late")
    while len(served[0]._queue):  # until its turn, however busy the machine is
        time.sleep(0.01)
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
            join(served, pupil, name="follow")
        with pytest.raises(HTTPError):
            join(served, "three")
        with pytest.raises(HTTPError):
            join(served, "three", name="follow")
    for pupil in ("one", "two"):
        assert sum(each["msg"] == "process_completed" for each in listen(served, pupil)) == 2


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """While this lasts nothing that waits is begun, and everything has a listener."""
    with monkeypatch.context() as still:
        still.setattr(FairQueue, "_heard", lambda *_: True)
        still.setattr(FairQueue, "get_events", lambda _: None)
        yield still


def test_few_large_requests_of_an_address_wait(
    served: tuple[Any, str], held: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = ["x" * 1_100_000, "sentence-sentence", 1]
    for number in range(queue.LARGE_EVENTS):
        join(served, f"large-{number}", values=large)
    with pytest.raises(HTTPError) as refused:
        join(served, "large-too", values=large)
    assert refused.value.code == 429
    join(served, "small")
    held.undo()
    for session in ("large-0", "large-1", "small"):
        listen(served, session)
    monkeypatch.setattr(FairQueue, "get_events", lambda _: None)
    for number in range(queue.LARGE_EVENTS + 1):  # of those that nobody listens to the oldest goes
        join(served, f"more-{number}", values=large)
    monkeypatch.undo()
    errors = [listen(served, f"more-{number}")[-2]["output"]["error"] for number in range(3)]
    assert [each == queue.LOST for each in errors] == [True, False, False]


@pytest.mark.usefixtures("slow")
def test_a_picture_does_not_wait_for_a_table(served: tuple[Any, str]) -> None:
    join(served, "table", "table")
    with ThreadPoolExecutor(1) as pool, stream(served, "table") as told:
        assert any(each["msg"] == "process_generating" for each in told)
        picture = pool.submit(over_http, served[1], "generate", [*RETRIEVE, 7])
        over = next(each for each in told if picture.done() or each["msg"] == "process_completed")
        assert over["msg"] == "process_generating", "the picture is painted meanwhile"
        picture.result()
        assert list(told)[-2]["success"]


def test_stop_ends_what_a_visitor_asked_for_of_either_kind(
    served: tuple[Any, str], held: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = served[0]._queue
    while any(line.active_jobs):  # of the test before
        time.sleep(0.01)
    for session in ("mine", "another"):
        join(served, session, "table")
        join(served, session, "paint")
    assert line.ahead("another") == 1
    monkeypatch.setattr(queue, "session", lambda: "mine")
    queue.stop({})
    assert [event.session_hash for event in line._waiting()] == ["another", "another"]
    assert line.ahead("another") == 0
    monkeypatch.setattr(queue, "session", lambda: "another")
    queue.stop({})
    held.undo()
    assert [listen(served, each)[-2]["success"] for each in ("mine", "another")] == [True, True]


def test_one_address_cannot_have_anothers_session_forgotten() -> None:
    async def build() -> gr.Blocks:  # in a running loop: without one Gradio makes its own and closes none
        return gr.Blocks()

    with ThreadPoolExecutor(1) as other:
        page = other.submit(lambda: asyncio.run(build())).result()
    sessions = Sessions()
    page.state_session_capacity = 4  # type: ignore[attr-defined]
    sessions.set_blocks(page)

    def come(address: str, name: str) -> None:
        CLIENT.set(address)
        assert sessions[name] is sessions.session_data[name]

    for address, name in (("b", "visitor"), ("c", "other"), *(("a", f"hog-{n}") for n in range(9))):
        copy_context().run(come, address, name)
    assert list(sessions.session_data) == ["visitor", "other", "hog-7", "hog-8"]
    for name in "xyz":  # where none has more than another, the longest unused goes
        copy_context().run(come, name, name)
    assert list(sessions.session_data) == ["hog-8", *"xyz"]


def test_a_session_knows_its_address(served: tuple[Any, str]) -> None:
    ask(served, "run/predict", "show_source", "who")
    assert served[0].state_holder.session_data["who"].address == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("show_source", ["x" * 1_000_000], "is not in the list of choices"),
        ("show_references", [CAPTION, "retrieved", "sentence-sentence", 99, *8 * [None]], "maximum"),
        ("show_source", [], "API documentation"),
    ],
)
def test_a_wrong_value_is_told_in_a_sentence_and_fills_no_log(
    served: tuple[Any, str], name: str, values: list[Any], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HTTPError) as refused:
        ask(served, "run/predict", name, "wrong", values)
    said = json.load(refused.value)["error"]
    assert told in said or "xxx" in said
    assert len(said) <= 300
    log = "".join(capfd.readouterr())
    assert len(log) < 5_000
    assert not values or "Traceback" not in log


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
        self.enqueue_time, self.alive = float("inf"), True


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
    line.active_jobs = [[Event("c1")], None]  # type: ignore[list-item]
    assert [line.ahead(name) for name in ("a1", "b1", "a2", "Z1", "e1", None)] == [1, 2, 3, None, None, None]


def test_a_long_call_gives_way_to_a_picture_for_a_while(
    line: FairQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(painting: int, alive: bool = True) -> float:
        line.event_queue_per_concurrency_id[state.CONCURRENCY_ID].current_concurrency = painting
        begun = time.monotonic()
        with ThreadPoolExecutor(1) as other:  # in this thread a browser's loop may be running
            event: Any = SimpleNamespace(alive=alive)
            other.submit(lambda: asyncio.run(line.give_way(event))).result()
        return time.monotonic() - begun

    monkeypatch.setattr(queue, "GIVES_WAY", 0.3)
    assert waits(1) >= 0.3
    monkeypatch.setattr(queue, "GIVES_WAY", 60.0)
    assert max(waits(0), waits(1, alive=False)) < 10


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
