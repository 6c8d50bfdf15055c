"""Parts that several tabs share: maps over pictures, a slider between two, charts, their scripts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from memdriven.pipeline.output import Retrieval
from memdriven.ui import state, strings
from memdriven.ui.html import image_uri, png_uri, tag, text

COLOURS = {"memory": (214, 130, 0), "text": (29, 95, 141), "noise": (122, 68, 190)}
"""Washes over pictures; strong enough on any of them."""
BINS = 72
"""Bars of the histogram of cosines, up to 1."""


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


# ----------------------------------------------------------------------------------------------------
# Charts


def histogram(
    cosines: Tensor, marks: Sequence[float], others: Sequence[float] = (), *, small: bool = False
) -> str:
    """Return how many items have which cosine with the caption, and where the references lie.

    Args:
        cosines: of each item, (n,).
        marks: the references' own.
        others: those of references that were tried and not kept.
        small: leave out the axis.
    """
    low = min(0.0, float(cosines.min()))
    counts = torch.histc(cosines, BINS, low, 1.0).tolist()
    width, height, most = 720, 150, max(counts) or 1

    def x(value: float) -> float:
        return round((value - low) / (1 - low) * width, 1)

    step = width / BINS
    bars = "".join(
        tag(
            "rect",
            x=round(place * step + 0.5, 1),
            y=round(height - up, 1),
            width=round(step - 1, 1),
            height=round(up, 1),
        )
        for place, up in enumerate(count and max(2.0, count / most * (height - 24)) for count in counts)
        if up
    )
    lines = "".join(
        tag("line", x1=x(each), x2=x(each), y1=top, y2=height, class_=name)
        for name, values, top in (("md-other", others, height - 26), ("md-mark-at", marks, 4))
        for each in values
    )
    told = f"Histogram of {len(cosines):,} cosines from {low:.1f} to 1; references in use at {_listed(marks)}"
    axis = ""
    if not small:
        ticks = [each / 4 for each in range(-4, 5) if each / 4 >= low]
        axis = "".join(
            tag("text", f"{each:g}", x=x(each), y=height + 18, text_anchor="middle") for each in ticks
        )
        axis += "".join(
            tag("text", f"{each:.2f}", x=x(each) - 6, y=16, text_anchor="end", class_="md-mark-name")
            for each in marks[:1]
        )
        axis += tag("text", "cosine with s", x=0, y=16)
    return tag(
        "svg",
        bars + lines + axis,
        class_="md-histogram",
        viewBox=f"-12 0 {width + 24} {height + (0 if small else 24)}",
        role=None if small else "img",
        aria_label=None if small else told,
        aria_hidden="true" if small else None,
        preserveAspectRatio="none" if small else None,
    )


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{each:.2f}" for each in values) or "none"


def bars(rows: Sequence[tuple[str, float]], largest: float, form: str = "{:.2f}") -> str:
    """Return named numbers as bars; `largest` fills one."""
    cells = "".join(
        tag(
            "li",
            tag("span", text(name))
            + tag(
                "span",
                tag("span", style=f"width:{100 * value / largest if largest else 0:.1f}%"),
                class_="md-bar",
            )
            + tag("span", form.format(value), class_="md-number"),
        )
        for name, value in rows
    )
    return tag("ol", cells, class_="md-bars")


def barcode(values: Tensor, kind: str) -> str:
    """Return numbers (n,) as a strip one px high: coloured above 0, grey below."""
    strong = levels(values[None].abs())
    colours = np.where((values[None] > 0).numpy()[..., None], COLOURS[kind], (128, 122, 112)).astype(np.uint8)
    return tag("img", src=washed(colours, strong), alt="", class_="md-barcode")


def image(picture: Image.Image, alt: str = "") -> str:
    """Return a picture as an image of the page."""
    return tag("img", src=image_uri(picture), alt=alt)


def over(picture: Image.Image, map_: str) -> str:
    """Return a picture under a map (a data URI)."""
    return tag("span", image(picture) + tag("img", src=map_, alt="", class_="md-wash"), class_="md-over")
