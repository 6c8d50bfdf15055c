"""A walk through every tab of the page, each filled with what it is there to show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.ui.asking import CAPTION
from tests.ui.conftest import Visitor

FRAMES = "5"


def picture(visitor: Visitor) -> None:
    visitor.generate()
    visitor.wait_text("#status", "with seed 7")


def diversity(visitor: Visitor) -> None:
    visitor.page.click("#make-grid")
    visitor.wait_text("#status", "Nine pictures")


def compare(visitor: Visitor) -> None:
    page = visitor.page
    page.click("#compare-run")
    visitor.wait_text("#status", "Compared.")
    for place in (0, 3):
        page.locator("#compare-table .md-pick").nth(place).click()
    page.fill("#edit-words textarea", CAPTION.replace("red", "blue"))
    page.click("#edit-run")
    page.wait_for_selector("#edit-result ins")


def inside(visitor: Visitor) -> None:
    page = visitor.page
    page.wait_for_selector(".md-without", state="attached")
    visitor.wait_text("#status", "Inside the picture")
    page.click("#walk-stage0")
    page.wait_for_selector('#status [data-busy="false"]')


def morph(visitor: Visitor) -> None:
    page = visitor.page
    page.fill("#morph-seed textarea, #morph-seed input", "9")
    page.fill("#morph-count input[type=number]", FRAMES)
    page.click("#morph-run")
    page.wait_for_selector("#morph-result .md-ends")


def copies(visitor: Visitor) -> None:
    visitor.page.click("#copy-run")
    visitor.page.wait_for_selector("#copy-result .md-verdict")


def memory_map(visitor: Visitor) -> None:
    page = visitor.page
    page.wait_for_selector("#map canvas")
    page.wait_for_selector("#map-query [data-query]")
    page.locator("#map canvas").focus()
    page.keyboard.press("ArrowRight")


def history(visitor: Visitor) -> None:
    page = visitor.page
    page.click('#history .md-moment:nth-child(1) [data-act="inspect"]:not(.md-history-picture)')
    page.wait_for_selector("#inspection dl")


def learn(visitor: Visitor) -> None:
    page = visitor.page
    page.locator("#lesson-answer label").nth(2).click()
    page.click("#lesson-run:not([disabled])")
    page.click("#lesson-reveal:visible")
    page.wait_for_selector("#lesson-told .md-reveal")


def paper(visitor: Visitor) -> None:
    visitor.page.wait_for_selector("#paper-claims tbody tr")
    visitor.page.locator("#paper-choice label").nth(2).click()
    visitor.wait_text("#status", "Drawn with seed")


TABS: dict[str, tuple[str, Callable[[Visitor], None]]] = {
    "app": ("Picture", picture),
    "diversity": ("Diversity", diversity),
    "compare": ("Compare", compare),
    "inside": ("How it works", inside),
    "morph": ("Morph", morph),
    "copies": ("Copy check", copies),
    "map": ("Memory map", memory_map),
    "history": ("History", history),
    "learn": ("Learn", learn),
    "paper": ("Paper", paper),
}
"""Name of each tab's file, its label, and what fills it."""


def walk(visitor: Visitor) -> Iterator[str]:
    """Yield each tab's name once it is open and filled."""
    page: Any = visitor.page
    visitor.write(CAPTION)
    page.wait_for_selector("#memory .md-card")
    visitor.keep_seed("7")
    for name, (label, fill) in TABS.items():
        page.get_by_role("tab", name=label, exact=True).click()
        fill(visitor)
        yield name


TOO_WIDE = """() => [...document.querySelectorAll('#header *, #page *')].filter((one) => {
  const box = one.getBoundingClientRect();
  if (!box.width || !box.height || (box.right <= innerWidth + 1 && box.left >= -1)) return false;
  if (!one.checkVisibility() || one.parentElement.closest('svg')) return false;
  for (let p = one.parentElement; p !== document.body; p = p.parentElement)
    if (['auto', 'scroll'].includes(getComputedStyle(p).overflowX)) return false;
  return true;
}).map((one) => one.outerHTML.slice(0, 120))"""


def too_wide(page: Any) -> list[str]:
    """Return what is on screen and reaches beyond the window; the page would cut it off."""
    found: list[str] = page.evaluate(TOO_WIDE)
    return found
