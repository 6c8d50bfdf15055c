"""The left column: words, where the references come from, noise, and the two buttons."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from memdriven.config import MAX_GUIDANCE
from memdriven.errors import DataError, MemDrivenError, require
from memdriven.files import read_json
from memdriven.numbers import counted
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_TRIED
from memdriven.ui import gr, queue, state
from memdriven.ui.html import (
    BESIDE,
    CLICKS,
    READY,
    Parts,
    button,
    by_name,
    failure,
    fold_title,
    hint,
    panel,
    script,
    section,
    seed_words,
    slider,
    status,
    tag,
    text,
)
from memdriven.ui.references import Query
from memdriven.ui.state import RULES
from memdriven.ui.steering import Steering, own_panel

SOURCES = {
    "retrieved": ("Retrieved", "The pictures in memory that fit the words best."),
    "random": ("Random", "Control: any picture of the memory. What does a wrong memory do?"),
    "oracle": (
        "Oracle",
        "Control: the very picture that the caption was written for. Needs a caption from the memory.",
    ),
    "none": ("None", "Control: no reference at all, words and noise alone."),
}
"""Label and hint of each place where the references can come from."""
KEPT = (
    *("caption", "source", "comparison", "k", "seed", "keep", "tries", "share", "guidance"),
    *("mirror", "window", "checkpoint"),
)
"""What a browser tab keeps of the column over a reload, by name."""
STATE_SECONDS = 24 * 3600
"""How long the server keeps what a tab holds: a day, because Gradio counts from its last change
and not its last use. An hour after a tab is closed it goes in any case."""
_DRAW_SEED = "() => [String(crypto.getRandomValues(new Uint32Array(1))[0]), true]"


class Compose(Parts):
    """The column's components by their names: `compose.caption`, for tabs to listen to.

    Beside what a `Query` is made of: unknown (words), generate, stop, status, place (where in line the
    visitor stands, shown instead of the status while there is one), checkpoint and facts (the choice, and
    what is in use), fade (what shows `share` where the model offers it), steps (away from the seed's noise,
    with a way back), and two states: current, the last finished picture (a `Moment`, None before the first),
    and past, the browser's pictures. That is of the page, not of the History tab: a tab's content is made
    when it is first opened, and a picture made before that would not be kept.
    """

    @property
    def whole_query(self) -> list[gr.blocks.Block]:
        """All that a picture is made from: a `Query`."""
        return [self.parts[name] for name in Query._fields]

    @property
    def question(self) -> list[gr.blocks.Block]:
        """What the preview of the references depends on."""
        return [self.parts[name] for name in ("caption", "source", "comparison", "k", "steering")]


# ---------------------------------------------------------------------------------------------------------
# What the model in use offers.

FILE = "examples.json"
COUNT = 4


def read_examples(pipe: MemoryDrivenPipeline) -> list[str]:
    """Return captions that a model knows the words of.

    They are those in examples.json of its folder; without one, the shortest captions of some
    items of its memory.
    """
    path = pipe.checkpoint.path / FILE
    if not path.is_file():
        items = pipe.bank.items[:: max(1, pipe.bank.n // COUNT)][:COUNT]
        return list(dict.fromkeys(min(item.captions, key=len) for item in items))
    captions: Any = read_json(path, DataError).get("captions")
    right = isinstance(captions, list) and all(isinstance(each, str) for each in captions)
    require(right, DataError, f"a list of captions in {path}", json.dumps(captions)[:80], "restore the file")
    return list(captions)


def read_tries(pipe: MemoryDrivenPipeline) -> int:
    """Return how many references a model's page begins by trying (`references_tried`)."""
    path = pipe.checkpoint.path / FILE
    tries: Any = read_json(path, DataError).get("references_tried", 1) if path.is_file() else 1
    wanted = f"references_tried in 1..{MAX_TRIED} in {path}"
    right = type(tries) is int and 1 <= tries <= MAX_TRIED
    require(right, DataError, wanted, json.dumps(tries)[:80], "restore the file")
    return min(tries, pipe.bank.n) if pipe.checkpoint.damsm.pixels is not None else 1


def chips() -> str:
    """Return example captions as buttons, or what is wrong with their file.

    `page.js` writes a clicked one into the box.
    """
    try:
        pipe = state.pipeline()
        read_tries(pipe)
        examples = [tag("li", button(each, "md-chip", data_caption=each)) for each in read_examples(pipe)]
    except DataError as error:
        return failure(error)
    return tag("ul", *examples, class_="md-chips", aria_label="Try one of these")


def _example(count: int = 1) -> list[str]:
    try:
        return read_examples(state.pipeline())[:count]
    except DataError:
        return []  # the captions' place on the page says what is wrong with the file


def known_words() -> str:
    """Return how many words the visitor's model knows and what about; all of them when unfolded."""
    words = sorted(word for word in state.pipeline().vocabulary if word.isalpha())
    subject = state.subject()
    about = f" about {subject.removesuffix('s')}s" if subject else ""
    buttons = (button(word, "md-word", data_word=word) for word in words)
    group = {"tabindex": 0, "role": "group", "aria_label": "Known words"}
    return tag(
        "details",
        tag("summary", text(f"Knows {counted(len(words), 'word')}{about}")),
        hint("Choose one to add it to yours."),
        tag("div", *buttons, class_="md-words", **group),
        class_="md-known",
    )


def batch() -> str:
    """Return the place for several captions, which are painted one after the other (`words.js`)."""
    return tag(
        "details",
        tag("summary", text("Batch")),
        hint("One a line; each becomes a picture of the History. Stop ends it."),
        tag("textarea", rows=5, aria_label="Captions, one a line", placeholder="\n".join(_example(2))),
        button("Paint all", "md-action", id="batch-run"),
        tag("p", class_="md-hint", role="status"),
        class_="md-known",
    )


def facts() -> str:
    """Return what is in use as a quiet line."""
    return hint(f"{state.chosen()}: {counted(state.pipeline().bank.n, 'picture')} in memory")


def choices() -> list[tuple[str, str]]:
    """Return (label, name) of each checkpoint; one without a memory says so."""
    entries = state.shelf().entries.items()
    return [(name if entry.complete else f"{name} (no memory yet)", name) for name, entry in entries]


def fade_column() -> gr.Column:
    """Show the slider of the memory's strength only where the visitor's model offers it."""
    return gr.Column(visible=state.offers_memory())


def switch(name: object) -> Iterator[dict[str, Any]]:
    """Yield what changes before and after a checkpoint is loaded, by name."""
    yield {"status": status(f"Opening {name}\u2026", busy=True)}
    try:
        pipe = state.choose(str(name))
    except MemDrivenError as error:
        yield {"checkpoint": state.chosen(), "status": failure(error)}
        return
    yield {
        "facts": facts(),
        "k": gr.Slider(maximum=min(state.MAX_K, pipe.bank.n)),
        "steering": Steering(),
        "own": own_panel(Steering()),
        "steps": "",
        "share": 1.0,
        "fade": fade_column(),
        "guidance": pipe.config.generator.guidance,
        "status": status(f"{state.chosen()} is in use: {counted(pipe.bank.n, 'picture')} in memory."),
    }


# ---------------------------------------------------------------------------------------------------------
# The column.


def build(begin: Mapping[str, Any]) -> Compose:
    """Add the column to the page that is being built, with what it opens with by name."""
    with gr.Column(elem_id="compose", scale=0, min_width=300):
        with gr.Column(elem_id="words"):
            section("text", "Words")
            caption = gr.Textbox(
                begin.get("caption", ""),
                label="Your words",
                show_label=False,
                lines=2,
                max_lines=6,
                placeholder="".join(_example()),
                elem_id="caption",
                autofocus=True,
            )
            unknown = panel(elem_id="unknown")
            with gr.Row(elem_id="word-tools"):
                vocabulary = panel(known_words(), elem_id="vocabulary", js_on_load=script("words.js"))
                panel(batch(), elem_id="batch")
            tried = panel(chips(), elem_id="examples")
        # It stays in sight, what went wrong included.
        with gr.Column(elem_id="foot"):
            with gr.Row(elem_id="actions"):
                generate = gr.Button("Generate", variant="primary", elem_id="generate", scale=3)
                stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=70)
            told = panel(status(READY), elem_id="status")
            place = panel(elem_id="place", js_on_load=queue.PRESSES)
        with gr.Column(elem_id="folds"):
            folds = _memory() | _noise(begin.get("seed", "")) | _experiments()
    column = Compose(
        **folds,
        caption=caption,
        unknown=unknown,
        generate=generate,
        stop=stop,
        status=told,
        place=place,
        steering=gr.State(Steering(), time_to_live=STATE_SECONDS),
        current=gr.State(begin.get("current"), time_to_live=STATE_SECONDS),
        past=gr.JSON([], visible=False),
    )
    left = [column.hint, column.comparison, column.k, column.tries, column.guidance]
    column.source.change(by_name(column.parts, show_source), column.source, left, **BESIDE)
    # What is in use changed, by the choice or by a recipe.
    column.facts.change(
        lambda: (chips(), known_words(), gr.Textbox(placeholder="".join(_example()))),
        None,
        [tried, vocabulary, caption],
        **BESIDE,
    )
    return column


def _memory() -> dict[str, gr.blocks.Block]:
    """Add the fold of the memory: which model, where references come from, how they are matched."""
    pipe, offered = state.pipeline(), choices()
    strategy, rules = pipe.config.retrieval.strategy, [rule for _, rule in RULES]
    try:
        tries = read_tries(pipe)
    except DataError:
        tries = 1
    with gr.Column(elem_id="memory-fold", elem_classes="md-fold"):
        fold_title("memory-fold", "Memory")
        checkpoint = gr.Dropdown(
            offered,
            value=state.shelf().default,
            label="Model and memory",
            elem_id="checkpoint",
            filterable=False,
            visible=len(offered) > 1,
        )
        in_use = panel(facts(), elem_id="facts")
        source = gr.Radio(
            [(label, name) for name, (label, _) in SOURCES.items()],
            elem_id="source",
            label="Where the reference comes from",
            show_label=False,
            value="retrieved" if strategy in rules else strategy,
        )
        told = panel(hint(SOURCES["retrieved"][1]), elem_id="source-hint")
        comparison = gr.Dropdown(
            list(RULES),
            elem_id="comparison",
            label="Match memories by",
            value=strategy if strategy in rules else rules[0],
            filterable=False,
        )
        most, shown = min(MAX_TRIED, pipe.bank.n), state.offers_tries()
        several = slider("tries", "Try several references, keep the best", 1, most, tries, visible=shown)
        higher = "Higher follows your words where the memory disagrees."
        own = state.read_guidance(None)
        guidance = slider("guidance", "Caption strength", 0, MAX_GUIDANCE, own, 0.25, info=higher)
    return {
        "checkpoint": checkpoint,
        "facts": in_use,
        "source": source,
        "hint": told,
        "comparison": comparison,
        "tries": several,
        "guidance": guidance,
    }


def _noise(seed: str) -> dict[str, gr.blocks.Block]:
    """Add the fold of the noise: its seed, and how it sees the memory."""
    with gr.Column(elem_id="noise-fold", elem_classes="md-fold"):
        fold_title("noise-fold", "Noise")
        with gr.Row(elem_id="noise"):
            box = gr.Textbox(
                seed,
                label="Seed",
                show_label=False,
                max_lines=1,
                min_width=120,
                scale=2,
                placeholder="random",
                elem_id="seed",
            )
            dice = gr.Button("Random seed", elem_id="dice", min_width=60, scale=1)
        steps = panel(elem_id="steps", js_on_load=CLICKS)
        free = "Off: a new random seed for every picture."
        keep = gr.Checkbox(label="Keep this seed", info=free, elem_id="keep")
        mirror = gr.Radio(
            [("from the seed", ""), ("off", "no"), ("on", "yes")],
            value="",
            label="Mirror the memory, left to right",
            elem_id="mirror",
            elem_classes="md-choice",
        )
        window = gr.Dropdown(
            [("from the seed", ""), ("the whole", "0 0 1"), ("the middle", "0.1 0.1 0.8")],
            value="",
            label="Part of the memory that is seen (left, top, side)",
            elem_id="window",
            allow_custom_value=True,
        )
    dice.click(None, None, [box, keep], js=_DRAW_SEED)
    return {"seed": box, "keep": keep, "steps": steps, "mirror": mirror, "window": window}


def _experiments() -> dict[str, gr.blocks.Block]:
    """Add the fold of the experiments: more than one reference, less than all of the memory."""
    pipe = state.pipeline()
    largest = min(state.MAX_K, pipe.bank.n)
    with gr.Column(elem_id="experiments-fold", elem_classes="md-fold"):
        fold_title("experiments-fold", "Experiments")
        info = "Blended references often show through each other."
        begun = min(pipe.config.retrieval.k, largest)
        k = slider("k", "References blended (k)", 1, largest, begun, info=info)
        with gr.Column(elem_id="fade", visible=state.offers_memory()) as fade:
            share = slider("fade-share", "How much of the memory is used", 0, 1, 1, 0.05)
            ends = (tag("span", text(each)) for each in ("words alone", "all of the memory"))
            panel(tag("p", *ends, class_="md-fade-ends"))
    return {"k": k, "share": share, "fade": fade}


def show_source(source: str) -> dict[str, Any]:
    """Return what a place where the references come from leaves to be set, by name."""
    found = source in ("retrieved", "random")
    return {
        "hint": hint(SOURCES[source][1] if source in SOURCES else ""),
        "comparison": gr.Dropdown(interactive=source == "retrieved"),
        "k": gr.Slider(interactive=found),
        "tries": gr.Slider(interactive=found),
        "guidance": gr.Slider(interactive=source != "none"),
    }


def steps_line(steering: Steering) -> str:
    """Return how far the kept noise is from its seed's, with a way back; nothing when it is not."""
    if not steering.variations:
        return ""
    label = seed_words(steering.base, len(steering.variations))
    back = button("Reset to the original seed", "md-link", data_act="steady")
    return tag("p", text(label) + " " + back, class_="md-steps")
