"""The History tab: past pictures of this browser; look at one, take from it, bring it back, export some."""

from __future__ import annotations

import html as markup
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from memdriven.errors import ConfigError, MemDrivenError
from memdriven.explore.export import archive, contact_sheet
from memdriven.numbers import counted, percent
from memdriven.pipeline import own_image
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import PRIVATE, Recipe
from memdriven.ui import gr, html, state
from memdriven.ui.html import READY, data_uri, failure, note, panel, section, status
from memdriven.ui.picture import HistoryItem, history_item, is_history_item, picture_panel
from memdriven.ui.query import KEPT, Compose, Query, in_use, model_of, settings
from memdriven.ui.references import again, panels, show_references
from memdriven.ui.state import NUMBERS, RULES, read_number
from memdriven.ui.steering import Steering

MAX_TEXT = 200_000
"""A pasted recipe or link is never longer."""
MOST, FAVOURITES = 50, 100
"""Pictures that a browser's history holds, and favourites beside them."""


def history(stored: object) -> list[HistoryItem]:
    """Return the valid part of what a browser stored, newest first, at most `MOST` and `FAVOURITES`."""
    left, kept = {True: FAVOURITES, False: MOST}, []
    if isinstance(stored, Sequence) and not isinstance(stored, str):
        for each in filter(is_history_item, stored[: MOST + FAVOURITES]):
            star = each.get("star", False)
            left[star] -= 1
            kept += [each] * (left[star] >= 0)
    return kept


def remember(current: object) -> HistoryItem | None:
    """Return the picture on screen as the browser is to keep it; None where it did so before."""
    if not is_history_item(current) or current.get("again"):
        return None
    return {"recipe": current["recipe"], "image": current["image"]}


def panel_html(stored: object) -> str:
    """Return the list, newest first, each with its actions."""
    items = [(each, Recipe.from_json(each["recipe"])) for each in history(stored)]
    if not items:
        return note("Every finished picture is listed here. The list stays in this browser.")
    starred = any(each.get("star") for each, _ in items)
    return html.render("history", items=items, starred=starred, most=MOST)


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
    pipe = state.registry().get(model_of(recipe))
    pipe.check_recipe(recipe)
    return pipe


def restored(recipe: Recipe, steering: Steering, said: str) -> dict[str, Any]:
    """Return a recipe's picture and settings, with what is `said`.

    Of one that cannot be made here: what can be done with it.
    """
    try:
        output = made_here(recipe).from_recipe(recipe, steering.images)
        taken = settings(recipe, steering, noise=True)
        memory, _ = panels(again(output.prepared, taken["steering"]))
        shown = {"memory": memory, "result": picture_panel(output), "current": history_item(output)}
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
    memory, *_ = show_references(*map(taken.get, Query._fields))
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
    pipe, references = state.pipeline(), []
    for name, weight in recipe.references or ():
        shown = own_image.CAPTION if name.startswith(PRIVATE) else name
        each = {"id": name, "src": "", "words": f"{shown}, {percent(weight)}"}
        if recipe.bank_hash in ("", pipe.bank_hash) and name in pipe.bank:
            each["src"] = data_uri(pipe.bank.thumbnail_bytes(pipe.bank.index_of(name)))
        references.append(each)
    # A recipe of another of the page's models: opening that is left to a press.
    other = recipe.checkpoint != state.chosen() and recipe.checkpoint in state.registry().folders
    closed, fits = other and recipe.checkpoint_hash != pipe.checkpoint.hash, False
    with suppress(MemDrivenError):
        pipe.check_recipe(recipe)
        fits = not closed
    return html.render(
        "recipe",
        recipe=recipe,
        rule=RULES.get(recipe.strategy, recipe.strategy),
        references=references,
        fits=fits,
        closed=closed,
    )


# ---------------------------------------------------------------------------------------------------------
# What a press, a file or a link changes on the page, by name.


SAID = {
    "restore": "Restored: the same recipe, the same pixels.",
    "similar": "Painted from that recipe with another model or memory: alike, not the same.",
    "adopt": "The variation is kept, with its noise.",
}


def act(event: gr.EventData, steering: Steering) -> dict[str, Any]:
    """Look at the recipe that a press names, or take from it."""
    recipe, kind = read(getattr(event, "recipe", None)), getattr(event, "act", None)
    if kind == "inspect":
        return {"inspection": inspection(recipe)}
    if kind == "remix":
        return remixed(adapted(recipe, steering), steering)
    if kind == "similar":
        recipe = adapted(recipe, steering)
    return restored(recipe, steering, SAID.get(str(kind), SAID["restore"]))


def star(current: object) -> dict[str, Any]:
    """Make the picture on screen a favourite."""
    if not is_history_item(current):
        raise no_recipe()
    said = status("A favourite now: it stays in your History.")
    new = {"recipe": current["recipe"], "image": current["image"], "star": True}
    return {"made": new, "status": said}


def paste(written: str) -> dict[str, Any]:
    """Show a pasted recipe or link."""
    return {"inspection": inspection(read(written)), "status": status(READY)}


def drop(event: gr.EventData, steering: Steering) -> dict[str, Any]:
    """Bring back the recipe of a PNG that carries one."""
    recipe = Recipe.from_png(own_image.read_upload(getattr(event, "content", None)))
    return restored(recipe, steering, SAID["restore"])


def arrive(event: gr.EventData, steering: Steering) -> dict[str, Any]:
    """Show what the link in a page's address asks for, or what the page showed before it was loaded again.

    The event holds the `link` of a recipe; of a page that was there before also the `values` of `query.KEPT`,
    whether its references were `steered`, and whether its picture is `lost`: an own image's.
    """
    link, values = getattr(event, "link", None), getattr(event, "values", None)
    shown: dict[str, Any] = {}
    if link:
        try:
            shown = restored(read(link), steering, SAID["restore"])
        except MemDrivenError as error:
            shown = {"status": failure(error)}
    if isinstance(values, dict):
        shown.pop("tabs", None)
        if "current" in shown:
            shown["current"] = {**shown["current"], "again": True}
        shown |= came_back(values, shown)
        if not getattr(event, "steered", False):
            shown["steering"] = Steering()
    if getattr(event, "lost", False):
        said = "The picture with your own image is gone: only the page that had it could make it."
        shown["status"] = status(said)
    return shown


def save(event: gr.EventData, steering: Steering) -> Iterator[dict[str, str]]:
    """Yield status and, at last, a link to the sheet or ZIP of the `recipes` that a press names.

    What this page cannot make again is left out and named, unless nothing would be left.
    """
    given = getattr(event, "recipes", None)
    problem: MemDrivenError = no_recipe()
    recipes = [read(each) for each in given[: MOST + FAVOURITES]] if isinstance(given, list) else []
    outputs, left_out = list[PipelineOutput](), list[str]()
    yield {"saved": ""}
    for done, recipe in enumerate(recipes, start=1):
        yield {"status": status(f"Painting picture {done} of {len(recipes)} again.", busy=True)}
        try:
            outputs.append(made_here(recipe).from_recipe(recipe, steering.images))
        except MemDrivenError as error:
            problem = error
            left_out.append(f"{recipe.caption} ({html.seed_words(recipe.seed, len(recipe.variations))})")
    if not outputs:
        raise problem
    title, kind, name, content = "contact sheet", "image/png", "memdriven-sheet.png", contact_sheet(outputs)
    if getattr(event, "kind", None) == "zip":
        title, kind, name = "ZIP", "application/zip", "memdriven.zip"
        content = archive(outputs, content)
    said = f"{counted(len(outputs), 'picture')} ready to save."
    if left_out:
        said = f"Ready to save: {len(outputs)}. This page cannot make these again: {'; '.join(left_out)}."
    link = html.save_link(name, data_uri(content, kind), f"Save the {title} ({len(outputs)})")
    yield {"saved": link, "status": status(said)}


def save_tried(event: gr.EventData, steering: Steering) -> Iterator[dict[str, str]]:
    """Yield as `save`, with the link in the Picture tab's own place: its gallery has the buttons."""
    for made in save(event, steering):
        yield {"larger" if name == "saved" else name: shown for name, shown in made.items()}


# ---------------------------------------------------------------------------------------------------------
# The tab.


def build(column: Compose, page: gr.Blocks, arrival: gr.HTML) -> None:
    """Add the tab.

    `arrival` submits what the address or the browser tab asks for (`address.js`).
    """
    with gr.Tab("History", id="history") as tab, gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="history-column", min_width=300):
            section("paint", "Your pictures, saved in this browser")
            column.saved = panel(elem_id="saved")
            pressed = html.script("clicks.js", "history.js")
            listed = panel(panel_html([]), elem_id="history", js_on_load=pressed)
            undo = gr.Button("Bring them back", elem_id="history-undo", size="sm")
        with gr.Column(elem_id="recipe-column", min_width=260):
            section("paint", "Recipe")
            zone = html.part("drop", of="column")
            dropped = panel(zone, elem_id="recipe-drop", js_on_load=html.CLICKS)
            with gr.Row(elem_id="recipe-paste"):
                wide = {"scale": 3, "min_width": 140, "max_length": MAX_TEXT}
                written = html.box("recipe-text", "Recipe (JSON) or link", **wide)
                look_at = gr.Button("Inspect", elem_id="recipe-read", scale=1, min_width=80)
            empty = note("Inspect a picture, drop one that memdriven saved, or paste a recipe.")
            column.inspection = panel(empty, elem_id="inspection", js_on_load=html.CLICKS)
    quiet = {name: html.QUEUED[name] for name in ("show_progress", "api_visibility")}
    every, current, stored = [*vars(column)], column.current, column.past

    def then_list(event: gr.events.Dependency) -> None:
        """Show the list that an event changed."""
        event.success(panel_html, stored, listed, trigger_mode="always_last", **quiet)

    for source in (listed, column.inspection, column.grid):
        column.on(source.click, act, ["steering"], every)
    # The browser's own list is changed by `page.js` alone: one that comes back from here would lack what
    # was pressed meanwhile.
    kept_now = "() => [window.memdriven.history.read()]"
    for event in (
        column.on(column.result.like, star, ["current"], ["made", "status"], **html.PRESS),
        current.change(remember, current, column.made, **html.BESIDE),
    ):
        add = "made => [window.memdriven.history.add(made)]"
        then_list(event.success(None, column.made, stored, js=add, **quiet))
    then_list(listed.like(None, None, stored, js=kept_now, **quiet))
    then_list(undo.click(None, None, stored, js="() => [window.memdriven.history.undo()]", **quiet))
    then_list(gr.on([page.load, tab.select], None, None, stored, js=kept_now, **quiet))
    column.on([look_at.click, written.submit], paste, [written], ["inspection", "status"], **quiet)
    column.on(dropped.upload, drop, ["steering"], every)
    # The page asks again where no answer is on its way (`address.js`).
    once = {**html.QUEUED, "trigger_mode": "once"}
    arrived = column.on(arrival.submit, arrive, ["steering"], every, **once)
    arrived.success(None, js="() => window.memdriven.arrived()")
    kept = column.named(*KEPT)
    note_values = f"(...values) => {{ window.memdriven.keep?.({list(KEPT)}, values); }}"
    gr.on([each.change for each in kept], None, kept, js=note_values)
    for export, handler, place in (
        (listed.submit, save, "saved"),
        (column.result.download, save_tried, "larger"),
    ):
        saving = column.on(export, handler, ["steering"], [place, "status"], **html.LONG)
        saving.success(None, js=html.pressing(place))
