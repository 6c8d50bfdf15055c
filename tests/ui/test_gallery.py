"""The pictures painted with each reference that was tried, tabs by keys, and a picture of other words."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Callable

from memdriven.pipeline.request import Recipe
from tests.ui.conftest import Visitor

Visit = Callable[..., Visitor]


def recipe_of(png: bytes) -> Recipe:
    return Recipe.from_png(base64.b64decode(png.split(b",")[1]))


def test_another_of_the_tried_can_be_taken(visit: Visit) -> None:
    visitor = visit(viewport={"width": 1280, "height": 900})
    page = visitor.page
    visitor.write("a small red bird with black wings")
    page.fill("#tries input[type=number]", "6")
    visitor.keep_seed("11")
    kept = recipe_of(visitor.generate()).neighbours
    assert page.locator("#result [data-act=take]").count() == 6
    ringed = page.locator('#result [data-act=take][aria-pressed="true"]')
    assert (ringed.get_attribute("data-id"),) == kept
    other = page.locator('#result [data-act=take][aria-pressed="false"]').first
    wanted = other.get_attribute("data-id")
    other.click()
    page.wait_for_selector(f'#result [data-act=take][data-id="{wanted}"][aria-pressed="true"]')
    assert page.locator("#result [data-act=take]").count() == 6
    made = recipe_of(page.get_attribute("#result .md-result", "src").encode())
    assert (made.neighbours, made.seed) == ((wanted,), 11)

    with page.expect_download() as waiting:
        page.click("#result [data-export=zip]")
    with zipfile.ZipFile(waiting.value.path()) as pack:
        recipes = [Recipe.from_json(json.dumps(each)) for each in json.loads(pack.read("recipes.json"))]
    ids = [each.get_attribute("data-id") for each in page.locator("#result [data-act=take]").all()]
    assert [each.neighbours for each in recipes] == [(each,) for each in ids]
    assert {each.seed for each in recipes} == {11}
    assert recipe_of(page.get_attribute("#result .md-result", "src").encode()) in recipes

    assert visitor.text("#result .md-picture-words") == "a small red bird with black wings"
    visitor.write("a blue bird")
    page.wait_for_selector("#result.md-stale")
    visitor.write("a small red bird with black wings")
    page.wait_for_selector("#result:not(.md-stale)")

    tab = page.get_by_role("tab", name="Picture")
    tab.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#make-grid:visible")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#result:visible")
