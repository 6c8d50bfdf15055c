"""Every tab, filled, is checked by axe-core for what keeps people from using it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.ui.conftest import Visitor
from tests.ui.screenshots import take
from tests.ui.walk import TABS, walk

Visit = Callable[..., Visitor]
GRAVE = ("serious", "critical")


def findings(page: Any, place: str) -> list[str]:
    """Return what axe finds of grave impact, a line an element."""
    found = []
    # Axe would take the sticky buttons for the background of what is scrolled beneath them.
    page.evaluate("document.querySelector('#foot').style.position = 'static'")
    checked = Axe().run(page).response["violations"]
    page.evaluate("document.querySelector('#foot').style.position = ''")
    for rule in checked:
        if rule["impact"] not in GRAVE:
            continue
        for node in rule["nodes"]:
            target = " ".join(map(str, node["target"]))
            why = "; ".join(each["message"] for each in (*node["any"], *node["all"], *node["none"]))
            found.append(f"{place}: {rule['id']} ({rule['impact']}) at {target}: {why}")
    return found


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_no_tab_keeps_anybody_out(visit: Visit, shots: Path, width: int, scheme: str) -> None:
    visitor = visit(viewport={"width": width, "height": 860}, color_scheme=scheme)
    page = visitor.page
    found = findings(page, "start")
    visitor.use_model("fading")
    page.wait_for_selector("#fade-share:visible")
    walked = []
    for name in walk(visitor):
        take(visitor, shots / f"{name}-{width}-{scheme}.png")
        if name == "app":
            page.click(".md-recipe summary")
            page.click("#batch summary")
            page.click("#result [data-large]")
            found += findings(page, "lightbox")
            page.keyboard.press("Escape")
        found += findings(page, name)
        walked.append(name)
    labels = page.locator("#tabs [role=tab][data-tab-id]").all_inner_texts()
    assert sorted(TABS[name][0] for name in walked) == sorted({label.strip() for label in labels})
    assert not found, "\n".join(found)
