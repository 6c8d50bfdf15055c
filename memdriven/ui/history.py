"""The History tab: past pictures of this browser; look at one, take from it, bring it back, export some."""

import html as markup
from collections.abc import Iterator, Mapping
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
from memdriven.ui.picture import picture_panel
from memdriven.ui.query import KEPT, Compose, Query, in_use, model_of, settings
from memdriven.ui.references import again, panels, show_references
from memdriven.ui.state import NUMBERS, RULES, read_number
from memdriven.ui.steering import Steering

MAX_TEXT = 200_000
"""A pasted recipe or link is never longer."""
MOST = 150
"""Pictures that are saved at once: as many as a browser's history holds (`pictures.js`)."""


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


# ---- What a recipe gives the page; each by name --------------------------------------------------


def made_here(recipe: Recipe) -> MemoryDrivenPipeline:
    """Return the pipeline of a recipe's checkpoint; the visitor's own choice stays as it is."""
    pipe = state.registry().get(model_of(recipe))
    pipe.check_recipe(recipe)
    return pipe


def restored(recipe: Recipe, steering: Steering, said: str, *, fresh: bool = True) -> dict[str, Any]:
    """Return a recipe's picture and settings, with what is `said`; a `fresh` one is listed in the history.

    Of one that cannot be made here: what can be done with it.
    """
    try:
        output = made_here(recipe).from_recipe(recipe, steering.images)
        taken = settings(recipe, steering, noise=True)
        memory, _ = panels(again(output.prepared, taken["steering"]))
        shown = {"memory": memory, "result": picture_panel(output, fresh=fresh), "current": output.recipe}
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
    if "result" not in shown and isinstance(model, str) and model != state.chosen():
        with suppress(MemDrivenError):
            state.choose(model)
    kept |= {name: read_number(name, kept[name]) for name in NUMBERS if name in kept}
    return kept | in_use()


# ---- Looking at a recipe -------------------------------------------------------------------------


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


# ---- What a press, a file or a link changes on the page, by name ---------------------------------


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
            shown = restored(read(link), steering, SAID["restore"], fresh=values is None)
        except MemDrivenError as error:
            shown = {"status": failure(error)}
    if isinstance(values, dict):
        shown.pop("tabs", None)
        if "result" in shown:  # it is seen to be back, and another tab may have said something meanwhile
            shown.pop("status")
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
    recipes = [read(each) for each in given[:MOST]] if isinstance(given, list) else []
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


# ---- The tab -------------------------------------------------------------------------------------


def build(column: Compose, arrival: gr.HTML) -> None:
    """Add the tab.

    `arrival` submits what the address or the browser tab asks for (`address.js`).
    """
    with gr.Tab("History", id="history"), gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="history-column", min_width=300):
            section("paint", "Your pictures, saved in this browser")
            pressed = html.CLICKS + html.script("history.js")
            listed = panel(html.render("history"), elem_id="history", js_on_load=pressed)
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
    every = [*vars(column)]
    for source in (listed, column.inspection, column.grid):
        column.on(source.click, act, ["steering"], every)
    for source in (listed, column.result):
        column.on(source.download, save, ["steering"], ["saved", "status"], **html.LONG)
    column.on([look_at.click, written.submit], paste, [written], ["inspection", "status"], **html.QUIET)
    column.on(dropped.upload, drop, ["steering"], every)
    # The page asks again where no answer is on its way (`address.js`).
    once = {**html.QUEUED, "trigger_mode": "once"}
    arrived = column.on(arrival.submit, arrive, ["steering"], every, **once)
    arrived.success(None, js="() => window.memdriven.arrived()", **html.QUIET)
    kept = column.named(*KEPT)
    note_values = f"(...values) => {{ window.memdriven.keep?.({list(KEPT)}, values); }}"
    gr.on([each.change for each in kept], None, kept, js=note_values, **html.QUIET)
