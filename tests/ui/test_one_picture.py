"""One question, one picture: whatever the tab, the same words, seed and references give the same pixels."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from memdriven.models.generator import Generator
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe, Variation
from memdriven.ui import compare, copies, diversity, memory_map, morph, paper, picture, state
from memdriven.ui.html import image_uri
from memdriven.ui.steering import Steering
from tests.ui.asking import CAPTION, asking
from tests.ui.conftest import Visitor

pytestmark = pytest.mark.usefixtures("loaded")


BY_HAND = Steering().pin("bird-05").mask("bird-00").step(11, (Variation(seed=2, strength=0.5),))


def of_one_stage(pipe: MemoryDrivenPipeline) -> MemoryDrivenPipeline:
    """Return a pipeline whose pictures are those of the first stage: sixteen times as quick."""
    checkpoint = pipe.checkpoint
    generator = Generator(replace(checkpoint.config.generator, stages=1)).eval().requires_grad_(False)
    weights = checkpoint.generator.state_dict()
    generator.load_state_dict({name: weights[name] for name in generator.state_dict()})
    return MemoryDrivenPipeline(replace(checkpoint, generator=generator), pipe.bank)


@pytest.mark.parametrize(
    ("model", "stages", "chosen"),
    [
        ("pipe", 3, {}),
        ("pipe", 1, {"steering": Steering().only("bird-05")}),
        ("pipe", 1, {"steering": BY_HAND}),
        ("fading", 1, {"memory": 0.5}),
    ],
)
def test_the_same_request_gives_the_same_pixels_on_every_tab(
    model: str, stages: int, chosen: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    pipe = request.getfixturevalue(model)
    pipe = of_one_stage(pipe) if stages == 1 else pipe
    state.use(pipe)
    query = asking(tries=6, seed="11", **chosen)
    *_, last = picture.paint(*query)
    recipe = last["current"]
    output = pipe.from_recipe(recipe)
    assert recipe.neighbours != pipe.retrieve(CAPTION).ids, "trying or a hand chose another"
    shown = image_uri(output.images[0])

    def end(made: Any) -> str:
        *_, made = made
        return str(made)

    tabs = {
        "compare": end(compare.table(["sentence-sentence", "none"], 1, *query)),
        "edit": end(compare.change(CAPTION.replace("red", "blue"), *query)),
        "diversity": end(diversity.vary(*query)),
        "morph": end(morph.run("", "11", ["z"], 5, *query)),
        "copies": end(copies.check(recipe, *query)),
        "paper": end(paper.draw("3", *query)),
    }
    assert [name for name, made in tabs.items() if shown not in made] == []
    star, _ = memory_map.find(*query)
    assert recipe.neighbours[0] in star


def test_the_captions_own_picture_can_be_asked_for_and_a_link_leaves_no_pin(
    desk: Visitor, pipe: MemoryDrivenPipeline
) -> None:
    visitor, page = desk, desk.page
    visitor.begin(CAPTION)
    card = page.locator("#memory .md-card").first
    page.wait_for_selector('.md-card[data-id="bird-00"]')
    words = card.locator("[data-words]").get_attribute("data-words")
    card.locator("[data-words]").click()
    assert page.input_value("#caption textarea") == words
    page.click("#source label:has-text('Oracle')")
    made = Recipe.from_png(base64.b64decode(visitor.generate().split(b",")[1]))
    assert (made.strategy, made.caption) == ("oracle", words)

    linked = pipe(CAPTION, neighbours=["bird-07"], seed=4)
    visitor.go(f"{desk.address}?r={linked.recipe.to_url()}")
    page.wait_for_selector('.md-result[data-seed="4"]')
    assert visitor.generate() == f"data:image/png;base64,{base64.b64encode(linked.png()).decode()}".encode()
    visitor.wait_text("#memory", "Kept for these words")
    visitor.write("a small blue bird with white wings")
    visitor.wait_text("#memory", "Runners-up (not used)")
    made = Recipe.from_png(base64.b64decode(visitor.generate().split(b",")[1]))
    assert made.neighbours == pipe.retrieve(made.caption).ids
    assert page.locator('#memory [aria-pressed="true"]').count() == 0


def test_masking_a_card_that_is_not_used_changes_nothing(desk: Visitor) -> None:
    visitor, page = desk, desk.page
    visitor.begin(CAPTION, tries=6, seed="11")
    before = visitor.generate()
    used = page.get_attribute("#memory .md-card", "data-id")
    page.locator('#memory .md-spare [data-act="mask"]').first.click()
    page.wait_for_selector("#memory .md-undo")
    assert page.get_attribute("#memory .md-card", "data-id") == used
    made = Recipe.from_png(base64.b64decode(visitor.generate().split(b",")[1]))
    assert made.neighbours == Recipe.from_png(base64.b64decode(before.split(b",")[1])).neighbours
