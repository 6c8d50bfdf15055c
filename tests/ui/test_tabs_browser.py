"""The tabs of experiments in a real browser; a visit also fails on errors and outside requests."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from PIL import Image

from memdriven.explore.lessons import Lesson, lessons
from memdriven.ui import learn
from memdriven.ui.html import READY, image_uri
from memdriven.ui.learn import EMPTY
from tests.ui.asking import CAPTION, HOSTILE
from tests.ui.conftest import DESK, Shoot, Visitor
from tests.ui.walk import too_wide

Visit = Callable[..., Visitor]


def open_tab(visitor: Visitor, name: str) -> Any:
    visitor.begin(CAPTION, seed="7")
    visitor.open_tab(name)
    return visitor.page


def two_seeds(page: Any) -> None:
    # What is typed while a tab is still being mounted is overwritten by its first value.
    page.wait_for_function(
        """() => {
        const [number, range] = ["number", "range"].map(
            (kind) => document.querySelector(`#compare-seeds input[type=${kind}]`));
        if (range?.value === "2") return true;
        if (number) {
            number.value = "2";
            number.dispatchEvent(new Event("input", { bubbles: true }));
        }
    }""",
        polling=250,
    )


@pytest.mark.usefixtures("in_motion")
def test_compare_strategies_seeds_and_words(desk: Visitor, shoot: Shoot) -> None:
    visitor, page = desk, open_tab(desk, "Compare")
    two_seeds(page)
    page.click("#compare-run")
    visitor.wait_text("#status", "Compared.")
    assert page.locator("#compare-table .md-row").count() == 4
    assert page.locator("#compare-table .md-pick").count() == 8
    # Two picked pictures lie over each other, and the slider uncovers them.
    page.locator("#compare-table .md-pick").nth(0).click()
    assert page.locator("#compare-table .md-slide").is_hidden()
    page.set_viewport_size({"width": 1280, "height": 640})
    page.locator("#compare-table .md-pick").nth(7).click()
    page.wait_for_function("""() => {
        const place = document.querySelector('.md-slide-place').getBoundingClientRect();
        return place.top >= 0 && place.bottom <= innerHeight + 1;
    }""")
    page.set_viewport_size(DESK)
    slide = page.locator("#compare-table .md-slide")
    assert slide.is_visible()
    first, last = (page.locator("#compare-table .md-pick img").nth(n) for n in (0, 7))
    assert slide.locator("img").nth(1).get_attribute("src") == first.get_attribute("src")
    assert slide.locator("img").nth(0).get_attribute("src") == last.get_attribute("src")
    before = slide.locator(".md-slide-top").evaluate("image => getComputedStyle(image).clipPath")
    slide.locator("input").focus()
    page.keyboard.press("End")
    after = slide.locator(".md-slide-top").evaluate("image => getComputedStyle(image).clipPath")
    assert before != after
    shoot(page, "compare-1280.png")

    page.click("#edit-take")
    page.wait_for_function(f"document.querySelector('#edit-words textarea').value === '{CAPTION}'")
    page.fill("#edit-words textarea", CAPTION.replace("red", "blue"))
    page.click("#edit-run")
    page.wait_for_selector("#edit-result ins")
    assert page.inner_text("#edit-result ins") == "blue"
    assert page.locator("#edit-result figure").count() == 3


def test_keys_press_the_open_tabs_button_and_walk_its_pictures(desk: Visitor) -> None:
    visitor, page = desk, open_tab(desk, "Compare")

    def focused(name: str) -> str:
        return str(page.evaluate(f"document.activeElement.dataset.{name} ?? ''"))

    def walk(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(f"Arrow{key}")

    two_seeds(page)
    page.focus("#caption textarea")
    page.keyboard.press("Control+Enter")
    visitor.wait_text("#status", "Compared.")
    picks = page.locator("#compare-table .md-pick")
    picks.first.focus()
    walk("Down", "Right")
    assert focused("label") == picks.nth(3).get_attribute("data-label")
    walk("Right", "Up", "Left")
    assert focused("label") == picks.first.get_attribute("data-label")
    page.fill("#edit-words textarea", CAPTION.replace("red", "green"))
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#edit-result ins:has-text('green')")

    page.get_by_role("tab", name="Diversity").click()
    page.wait_for_selector("#make-grid:visible")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("document.querySelectorAll('#grid button.md-tile').length >= 9")
    visitor.wait_text("#status", "Nine pictures")
    page.focus('#grid button[title="Variation 1"]')
    walk("Right", "Down", "Down", "Down", "Left")
    assert page.evaluate("document.activeElement.title") == "Variation 6"
    page.keyboard.press("Enter")
    visitor.wait_text("#steps", "step 1 away")
    visitor.keep_seed("8")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector('#result .md-result[data-complete="true"][data-seed="8"]')

    page.get_by_role("tab", name="History").click()
    page.wait_for_selector('#history .md-moment:nth-child(1):has-text("seed 8")')
    page.focus('#history .md-moment:nth-child(1) [data-act="remix"]')
    second = "document.activeElement.matches('#history .md-moment:nth-child(2) *')"
    walk("Down")
    assert (focused("act"), page.evaluate(second)) == ("remix", True)
    walk("Right")
    assert (focused("act"), page.evaluate(second)) == ("restore", True)


def test_morph_is_scrubbed_in_the_browser_and_saved(desk: Visitor, shoot: Shoot) -> None:
    page = open_tab(desk, "Morph")
    page.fill("#morph-seed textarea, #morph-seed input", "9")
    page.fill("#morph-count input[type=number]", "5")
    page.click("#morph-run")
    page.wait_for_selector("#morph-result .md-ends")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    shown = """() => [...document.querySelectorAll('.md-film img')]
        .findIndex(image => image.dataset.shown === 'true')"""
    page.locator("#morph-result .md-scrub input").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(shown) == 2
    page.keyboard.press("Home")
    assert page.evaluate(shown) == 0
    page.click("#morph-result .md-play")
    page.wait_for_function(f"({shown})() === 3")
    page.click("#morph-result .md-play")
    assert asked == []
    shoot(page, "morph-1280.png")
    for kind, place in (("GIF", 0), ("WEBP", 1)):
        with page.expect_download() as saved:
            page.locator("#morph-result a[download]").nth(place).click()
        with Image.open(saved.value.path()) as made:
            assert made.format == kind
            assert 1 < made.n_frames <= 8  # both formats join frames that look alike


def test_a_picture_leads_to_its_copy_check_and_to_other_memories(desk: Visitor) -> None:
    visitor = desk
    visitor.begin(CAPTION, seed="7")
    content = base64.b64decode(visitor.generate().decode().split(",")[1])
    with Image.open(io.BytesIO(content)) as image:
        made = image_uri(image.convert("RGB"))
    visitor.page.click('#result [data-press="#copy-run"]')
    visitor.page.wait_for_selector(f'#copy-result img[src="{made}"]')
    assert visitor.page.locator(f'#copy-result img[src="{made}"]').count() == 1
    assert visitor.page.locator("#copy-result .md-near li").count() == 4
    visitor.wait_text("#status", "seed 7")
    visitor.page.get_by_role("tab", name="Picture").click()
    visitor.page.click('#result [data-press="#compare-run"]')
    visitor.wait_text("#status", "Compared.")
    assert visitor.page.locator(f'#compare-table img[src="{made}"]').count() == 1


def test_memory_map_hovers_searches_and_pins(desk: Visitor, shoot: Shoot) -> None:
    visitor, page = desk, desk.page
    visitor.begin(CAPTION, seed="7")
    visitor.generate()
    visitor.open_tab("Memory map")
    page.wait_for_selector("#map canvas")
    page.wait_for_selector("#map-query [data-query]")
    page.wait_for_function(
        """() => { const c = document.querySelector('#map canvas');
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0); }"""
    )
    page.fill(".md-map-search", "blue")
    visitor.wait_text(".md-map-found", "3 found")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#map canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    card = page.locator(".md-map-card")
    assert card.is_visible()
    assert "blue" in card.inner_text()
    assert asked == []
    chosen = page.get_attribute("#map canvas", "data-item")
    shoot(page, "map-1280.png")
    page.keyboard.press("Enter")
    page.wait_for_selector(f'#map-chosen [data-item="{chosen}"] .md-result')
    page.click("#map-chosen [data-act=keep]")
    visitor.wait_text("#status", "The noise of this picture is kept: seed 7.")
    page.get_by_role("tab", name="Picture").click()
    page.wait_for_selector(f'#memory .md-card[data-id="{chosen}"]')
    page.wait_for_selector("#result .md-result[data-seed='7']")
    page.get_by_role("tab", name="History").click()
    page.wait_for_selector("#history .md-moment")


def test_learn_predict_run_reveal_by_a_teachers_link(visit: Visit, shoot: Shoot) -> None:
    visitor = visit("?lesson=wrong&hide=compose,tabs,<script>&mode=class", viewport=DESK)
    page = visitor.page
    page.wait_for_selector('#lesson [data-lesson="wrong"]')
    assert page.locator("#compose").is_hidden()
    assert page.locator("#tabs [role=tablist]").first.is_hidden()
    assert page.is_disabled("#lesson-run")
    page.locator("#lesson-answer label").nth(1).click()
    page.wait_for_selector("#lesson-run:not([disabled])")
    assert page.locator("#lesson-reveal").count() == 0 or page.locator("#lesson-reveal").is_hidden()
    page.click("#lesson-run")
    page.wait_for_selector("#lesson-reveal:visible")
    assert page.locator("#lesson-result .md-draws figure").count() >= 3
    page.click("#lesson-reveal")
    page.wait_for_selector("#lesson-told [data-verdict]")
    assert "Your prediction:" in visitor.text("#lesson-told")
    size = "e => parseFloat(getComputedStyle(e).fontSize)"
    assert page.locator("#lesson .md-lesson > p:not([class])").first.evaluate(size) >= 20, (
        "a class reads from afar"
    )
    page.click("#lesson-told [data-act=next]")
    page.wait_for_selector('#lesson [data-lesson="stages"]')
    shoot(page, "learn-1280.png")


def test_an_unknown_lesson_is_named_as_such(visit: Visit) -> None:
    visitor = visit("?lesson=sql&hide=compose", viewport=DESK)
    visitor.page.wait_for_selector("#lesson-gone p:visible")
    assert "There is no lesson of that name. Choose one below." in visitor.text("#lesson-gone")
    visitor.page.wait_for_selector('#lesson [data-lesson="retrieval"]')


def open_lesson(page: Any) -> None:
    """Open the lesson on noise, whatever another test has open, or has answered of it."""
    page.get_by_role("tab", name="Learn", exact=True).click()
    for name in ("copy", "noise"):
        page.check(f'#lesson-choice input[value="{name}"]', force=True)
        page.wait_for_selector(f'#lesson [data-lesson="{name}"]')
    page.wait_for_function("!document.querySelector('#lesson-answer input:checked')")


def begin_lesson(page: Any) -> None:
    """Answer the lesson and press its button."""
    page.locator("#lesson-answer label").first.click()
    page.click("#lesson-run:not([disabled])")


@pytest.mark.usefixtures("slow")
def test_another_lesson_ends_the_one_that_runs(desk: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    run, ended, finished = learn.lessons.run, Event(), Event()

    def watched(*given: Any) -> Iterator[Any]:
        try:
            yield from run(*given)
            finished.set()
        finally:
            ended.set()

    monkeypatch.setattr(learn.lessons, "run", watched)
    visitor, page = desk, desk.page
    open_lesson(page)
    begin_lesson(page)
    page.wait_for_selector("#lesson-result .md-experiment")
    page.locator("#lesson-choice label").nth(1).click()
    page.wait_for_selector('#lesson [data-lesson="retrieval"]')
    assert ended.wait(60)
    assert not finished.is_set()
    page.locator("#lesson-answer label").first.click()
    page.wait_for_selector("#lesson-run:not([disabled])")  # so what came before it has come, too
    assert EMPTY in visitor.text("#lesson-result")
    assert page.locator("#lesson-reveal:visible").count() == 0


def test_what_a_lesson_has_said_is_not_said_of_the_next(desk: Visitor) -> None:
    page = desk.page
    open_lesson(page)
    begin_lesson(page)
    desk.wait_text("#status", "That is what happened.")
    page.locator("#lesson-choice label").nth(1).click()
    desk.wait_text("#status", READY)


def test_what_comes_late_from_another_lesson_is_put_away(
    desk: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, over = learn._result, Event()

    def of_another(_: Lesson, made: str, *, done: bool = False) -> str:
        if done:
            over.set()
        return mine(lessons()["copy"], made, done=done)

    monkeypatch.setattr(learn, "_result", of_another)
    visitor, page = desk, desk.page
    open_lesson(page)
    page.evaluate("""() => {
        window.came = false;
        const shown = document.querySelector("#lesson-result");
        new MutationObserver(() => { came ||= !!shown.querySelector('[data-done="true"]'); })
            .observe(shown, { childList: true, subtree: true });
    }""")
    begin_lesson(page)
    assert over.wait(60)
    page.wait_for_function("came")
    visitor.wait_text("#status", READY)
    visitor.wait_text("#lesson-result", EMPTY)
    assert EMPTY in visitor.text("#lesson-result")
    assert page.locator("#lesson-reveal:visible").count() == 0


def test_a_phone_can_read_the_lesson_that_a_link_opens(visit: Visit) -> None:
    page = visit("?lesson=retrieval", viewport={"width": 390, "height": 844}).page
    page.wait_for_selector('#lesson [data-lesson="retrieval"]')
    page.wait_for_function("""() => {
        const chosen = document.querySelector('[role=tab][aria-selected=true][data-tab-id=learn]');
        const box = chosen?.getBoundingClientRect();
        return box && box.left >= 0 && box.right <= innerWidth;
    }""")
    page.locator("#lesson-answer label").nth(0).click()
    page.click("#lesson-run:not([disabled])")
    page.wait_for_selector("#lesson-result .md-histogram text")
    heights = page.locator("#lesson-result .md-histogram text").evaluate_all(
        "all => all.map(text => text.getBoundingClientRect().height)"
    )
    assert min(heights) > 10


def test_a_word_that_is_being_completed_is_not_yet_called_unknown(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    visitor.open_tab("Picture")
    visitor.write("a zzz")
    page.wait_for_selector("#unknown:has-text('zzz')", state="visible")
    page.fill("#caption textarea", "")
    page.type("#caption textarea", "a zzz bl")
    page.wait_for_selector("#completion", state="visible")
    for told in (".md-offer", "del"):
        page.wait_for_selector(f"#unknown {told}", state="hidden")
    assert page.is_visible("#completion")


def test_four_questions_frame_the_lessons(
    desk: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(learn.PLACE, str(tmp_path / "answers.jsonl"))
    visitor, page = desk, desk.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("tab", name="Learn", exact=True).click()
    answering = Event()
    monkeypatch.setattr(learn.queue, "stop", lambda *_, **__: answering.wait(60))
    for label, said in (("Four questions", "Thank you"), ("The same four", "Now: 2 of 4")):
        # The second time the questions are there already; the server is busy until they are answered.
        (answering.set if label == "Four questions" else answering.clear)()
        page.get_by_label(label, exact=True).check(force=True)
        page.wait_for_selector("#question-1:visible")
        page.wait_for_function("!document.querySelector('#questions-told')?.innerText.trim()")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for number in range(1, 5):
            page.locator(f"#question-{number} label").nth(1).click()
        answering.set()
        page.click("#questions-keep")
        visitor.wait_text("#questions-told", said)
        assert too_wide(page) == []
    assert (tmp_path / "answers.jsonl").read_text().count("\n") == 2


def test_paper_figures_are_drawn(visit: Visit, shoot: Shoot) -> None:
    visitor = visit("?mode=paper", viewport=DESK)
    page = visitor.page
    page.wait_for_selector("#paper-claims tbody tr")
    rows = page.locator("#paper-claims tbody tr")
    assert rows.count() >= 8
    assert rows.locator("td:nth-child(2)").first.inner_text() == "Sec. 1, Fig. 1, Table 1"
    # A claim leads to the figure that shows it, the one that is chosen already, too.
    rows.first.locator("button").click()
    page.wait_for_selector('#paper-result [data-figure="1"]')
    page.wait_for_function("""() => {
        const [choice, figure] = ['#paper-choice', '#paper-result'].map(
            one => document.querySelector(one).getBoundingClientRect().top);
        return choice >= 0 && figure < innerHeight / 2;
    }""")
    rows.filter(has_text="by only changing z").locator("button").click()
    page.wait_for_selector('#paper-result [data-figure="5"]')
    visitor.wait_text("#status", "Drawn with seed")
    assert page.locator(".md-paper-noises img").count() == 10
    shoot(page, "paper-1280.png")
    names = page.locator("#tabs [role=tab][data-tab-id]").all_inner_texts()
    assert len(names) == len(set(names)), "each tab has one button"


def test_hostile_words_stay_words_in_every_tab(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    visitor.begin(HOSTILE)
    visitor.generate()
    visitor.open_tab("Compare")
    page.click("#compare-run")
    visitor.wait_text("#status", "Compared.")
    page.fill("#edit-words textarea", HOSTILE.replace("red", "blue"))
    visitor.put_away("#edit-result ins")
    page.click("#edit-run")
    page.wait_for_selector("#edit-result ins")
    for name, button, made in (
        ("How it works", "#inside-run", "#inside-result .md-walk"),
        ("Copy check", "#copy-run", "#copy-result .md-verdict"),
        ("Paper", "#paper-run", "#paper-result [data-figure]"),
    ):
        visitor.open_tab(name)
        visitor.put_away(made)
        page.click(button)
        page.wait_for_selector(made)
    visitor.wait_text("#status", "Drawn with seed")
    page.get_by_role("tab", name="Memory map").click()
    page.wait_for_selector("#map canvas")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src='x']").count() == 0


def test_arrow_keys_go_from_tab_to_tab(desk: Visitor) -> None:
    page = open_tab(desk, "How it works")
    page.wait_for_selector("#inside-result .md-walk")  # its steps are tabs, too, and not among these
    names = page.locator("#tabs [data-tab-id]:visible").evaluate_all("all => all.map(e => e.dataset.tabId)")
    page.focus('#tabs [data-tab-id="inside"]:visible')
    for key, order in (("ArrowRight", names), ("ArrowLeft", names[::-1])):
        at = order.index("inside")
        for name in [*order[at + 1 :], *order[: at + 1]]:
            page.keyboard.press(key)
            tab = page.locator(f'#tabs [data-tab-id="{name}"]:visible')
            assert tab.evaluate("e => e === document.activeElement && e.ariaSelected") == "true"
