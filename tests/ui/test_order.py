"""An answer is not put over that to a newer question, whatever component it is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.ui.conftest import Visitor

CAPTION = "a small red bird with black wings"
CARDS = "[...document.querySelectorAll('#memory .md-card')].map(card => card.dataset.id).join()"


KEPT = "(localStorage.getItem('memdriven.pictures.1') ?? '')"


@contextmanager
def painting(visitor: Visitor) -> Iterator[None]:
    """Do something while a picture is painted; wait until it is there and in the history."""
    page = visitor.page
    before = page.evaluate(KEPT)
    page.evaluate("document.querySelector('.md-result')?.remove()")
    page.click("#generate")
    page.wait_for_selector('.md-result[data-complete="false"]')
    yield
    page.wait_for_selector('.md-result[data-complete="true"]')
    page.wait_for_function(f"before => {KEPT} !== before", arg=before)


@pytest.mark.usefixtures("slow")
def test_a_picture_that_ends_leaves_what_was_asked_since(desk: Visitor) -> None:
    page = desk.page
    desk.unfold()
    desk.write(CAPTION)
    page.fill("#tries input[type=number]", "2")  # its references are shown when it ends, too
    with painting(desk):
        desk.write("a small green bird with brown wings zzz")
        desk.wait_text("#unknown", "zzz")
        page.wait_for_function(f"!{CARDS}.includes('bird-00')")
        newer = page.evaluate(CARDS)
    assert page.evaluate(CARDS) == newer
    assert "zzz" in desk.text("#unknown")
    assert "References in use" in desk.text("#status")

    with painting(desk):
        page.click("#source label:has-text('None')")
        desk.wait_text("#memory", "switched off")
    assert "switched off" in desk.text("#memory")

    page.click("#source label:has-text('Retrieved')")
    page.wait_for_selector("#memory .md-spare")
    with painting(desk):
        pinned = page.locator("#memory .md-spare").last.get_attribute("data-id")
        page.click(f'#memory .md-spare[data-id="{pinned}"] [data-act="pin"]')
        page.wait_for_selector(f'#memory .md-card[data-id="{pinned}"]')
    assert page.evaluate(CARDS) == pinned
    page.click('#memory [data-act="release"]')

    # The picture of the words in the box shows the references that it chose.
    desk.write(CAPTION)
    with painting(desk):
        pass
    assert "Best of 2 references" in desk.text("#memory")
    assert "Done in" in desk.text("#status")
