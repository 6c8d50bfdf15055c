"""From a recipe back to the page: looking at it, taking its settings, or all of it."""

from __future__ import annotations

import html as markup
import math
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from memdriven.errors import ConfigError, MemDrivenError
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.recipe import Recipe
from memdriven.pipeline.request import PRIVATE
from memdriven.ui import state, strings
from memdriven.ui.compose import steps_line
from memdriven.ui.generate import show
from memdriven.ui.history_list import moment
from memdriven.ui.html import status, tag, text, webp_uri
from memdriven.ui.references import panels_again
from memdriven.ui.startup import gr
from memdriven.ui.steering import Steering
from memdriven.ui.switcher import facts, fade_column

RECIPE_FIELDS = {
    "caption": "Words",
    "strategy": "Matched by",
    "k": "References blended (k)",
    "seed": "Seed",
    "variations": "Variations",
    "memory": "Memory used",
    "guidance": "Caption strength",
    "checkpoint": "Model",
    "version": "Version",
}

MAX_TEXT = 200_000
"""A pasted recipe or link is never longer."""
MAX_PNG = 8_000_000 * 4 // 3
SETTINGS, PANELS = 11, 9
"""Values that `settings` and `restored_panels` return."""
STEERING = 6
"""Place of the steering among the settings."""


def read(written: object) -> Recipe:
    """Return the recipe in JSON, in a page's link, or in a link's `r` alone.

    Raises:
        ConfigError: it is none, or not a valid one.
    """
    given = written.strip() if isinstance(written, str) else ""
    if not given:
        raise ConfigError(wanted=strings.GONE_WANTED, found=strings.GONE_FOUND, fix=strings.GONE_FIX)
    given = given[:MAX_TEXT]
    if given.startswith("{"):
        return Recipe.from_json(given)
    if "?" in given:
        try:
            given = parse_qs(urlsplit(markup.unescape(given)).query).get("r", [""])[0]
        except ValueError:
            given = ""
    return Recipe.from_url(given)


def made_here(recipe: Recipe) -> MemoryDrivenPipeline:
    """Return the pipeline of a recipe's checkpoint; the visitor's own choice stays as it is.

    Raises:
        CheckpointError, BankError: it is not on this page, or is another version of it.
    """
    pipe = state.shelf().get(_model(recipe))
    pipe.check_recipe(recipe)
    return pipe


def use(recipe: Recipe) -> None:
    """Let the visitor use a recipe's checkpoint from now on.

    Raises:
        CheckpointError, BankError: as `made_here`; the choice then stays as it was.
    """
    made_here(recipe)
    state.choose(_model(recipe))


def settings(recipe: Recipe, steering: Steering, *, noise: bool) -> tuple[Any, ...]:
    """Return caption, source, comparison, k, seed, keep, steering, memory, guidance, mirror and window.

    Args:
        recipe: one whose checkpoint is in use.
        steering: the tab's own, for its own images.
        noise: take the seed and its steps, too.
    """
    ordinary = recipe.strategy in {value for _, value in strings.STRATEGIES}
    source = "retrieved" if ordinary else recipe.strategy
    taken = steering.take(recipe)
    if noise:
        taken = taken.step(recipe.seed, recipe.variations)
    return (
        recipe.caption,
        source,
        recipe.strategy if ordinary else gr.skip(),
        state.read_k(len(recipe.neighbours) or recipe.k),
        str(recipe.seed) if noise else "",
        noise,
        taken,
        state.read_memory(recipe.memory),
        recipe.guidance,
        {None: "", True: "yes", False: "no"}[recipe.mirror],
        state.shown_window(recipe.window),
    )


def restored(recipe: Recipe, steering: Steering) -> tuple[PipelineOutput, tuple[Any, ...]]:
    """Return a recipe's picture, and caption ... window as `settings`, for a restored page.

    Raises:
        MemDrivenError: this page cannot make that picture.
    """
    output = made_here(recipe).from_recipe(recipe, steering.guests)
    use(recipe)
    return output, settings(recipe, steering, noise=True)


def adapted(recipe: Recipe, steering: Steering) -> Recipe:
    """Return a recipe for the model as it is here now, with those neighbours that are at hand.

    Its hashes are cleared; neighbours that are gone leave their shares to the others.

    Raises:
        CheckpointError, BankError: the page's model of that name cannot be opened.
    """
    loose = replace(recipe, checkpoint_hash="", bank_hash="")
    bank = made_here(loose).bank
    own = {guest.id for guest in steering.guests}
    found = {
        name: share
        for name, share in zip(recipe.neighbours, recipe.weights, strict=True)
        if name in own or name in bank.ids
    }
    if len(found) < len(recipe.neighbours):
        whole = math.fsum(found.values())
        found = {name: share / whole for name, share in found.items()} if whole else {}
    return replace(loose, k=min(recipe.k, bank.n), neighbours=tuple(found), weights=tuple(found.values()))


def restored_panels(
    output: PipelineOutput, steering: Steering, said: str = strings.RESTORED
) -> tuple[Any, ...]:
    """Return memory panel, result, status, steps, moment, tab, and `checkpoint_panels`."""
    memory, _ = panels_again(output.prepared, steering)
    return (
        memory,
        show(output),
        status(said),
        steps_line(steering),
        moment(output),
        gr.Tabs(selected="picture"),
        *checkpoint_panels(),
    )


def checkpoint_panels() -> tuple[Any, ...]:
    """Return checkpoint, its facts, and whether it offers less than all of the memory."""
    name = state.chosen()
    return name, facts(name, state.pipeline().bank.n), fade_column()


def inspection(recipe: Recipe) -> str:
    """Return a recipe as a table, with its memories and what can be done with it here."""
    values = recipe.to_dict()
    values["variations"] = len(recipe.variations) or None
    values["memory"] = f"{recipe.memory:.0%}" if recipe.memory != 1 else None
    values["guidance"] = f"{recipe.guidance:g}" if recipe.guidance else None
    rows = [
        tag("div", tag("dt", text(label)) + tag("dd", text(values[name])))
        for name, label in RECIPE_FIELDS.items()
        if values[name] not in (None, "")
    ]
    bank, same = state.pipeline().bank, recipe.bank_hash in ("", state.pipeline().bank_hash)
    cells = []
    for name, weight in zip(recipe.neighbours, recipe.weights, strict=True):
        picture = ""
        if same and name in bank.ids:
            content = bank.thumbnail_bytes(bank.index_of(name))
            picture = tag("img", src=webp_uri(content), alt=name, width=48, height=48)
        share = strings.WEIGHT.format(share=f"{weight:.0%}")
        shown = strings.OWN_CAPTION if name.startswith(PRIVATE) else name
        cells.append(tag("li", picture + tag("span", text(f"{shown}, {share}"))))
    notes = ["Needs a private image, which only the tab that had it can use."] if recipe.private else []
    fits, closed = _fits(recipe), _closed(recipe)
    if not fits and not closed:
        notes.append("Made with a model or memory that this page does not have now.")
    buttons = "".join(
        tag("button", text(label), type="button", class_="md-action", data_act=act, title=hint)
        for act, label, hint, offered in (
            ("remix", strings.REMIX, strings.REMIX_HINT, True),
            ("restore", strings.RESTORE, strings.RESTORE_HINT, fits or closed),
            (
                "similar",
                "Paint something similar",
                ("The same settings and seed, with the model and the memories that are here"),
                not fits or recipe.private,
            ),
        )
        if offered
    )
    return tag(
        "div",
        tag("dl", "".join(rows), class_="md-facts-list")
        + (tag("h3", text("Memories"), class_="md-small-title") if cells else "")
        + tag("ul", "".join(cells), class_="md-recipe-memory")
        + "".join(tag("p", text(each), class_="md-hint") for each in notes)
        + tag("div", buttons, class_="md-actions"),
        class_="md-inspection",
    )


def _fits(recipe: Recipe) -> bool:
    """Return whether the model in use is the one that a recipe was made with."""
    try:
        state.pipeline().check_recipe(recipe)
    except MemDrivenError:
        return False
    return not _closed(recipe)


def _closed(recipe: Recipe) -> bool:
    """Return whether a recipe names another model of the page: opening it is left to a press."""
    return recipe.checkpoint != state.chosen() and recipe.checkpoint in state.shelf().entries


def _model(recipe: Recipe) -> str:
    """Return the name of a recipe's checkpoint where the page has it, else of the one in use."""
    return recipe.checkpoint if recipe.checkpoint in state.shelf().entries else state.chosen()
