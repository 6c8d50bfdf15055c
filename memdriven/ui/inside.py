"""The tab How it works: the walk through the method, the picture at shares of the memory and with another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memdriven.explore.compare import WRONG, Row, across
from memdriven.explore.inside import STRENGTHS, fading, hidden_parts, look_inside
from memdriven.pipeline.request import CONTROLS
from memdriven.ui import gr, html, references, state
from memdriven.ui.html import explain, explained, figure, hint, image_uri, row, run_button, status, tag, text
from memdriven.ui.query import Compose, Query, read_examples
from memdriven.ui.references import note
from memdriven.ui.walk import walk_html

INSIDE_EMPTY = "The way from the words to the picture appears here."
CONTROLS_EMPTY = "Your caption with the best, no, the worst, a random and its own memory."
CONTROL_NAMES = {
    "retrieved": ("Fitting memory", "what retrieval found"),
    "none": ("No memory", "all features zero"),
    WRONG: ("Worst match", "least like the words"),
    "random": ("Random memory", "drawn by the seed"),
    "oracle": ("Oracle", "the one the caption was written for"),
}


@explained(note(INSIDE_EMPTY), "")
def look(*query: object) -> Iterator[tuple[str, str, str]]:
    """Yield the walk, then with what hiding parts of v does, then the strengths; and the status."""
    pipe, asked = state.pipeline(), Query(*query)
    if not str(asked.caption).strip():  # there is always something to walk through
        asked = asked._replace(caption=read_examples(pipe)[0])
    wanted = references.read(*asked)
    seen = look_inside(pipe, wanted)
    done = status(f"Inside the picture of seed {wanted.seeds[0]}.")
    if not len(seen.prepared.retrieval):
        yield walk_html(pipe, seen), "", done
        return
    yield walk_html(pipe, seen), "", status("Painting once without each part of v\u2026", busy=True)
    strengths = STRENGTHS if state.offers_memory() else ()
    lines = [status(f"Strength {n + 1} of {len(strengths)}.", busy=True) for n in range(len(strengths))]
    lines.append(done)
    yield walk_html(pipe, seen, list(hidden_parts(pipe, seen))), "", lines[0]
    cells = []
    for share, picture, line in zip(strengths, fading(pipe, wanted), lines[1:], strict=False):
        name = f"{share:.0%}"
        alt = f"The picture with {name} of the memory"
        cells.append(figure(image_uri(picture), alt, name, data_share=name))
        yield gr.skip(), fading_html(cells), line


def fading_html(cells: Sequence[str]) -> str:
    """Return pictures with ever more of the memory, side by side."""
    return tag(
        "div",
        tag("h3", "From words alone to all of the memory", class_="md-step-title"),
        hint("Same words, references and noise; only the strength of the features differs."),
        row("md-fading", cells),
        tag("p", tag("span", "words alone"), tag("span", "all of the memory"), class_="md-fade-ends"),
        class_="md-inside",
    )


@explained(note(CONTROLS_EMPTY))
def exchange(*query: object) -> Iterator[tuple[str, str]]:
    """Yield the controls' pictures, one more each time, and the status."""
    pipe, request = state.pipeline(), references.read(*query)
    own = request.strategy
    if own is None or own in CONTROLS:
        own = pipe.config.retrieval.strategy
    names = [own, *list(CONTROL_NAMES)[1:]]
    for rows in across(pipe, request, names):
        if rows[-1].pictures or rows[-1].retrieval is None:
            line = f"Control {len(rows)} of {len(names)}."
            yield controls_html(rows), status(line, busy=len(rows) < len(names))


def controls_html(rows: Sequence[Row]) -> str:
    """Return the controls side by side, each with the memory that it used."""
    cells = []
    for control, (key, (name, why)) in zip(rows, CONTROL_NAMES.items(), strict=False):
        words = tag("p", tag("b", text(name)), tag("span", text(why)), class_="md-control")
        shown, used = tag("span", html.CONTROL_GONE, class_="md-tile md-control-gone"), ""
        if control.pictures:
            shown = figure(image_uri(control.pictures[0]), f"{name}: {why}", data_control=key)
            used = html.thumbs(control.retrieval)
        cells.append(shown + words + used)
    return row("md-controls", cells)


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    with gr.Tab("How it works", id="inside") as tab:
        html.section("paint", "From your words to the picture, step by step")
        with gr.Row(elem_classes="md-tools"):
            explain("Figure 2 of the paper, with the numbers of this very picture. Choose a step.")
            open_ = run_button("Show my picture", "inside-run")
        seen = html.panel(note(INSIDE_EMPTY), elem_id="inside-result", js_on_load=html.script("inside.js"))
        faded = html.panel(elem_id="inside-fading")
        html.section("memory", "Swap the memory")
        explain("Same words, same noise. Whatever differs was the memory's doing.")
        run = run_button("Swap the memory", "controls-run")
        made = html.panel(note(CONTROLS_EMPTY), elem_id="controls-result")
    walked, options = [seen, faded, compose.status], html.event_options()
    return [
        open_.click(look, compose.whole_query, walked, **options),
        tab.select(look, compose.whole_query, walked, **options),
        run.click(exchange, compose.whole_query, [made, compose.status], **options),
    ]
