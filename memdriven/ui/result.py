"""The result as HTML: picture, stages, what was tried, what is named and seen, times, recipe; variations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict, TypeGuard

from PIL import Image

from memdriven.data.images import centre_square
from memdriven.data.vocabulary import ABSENT
from memdriven.errors import ConfigError, MemDrivenError
from memdriven.models.noise import WHOLE
from memdriven.pipeline.claims import Claim
from memdriven.pipeline.output import PipelineOutput, Tried
from memdriven.pipeline.recipe import MAX_BYTES, Recipe
from memdriven.ui.html import (
    PICTURE_ALT,
    PICTURE_BUSY,
    button,
    hint,
    image_uri,
    png_uri,
    seed_words,
    tag,
    text,
)

SIDE = 96
_URI = re.compile(r"data:image/webp;base64,[A-Za-z0-9+/]{1,20000}={0,2}")


class Moment(TypedDict):
    """A picture's recipe as JSON, and what it looks like as the data URI of a WebP."""

    recipe: str
    image: str
    star: NotRequired[bool]
    """A favourite, which newer pictures do not push out."""
    again: NotRequired[bool]
    """Shown before the page was loaded again: the history has it already, or was told to forget it."""


def moment(output: PipelineOutput, index: int = 0) -> Moment:
    """Return what to remember of a finished picture."""
    small = centre_square(output.all_stages[index][-1], SIDE)
    return {"recipe": output.recipes[index].to_json(), "image": image_uri(small)}


def is_moment(value: object) -> TypeGuard[Moment]:
    """Return whether something that a browser stored is a valid moment."""
    if not isinstance(value, dict) or set(value) - {"star", "again"} != {"recipe", "image"}:
        return False
    recipe, image = value["recipe"], value["image"]
    marks = (value.get(mark, False) for mark in ("star", "again"))
    if not (isinstance(recipe, str) and isinstance(image, str) and all(isinstance(m, bool) for m in marks)):
        return False
    if len(recipe) > MAX_BYTES or not _URI.fullmatch(image):
        return False
    try:
        Recipe.from_json(recipe)
    except MemDrivenError:
        return False
    return True


def recipe_of(current: object, wanted: str) -> Recipe:
    """Return the recipe of the picture on screen."""
    if not is_moment(current):
        raise ConfigError(wanted=wanted, found="none in this tab", fix="generate one first")
    return Recipe.from_json(current["recipe"])


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
COPY = {"data_copied": "Copied", "data_by_hand": "Selected for you to copy:"}
"""What the page says after a press that copies."""


def empty_picture() -> str:
    """Return the panel before the first picture."""
    frame = tag("div", tag("p", text("Your picture appears here.")), class_="md-frame md-empty")
    return tag("div", frame, class_="md-canvas")


def picture_panel(output: PipelineOutput, resolutions: Sequence[int], tried: Sequence[Tried] = ()) -> str:
    """Return the picture as far as it is, its stages, and, once complete, times and recipe."""
    stages, recipe = output.stages, output.recipe
    content = tag("div", tag("p", text(PICTURE_BUSY)), class_="md-frame md-busy")
    if stages:
        image = tag(
            "img",
            src=png_uri(output.png()) if output.complete else image_uri(stages[-1]),
            alt=PICTURE_ALT.format(caption=recipe.caption),
            class_="md-result",
            data_seed=recipe.seed,
            data_complete=str(output.complete).lower(),
        )
        content = tag("div", image, class_="md-frame")
    if not output.complete:
        return tag("div", content, _strip(stages, resolutions), class_="md-canvas")
    written = recipe.to_json(indent=1)
    said = "Everything that makes this picture again. It also travels inside the PNG."
    return tag(
        "div",
        content,
        tag("p", tag("q", text(recipe.caption)), class_="md-picture-words", data_of=recipe.caption),
        _strip(stages, resolutions),
        gallery(tried, output.retrieval.ids),
        *map(claims_list, output.claims[:1]),
        _actions(output),
        time_bar(output.timings),
        tag(
            "details",
            tag("summary", text("Recipe")),
            tag("p", text(said)),
            tag("pre", text(written), tabindex=0),
            button("Copy recipe", "md-action md-copy", data_copy=written, **COPY),
            class_="md-recipe",
        ),
        class_="md-canvas",
    )


def gallery(tried: Sequence[Tried], used: Sequence[str]) -> str:
    """Return the small pictures painted with each reference that was tried; those in use are ringed."""
    cells = ""
    for each in tried:
        item = each.neighbour
        label = f"Painted with No. {item.rank}: {item.caption}"
        act = {"data_act": "take", "data_id": item.id, "aria_pressed": str(item.id in used).lower()}
        image = tag("img", src=image_uri(each.picture), alt=label)
        cells += tag("li", tag("button", image, type="button", class_="md-tile", title=label, **act))
    if not cells:
        return ""
    title = text(f"Painted with each of {len(tried)} references; choose another")
    tiles = tag("ol", cells, class_="md-grid md-tried-pictures")
    return tag("div", tag("h3", title, class_="md-small-title") + tiles)


def time_bar(timings: Mapping[str, float]) -> str:
    """Return a bar of the steps' shares of time, and each step's milliseconds beneath it."""
    steps = {name: ms for name, ms in timings.items() if name != "total"}
    whole = sum(steps.values()) or 1.0
    bar = legend = ""
    for step, ms in steps.items():
        kind, name = STEPS.get(step, ("md-paint", f"paint {step.removeprefix('stage ')} px"))
        bar += tag("span", class_=f"md-step {kind}", style=f"width:{100 * ms / whole:.2f}%")
        legend += tag("li", text(name) + " " + tag("b", text(_milliseconds(ms))), class_=kind)
    total = tag("b", text(_milliseconds(timings.get("total", whole))))
    title = tag("h3", text("Time") + " " + total, class_="md-small-title")
    drawn = tag("div", bar, class_="md-times", aria_hidden="true")
    return tag("div", title, drawn, tag("ul", legend, class_="md-legend"), class_="md-timing")


def _milliseconds(ms: float) -> str:
    return f"{f'{ms:.0f}' if ms >= 10 else f'{ms:.1f}'} ms"


def _strip(stages: Sequence[Image.Image], resolutions: Sequence[int]) -> str:
    if len(resolutions) < 2:
        return ""
    cells = ""
    for place, side in enumerate(resolutions):
        image = tag("span", class_="md-blank md-busy")
        if place < len(stages):
            image = tag("img", src=image_uri(stages[place]), alt=f"Stage of {side} pixels")
        cells += tag("li", image + tag("span", text(f"{side} px")))
    return tag("ol", cells, class_="md-strip")


def _actions(output: PipelineOutput) -> str:
    """Return seed and view of a finished picture, and what can be done with it."""
    recipe, side = output.recipe, output.images[0].width
    facts = tag("span", text(seed_words(recipe.seed, len(recipe.variations))), class_="md-seed")
    if any(output.mirrored[:1]):
        facts += tag("span", text("memory mirrored"), class_="md-view")
    if output.windows and output.windows[0] != WHOLE and len(output.retrieval):
        facts += tag("span", text(f"memory cropped to {output.windows[0][2]:.0%}"), class_="md-view")
    facts += tag("span", text(f"{side} px"), class_="md-side")
    name = f"memdriven-{recipe.seed}.png"  # its address is the picture's own (lightbox.js)
    acts = tag("a", text("Download PNG"), href="#", download=name, class_="md-action")
    for times in LARGER:
        acts += button(
            f"\u00d7{times}",
            data_times=times,
            title=f"Download at {times * side} px, smoothly enlarged (Lanczos); its recipe stays inside",
            aria_label=f"Download enlarged {times} times",
        )
    acts += button("Copy picture", data_copy_picture=True) + button("Enlarge", data_large=True)
    acts += button(
        "\u2606 Favourite",
        data_act="star",
        data_event="like",
        title="Favourites stay in the History when newer pictures push the others out",
    )
    acts += button("Keep this seed", data_act="keep")
    acts += button("Hold the view", data_act="hold", title="Other seeds then change z alone")
    acts += button("Vary this picture", data_press="#make-near", data_tab="diversity")
    acts += button("Compare references", data_press="#compare-run", data_tab="compare")
    acts += button("Is it a copy?", data_press="#copy-run", data_tab="copies")
    if not recipe.private:
        acts += button("Copy link", data_link=recipe.to_url(), **COPY)
    panel = tag("div", facts, class_="md-actions") + tag("div", acts, class_="md-actions")
    if recipe.private:
        panel += hint("Made with your own image: only this tab, while it is open, can make it again.")
    return panel


def claims_list(claims: Sequence[Claim]) -> str:
    """Return what the words name, each seen in the picture or not; nothing where nothing is named."""
    said = {kind: [each for each in claims if each.said == kind] for kind in ("named", "implied", "denied")}
    named, panel = said["named"], ""
    if named:
        title = f"From your words, visible: {sum(claim.holds for claim in named)} of {len(named)}"
        panel += tag("h3", text(title), class_="md-small-title")
        panel += tag("ul", *map(_claim, named), class_="md-claims")
        panel += hint(
            "Judged by the model's own checker, which also picked the reference. A hint, not proof."
        )
    if said["denied"]:
        things = ", ".join(map(_thing, said["denied"]))
        panel += hint(f"This model cannot leave things out, and may paint what your words deny: {things}.")
    if named and said["implied"]:
        things = ", ".join(map(_thing, said["implied"]))
        panel += hint(f"The model also expects, though no word says so: {things}.")
    return tag("div", panel) if panel else ""


def _claim(claim: Claim) -> str:
    mark, label, seen = "\u2713", "seen", ""
    if not claim.holds:
        mark, label = "\u2717", "not seen"
        seen = "there is none" if claim.seen in ABSENT else f"looks {_value(claim.seen)}"
    return tag(
        "li",
        tag("span", text(mark), role="img", aria_label=label) + text(_thing(claim)),
        " " + tag("i", text(seen)) if seen else "",
        class_="md-holds" if claim.holds else None,
        title=f"probability {100 * claim.probability:.0f} %",
    )


def _thing(claim: Claim) -> str:
    """Return an attribute and its value in words: "crown: red", or "crest" where a thing is denied."""
    name = CLAIM_NAMES.get(claim.attribute, claim.attribute.replace("_", " "))
    return f"{name}: {_value(claim.wanted)}" if claim.wanted else name


def _value(value: str) -> str:
    return "no" if value in ABSENT else value.replace("_", " ")
