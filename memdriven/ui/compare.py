"""The Compare tab: the strategy changes, or the noise, or a word, and all else is held."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from memdriven.explore.compare import WRONG, across, difference, edit, word_changes
from memdriven.numbers import counted, percent
from memdriven.pipeline.request import MAX_SEED
from memdriven.ui import gr, html, references, state
from memdriven.ui.html import explain, image_uri, note, run_button, section, status
from memdriven.ui.query import Compose

COMPARE_EMPTY = "A picture for each matching rule, with the references that it found."
CONTROLS = {"none": "no memory", WRONG: "worst match", "random": "random memory", "oracle": "oracle"}
NAMES = state.RULES | CONTROLS
DEFAULT = ["sentence-sentence", "words-image", "none", WRONG]
MAX_SEEDS = 4
part = partial(html.part, of="compare")


def table(strategies: Sequence[str], seeds: float, *query: object) -> Iterator[tuple[str, str]]:
    """Yield the table of strategies and seeds, and the status, after each picture."""
    wanted = references.read(*query)
    count = max(1, min(int(seeds), MAX_SEEDS))
    noises = tuple((wanted.seeds[0] + step) % (MAX_SEED + 1) for step in range(count))
    labels = [html.seed_words(seed, len(wanted.variations)) for seed in noises]
    chosen, made = [name for name in NAMES if name in strategies], note(COMPARE_EMPTY)
    for rows in across(state.pipeline(), replace(wanted, seeds=noises), chosen):
        named, done = [(NAMES[row.strategy], row) for row in rows], sum(len(row.pictures) for row in rows)
        made = part("table", named, labels)
        line = f"Painting: {done} of {counted(len(chosen) * count, 'picture')}."
        yield made, status(line, busy=True)
    yield made, status("Compared." if chosen else html.READY)


def change(edited: str, *query: object) -> Iterator[tuple[str, str]]:
    """Yield the words that changed, both pictures, their difference and the slider; and the status."""
    wanted = references.read(*query)
    before, after = edit(state.pipeline(), wanted, edited)
    ends = [(image_uri(each.images[0]), each.recipe.caption) for each in (before, after)]
    gap, words = difference(before.images[0], after.images[0]), word_changes(wanted.caption, edited)
    apart = percent(float(gap.mean()), 1)
    made = part("edit", words, *ends, html.wash(gap, "text"), apart, before.retrieval)
    line = f"Same noise (seed {wanted.seeds[0]}), same references, other words."
    yield made, status(line)


def build(compose: Compose) -> None:
    """Add the tab."""
    sliding = html.script("slide.js")
    with gr.Tab("Compare", id="compare"):
        section("memory", "Same caption and seed, different references")
        explain("Whatever differs was the memory's doing.")
        chosen = html.choice(gr.CheckboxGroup, "compare-strategies", "Matching rules", NAMES, value=DEFAULT)
        with gr.Row(elem_classes="md-tools"):
            seeds = html.slider("compare-seeds", "Noises side by side", 1, MAX_SEEDS, 1, 1)
            run = run_button("Compare", "compare-run")
        made = html.panel(note(COMPARE_EMPTY), elem_id="compare-table", js_on_load=sliding)
        section("text", "Another word, same noise, same memory")
        with gr.Row(elem_classes="md-tools"):
            label, example = "Change one word", "your caption with another word"
            words = html.box("edit-words", label, placeholder=example, max_lines=2, scale=4, min_width=220)
            take = gr.Button("Copy my caption", elem_id="edit-take", elem_classes="md-quiet", min_width=120)
            paint = run_button("Show the difference", "edit-run", min_width=120)
        empty = note("Both pictures and their difference appear here.")
        changed = html.panel(empty, elem_id="edit-result", js_on_load=sliding)
    take.click(None, compose.caption, words, js="caption => caption", **html.QUIET)
    compose.on(run.click, table, [chosen, seeds, *compose.whole_query], [made, "status"])
    compose.on(paint.click, change, [words, *compose.whole_query], [changed, "status"])
