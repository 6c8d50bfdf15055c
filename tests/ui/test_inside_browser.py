"""The walk through the method, by mouse and by keyboard."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from memdriven.explore.inside import hide, look_inside
from memdriven.models.generator import Stage
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request
from memdriven.ui.html import image_uri, wash
from tests.ui.asking import CAPTION
from tests.ui.conftest import Shoot, Visitor


def opened(page: Any) -> tuple[str, str]:
    """Return which step is chosen, and which account is shown."""
    chosen = page.locator('.md-station[aria-selected="true"]').get_attribute("data-step")
    return str(chosen), str(page.locator(".md-account:visible").get_attribute("data-step"))


def sums(page: Any) -> list[list[float]]:
    """Return the shown rows: channel, h, W, b, h'."""
    rows = page.locator(".md-account:visible .md-sums tbody tr").all_inner_texts()
    return [
        [float(n.replace(" ", "")) for n in re.findall(r"-? ?[\d.]+", row.replace("\u2212", "-"))]
        for row in rows
    ]


def test_the_method_is_walked_from_the_words_to_the_critic(
    desk: Visitor, shoot: Shoot, pipe: MemoryDrivenPipeline
) -> None:
    visitor, page = desk, desk.page
    visitor.begin(CAPTION, seed="7")
    visitor.open_tab("How it works")
    page.wait_for_selector(".md-without", state="attached")  # opened is shown: no button is pressed
    visitor.wait_text("#status", "Inside the picture of seed 7.")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    seen = look_inside(pipe, Request.of(CAPTION, "sentence-sentence", 1, 7, best_of=1))

    # By keyboard from step to step, round the end.
    page.focus("#walk-words")
    walked = [opened(page)]
    for _ in range(len(pipe.resolutions) + 4):
        page.keyboard.press("ArrowRight")
        walked.append(opened(page))
    names = ["words", "search", "features", *(f"stage{n}" for n in range(len(pipe.resolutions)))]
    assert walked == [(name, name) for name in [*names, "picture", "critic"]]
    page.keyboard.press("ArrowRight")
    assert opened(page) == ("words", "words")
    assert page.locator(".md-wires path.md-lit").count() > 0
    page.click("[data-go='1']")
    assert opened(page) == ("search", "search")

    # The digits are the model's, and h W + b is what stands behind them.
    page.click("#walk-stage0")
    page.locator(".md-account:visible .md-picker").click(position={"x": 5, "y": 5})
    assert visitor.text(".md-account:visible .md-where >> nth=0") == "row 1, column 1"
    fusion = seen.fusions[0]
    for row, (channel, h, w, b, made) in enumerate(sums(page)):
        assert int(channel) == fusion.channels[row]
        wanted = [float(each[row, 0, 0]) for each in (fusion.hidden, fusion.scale, fusion.shift)]
        assert all(abs(a - c) < 0.006 for a, c in zip((h, w, b), wanted, strict=True))
        assert abs(made - (wanted[0] * wanted[1] + wanted[2])) < 0.01
    # Each map on the scale of all, or on its own.
    common = page.locator(".md-account:visible .md-wash:visible").get_attribute("src")
    page.locator("[data-by-scale=own]:visible").click()
    page.wait_for_selector(".md-account:visible [data-scale=own] >> nth=0")
    own = page.locator(".md-account:visible .md-wash:visible").get_attribute("src")
    assert wash(fusion.moved, "memory", seen.most_moved) == common
    assert wash(fusion.moved, "memory") == own
    assert visitor.text(".md-account:visible .md-scale-of:visible").endswith(f"{fusion.moved.max():.3g}")
    page.locator(".md-account:visible .md-picker").focus()
    before = sums(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert visitor.text(".md-account:visible .md-where >> nth=0") == "row 2, column 2"
    assert sums(page) != before

    # Another part of v is hidden: the picture without it was painted before.
    page.click("#walk-picture")
    picker = page.locator(".md-account:visible .md-picker")
    side = picker.bounding_box()["width"]
    picker.click(position={"x": 0.3 * side, "y": 0.3 * side})
    picker.focus()
    page.keyboard.press("ArrowRight")
    hidden = hide(pipe, seen).hidden
    assert page.locator(".md-without").get_attribute("src") == image_uri(hidden[6])
    assert "row 2, column 3" in visitor.text(".md-effect")
    assert asked == [], "the walk asks the server nothing"
    shoot(page, "inside-1280.png")


def test_opening_works_it_out_once_and_its_button_does_not_wait_behind_itself(
    desk: Visitor, presses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor, held, paint = desk, threading.Event(), MemoryDrivenPipeline.paint
    page, opens = visitor.page, visitor.open_tab
    visitor.begin("a small green bird with brown wings", seed="7")
    presses.clear()

    with monkeypatch.context() as patch:

        def slow(*given: Any) -> Iterator[Stage]:
            held.wait(120)
            return paint(*given)

        patch.setattr(MemoryDrivenPipeline, "paint", slow)
        opens("How it works")
        visitor.wait_text("#status", "Looking inside the picture of seed 7")
        page.click("#inside-run")
        # The place in line is asked for by a timer of the press; this one ends after it.
        page.evaluate("() => new Promise(done => setTimeout(done, 400))")
        assert "follow" not in presses
        assert page.locator("#place p").count() == 0
        held.set()
    visitor.wait_text("#status", "Inside the picture of seed 7.")
    assert presses.count("show") == 2
    opens("Picture")
    asked = presses.count("question")
    opens("How it works")
    while presses.count("question") == asked:
        page.wait_for_timeout(20)
    visitor.rest()
    assert presses.count("show") == 2, "the same words, the same walk"
    visitor.write("a small blue bird")
    opens("Picture")
    opens("How it works")
    visitor.wait_text("#walk-words", "a small blue bird")
    assert presses.count("show") == 3


def test_a_narrow_screen_shows_what_a_step_opens(desk: Visitor) -> None:
    page = desk.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("tab", name="How it works", exact=True).click()
    page.wait_for_selector(".md-without", state="attached")
    for name in ("#walk-words", "#walk-critic", '[data-go="-1"]'):
        page.locator(name).scroll_into_view_if_needed()
        page.click(name)
        head = page.locator(".md-account:visible .md-account-head").bounding_box()
        below = page.locator("#generate").bounding_box()
        assert head
        assert below
        assert 0 <= head["y"] < head["y"] + head["height"] <= below["y"], name
