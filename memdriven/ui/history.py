"""The History tab: past pictures of this browser; look at one, take from it, or bring it back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from memdriven.errors import ConfigError, DataError, MemDrivenError
from memdriven.pipeline.recipe import Recipe
from memdriven.ui import cards, export, restore, state, strings
from memdriven.ui.compose import STATE_SECONDS, Compose
from memdriven.ui.generate import PictureTab
from memdriven.ui.history_list import Moment, history, panel_html, remember
from memdriven.ui.html import failure, status, tag, text
from memdriven.ui.parts import CLICKS, panel, section
from memdriven.ui.references import look
from memdriven.ui.startup import gr
from memdriven.ui.steering import Steering

_READ = """() => {
  try { return [JSON.parse(localStorage.getItem("memdriven.pictures.1") ?? "[]")]; } catch { return [[]]; }
}"""
_FRESH = "(current, stored) => [current, window.memdriven.history.read()]"
_WRITE = "stored => [window.memdriven.history.write(stored)]"
_UNDO = "() => [window.memdriven.history.undo()]"
_ARRIVED = "() => window.memdriven.arrived()"
_NOT_INSPECTED = (gr.skip(), gr.skip())
_CHECKPOINT = ("checkpoint", "facts", "fade")
_PANELS = ("memory", "result", "status", "steps", "current", "tab", *_CHECKPOINT)
_SETTINGS = ("caption", "source", "comparison", "k", "seed", "keep", "steering")
BROUGHT = (*_SETTINGS, "share", "guidance", "mirror", "window", *_PANELS, "inspection", "inspected")
"""What comes back with a recipe, in the order of `drop`'s values."""
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


def act(
    event: gr.EventData, stored: object, inspected: str | None, steering: Steering, *query: Any
) -> tuple[Any, ...]:
    """Return what a press on Inspect, Remix, Restore, Similar or Forget changes.

    Returns:
        History, inspection, inspected recipe, then `restore.settings`, then
        `restore.restored_panels`.
    """
    moments, kind = history(stored), getattr(event, "act", None)
    same = gr.skip()
    nothing = (same,) * (restore.SETTINGS + restore.PANELS)
    try:
        if kind == "clear":
            return [], same, same, *nothing
        recipe, place = _wanted(event, moments, inspected)
        if kind == "star" and place >= 0:
            turned: Moment = {**moments[place], "star": not moments[place].get("star", False)}
            return [*moments[:place], turned, *moments[place + 1 :]], same, same, *nothing
        if kind == "forget":
            return [*moments[:place], *moments[place + 1 :]], same, same, *nothing
        if kind == "inspect":
            return same, restore.inspection(recipe), recipe.to_json(), *nothing
        if kind in ("remix", "similar"):
            recipe = restore.adapted(recipe, steering)
        if kind == "similar":
            return (
                same,
                same,
                same,
                *_restored(
                    recipe,
                    steering,
                    "Painted from that recipe with another model or memory: alike, not the same.",
                ),
            )
        if kind == "remix":
            restore.use(recipe)
            taken = restore.settings(recipe, steering, noise=False)
            memory = look(
                recipe.caption,
                taken[1],
                _comparison(taken[2], query),
                taken[3],
                "",
                False,
                taken[restore.STEERING],
            )[0]
            panels = _panels(
                memory=memory,
                status=status("Settings taken, noise left free. Generate paints anew."),
                steps="",
                tab=gr.Tabs(selected="picture"),
                **_checkpoint(),
            )
            return same, same, same, *taken, *panels
        *restored, seen, kept = _brought(recipe, steering)
        return same, seen, kept, *restored
    except MemDrivenError as error:
        return same, same, same, *_failed(error)


def paste(written: str) -> tuple[Any, ...]:
    """Return inspection, inspected recipe and status for a pasted recipe or link."""
    try:
        recipe = restore.read(written)
    except MemDrivenError as error:
        return gr.skip(), gr.skip(), failure(error)
    return restore.inspection(recipe), recipe.to_json(), status(strings.READY)


def drop(event: gr.EventData, steering: Steering) -> tuple[Any, ...]:
    """Return settings, panels, inspection and inspected recipe for a PNG that carries a recipe."""
    content = getattr(event, "content", None)
    try:
        if not isinstance(content, str) or len(content) > restore.MAX_PNG:
            raise DataError(
                wanted=strings.UPLOAD_WANTED,
                found=strings.UPLOAD_LARGE.format(megabytes=8),
                fix=strings.UPLOAD_FIX,
            )
        return _brought(Recipe.from_png(base64.b64decode(content, validate=True)), steering)
    except (binascii.Error, ValueError):
        return *_failed(
            DataError(wanted=strings.UPLOAD_WANTED, found=strings.UPLOAD_KIND, fix=strings.UPLOAD_FIX)
        ), *_NOT_INSPECTED
    except MemDrivenError as error:
        return *_failed(error), *_NOT_INSPECTED


def arrive(told: Mapping[str, object], steering: Steering) -> dict[str, Any]:
    """Return what a page shows for the link in its address, or showed before it was loaded again, by name.

    Args:
        told: `link` of a recipe; of a page that was there before also the `values` of `Compose.kept`,
            whether its references were `steered`, and whether its picture is `lost`: an own image's.
        steering: the tab's own.
    """
    link, values = told.get("link"), told.get("values")
    shown: dict[str, Any] = {}
    if link:
        try:
            found = _brought(restore.read(link), steering)
        except MemDrivenError as error:
            found = *_failed(error), *_NOT_INSPECTED
        shown = {name: value for name, value in zip(BROUGHT, found, strict=True) if value != gr.skip()}
    if isinstance(values, dict):
        shown |= _kept(values, shown)
        if not told.get("steered"):
            shown["steering"] = Steering()
    if told.get("lost"):
        shown["status"] = status(
            "The picture with your own image is gone: only the page that had it could make it."
        )
    return shown


def _kept(values: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a page showed in its left column, over a restored picture's own settings."""
    name, kept = values.get("checkpoint"), dict(values)
    if "result" in shown:
        kept["status"] = status(strings.READY)
    elif isinstance(name, str) and name != state.chosen():
        with suppress(MemDrivenError):
            state.choose(name)
            kept |= _checkpoint()
    kept["checkpoint"] = state.chosen()
    kept["tab"] = gr.skip()
    for name, read in (("k", state.read_k), ("tries", state.read_tries), ("share", state.read_memory)):
        kept[name] = read(kept.get(name))
    return {name: value for name, value in kept.items() if name in (*BROUGHT, "tries")}


def save(event: gr.EventData, stored: object, steering: Steering) -> Iterator[tuple[Any, Any]]:
    """Yield status and, at last, a link to the sheet or ZIP of the ticked pictures.

    What this page cannot make again is left out and named, unless nothing would be left.
    """
    moments, kind = history(stored), getattr(event, "kind", None)
    places = getattr(event, "places", None)
    wanted = {str(each) for each in places} if isinstance(places, list) else set()
    numbered = list(enumerate(moments, start=1))
    chosen = [each for each in numbered if str(each[0] - 1) in wanted] or numbered
    outputs, left_out = [], []
    problem: MemDrivenError = ConfigError(
        wanted=strings.GONE_WANTED, found="no picture in the list", fix=strings.NEAR_GONE_FIX
    )
    for done, (number, each) in enumerate(chosen, start=1):
        said = f"Painting picture {done} of {len(chosen)} again."
        yield gr.skip(), status(said, busy=True)
        recipe = Recipe.from_json(each["recipe"])
        try:
            outputs.append(restore.made_here(recipe).from_recipe(recipe, steering.guests))
        except MemDrivenError as error:
            problem = error
            left_out.append(strings.RANK.format(rank=number))
    if not outputs:
        yield "", failure(problem)
        return
    zipped = kind == "zip"
    content = export.archive(outputs) if zipped else export.contact_sheet(outputs)
    label = ("Save the ZIP ({count})" if zipped else "Save the contact sheet ({count})").format(
        count=len(outputs)
    )
    media = "application/zip" if zipped else "image/png"
    link = tag(
        "a",
        text(label),
        class_="md-action",
        href=f"data:{media};base64,{base64.b64encode(content).decode('ascii')}",
        download="memdriven.zip" if zipped else "memdriven-sheet.png",
    )
    said = (
        ("Ready to save: {count}. This page cannot make these again: {numbers}.")
        if left_out
        else "{count} pictures are ready to save."
    )
    yield link, status(said.format(count=len(outputs), numbers=", ".join(left_out)))


def build(
    compose: Compose, tabs: gr.Tabs, shown: PictureTab, page: gr.Blocks, arrival: gr.HTML
) -> list[gr.events.Dependency]:
    """Add the tab; return the events that paint, so that Stop can cancel them.

    Args:
        compose: the left column.
        tabs: all tabs.
        shown: the Picture tab.
        page: all of it.
        arrival: submits what the address or the browser tab asks for (`address.js`).
    """
    # The browser's own list is read afresh for each picture, and written by `page.js` alone, which merges
    # what other tabs have added.
    stored = compose.past
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
    settings = compose.settings
    panels = [
        shown.memory,
        shown.result,
        compose.status,
        compose.steps,
        compose.current,
        tabs,
        compose.switcher.choice,
        compose.switcher.facts,
        compose.fade.column,
    ]
    for source in (listed, seen):
        source.click(
            act,
            [stored, inspected, compose.steering, *compose.query],
            [stored, seen, inspected, *settings, *panels],
            trigger_mode="once",
            **queued,
        ).success(None, stored, stored, js=_WRITE, **quiet).success(*listing, **quiet)
    undo.click(None, None, stored, js=_UNDO, **quiet).success(*listing, **quiet)
    gr.on([read.click, written.submit], paste, written, [seen, inspected, compose.status], **quiet)
    brought = [*settings, *panels, seen, inspected]
    dropped.upload(drop, compose.steering, brought, trigger_mode="once", **queued)
    places = dict(zip(BROUGHT, brought, strict=True)) | {"tries": compose.tries}

    def arriving(event: gr.EventData, steering: Steering) -> dict[Any, Any]:
        told = {name: getattr(event, name, None) for name in ("link", "values", "steered", "lost")}
        return {places[name]: value for name, value in arrive(told, steering).items()}

    arrival.submit(arriving, compose.steering, [*places.values()], trigger_mode="once", **queued).success(
        None, js=_ARRIVED
    )
    kept = compose.kept
    gr.on(
        [each.change for each in kept.values()],  # type: ignore[attr-defined]
        None,
        list(kept.values()),
        js=f"(...values) => {{ window.memdriven.keep?.({list(kept)}, values); }}",
    )
    compose.current.change(
        remember, [compose.current, stored], stored, queue=False, js=_FRESH, **quiet
    ).success(None, stored, stored, js=_WRITE, **quiet).success(*listing, **quiet)
    gr.on([page.load, tab.select], None, None, stored, js=_READ, **quiet).success(*listing, **quiet)
    saving = listed.submit(
        save, [stored, compose.steering], [saved, compose.status], trigger_mode="once", **queued
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
    raise ConfigError(wanted=strings.GONE_WANTED, found=strings.GONE_FOUND, fix=strings.GONE_FIX)


def _comparison(taken: Any, query: Sequence[Any]) -> str:
    return taken if isinstance(taken, str) else str(query[2])


def _restored(recipe: Recipe, steering: Steering, said: str = strings.RESTORED) -> tuple[Any, ...]:
    output, taken = restore.restored(recipe, steering)
    return *taken, *restore.restored_panels(output, taken[restore.STEERING], said)


def _brought(recipe: Recipe, steering: Steering) -> tuple[Any, ...]:
    """Return a restored page; of a picture that cannot be made here, what can be done with it."""
    try:
        return *_restored(recipe, steering), *_NOT_INSPECTED
    except MemDrivenError as error:
        failed = _failed(error, tab=gr.Tabs(selected="history"))
        return *failed, restore.inspection(recipe), recipe.to_json()


def _failed(error: MemDrivenError, **given: Any) -> tuple[Any, ...]:
    return *(gr.skip(),) * restore.SETTINGS, *_panels(status=failure(error), **given)


def _checkpoint() -> dict[str, Any]:
    return dict(zip(_CHECKPOINT, restore.checkpoint_panels(), strict=True))


def _panels(**given: Any) -> tuple[Any, ...]:
    """Return `restored_panels`' values by name, leaving the others as they are."""
    return tuple(given.get(name, gr.skip()) for name in _PANELS)
