"""What a browser keeps of past pictures: never lost by reloading, by other tabs, links or errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from memdriven.ui.history import MOST
from tests.ui.conftest import Visitor

KEY = "memdriven.pictures.1"


def kept(page: Any, count: int) -> list[str]:
    """Wait until the browser keeps so many pictures; return their captions, newest first."""
    page.wait_for_function(
        "([key, count]) => JSON.parse(localStorage.getItem(key) ?? '[]').length === count", arg=[KEY, count]
    )
    found = json.loads(page.evaluate(f"localStorage.getItem('{KEY}')"))
    return [json.loads(each["recipe"])["caption"] for each in found]


def make(visitor: Visitor, caption: str) -> None:
    visitor.write(caption)
    visitor.generate()


@pytest.fixture
def empty(desk: Visitor) -> Visitor:
    """Return the module's page on its first tab, with a seed that is drawn and an empty list."""
    desk.begin("a small yellow bird with black wings")
    desk.forget()
    return desk


def test_pictures_are_kept_whether_or_not_the_tab_was_opened(empty: Visitor) -> None:
    visitor, page = empty, empty.page
    make(visitor, "a small red bird")
    assert kept(page, 1) == ["a small red bird"]
    visitor.go(page.url)
    make(visitor, "a small blue bird")
    assert kept(page, 2) == ["a small blue bird", "a small red bird"]
    page.get_by_role("tab", name="History").click()
    page.wait_for_function("document.querySelectorAll('#history .md-moment').length === 2")

    # Another tab of the browser, which looked before this one's next picture.
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_function("document.querySelectorAll('#caption textarea').length === 1")
    page.bring_to_front()  # a tab that is behind is drawn seldom
    page.get_by_role("tab", name="Picture").click()
    make(visitor, "a small green bird")
    kept(page, 3)
    other.fill("#caption textarea", "a small yellow bird")
    other.click("#generate")
    assert kept(other, 4) == ["a small yellow bird", *["a small green bird"], *["a small blue bird"]] + [
        "a small red bird"
    ]
    other.close()

    # A link in one's own address bar adds its picture, and loses none.
    link = page.get_attribute("#result [data-link]", "data-link")
    visitor.go(page.url.split("?")[0] + f"?r={link}")
    page.wait_for_selector("#result img.md-result[data-complete=true]")
    page.wait_for_function(
        "key => JSON.parse(localStorage.getItem(key))[0].recipe.includes('green')", arg=KEY
    )  # until then it is on its way, and may come after what the next test forgets
    assert set(kept(page, 4)) == {f"a small {hue} bird" for hue in ("red", "blue", "green", "yellow")}


def test_forgetting_all_can_be_taken_back(empty: Visitor) -> None:
    visitor, page = empty, empty.page
    for caption in ("a small red bird", "a small blue bird"):
        make(visitor, caption)
    kept(page, 2)
    page.get_by_role("tab", name="History").click()
    assert not page.is_visible("#history-undo")
    page.click("#history [data-edit=clear]")
    kept(page, 0)
    page.click("#history-undo")
    assert kept(page, 2) == ["a small blue bird", "a small red bird"]
    page.wait_for_function("document.querySelectorAll('#history .md-moment').length === 2")


def test_an_error_leaves_the_picture(empty: Visitor) -> None:
    visitor = empty
    make(visitor, "a small red bird")
    before = visitor.page.get_attribute("#result img.md-result", "src")
    visitor.write("ein roter vogel")
    visitor.page.click("#generate")
    visitor.page.wait_for_selector("#status .md-error")
    assert visitor.page.get_attribute("#result img.md-result", "src") == before


def test_the_list_is_changed_by_keys_and_keeps_its_place(empty: Visitor) -> None:
    visitor, page = empty, empty.page
    for caption in ("a small red bird", "a small blue bird", "a small green bird"):
        make(visitor, caption)
    kept(page, 3)
    page.get_by_role("tab", name="History").click()
    page.locator("#history .md-moment input").nth(2).check()
    for act, place in (("star", 0), ("forget", 1)):
        page.locator(f'#history .md-moment:nth-child({place + 1}) [data-edit="{act}"]').focus()
        page.keyboard.press("Enter")
    assert kept(page, 2) == ["a small green bird", "a small red bird"]
    here = "document.activeElement.ariaLabel + document.activeElement.closest('li').innerText"
    assert "Forget: a small red bird" in page.evaluate(here)
    assert [page.locator("#history input").nth(place).is_checked() for place in (0, 1)] == [False, True]
    assert page.locator("#history [data-edit=star][aria-pressed=true]").count() == 1
    page.click('#history [data-act="restore"] >> nth=1')
    visitor.wait_text("#result .md-picture-words", "a small red bird")
    page.wait_for_function(
        "document.querySelector('#history .md-history-words')?.textContent === 'a small red bird'"
    )


def test_what_a_browser_stored_is_shown_as_words(empty: Visitor) -> None:
    page = empty.page
    page.get_by_role("tab", name="History").click()
    page.wait_for_selector("#history .md-note:visible")
    recipe = {"caption": "<img src=x onerror=1> bird", "seed": 3, "variations": [{"seed": 1, "strength": 1}]}
    odd = [None, 3, "x", {}, {"recipe": "{", "image": 2}, {"recipe": "{}"}]
    unset = recipe | {"seed": None, "variations": None}
    stored = json.dumps(
        [*odd, *({"recipe": json.dumps(each), "image": "data:,"} for each in (recipe, unset))]
    )
    page.evaluate("([key, all]) => localStorage.setItem(key, all)", [KEY, stored])
    page.evaluate("dispatchEvent(new Event('storage'))")
    page.wait_for_selector("#history .md-moment")
    assert page.locator("#history .md-history-words").all_inner_texts() == [recipe["caption"]] * 2
    assert page.locator("#history .md-seed").all_inner_texts() == ["seed 3, step 1 away", "seed null"]
    assert page.locator("#history .md-moment").count() == page.locator("#history img").count() == 2


def test_a_picture_painted_anew_is_in_the_list_anew(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    page = visitor.page
    page.wait_for_selector('.md-result[data-complete="true"]')
    visitor.unfold()
    visitor.keep_seed(page.input_value("#seed input"))
    visitor.generate()
    kept(page, 1)  # the very picture that the page opens with
    page.get_by_role("tab", name="History").click()
    page.click('#history [data-edit="forget"]')
    kept(page, 0)
    page.get_by_role("tab", name="Picture").click()
    visitor.generate()
    kept(page, 1)


def test_favourites_outlive_the_limit_of_the_list(empty: Visitor) -> None:
    page = empty.page
    add = "one => window.memdriven.pictures.add(one).map(each => each.recipe + (each.star ? '*' : ''))"

    def named(caption: str) -> str:
        return json.dumps({"caption": caption})

    page.evaluate(add, {"recipe": named("first"), "image": "", "star": True})
    for number in range(60):
        found = page.evaluate(add, {"recipe": named(str(number)), "image": ""})
    first = named("first") + "*"
    assert found == [*(named(str(number)) for number in range(59, 9, -1)), first]
    assert page.evaluate(add, {"recipe": named("first"), "image": ""})[0] == first, "it stays one"
    for number in range(105):
        found = page.evaluate(add, {"recipe": named(f"best {number}"), "image": "", "star": True})
    assert sum(each.endswith("*") for each in found) == 100
    assert len(found) == 150 == MOST


FULL = (
    "window.kept = Storage.prototype.setItem;"
    "Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); }",
    "Storage.prototype.setItem = window.kept",
)
FORBIDDEN = (
    "window.kept = Object.getOwnPropertyDescriptor(window, 'localStorage');"
    "Object.defineProperty(window, 'localStorage', {"
    "configurable: true, get() { throw new DOMException('', 'SecurityError'); } })",
    "Object.defineProperty(window, 'localStorage', window.kept)",
)
"""Each with what ends it."""


def test_storage_that_is_full_or_forbidden_is_told(empty: Visitor) -> None:
    visitor, page = empty, empty.page
    for (script, undo), caption in ((FULL, "a small red bird"), (FORBIDDEN, "a small blue bird")):
        page.evaluate(f"() => {{ {script}; document.querySelector('#storage')?.remove(); }}")
        make(visitor, caption)
        page.wait_for_selector("#storage[role=alert]")
        assert visitor.text("#storage") == (
            "This browser does not let the page keep your pictures: save those you want."
        )
        page.evaluate(f"() => {{ {undo}; document.querySelector('#storage').remove(); }}")
