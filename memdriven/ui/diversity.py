"""The Diversity tab: other z at fixed words, references and view (Fig. 5), wholly other or near by.

Each tile holds its own recipe, so that the chosen one is made again with the grid's own references.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from memdriven.explore.compare import by_others, mean_difference, painted
from memdriven.numbers import is_number, percent
from memdriven.pipeline.request import MAX_SEED, Recipe, Request, Variation
from memdriven.ui import gr, html, references, state
from memdriven.ui.html import section, status, tag
from memdriven.ui.picture import recipe_of
from memdriven.ui.query import Compose
from memdriven.ui.references import again, note
from memdriven.ui.steering import Steering

NUMBERS = (1, 2, 3, 4, 0, 5, 6, 7, 8)
"""Of the tiles; 0 is the picture that the others vary."""
STRENGTH = 0.25
"""References that are painted with, to say what another memory changes."""
APART = (
    "How far two pictures differ on average when z alone changes, and when another reference does: mean "
    "absolute difference of the pixels, as a share of the full range."
)


def tiles(recipe: Recipe, strength: float) -> list[Recipe]:
    """Return a recipe for each of `NUMBERS`: of a picture, and of others whose z is a step away from its own.

    Of a `strength` of 1 nothing of it is left.
    """
    steps, made = recipe.variations, []
    for number in NUMBERS:
        # Seeds of this picture's own, also where it is itself a step: the same eight z for all would be dull.
        seed = (recipe.seed + 1000 * number + 10_000 * len(steps)) % (MAX_SEED + 1)
        step = Variation(seed=seed, strength=strength)
        made.append(replace(recipe, variations=(*steps, step)) if number else recipe)
    return made


def empty_grid() -> str:
    """Return the grid before its first use: nine blank tiles and a sentence."""
    blank = tag("ol", tag("li", tag("span", class_="md-tile")) * 9, class_="md-grid", aria_hidden="true")
    words = tag("p", "Nine pictures of one caption appear here, side by side.", class_="md-grid-note")
    return tag("div", blank, words, class_="md-grid-empty")


def grid(pictures: Sequence[Image.Image], recipes: Sequence[Recipe]) -> str:
    """Return the 3 x 3 grid as far as it is painted; each finished tile is a button that takes its recipe."""
    cells = []
    for place, (number, recipe) in enumerate(zip(NUMBERS, recipes, strict=True)):
        if place >= len(pictures):
            waiting = {"role": "img", "aria_label": f"Variation {place + 1}, waiting"}
            cells.append(tag("span", class_="md-tile md-busy", **waiting))
            continue
        label = f"Variation {number}" if number else "The picture itself"
        shown = html.image(pictures[place], label) + tag("span", label, class_="md-tile-seed")
        kind = "md-tile" if number else "md-tile md-tile-centre"
        about = {"type": "button", "class_": kind, "title": label}
        cells.append(tag("button", shown, **about, data_act="adopt", data_recipe=recipe.to_json()))
    return html.row("md-grid", cells)


Made = Iterator[tuple[str, str, str]]


def vary(*query: Any) -> Made:
    """Yield references, grid and status: eight wholly other z."""
    yield from _grids(references.read(*query), 1.0)


def vary_near(current: object, strength: object, steering: Steering) -> Made:
    """Yield as `vary`, for pictures whose z is a small step away from the current one's."""
    request = replace(recipe_of(current, "a picture to vary"), images=steering.guests)
    near = float(strength) if is_number(strength) and 0.05 <= strength <= 1 else STRENGTH
    yield from _grids(request, near)


def _grids(request: Request, strength: float) -> Made:
    pipe, start = state.pipeline(), time.perf_counter()
    prepared = pipe.prepare(request)
    recipes = tiles(pipe.recipe(prepared, request.seeds[0]), strength)
    shown = references.memory_panel(again(prepared).retrieval)
    by_z: list[Image.Image] = []
    for recipe in recipes:
        # z alone moves: the seed stays, and with it epsilon, mirror and window.
        varied = replace(request, variations=recipe.variations)
        by_z.append(painted(pipe, prepared, pipe.noise(varied, recipe.seed)))
        line = f"Painting variation {min(len(by_z) + 1, len(NUMBERS))} of {len(NUMBERS)}."
        yield shown, grid(by_z, recipes), status(line, busy=True)
    # The same words and noise with each of the next references in line alone.
    by_memory = [by_z[NUMBERS.index(0)], *by_others(pipe, prepared, request.seeds[0])]
    parts = []
    for name, pictures, kind in (("z alone", by_z, "noise"), ("another reference", by_memory, "memory")):
        if len(pictures) > 1:
            share = f"{name}: {percent(mean_difference(pictures), 1)}"
            parts.append(tag("strong", share, class_=f"md-by-{kind}"))
    apart = tag("p", *parts, tag("span", APART, class_="md-hint"), class_="md-distance")
    line = f"Nine pictures in {time.perf_counter() - start:.1f} s."
    yield shown, grid(by_z, recipes) + apart, status(line)


def build(compose: Compose) -> None:
    """Add the tab."""
    with gr.Tab("Diversity", id="diversity"), gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="grid-column", min_width=300):
            section("noise", "Same words, memory and view, nine z")
            html.explain(
                "Only z moves; caption, references, mirror and window stay. The picture itself is in the "
                "middle. Choose one to keep its z."
            )
            with gr.Row(elem_id="grid-actions"):
                run = gr.Button("Make nine", variant="primary", elem_id="make-grid", min_width=120)
                near = gr.Button("Vary this picture", elem_id="make-near", min_width=140)
                far = html.slider("strength", "How far from it", 0.05, 1.0, STRENGTH, 0.05)
            compose.grid = html.panel(empty_grid(), elem_id="grid", js_on_load=html.CLICKS)
        with gr.Column(elem_id="grid-memory-column", min_width=240):
            section("memory", "The memory held fixed")
            memory = html.panel(note("The references that all nine share."), elem_id="grid-memory")
    outputs = [memory, compose.grid, "status"]
    compose.on(run.click, vary, compose.whole_query, outputs)
    compose.on(near.click, vary_near, ["current", far, "steering"], outputs)
