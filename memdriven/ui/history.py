"""The History tab: past pictures of this browser; look at one, take from it, bring it back, export some."""

from __future__ import annotations

import io
import json
import textwrap
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from memdriven.errors import MemDrivenError
from memdriven.numbers import counted
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.request import Recipe
from memdriven.ui import gr, html, restore
from memdriven.ui.html import button, hint, panel, section, status, tag
from memdriven.ui.picture import Moment, is_moment
from memdriven.ui.query import KEPT, Compose
from memdriven.ui.references import note
from memdriven.ui.restore import ACTIONS
from memdriven.ui.steering import Steering, read_upload

MOST, FAVOURITES = 50, 100
"""Pictures that a browser's history holds, and favourites beside them."""


def history(stored: object) -> list[Moment]:
    """Return the valid part of what a browser stored, newest first, at most `MOST` and `FAVOURITES`."""
    left, kept = {True: FAVOURITES, False: MOST}, []
    if isinstance(stored, Sequence) and not isinstance(stored, str):
        for each in filter(is_moment, stored[: MOST + FAVOURITES]):
            star = each.get("star", False)
            left[star] -= 1
            kept += [each] * (left[star] >= 0)
    return kept


def remember(current: object) -> Moment | None:
    """Return the picture on screen as the browser is to keep it; None where it did so before."""
    if not is_moment(current) or current.get("again"):
        return None
    return {"recipe": current["recipe"], "image": current["image"]}


def panel_html(stored: object) -> str:
    """Return the list, newest first, each with its actions."""
    moments = history(stored)
    if not moments:
        return note("Every finished picture is listed here. The list stays in this browser.")
    tools = button("Contact sheet", data_export="sheet") + button("ZIP", data_export="zip")
    if any(each.get("star") for each in moments):
        tools += button("Select favourites", data_tick="star")
    tools += button("Forget all", "md-link", data_act="clear", data_event="like")
    items = (_item(place, each) for place, each in enumerate(moments))
    said = hint(f"The last {MOST} pictures and all favourites, newest first. Select some, or export all.")
    return said + tag("div", tools, class_="md-actions") + tag("ol", *items, class_="md-history")


def _item(place: int, each: Moment) -> str:
    recipe, star = Recipe.from_json(each["recipe"]), bool(each.get("star"))
    words = recipe.caption
    label = f"Choose picture {place + 1}: {words}"
    box = tag("input", type="checkbox", aria_label=label, data_star=star)
    image = tag("img", src=each["image"], width=72, height=72, alt=html.PICTURE_ALT.format(caption=words))
    inspects = {"data_act": "inspect", "title": ACTIONS["inspect"][1]}
    seen = tag("button", image, type="button", class_="md-history-picture", **inspects)
    facts = tag("p", words, class_="md-history-words")
    facts += tag("span", f"No. {place + 1}", class_="md-history-number")
    facts += tag("span", html.seed_words(recipe.seed, len(recipe.variations)), class_="md-seed")
    mark, kept = "\u2605" if star else "\u2606", "Favourites stay when newer pictures push the others out"
    acts = [(act, *said) for act, said in ACTIONS.items() if act != "similar"]
    buttons = [html.act_button(act, label, words, why) for act, label, why in acts]
    # These wait for no painting.
    for act, label, why, on in (("forget", "Forget", None, None), ("star", f"{mark} Favourite", kept, star)):
        buttons.append(html.act_button(act, label, words, why, on, data_event="like"))
    controls = tag("div", facts + tag("div", *buttons, class_="md-steer"))
    return tag("li", box + seen + controls, class_="md-moment", data_recipe=each["recipe"])


# ---------------------------------------------------------------------------------------------------------
# What a press, a file or a link changes on the page, by name.


SAID = {
    "restore": "Restored: the same recipe, the same pixels.",
    "similar": "Painted from that recipe with another model or memory: alike, not the same.",
    "adopt": "The variation is kept, with its noise.",
}


def act(event: gr.EventData, steering: Steering) -> dict[str, Any]:
    """Look at the recipe that a press names, or take from it."""
    recipe, kind = restore.read(getattr(event, "recipe", None)), getattr(event, "act", None)
    if kind == "inspect":
        return {"inspection": restore.inspection(recipe)}
    if kind == "remix":
        return restore.remixed(restore.adapted(recipe, steering), steering)
    if kind == "similar":
        recipe = restore.adapted(recipe, steering)
    return restore.restored(recipe, steering, SAID.get(str(kind), SAID["restore"]))


def star(current: object) -> dict[str, Any]:
    """Make the picture on screen a favourite."""
    if not is_moment(current):
        raise restore.no_recipe()
    said = status("A favourite now: it stays in your History.")
    new = {"recipe": current["recipe"], "image": current["image"], "star": True}
    return {"made": new, "status": said}


def paste(written: str) -> dict[str, Any]:
    """Show a pasted recipe or link."""
    return {"inspection": restore.inspection(restore.read(written)), "status": status(html.READY)}


def drop(event: gr.EventData, steering: Steering) -> dict[str, Any]:
    """Bring back the recipe of a PNG that carries one."""
    recipe = Recipe.from_png(read_upload(getattr(event, "content", None)))
    return restore.restored(recipe, steering, SAID["restore"])


def arrive(event: gr.EventData, steering: Steering) -> dict[str, Any]:
    """Show what the link in a page's address asks for, or what the page showed before it was loaded again.

    The event holds the `link` of a recipe; of a page that was there before also the `values` of `query.KEPT`,
    whether its references were `steered`, and whether its picture is `lost`: an own image's.
    """
    link, values = getattr(event, "link", None), getattr(event, "values", None)
    shown: dict[str, Any] = {}
    if link:
        try:
            shown = restore.restored(restore.read(link), steering, SAID["restore"])
        except MemDrivenError as error:
            shown = {"status": html.failure(error)}
    if isinstance(values, dict):
        shown.pop("tabs", None)
        if "current" in shown:
            shown["current"] = {**shown["current"], "again": True}
        shown |= restore.came_back(values, shown)
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
    problem: MemDrivenError = restore.no_recipe()
    recipes = [restore.read(each) for each in given[: MOST + FAVOURITES]] if isinstance(given, list) else []
    outputs, left_out = list[PipelineOutput](), list[str]()
    yield {"saved": ""}
    for done, recipe in enumerate(recipes, start=1):
        yield {"status": status(f"Painting picture {done} of {len(recipes)} again.", busy=True)}
        try:
            outputs.append(restore.made_here(recipe).from_recipe(recipe, steering.guests))
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
    link = html.save_link(name, html.data_uri(content, kind), f"Save the {title} ({len(outputs)})")
    yield {"saved": link, "status": status(said)}


# ---------------------------------------------------------------------------------------------------------
# For designers: one contact sheet, or a ZIP with pictures and recipes.

CELL, GAP, LINE = 256, 20, 18
PAPER, INK, QUIET = "#faf8f3", "#24221e", "#6a655c"
LETTERS = 35
"""As many of the font go side by side under a picture."""
UNDRAWN = "(see the file's description)"
"""Under a picture whose caption has letters that the font does not have."""


def contact_sheet(outputs: Sequence[PipelineOutput]) -> bytes:
    """Return a PNG with every picture, its words and its seed."""
    columns = min(4, max(1, len(outputs)))
    high = CELL + 3 * LINE + GAP
    size = columns * (CELL + GAP) + GAP, -(-len(outputs) // columns) * high + GAP
    sheet, described = Image.new("RGB", size, PAPER), PngImagePlugin.PngInfo()
    # Matplotlib's font is always there and knows most alphabets.
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSansMono.ttf"), 12)
    missing, draw = bytes(font.getmask("\uffff")), ImageDraw.Draw(sheet)
    for place, output in enumerate(outputs):
        left, top = GAP + place % columns * (CELL + GAP), GAP + place // columns * high
        sheet.paste(output.images[0].resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))
        words = output.recipe.caption
        described.add_itxt(f"Caption {place + 1}", words)
        if any(bytes(font.getmask(each)) == missing for each in set(words) if each.isprintable()):
            words = UNDRAWN
        lines = textwrap.wrap(words, LETTERS, max_lines=2, placeholder="\u2026")
        lines.append(f"{place + 1}   seed {output.recipe.seed}")
        for number, line in enumerate(lines, start=1):
            at = left, top + CELL + 4 + (number - 1) * LINE
            draw.text(at, line, QUIET if number == len(lines) else INK, font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True, pnginfo=described)
    return buffer.getvalue()


def archive(outputs: Sequence[PipelineOutput], sheet: bytes) -> bytes:
    """Return a ZIP: numbered PNGs that carry their recipes, all recipes as JSON, the sheet."""
    files: dict[str, bytes | str] = {
        f"memdriven-{number:02d}-seed-{output.recipe.seed}.png": output.png()
        for number, output in enumerate(outputs, start=1)
    }
    files["recipes.json"] = json.dumps([output.recipe.to_dict() for output in outputs], indent=1) + "\n"
    files["contact-sheet.png"] = sheet
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, content in files.items():
            # The same pictures give the same bytes, whenever.
            pack.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


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
            choose = tag("input", type="file", accept="image/png", class_="md-file")
            words = "Drop a PNG here to restore it, or choose one"
            zone = tag("label", words + choose, class_="md-drop")
            dropped = panel(zone, elem_id="recipe-drop", js_on_load=html.CLICKS)
            with gr.Row(elem_id="recipe-paste"):
                wide = {"scale": 3, "min_width": 140, "max_length": restore.MAX_TEXT}
                written = html.box("recipe-text", "Recipe (JSON) or link", **wide)
                read = gr.Button("Inspect", elem_id="recipe-read", scale=1, min_width=80)
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
    column.on([read.click, written.submit], paste, [written], ["inspection", "status"], **quiet)
    column.on(dropped.upload, drop, ["steering"], every)
    # The page asks again where no answer is on its way (`address.js`).
    once = {**html.QUEUED, "trigger_mode": "once"}
    arrived = column.on(arrival.submit, arrive, ["steering"], every, **once)
    arrived.success(None, js="() => window.memdriven.arrived()")
    kept = column.named(*KEPT)
    note_values = f"(...values) => {{ window.memdriven.keep?.({list(KEPT)}, values); }}"
    gr.on([each.change for each in kept], None, kept, js=note_values)
    saving = column.on(listed.submit, save, ["steering"], ["saved", "status"], **html.LONG)
    saving.success(None, js=html.pressing("saved"))
