"""One finished picture as a browser keeps it: its recipe and a small image, both plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NotRequired, TypedDict, TypeGuard

from memdriven.data.images import centre_square
from memdriven.errors import MemDrivenError
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.recipe import MAX_BYTES, Recipe
from memdriven.ui.html import image_uri

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
