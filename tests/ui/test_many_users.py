"""Many visitors at once: each has their own picture, and is told when others come first."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import Request, urlopen

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe
from tests.conftest import COLOURS, WINGS
from tests.ui.conftest import Visitor

Visit = Callable[..., Visitor]
CAPTIONS = 2 * [f"a small {body} bird with {wing} wings" for body in COLOURS for wing in WINGS]
BIRDS = len(CAPTIONS) // 2
BROWSERS = int(os.environ.get("MEMDRIVEN_BROWSERS", "2"))
"""Real pages at once; opening one takes a core some four seconds, so more are for a special run."""
PROGRAMS = 14
KEEP_LINES = """() => { window.said = []; new MutationObserver(() => {
    const line = document.querySelector('#place .md-status')?.innerText;
    if (line && line !== window.said.at(-1)) window.said.push(line);
}).observe(document.querySelector('#place'), {childList: true, subtree: true}); }"""
HISTORY = "[...document.querySelectorAll('#history .md-history-words')].map(each => each.innerText)"


def ask(address: str, caption: str, seed: int) -> dict[str, Any]:
    """Return what a program gets that asks for a picture over HTTP."""
    url = f"{address}gradio_api/call/generate"
    data = [caption, "sentence-sentence", 1, seed, None, None, 1.0, 1, 0.0]
    body = json.dumps({"data": data}).encode()
    with urlopen(Request(url, body, {"Content-Type": "application/json"})) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{url}/{event}") as stream:
        lines = stream.read().decode().splitlines()
    made = next(each for place, each in enumerate(lines) if lines[place - 1] == "event: complete")
    return dict(json.loads(made.removeprefix("data: "))[0])


def test_sixteen_at_once_each_get_their_own(
    desk: Visitor,
    guest: Visitor,
    visit: Visit,
    address: str,
    pipe: MemoryDrivenPipeline,
    gate: threading.Event,
) -> None:
    visitors = [desk, guest, *(visit() for _ in range(BROWSERS - 2))]
    for number, visitor in enumerate(visitors):
        visitor.begin(CAPTIONS[number], seed=str(100 + number))
        visitor.forget()
        visitor.page.wait_for_selector(f'#memory .md-card[data-id="bird-{number % BIRDS:02d}"]')
        visitor.page.evaluate(KEEP_LINES)
    gate.clear()  # nothing is finished before all have asked
    with ThreadPoolExecutor(PROGRAMS) as pool:
        answers = [
            pool.submit(ask, address, CAPTIONS[number % len(CAPTIONS)], 100 + number)
            for number in range(BROWSERS, BROWSERS + PROGRAMS)
        ]
        visitors[0].wait_for_work()
        for visitor in visitors:
            visitor.page.evaluate("document.querySelector('#generate').click()")
        for visitor in visitors:
            visitor.wait_text("#place", "before you.")
        gate.set()
        programs = [each.result() for each in answers]

    for number, made in enumerate(programs, start=BROWSERS):
        caption = CAPTIONS[number % len(CAPTIONS)]
        assert base64.b64decode(made["png"]) == pipe(caption, k=1, seed=100 + number).png()
        assert made["recipe"]["caption"] == caption
        assert made["neighbours"][0]["caption"] == caption
    said: list[str] = []
    for number, visitor in enumerate(visitors):
        page, caption, seed = visitor.page, CAPTIONS[number], 100 + number
        done = page.wait_for_selector('.md-result[data-complete="true"]').get_attribute("src")
        visitor.wait_text("#status", f"with seed {seed}")
        recipe = Recipe.from_png(base64.b64decode(done.split(",")[1]))
        wanted = pipe(caption, k=1, seed=seed)
        assert base64.b64decode(done.split(",")[1]) == wanted.png()
        assert (recipe.caption, recipe.neighbours) == (caption, (f"bird-{number % BIRDS:02d}",))
        assert page.input_value("#caption textarea") == caption
        said += page.evaluate("window.said")
    # Who had to wait was told how many came first.
    assert said
    assert set(said) <= {f"In line: {n} before you." for n in range(1, BROWSERS + PROGRAMS)}
    for number, visitor in enumerate(visitors):
        assert f"with seed {100 + number}" in visitor.text("#status"), "nobody else's"
        assert visitor.page.locator("#place p").count() == 0, "the line has gone"
        visitor.page.get_by_role("tab", name="History").click()
        visitor.page.wait_for_selector("#history .md-moment")
        assert visitor.page.evaluate(HISTORY) == [CAPTIONS[number]]


def test_who_waits_may_stop_waiting(desk: Visitor, guest: Visitor, gate: threading.Event) -> None:
    first, second = desk, guest
    for visitor in (first, second):
        visitor.begin(CAPTIONS[0])
    before = second.page.get_attribute(".md-result", "src")
    gate.clear()
    first.put_away(".md-result")
    first.page.click("#generate")
    second.page.click("#generate")
    second.wait_text("#place", "In line: 1 before you.")
    second.page.click("#stop")
    second.wait_text("#status", "Stopped.")
    second.page.wait_for_function("!document.querySelector('#place p')")
    gate.set()
    first.page.wait_for_selector('.md-result[data-complete="true"]')
    second.rest()
    assert "Stopped." in second.text("#status")
    assert second.page.locator("#place p").count() == 0
    assert second.page.get_attribute(".md-result", "src") == before, "the picture from before stays"
