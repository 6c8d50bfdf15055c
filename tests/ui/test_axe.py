"""Every tab, filled: axe-core finds nothing that keeps people from using it, and nothing is cut off."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from axe_playwright_python.sync_playwright import Axe

from memdriven.explore.lessons import lessons
from tests.ui.asking import CAPTION
from tests.ui.conftest import Visitor
from tests.ui.walk import TABS, too_wide, walk

LOOKS = ((1280, "light"), (390, "dark"))
AT_ONCE = "#foot { position: static !important } .tabitem { display: block !important }"
"""All tabs below each other; axe would take the sticky buttons for the background of what is beneath them."""


SETTLED = """() => new Promise(requestAnimationFrame).then(() => Promise.allSettled(
    document.getAnimations().filter((each) => each instanceof CSSTransition).map((each) => each.finished)))"""


def look(page: Any, width: int, scheme: str = "light") -> None:
    page.set_viewport_size({"width": width, "height": 860})
    page.emulate_media(color_scheme=scheme)
    page.evaluate(SETTLED)


def findings(page: Any, place: str, within: str | None = None) -> list[str]:
    """Return what axe finds of grave impact at both widths, light and dark, a line an element."""
    found = []
    # Preloading reads all styles once more, for a rule that is off.
    options = {"resultTypes": ["violations"], "preload": False}
    for width, scheme in LOOKS:
        look(page, width, scheme)
        for rule in Axe().run(page, within, options).response["violations"]:
            if rule["impact"] not in ("serious", "critical"):
                continue
            for node in rule["nodes"]:
                target = " ".join(map(str, node["target"]))
                why = "; ".join(each["message"] for each in (*node["any"], *node["all"], *node["none"]))
                found.append(f"{place}, {width} px, {scheme}: {rule['id']} at {target}: {why}")
    look(page, 1280)
    return found


def cut(page: Any, steps: Sequence[Any] = ()) -> list[str]:
    """Return what is wider than a window of 390 or of 1024 px, at each of the steps."""
    found = []
    for width in (390, 1024):
        look(page, width)
        found += [f"{width} px: {each}" for each in too_wide(page)]
        for step in steps:
            step.click()
            found += [f"{width} px, {step.text_content()}: {each}" for each in too_wide(page)]
    return found


def test_every_tab_fits_its_window_and_keeps_nobody_out(desk: Visitor) -> None:
    visitor, page, found, walked = desk, desk.page, list[str](), list[str]()
    visitor.begin(CAPTION)
    visitor.use_model("fading")
    page.wait_for_selector("#fade-share:visible")
    for name in walk(visitor):
        walked.append(name)
        if name == "app":
            page.click(".md-recipe summary")
            page.click("#batch summary")
            page.click("#result [data-large]")
            found += findings(page, "lightbox", "#lightbox")
            page.keyboard.press("Escape")
    labels = page.locator("#tabs [role=tab][data-tab-id]").all_inner_texts()
    assert sorted(TABS[name][0] for name in walked) == sorted({label.strip() for label in labels})
    style = page.add_style_tag(content=AT_ONCE)
    found += findings(page, "all tabs")
    assert not found, "\n".join(found)
    assert not cut(page)
    style.evaluate("each => each.remove()")
    visitor.use_model("tiny")
    written = page.evaluate("document.querySelector('#page').textContent")
    assert " %" in written
    assert not re.search(r".{20}\d%", written), "one form of percentages"


def test_no_figure_and_no_lesson_is_cut_off(desk: Visitor) -> None:
    visitor, page, wide = desk, desk.page, {}
    visitor.begin(CAPTION)
    visitor.open_tab("Paper")
    page.wait_for_selector("#paper-claims tbody tr")  # what is chosen before its tab is put together is lost
    for figure in ("2", "5", "table 1", "1"):
        visitor.put_away("#status p")
        page.check(f'#paper-choice input[value="{figure}"]', force=True)
        visitor.wait_text("#status", "Drawn with seed")
        page.wait_for_selector(f'#paper-result [data-figure="{figure}"]')
        wide[f"figure {figure}"] = cut(page, page.locator("#paper-result .md-station").all())  # of Figure 2
    visitor.open_tab("Learn")
    for lesson in reversed(lessons().values()):  # the first is chosen already
        page.check(f'#lesson-choice input[value="{lesson.id}"]', force=True)
        page.wait_for_selector(f'#lesson [data-lesson="{lesson.id}"]')
        page.locator("#lesson-answer label").first.click()
        page.click("#lesson-run:not([disabled])")
        page.click("#lesson-reveal:visible")
        page.wait_for_selector("#lesson-told [data-verdict]")
        wide[lesson.id] = cut(page)
    assert not any(wide.values()), {name: what for name, what in wide.items() if what}
