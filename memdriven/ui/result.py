"""The result as HTML: picture, stages, what was tried, what is named and seen, times, recipe; variations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict, TypeGuard

from PIL import Image

from memdriven.data.attributes import ABSENT
from memdriven.data.images import centre_square
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


def moment(output: PipelineOutput, index: int = 0) -> Moment:
    """Return what to remember of a finished picture."""
    small = centre_square(output.all_stages[index][-1], SIDE)
    return {"recipe": output.recipes[index].to_json(), "image": image_uri(small)}


def is_moment(value: object) -> TypeGuard[Moment]:
    """Return whether something that a browser stored is a valid moment."""
    if not isinstance(value, dict) or set(value) - {"star"} != {"recipe", "image"}:
        return False
    if not isinstance(value.get("star", False), bool):
        return False
    recipe, image = value["recipe"], value["image"]
    if not isinstance(recipe, str) or not isinstance(image, str) or len(recipe) > MAX_BYTES:
        return False
    if not _URI.fullmatch(image):
        return False
    try:
        Recipe.from_json(recipe)
    except MemDrivenError:
        return False
    return True


def recipe_of(current: object, wanted: str) -> Recipe:
    """Return the recipe of the picture on screen.

    Raises:
        ConfigError: there is none.
    """
    if not is_moment(current):
        raise ConfigError(wanted=wanted, found="none in this tab", fix="generate one first")
    return Recipe.from_json(current["recipe"])


STAGE_LABEL = "{side} px"
STEP_NAMES = {
    "encode": "read words",
    "retrieve": "search memory",
    "features": "recall features",
    "choose": "try and choose",
    "check": "look for what is named",
    "total": "total",
}
RECIPE_COPIED = "Copied"
BY_HAND = "Selected for you to copy:"
CLAIM = "{name}: {value}"
CLAIM_NAMES = {"beak_color": "beak", "body_plan": "kind", "eye_ring": "eye ring", "wing_bars": "wing bars"}
CLAIM_MARKS = ("\u2713", "\u2717")

LARGER = (2, 4)
"""Times that a picture can be enlarged for its download."""


def empty_picture() -> str:
    """Return the panel before the first picture."""
    frame = tag("div", tag("p", text("Your picture appears here.")), class_="md-frame md-empty")
    return tag("div", frame, class_="md-canvas")


def picture_panel(output: PipelineOutput, resolutions: Sequence[int], tried: Sequence[Tried] = ()) -> str:
    """Return the picture as far as it is, its stages, and, once complete, times and recipe."""
    stages = output.stages
    if not stages:
        frame = tag("div", tag("p", text(PICTURE_BUSY)), class_="md-frame md-busy")
        return tag("div", frame + _strip([], resolutions), class_="md-canvas")
    uri = png_uri(output.png()) if output.complete else image_uri(stages[-1])
    alt = PICTURE_ALT.format(caption=output.recipe.caption)
    image = tag(
        "img",
        src=uri,
        alt=alt,
        class_="md-result",
        data_seed=output.recipe.seed,
        data_complete=str(output.complete).lower(),
    )
    parts = [tag("div", image, class_="md-frame"), _strip(stages, resolutions)]
    if output.complete:
        words = output.recipe.caption
        parts.insert(1, tag("p", tag("q", text(words)), class_="md-picture-words", data_of=words))
        parts += [
            gallery(tried, output.retrieval.ids),
            *map(claims_list, output.claims[:1]),
            _actions(output, uri),
            time_bar(output.timings),
            _recipe(output),
        ]
    return tag("div", "".join(parts), class_="md-canvas")


def gallery(tried: Sequence[Tried], used: Sequence[str]) -> str:
    """Return the small pictures painted with each reference that was tried; those in use are ringed."""
    cells = []
    for each in tried:
        item = each.neighbour
        label = f"Painted with No. {item.rank}: {item.caption}"
        button = tag(
            "button",
            tag("img", src=image_uri(each.picture), alt=label),
            type="button",
            class_="md-tile",
            data_act="take",
            data_id=item.id,
            title=label,
            aria_pressed=str(item.id in used).lower(),
        )
        cells.append(tag("li", button))
    if not cells:
        return ""
    title = f"Painted with each of {len(cells)} references; choose another"
    return tag(
        "div",
        tag("h3", text(title), class_="md-small-title")
        + tag("ol", "".join(cells), class_="md-grid md-tried-pictures"),
    )


def time_bar(timings: Mapping[str, float]) -> str:
    """Return a bar of the steps' shares of time, and each step's milliseconds beneath it."""
    steps = {name: ms for name, ms in timings.items() if name != "total"}
    whole = sum(steps.values()) or 1.0
    bar, legend = [], []
    for name, ms in steps.items():
        kind = _step_kind(name)
        bar.append(tag("span", class_=f"md-step {kind}", style=f"width:{100 * ms / whole:.2f}%"))
        label = text(_step_name(name)) + " " + tag("b", text(_milliseconds(ms)))
        legend.append(tag("li", label, class_=kind))
    total = timings.get("total", whole)
    title = text("Time") + " " + tag("b", text(_milliseconds(total)))
    return tag(
        "div",
        tag("h3", title, class_="md-small-title")
        + tag("div", "".join(bar), class_="md-times", aria_hidden="true")
        + tag("ul", "".join(legend), class_="md-legend"),
        class_="md-timing",
    )


def _strip(stages: Sequence[Image.Image], resolutions: Sequence[int]) -> str:
    if len(resolutions) < 2:
        return ""
    cells = []
    for place, side in enumerate(resolutions):
        label = tag("span", text(STAGE_LABEL.format(side=side)))
        if place < len(stages):
            image = tag("img", src=image_uri(stages[place]), alt=f"Stage of {side} pixels")
            cells.append(tag("li", image + label))
        else:
            cells.append(tag("li", tag("span", class_="md-blank md-busy") + label))
    return tag("ol", "".join(cells), class_="md-strip")


def _actions(output: PipelineOutput, uri: str) -> str:
    name = f"memdriven-{output.recipe.seed}.png"
    link = tag("a", text("Download PNG"), href=uri, download=name, class_="md-action")
    side_now = output.images[0].width
    link += "".join(
        _action(
            f"\u00d7{times}",
            data_times=times,
            title=f"Download at {times * side_now} px, smoothly enlarged (Lanczos); its recipe stays inside",
            aria_label=f"Download enlarged {times} times",
        )
        for times in LARGER
    )
    link += _action("Copy picture", data_copy_picture=True) + _action("Enlarge", data_large=True)
    recipe = output.recipe
    seed = tag("span", text(seed_words(recipe.seed, len(recipe.variations))), class_="md-seed")
    if any(output.mirrored[:1]):
        seed += tag("span", text("memory mirrored"), class_="md-view")
    if output.windows and output.windows[0] != WHOLE and len(output.retrieval):
        seed += tag("span", text(f"memory cropped to {output.windows[0][2]:.0%}"), class_="md-view")
    side = text(STAGE_LABEL.format(side=output.images[0].width))
    keep = _action("Keep this seed", data_act="keep")
    hold = _action("Hold the view", data_act="hold", title="Other seeds then change z alone")
    near = _action("Vary this picture", data_press="#make-near", data_tab="diversity")
    others = _action("Compare references", data_press="#compare-run", data_tab="compare")
    check = _action("Is it a copy?", data_press="#copy-run", data_tab="copies")
    share = (
        ""
        if recipe.private
        else _action("Copy link", data_link=recipe.to_url(), data_copied=RECIPE_COPIED, data_by_hand=BY_HAND)
    )
    note = (
        hint("Made with your own image: only this tab, while it is open, can make it again.")
        if recipe.private
        else ""
    )
    facts = tag("div", seed + tag("span", side, class_="md-side"), class_="md-actions")
    return facts + tag("div", link + keep + hold + near + others + check + share, class_="md-actions") + note


def _action(label: str, **data: object) -> str:
    return button(label, "md-action", **data)


def _recipe(output: PipelineOutput) -> str:
    content = output.recipe.to_json(indent=1)
    copy = button(
        "Copy recipe", "md-action md-copy", data_copy=content, data_copied=RECIPE_COPIED, data_by_hand=BY_HAND
    )
    return tag(
        "details",
        tag("summary", text("Recipe"))
        + tag("p", text("Everything that makes this picture again. It also travels inside the PNG."))
        + tag("pre", text(content), tabindex=0)
        + copy,
        class_="md-recipe",
    )


def _step_kind(name: str) -> str:
    if name == "encode":
        return "md-text"
    return "md-memory" if name in ("retrieve", "choose", "features") else "md-paint"


def _step_name(name: str) -> str:
    if name.startswith("stage "):
        return f"paint {name.removeprefix('stage ')} px"
    return STEP_NAMES.get(name, name)


def _milliseconds(ms: float) -> str:
    return f"{f'{ms:.0f}' if ms >= 10 else f'{ms:.1f}'} ms"


def claims_list(claims: Sequence[Claim]) -> str:
    """Return the list, or nothing where nothing is named."""
    named, implied, denied = (
        [claim for claim in claims if claim.said == kind] for kind in ("named", "implied", "denied")
    )
    parts = []
    if named:
        title = f"From your words, visible: {sum(claim.holds for claim in named)} of {len(named)}"
        parts += [
            tag("h3", text(title), class_="md-small-title"),
            tag("ul", "".join(map(_entry, named)), class_="md-claims"),
            hint("Judged by the model's own checker, which also picked the reference. A hint, not proof."),
        ]
    if denied:
        things = ", ".join(_thing(claim) for claim in denied)
        parts.append(
            hint(f"This model cannot leave things out, and may paint what your words deny: {things}.")
        )
    if named and implied:
        things = ", ".join(_thing(claim) for claim in implied)
        parts.append(hint(f"The model also expects, though no word says so: {things}."))
    return tag("div", "".join(parts)) if parts else ""


def _entry(claim: Claim) -> str:
    name = claim.attribute.replace("_", " ")
    name = CLAIM_NAMES.get(claim.attribute, name)
    wanted = CLAIM.format(name=name, value=_said(claim.wanted))
    hint = f"probability {100 * claim.probability:.0f} %"
    if claim.holds:
        mark = tag("span", text(CLAIM_MARKS[0]), role="img", aria_label="seen")
        return tag("li", mark + text(wanted), class_="md-holds", title=hint)
    mark = tag("span", text(CLAIM_MARKS[1]), role="img", aria_label="not seen")
    seen = f"looks {_said(claim.seen)}"
    if claim.seen in ABSENT:
        seen = "there is none"
    return tag("li", mark + text(wanted + " ") + tag("i", text(seen)), title=hint)


def _thing(claim: Claim) -> str:
    """Return an attribute and its value in words: "crown: red", or "crest" where a thing is denied."""
    name = CLAIM_NAMES.get(claim.attribute, claim.attribute.replace("_", " "))
    return CLAIM.format(name=name, value=_said(claim.wanted)) if claim.wanted else name


def _said(value: str) -> str:
    return "no" if value in ABSENT else value.replace("_", " ")
