"""The Diversity tab: nine noises at fixed words and neighbours (Fig. 5), or eight steps near one.

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
from memdriven.explore.pyramid import mean_pairwise_pyramid
from memdriven.pipeline.recipe import Recipe
from memdriven.pipeline.request import MAX_SEED, Variation
from memdriven.ui import cards, lineup, picture, state, strings
from memdriven.ui.compose import STATE_SECONDS, Compose, steps_line
from memdriven.ui.generate import PictureTab, Update, show
from memdriven.ui.html import tag, text
from memdriven.ui.looking import panels_again
from memdriven.ui.moment import is_moment, moment
from memdriven.ui.parts import panel, section
from memdriven.ui.startup import gr
from memdriven.ui.status import failure, status
from memdriven.ui.steering import Steering

CENTRE = picture.TILES // 2
STRENGTH = 0.25


class Grid(TypedDict):
    """What a grid on screen was made from."""

    recipe: str
    strength: float
    """How far its tiles step away from the recipe's noise; 0 where each has a seed of its own."""


def tile_seeds(first: int) -> list[int]:
    """Return nine seeds: the given one and those that follow it, past the largest from 0."""
    return [(first + step) % (MAX_SEED + 1) for step in range(picture.TILES)]


def near_recipes(recipe: Recipe, strength: float) -> list[Recipe]:
    """Return the recipe itself in the middle of eight that step away from its noise."""
    around = [near_recipe(recipe, number, strength) for number in range(1, picture.TILES)]
    return [*around[:CENTRE], recipe, *around[CENTRE:]]


def near_recipe(recipe: Recipe, number: int, strength: float) -> Recipe:
    """Return the near-by recipe of a number from 1; 0 is the recipe itself."""
    if number == 0:
        return recipe
    step = Variation(seed=number, strength=strength)
    return replace(recipe, variations=(*recipe.variations, step))


def vary(
    caption: str,
    source: str,
    comparison: str,
    k: int,
    seed: str,
    keep: bool,
    steering: Steering | None = None,
    memory: object = 1.0,
    guidance: object = None,
    tries: object = 1,
) -> Iterator[tuple[Update, Update, Update, Grid | None]]:
    """Yield references, grid, status and what the grid is made from after each variation."""
    pipe, start, shown = state.pipeline(), time.perf_counter(), -1
    try:
        seeds = tile_seeds(state.read_seed(seed, keep))
        strategy, count = state.read_strategy(source, comparison), state.read_k(k)
        share, strength = state.read_memory(memory), state.read_guidance(guidance)
        line = lineup.line_up(
            caption, strategy, count, seeds[0], steering, state.read_tries(tries), (), share, strength
        )
        if line.given:
            count = max(1, len(line.retrieval))
        for output in pipe.stream(
            caption,
            strategy,
            count,
            seeds=seeds,
            memory=share,
            guidance=strength,
            images=line.steering.guests,
            **line.given,
        ):
            done = [
                stages[-1] if len(stages) == len(pipe.resolutions) else None for stages in output.all_stages
            ]
            ready = sum(tile is not None for tile in done)
            if ready == shown:
                continue
            shown = ready
            shows = replace(line, retrieval=output.retrieval) if not line.given else line
            panel_ = cards.memory_panel(shows.retrieval, common=state.common_words())
            grid = picture.grid(done, seeds) + _distance(done)
            end = strings.GRID_DONE if output.complete else ""
            yield panel_, grid, _line(ready, start, end), _grid(output.recipe)
    except MemDrivenError as error:
        yield "", picture.empty_grid(), failure(error), None


def vary_near(
    current: object, strength: object, steering: Steering
) -> Iterator[tuple[Update, Update, Update, Grid | None]]:
    """Yield as `vary`, for pictures whose noise is a small step away from the current one's."""
    pipe, start = state.pipeline(), time.perf_counter()
    try:
        if not is_moment(current):
            raise ConfigError(
                wanted=strings.NEAR_GONE_WANTED, found=strings.GRID_GONE_FOUND, fix=strings.NEAR_GONE_FIX
            )
        recipe, far = Recipe.from_json(current["recipe"]), read_strength(strength)
        tiles: list[Image.Image | None] = [None] * picture.TILES
        numbers = [*range(1, CENTRE + 1), 0, *range(CENTRE + 1, picture.TILES)]
        for ready, (place, each) in enumerate(enumerate(near_recipes(recipe, far)), start=1):
            output = pipe.from_recipe(each, steering.guests)
            tiles[place] = output.images[0]
            found = lineup.again(output.retrieval, recipe.seed, steering).retrieval
            panel_ = cards.memory_panel(found, common=state.common_words())
            end = strings.NEAR_DONE if ready == len(tiles) else ""
            grid = picture.grid(tiles, numbers, near=True) + _distance(tiles)
            yield panel_, grid, _line(ready, start, end), _grid(recipe, far)
    except MemDrivenError as error:
        yield "", picture.empty_grid(), failure(error), None


def read_strength(strength: object) -> float:
    """Return how far to step, clamped to what the page offers."""
    if not isinstance(strength, int | float) or not 0.05 <= strength <= 1:
        return STRENGTH
    return float(strength)


def adopt(event: gr.EventData, grid: Grid | None, steering: Steering) -> tuple[Any, ...]:
    """Keep a chosen tile's noise and show its picture, at the grid's own neighbours.

    Returns:
        Seed, keep, result, memory panel, status, selected tab, steering, steps and moment.
    """
    try:
        if not grid:
            raise ConfigError(
                wanted=strings.GRID_GONE_WANTED, found=strings.GRID_GONE_FOUND, fix=strings.GRID_GONE_FIX
            )
        number = state.read_seed(str(getattr(event, "seed", "")) or "-", keep=True)
        recipe = first = Recipe.from_json(grid["recipe"])
        if grid["strength"]:
            recipe = near_recipe(recipe, min(number, picture.TILES), grid["strength"])
        else:
            recipe = recipe.with_seed(number)
        output = state.pipeline().from_recipe(recipe, steering.guests)
    except MemDrivenError as error:
        return *(gr.skip(),) * 4, failure(error), *(gr.skip(),) * 4
    memory, _ = panels_again(output.retrieval, first.seed, steering)
    new = steering.step(recipe.seed, recipe.variations)
    said = strings.NEAR_ADOPTED if recipe.variations else strings.ADOPTED
    return (
        str(recipe.seed),
        gr.Checkbox(value=True),
        show(output),
        memory,
        status(said.format(seed=recipe.seed)),
        gr.Tabs(selected="picture"),
        new,
        steps_line(new),
        moment(output),
    )


_ON_LOAD = """
element.addEventListener('click', event => {
  const tile = event.target.closest('[data-seed]');
  if (tile) trigger('click', {seed: tile.dataset.seed});
});
"""


def build(compose: Compose, tabs: gr.Tabs, shown: PictureTab) -> list[gr.events.Dependency]:
    """Add the tab; return the events that paint the grid, so that Stop can cancel them."""
    with gr.Tab(strings.TAB_DIVERSITY, id="diversity"), gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="grid-column", min_width=300):
            section("noise", strings.DIVERSITY_TITLE)
            panel(tag("p", text(strings.DIVERSITY_NOTE), class_="md-hint"))
            with gr.Row(elem_id="grid-actions"):
                run = gr.Button(strings.DIVERSITY_RUN, variant="primary", elem_id="make-grid", min_width=120)
                near = gr.Button(strings.NEAR_RUN, elem_id="make-near", min_width=140)
                far = gr.Slider(
                    0.05,
                    1.0,
                    value=STRENGTH,
                    step=0.05,
                    elem_id="strength",
                    label=strings.NEAR_STRENGTH,
                    buttons=[],
                    min_width=140,
                )
            grid = panel(picture.empty_grid(), elem_id="grid", js_on_load=_ON_LOAD)
        with gr.Column(elem_id="grid-memory-column", min_width=240):
            section("memory", strings.DIVERSITY_MEMORY)
            memory = panel(cards.note(strings.MEMORY_EMPTY), elem_id="grid-memory")
            # Inside the tab: Gradio counts whatever lies directly among the tabs as one of them.
            made = gr.State(None, time_to_live=STATE_SECONDS)
    options: dict[str, Any] = {
        "trigger_mode": "once",
        "show_progress": "hidden",
        "concurrency_id": state.CONCURRENCY_ID,
        "concurrency_limit": 1,
        "api_visibility": "private",
    }
    outputs = [memory, grid, compose.status, made]
    events = [
        run.click(vary, compose.whole_query, outputs, **options),
        near.click(vary_near, [compose.current, far, compose.steering], outputs, **options),
    ]
    grid.click(
        adopt,
        [made, compose.steering],
        [
            compose.seed,
            compose.keep,
            shown.result,
            shown.memory,
            compose.status,
            tabs,
            compose.steering,
            compose.steps,
            compose.current,
        ],
        **options,
    )
    return events


def _grid(recipe: Recipe, strength: float = 0.0) -> Grid:
    return {"recipe": recipe.to_json(), "strength": strength}


def _line(ready: int, start: float, end: str) -> str:
    if end:
        return status(end.format(seconds=f"{time.perf_counter() - start:.1f}"))
    number = min(ready + 1, picture.TILES)
    return status(strings.GRID_PROGRESS.format(done=number, count=picture.TILES), busy=True)


def _distance(tiles: Sequence[Image.Image | None]) -> str:
    """Return the grid's number once all tiles are there."""
    done = [tile for tile in tiles if tile is not None]
    if len(done) < len(tiles):
        return ""
    share = strings.DISTANCE.format(distance=f"{100 * mean_pairwise_pyramid(done):.1f}")
    hint = tag("span", text(strings.DISTANCE_HINT), class_="md-hint")
    return tag("p", tag("strong", text(share)) + hint, class_="md-distance")
