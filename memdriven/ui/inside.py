"""The tab How it works: the walk through the method, the picture at shares of the memory and with another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image

from memdriven.errors import MemDrivenError
from memdriven.explore.controls import CONTROLS, Control, controls
from memdriven.explore.inside import STRENGTHS, fading, hidden_parts, look_inside
from memdriven.ui import gr, references, state
from memdriven.ui.html import (
    CONTROL_GONE,
    event_options,
    failure,
    figure,
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
from memdriven.ui.picture import Update
from memdriven.ui.query import Compose, read_examples
from memdriven.ui.references import note
from memdriven.ui.walk import walk_html

INSIDE_EMPTY = "The way from the words to the picture appears here."
CONTROLS_EMPTY = "Your caption with the best, no, the worst, a random and its own memory."
CONTROL_NAMES = {
    "retrieved": ("Fitting memory", "what retrieval found"),
    "none": ("No memory", "all features zero"),
    "wrong": ("Worst match", "least like the words"),
    "random": ("Random memory", "drawn by the seed"),
    "oracle": ("Oracle", "the one the caption was written for"),
}


def look(*query: object) -> Iterator[tuple[Update, str, str]]:
    """Yield the walk, then with what hiding parts of v does, then the strengths; and the status."""
    try:
        pipe = state.pipeline()
        if not str(query[0]).strip():  # there is always something to walk through
            query = (read_examples(pipe)[0], *query[1:])
        wanted = references.read(*query)
        seen = look_inside(pipe, wanted.request)
        done = status(f"Inside the picture of seed {wanted.seed}.")
        if not len(seen.prepared.retrieval):
            yield walk_html(pipe, seen), "", done
            return
        yield walk_html(pipe, seen), "", status("Painting once without each part of v\u2026", busy=True)
        fades = state.offers_memory()
        yield walk_html(pipe, seen, list(hidden_parts(pipe, seen))), "", _strength(0) if fades else done
        shown: list[Image.Image] = []
        for picture in fading(pipe, wanted.request) if fades else ():
            shown.append(picture)
            last = len(shown) == len(STRENGTHS)
            yield gr.skip(), fading_html(shown), done if last else _strength(len(shown))
    except MemDrivenError as error:
        yield note(INSIDE_EMPTY), "", failure(error)


def exchange(*query: object) -> Iterator[tuple[str, str]]:
    """Yield the controls' pictures, one more each time, and the status."""
    made: list[Control] = []
    try:
        wanted = references.read(*query)
        for control in controls(state.pipeline(), wanted.request):
            made.append(control)
            line = f"Control {len(made)} of {len(CONTROLS)}."
            yield controls_html(made), status(line, busy=len(made) < len(CONTROLS))
    except MemDrivenError as error:
        yield note(CONTROLS_EMPTY), failure(error)


def controls_html(made: Sequence[Control]) -> str:
    """Return the controls side by side, each with the memory that it used."""
    cells = []
    for control in made:
        name, why = CONTROL_NAMES[control.name]
        words = tag("b", text(name)) + tag("span", text(why))
        if control.picture is None:
            gone = tag("span", text(CONTROL_GONE), class_="md-tile md-control-gone")
            cells.append(tag("li", gone + tag("p", words, class_="md-control")))
            continue
        shown = figure(image_uri(control.picture), f"{name}: {why}")
        cells.append(
            tag(
                "li",
                shown + tag("p", words, class_="md-control") + thumbs(control.retrieval),
                data_control=control.name,
            )
        )
    return tag("ol", "".join(cells), class_="md-controls")


def fading_html(pictures: Sequence[Image.Image]) -> str:
    """Return the picture with ever more of the memory, side by side."""
    shares = [f"{strength:.0%}" for strength in STRENGTHS]
    cells = "".join(
        tag(
            "li",
            figure(image_uri(picture), f"The picture with {share} of the memory", text(share)),
            data_share=share,
        )
        for share, picture in zip(shares, pictures, strict=False)
    )
    ends = "".join(tag("span", text(each)) for each in ("words alone", "all of the memory"))
    return tag(
        "div",
        tag("h3", text("From words alone to all of the memory"), class_="md-step-title")
        + hint("Same words, references and noise; only the strength of the features differs.")
        + tag("ol", cells, class_="md-fading")
        + tag("p", ends, class_="md-fade-ends"),
        class_="md-inside",
    )


def _strength(done: int) -> str:
    line = f"Strength {done + 1} of {len(STRENGTHS)}."
    return status(line, busy=True)


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    with gr.Tab("How it works", id="inside") as tab:
        section("paint", "From your words to the picture, step by step")
        with gr.Row(elem_classes="md-tools"):
            panel(hint("Figure 2 of the paper, with the numbers of this very picture. Choose a step."))
            open_ = gr.Button(
                "Show my picture", variant="primary", elem_id="inside-run", elem_classes="md-run"
            )
        seen = panel(note(INSIDE_EMPTY), elem_id="inside-result", js_on_load=script("inside.js"))
        faded = panel(elem_id="inside-fading")
        section("memory", "Swap the memory")
        panel(hint("Same words, same noise. Whatever differs was the memory's doing."))
        run = gr.Button("Swap the memory", variant="primary", elem_id="controls-run", elem_classes="md-run")
        made = panel(note(CONTROLS_EMPTY), elem_id="controls-result")
    options = event_options()
    walked = [seen, faded, compose.status]
    return [
        open_.click(look, compose.whole_query, walked, **options),
        tab.select(look, compose.whole_query, walked, **options),
        run.click(exchange, compose.whole_query, [made, compose.status], **options),
    ]
