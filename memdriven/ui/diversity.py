"""The Diversity tab: other z at fixed words, references and view (Fig. 5), wholly other or near by.

A grid is remembered by its first recipe and by how far its tiles step away from it, so that a
chosen tile is made again from a recipe, with the grid's own neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from PIL import Image

from memdriven.errors import ConfigError, MemDrivenError
from memdriven.explore.compare import mean_difference
from memdriven.pipeline.output import Prepared, to_picture
from memdriven.pipeline.recipe import Recipe
from memdriven.pipeline.request import CONTROLS, MAX_SEED, Reference, Request, Variation
from memdriven.ui import gr, references, result, state
from memdriven.ui.html import by_name, event_options, failure, hint, panel, section, status, tag, text
from memdriven.ui.picture import PictureTab, Update, show
from memdriven.ui.query import STATE_SECONDS, Compose, steps_line
from memdriven.ui.references import MEMORY_EMPTY, again, panels
from memdriven.ui.result import is_moment, moment
from memdriven.ui.steering import Steering

CENTRE = result.TILES // 2
STRENGTH = 0.25
OTHERS = 4
"""References that are painted with, to say what another memory changes."""


class Grid(TypedDict):
    """What a grid on screen was made from."""

    recipe: str
    strength: float
    """How far its tiles step away from the recipe's z; at 1 nothing of it is left."""


def near_recipes(recipe: Recipe, strength: float) -> list[Recipe]:
    """Return the recipe itself in the middle of eight that step away from its noise."""
    around = [near_recipe(recipe, number, strength) for number in range(1, result.TILES)]
    return [*around[:CENTRE], recipe, *around[CENTRE:]]


def near_recipe(recipe: Recipe, number: int, strength: float) -> Recipe:
    """Return the near-by recipe of a number from 1; 0 is the recipe itself."""
    if number == 0:
        return recipe
    # Seeds of this picture's own, also where it is itself a step: the same eight z for all would be dull.
    seed = (recipe.seed + 1000 * number + 10_000 * len(recipe.variations)) % (MAX_SEED + 1)
    step = Variation(seed=seed, strength=strength)
    return replace(recipe, variations=(*recipe.variations, step))


Made = Iterator[tuple[Update, Update, Update, Grid | None]]


def vary(*query: Any) -> Made:
    """Yield references, grid, status and what the grid is made from: eight wholly other z."""
    try:
        wanted = references.read(*query)
        yield from _grids(state.pipeline().prepare(wanted), wanted, 1.0)
    except MemDrivenError as error:
        yield "", result.empty_grid(), failure(error), None


def vary_near(current: object, strength: object, steering: Steering) -> Made:
    """Yield as `vary`, for pictures whose z is a small step away from the current one's."""
    try:
        if not is_moment(current):
            raise ConfigError(wanted="a picture to vary", found="none in this tab", fix="generate one first")
        request = Recipe.from_json(current["recipe"]).request(steering.guests)
        yield from _grids(state.pipeline().prepare(request), request, read_strength(strength))
    except MemDrivenError as error:
        yield "", result.empty_grid(), failure(error), None


def _grids(prepared: Prepared, request: Request, strength: float) -> Made:
    pipe, start = state.pipeline(), time.perf_counter()
    recipe = pipe.recipe(prepared, request.seeds[0])
    tiles: list[Image.Image | None] = [None] * result.TILES
    numbers = [*range(1, CENTRE + 1), 0, *range(CENTRE + 1, result.TILES)]
    panel_ = references.memory_panel(references.again(prepared).retrieval, common=state.common_words())
    for place, each in enumerate(near_recipes(recipe, strength)):
        # z alone moves: the seed stays, and with it epsilon, mirror and window.
        noise = pipe.noise(replace(request, variations=each.variations), recipe.seed)
        *_, last = pipe.paint(prepared, noise)
        tiles[place] = to_picture(last.image)
        grid = result.grid(tiles, numbers)
        yield panel_, grid, _line(place + 1, start, ""), _grid(recipe, strength)
    memory = [to_picture(list(pipe.paint(each, recipe.seed))[-1].image) for each in _others(prepared)]
    done = [tile for tile in tiles if tile is not None]
    numbers_ = _distance(done, [done[CENTRE], *memory])
    yield (
        panel_,
        grid + numbers_,
        _line(result.TILES, start, "Nine pictures in {seconds} s."),
        _grid(recipe, strength),
    )


def _others(prepared: Prepared) -> Iterator[Prepared]:
    """Yield the same words with each of the next references in line alone."""
    pipe, retrieval = state.pipeline(), prepared.retrieval
    strategy = None if retrieval.strategy in CONTROLS else retrieval.strategy
    count = min(pipe.bank.n, OTHERS + len(retrieval))
    found = pipe.retrieve(retrieval.caption, strategy, count)
    for each in [name for name in found.ids if name not in retrieval.ids][:OTHERS]:
        yield pipe.prepare(
            replace(prepared.request, strategy=found.strategy, references=(Reference(each),), k=1)
        )


def read_strength(strength: object) -> float:
    """Return how far to step, clamped to what the page offers."""
    if not isinstance(strength, int | float) or not 0.05 <= strength <= 1:
        return STRENGTH
    return float(strength)


def adopt(event: gr.EventData, grid: Grid | None, steering: Steering) -> dict[str, Any]:
    """Keep a chosen tile's noise and show its picture, at the grid's own references; return what changes."""
    try:
        if not grid:
            raise ConfigError(
                wanted="a variation of a grid that is still there",
                found="none in this tab",
                fix="make nine new ones, then choose",
            )
        number = state.read_seed(str(getattr(event, "seed", "")) or "-", keep=True)
        first = Recipe.from_json(grid["recipe"])
        recipe = near_recipe(first, min(number, result.TILES), grid["strength"])
        output = state.pipeline().from_recipe(recipe, steering.guests)
    except MemDrivenError as error:
        return {"status": failure(error)}
    new = steering.step(recipe.seed, recipe.variations).hold(recipe)
    said = f"Seed {recipe.seed} is kept: its picture is shown."
    if recipe.variations:
        said = "The variation is kept, with its noise."
    return {
        "seed": str(recipe.seed),
        "keep": gr.Checkbox(value=True),
        "result": show(output),
        "memory": panels(again(output.prepared, steering))[0],
        "status": status(said),
        "tabs": gr.Tabs(selected="picture"),
        "steering": new,
        "steps": steps_line(new),
        "current": moment(output),
    }


_ON_LOAD = """
element.addEventListener('click', event => {
  const tile = event.target.closest('[data-seed]');
  if (tile) trigger('click', {seed: tile.dataset.seed});
});
"""


def build(compose: Compose, tabs: gr.Tabs, shown: PictureTab) -> list[gr.events.Dependency]:
    """Add the tab; return the events that paint the grid, so that Stop can cancel them."""
    with gr.Tab("Diversity", id="diversity"), gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="grid-column", min_width=300):
            section("noise", "Same words, memory and view, nine z")
            panel(
                hint(
                    "Only z moves; caption, references, mirror and window stay. The "
                    "picture itself is in the middle. Choose one to keep its z."
                )
            )
            with gr.Row(elem_id="grid-actions"):
                run = gr.Button("Make nine", variant="primary", elem_id="make-grid", min_width=120)
                near = gr.Button("Vary this picture", elem_id="make-near", min_width=140)
                far = gr.Slider(
                    0.05,
                    1.0,
                    value=STRENGTH,
                    step=0.05,
                    elem_id="strength",
                    label="How far from it",
                    buttons=[],
                    min_width=140,
                )
            grid = panel(result.empty_grid(), elem_id="grid", js_on_load=_ON_LOAD)
        with gr.Column(elem_id="grid-memory-column", min_width=240):
            section("memory", "The memory held fixed")
            memory = panel(references.note(MEMORY_EMPTY), elem_id="grid-memory")
            # Inside the tab: Gradio counts whatever lies directly among the tabs as one of them.
            made = gr.State(None, time_to_live=STATE_SECONDS)
    outputs, options = [memory, grid, compose.status, made], event_options()
    adopted = {
        "seed": compose.seed,
        "keep": compose.keep,
        "result": shown.result,
        "memory": shown.memory,
        "status": compose.status,
        "tabs": tabs,
        "steering": compose.steering,
        "steps": compose.steps,
        "current": compose.current,
    }
    grid.click(by_name(adopted, adopt), [made, compose.steering], list(adopted.values()), **options)
    return [
        run.click(vary, compose.whole_query, outputs, **options),
        near.click(vary_near, [compose.current, far, compose.steering], outputs, **options),
    ]


def _grid(recipe: Recipe, strength: float) -> Grid:
    return {"recipe": recipe.to_json(), "strength": strength}


def _line(ready: int, start: float, end: str) -> str:
    if end:
        return status(end.format(seconds=f"{time.perf_counter() - start:.1f}"))
    number = min(ready + 1, result.TILES)
    return status(f"Painting variation {number} of {result.TILES}.", busy=True)


def _distance(by_z: Sequence[Image.Image], by_memory: Sequence[Image.Image]) -> str:
    """Return how far pictures of other z are from each other, beside pictures of other references."""
    numbers = [("z alone", by_z, "noise")]
    if len(by_memory) > 1:
        numbers.append(("another reference", by_memory, "memory"))
    parts = "".join(
        tag("strong", text(f"{name}: {100 * mean_difference(pictures):.1f} %"), class_=f"md-by-{kind}")
        for name, pictures, kind in numbers
    )
    return tag(
        "p",
        parts
        + tag(
            "span",
            text(
                "How far two pictures differ on average when z alone changes, and "
                "when another reference does: mean absolute difference of the pixels "
                "at four resolutions, as a share of the full range."
            ),
            class_="md-hint",
        ),
        class_="md-distance",
    )
