"""The Diversity tab: nine noises at fixed words and neighbours (Fig. 5 of the paper)."""

from __future__ import annotations

import time
from collections.abc import Iterator

from memdriven.errors import ConfigError, MemDrivenError
from memdriven.recipe import MAX_SEED, Recipe
from memdriven.ui import cards, picture, state, strings
from memdriven.ui.compose import Compose
from memdriven.ui.generate import PictureTab, Update, show
from memdriven.ui.html import tag, text
from memdriven.ui.parts import panel, section
from memdriven.ui.startup import gr
from memdriven.ui.status import failure, status

Choice = tuple[object, object, object, object, object, object]


def tile_seeds(first: int) -> list[int]:
    """Return nine seeds: the given one and those that follow it, past the largest from 0."""
    return [(first + step) % (MAX_SEED + 1) for step in range(picture.TILES)]


def vary(
    caption: str, source: str, comparison: str, k: int, seed: str, keep: bool
) -> Iterator[tuple[Update, Update, Update, object]]:
    """Yield references, grid, status and the grid's recipe after each variation."""
    pipe, start, shown = state.pipeline(), time.perf_counter(), -1
    try:
        seeds = tile_seeds(state.read_seed(seed, keep))
        strategy = state.read_strategy(source, comparison)
        for output in pipe.stream(caption, strategy, state.read_k(k), seeds=seeds):
            done = [stages[-1] if len(stages) == len(pipe.resolutions) else None
                    for stages in output.all_stages]  # fmt: skip
            count = sum(tile is not None for tile in done)
            if count == shown:
                continue
            shown = count
            message = strings.GRID_PROGRESS.format(done=min(count + 1, len(seeds)),
                                                   count=len(seeds))  # fmt: skip
            line = status(message, busy=True)
            if output.complete:
                seconds = f"{time.perf_counter() - start:.1f}"
                line = status(strings.GRID_DONE.format(seconds=seconds))
            panel = cards.memory_panel(output.retrieval, common=state.common_words())
            yield panel, picture.grid(done, seeds), line, output.recipe.to_json()
    except MemDrivenError as error:
        yield "", picture.empty_grid(), failure(error), None


def adopt(event: gr.EventData, recipe: str | None) -> Choice:
    """Keep the seed of a chosen tile and show its picture, at the grid's own neighbours.

    Returns:
        Seed, keep, result, memory panel, status and selected tab.
    """
    try:
        if not recipe:
            raise ConfigError(wanted=strings.GRID_GONE_WANTED, found=strings.GRID_GONE_FOUND,
                              fix=strings.GRID_GONE_FIX)  # fmt: skip
        seed = state.read_seed(str(getattr(event, "seed", "")) or "-", keep=True)
        output = state.pipeline().from_recipe(Recipe.from_json(recipe).with_seed(seed))
    except MemDrivenError as error:
        return gr.skip(), gr.skip(), gr.skip(), gr.skip(), failure(error), gr.skip()
    memory = cards.memory_panel(output.retrieval, common=state.common_words())
    return (
        str(seed), gr.Checkbox(value=True), show(output), memory,
        status(strings.ADOPTED.format(seed=seed)), gr.Tabs(selected="picture"),
    )  # fmt: skip


_ON_LOAD = """
element.addEventListener('click', event => {
  const tile = event.target.closest('[data-seed]');
  if (tile) trigger('click', {seed: tile.dataset.seed});
});
"""


def build(compose: Compose, tabs: gr.Tabs, shown: PictureTab) -> gr.events.Dependency:
    """Add the tab; return the event that paints the grid, so that Stop can cancel it."""
    with gr.Tab(strings.TAB_DIVERSITY, id="diversity"), gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="grid-column", min_width=300):
            section("noise", strings.DIVERSITY_TITLE)
            panel(tag("p", text(strings.DIVERSITY_NOTE), class_="md-hint"))
            run = gr.Button(strings.DIVERSITY_RUN, variant="primary", elem_id="make-grid")
            grid = panel(picture.empty_grid(), elem_id="grid", js_on_load=_ON_LOAD)
        with gr.Column(elem_id="grid-memory-column", min_width=240):
            section("memory", strings.DIVERSITY_MEMORY)
            memory = panel(cards.note(strings.MEMORY_EMPTY), elem_id="grid-memory")
    recipe = gr.State(None, time_to_live=3600)
    event = run.click(
        vary, compose.query, [memory, grid, compose.status, recipe], trigger_mode="once",
        show_progress="hidden", concurrency_id=state.CONCURRENCY_ID, concurrency_limit=1,
        api_visibility="private",
    )  # fmt: skip
    grid.click(
        adopt, recipe,
        [compose.seed, compose.keep, shown.result, shown.memory, compose.status, tabs],
        trigger_mode="once", show_progress="hidden", concurrency_id=state.CONCURRENCY_ID,
        concurrency_limit=1, api_visibility="private",
    )  # fmt: skip
    return event
