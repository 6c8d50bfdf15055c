"""The finished pictures that a browser keeps, a recipe and a small image each, and their list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NotRequired, TypedDict, TypeGuard

from memdriven.data.images import centre_square
from memdriven.errors import ConfigError, MemDrivenError
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.recipe import MAX_BYTES, Recipe
from memdriven.ui import cards
from memdriven.ui.html import PICTURE_ALT, button, hint, image_uri, seed_words, tag, text

ACTIONS = {
    "inspect": ("Inspect", "Look at its settings; mine stay as they are"),
    "remix": ("Remix", "Take everything but the noise"),
    "restore": ("Restore", "Take everything and show this picture"),
    "similar": (
        "Paint something similar",
        "The same settings and seed, with the model and references that are here",
    ),
    "forget": ("Forget", None),
}
"""What can be done with a past picture: label and hint."""

MOST = 50
"""Pictures that a browser's history holds, its favourites aside."""
FAVOURITES = 100
"""Favourites that it holds beside them."""
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


def history(stored: object) -> list[Moment]:
    """Return the valid part of what a browser stored, newest first, at most `MOST` and `FAVOURITES`."""
    if not isinstance(stored, Sequence) or isinstance(stored, str):
        return []
    return _limited([each for each in stored[: MOST + FAVOURITES] if is_moment(each)])


def remember(current: object, stored: object) -> list[Moment]:
    """Return the history with one more picture in front; the same recipe moves up."""
    known = history(stored)
    if not is_moment(current):
        return known
    new: Moment = current
    for each in known:
        if each["recipe"] == new["recipe"]:
            new = each
    return _limited([new, *(each for each in known if each["recipe"] != new["recipe"])])


def _limited(moments: Sequence[Moment]) -> list[Moment]:
    left = {True: FAVOURITES, False: MOST}
    kept = []
    for each in moments:
        star = each.get("star", False)
        if left[star]:
            left[star] -= 1
            kept.append(each)
    return kept


def panel_html(stored: object) -> str:
    """Return the list, newest first, each with its actions."""
    moments = history(stored)
    if not moments:
        return cards.note("Every finished picture is listed here. The list stays in this browser.")
    items = "".join(_item(place, each) for place, each in enumerate(moments))
    tools = [
        button(label, "md-action", data_export=kind)
        for kind, label in (("sheet", "Contact sheet"), ("zip", "ZIP"))
    ]
    if any(each.get("star") for each in moments):
        tools.append(button("Select favourites", "md-action", data_tick="star"))
    tools.append(button("Forget all", "md-link", data_act="clear"))
    note = hint(f"The last {MOST} pictures and all favourites, newest first. Select some, or export all.")
    actions = tag("div", "".join(tools), class_="md-actions")
    return note + actions + tag("ol", items, class_="md-history")


def _item(place: int, each: Moment) -> str:
    recipe, star = Recipe.from_json(each["recipe"]), bool(each.get("star"))
    label = f"Choose picture {place + 1}: {recipe.caption}"
    box = tag("input", type="checkbox", value=place, aria_label=label, data_star=star)
    picture = tag(
        "img", src=each["image"], width=72, height=72, alt=PICTURE_ALT.format(caption=recipe.caption)
    )
    seen = tag(
        "button",
        picture,
        type="button",
        class_="md-history-picture",
        data_act="inspect",
        data_place=place,
        title=ACTIONS["inspect"][1],
    )
    seed = seed_words(recipe.seed, len(recipe.variations))
    facts = (
        tag("p", text(recipe.caption), class_="md-history-words")
        + tag("span", text(f"No. {place + 1}"), class_="md-history-number")
        + tag("span", text(seed), class_="md-seed")
    )
    buttons = "".join(
        button(
            name,
            "md-steer-button",
            data_act=kind,
            data_place=place,
            title=what,
            aria_label=f"{name}: {recipe.caption}",
        )
        for kind, (name, what) in ACTIONS.items()
        if kind != "similar"
    )
    buttons += button(
        "\u2605 Favourite" if star else "\u2606 Favourite",
        "md-steer-button",
        data_act="star",
        data_place=place,
        data_focus=f"star {place}",
        aria_pressed=str(star).lower(),
        title="Favourites stay when newer pictures push the others out",
        aria_label=f"Favourite: {recipe.caption}",
    )
    controls = tag("div", buttons, class_="md-steer")
    return tag("li", box + seen + tag("div", facts + controls), class_="md-moment")
