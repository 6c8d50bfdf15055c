"""The Diversity tab: other z at fixed words, references and view (Fig. 5), wholly other or near by.

Each tile holds its own recipe, so that the chosen one is made again with the grid's own references.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from PIL import Image

from memdriven.explore.compare import by_others, mean_difference, painted
from memdriven.numbers import is_number, percent
from memdriven.pipeline.request import MAX_SEED, Recipe, Request, Variation
from memdriven.ui import gr, html, references, state
from memdriven.ui.html import note, section, status
from memdriven.ui.picture import recipe_of
from memdriven.ui.query import Compose
from memdriven.ui.references import again
from memdriven.ui.steering import Steering

NUMBERS = (1, 2, 3, 4, 0, 5, 6, 7, 8)
"""Of the tiles; 0 is the picture that the others vary."""
STRENGTH = 0.25
"""References that are painted with, to say what another memory changes."""
part = partial(html.part, of="grid")


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


Made = Iterator[tuple[str, str, str]]


def vary(*query: Any) -> Made:
    """Yield references, grid and status: eight wholly other z."""
    yield from _grids(references.read(*query), 1.0)


def vary_near(current: object, strength: object, steering: Steering) -> Made:
    """Yield as `vary`, for pictures whose z is a small step away from the current one's."""
    request = replace(recipe_of(current, "a picture to vary"), images=steering.images)
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
        yield shown, part("tiles", NUMBERS, by_z, recipes, ()), status(line, busy=True)
    # The same words and noise with each of the next references in line alone.
    by_memory = [by_z[NUMBERS.index(0)], *by_others(pipe, prepared, request.seeds[0])]
    apart = [
        (kind, f"{name}: {percent(mean_difference(pictures), 1)}")
        for name, pictures, kind in (("z alone", by_z, "noise"), ("another reference", by_memory, "memory"))
        if len(pictures) > 1
    ]
    line = f"Nine pictures in {time.perf_counter() - start:.1f} s."
    yield shown, part("tiles", NUMBERS, by_z, recipes, apart), status(line)


def build(compose: Compose) -> None:
    """Add the tab."""
    with gr.Tab("Diversity", id="diversity"), gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="grid-column", min_width=300):
            section("noise", "Same words, memory and view, nine z")
            html.explain(
                "Make nine: your words with eight wholly other z. Vary this picture: the one on screen, "
                "its z a step away, as far as the slider says. In the middle is what is varied; "
                "choose one to keep its z."
            )
            with gr.Row(elem_id="grid-actions"):
                run = gr.Button("Make nine", variant="primary", elem_id="make-grid", min_width=120)
                near = gr.Button("Vary this picture", elem_id="make-near", min_width=140)
                far = html.slider("strength", "How far to vary", 0.05, 1.0, STRENGTH, 0.05)
            compose.grid = html.panel(part("blank"), elem_id="grid", js_on_load=html.CLICKS)
        with gr.Column(elem_id="grid-memory-column", min_width=240):
            section("memory", "The memory held fixed")
            memory = html.panel(note("The references that all nine share."), elem_id="grid-memory")
    outputs = [memory, compose.grid, "status"]
    compose.on(run.click, vary, compose.whole_query, outputs)
    compose.on(near.click, vary_near, ["current", far, "steering"], outputs)
