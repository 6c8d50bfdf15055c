"""An answer is not put over that to a newer question, whatever component it is for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import order, queue, references
from memdriven.ui.queue import StreamEnds
from tests.ui.conftest import Visitor

CAPTION = "a small red bird with black wings"
CARDS = "[...document.querySelectorAll('#memory .md-card')].map(card => card.dataset.id).join()"


FIRST_STAGE = '.md-result[data-complete="false"]'
KEPT = "(localStorage.getItem('memdriven.pictures.1') ?? '')"


@contextmanager
def painting(visitor: Visitor, gate: threading.Event, shown: str = FIRST_STAGE) -> Iterator[None]:
    """Do something while a picture is painted, or waits; wait until it is there and in the history."""
    page = visitor.page
    before = page.evaluate(KEPT)
    page.evaluate("document.querySelector('.md-result')?.remove()")
    gate.clear()
    page.click("#generate")
    page.wait_for_selector(shown)
    yield
    gate.set()
    page.wait_for_selector('.md-result[data-complete="true"]')
    page.wait_for_function(f"before => {KEPT} !== before", arg=before)


def test_a_picture_that_ends_leaves_what_was_asked_since(desk: Visitor, gate: threading.Event) -> None:
    page = desk.page
    desk.unfold()
    desk.write(CAPTION)
    page.fill("#tries input[type=number]", "2")  # its references are shown when it ends, too
    with painting(desk, gate):
        desk.write("a small green bird with brown wings zzz")
        desk.wait_text("#unknown", "zzz")
        page.wait_for_function(f"!{CARDS}.includes('bird-00')")
        newer = page.evaluate(CARDS)
    assert page.evaluate(CARDS) == newer
    assert "zzz" in desk.text("#unknown")
    assert "References in use" in desk.text("#status")

    with painting(desk, gate):
        page.click("#source label:has-text('None')")
        desk.wait_text("#memory", "switched off")
    assert "switched off" in desk.text("#memory")

    page.click("#source label:has-text('Retrieved')")
    page.wait_for_selector("#memory .md-spare")
    with painting(desk, gate):
        pinned = page.locator("#memory .md-spare").last.get_attribute("data-id")
        page.click(f'#memory .md-spare[data-id="{pinned}"] [data-act="pin"]')
        page.wait_for_selector(f'#memory .md-card[data-id="{pinned}"]')
    assert page.evaluate(CARDS) == pinned
    page.click('#memory [data-act="release"]')

    # The picture of the words in the box shows the references that it chose.
    desk.write(CAPTION)
    with painting(desk, gate):
        pass
    assert "Best of 2 references" in desk.text("#memory")
    assert "Done in" in desk.text("#status")


def test_a_seed_that_is_written_while_a_picture_waits_stays(
    desk: Visitor, guest: Visitor, gate: threading.Event
) -> None:
    page, other = desk.page, guest
    desk.unfold()
    page.fill("#seed input", "")
    page.wait_for_selector("#keep input:not(:checked)")
    gate.clear()
    other.page.click("#generate")
    other.page.wait_for_selector(FIRST_STAGE)
    with painting(desk, gate, "#place p"), desk.answered():
        page.fill("#seed input", "77")
    assert page.input_value("#seed input") == "77"
    assert page.is_checked("#keep input")
    assert page.get_attribute(".md-result", "data-seed") != "77", "the picture was asked for before"
    desk.generate()
    assert page.get_attribute(".md-result", "data-seed") == "77"
    with desk.answered():
        page.fill("#seed input", "")
    desk.generate()
    assert page.input_value("#seed input") == page.get_attribute(".md-result", "data-seed")


def test_what_was_done_stays_said_when_its_references_are_shown(
    desk: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restored picture sets the words; their references are shown, with nothing to say."""
    page, answered, process = desk.page, list[str](), order.Page.process_api

    async def noticed(self: order.Page, block_fn: Any, *rest: Any, **named: Any) -> Any:
        made = await process(self, block_fn, *rest, **named)
        answered.append(block_fn.name)
        return made

    monkeypatch.setattr(order.Page, "process_api", noticed)
    desk.write(CAPTION)
    desk.generate()
    desk.write("a small green bird")
    desk.wait_text("#status", "References in use")
    page.get_by_role("tab", name="History").click()
    answered.clear()
    page.locator('[data-act="restore"]:visible').first.click()
    desk.wait_text("#status", "Restored")
    while "show_references" not in answered:
        page.wait_for_timeout(20)
    page.wait_for_function(f"document.querySelector('#caption textarea').value === '{CAPTION}'")
    assert "Restored" in desk.text("#status")
    page.get_by_role("tab", name="Picture").click()
    desk.write("a small green bird")
    desk.wait_text("#status", "References in use")


def test_an_error_stays_said_when_the_words_references_come_later(
    desk: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes and presses at once; the slow preview of the words is answered last."""
    answered, told, note, process = list[str](), threading.Event(), references.note, order.Page.process_api

    def late(words: str) -> str:
        told.wait(60)
        return note(words)

    async def noticed(self: order.Page, block_fn: Any, *rest: Any, **named: Any) -> Any:
        made = await process(self, block_fn, *rest, **named)
        answered.append(block_fn.name)
        return made

    monkeypatch.setattr(references, "note", late)
    monkeypatch.setattr(order.Page, "process_api", noticed)
    desk.write("ein roter vogel")
    desk.page.click("#generate")
    desk.page.wait_for_selector("#status .md-error")
    told.set()
    while "show_references" not in answered:
        desk.page.wait_for_timeout(20)
    desk.wait_text("#memory", references.MEMORY_ERROR)
    assert desk.page.locator("#status .md-error").count() == 1


def test_what_is_written_while_a_recipe_is_painted_again_stays(
    desk: Visitor, presses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, original, go = desk.page, MemoryDrivenPipeline.from_recipe, threading.Event()

    def held(*given: Any) -> PipelineOutput:
        go.wait(120)
        return original(*given)

    monkeypatch.setattr(MemoryDrivenPipeline, "from_recipe", held)
    desk.unfold()
    desk.write(CAPTION)
    desk.keep_seed("5")
    desk.generate()
    desk.keep_seed("6")
    page.get_by_role("tab", name="History").click()
    page.locator("#history li").first.filter(has_text="seed 5").locator('[data-act="restore"]').click()
    while "act" not in presses:
        page.wait_for_timeout(20)
    with desk.answered("show_references"):
        page.type("#caption textarea", "s")
    written = page.input_value("#caption textarea")
    go.set()
    desk.wait_text("#status", "Restored")
    page.wait_for_function("document.querySelector('#seed input').value === '5'")
    assert page.input_value("#caption textarea") == written != CAPTION


def test_a_press_is_heard_while_the_answers_before_it_come_to_their_end(
    desk: Visitor, presses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a slow line the end of a stream comes after the press that it does not know of."""
    ends = StreamEnds.__call__

    async def late(self: StreamEnds, scope: Any, receive: Any, send: Any) -> None:
        async def after_the_press(message: Any) -> None:
            if b"close_stream" in message.get("body", b"") and "paint" in presses:
                while "enlarge" not in presses:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(1)  # on its way while the press would be answered
            await send(message)

        await ends(self, scope, receive, after_the_press)

    monkeypatch.setattr(StreamEnds, "__call__", late)
    monkeypatch.setattr(queue, "FAREWELL", 60.0)
    desk.generate()
    desk.page.evaluate("document.querySelector('#result [data-times]').click()")
    desk.wait_text("#status", "smoothly enlarged")


def test_a_press_counts_while_what_it_repeats_is_being_stopped(desk: Visitor, gate: threading.Event) -> None:
    """The page says so at once, a painting ends with the stage that it is in."""
    page = desk.page
    page.evaluate("document.querySelector('.md-result')?.remove()")
    gate.clear()
    page.click("#generate")
    page.wait_for_selector(FIRST_STAGE)
    page.click("#stop")
    desk.wait_text("#status", "Stopped.")
    page.click("#generate")
    gate.set()
    page.wait_for_selector('.md-result[data-complete="true"]')


def test_a_press_counts_between_the_last_frame_and_the_end(
    desk: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, original, pressed = desk.page, MemoryDrivenPipeline.stream, threading.Event()

    def lingering(*given: Any) -> Iterator[PipelineOutput]:
        yield from original(*given)
        pressed.wait(120)

    monkeypatch.setattr(MemoryDrivenPipeline, "stream", lingering)
    desk.unfold()
    page.fill("#seed input", "")
    page.wait_for_selector("#keep input:not(:checked)")
    first = desk.generate()
    page.click("#generate")
    pressed.set()
    page.wait_for_function(
        "old => (document.querySelector('.md-result[data-complete=true]')?.src ?? old) !== old",
        arg=first.decode(),
    )


def test_the_newest_press_waits_and_stop_ends_it_too(
    desk: Visitor, gate: threading.Event, presses: list[str]
) -> None:
    page = desk.page
    page.evaluate("document.querySelector('.md-result')?.remove()")
    desk.unfold()
    gate.clear()
    page.dblclick("#generate")
    page.wait_for_selector(FIRST_STAGE)
    assert presses.count("paint") == 1, "a double click is one press"
    for seed in ("5", "6", "7"):
        with page.expect_response(lambda answer: "queue/join" in answer.url):
            desk.keep_seed(seed)
            page.click("#generate")
    line = desk.line
    (waiting,) = line._waiting()
    assert waiting.data.data[4] == "7", "it takes the place of those before it"
    page.click("#stop")
    desk.wait_text("#status", "Stopped.")
    assert line._waiting() == []
    gate.set()
    desk.rest()
    assert page.locator('.md-result[data-complete="true"]').count() == 0
    assert "Stopped." in desk.text("#status")
    gate.clear()
    with painting(desk, gate):
        desk.keep_seed("8")
        with page.expect_response(lambda answer: "queue/join" in answer.url):
            page.click("#generate")
    page.wait_for_selector('.md-result[data-complete="true"][data-seed="8"]')
