"""The Picture tab: references that follow the keystrokes, a picture that grows, and what is done by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from memdriven.errors import MemDrivenError, RetrievalError
from memdriven.pipeline.output import PipelineOutput, Tried
from memdriven.pipeline.recipe import Recipe
from memdriven.ui import gr, query, references, result, state
from memdriven.ui.html import (
    CLICKS,
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
from memdriven.ui.query import Compose, Opening, steps_line, switch
from memdriven.ui.references import look, look_again, own_panel, panels
from memdriven.ui.result import is_moment, moment, recipe_of
from memdriven.ui.steering import Steering, apply, read_upload, user_image

_TAKEN = "() => { if (window.memdriven.taken) document.querySelector('#generate').click(); }"
"""A picture of another reference was chosen in the gallery: it is painted whole."""
OPENING_SEED = 1
"""Of the picture that the page opens with."""
_BESIDE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Of events beside the queue: typing must not wait for a grid that is painted, only for the stage that the
networks are busy with (`MemoryDrivenPipeline.turn`)."""
Update = str | dict[str, object]
"""HTML for a panel, or `gr.skip()` to leave it as it is."""


@dataclass(frozen=True)
class PictureTab:
    """The tab's components, for other tabs that show something here."""

    tab: gr.Tab
    memory: gr.HTML
    result: gr.HTML
    own: gr.HTML

    @property
    def parts(self) -> dict[str, gr.blocks.Block]:
        """The panels by the names that handlers give their values."""
        return {"memory": self.memory, "result": self.result, "own": self.own}


def paint(*query: Any) -> Iterator[dict[str, Any]]:
    """Yield memory panel, unknown words, result, status, seed and the finished picture, by name."""
    pipe = state.pipeline()
    try:
        request, steering = references.question(*query)
        told = "Looking into the memory\u2026"
        if request.best_of > (request.k or 1):
            told = f"Painting with {request.best_of} references to choose from ..."
        yield {"status": status(told, busy=True), "seed": str(request.seeds[0])}
        line = references.line_up(request, steering)
        for output in pipe.stream(line.request):
            if not output.stages and not line.steered and not line.request.references:
                line = replace(line, retrieval=output.retrieval)
            made = {"result": show(output, line.tried), "status": _progress(output)}
            # A panel that was asked for while the words were typed may have come in between.
            if not output.stages or (output.complete and line.retrieval.tried):
                made["memory"], made["unknown"] = panels(line)
            yield {**made, "current": moment(output)} if output.complete else made
    except MemDrivenError as error:
        yield {"status": failure(error)}


def show(output: PipelineOutput, tried: tuple[Tried, ...] = ()) -> str:
    """Return the result panel for an output, and the references that were tried for it."""
    return result.picture_panel(output, state.pipeline().resolutions, tried or output.prepared.tried)


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


def opening() -> Opening:
    """Return the picture of the first example, painted as a visitor's would be."""
    pipe, settings = state.pipeline(), state.pipeline().config.retrieval
    try:
        caption, tries = query.read_examples(pipe)[0], query.read_tries(pipe)
        asked = (caption, "retrieved", settings.strategy, settings.k, str(OPENING_SEED), True)
        values: tuple[Any, ...] = (*asked, None, None, None, None, None, tries)
        *_, last = paint(*values)
        line = references.line_up(*references.question(*values))
    except (MemDrivenError, IndexError):
        return Opening()  # the captions' place on the page says what is wrong
    if "current" not in last:
        return Opening()
    return Opening(caption, str(OPENING_SEED), panels(line)[0], last["result"], last["current"])


def build(column: Compose, begin: Opening) -> tuple[PictureTab, gr.events.Dependency]:
    """Add the tab; return it with the event that paints, so that Stop can cancel it."""
    with gr.Tab("Picture", id="picture") as tab, gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="memory-column", min_width=300):
            section("memory", "Memory: what it offers for the words")
            memory = panel(begin.memory, elem_id="memory", js_on_load=CLICKS)
            own = panel(own_panel(Steering()), elem_id="own", js_on_load=CLICKS)
        with gr.Column(elem_id="picture-column", min_width=300):
            section("paint", "Picture")
            result = panel(begin.result, elem_id="result", js_on_load=CLICKS + script("lightbox.js"))
            larger = panel(elem_id="larger")
    shown = PictureTab(tab, memory, result, own)
    parts = column.parts | shown.parts | {"larger": larger}
    gr.on(
        [column.caption.change, column.source.change, column.comparison.change, column.k.change],
        look,
        column.steered_query,
        [memory, column.unknown, column.status],
        trigger_mode="always_last",
        **_BESIDE,
    )
    steered = [memory, column.unknown, column.status, column.steering, own, column.steps]
    for source in (memory, own, column.steps):
        source.click(
            by_name(parts, click),
            [column.current, *column.steered_query],
            steered,
            trigger_mode="multiple",
            **_BESIDE,
        )
    queued = event_options()
    own.upload(by_name(parts, add_own), column.steered_query, steered, **queued)
    keep_from(result, column)
    result.submit(
        by_name(parts, enlarge), [column.current, column.steering], [larger, column.status], **queued
    ).success(None, js="() => setTimeout(() => document.querySelector('#larger a')?.click(), 100)")
    changed = ("facts", "checkpoint", "k", "steering", "own", "steps", "share", "fade", "guidance", "status")
    column.switcher.choice.input(
        switch, column.switcher.choice, [parts[name] for name in changed], **queued
    ).success(look_again, column.steered_query, [memory, column.unknown], **_BESIDE)
    event = column.generate.click(
        by_name(parts, paint),
        column.whole_query,
        [memory, column.unknown, result, column.status, column.seed, column.current],
        **queued,
    )
    return shown, event


def keep_from(result: gr.HTML, column: Compose) -> None:
    """Let the button of a panel that shows the current picture keep its noise."""
    names = ("seed", "keep", "steering", "steps", "mirror", "window", "status")
    result.click(
        by_name(column.parts, keep),
        [column.current, column.steering],
        [column.parts[name] for name in names],
        **_BESIDE,
    ).success(None, js=_TAKEN)


def _progress(output: PipelineOutput) -> str:
    if output.complete:
        total = f"{output.timings['total']:.0f}"
        return status(f"Done in {total} ms with seed {output.recipe.seed}.")
    count = len(state.pipeline().resolutions)
    return status(f"Painting: {len(output.stages)} of {count} stages.", busy=True)


def click(event: gr.EventData, current: object, *query: Any) -> dict[str, Any]:
    """Return what a click on a card changes, by name.

    Args:
        event: `act`, the `id` of a reference, and a `value`.
        current: the picture on screen.
        query: the values of `Compose.steered_query`.
    """
    *asked, steering = query
    act, item = getattr(event, "act", None), getattr(event, "id", None)
    try:
        own = any(guest.id == item for guest in steering.guests)
        value = getattr(event, "value", None)
        if is_moment(current) and act not in ("release", "steady"):
            recipe = Recipe.from_json(current["recipe"])
            if recipe.caption == asked[0] and not steering.active:
                steering = steering.hold(recipe)
        new = apply(steering, act, item, value, own or in_bank(item))
    except MemDrivenError as error:
        return {"status": failure(error)}
    return _steered(look(*(*asked, new)), new)


def _steered(seen: tuple[str, str, str], steering: Steering) -> dict[str, Any]:
    memory, unknown, told = seen
    panels = {"memory": memory, "unknown": unknown, "status": told, "own": references.own_panel(steering)}
    return {**panels, "steering": steering, "steps": steps_line(steering)}


def in_bank(item: object) -> bool:
    """Return whether something from the page is the id of a memory."""
    try:
        return isinstance(item, str) and state.pipeline().bank.index_of(item) >= 0
    except RetrievalError:
        return False


def add_own(event: gr.EventData, *query: Any) -> Iterator[dict[str, Any]]:
    """Yield what one more image, pinned, changes, by name; the query is `Compose.steered_query`."""
    *asked, steering = query
    yield {"status": status("Reading the image\u2026", busy=True)}
    try:
        image = read_upload(getattr(event, "content", None))
        new = steering.welcome(user_image(image, state.pipeline()))
    except MemDrivenError as error:
        yield {"status": failure(error)}
        return
    told = status("Your image is pinned. Generate paints with it.")
    yield {**_steered(look(*(*asked, new)), new), "status": told}


def keep(event: gr.EventData, current: object, steering: Steering) -> dict[str, Any]:
    """Keep the noise of the picture on screen (`keep`), or how it sees its memory (`hold`)."""
    try:
        recipe = recipe_of(current, "a picture whose noise can be kept")
    except MemDrivenError as error:
        return {"status": failure(error)}
    act, item = getattr(event, "act", None), getattr(event, "id", None)
    if act == "hold":
        noise = state.pipeline().noise(recipe.request(steering.guests), recipe.seed)
        return {
            "mirror": "yes" if noise.mirror else "no",
            "window": state.shown_window(noise.window),
            "status": status("The view is held: another seed changes z alone."),
        }
    new = steering.step(recipe.seed, recipe.variations)
    if act == "take" and isinstance(item, str) and in_bank(item):
        alone = replace(recipe, neighbours=(item,), weights=(1.0,))
        new = new.only(item) if recipe.k > 1 else new.hold(alone)
    return {
        "seed": str(recipe.seed),
        "keep": True,
        "steering": new,
        "steps": steps_line(new),
        "status": status(f"The noise of this picture is kept: seed {recipe.seed}."),
    }
