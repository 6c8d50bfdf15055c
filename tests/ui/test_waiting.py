from __future__ import annotations

import threading

import pytest

from memdriven.errors import BankError
from memdriven.explore.memory_map import Progress
from memdriven.ui.state import BackgroundTask, TaskCache


def test_work_is_done_once_and_tells_how_far_it_is() -> None:
    go, calls = threading.Event(), []

    def work(progress: Progress) -> str:
        calls.append(1)
        progress(3, 4)
        go.wait(5)
        return "done"

    task = BackgroundTask(work)
    waiting = task.wait()
    assert next(waiting) in ((0, 1), (3, 4))
    assert next(waiting) == (3, 4)
    go.set()
    list(waiting)
    assert task.result() == "done"
    assert list(task.wait()) == []
    assert len(calls) == 1


def test_failed_work_tells_why_and_can_be_tried_again() -> None:
    tries = []

    def work(progress: Progress) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise BankError(wanted="a", found="b", fix="c")
        return 5

    cache: TaskCache[int] = TaskCache()
    with pytest.raises(BankError):
        cache.get("a", work).result()
    assert cache.get("a", work).result() == 5


def test_only_the_last_few_are_kept() -> None:
    cache: TaskCache[int] = TaskCache(most=2)
    first = cache.get("a", lambda progress: 1)
    assert cache.get("a", lambda progress: 2) is first
    cache.get("b", lambda progress: 3)
    cache.get("c", lambda progress: 4)
    assert cache.get("a", lambda progress: 5).result() == 5
