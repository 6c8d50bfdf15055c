"""From a recipe back to the page: looking at it, taking its settings, or all of it."""

from __future__ import annotations

import html as markup
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from memdriven.errors import ConfigError, MemDrivenError
from memdriven.numbers import percent
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import PRIVATE, Recipe
from memdriven.ui import gr, state
from memdriven.ui.html import READY, button, data_uri, failure, hint, status, tag
from memdriven.ui.picture import moment, picture_panel
from memdriven.ui.query import KEPT, Query, in_use, model_of, settings
from memdriven.ui.references import again, look, panels
from memdriven.ui.state import NUMBERS, RULES, read_number
from memdriven.ui.steering import OWN_CAPTION, Steering

ACTIONS = {
    "inspect": ("Inspect", "Look at its settings; mine stay as they are"),
    "remix": ("Remix", "Take everything but the noise"),
    "restore": ("Restore", "Take everything and show this picture"),
    "similar": (
        "Paint something similar",
        "The same settings and seed, with the model and references that are here",
    ),
}
"""What can be done with a past picture: label and hint."""
MAX_TEXT = 200_000
"""A pasted recipe or link is never longer."""


def read(written: object) -> Recipe:
    """Return the recipe in JSON, in a page's link, or in a link's `r` alone."""
    given = written.strip()[:MAX_TEXT] if isinstance(written, str) else ""
    if not given:
        raise no_recipe()
    if given.startswith("{"):
        return Recipe.from_json(given)
    if "?" in given:
        link, given = given, ""
        with suppress(ValueError):
            given = parse_qs(urlsplit(markup.unescape(link)).query).get("r", [""])[0]
    return Recipe.from_url(given)


def no_recipe() -> ConfigError:
    """Return the error of a press that names no recipe."""
    return ConfigError("a recipe to use", "none here", "inspect one in the list, or paste it")


# ---------------------------------------------------------------------------------------------------------
# What a recipe gives the page; each by name.


def made_here(recipe: Recipe) -> MemoryDrivenPipeline:
    """Return the pipeline of a recipe's checkpoint; the visitor's own choice stays as it is."""
    pipe = state.shelf().get(model_of(recipe))
    pipe.check_recipe(recipe)
    return pipe


def restored(recipe: Recipe, steering: Steering, said: str) -> dict[str, Any]:
    """Return a recipe's picture and settings, with what is `said`.

    Of one that cannot be made here: what can be done with it.
    """
    try:
        output = made_here(recipe).from_recipe(recipe, steering.guests)
        taken = settings(recipe, steering, noise=True)
        memory, _ = panels(again(output.prepared, taken["steering"]))
        shown = {"memory": memory, "result": picture_panel(output), "current": moment(output)}
        return {**taken, **shown, "status": status(said)}
    except MemDrivenError as error:
        return {
            "status": failure(error),
            "tabs": gr.Tabs(selected="history"),
            "inspection": inspection(recipe),
        }


def remixed(recipe: Recipe, steering: Steering) -> dict[str, Any]:
    """Return everything of a recipe but its noise; the picture stays."""
    made_here(recipe)
    taken = settings(recipe, steering, noise=False)
    memory, *_ = look(*map(taken.get, Query._fields))
    said = status("Settings taken, noise left free. Generate paints anew.")
    return {**taken, "memory": memory, "status": said}


def adapted(recipe: Recipe, steering: Steering) -> Recipe:
    """Return a recipe for the model as it is here now, with those neighbours that are at hand.

    Its hashes are cleared; neighbours that are gone leave their shares to the others.
    """
    loose = replace(recipe, checkpoint_hash="", bank_hash="")
    bank = made_here(loose).bank
    found = [each for each in recipe.references or () if steering.owns(each.id) or each.id in bank]
    some = any(each.weight for each in found)
    return replace(loose, k=min(recipe.k, bank.n), references=tuple(found) if some else None)


def came_back(values: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a page showed in its left column before it was loaded again.

    `values` are those of `query.KEPT` as the browser kept them, `shown` what the picture's recipe gave.
    """
    kept = {name: value for name, value in values.items() if name in KEPT}
    model = kept.pop("checkpoint", None)
    if "result" in shown:
        kept["status"] = status(READY)
    elif isinstance(model, str) and model != state.chosen():
        with suppress(MemDrivenError):
            state.choose(model)
    kept |= {name: read_number(name, kept[name]) for name in NUMBERS if name in kept}
    return kept | in_use()


# ---------------------------------------------------------------------------------------------------------
# Looking at a recipe.


def inspection(recipe: Recipe) -> str:
    """Return a recipe as a table, with its memories and what can be done with it here."""
    values = {
        "Words": recipe.caption,
        "Matched by": RULES.get(recipe.strategy, recipe.strategy),
        "References blended (k)": recipe.k,
        "Seed": recipe.seed,
        "Variations": len(recipe.variations) or "",
        "Memory used": percent(recipe.memory) if recipe.memory != 1 else "",
        "Caption strength": f"{recipe.guidance:g}" if recipe.guidance else "",
        "Model": recipe.checkpoint,
        "Version": recipe.version,
    }
    rows = (tag("dt", label) + tag("dd", value) for label, value in values.items() if value != "")
    pipe, cells = state.pipeline(), ""
    for name, weight in recipe.references or ():
        picture = ""
        if recipe.bank_hash in ("", pipe.bank_hash) and name in pipe.bank:
            content = pipe.bank.thumbnail_bytes(pipe.bank.index_of(name))
            picture = tag("img", src=data_uri(content), alt=name, width=48, height=48)
        shown = OWN_CAPTION if name.startswith(PRIVATE) else name
        cells += tag("li", picture + tag("span", f"{shown}, {percent(weight)} of the mix"))
    # A recipe of another of the page's models: opening that is left to a press.
    other = recipe.checkpoint != state.chosen() and recipe.checkpoint in state.shelf().folders
    closed, fits, notes = other and recipe.checkpoint_hash != pipe.checkpoint.hash, False, ""
    with suppress(MemDrivenError):
        pipe.check_recipe(recipe)
        fits = not closed
    if recipe.private:
        notes += hint("Needs a private image, which only the tab that had it can use.")
    if not fits and not closed:
        notes += hint("Made with a model or memory that this page does not have now.")
    offered = {"remix": True, "restore": fits or closed, "similar": not fits or recipe.private}
    buttons = (
        button(ACTIONS[act][0], data_act=act, title=ACTIONS[act][1])
        for act, there in offered.items()
        if there
    )
    references = tag("h3", "References", class_="md-small-title") if cells else ""
    return tag(
        "div",
        tag("dl", *(tag("div", row) for row in rows), class_="md-facts-list"),
        references + tag("ul", cells, class_="md-recipe-memory") + notes,
        tag("div", *buttons, class_="md-actions"),
        class_="md-inspection",
        data_recipe=recipe.to_json(),
    )
