"""Hasty presses: what Stop ends changes nothing any more, and no press beside the queue is lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import queue
from memdriven.ui.state import ModelRegistry
from tests.ui.conftest import Visitor

FIRST_STAGE = '.md-result[data-complete="false"]'


@contextmanager
def behind(other: Visitor, gate: threading.Event) -> Iterator[None]:
    """Do something while another visitor's picture is painted."""
    gate.clear()
    other.put_away(".md-result")
    other.page.click("#generate")
    other.page.wait_for_selector(FIRST_STAGE)
    yield
    gate.set()
    other.page.wait_for_selector('.md-result[data-complete="true"]')


def stop(visitor: Visitor) -> None:
    visitor.page.click("#stop")
    visitor.wait_text("#status", "Stopped.")


def test_a_picture_that_is_stopped_in_its_last_step_is_nowhere(
    desk: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, original, held = desk.page, MemoryDrivenPipeline.stream, threading.Event()
    desk.unfold()
    desk.keep_seed("40")
    desk.generate()
    last = len(page.query_selector_all("#result .md-strip li")) - 1

    def late(*given: Any, **named: Any) -> Iterator[PipelineOutput]:
        for output in original(*given, **named):
            yield output
            if len(output.stages) == last:
                held.wait(120)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryDrivenPipeline, "stream", late)
        desk.keep_seed("41")
        page.evaluate("document.querySelector('.md-result').remove()")
        page.click("#generate")
        page.wait_for_function(f"document.querySelectorAll('#result .md-strip img').length === {last}")
        stop(desk)
        held.set()
        desk.rest()
    page.get_by_role("tab", name="Copy check").click()
    page.click("#copy-run")
    desk.wait_text("#status", "Checked the picture of seed 40.")
    page.get_by_role("tab", name="Picture", exact=True).click()


def test_a_stopped_download_saves_no_file_from_before(
    desk: Visitor, guest: Visitor, gate: threading.Event
) -> None:
    page, other = desk.page, guest
    desk.generate()
    page.click("#result [data-times]")
    page.wait_for_selector("#saved a", state="attached")
    with behind(other, gate):
        page.click("#result [data-times]")
        page.wait_for_selector("#place p")
        stop(desk)
        page.wait_for_selector("#saved a", state="detached")
    page.get_by_role("tab", name="History").click()
    page.click('#history [data-export="sheet"]')
    page.wait_for_selector("#saved a", state="attached")
    with behind(other, gate):
        page.click('#history [data-export="sheet"]')  # which waits for nobody's picture
        page.wait_for_selector('#status [data-busy="true"]')
        stop(desk)
        page.wait_for_selector("#saved a", state="detached")
    page.get_by_role("tab", name="Picture", exact=True).click()


def test_a_stopped_choice_of_a_model_is_none(
    desk: Visitor,
    guest: Visitor,
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    offered: ModelRegistry,
) -> None:
    page, other, load, held = desk.page, guest, ModelRegistry.get, threading.Event()
    desk.unfold()

    def choose() -> None:
        with page.expect_response(lambda answer: "queue/join" in answer.url):
            page.click("#checkpoint input")
            page.click("[role=option]:has-text('other')")

    def still() -> None:
        page.wait_for_function(f"document.querySelector('#checkpoint input').value === '{offered.default}'")
        desk.generate()
        assert json.loads(page.text_content(".md-recipe pre"))["checkpoint"] == offered.default

    with behind(other, gate):
        choose()
        stop(desk)
    still()

    def slow(self: ModelRegistry, name: str) -> MemoryDrivenPipeline:
        if name == "other":
            held.wait(120)
        return load(self, name)

    monkeypatch.setattr(ModelRegistry, "get", slow)
    choose()
    desk.wait_text("#status", "Opening other")
    stop(desk)
    held.set()
    desk.rest()
    still()


def test_presses_beside_the_queue_are_all_sent(desk: Visitor) -> None:
    """Over a slow line the second press of a button comes before the first is answered."""
    page, waiting = desk.page, list[Any]()
    desk.unfold()
    desk.generate()
    pages = "**/gradio_api/run/predict"

    def hold(route: Any) -> None:
        waiting.append(route)

    page.route(pages, hold)
    for presses in (("#stop", "#stop"), ('#result [data-act="keep"]', '#result [data-act="hold"]')):
        for press in presses:
            with page.expect_request(pages):
                page.click(press)
    for route in waiting:
        route.continue_()
    # Both were heard; which of the two answers comes last, the line decides.
    page.wait_for_function("document.querySelector('#window input').value !== 'from the seed'")
    page.wait_for_selector("#keep input:checked")
    page.unroute(pages)


def test_a_key_that_is_held_is_one_press(desk: Visitor, gate: threading.Event, presses: list[str]) -> None:
    page = desk.page
    for where, keys in (("#caption textarea", ("Control", "Enter")), ("#generate", ("Enter",))):
        presses.clear()
        page.evaluate("document.querySelector('.md-result')?.remove()")
        page.focus(where)
        gate.clear()
        for key in (*keys, "Enter", "Enter"):
            page.keyboard.down(key)
        for key in keys:
            page.keyboard.up(key)
        page.wait_for_selector(FIRST_STAGE)
        gate.set()
        page.wait_for_selector('.md-result[data-complete="true"]')
        desk.rest()
        assert presses.count("paint") == 1


def test_a_visitor_is_told_of_too_many_presses_in_plain_words(
    desk: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = desk
    visitor.expected = "429"
    monkeypatch.setattr(queue, "SESSION", 0)
    visitor.page.click("#generate")
    visitor.page.get_by_text(queue.FULL).first.wait_for()  # the press, and its place in line
    for term in ("call", "request", "session", "event", "queue"):
        assert term not in queue.FULL
