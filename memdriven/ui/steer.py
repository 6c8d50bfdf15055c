"""Handlers of what is done by hand: cards, own images, the noise of the picture on screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from memdriven.errors import ConfigError, MemDrivenError, RetrievalError
from memdriven.pipeline.recipe import Recipe
from memdriven.ui import card_controls, own_image, state, strings
from memdriven.ui.compose import steps_line
from memdriven.ui.looking import look
from memdriven.ui.moment import is_moment
from memdriven.ui.startup import gr
from memdriven.ui.status import failure, status
from memdriven.ui.steering import Steering, apply

Query = tuple[str, str, str, int, str, bool]


def click(
    event: gr.EventData,
    current: object,
    caption: str,
    source: str,
    comparison: str,
    k: int,
    seed: str,
    keep: bool,
    steering: Steering,
) -> tuple[Any, ...]:
    """Return memory, unknown words, status, steering, own images and steps after a click."""
    act, item = getattr(event, "act", None), getattr(event, "id", None)
    try:
        own = any(guest.id == item for guest in steering.guests)
        value = getattr(event, "value", None)
        if is_moment(current) and act not in ("release", "steady"):
            recipe = Recipe.from_json(current["recipe"])
            if recipe.caption == caption and not steering.active:
                steering = steering.hold(recipe)
        new = apply(steering, act, item, value, own or in_bank(item))
    except MemDrivenError as error:
        return gr.skip(), gr.skip(), failure(error), gr.skip(), gr.skip(), gr.skip()
    seen = look(caption, source, comparison, k, seed, keep, new)
    return *seen, new, card_controls.own_panel(new), steps_line(new)


def in_bank(item: object) -> bool:
    """Return whether something from the page is the id of a memory."""
    try:
        return isinstance(item, str) and state.pipeline().bank.index_of(item) >= 0
    except RetrievalError:
        return False


def add_own(
    event: gr.EventData,
    caption: str,
    source: str,
    comparison: str,
    k: int,
    seed: str,
    keep: bool,
    steering: Steering,
) -> Iterator[tuple[Any, ...]]:
    """Yield memory, unknown words, status, steering and own images, with one more image pinned."""
    same = gr.skip()
    yield same, same, status(strings.OWN_BUSY, busy=True), same, same
    try:
        image = own_image.read_upload(getattr(event, "content", None))
        new = steering.welcome(own_image.guest(image, state.pipeline()))
    except MemDrivenError as error:
        yield same, same, failure(error), same, same
        return
    memory, unknown, _ = look(caption, source, comparison, k, seed, keep, new)
    yield memory, unknown, status(strings.OWN_DONE), new, card_controls.own_panel(new)


def keep(event: gr.EventData, current: object, steering: Steering) -> tuple[Any, ...]:
    """Keep the noise of the picture on screen (`keep`), or how it sees its memory (`hold`).

    Returns:
        Seed, keep, steering, steps, mirror, window and status.
    """
    same = gr.skip()
    if not is_moment(current):
        gone = ConfigError(
            wanted=strings.KEEP_GONE_WANTED, found=strings.GRID_GONE_FOUND, fix=strings.NEAR_GONE_FIX
        )
        return *(same,) * 6, failure(gone)
    recipe = Recipe.from_json(current["recipe"])
    if getattr(event, "act", None) == "hold":
        noise = state.pipeline().noise(recipe.request(steering.guests), recipe.seed)
        window = state.shown_window(noise.window)
        told = status("The view is held: another seed changes z alone.")
        return *(same,) * 4, "yes" if noise.mirror else "no", window, told
    new, item = steering.step(recipe.seed, recipe.variations), getattr(event, "id", None)
    if getattr(event, "act", None) == "take" and isinstance(item, str) and in_bank(item):
        new = (
            new.only(item) if recipe.k > 1 else new.hold(replace(recipe, neighbours=(item,), weights=(1.0,)))
        )
    line = status(strings.KEPT.format(seed=recipe.seed))
    return str(recipe.seed), gr.Checkbox(value=True), new, steps_line(new), same, same, line
