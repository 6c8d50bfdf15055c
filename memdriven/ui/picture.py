"""The Picture tab: references that follow the keystrokes, a picture that grows, and what is done by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from PIL import Image

from memdriven.errors import MemDrivenError, RetrievalError
from memdriven.pipeline.output import PipelineOutput, Tried
from memdriven.pipeline.recipe import Recipe
from memdriven.pipeline.request import Reference
from memdriven.ui import gr, query, references, result, state
from memdriven.ui.html import (
    BESIDE,
    CLICKS,
    Parts,
    by_name,
    event_options,
    failure,
    panel,
    png_uri,
    script,
    section,
    status,
    tag,
    text,
)
from memdriven.ui.query import Compose, steps_line
from memdriven.ui.references import MEMORY_EMPTY, Query, look, note, panels
from memdriven.ui.result import is_moment, moment, recipe_of
from memdriven.ui.steering import Steering, apply, own_panel, read_upload, user_image

_TAKEN = "() => { if (window.memdriven.taken) document.querySelector('#generate').click(); }"
"""A picture of another reference was chosen in the gallery: it is painted whole."""
_SAVE = "() => setTimeout(() => document.querySelector('#larger a')?.click(), 100)"
OPENING_SEED = 1
"""Of the picture that the page opens with."""
Update = str | dict[str, object]
"""HTML for a panel, or `gr.skip()` to leave it as it is."""


class PictureTab(Parts):
    """The tab's panels: memory, result and own (images), and larger, which holds an enlarged picture."""


def paint(*asked: Any) -> Iterator[dict[str, Any]]:
    """Yield memory panel, unknown words, result, status, seed and the finished picture, by name."""
    pipe = state.pipeline()
    try:
        request, steering = references.question(*asked)
        told = "Looking into the memory\u2026"
        if request.best_of > (request.k or 1):
            told = f"Painting with {request.best_of} references to choose from ..."
        yield {"status": status(told, busy=True), "seed": str(request.seeds[0])}
        found = references.select(request, steering)
        for output in pipe.stream(found.request):
            if not output.stages and not found.request.references:
                found = replace(found, retrieval=output.retrieval)
            made = {"result": show(output, found.tried), "status": _progress(output)}
            # A panel that was asked for while the words were typed may have come in between.
            if not output.stages or (output.complete and found.retrieval.tried):
                made["memory"], made["unknown"] = panels(found)
            yield {**made, "current": moment(output)} if output.complete else made
    except MemDrivenError as error:
        yield {"status": failure(error)}


def show(output: PipelineOutput, tried: tuple[Tried, ...] = ()) -> str:
    """Return the result panel for an output, and the references that were tried for it."""
    return result.picture_panel(output, state.pipeline().resolutions, tried or output.prepared.tried)


def _progress(output: PipelineOutput) -> str:
    if output.complete:
        return status(f"Done in {output.timings['total']:.0f} ms with seed {output.recipe.seed}.")
    count = len(state.pipeline().resolutions)
    return status(f"Painting: {len(output.stages)} of {count} stages.", busy=True)


def opening() -> dict[str, Any]:
    """Return the page's values, by name, for the first example, painted as a visitor's would be."""
    pipe, settings = state.pipeline(), state.pipeline().config.retrieval
    try:
        caption, tries, seed = query.read_examples(pipe)[0], query.read_tries(pipe), str(OPENING_SEED)
        asked = Query(caption, "retrieved", settings.strategy, settings.k, seed, True, tries=tries)
        *_, last = paint(*asked)
        memory, _ = panels(references.select(*references.question(*asked)))
        shown = {"memory": memory, "result": last["result"], "current": last["current"]}
        return {"caption": caption, "seed": seed, **shown}
    except (MemDrivenError, IndexError, KeyError):
        return {}  # the captions' place on the page says what is wrong


def enlarge(event: gr.EventData, current: object, steering: Steering) -> dict[str, str]:
    """Return a link to the picture on screen, smoothly enlarged, and the status, by name."""
    times = next((each for each in result.LARGER if str(getattr(event, "times", "")) == str(each)), 2)
    try:
        recipe = recipe_of(current, "a picture to enlarge")
        made = state.pipeline().from_recipe(recipe, steering.guests).images[0]
    except MemDrivenError as error:
        return {"larger": "", "status": failure(error)}
    large = made.resize((times * made.width, times * made.height), Image.Resampling.LANCZOS)
    name = f"memdriven-{recipe.seed}-x{times}.png"
    link = tag("a", text(name), href=png_uri(recipe.to_png(large)), download=name)
    return {"larger": link, "status": status(f"{large.width} px, smoothly enlarged: no detail is added.")}


def click(event: gr.EventData, current: object, *asked: Any) -> dict[str, Any]:
    """Return what a click on a card (`act`, the `id` of a reference, a `value`) changes, by name.

    `current` is the picture on screen, `asked` the values of a `Query`.
    """
    wanted = Query(*asked)
    steering: Any = wanted.steering
    act, item = getattr(event, "act", None), getattr(event, "id", None)
    try:
        own = any(guest.id == item for guest in steering.guests)
        if is_moment(current) and act not in ("release", "steady") and not steering.active:
            recipe = Recipe.from_json(current["recipe"])
            steering = steering.hold(recipe) if recipe.caption == wanted.caption else steering
        return _steered(
            wanted, apply(steering, act, item, getattr(event, "value", None), own or in_bank(item))
        )
    except MemDrivenError as error:
        return {"status": failure(error)}


def _steered(asked: Query, steering: Steering) -> dict[str, Any]:
    """Return what another steering changes on the page, by name."""
    memory, unknown, told = look(*asked._replace(steering=steering))
    preview = {"memory": memory, "unknown": unknown, "status": told}
    return {**preview, "own": own_panel(steering), "steering": steering, "steps": steps_line(steering)}


def in_bank(item: object) -> bool:
    """Return whether something from the page is the id of a memory."""
    try:
        return isinstance(item, str) and state.pipeline().bank.index_of(item) >= 0
    except RetrievalError:
        return False


def add_own(event: gr.EventData, *asked: Any) -> Iterator[dict[str, Any]]:
    """Yield what one more image, pinned, changes, by name; `asked` are the values of a `Query`."""
    wanted = Query(*asked)
    yield {"status": status("Reading the image\u2026", busy=True)}
    try:
        guest = user_image(read_upload(getattr(event, "content", None)), state.pipeline())
        made = _steered(wanted, wanted.steering.welcome(guest))
        yield made | {"status": status("Your image is pinned. Generate paints with it.")}
    except MemDrivenError as error:
        yield {"status": failure(error)}


def keep(event: gr.EventData, current: object, steering: Steering) -> dict[str, Any]:
    """Keep the noise of the picture on screen (`keep`), or how it sees its memory (`hold`)."""
    try:
        recipe = recipe_of(current, "a picture whose noise can be kept")
    except MemDrivenError as error:
        return {"status": failure(error)}
    act, item = getattr(event, "act", None), getattr(event, "id", None)
    if act == "hold":
        noise = state.pipeline().noise(recipe, recipe.seed)
        return {
            "mirror": "yes" if noise.mirror else "no",
            "window": state.shown_window(noise.window),
            "status": status("The view is held: another seed changes z alone."),
        }
    new = steering.step(recipe.seed, recipe.variations)
    if act == "take" and isinstance(item, str) and in_bank(item):
        alone = replace(recipe, references=(Reference(item),))
        new = new.only(item) if recipe.k > 1 else new.hold(alone)
    return {
        "seed": str(recipe.seed),
        "keep": True,
        "steering": new,
        "steps": steps_line(new),
        "status": status(f"The noise of this picture is kept: seed {recipe.seed}."),
    }


def keep_from(panel_: gr.HTML, column: Compose) -> None:
    """Let the buttons of a panel that shows the current picture keep its noise or its view."""
    names = ("seed", "keep", "steering", "steps", "mirror", "window", "status")
    changed = [column.parts[name] for name in names]
    given = [column.current, column.steering]
    panel_.click(by_name(column.parts, keep), given, changed, **BESIDE).success(None, js=_TAKEN)


def build(column: Compose, begin: Mapping[str, Any]) -> tuple[PictureTab, gr.events.Dependency]:
    """Add the tab; return it with the event that paints, so that Stop can cancel it."""
    with gr.Tab("Picture", id="picture"), gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="memory-column", min_width=300):
            section("memory", "Memory: what it offers for the words")
            memory = panel(begin.get("memory", note(MEMORY_EMPTY)), elem_id="memory", js_on_load=CLICKS)
            own = panel(own_panel(Steering()), elem_id="own", js_on_load=CLICKS)
        with gr.Column(elem_id="picture-column", min_width=300):
            section("paint", "Picture")
            first = begin.get("result", result.empty_picture())
            made = panel(first, elem_id="result", js_on_load=CLICKS + script("lightbox.js"))
            larger = panel(elem_id="larger")
    shown = PictureTab(memory=memory, result=made, own=own, larger=larger)
    parts, asked, queued = column.parts | shown.parts, column.whole_query, event_options()
    preview = [memory, column.unknown, column.status]
    changes = [each.change for each in (column.caption, column.source, column.comparison, column.k)]
    gr.on(changes, look, asked, preview, trigger_mode="always_last", **BESIDE)
    steered, clicked = [*preview, column.steering, own, column.steps], by_name(parts, click)
    for source in (memory, own, column.steps):
        source.click(clicked, [column.current, *asked], steered, trigger_mode="multiple", **BESIDE)
    own.upload(by_name(parts, add_own), asked, steered, **queued)
    keep_from(made, column)
    enlarging, enlarged = [column.current, column.steering], [larger, column.status]
    made.submit(by_name(parts, enlarge), enlarging, enlarged, **queued).success(None, js=_SAVE)
    names = ("facts", "checkpoint", "k", "steering", "own", "steps", "share", "fade", "guidance", "status")
    changed = [parts[name] for name in names]
    switched = column.checkpoint.input(by_name(parts, query.switch), column.checkpoint, changed, **queued)
    switched.success(lambda *values: look(*values)[:2], asked, preview[:2], **BESIDE)
    painted = [*preview, made, column.seed, column.current]
    return shown, column.generate.click(by_name(parts, paint), asked, painted, **queued)
