"""The Compare tab: the strategy changes, or the noise, or a word, and all else is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from memdriven.errors import MemDrivenError
from memdriven.explore.compare import Edit, Row, across, edit
from memdriven.pipeline.request import MAX_SEED
from memdriven.ui import gr, references, state
from memdriven.ui.html import (
    CONTROL_GONE,
    PICTURE_ALT,
    READY,
    changed_words,
    event_options,
    failure,
    figure,
    hint,
    image_uri,
    panel,
    script,
    section,
    seed_words,
    slide,
    status,
    tag,
    text,
    thumbs,
    wash,
)
from memdriven.ui.query import Compose
from memdriven.ui.state import RULES

COMPARE_CONTROLS = (("random memory", "random"), ("oracle", "oracle"), ("no memory", "none"))
COMPARE_EMPTY = "A picture for each matching rule, with the references that it found."
EDIT_EMPTY = "Both pictures and their difference appear here."

NAMES = {value: label for label, value in (*RULES, *COMPARE_CONTROLS)}
DEFAULT = ("sentence-sentence", "sentence-image", "words-image", "none")
MAX_SEEDS = 4
_BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def table(strategies: Sequence[str], seeds: float, *query: object) -> Iterator[tuple[str, str]]:
    """Yield the table of strategies and seeds, and the status, after each picture."""
    try:
        wanted = references.read(*query)
        count = max(1, min(int(seeds), MAX_SEEDS))
        noises = [(wanted.seeds[0] + step) % (MAX_SEED + 1) for step in range(count)]
        chosen = [name for name in NAMES if name in strategies]
        whole, steps = len(chosen) * count, len(wanted.variations)
        rows: Sequence[Row] = ()
        for rows in across(state.pipeline(), replace(wanted, seeds=tuple(noises)), chosen):
            done = sum(picture is not None for row in rows for picture in row.pictures)
            line = f"Painting: {done} of {whole} pictures."
            yield table_html(rows, noises, steps), status(line, busy=True)
        line = "Compared." if rows else READY
        yield table_html(rows, noises, steps), status(line)
    except MemDrivenError as error:
        yield empty(COMPARE_EMPTY), failure(error)


def change(edited: str, *query: object) -> tuple[str, str]:
    """Return both captions' pictures with their difference, and the status."""
    try:
        wanted = references.read(*query)
        made = edit(state.pipeline(), wanted, edited)
    except MemDrivenError as error:
        return empty(EDIT_EMPTY), failure(error)
    return edit_html(made), status(f"Same noise (seed {wanted.seeds[0]}), same references, other words.")


def table_html(rows: Sequence[Row], seeds: Sequence[int], steps: int = 0, *, pick: bool = True) -> str:
    """Return the table: a row a strategy with its neighbours, then a picture a seed.

    Args:
        rows: what `across` yields.
        seeds: the columns.
        steps: how many steps each is away from its seed's noise.
        pick: let two pictures be picked for the slider.
    """
    lines = []
    for row in rows:
        name = NAMES.get(row.strategy, row.strategy)
        head = tag("h3", text(name), class_="md-row-name") + thumbs(row.retrieval)
        cells = [tag("div", head, class_="md-row-head")]
        for seed, picture in zip(seeds, row.pictures, strict=True):
            noise = seed_words(seed, steps)
            label = f"{name}, {noise}"
            if picture is None:
                if row.retrieval is None:
                    gone = tag("span", text(CONTROL_GONE), class_="md-tile md-control-gone")
                    cells.append(gone)
                else:
                    cells.append(tag("span", class_="md-tile md-busy"))
                continue
            image = tag("img", src=image_uri(picture), alt=label) + tag(
                "span", text(noise), class_="md-tile-seed"
            )
            cells.append(
                tag(
                    "button",
                    image,
                    type="button",
                    class_="md-tile md-pick",
                    aria_pressed="false",
                    data_label=label,
                )
                if pick
                else tag("span", image, class_="md-tile")
            )
        lines.append(tag("li", "".join(cells), class_="md-row"))
    kind = "md-rows md-rows-one" if len(seeds) == 1 else "md-rows"
    made = tag("ol", "".join(lines), class_=kind, style=f"--columns:{len(seeds)}")
    if not pick:
        return made
    place = tag("div", slide((_BLANK, ""), (_BLANK, "")), class_="md-slide-place", hidden=True)
    return hint("Choose two pictures to lay them over each other.") + made + place


def edit_html(made: Edit) -> str:
    """Return the words that changed, both pictures, their difference, and the slider."""
    before, after = (image_uri(output.images[0]) for output in (made.before, made.after))
    words = made.before.recipe.caption, made.after.recipe.caption
    share = f"{100 * float(made.difference.mean()):.1f} %"
    gap = figure(
        wash(made.difference, "text"),
        "Map of where the two pictures differ",
        text(f"difference: {share} on average"),
        class_="md-figure md-gap",
    )
    figures = (
        figure(before, PICTURE_ALT.format(caption=words[0]), text("before"))
        + figure(after, PICTURE_ALT.format(caption=words[1]), text("after"))
        + gap
    )
    return tag(
        "div",
        tag("p", changed_words(made.changes), class_="md-changed")
        + tag("div", figures, class_="md-triple")
        + tag(
            "div",
            tag("h3", text("The memory held fixed"), class_="md-small-title") + thumbs(made.before.retrieval),
        )
        + slide((before, words[0]), (after, words[1])),
        class_="md-edit",
    )


def empty(message: str) -> str:
    """Return a quiet line where nothing has been made yet."""
    return tag("p", text(message), class_="md-note")


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    with gr.Tab("Compare", id="compare"):
        section("memory", "Same caption and seed, different references")
        panel(hint("Each matching rule finds its own references."))
        chosen = gr.CheckboxGroup(
            [(label, value) for value, label in NAMES.items()],
            value=list(DEFAULT),
            label="Matching rules",
            elem_id="compare-strategies",
            elem_classes="md-choice",
        )
        with gr.Row(elem_classes="md-tools"):
            seeds = gr.Slider(
                1,
                MAX_SEEDS,
                value=1,
                step=1,
                label="Noises side by side",
                buttons=[],
                elem_id="compare-seeds",
                min_width=160,
            )
            run = gr.Button("Compare", variant="primary", elem_id="compare-run", elem_classes="md-run")
        made = panel(empty(COMPARE_EMPTY), elem_id="compare-table", js_on_load=script("slide.js"))
        section("text", "Another word, same noise, same memory")
        panel(hint("Noise and references stay those of your caption. What did the word do?"))
        with gr.Row(elem_classes="md-tools"):
            words = gr.Textbox(
                label="Change one word",
                max_lines=2,
                elem_id="edit-words",
                scale=4,
                placeholder="a small blue bird with black wings",
                min_width=220,
            )
            take = gr.Button("Copy my caption", elem_id="edit-take", elem_classes="md-quiet", min_width=120)
            paint = gr.Button(
                "Show the difference",
                variant="primary",
                elem_id="edit-run",
                elem_classes="md-run",
                min_width=120,
            )
        changed = panel(empty(EDIT_EMPTY), elem_id="edit-result", js_on_load=script("slide.js"))
    take.click(None, compose.caption, words, js="caption => caption")
    options = event_options()
    return [
        run.click(table, [chosen, seeds, *compose.whole_query], [made, compose.status], **options),
        paint.click(change, [words, *compose.whole_query], [changed, compose.status], **options),
    ]
