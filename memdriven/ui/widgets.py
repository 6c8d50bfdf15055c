"""Parts that several tabs share: maps to lay over pictures, a slider between two, their scripts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from memdriven.pipeline.output import Retrieval
from memdriven.ui import state, strings
from memdriven.ui.html import image_uri, png_uri, tag, text

COLOURS = {"memory": (214, 130, 0), "text": (29, 95, 141), "noise": (122, 68, 190)}
"""Washes over pictures; strong enough on any of them."""


def event_options() -> dict[str, Any]:
    """Return how Gradio treats a press of a tab's button: one at a time, through the queue."""
    return {
        "trigger_mode": "once",
        "show_progress": "hidden",
        "concurrency_id": state.CONCURRENCY_ID,
        "concurrency_limit": 1,
        "api_visibility": "private",
    }


def script(*names: str) -> str:
    """Return files of the page's JavaScript, as `js_on_load` takes them."""
    folder = files("memdriven.ui")
    return "\n".join(f"{{{folder.joinpath(name).read_text('utf-8')}}}" for name in names)


def levels(map_: Tensor, largest: float | None = None) -> np.ndarray:
    """Return a map (h, w) as bytes: 255 at `largest` (its own if not given), 0 below 0."""
    values = map_.float().clamp_min(0).numpy()
    if largest is None:
        largest = float(values.max()) if values.size else 0.0
    scaled: np.ndarray = (
        (values / largest * 255).round().clip(0, 255) if largest > 0 else np.zeros_like(values)
    )
    return scaled.astype(np.uint8)


def wash(map_: Tensor, kind: str, largest: float | None = None) -> str:
    """Return a map as a picture of one colour, clear where it is 0 (a data URI)."""
    alpha = levels(map_, largest)
    return washed(np.full((*alpha.shape, 3), COLOURS[kind], np.uint8), alpha)


def washed(colours: np.ndarray, alpha: np.ndarray) -> str:
    """Return colours (h, w, 3) as a picture that is as strong as alpha (h, w) says (a data URI)."""
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([colours, alpha]), "RGBA").save(buffer, format="PNG")
    return png_uri(buffer.getvalue())


def slide(first: tuple[str, str], second: tuple[str, str]) -> str:
    """Return two pictures, each (address, caption), on top of each other with a slider."""
    labels = tag("span", text(first[1])) + tag("span", text(second[1]))
    return tag(
        "div",
        tag(
            "div",
            tag("img", src=second[0], alt=second[1])
            + tag("img", src=first[0], alt=first[1], class_="md-slide-top"),
            class_="md-slide-frame",
        )
        + tag("input", type="range", min=0, max=100, value=50, aria_label=strings.SLIDE_LABEL)
        + tag("div", labels, class_="md-slide-labels"),
        class_="md-slide",
    )


def thumbs(retrieval: Retrieval | None) -> str:
    """Return the neighbours as a row of small pictures; a word where there are none."""
    if not retrieval:
        return tag("p", text(strings.NO_MEMORY), class_="md-no-memory")
    images = "".join(
        tag(
            "li",
            tag(
                "img",
                src=image_uri(each.image),
                title=each.caption,
                alt=strings.CARD_ALT.format(rank=each.rank, caption=each.caption),
            ),
        )
        for each in retrieval
    )
    return tag("ul", images, class_="md-thumbs")


def figure(picture: str, alt: str, caption: str = "", **attributes: object) -> str:
    """Return a picture (a data URI) with a caption that is safe HTML already."""
    content = tag("img", src=picture, alt=alt)
    if caption:
        content += tag("figcaption", caption)
    return tag("figure", content, **{"class_": "md-figure", **attributes})


def changed_words(changes: Sequence[tuple[str, str]]) -> str:
    """Return words with those gone struck through and those new marked."""
    names = {"gone": "del", "new": "ins", "same": "span"}
    return " ".join(tag(names[kind], text(word)) for kind, word in changes)
