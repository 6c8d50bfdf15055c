"""The Morph tab: from one picture to another, computed once, then scrubbed in the browser."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from PIL import Image

from memdriven.errors import MemDrivenError
from memdriven.explore import morph
from memdriven.explore.compare import difference
from memdriven.pipeline.output import Retrieval
from memdriven.ui import gr, references, state
from memdriven.ui.html import (
    PICTURE_BUSY,
    event_options,
    failure,
    hint,
    image_uri,
    panel,
    script,
    section,
    status,
    tag,
    text,
    thumbs,
)
from memdriven.ui.query import Compose
from memdriven.ui.references import note

EMPTY = "The pictures between two appear here, to move through by hand."
FORMAT_NAMES = {"GIF": "GIF", "WEBP": "animated WebP"}

DEFAULT_FRAMES, FEWEST = 13, 5
_MOVES = "(words, moving) => words.trim() ? [...new Set([...moving, 'words', 'memory'])] : moving"
"""Words that are typed for the end are meant to be reached, with their references."""
MOVING = ("words", "memory", "z", "mirror and window")


def run(
    words: str, seed: str, moving: Sequence[str] | None, count: float, *query: object
) -> Iterator[tuple[str, str]]:
    """Yield the newest picture while they are made, at last all of them; and the status."""
    pipe = state.pipeline()
    moving = list(moving or ())
    try:
        wanted = references.read(*query)
        other = words if isinstance(words, str) and words.strip() else wanted.caption
        # The far end is what the left column would give for these words and this seed.
        far = references.read(other, *query[1:4], seed, *query[5:])
        start, end = wanted, far
        first, last = pipe.prepare(start).retrieval, pipe.prepare(end).retrieval
        made: list[Image.Image] = []
        total = _count(count)
        for picture in morph.frames(pipe, start, end, moving, total):
            made.append(picture)
            line = f"Painting: {len(made)} of {total} pictures."
            if len(made) < total:
                yield _making(picture, len(made) / total), status(line, busy=True)
        # What does not move is at the far end as it is at the near one.
        words_there = (last if "words" in moving else first).caption
        there = replace(last if "memory" in moving else first, caption=words_there)
        ends = ((first, wanted.seeds[0]), (there, far.seeds[0]))
        yield (
            morph_html(made, ends, moving),
            status(f"{total} pictures. Move through them with the slider or the arrow keys."),
        )
    except MemDrivenError as error:
        yield note(EMPTY), failure(error)


def morph_html(
    pictures: Sequence[Image.Image], ends: Sequence[tuple[Retrieval, int]], moving: Sequence[str]
) -> str:
    """Return all pictures on one spot with a slider, how much each step changes, and exports."""
    images = "".join(
        tag(
            "img",
            src=image_uri(picture),
            alt=f"Picture {number} on the way",
            data_shown=str(number == 1).lower(),
        )
        for number, picture in enumerate(pictures, start=1)
    )
    slider = tag(
        "input",
        type="range",
        min=0,
        max=len(pictures) - 1,
        value=0,
        aria_label="Place between the first and the last picture",
    )
    play = tag("button", text("Play"), type="button", class_="md-action md-play", aria_pressed="false")
    links = "".join(_link(pictures, kind) for kind in morph.FORMATS)
    sides = "".join(_end(retrieval, seed, moving) for retrieval, seed in ends)
    return tag(
        "div",
        tag("div", images, class_="md-film")
        + tag("div", play + slider, class_="md-scrub")
        + _steps(pictures)
        + tag("div", sides, class_="md-ends")
        + tag("div", links, class_="md-actions"),
        class_="md-morph",
    )


def _steps(pictures: Sequence[Image.Image]) -> str:
    """Return a bar for each step, as high as the pictures differ across it."""
    gaps = [float(difference(a, b).mean()) for a, b in pairwise(pictures)]
    highest = max(gaps) or 1.0
    bars = "".join(tag("span", style=f"height:{100 * gap / highest:.0f}%") for gap in gaps)
    label = ("Change per step ({sum} in total).").format(sum=f"{100 * math.fsum(gaps):.1f} %")
    return tag("div", tag("div", bars, class_="md-morph-steps", aria_hidden="true") + hint(label))


def _end(retrieval: Retrieval, seed: int, moving: Sequence[str]) -> str:
    parts = [
        tag("q", text(retrieval.caption), class_="md-quote" + _still("words", moving)),
        tag("div", thumbs(retrieval), class_="md-end-memory" + _still("memory", moving)),
        tag("span", text(f"seed {seed}"), class_="md-seed" + _still("z", moving)),
    ]
    return tag("div", "".join(parts), class_="md-end")


def _still(part: str, moving: Sequence[str]) -> str:
    return "" if part in moving else " md-still"


def _link(pictures: Sequence[Image.Image], kind: str) -> str:
    content = base64.b64encode(morph.animation(pictures, kind)).decode("ascii")
    href = f"data:image/{kind.lower()};base64,{content}"
    return tag(
        "a",
        text(f"Save {FORMAT_NAMES[kind]}"),
        href=href,
        download=f"memdriven-morph.{kind.lower()}",
        class_="md-action",
    )


def _making(picture: Image.Image, share: float) -> str:
    bar = tag("span", tag("span", style=f"width:{100 * share:.0f}%"), class_="md-bar md-bar-noise")
    image = tag("img", src=image_uri(picture), alt=PICTURE_BUSY, data_shown="true")
    return tag("div", tag("div", image, class_="md-film") + bar, class_="md-morph")


def _count(value: object) -> int:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return DEFAULT_FRAMES
    return max(FEWEST, min(int(value), morph.MAX_FRAMES))


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    with gr.Tab("Morph", id="morph"), gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="morph-ask", min_width=260):
            section("noise", "From this picture to another")
            panel(
                hint(
                    "Starts at your words and noise. Choose what moves; the rest stays. "
                    "z is interpolated on a sphere, all else linearly."
                )
            )
            moving = gr.CheckboxGroup(
                [(label, part) for part, label in zip(morph.PARTS, MOVING, strict=True)],
                value=["z"],
                label="What moves",
                elem_id="morph-moving",
                elem_classes="md-choice md-choice-three",
            )
            words = gr.Textbox(
                label="Words at the end", elem_id="morph-words", max_lines=3, placeholder="the same words"
            )
            seed = gr.Textbox(
                label="Seed at the end", elem_id="morph-seed", max_lines=1, placeholder="random"
            )
            count = gr.Slider(
                FEWEST,
                morph.MAX_FRAMES,
                value=DEFAULT_FRAMES,
                step=2,
                buttons=[],
                label="Pictures",
                elem_id="morph-count",
            )
            make = gr.Button("Morph", variant="primary", elem_id="morph-run", elem_classes="md-run")
        with gr.Column(elem_id="morph-shown", min_width=300):
            made = panel(note(EMPTY), elem_id="morph-result", js_on_load=script("morph.js"))
    words.input(None, [words, moving], moving, js=_MOVES)
    asking = [words, seed, moving, count, *compose.whole_query]
    return [make.click(run, asking, [made, compose.status], **event_options())]
