from __future__ import annotations

import threading

import pytest

from memdriven.errors import BankError
from memdriven.explore.memory_map import Progress
from memdriven.ui.state import Once, Shelved


def test_work_is_done_once_and_tells_how_far_it_is() -> None:
    go, calls = threading.Event(), []

    def work(progress: Progress) -> str:
        calls.append(1)
        progress(3, 4)
        go.wait(5)
        return "done"

    once = Once(work)
    waiting = once.wait()
    assert next(waiting) in ((0, 1), (3, 4))
    assert next(waiting) == (3, 4)
    go.set()
    list(waiting)
    assert once.result() == "done"
    assert list(once.wait()) == []
    assert len(calls) == 1


def test_failed_work_tells_why_and_can_be_tried_again() -> None:
    tries = []

    def work(progress: Progress) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise BankError(wanted="a", found="b", fix="c")
        return 5

    shelved: Shelved[int] = Shelved()
    with pytest.raises(BankError):
        shelved.get("a", work).result()
    assert shelved.get("a", work).result() == 5


def test_only_the_last_few_are_kept() -> None:
    shelved: Shelved[int] = Shelved(most=2)
    first = shelved.get("a", lambda progress: 1)
    assert shelved.get("a", lambda progress: 2) is first
    shelved.get("b", lambda progress: 3)
    shelved.get("c", lambda progress: 4)
    assert shelved.get("a", lambda progress: 5).result() == 5
