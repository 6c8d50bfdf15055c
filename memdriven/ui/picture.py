"""The Picture tab: references that follow the keystrokes, a picture that grows, and what is done by hand."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NotRequired, TypedDict, TypeGuard

from markupsafe import Markup
from PIL import Image

from memdriven.data.images import centre_square
from memdriven.data.vocabulary import ABSENT
from memdriven.errors import ConfigError, MemDrivenError
from memdriven.models.noise import WHOLE
from memdriven.numbers import percent
from memdriven.pipeline.claims import Claim, Named, by_thing, denials
from memdriven.pipeline.output import PipelineOutput, Tried
from memdriven.pipeline.request import Recipe, Reference
from memdriven.ui import gr, html, query, state
from memdriven.ui.html import button, hint, panel, section, status, tag
from memdriven.ui.query import Compose, Query
from memdriven.ui.references import MEMORY_EMPTY, look, note, panels, select
from memdriven.ui.steering import Steering, fetch, own_panel, read_picture, steps_line, user_image

SIDE = 96
_URI = re.compile(r"data:image/webp;base64,[A-Za-z0-9+/]{1,20000}={0,2}")


class Moment(TypedDict):
    """A picture's recipe as JSON, and what it looks like as the data URI of a WebP."""

    recipe: str
    image: str
    star: NotRequired[bool]
    """A favourite, which newer pictures do not push out."""
    at: NotRequired[float]
    """When it was painted: the same recipe, painted anew, is another moment."""
    again: NotRequired[bool]
    """Shown before the page was loaded again: the history has it already, or was told to forget it."""


def moment(output: PipelineOutput, index: int = 0) -> Moment:
    """Return what to remember of a finished picture."""
    small = centre_square(output.all_stages[index][-1], SIDE)
    return {"recipe": output.recipes[index].to_json(), "image": html.image_uri(small)}


_KINDS = {"recipe": str, "image": str, "star": bool, "at": float, "again": bool}


def is_moment(value: object) -> TypeGuard[Moment]:
    """Return whether something that a browser stored is a valid moment."""
    if not (isinstance(value, dict) and {"recipe", "image"} <= set(value) <= set(_KINDS)):
        return False
    if not all(isinstance(each, _KINDS[name]) for name, each in value.items()):
        return False
    with suppress(MemDrivenError):
        return bool(_URI.fullmatch(value["image"]) and Recipe.from_json(value["recipe"]))
    return False


def recipe_of(current: object, wanted: str) -> Recipe:
    """Return the recipe of the picture on screen."""
    if is_moment(current):
        return Recipe.from_json(current["recipe"])
    raise ConfigError(wanted=wanted, found="none in this tab", fix="generate one first")


STEPS = {
    "encode": ("md-text", "read words"),
    "retrieve": ("md-memory", "search memory"),
    "features": ("md-memory", "recall features"),
    "choose": ("md-memory", "try and choose"),
    "check": ("md-paint", "look for what is named"),
}
"""Colour and name of each step of the pipeline; the others are the stages, which paint."""
LARGER = (2, 4)
"""Times that a picture can be enlarged for its download."""
CLAIM_NAMES = {"beak_color": "beak", "body_plan": "kind", "eye_ring": "eye ring", "wing_bars": "wing bars"}
TOGETHER = {frozenset(("crown", "head")): "head", frozenset(("back", "breast")): "plumage"}
"""A reader's word for attributes that one word of a caption names at once."""
COPY = {"data_copied": "Copied", "data_by_hand": "Selected for you to copy:"}
"""What the page says after a press that copies."""


def empty_picture() -> str:
    """Return the panel before the first picture."""
    frame = tag("div", tag("p", "Your picture appears here."), class_="md-frame md-empty")
    return tag("div", frame, class_="md-canvas")


def picture_panel(
    output: PipelineOutput, resolutions: Sequence[int] = (), tried: Sequence[Tried] = ()
) -> str:
    """Return the picture as far as it is, its stages, and, once complete, all that is known of it.

    `resolutions` are by default those of the model in use, `tried` the references that it was chosen of.
    """
    stages, recipe = output.stages, output.recipe
    strip = _strip(stages, resolutions or state.pipeline().resolutions)
    content = tag("p", html.PICTURE_BUSY)
    if stages:
        content = tag(
            "img",
            src=html.data_uri(output.png(), "image/png") if output.complete else html.image_uri(stages[-1]),
            alt=html.PICTURE_ALT.format(caption=recipe.caption),
            class_="md-result",
            data_seed=recipe.seed,
            data_complete=str(output.complete).lower(),
        )
    content = tag("div", content, class_="md-frame" if stages else "md-frame md-busy")
    if not output.complete:
        return tag("div", content, strip, class_="md-canvas")
    written = recipe.to_json(indent=1)
    said = "Everything that makes this picture again. It also travels inside the PNG."
    return tag(
        "div",
        content,
        tag("p", tag("q", recipe.caption), class_="md-picture-words", data_of=recipe.caption),
        strip,
        gallery(tried or output.prepared.tried, output.retrieval.ids, output.recipe),
        *(claims_list(each, output.prepared.retrieval.named, recipe) for each in output.claims[:1]),
        _actions(output),
        time_bar(output.timings),
        tag(
            "details",
            tag("summary", "Recipe"),
            tag("p", said),
            tag("pre", written, tabindex=0),
            button("Copy recipe", "md-action md-copy", data_copy=written, **COPY),
            class_="md-recipe",
        ),
        class_="md-canvas",
    )


def gallery(tried: Sequence[Tried], used: Sequence[str], recipe: Recipe) -> str:
    """Return the small pictures painted with each reference that was tried; those in use are ringed.

    Each cell holds the recipe of its picture, so that all of them can be saved at their full size.
    """
    if not tried:
        return ""
    cells = ""
    for each in tried:
        item = each.neighbour
        label = f"Painted with No. {item.rank}: {item.caption}"
        act = {"data_act": "take", "data_id": item.id, "aria_pressed": str(item.id in used).lower()}
        image = tag("img", src=html.image_uri(each.picture), alt=label)
        alone = replace(recipe, references=(Reference(item.id),), k=1).to_json()
        tile = tag("button", image, type="button", class_="md-tile", title=label, **act)
        cells += tag("li", tile, data_recipe=alone)
    title = tag(
        "h3", f"Painted with each of {len(tried)} references; choose another", class_="md-small-title"
    )
    saves = [
        button(f"{name} of all", "md-action", data_export=kind, data_event="download")
        for kind, name in (("sheet", "Contact sheet"), ("zip", "ZIP"))
    ]
    tiles = tag("ol", cells, class_="md-grid md-tried-pictures")
    return tag("div", title, tiles, tag("div", *saves, class_="md-actions"), class_="md-exports")


def time_bar(timings: Mapping[str, float]) -> str:
    """Return a bar of the steps' shares of time, and each step's milliseconds beneath it."""
    steps = {name: ms for name, ms in timings.items() if name != "total"}
    whole, bar, legend = sum(steps.values()) or 1.0, "", ""

    def line(name: str, ms: float) -> str:
        return name + " " + tag("b", f"{ms:.{0 if ms >= 10 else 1}f} ms")

    for step, ms in steps.items():
        kind, name = STEPS.get(step, ("md-paint", f"paint {step.removeprefix('stage ')} px"))
        bar += tag("span", class_=f"md-step {kind}", style=f"width:{100 * ms / whole:.2f}%")
        legend += tag("li", line(name, ms), class_=kind)
    title = tag("h3", line("Time", timings.get("total", whole)), class_="md-small-title")
    drawn = tag("div", bar, class_="md-times", aria_hidden="true")
    return tag("div", title, drawn, tag("ul", legend, class_="md-legend"), class_="md-timing")


def _strip(stages: Sequence[Image.Image], resolutions: Sequence[int]) -> str:
    cells = ""
    for place, side in enumerate(resolutions):
        image = tag("span", class_="md-blank md-busy")
        if place < len(stages):
            image = tag("img", src=html.image_uri(stages[place]), alt=f"Stage of {side} pixels")
        cells += tag("li", image + tag("span", f"{side} px"))
    return tag("ol", cells, class_="md-strip") if len(resolutions) > 1 else ""


def _actions(output: PipelineOutput) -> str:
    """Return seed and view of a finished picture, and what can be done with it."""
    recipe, side = output.recipe, output.images[0].width
    facts = [("md-seed", html.seed_words(recipe.seed, len(recipe.variations)))]
    for view in output.views[:1]:
        if view.mirrored:
            facts.append(("md-view", "memory mirrored"))
        if view.window != WHOLE:
            facts.append(("md-view", f"memory cropped to {percent(view.side)}"))
    facts.append(("md-side", f"{side} px"))
    name = f"memdriven-{recipe.seed}.png"  # its address is the picture's own (lightbox.js)
    acts = [tag("a", "Download PNG", href="#", download=name, class_="md-action")]
    for times in LARGER:
        title = f"Download at {times * side} px, smoothly enlarged (Lanczos); its recipe stays inside"
        label = f"Download enlarged {times} times"
        acts.append(button(f"\u00d7{times}", data_times=times, title=title, aria_label=label))
    kept = "Favourites stay in the History when newer pictures push the others out"
    acts += [
        button("Copy picture", data_copy_picture=True),
        button("Enlarge", data_large=True),
        button("\u2606 Favourite", data_act="star", data_event="like", title=kept),
        button("Keep this seed", data_act="keep"),
        button("Hold the view", data_act="hold", title="Other seeds then change z alone"),
        button("Vary this picture", data_press="#make-near", data_tab="diversity"),
        button("Compare references", data_press="#compare-run", data_tab="compare"),
        button("Is it a copy?", data_press="#copy-run", data_tab="copies"),
    ]
    private = hint("Made with your own image: only this tab, while it is open, can make it again.")
    if not recipe.private:
        acts.append(button("Copy link", data_link=recipe.to_url(), **COPY))
        private = Markup()
    known = (tag("span", words, class_=kind) for kind, words in facts)
    return tag("div", *known, class_="md-actions") + tag("div", *acts, class_="md-actions") + private


def claims_list(claims: Sequence[Claim], named: Named, recipe: Recipe) -> str:
    """Return what the words name, each seen in the picture or not; nothing where nothing is named.

    Without a memory nothing is ticked: a blob of the right colours would have all that it was asked for.
    """
    things, panel = by_thing(named, claims), ""
    if things and not (recipe.memory and recipe.strategy != "none"):
        blind = f"whether there is a {state.subject()}" if state.subject() else "shapes"
        panel = hint(
            f"No memory took part, so nothing is ticked: the model's reader sees colours, not {blind}."
        )
    elif things:
        seen = sum(all(claim.holds for claim in thing) for thing in things)
        title = f"From your words, visible: {seen} of {len(things)}"
        checked = (
            "Judged by the model's own reader, which sees colours rather than shapes and also picked the "
            "reference: a hint, not proof."
        )
        panel = tag("h3", title, class_="md-small-title")
        panel += tag("ul", *map(_claim, things), class_="md-claims") + hint(checked)
    if any(claim.said == "denied" for claim in claims):
        told = ", ".join(denials(recipe.caption))
        panel += hint(f"This model cannot leave things out, and may paint what your words deny: {told}.")
    if implied := ", ".join(_thing([claim]) for claim in claims if claim.said == "implied" and things):
        panel += hint(f"The model also expects, though no word says so: {implied}.")
    return tag("div", panel) if panel else ""


def _claim(thing: Sequence[Claim]) -> str:
    """Return one thing that is named, and of each attribute of it that is not seen what is."""
    others = [claim for claim in thing if not claim.holds]
    mark, label, kind = ("\u2717", "not seen", None) if others else ("\u2713", "seen", "md-holds")
    instead = []
    for each in others:
        looks = "there is none" if each.seen in ABSENT else f"looks {_value(each.seen)}"
        instead.append(looks if len(thing) == 1 else f"{_name(each.attribute)} {looks}")
    seen = " " + tag("i", ", ".join(instead)) if instead else ""
    title = "probability " + ", ".join(percent(each.probability) for each in thing)
    sign = tag("span", mark, role="img", aria_label=label)
    return tag("li", sign + _thing(thing) + seen, class_=kind, title=title)


def _thing(thing: Sequence[Claim]) -> str:
    """Return attributes of one value in words: "crown: red"."""
    names = [each.attribute for each in thing]
    name = TOGETHER.get(frozenset(names)) or " and ".join(map(_name, names))
    return f"{name}: {_value(thing[0].wanted)}"


def _name(attribute: str) -> str:
    return CLAIM_NAMES.get(attribute, attribute.replace("_", " "))


def _value(value: str) -> str:
    return "no" if value in ABSENT else value.replace("_", " ")


# ---------------------------------------------------------------------------------------------------------
# The tab.

_TAKEN = "() => { if (window.memdriven.taken) document.querySelector('#generate').click(); }"
"""A picture of another reference was chosen in the gallery: it is painted whole."""
OPENING_SEED = 1
"""Of the picture that the page opens with."""


def paint(*asked: Any) -> Iterator[dict[str, Any]]:
    """Yield memory panel, unknown words, result, status, seed and the finished picture, by name."""
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
        made["result"] = picture_panel(output, pipe.resolutions, found.tried)
        # A panel that was asked for while the words were typed may have come in between.
        if not output.stages or (output.complete and found.retrieval.tried):
            made["memory"], made["unknown"] = panels(found)
        if output.complete:
            made["current"] = {**moment(output), "at": time.time()}
        yield made


def opening() -> dict[str, Any]:
    """Return the page's values, by name, for the first example, painted as a visitor's would be."""
    pipe, settings = state.pipeline(), state.pipeline().config.retrieval
    with suppress(MemDrivenError, IndexError, KeyError):  # the captions' place says what is wrong
        caption, tries, seed = query.read_examples(pipe)[0], query.read_tries(pipe), str(OPENING_SEED)
        asked = Query(caption, "retrieved", settings.strategy, settings.k, seed, True, tries=tries)
        shown = {"caption": caption, "seed": seed}
        for step in paint(*asked):
            shown |= step
        return shown if "current" in shown else {}
    return {}


def enlarge(event: gr.EventData, current: object, steering: Steering) -> Iterator[dict[str, str]]:
    """Yield a link to the picture on screen, smoothly enlarged, and the status, by name."""
    yield {"larger": ""}
    times = next((each for each in LARGER if str(getattr(event, "times", "")) == str(each)), 2)
    recipe = recipe_of(current, "a picture to enlarge")
    made = state.pipeline().from_recipe(recipe, steering.guests).images[0]
    large = made.resize((times * made.width, times * made.height), Image.Resampling.LANCZOS)
    link = html.save_link(
        f"memdriven-{recipe.seed}-x{times}.png", html.data_uri(recipe.to_png(large), "image/png")
    )
    yield {"larger": link, "status": status(f"{large.width} px, smoothly enlarged: no detail is added.")}


def click(event: gr.EventData, current: object, *asked: Any) -> dict[str, Any]:
    """Return what a click on a card (`act`, the `id` of a reference, a `value`) changes, by name.

    `current` is the picture on screen, `asked` the values of a `Query`.
    """
    wanted = Query(*asked)
    steering: Steering = wanted.steering
    act, item = getattr(event, "act", None), getattr(event, "id", None)
    if is_moment(current) and act not in ("release", "steady") and not steering.active:
        recipe = Recipe.from_json(current["recipe"])
        steering = replace(steering, shown=recipe) if recipe.caption == wanted.caption else steering
    known = steering.owns(item) or in_bank(item)
    return _steered(wanted, steering.after(act, item, getattr(event, "value", None), known))


def _steered(asked: Query, steering: Steering) -> dict[str, Any]:
    """Return what another steering changes on the page, by name."""
    memory, unknown, line = look(*asked._replace(steering=steering))
    preview = {"memory": memory, "unknown": unknown, "status": line}
    return {**preview, "own": own_panel(steering), "steering": steering, "steps": steps_line(steering)}


def in_bank(item: object) -> bool:
    """Return whether something from the page is the id of a memory."""
    return isinstance(item, str) and item in state.pipeline().bank


def add_own(event: gr.EventData, *asked: Any) -> Iterator[dict[str, Any]]:
    """Yield what one more image, pinned, changes, by name; `asked` are the values of a `Query`."""
    wanted = Query(*asked)
    yield {"status": status("Reading the image\u2026", busy=True)}
    guest = user_image(read_picture(getattr(event, "content", None)), state.pipeline())
    made = _steered(wanted, wanted.steering.welcome(guest))
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
    column.on(panel_.click, keep, ["current", "steering"], changed, **html.PRESS).success(None, js=_TAKEN)


PREVIEW = ("memory", "unknown", "status")
STEERED = (*PREVIEW, "steering", "own", "steps")
SWITCHED = ("facts", "checkpoint", "k", "tries", "share", "fade", "guidance", *STEERED[len(PREVIEW) - 1 :])


def build(column: Compose, begin: Mapping[str, Any]) -> None:
    """Add the tab.

    Its panels are memory, result, own (images), and larger, which holds an enlarged picture.
    """
    with gr.Tab("Picture", id="picture"), gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="memory-column", min_width=300):
            section("memory", "Memory: what it offers for the words")
            first = begin.get("memory", note(MEMORY_EMPTY))
            column.memory = panel(first, elem_id="memory", js_on_load=html.CLICKS)
            column.own = panel(own_panel(Steering()), elem_id="own", js_on_load=html.CLICKS)
        with gr.Column(elem_id="picture-column", min_width=300):
            section("paint", "Picture")
            first = begin.get("result", empty_picture())
            column.result = panel(
                first, elem_id="result", js_on_load=html.CLICKS + html.script("lightbox.js", "history.js")
            )
            column.larger = panel(elem_id="larger")
    asked, preview = column.whole_query, column.named(*PREVIEW)
    changes = [each.change for each in column.named("caption", "source", "comparison", "k")]
    gr.on(changes, look, asked, preview, trigger_mode="always_last", **html.BESIDE)
    for source in column.named("memory", "own", "steps"):
        column.on(source.click, click, ["current", *asked], STEERED, **html.PRESS)
    column.on(column.own.upload, add_own, asked, STEERED)
    column.on(column.own.submit, fetch, ["steering"], ["own", "status"], **html.FETCH)
    keep_from(column.result, column)
    larger = column.on(column.result.submit, enlarge, ["current", "steering"], ["larger", "status"])
    larger.success(None, js=html.pressing("larger"))
    switched = column.on(column.checkpoint.input, query.switch, ["checkpoint"], SWITCHED)
    switched.success(lambda *values: look(*values)[:2], asked, preview[:2], **html.BESIDE)
    painted = (*PREVIEW, "result", "seed", "current")
    column.on(column.generate.click, paint, asked, painted)
