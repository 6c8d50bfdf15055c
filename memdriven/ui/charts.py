"""Charts and maps over pictures: a histogram, bars, a strip of numbers, a picture under a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from memdriven.ui.html import COLOURS, image_uri, levels, tag, text, washed

BINS = 72
"""Bars of the histogram of cosines, up to 1."""


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
