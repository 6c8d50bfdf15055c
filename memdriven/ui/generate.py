"""The Picture tab: references that follow the keystrokes, a picture that grows, and what is done by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from memdriven.errors import ConfigError, MemDrivenError, RetrievalError
from memdriven.pipeline.output import PipelineOutput, Tried
from memdriven.pipeline.recipe import Recipe
from memdriven.ui import cards, compose, picture, references, state, strings
from memdriven.ui.cards import own_panel
from memdriven.ui.compose import Compose, Opening, steps_line
from memdriven.ui.history_list import is_moment, moment
from memdriven.ui.html import failure, png_uri, status, tag, text
from memdriven.ui.parts import CLICKS, panel, script, section
from memdriven.ui.references import look, look_again, panels
from memdriven.ui.startup import gr
from memdriven.ui.steering import Steering, apply, read_upload, user_image
from memdriven.ui.switcher import switch

_TAKEN = "() => { if (window.memdriven.taken) document.querySelector('#generate').click(); }"
"""A picture of another reference was chosen in the gallery: it is painted whole."""
OPENING_SEED = 1
"""Of the picture that the page opens with."""
Update = str | dict[str, object]
"""HTML for a panel, or `gr.skip()` to leave it as it is."""


@dataclass(frozen=True)
class PictureTab:
    """The tab's components, for other tabs that show something here."""

    tab: gr.Tab
    memory: gr.HTML
    result: gr.HTML
    own: gr.HTML


def paint(*query: Any) -> Iterator[tuple[Update, Update, Update, Update, Update, Any]]:
    """Yield memory panel, unknown words, result, status, seed and the finished picture's moment."""
    pipe, same = state.pipeline(), gr.skip()
    try:
        request, steering = references.question(*query)
        many = request.best_of > (request.k or 1)
        told = (
            f"Painting with {request.best_of} references to choose from ..."
            if many
            else "Looking into the memory\u2026"
        )
        yield same, same, same, status(told, busy=True), str(request.seeds[0]), same
        line = references.line_up(request, steering)
        for output in pipe.stream(line.request):
            if not output.stages:
                if not line.steered and not line.request.references:
                    line = replace(line, retrieval=output.retrieval)
                yield *panels(line), show(output, line.tried), _progress(output), same, same
                continue
            finished = moment(output) if output.complete else same
            # A panel that was asked for while the words were typed may have come in between.
            memory_ = panels(line)[0] if output.complete and line.retrieval.tried else same
            yield memory_, same, show(output, line.tried), _progress(output), same, finished
    except MemDrivenError as error:
        yield same, same, same, failure(error), same, same


def show(output: PipelineOutput, tried: tuple[Tried, ...] = ()) -> str:
    """Return the result panel for an output, and the references that were tried for it."""
    return picture.picture_panel(output, state.pipeline().resolutions, tried or output.prepared.tried)


def enlarge(event: gr.EventData, current: object, steering: Steering) -> tuple[str, str]:
    """Return a link to the picture on screen, smoothly enlarged, and the status."""
    times = next((each for each in picture.LARGER if str(getattr(event, "times", "")) == str(each)), 2)
    try:
        if not is_moment(current):
            raise ConfigError(
                wanted="a picture to enlarge", found=strings.GRID_GONE_FOUND, fix=strings.NEAR_GONE_FIX
            )
        recipe = Recipe.from_json(current["recipe"])
        made = state.pipeline().from_recipe(recipe, steering.guests).images[0]
    except MemDrivenError as error:
        return "", failure(error)
    large = made.resize((times * made.width, times * made.height), Image.Resampling.LANCZOS)
    name = f"memdriven-{recipe.seed}-x{times}.png"
    link = tag("a", text(name), href=png_uri(recipe.to_png(large)), download=name)
    return link, status(f"{large.width} px, smoothly enlarged: no detail is added.")


def opening() -> Opening:
    """Return the picture of the first example, painted as a visitor's would be."""
    pipe, settings = state.pipeline(), state.pipeline().config.retrieval
    try:
        caption, tries = compose.read_examples(pipe)[0], compose.read_tries(pipe)
        query: tuple[Any, ...] = (
            caption,
            "retrieved",
            settings.strategy,
            settings.k,
            str(OPENING_SEED),
            True,
        )
        query = (*query, None, None, None, None, None, tries)
        *_, (_, _, result, _, _, current) = paint(*query)
        line = references.line_up(*references.question(*query))
    except (MemDrivenError, IndexError):
        return Opening()  # the captions' place on the page says what is wrong
    if not is_moment(current):
        return Opening()
    return Opening(caption, str(OPENING_SEED), panels(line)[0], str(result), current)


def build(compose: Compose, begin: Opening) -> tuple[PictureTab, gr.events.Dependency]:
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
    beside = _beside()
    seen = [memory, compose.unknown, compose.status]
    gr.on(
        [compose.caption.change, compose.source.change, compose.comparison.change, compose.k.change],
        look,
        compose.steered_query,
        seen,
        trigger_mode="always_last",
        **beside,
    )
    steered = [*seen, compose.steering, own]
    for source in (memory, own, compose.steps):
        source.click(
            click,
            [compose.current, *compose.steered_query],
            [*steered, compose.steps],
            trigger_mode="multiple",
            **beside,
        )
    queued: dict[str, Any] = {
        "trigger_mode": "once",
        "show_progress": "hidden",
        "concurrency_limit": 1,
        "concurrency_id": state.CONCURRENCY_ID,
        "api_visibility": "private",
    }
    own.upload(add_own, compose.steered_query, steered, **queued)
    keep_from(result, compose)
    result.submit(enlarge, [compose.current, compose.steering], [larger, compose.status], **queued).success(
        None, js="() => setTimeout(() => document.querySelector('#larger a')?.click(), 100)"
    )
    compose.switcher.choice.input(
        switch,
        compose.switcher.choice,
        [
            compose.switcher.facts,
            compose.switcher.choice,
            compose.k,
            compose.steering,
            own,
            compose.steps,
            compose.fade.share,
            compose.fade.column,
            compose.guidance,
            compose.status,
        ],
        **queued,
    ).success(look_again, compose.steered_query, [memory, compose.unknown], **beside)
    event = compose.generate.click(
        paint,
        compose.whole_query,
        [memory, compose.unknown, result, compose.status, compose.seed, compose.current],
        **queued,
    )
    return shown, event


def keep_from(result: gr.HTML, compose: Compose) -> None:
    """Let the button of a panel that shows the current picture keep its noise."""
    result.click(
        keep,
        [compose.current, compose.steering],
        [
            compose.seed,
            compose.keep,
            compose.steering,
            compose.steps,
            compose.mirror,
            compose.window,
            compose.status,
        ],
        **_beside(),
    ).success(None, js=_TAKEN)


def _beside() -> dict[str, Any]:
    """Return the options of events beside the queue.

    Typing must not wait for a grid that is painted, only for the stage that the networks are busy
    with (`MemoryDrivenPipeline.turn`).
    """
    return {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def _progress(output: PipelineOutput) -> str:
    if output.complete:
        total = f"{output.timings['total']:.0f}"
        return status(f"Done in {total} ms with seed {output.recipe.seed}.")
    count = len(state.pipeline().resolutions)
    return status(f"Painting: {len(output.stages)} of {count} stages.", busy=True)


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
    return *seen, new, cards.own_panel(new), steps_line(new)


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
    yield same, same, status("Reading the image\u2026", busy=True), same, same
    try:
        image = read_upload(getattr(event, "content", None))
        new = steering.welcome(user_image(image, state.pipeline()))
    except MemDrivenError as error:
        yield same, same, failure(error), same, same
        return
    memory, unknown, _ = look(caption, source, comparison, k, seed, keep, new)
    yield memory, unknown, status("Your image is pinned. Generate paints with it."), new, cards.own_panel(new)


def keep(event: gr.EventData, current: object, steering: Steering) -> tuple[Any, ...]:
    """Keep the noise of the picture on screen (`keep`), or how it sees its memory (`hold`).

    Returns:
        Seed, keep, steering, steps, mirror, window and status.
    """
    same = gr.skip()
    if not is_moment(current):
        gone = ConfigError(
            wanted="a picture whose noise can be kept",
            found=strings.GRID_GONE_FOUND,
            fix=strings.NEAR_GONE_FIX,
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
    line = status(f"The noise of this picture is kept: seed {recipe.seed}.")
    return str(recipe.seed), gr.Checkbox(value=True), new, steps_line(new), same, same, line
