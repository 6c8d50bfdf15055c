"""Parts that several tabs share: pictures with maps over them, a slider between two, their scripts.

What moves in them moves in the browser: `linked.js` and `slide.js` never ask the server.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from memdriven.pipeline.output import Retrieval
from memdriven.ui import state, strings
from memdriven.ui.html import image_uri, tag, text

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


def levels(map_: Tensor) -> np.ndarray:
    """Return a map (h, w) as bytes: 255 at its largest value; all 0 where nothing is above 0."""
    values = map_.float().clamp_min(0).numpy()
    largest = float(values.max()) if values.size else 0.0
    scaled: np.ndarray = (values / largest * 255).round() if largest > 0 else np.zeros_like(values)
    return scaled.astype(np.uint8)


def wash(map_: Tensor, kind: str, lowest: float = 0.0) -> str:
    """Return a map as a picture of one colour, clear where it is `lowest` (a data URI)."""
    alpha = levels(map_ - lowest)
    pixels = np.empty((*alpha.shape, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = COLOURS[kind], alpha
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def linked(picture: Image.Image | None, map_: Tensor, kind: str, label: str, alt: str) -> str:
    """Return a picture under a map; its spot follows the pointer over any linked figure.

    The wash reaches from the map's smallest to its largest value; the numbers are the map's own.
    """
    largest = float(map_.max()) if map_.numel() else 0.0
    base = tag("img", src=image_uri(picture), alt=alt) if picture else ""
    lowest = float(map_.min()) if map_.numel() else 0.0
    over = tag("img", src=wash(map_, kind, lowest), alt="" if picture else alt, class_="md-wash")
    frame = tag("div", base + over + tag("span", class_="md-spot"), class_="md-linked-frame")
    note = tag("span", text(label)) + tag("output", class_="md-value")
    return tag(
        "figure",
        frame + tag("figcaption", note),
        class_="md-linked",
        tabindex=0,
        data_levels=base64.b64encode(levels(map_).tobytes()).decode("ascii"),
        data_side=map_.shape[-1],
        data_largest=f"{largest:.6g}",
    )


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
