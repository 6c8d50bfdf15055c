"""The Picture tab: references that follow the keystrokes, a picture that grows, and what is done by hand."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Any

from PIL import Image

from memdriven.errors import ConfigError, MemDrivenError
from memdriven.pipeline import own_image
from memdriven.pipeline.claims import Claim, Named, by_thing, denials
from memdriven.pipeline.output import PipelineOutput, Tried
from memdriven.pipeline.request import Recipe, Reference
from memdriven.ui import gr, html, query, state
from memdriven.ui.html import note, panel, section, status
from memdriven.ui.query import Compose, Query
from memdriven.ui.references import MEMORY_EMPTY, panels, select, show_references
from memdriven.ui.steering import Steering, fetch, own_panel, steps_line

part = partial(html.part, of="known")


def recipe_of(current: object, wanted: str) -> Recipe:
    """Return the recipe of the picture on screen."""
    if isinstance(current, Recipe):
        return current
    raise ConfigError(wanted=wanted, found="none in this tab", fix="generate one first")


LARGER = (2, 4)
"""Times that a picture can be enlarged for its download."""


def picture_panel(output: PipelineOutput, tried: Sequence[Tried] = (), *, fresh: bool = True) -> str:
    """Return the picture as far as it is, its stages, and, once complete, all that is known of it.

    `tried` are the references that it was chosen of. A `fresh` one is listed in the browser's history.
    """
    stages, recipe, values = output.stages, output.recipe, dict[str, object]()
    seen = [html.image_uri(stage) for stage in stages]
    shown = list(zip_longest(state.pipeline().resolutions, seen))
    src = seen[-1] if seen else ""
    if output.complete:
        src = html.data_uri(output.png(), "image/png")
        tried = tried or output.prepared.tried
        bank, used = state.pipeline().bank, output.retrieval.ids
        strange = not all(name in bank and bank.items[bank.index_of(name)].attributes for name in used)
        picked = {each.neighbour.id for each in tried if each.kept} == {*used} != set()
        said = claims_list(output.claims[0], output.retrieval.named, recipe, picked, strange)
        # Each of the gallery has the recipe of its picture, so that all can be saved at their full size.
        alone = (replace(recipe, references=(Reference(each.neighbour.id),), k=1) for each in tried)
        values = {
            "gallery": [(each, one.to_json()) for each, one in zip(tried, alone, strict=True)],
            "claims": said,
            "larger": [(times, times * output.images[0].width) for times in LARGER],
            "timing": part("times", output.timings),
            "written": recipe.to_json(indent=1),
        }
    of = {"output": output, "recipe": recipe, "fresh": fresh and output.complete}
    return html.render("picture", src=src, stages=shown, **of, **values)


def claims_list(
    claims: Sequence[Claim], named: Named, recipe: Recipe, picked: bool = False, strange: bool = False
) -> str:
    """Return what the words name, each seen in the picture, not seen, or unclear; "" if nothing is named.

    The reader that judges here may have `picked` the references, or they may be `strange` to it: no record
    tells what they show. Without a memory nothing is ticked: a blob of the right colours would have all that
    it was asked for.
    """
    things, denied = by_thing(named, claims), list[str]()
    if any(claim.said == "denied" for claim in claims):
        denied = denials(recipe.caption)
    implied = [claim for claim in claims if claim.said == "implied" and things]
    by_memory = bool(recipe.memory) and recipe.strategy != "none"
    if not (things or denied):
        return ""
    held = sum(all(claim.holds for claim in thing) for thing in things)
    return part("claims", things, held, by_memory, picked, strange, denied, implied, state.subject())


# ---- The tab -------------------------------------------------------------------------------------

_TAKEN = "() => { if (window.memdriven.taken) document.querySelector('#generate').click(); }"
"""A picture of another reference was chosen in the gallery: it is painted whole."""
OPENING_SEED = 1
"""Of the picture that the page opens with."""


def paint(*asked: Any, fresh: bool = True) -> Iterator[dict[str, Any]]:
    """Yield memory panel, unknown words, result, status, seed and the finished picture's recipe, by name."""
    pipe, wanted = state.pipeline(), Query(*asked)
    request, line = wanted.request(), "Looking into the memory\u2026"
    if request.best_of > (request.k or 1):
        line = f"Painting with {request.best_of} references to choose from ..."
    drawn = {} if wanted.keep else {"seed": str(request.seeds[0])}
    yield {"status": status(line, busy=True), **drawn}
    found = select(request, wanted.steering)
    for output in pipe.stream(found.request):
        if not output.stages and not found.request.references:
            found = replace(found, retrieval=output.retrieval)
        line = f"Painting: {len(output.stages)} of {len(pipe.resolutions)} stages."
        if output.complete:
            line = f"Done in {output.timings['total']:.0f} ms with seed {output.recipe.seed}."
        made: dict[str, Any] = {"status": status(line, busy=not output.complete)}
        made["result"] = picture_panel(output, found.tried, fresh=fresh)
        # A panel that was asked for while the words were typed may have come in between.
        if not output.stages or (output.complete and found.retrieval.tried):
            made["memory"], made["unknown"] = panels(found)
        if output.complete:
            made["current"] = output.recipe
        yield made


def opening() -> dict[str, Any]:
    """Return the page's values, by name, for the first example, painted as a visitor's would be."""
    pipe, settings = state.pipeline(), state.pipeline().config.retrieval
    with suppress(MemDrivenError, IndexError, KeyError):  # the captions' place says what is wrong
        caption, tries, seed = query.read_examples(pipe)[0], query.read_tries(pipe), str(OPENING_SEED)
        asked = Query(caption, "retrieved", settings.strategy, settings.k, seed, True, tries=tries)
        shown = {"caption": caption, "seed": seed}
        for step in paint(*asked, fresh=False):
            shown |= step
        return shown if "current" in shown else {}
    return {}


def enlarge(event: gr.EventData, current: object, steering: Steering) -> Iterator[dict[str, str]]:
    """Yield a link to the picture on screen, smoothly enlarged, and the status, by name."""
    yield {"saved": ""}
    times = next((each for each in LARGER if str(getattr(event, "times", "")) == str(each)), 2)
    recipe = recipe_of(current, "a picture to enlarge")
    made = state.pipeline().from_recipe(recipe, steering.images).images[0]
    large = made.resize((times * made.width, times * made.height), Image.Resampling.LANCZOS)
    link = html.save_link(
        f"memdriven-{recipe.seed}-x{times}.png", html.data_uri(recipe.to_png(large), "image/png")
    )
    yield {"saved": link, "status": status(f"{large.width} px, smoothly enlarged: no detail is added.")}


def click(event: gr.EventData, current: object, *asked: Any) -> dict[str, Any]:
    """Return what a click on a card (`act`, the `id` of a reference, a `value`) changes, by name.

    `current` is the picture on screen, `asked` the values of a `Query`.
    """
    wanted = Query(*asked)
    steering: Steering = wanted.steering
    act, item = getattr(event, "act", None), getattr(event, "id", None)
    begins = act not in ("release", "steady") and not steering.active
    if begins and isinstance(current, Recipe) and current.caption == wanted.caption:
        steering = replace(steering, shown=current)
    known = steering.owns(item) or in_bank(item)
    return _steered(wanted, steering.after(act, item, getattr(event, "value", None), known))


def _steered(asked: Query, steering: Steering) -> dict[str, Any]:
    """Return what another steering changes on the page, by name."""
    memory, unknown, line = show_references(*asked._replace(steering=steering))
    preview = {"memory": memory, "unknown": unknown, "status": line}
    return {**preview, "own": own_panel(steering), "steering": steering, "steps": steps_line(steering)}


def in_bank(item: object) -> bool:
    """Return whether something from the page is the id of a memory."""
    return isinstance(item, str) and item in state.pipeline().bank


def add_own(event: gr.EventData, *asked: Any) -> Iterator[dict[str, Any]]:
    """Yield what one more image, pinned, changes, by name; `asked` are the values of a `Query`."""
    wanted = Query(*asked)
    yield {"status": status("Reading the image\u2026", busy=True)}
    mine = own_image.user_image(own_image.read_picture(getattr(event, "content", None)), state.pipeline())
    made = _steered(wanted, wanted.steering.add_image(mine))
    yield made | {"status": status("Your image is pinned. Generate paints with it.")}


def keep(event: gr.EventData, current: object, steering: Steering) -> dict[str, Any]:
    """Keep the noise of the picture on screen (`keep`), or how it sees its memory (`hold`)."""
    recipe = recipe_of(current, "a picture whose noise can be kept")
    act, item = getattr(event, "act", None), getattr(event, "id", None)
    if act == "hold":
        noise = state.pipeline().noise(recipe, recipe.seed)
        said = status("The view is held: another seed changes z alone.")
        return {**query.view(bool(noise.view.mirrored), noise.view.window), "status": said}
    new = steering.step(recipe.seed, recipe.variations)
    if act == "take" and isinstance(item, str) and in_bank(item):
        alone = replace(recipe, references=(Reference(item),))
        new = new.only(item) if recipe.k > 1 else replace(new, shown=alone)
    return {
        "seed": str(recipe.seed),
        "keep": True,
        "steering": new,
        "steps": steps_line(new),
        "status": status(f"The noise of this picture is kept: seed {recipe.seed}."),
    }


def keep_from(panel_: gr.HTML, column: Compose) -> None:
    """Let the buttons of a panel that shows the current picture keep its noise or its view."""
    changed = ("seed", "keep", "steering", "steps", "mirror", "window", "status")
    column.on(panel_.click, keep, ["current", "steering"], changed, **html.PRESS).success(
        None, js=_TAKEN, **html.QUIET
    )


PREVIEW = ("memory", "unknown", "status")
STEERED = (*PREVIEW, "steering", "own", "steps")
SWITCHED = ("facts", "checkpoint", "k", "tries", "share", "fade", "guidance", *STEERED[len(PREVIEW) - 1 :])


def build(column: Compose, begin: Mapping[str, Any]) -> None:
    """Add the tab.

    Its panels are memory, result and own (images).
    """
    with gr.Tab("Picture", id="picture"), gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="memory-column", min_width=300):
            section("memory", "Memory: what it offers for the words")
            first = begin.get("memory", note(MEMORY_EMPTY))
            column.memory = panel(first, elem_id="memory", js_on_load=html.CLICKS)
            column.own = panel(own_panel(Steering()), elem_id="own", js_on_load=html.CLICKS)
        with gr.Column(elem_id="picture-column", min_width=300):
            section("paint", "Picture")
            first = begin.get("result", part("blank"))
            sent = html.CLICKS + html.script("lightbox.js", "pictures.js")
            column.result = panel(first, elem_id="result", js_on_load=sent)
    asked, preview = column.whole_query, column.named(*PREVIEW)
    changes = [each.change for each in column.named("caption", "source", "comparison", "k")]
    gr.on(changes, show_references, asked, preview, trigger_mode="always_last", **html.BESIDE)
    for source in column.named("memory", "own", "steps"):
        column.on(source.click, click, ["current", *asked], STEERED, **html.PRESS)
    column.on(column.own.upload, add_own, asked, STEERED)
    column.on(column.own.submit, fetch, ["steering"], ["own", "status"], **html.FETCH)
    keep_from(column.result, column)
    column.on(column.result.submit, enlarge, ["current", "steering"], ["saved", "status"])
    switched = column.on(column.checkpoint.input, query.switch, ["checkpoint"], SWITCHED)
    switched.success(lambda *values: show_references(*values)[:2], asked, preview[:2], **html.BESIDE)
    painted = (*PREVIEW, "result", "seed", "current")
    column.on(column.generate.click, paint, asked, painted)
