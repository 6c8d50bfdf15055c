"""How much of the memory is used, from the slider to every tab, in a real browser."""

from __future__ import annotations

import base64
from collections.abc import Callable

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe
from tests.ui.conftest import Shoot, Visitor

Visit = Callable[..., Visitor]
CAPTION = "a small crested bird with a blue crown"


def share(visitor: Visitor, value: str) -> None:
    visitor.page.fill("#fade-share input[type=number]", value)
    visitor.page.keyboard.press("Tab")


def made(visitor: Visitor) -> bytes:
    return base64.b64decode(visitor.generate().split(b",")[1])


def test_part_of_the_memory_from_slider_to_recipe_and_back(
    visit: Visit, fading: MemoryDrivenPipeline, shoot: Shoot
) -> None:
    visitor = visit(viewport={"width": 1280, "height": 1000})
    page = visitor.page
    visitor.write(CAPTION)
    visitor.keep_seed("7")
    assert page.locator("#fade-share:visible").count() == 0
    visitor.use_model("fading")
    page.wait_for_selector("#fade-share:visible")
    assert visitor.text("#fade .md-fade-ends").split("\n") == ["words alone", "all of the memory"]

    assert made(visitor) == fading(CAPTION, k=1, seed=7).png()
    assert visitor.text("#result .md-claims").split("\n") == [
        f"\u2717crest: crested {'there is none'}",
        "\u2713crown: blue",
    ]
    share(visitor, "0")
    alone = made(visitor)
    assert alone == fading(CAPTION, k=1, seed=7, memory=0.0).png()
    share(visitor, "0.5")
    assert Recipe.from_png(made(visitor)).memory == 0.5
    shoot(page, "fading-1280.png")

    page.get_by_role("tab", name="How it works").click()
    page.wait_for_function("document.querySelectorAll('#inside-fading [data-share]').length === 5")
    visitor.wait_text("#status", "Inside the picture of seed 7.")
    sources = page.locator("#inside-fading img").evaluate_all("all => all.map(each => each.src)")
    assert len(set(sources)) == 5
    shoot(page, "inside-fading-1280.png")

    # The second newest of the history was made with words alone.
    page.get_by_role("tab", name="History").click()
    page.click('#history .md-moment:nth-child(2) [data-act="inspect"]:not(.md-history-picture)')
    visitor.wait_text("#inspection", "Memory used")
    page.click('#inspection [data-act="restore"]')
    visitor.wait_text("#status", "Restored: the same recipe, the same pixels.")
    page.wait_for_function("document.querySelector('#fade-share input[type=number]').value === '0'")
    assert made(visitor) == alone

    visitor.use_model("tiny")
    page.wait_for_selector("#fade-share", state="hidden")
    assert Recipe.from_png(made(visitor)).memory == 1

    # A link brings its model, and with it the slider, at the recipe's strength.
    weak = fading(CAPTION, k=1, seed=9, memory=0.25)
    visitor.go(f"{page.url}?r={weak.recipe.to_url()}")
    page.wait_for_selector('.md-result[data-seed="9"]')
    page.wait_for_selector("#fade-share:visible")
    assert page.input_value("#fade-share input[type=number]") == "0.25"
    assert made(visitor) == weak.png()
