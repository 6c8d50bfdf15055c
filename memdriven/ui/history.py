"""The History tab: past pictures of this browser; look at one, take from it, or bring it back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any

from memdriven.errors import ConfigError, MemDrivenError
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.recipe import Recipe
from memdriven.ui import cards, export, restore, state
from memdriven.ui.compose import KEPT, STATE_SECONDS, Compose
from memdriven.ui.generate import PictureTab
from memdriven.ui.history_list import Moment, history, panel_html, remember
from memdriven.ui.html import READY, failure, status, tag, text
from memdriven.ui.parts import CLICKS, by_name, panel, section
from memdriven.ui.startup import gr
from memdriven.ui.steering import OTHER_KIND, TOO_LARGE, Steering, no_picture

_READ = """() => {
  try { return [JSON.parse(localStorage.getItem("memdriven.pictures.1") ?? "[]")]; } catch { return [[]]; }
}"""
_FRESH = "(current, stored) => [current, window.memdriven.history.read()]"
_WRITE = "stored => [window.memdriven.history.write(stored)]"
_UNDO = "() => [window.memdriven.history.undo()]"
_ARRIVED = "() => window.memdriven.arrived()"
_SAVE = "() => setTimeout(() => document.querySelector('#saved a')?.click(), 100)"
_CHOSEN = """
element.addEventListener('click', event => {
  const target = event.target.closest('button[data-export], button[data-tick]');
  if (!target) return;
  if (target.dataset.tick) {
    for (const box of element.querySelectorAll('input')) box.checked = box.matches('[data-star]');
    return;
  }
  const places = [...element.querySelectorAll('input:checked')].map(box => box.value);
  trigger('submit', {kind: target.dataset.export, places});
});
"""


def act(event: gr.EventData, stored: object, inspected: str | None, steering: Steering) -> dict[str, Any]:
    """Return what a press on a past picture's button changes, by name."""
    moments, kind = history(stored), getattr(event, "act", None)
    try:
        if kind == "clear":
            return {"past": []}
        recipe, place = _wanted(event, moments, inspected)
        if kind in ("star", "forget") and place >= 0:
            turned: Moment = {**moments[place], "star": not moments[place].get("star", False)}
            return {"past": [*moments[:place], *[turned][kind == "forget" :], *moments[place + 1 :]]}
        if kind == "inspect":
            return {"inspection": restore.inspection(recipe), "inspected": recipe.to_json()}
        if kind == "remix":
            return restore.remixed(restore.adapted(recipe, steering), steering)
        if kind == "similar":
            said = "Painted from that recipe with another model or memory: alike, not the same."
            return restore.restored(restore.adapted(recipe, steering), steering, said)
        return restore.brought(recipe, steering)
    except MemDrivenError as error:
        return {"status": failure(error)}


def paste(written: str) -> dict[str, Any]:
    """Return what shows a pasted recipe or link, by name."""
    try:
        recipe = restore.read(written)
    except MemDrivenError as error:
        return {"status": failure(error)}
    return {"inspection": restore.inspection(recipe), "inspected": recipe.to_json(), "status": status(READY)}


def drop(event: gr.EventData, steering: Steering) -> dict[str, Any]:
    """Return what brings back the recipe of a PNG that carries one, by name."""
    content = getattr(event, "content", None)
    found = OTHER_KIND
    try:
        if isinstance(content, str) and len(content) <= restore.MAX_PNG:
            return restore.brought(Recipe.from_png(base64.b64decode(content, validate=True)), steering)
        found = TOO_LARGE
    except (binascii.Error, ValueError):
        pass
    except MemDrivenError as error:
        return {"status": failure(error)}
    return {"status": failure(no_picture(found))}


def arrive(event: gr.EventData, steering: Steering) -> dict[str, Any]:
    """Return what a page shows for the link in its address, or showed before it was loaded again, by name.

    Args:
        event: `link` of a recipe; of a page that was there before also the `values` of `compose.KEPT`,
            whether its references were `steered`, and whether its picture is `lost`: an own image's.
        steering: the tab's own.
    """
    link, values = getattr(event, "link", None), getattr(event, "values", None)
    shown: dict[str, Any] = {}
    if link:
        try:
            shown = restore.brought(restore.read(link), steering)
        except MemDrivenError as error:
            shown = {"status": failure(error)}
    if isinstance(values, dict):
        shown.pop("tabs", None)
        shown |= restore.came_back(values, shown)
        if not getattr(event, "steered", False):
            shown["steering"] = Steering()
    if getattr(event, "lost", False):
        said = "The picture with your own image is gone: only the page that had it could make it."
        shown["status"] = status(said)
    return shown


def save(event: gr.EventData, stored: object, steering: Steering) -> Iterator[dict[str, str]]:
    """Yield status and, at last, a link to the sheet or ZIP of the ticked pictures, by name.

    What this page cannot make again is left out and named, unless nothing would be left.
    """
    moments, kind = history(stored), getattr(event, "kind", None)
    places = getattr(event, "places", None)
    wanted = {str(each) for each in places} if isinstance(places, list) else set()
    numbered = list(enumerate(moments, start=1))
    chosen = [each for each in numbered if str(each[0] - 1) in wanted] or numbered
    outputs: list[PipelineOutput] = []
    left_out: list[str] = []
    problem: MemDrivenError = ConfigError(
        wanted="a recipe to use", found="no picture in the list", fix="generate one first"
    )
    for done, (number, each) in enumerate(chosen, start=1):
        said = f"Painting picture {done} of {len(chosen)} again."
        yield {"status": status(said, busy=True)}
        recipe = Recipe.from_json(each["recipe"])
        try:
            outputs.append(restore.made_here(recipe).from_recipe(recipe, steering.guests))
        except MemDrivenError as error:
            problem = error
            left_out.append(f"No. {number}")
    if not outputs:
        yield {"saved": "", "status": failure(problem)}
        return
    zipped = kind == "zip"
    content = export.archive(outputs) if zipped else export.contact_sheet(outputs)
    media = "application/zip" if zipped else "image/png"
    link = tag(
        "a",
        text(f"Save the {'ZIP' if zipped else 'contact sheet'} ({len(outputs)})"),
        class_="md-action",
        href=f"data:{media};base64,{base64.b64encode(content).decode()}",
        download="memdriven.zip" if zipped else "memdriven-sheet.png",
    )
    said = f"{len(outputs)} pictures are ready to save."
    if left_out:
        said = f"Ready to save: {len(outputs)}. This page cannot make these again: {', '.join(left_out)}."
    yield {"saved": link, "status": status(said)}


def build(
    column: Compose, tabs: gr.Tabs, shown: PictureTab, page: gr.Blocks, arrival: gr.HTML
) -> list[gr.events.Dependency]:
    """Add the tab; return the events that paint, so that Stop can cancel them.

    Args:
        column: the left one.
        tabs: all tabs.
        shown: the Picture tab.
        page: all of it.
        arrival: submits what the address or the browser tab asks for (`address.js`).
    """
    # The browser's own list is read afresh for each picture, and written by `page.js` alone, which merges
    # what other tabs have added.
    stored = column.past
    with gr.Tab("History", id="history") as tab, gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="history-column", min_width=300):
            section("paint", "Your pictures, saved in this browser")
            saved = panel(elem_id="saved")
            listed = panel(panel_html([]), elem_id="history", js_on_load=CLICKS + _CHOSEN)
            undo = gr.Button("Bring them back", elem_id="history-undo", size="sm")
        with gr.Column(elem_id="recipe-column", min_width=260):
            section("paint", "Recipe")
            dropped = panel(_drop_zone(), elem_id="recipe-drop", js_on_load=CLICKS)
            with gr.Row(elem_id="recipe-paste"):
                written = gr.Textbox(
                    label="Recipe (JSON) or link",
                    max_lines=1,
                    scale=3,
                    max_length=restore.MAX_TEXT,
                    elem_id="recipe-text",
                    min_width=140,
                )
                read = gr.Button("Inspect", elem_id="recipe-read", scale=1, min_width=80)
            seen = panel(
                cards.note("Inspect a picture, drop one that memdriven saved, or paste a recipe."),
                elem_id="inspection",
                js_on_load=CLICKS,
            )
            inspected = gr.State(None, time_to_live=STATE_SECONDS)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    queued: dict[str, Any] = {**quiet, "concurrency_id": state.CONCURRENCY_ID, "concurrency_limit": 1}
    listing = (panel_html, stored, listed)
    parts = column.parts | shown.parts | {"inspection": seen, "inspected": inspected, "saved": saved}
    parts |= {"tabs": tabs}
    every = list(parts.values())
    for source in (listed, seen):
        source.click(
            by_name(parts, act), [stored, inspected, column.steering], every, trigger_mode="once", **queued
        ).success(None, stored, stored, js=_WRITE, **quiet).success(*listing, **quiet)
    undo.click(None, None, stored, js=_UNDO, **quiet).success(*listing, **quiet)
    gr.on(
        [read.click, written.submit],
        by_name(parts, paste),
        written,
        [seen, inspected, column.status],
        **quiet,
    )
    dropped.upload(by_name(parts, drop), column.steering, every, trigger_mode="once", **queued)
    arrival.submit(by_name(parts, arrive), column.steering, every, trigger_mode="once", **queued).success(
        None, js=_ARRIVED
    )
    kept: list[Any] = [parts[name] for name in KEPT]
    gr.on(
        [each.change for each in kept],
        None,
        kept,
        js=f"(...values) => {{ window.memdriven.keep?.({list(KEPT)}, values); }}",
    )
    column.current.change(
        remember, [column.current, stored], stored, queue=False, js=_FRESH, **quiet
    ).success(None, stored, stored, js=_WRITE, **quiet).success(*listing, **quiet)
    gr.on([page.load, tab.select], None, None, stored, js=_READ, **quiet).success(*listing, **quiet)
    saving = listed.submit(
        by_name(parts, save), [stored, column.steering], [saved, column.status], trigger_mode="once", **queued
    )
    saving.success(None, js=_SAVE)
    return [saving]


def _drop_zone() -> str:
    choose = tag("input", type="file", accept="image/png", class_="md-file")
    return tag("label", text("Drop a PNG here to restore it, or choose one") + choose, class_="md-drop")


def _wanted(event: gr.EventData, moments: Sequence[Moment], inspected: str | None) -> tuple[Recipe, int]:
    """Return the recipe that a press is about: a place in the list, or what is inspected."""
    place = getattr(event, "place", None)
    if place is None and inspected:
        return Recipe.from_json(inspected), -1
    if str(place) in map(str, range(len(moments))):
        return Recipe.from_json(moments[int(str(place))]["recipe"]), int(str(place))
    raise restore.no_recipe()
