"""Words, picture and tab: never lost by a reload, the back button, or a line that is full."""

from __future__ import annotations

import base64
import io
import threading
from typing import Any

import pytest
from PIL import Image

from memdriven.pipeline import own_image
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import history
from tests.pipeline.test_own_image import FakeNetwork
from tests.ui.conftest import Visitor

CAPTION = "a small red bird with black wings"
FULL = {"status": 429, "content_type": "application/json", "body": '{"detail": "full"}'}


def open_tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def wait_tab(page: Any, name: str) -> None:
    page.wait_for_function(
        "name => document.querySelector('#tabs [role=tab][aria-selected=true]')?.innerText === name", arg=name
    )


def test_a_reload_keeps_words_settings_picture_and_tab(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    visitor.begin(CAPTION, k=2)
    made = visitor.generate()
    visitor.write("a blue bird")
    visitor.wait_text("#memory", "blue")
    open_tab(page, "Morph")
    wait_tab(page, "Morph")
    visitor.reload()
    wait_tab(page, "Morph")
    assert page.input_value("#caption textarea") == "a blue bird"
    assert page.input_value("#k input[type=number]") == "2"
    assert not page.is_checked("#keep input"), "a seed that was free stays free"
    assert page.get_attribute("#result .md-result", "src").encode() == made
    open_tab(page, "Picture")
    page.wait_for_selector("#result.md-stale:visible")
    page.wait_for_function("document.querySelectorAll('#memory .md-card').length === 2")
    assert page.locator("#memory .md-steered").count() == 0


@pytest.mark.parametrize("k", [1, 2])
def test_a_reload_that_ends_late_says_nothing_over_what_another_tab_has_said(
    desk: Visitor, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    """Nor do the references say something, that are shown for words and settings which come back."""
    visitor, page = desk, desk.page
    visitor.begin(page.get_attribute("#caption textarea", "placeholder"), seed="7", k=k)
    made, late, came_back = visitor.generate(), threading.Event(), history.came_back
    monkeypatch.setattr(history, "came_back", lambda *given: late.wait(30) and came_back(*given))
    visitor.reload()
    open_tab(page, "Memory map")
    visitor.wait_text("#status", "Your words are on the map.")
    while sum(job is not None for job in visitor.line.active_jobs) > 1:  # that of the map has not ended
        page.wait_for_timeout(20)
    late.set()
    page.wait_for_selector("body:not(.md-arriving)")
    assert page.get_attribute("#result .md-result", "src").encode() == made
    assert visitor.text("#status") == "Your words are on the map."


def test_the_back_button_goes_from_tab_to_tab_and_comes_back_from_elsewhere(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    visitor.begin(CAPTION)
    made = visitor.generate()
    for name in ("Compare", "History"):
        open_tab(page, name)
        wait_tab(page, name)
    page.go_back()
    wait_tab(page, "Compare")
    page.go_forward()
    wait_tab(page, "History")
    visitor.go(f"{desk.address}?lesson=search")
    wait_tab(page, "Learn")
    visitor.back()
    wait_tab(page, "History")
    assert page.input_value("#caption textarea") == CAPTION
    assert page.get_attribute("#result .md-result", "src").encode() == made


def test_a_link_opens_though_the_line_is_full_at_first(desk: Visitor, pipe: MemoryDrivenPipeline) -> None:
    out = pipe(CAPTION, seed=11)
    visitor, page, refused = desk, desk.page, list[str]()

    def full(route: Any) -> None:
        refused.append(route.request.url)
        route.fulfill(**FULL) if len(refused) < 3 else route.fallback()

    visitor.expected = "429"
    page.route("**/queue/join*", full)
    visitor.go(f"{desk.address}?r={out.recipe.to_url()}")
    page.wait_for_selector('#result .md-result[data-seed="11"][data-complete="true"]')
    content = page.get_attribute("#result .md-result", "src").split(",")[1]
    assert base64.b64decode(content) == out.png()
    assert len(refused) >= 3
    page.unroute("**/queue/join*")


def test_a_picture_with_an_own_image_is_told_to_be_gone(
    desk: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_image, "feature_network", FakeNetwork)
    visitor, page = desk, desk.page
    visitor.begin(CAPTION)
    buffer = io.BytesIO()
    Image.effect_noise((96, 96), 70).convert("RGB").save(buffer, "PNG")
    page.set_input_files(
        "#own input[type=file]", {"name": "x.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    )
    page.wait_for_selector('#memory .md-card[data-id^="own:"]')
    visitor.generate()
    visitor.reload()
    visitor.wait_text("#status", "own image is gone")
    assert page.input_value("#caption textarea") == CAPTION
