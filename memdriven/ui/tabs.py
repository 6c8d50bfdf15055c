"""What the further tabs have in common: handlers that explain themselves, rows of pictures, and charts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from memdriven.errors import MemDrivenError
from memdriven.ui import gr
from memdriven.ui.html import COLOURS, failure, hint, image_uri, levels, panel, tag, text, washed

Given = ParamSpec("Given")
BINS = 72
"""Bars of the histogram of cosines, up to 1."""


def explained(*instead: object) -> Callable[[Callable[Given, Iterator[Any]]], Callable[Given, Iterator[Any]]]:
    """Let a handler, which yields the status last, end an error with `instead` and what went wrong."""

    def decorate(handler: Callable[Given, Iterator[Any]]) -> Callable[Given, Iterator[Any]]:
        @wraps(handler)
        def explains(*given: Given.args, **named: Given.kwargs) -> Iterator[Any]:
            try:
                yield from handler(*given, **named)
            except MemDrivenError as error:
                yield (*instead, failure(error))

        return explains

    return decorate


def run_button(label: str, name: str, **options: Any) -> gr.Button:
    """Add the button that starts a tab's work; Ctrl + Enter presses it, too."""
    return gr.Button(label, variant="primary", elem_id=name, elem_classes="md-run", **options)


def slider(
    name: str, label: str, low: float, high: float, value: float, step: float = 1, **more: Any
) -> gr.Slider:
    """Add a slider without a button that sets it back."""
    return gr.Slider(
        low, high, value, step=step, label=label, elem_id=name, buttons=[], min_width=140, **more
    )


def explain(words: str) -> None:
    """Add a quiet line that explains."""
    panel(hint(words))


def table(title: str, heads: Iterable[str], rows: Iterable[str], **attributes: object) -> str:
    """Return rows (`tr`) under a title and heads, all of them safe HTML already."""
    head = tag("thead", tag("tr", *(tag("th", each, scope="col") for each in heads)))
    return tag("table", tag("caption", title), head, tag("tbody", *rows), **attributes)


def row(kind: str, cells: Iterable[str]) -> str:
    """Return cells side by side."""
    return tag("ol", *(tag("li", each) for each in cells), class_=kind)


def image(picture: Image.Image, alt: str = "") -> str:
    """Return a picture as an image of the page."""
    return tag("img", src=image_uri(picture), alt=alt)


def over(picture: Image.Image, map_: str) -> str:
    """Return a picture under a map (a data URI)."""
    return tag("span", image(picture), tag("img", src=map_, alt="", class_="md-wash"), class_="md-over")


def bars(rows: Sequence[tuple[str, float]], largest: float, form: str = "{:.2f}") -> str:
    """Return named numbers as bars; `largest` fills one."""

    def bar(value: float) -> str:
        return tag("span", style=f"width:{100 * value / largest if largest else 0:.1f}%")

    return row(
        "md-bars",
        (
            tag("span", text(name))
            + tag("span", bar(value), class_="md-bar")
            + tag("span", form.format(value), class_="md-number")
            for name, value in rows
        ),
    )


def barcode(values: Tensor, kind: str) -> str:
    """Return numbers (n,) as a strip one px high: coloured above 0, grey below."""
    strong = levels(values[None].abs())
    colours = np.where((values[None] > 0).numpy()[..., None], COLOURS[kind], (128, 122, 112)).astype(np.uint8)
    return tag("img", src=washed(colours, strong), alt="", class_="md-barcode")


def histogram(
    cosines: Tensor, marks: Sequence[float], others: Sequence[float] = (), *, small: bool = False
) -> str:
    """Return how many items have which of the cosines (n,) with the caption, and where the references lie.

    `marks` are those of the references in use, `others` of those that were tried; a small one has no axis.
    """
    low = min(0.0, float(cosines.min()))
    counts = torch.histc(cosines, BINS, low, 1.0).tolist()
    width, height, most = 720, 150, max(counts) or 1
    step = width / BINS

    def x(value: float) -> float:
        return round((value - low) / (1 - low) * width, 1)

    drawn = []
    for place, count in enumerate(counts):
        if count:
            up = max(2.0, count / most * (height - 24))
            box = {"x": place * step + 0.5, "y": height - up, "width": step - 1, "height": up}
            drawn.append(tag("rect", **{name: round(value, 1) for name, value in box.items()}))
    for name, values, top in (("md-other", others, height - 26), ("md-mark-at", marks, 4)):
        drawn += [tag("line", x1=x(each), x2=x(each), y1=top, y2=height, class_=name) for each in values]
    if small:
        return tag(
            "svg",
            *drawn,
            class_="md-histogram",
            viewBox=f"-12 0 {width + 24} {height}",
            aria_hidden="true",
            preserveAspectRatio="none",
        )
    ticks = [each / 4 for each in range(-4, 5) if each / 4 >= low]
    drawn += [tag("text", f"{each:g}", x=x(each), y=height + 18, text_anchor="middle") for each in ticks]
    for each in marks[:1]:
        at = {"x": x(each) - 6, "y": 16}
        drawn.append(tag("text", f"{each:.2f}", **at, text_anchor="end", class_="md-mark-name"))
    drawn.append(tag("text", "cosine with s", x=0, y=16))
    used = ", ".join(f"{each:.2f}" for each in marks) or "none"
    told = f"Histogram of {len(cosines):,} cosines from {low:.1f} to 1; references in use at {used}"
    view = f"-12 0 {width + 24} {height + 24}"
    return tag("svg", *drawn, class_="md-histogram", viewBox=view, role="img", aria_label=told)
