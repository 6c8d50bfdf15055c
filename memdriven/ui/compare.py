"""The Compare tab: the strategy changes, or the noise, or a word, and all else is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from memdriven.explore.compare import Row, across, difference, edit, word_changes
from memdriven.numbers import counted, percent
from memdriven.pipeline.request import MAX_SEED
from memdriven.ui import gr, html, references, state
from memdriven.ui.html import explain, figure, image_uri, run_button, section, status, tag, thumbs
from memdriven.ui.query import Compose
from memdriven.ui.references import note

COMPARE_EMPTY = "A picture for each matching rule, with the references that it found."
EDIT_EMPTY = "Both pictures and their difference appear here."
NAMES = state.RULES | {"random": "random memory", "oracle": "oracle", "none": "no memory"}
DEFAULT = ["sentence-sentence", "sentence-image", "words-image", "none"]
MAX_SEEDS = 4
_BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def table(strategies: Sequence[str], seeds: float, *query: object) -> Iterator[tuple[str, str]]:
    """Yield the table of strategies and seeds, and the status, after each picture."""
    wanted = references.read(*query)
    count = max(1, min(int(seeds), MAX_SEEDS))
    noises = tuple((wanted.seeds[0] + step) % (MAX_SEED + 1) for step in range(count))
    labels = [html.seed_words(seed, len(wanted.variations)) for seed in noises]
    chosen, made = [name for name in NAMES if name in strategies], note(COMPARE_EMPTY)
    for rows in across(state.pipeline(), replace(wanted, seeds=noises), chosen):
        made, done = table_html(rows, labels), sum(len(row.pictures) for row in rows)
        line = f"Painting: {done} of {counted(len(chosen) * count, 'picture')}."
        yield made, status(line, busy=True)
    yield made, status("Compared." if chosen else html.READY)


def table_html(rows: Sequence[Row], noises: Sequence[str]) -> str:
    """Return the table: a row a strategy with its references, then a picture a noise, two to be picked."""
    lines = []
    for row in rows:
        name = NAMES[row.strategy]
        used = thumbs(row.retrieval) if row.retrieval else ""  # without one its name, or its tile, says so
        cells = [tag("div", tag("h3", name, class_="md-row-name"), used, class_="md-row-head")]
        for noise, picture in zip(noises, row.pictures, strict=False):
            label = f"{name}, {noise}"
            shown = html.image(picture, label) + tag("span", noise, class_="md-tile-seed")
            pick = {"type": "button", "class_": "md-tile md-pick", "aria_pressed": "false"}
            cells.append(tag("button", shown, **pick, data_label=label))
        blank = tag("span", class_="md-tile md-busy")
        if row.retrieval is None:
            blank = tag("span", html.CONTROL_GONE, class_="md-tile md-control-gone")
        lines.append(tag("li", *cells, blank * (len(noises) - len(row.pictures)), class_="md-row"))
    kind = "md-rows md-rows-one" if len(noises) == 1 else "md-rows"
    made = tag("ol", *lines, class_=kind, style=f"--columns:{len(noises)}")
    place = tag("div", html.slide((_BLANK, ""), (_BLANK, "")), class_="md-slide-place", hidden=True)
    return html.hint("Choose two pictures to lay them over each other.") + made + place


def change(edited: str, *query: object) -> Iterator[tuple[str, str]]:
    """Yield the words that changed, both pictures, their difference and the slider; and the status."""
    wanted = references.read(*query)
    before, after = edit(state.pipeline(), wanted, edited)
    ends = [(image_uri(each.images[0]), each.recipe.caption) for each in (before, after)]
    figures = [
        figure(shown, html.PICTURE_ALT.format(caption=words), name)
        for name, (shown, words) in zip(("before", "after"), ends, strict=True)
    ]
    gap = difference(before.images[0], after.images[0])
    share = f"difference: {percent(float(gap.mean()), 1)} on average"
    where = "Map of where the two pictures differ"
    figures.append(figure(html.wash(gap, "text"), where, share, class_="md-figure md-gap"))
    parts = (
        tag("p", html.changed_words(word_changes(wanted.caption, edited)), class_="md-changed"),
        tag("div", *figures, class_="md-triple"),
        tag("div", tag("h3", "The memory held fixed", class_="md-small-title"), thumbs(before.retrieval)),
        html.slide(*ends),
    )
    line = f"Same noise (seed {wanted.seeds[0]}), same references, other words."
    yield tag("div", *parts, class_="md-edit"), status(line)


def build(compose: Compose) -> None:
    """Add the tab."""
    sliding = html.script("slide.js")
    with gr.Tab("Compare", id="compare"):
        section("memory", "Same caption and seed, different references")
        explain("Each matching rule finds its own references.")
        chosen = html.choice(gr.CheckboxGroup, "compare-strategies", "Matching rules", NAMES, value=DEFAULT)
        with gr.Row(elem_classes="md-tools"):
            seeds = html.slider("compare-seeds", "Noises side by side", 1, MAX_SEEDS, 1, 1)
            run = run_button("Compare", "compare-run")
        made = html.panel(note(COMPARE_EMPTY), elem_id="compare-table", js_on_load=sliding)
        section("text", "Another word, same noise, same memory")
        explain("Noise and references stay those of your caption. What did the word do?")
        with gr.Row(elem_classes="md-tools"):
            label, example = "Change one word", "your caption with another word"
            words = html.box("edit-words", label, placeholder=example, max_lines=2, scale=4, min_width=220)
            take = gr.Button("Copy my caption", elem_id="edit-take", elem_classes="md-quiet", min_width=120)
            paint = run_button("Show the difference", "edit-run", min_width=120)
        changed = html.panel(note(EDIT_EMPTY), elem_id="edit-result", js_on_load=sliding)
    take.click(None, compose.caption, words, js="caption => caption")
    compose.on(run.click, table, [chosen, seeds, *compose.whole_query], [made, "status"])
    compose.on(paint.click, change, [words, *compose.whole_query], [changed, "status"])
