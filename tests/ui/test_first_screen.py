"""What a visitor meets: a finished picture with its words and memory, in sight at every width."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import state
from memdriven.ui.picture import OPENING_SEED
from memdriven.ui.query import read_examples
from tests.ui.conftest import DESK, Visitor

Visit = Callable[..., Visitor]


def test_words_button_and_picture_are_in_sight_at_once(guest: Visitor) -> None:
    page = guest.page  # on which nothing is pressed but by the next test, at its end
    assert page.locator("#source:visible, #seed:visible, #k:visible").count() == 0
    for width, height in ((1280, 800), (1024, 768), (800, 600), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        edge = page.locator("#foot").bounding_box()["y"] if width < 760 else height
        for part, lowest in (("#caption", edge), ("#result .md-frame", edge), ("#generate", height)):
            box = page.locator(part).bounding_box()
            assert box is not None
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= lowest, part
        memory, picture = (page.locator(each).bounding_box() for each in ("#memory", "#result"))
        assert memory is not None
        assert picture is not None
        if width < 900:
            assert picture["y"] < memory["y"]
        else:
            assert memory["x"] < picture["x"]
            assert abs(memory["y"] - picture["y"]) < 40


def test_the_page_opens_with_a_picture_that_its_words_and_seed_give(
    guest: Visitor, pipe: MemoryDrivenPipeline
) -> None:
    visitor, page, caption = guest, guest.page, read_examples(pipe)[0]
    assert page.input_value("#caption textarea") == caption
    content = page.get_attribute('.md-result[data-complete="true"]', "src")
    assert base64.b64decode(content.split(",")[1]) == pipe(caption, seed=OPENING_SEED).png()
    assert page.locator("#memory .md-card").count() == 1
    assert page.locator("#header a[href^='https://arxiv.org']").count() == 1
    page.keyboard.type("a blue bird")
    page.wait_for_function("document.querySelector('#caption textarea').value === 'a blue bird'")
    page.click("#result [data-act=keep]")
    visitor.wait_text("#status", f"The noise of this picture is kept: seed {OPENING_SEED}.")


def test_what_it_knows_is_said_and_a_word_can_be_taken(desk: Visitor, pipe: MemoryDrivenPipeline) -> None:
    visitor = desk
    count = sum(word.isalpha() for word in pipe.vocabulary.words)
    state.use(pipe)
    assert visitor.text("#vocabulary summary") == f"Knows {count} words about smalls"
    visitor.write("a red")
    visitor.page.click("#vocabulary summary")
    visitor.page.click('#vocabulary [data-word="bird"]')
    assert visitor.page.input_value("#caption textarea") == "a red bird"


@pytest.mark.usefixtures("in_motion")
def test_an_example_paints_at_once_and_generate_shows_its_picture(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    page.set_viewport_size({"width": 1024, "height": 600})
    chip = page.locator(".md-chip").nth(1)
    words = chip.inner_text()
    chip.click()
    page.wait_for_selector(f'.md-result[data-complete="true"][alt$="{words}"]')
    page.get_by_role("tab", name="Diversity").click()
    page.wait_for_selector("#make-grid")
    visitor.write("a blue bird with black wings")
    page.evaluate("scrollTo(0, 10000)")
    page.click("#generate")
    page.wait_for_selector('.md-result[data-complete="true"][alt$="a blue bird with black wings"]:visible')
    page.wait_for_function(
        """() => { const box = document.querySelector('#result .md-frame').getBoundingClientRect();
        return box.top >= 0 && box.top < innerHeight / 2; }"""
    )


def shot(page: Any) -> np.ndarray:
    """Return what is on screen (h, w, 3)."""
    with Image.open(io.BytesIO(page.screenshot())) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_stands_in_its_html_and_nothing_moves_when_its_scripts_have_run(
    unopened: Any, address: str, width: int, scheme: str
) -> None:
    page = unopened
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    page.route("**/assets/index-*.js", lambda route: route.abort())
    page.goto(address)
    assert page.locator("#generate").count() == 0
    before = shot(page)
    page.unroute("**/assets/index-*.js")
    page.goto(address)
    page.wait_for_selector("#generate")
    page.wait_for_selector("#md-still", state="detached")
    page.evaluate("document.activeElement.blur(); getSelection().empty()")
    different = np.abs(shot(page) - before).max(axis=2) > 24
    # A picture one px aside would differ in more.
    assert different.mean() < 0.005, np.argwhere(different)[:: max(1, different.sum() // 8)]


SHIFTS = """window.moved = 0;
new PerformanceObserver(all => all.getEntries().forEach(one => { window.moved += one.value; }))
    .observe({ type: 'layout-shift', buffered: true });"""
STEADY = 0.1
"""How far a page may shift in all and still count as steady (Cumulative Layout Shift)."""


def test_the_column_hardly_moves_while_the_page_is_put_together(chromium: Any, address: str) -> None:
    # As for who comes for the first time: no script has been read before.
    context = chromium.new_context(viewport={"width": 1280, "height": 860}, color_scheme="dark")
    page = context.new_page()
    page.add_init_script(SHIFTS)
    page.goto(address)
    page.wait_for_selector("#generate")
    page.wait_for_selector("#md-still", state="detached")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    moved = page.evaluate("window.moved")
    context.close()
    assert moved < STEADY


ASKED = """window.asked = 0; const ask = requestAnimationFrame;
window.requestAnimationFrame = draw => { asked += 1; return ask(draw); };"""


def test_a_page_at_rest_asks_for_no_frame(unopened: Any, address: str) -> None:
    page = unopened
    page.add_init_script(ASKED)
    page.goto(address)
    page.wait_for_selector("#md-still", state="detached")
    none = "() => { const before = window.before; window.before = asked; return before === asked; }"
    page.wait_for_function(none, polling=500)  # what was moved while the page was put together ends first


def test_a_page_that_is_half_there_is_of_its_scheme_and_shows_nothing_that_will_move(
    unopened: Any, address: str
) -> None:
    page = unopened
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    whole = page.request.get(address).text()
    half = whole[: whole.index('id="picture-column"')]
    page.route(address, lambda route: route.fulfill(body=half, content_type="text/html"))
    page.route("**/assets/index-*", lambda route: route.abort())
    page.goto(address)
    empty = shot(page)
    assert np.ptp(empty) == 0
    assert empty.max() < 64


def test_a_link_shows_no_picture_but_its_own(visit: Visit, pipe: MemoryDrivenPipeline) -> None:
    out = pipe("a small blue bird", seed=11)
    visitor = visit()
    page = visitor.page
    page.route("**/queue/join*", lambda route: None)  # nothing has come yet
    visitor.go(f"{visitor.address}?r={out.recipe.to_url()}")
    assert page.locator("#md-still").count() == 0
    for part in ("#result", "#memory", "#caption textarea"):
        assert page.evaluate("part => getComputedStyle(document.querySelector(part)).opacity", part) == "0"
    page.unroute_all()
    page.wait_for_selector('body:not(.md-arriving) .md-result[data-seed="11"]')
    assert page.input_value("#caption textarea") == "a small blue bird"
    assert page.evaluate("getComputedStyle(document.querySelector('#result')).opacity") == "1"


WIDER = """() => [...document.querySelectorAll('#page *, #header *')].filter(one => {
    const box = one.getBoundingClientRect();
    if (!box.width || box.right <= innerWidth + 1) return false;
    for (let up = one.parentElement; up; up = up.parentElement) {
        const how = getComputedStyle(up).overflowX;
        if (['auto', 'scroll'].includes(how)) return false;
        if (['hidden', 'clip'].includes(how) && !up.matches('.gradio-container')) return false;
    }
    return true;
}).map(one => `${one.tagName} ${one.id} ${one.className}`)"""
"""Elements that reach beyond the window and cannot be scrolled to."""


LEFTS = "[...document.querySelectorAll('#tabs [role=tab][data-tab-id]')].map(one => one.offsetLeft)"


def test_nothing_is_wider_than_the_window_on_any_tab_and_no_tab_moves_when_another_is_chosen(
    desk: Visitor,
) -> None:
    page = desk.page
    found, lefts = {}, page.evaluate(LEFTS)
    for tab in page.locator("#tabs [role=tab][data-tab-id]:visible").all():
        tab.click()
        page.wait_for_function(
            "tab => tab.getAttribute('aria-selected') === 'true'", arg=tab.element_handle()
        )
        name = tab.inner_text()
        assert page.evaluate(LEFTS) == lefts, name
        for width in (1024, 390):
            page.set_viewport_size({"width": width, "height": 844})
            found[width, name] = page.evaluate(WIDER)
        page.set_viewport_size(DESK)
    assert len(found) == 20
    assert [name for name, wide in found.items() if wide] == [], found


def test_the_row_of_tabs_fades_where_it_goes_on(desk: Visitor) -> None:
    page = desk.page
    page.set_viewport_size({"width": 390, "height": 844})
    for name, fades in (("Compare", "left right"), ("Picture", "right"), ("Paper", "left")):
        page.get_by_role("tab", name=name, exact=True).click()
        page.wait_for_function(
            "name => document.querySelector('#tabs [aria-selected=true]').innerText.trim() === name", arg=name
        )
        page.wait_for_function(
            "fades => document.querySelector('#tabs [data-more]')?.dataset.more.trim() === fades", arg=fades
        )


def test_generate_lies_over_no_text_that_one_reads(visit: Visit) -> None:
    page = visit("?lesson=noise", viewport={"width": 390, "height": 844}).page
    for name in ("Learn", "Paper"):
        page.get_by_role("tab", name=name, exact=True).click()
        page.wait_for_function("getComputedStyle(document.querySelector('#foot')).position === 'static'")
    assert page.evaluate("document.activeElement.matches('#caption textarea')") is False
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_function("getComputedStyle(document.querySelector('#foot')).position === 'sticky'")
