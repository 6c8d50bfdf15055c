"""Learning curves as inline SVG whose colours follow the page, light or dark.

Matplotlib draws with stand-in colours; they are exchanged for the page's CSS variables. Names of
runs never reach matplotlib, whose labels have a markup of their own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from memdriven.evaluation.report.gather import Curve

PANELS: dict[str, str] = {
    "d_adversarial": "D: adversarial loss",
    "g_adversarial": "G: adversarial loss",
    "d_accuracy": "D: share right",
    "damsm": "G: DAMSM loss",
    "reconstruction": "G: reconstruction",
    "kl": "G: KL of the conditioning",
    "r1": "D: R1",
    "loss": "DAMSM: loss",
    "heads_recall@10": "DAMSM: Recall@10, v",
    "pixels_recall@10": "DAMSM: Recall@10, pixels",
}
"""Logged number -> title of its panel, in order; others are not drawn."""
COLOURS = 8
"""CSS variables --line-0, --line-1, ...; more runs than that share them."""
_INK, _FAINT = "#010203", "#040506"
_LINES = [f"#0708{number:02x}" for number in range(COLOURS)]


def panels(curves: Sequence[Curve]) -> list[str]:
    """Return one SVG for each logged number that at least one run has two points of."""
    drawn = []
    for key, title in PANELS.items():
        lines = [
            (place, curve.points[key])
            for place, curve in enumerate(curves)
            if len(curve.points.get(key, ())) > 1
        ]
        if lines:
            thousands = all(curves[place].x == "images" for place, _ in lines)
            drawn.append(_panel(key, title, lines, "thousand images" if thousands else "step"))
    return drawn


def _panel(key: str, title: str, lines: Sequence[tuple[int, list[tuple[float, float]]]], axis: str) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": key,
        "font.family": "sans-serif",
        "font.size": 9,
        "path.simplify": True,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(3.6, 2.3), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        scale = 1000 if axis == "thousand images" else 1
        for place, points in lines:
            axes.plot(
                [x / scale for x, _ in points],
                [y for _, y in points],
                linewidth=1.4,
                color=_LINES[place % COLOURS],
                solid_joinstyle="round",
            )
        axes.set_title(title, loc="left", fontsize=10, color=_INK)
        axes.set_xlabel(axis, color=_INK)
        axes.tick_params(colors=_INK, length=0)
        axes.grid(axis="y", color=_FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(_FAINT)
        figure.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _inline(buffer.getvalue(), title)


def _inline(svg: str, title: str) -> str:
    """Keep the <svg> element alone and let its colours be the page's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(_INK, "var(--quiet)").replace(_FAINT, "var(--line)")
    for number, colour in enumerate(_LINES):
        svg = svg.replace(colour, f"var(--line-{number})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
