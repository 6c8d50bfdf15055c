"""The left column: words, where the reference comes from, noise, and the two buttons."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from memdriven.config import MAX_GUIDANCE
from memdriven.errors import DataError, MemDrivenError
from memdriven.files import read_json
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_TRIED
from memdriven.ui import gr, references, result, server, state
from memdriven.ui.html import (
    CLICKS,
    READY,
    button,
    failure,
    fold_title,
    hint,
    panel,
    script,
    section,
    seed_words,
    status,
    tag,
    text,
)
from memdriven.ui.references import MEMORY_EMPTY, Query
from memdriven.ui.result import Moment
from memdriven.ui.state import RULES
from memdriven.ui.steering import Steering


@dataclass(frozen=True)
class Switcher:
    """The choice, and the line that says what is in use."""

    choice: gr.Dropdown
    facts: gr.HTML


@dataclass(frozen=True)
class Fade:
    """The slider between words alone and all of the memory, and what shows or hides it."""

    share: gr.Slider
    column: gr.Column


def facts(name: str, count: int) -> str:
    """Return what is in use as a quiet line."""
    return hint(f"{name}: {count:,} pictures in memory")


def choices() -> list[tuple[str, str]]:
    """Return (label, name) of each checkpoint; one without a memory says so."""
    return [
        (name if entry.complete else f"{name} (no memory yet)", name)
        for name, entry in state.shelf().entries.items()
    ]


def switch(name: object) -> Iterator[tuple[Any, ...]]:
    """Yield what changes before and after loading.

    Yields:
        Facts, choice, k, steering, own images, steps, share of the memory, its column,
        guidance, status.
    """
    stay = (gr.skip(),) * 9
    yield *stay, status(f"Opening {name}\u2026", busy=True)
    try:
        pipe = state.choose(str(name))
    except MemDrivenError as error:
        yield gr.skip(), state.chosen(), *stay[2:], failure(error)
        return
    used, most = state.chosen(), min(state.MAX_K, pipe.bank.n)
    yield (
        facts(used, pipe.bank.n),
        gr.skip(),
        gr.Slider(maximum=most),
        Steering(),
        references.own_panel(Steering()),
        "",
        1.0,
        fade_column(),
        pipe.config.generator.guidance,
        status(f"{used} is in use: {pipe.bank.n:,} pictures in memory."),
    )


def fade_column() -> gr.Column:
    """Show the slider of the memory's strength only where the visitor's model offers it."""
    return gr.Column(visible=state.offers_memory())


def build_fade() -> Fade:
    """Add the slider to the column that is being built."""
    with gr.Column(elem_id="fade", visible=state.offers_memory()) as column:
        share = gr.Slider(
            0.0,
            1.0,
            value=1.0,
            step=0.05,
            label="How much of the memory is used",
            elem_id="fade-share",
            buttons=[],
        )
        ends = "".join(tag("span", text(each)) for each in ("words alone", "all of the memory"))
        panel(tag("p", ends, class_="md-fade-ends"))
    return Fade(share, column)


def build_switcher() -> Switcher:
    """Add the choice to the column that is being built; with one checkpoint only the line."""
    pipe, offered = state.pipeline(), choices()
    choice = gr.Dropdown(
        offered,
        value=state.shelf().default,
        label="Model and memory",
        elem_id="checkpoint",
        filterable=False,
        visible=len(offered) > 1,
    )
    return Switcher(choice, panel(facts(pipe.checkpoint.name, pipe.bank.n), elem_id="facts"))


SOURCES = (("Retrieved", "retrieved"), ("Random", "random"), ("Oracle", "oracle"), ("None", "none"))
SOURCE_HINTS = {
    "retrieved": "The pictures in memory that fit the words best.",
    "random": "Control: any picture of the memory. What does a wrong memory do?",
    "oracle": "Control: the very picture that the caption was written for. Needs a caption from the memory.",
    "none": "Control: no reference at all, words and noise alone.",
}

FILE = "examples.json"
COUNT = 4


def read_examples(pipe: MemoryDrivenPipeline) -> list[str]:
    """Return captions that a model knows the words of.

    They are those in examples.json of its folder; without one, the shortest captions of some
    items of its memory.

    Raises:
        DataError: the file holds something else.
    """
    path = pipe.checkpoint.path / FILE
    if not path.is_file():
        items = pipe.bank.items[:: max(1, pipe.bank.n // COUNT)][:COUNT]
        return list(dict.fromkeys(min(item.captions, key=len) for item in items))
    captions = read_json(path, DataError).get("captions")
    if not isinstance(captions, list) or not all(isinstance(each, str) for each in captions):
        raise DataError(
            wanted=f"a list of captions in {path}", found=json.dumps(captions)[:80], fix="restore the file"
        )
    return captions


def read_tries(pipe: MemoryDrivenPipeline) -> int:
    """Return how many references a model's page begins by trying (`references_tried`).

    Raises:
        DataError: the file holds something else.
    """
    path = pipe.checkpoint.path / FILE
    told = read_json(path, DataError).get("references_tried", 1) if path.is_file() else 1
    if type(told) is not int or not 1 <= told <= MAX_TRIED:
        raise DataError(
            wanted=f"references_tried in 1..{MAX_TRIED} in {path}",
            found=json.dumps(told)[:80],
            fix="restore the file",
        )
    return told


def example_chips(captions: Sequence[str]) -> str:
    """Return example captions as buttons; page.js writes a clicked one into the box."""
    chips = "".join(tag("li", button(each, "md-chip", data_caption=each)) for each in captions)
    return tag("ul", chips, class_="md-chips", aria_label="Try one of these")


def known_words() -> str:
    """Return how many words the visitor's model knows and what about; all of them when unfolded."""
    words = sorted(word for word in state.pipeline().vocabulary if word.isalpha())
    about = f" about {subject}s" if (subject := state.subject()) else ""
    buttons = "".join(button(word, "md-word", data_word=word) for word in words)
    return tag(
        "details",
        tag("summary", text(f"Knows {len(words)} words{about}"))
        + hint("Choose one to add it to yours.")
        + tag("div", buttons, class_="md-words", tabindex=0, role="group", aria_label="Known words"),
        class_="md-known",
    )


def batch() -> str:
    """Return the place for several captions, which are painted one after the other (`words.js`)."""
    box = tag("textarea", rows=5, aria_label="Captions, one a line", placeholder="a red bird\na blue bird")
    run = button("Paint all", "md-action", id="batch-run")
    return tag(
        "details",
        tag("summary", text("Batch"))
        + hint("One a line; each becomes a picture of the History. Stop ends it.")
        + box
        + run
        + tag("p", class_="md-hint", role="status"),
        class_="md-known",
    )


def chips() -> str:
    """Return the buttons for the visitor's model, or what is wrong with its file."""
    try:
        pipe = state.pipeline()
        read_tries(pipe)
        return example_chips(read_examples(pipe))
    except DataError as error:
        return failure(error)


STATE_SECONDS = 24 * 3600
"""How long the server keeps what a tab holds: a day, because Gradio counts from its last change
and not its last use. An hour after a tab is closed it goes in any case."""
_DRAW_SEED = "() => [String(crypto.getRandomValues(new Uint32Array(1))[0]), true]"


@dataclass(frozen=True)
class Compose:
    """The column's components, for the tabs to listen to."""

    caption: gr.Textbox
    unknown: gr.HTML
    source: gr.Radio
    comparison: gr.Dropdown
    k: gr.Slider
    tries: gr.Slider
    """Memories that are painted with before one is chosen."""
    seed: gr.Textbox
    keep: gr.Checkbox
    generate: gr.Button
    stop: gr.Button
    status: gr.HTML
    place: gr.HTML
    """Where in line the visitor stands, shown instead of the status while there is one."""
    steering: gr.State
    """What this tab did to the memory by hand: a `Steering`."""
    current: gr.State
    """The last finished picture: `moment.Moment` as a dictionary; None before the first."""
    past: gr.JSON
    """The browser's past pictures. Of the page, not of the History tab: a tab's content is made when it is
    first opened, and a picture made before that would not be kept."""
    switcher: Switcher
    guidance: gr.Slider
    """How far the words are moved away from what the memory's captions say."""
    fade: Fade
    """How much of the memory is used, where the model offers it."""
    mirror: gr.Radio
    """Whether the memory is seen mirrored."""
    window: gr.Dropdown
    """Which part of the memory is seen."""
    steps: gr.HTML
    """The steps away from the seed's noise that Generate keeps, with a way back."""

    @property
    def steered_query(self) -> list[gr.components.Component]:
        """What the references are found by, and what was done to them by hand."""
        return [*(getattr(self, name) for name in ASKED), self.steering]

    @property
    def whole_query(self) -> list[gr.blocks.Block]:
        """All that a picture is made from: a `Query`."""
        return [self.parts[name] for name in Query._fields]

    @property
    def parts(self) -> dict[str, gr.blocks.Block]:
        """The components by the names that handlers give their values."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        del own["switcher"], own["fade"]
        more = {"share": self.fade.share, "fade": self.fade.column}
        return {**own, **more, "checkpoint": self.switcher.choice, "facts": self.switcher.facts}


ASKED = ("caption", "source", "comparison", "k", "seed", "keep")
KEPT = (*ASKED, "tries", "share", "guidance", "mirror", "window", "checkpoint")
"""What a browser tab keeps of the column over a reload, by name."""


@dataclass(frozen=True)
class Opening:
    """What the page shows before anybody has asked for anything: a finished picture, or nothing."""

    caption: str = ""
    seed: str = ""
    memory: str = references.note(MEMORY_EMPTY)
    result: str = result.empty_picture()
    current: Moment | None = None


def build(begin: Opening) -> Compose:
    """Add the column to the page that is being built.

    Args:
        begin: the picture that the page opens with.
    """
    pipe = state.pipeline()
    bank_size, default_k = pipe.bank.n, pipe.config.retrieval.k
    default_strategy = pipe.config.retrieval.strategy
    known = {value for _, value in RULES}
    largest_k = min(state.MAX_K, bank_size)
    with gr.Column(elem_id="compose", scale=0, min_width=300):
        with gr.Column(elem_id="words"):
            section("text", "Words")
            caption = gr.Textbox(
                begin.caption,
                label="Describe a bird",
                show_label=False,
                lines=2,
                max_lines=6,
                placeholder="a small red bird with black wings",
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
            place = panel(elem_id="place", js_on_load=server.PRESSES)
        with gr.Column(elem_id="folds"):
            with gr.Column(elem_id="memory-fold", elem_classes="md-fold"):
                fold_title("memory-fold", "Memory")
                checkpoints = build_switcher()
                source = gr.Radio(
                    list(SOURCES),
                    elem_id="source",
                    label="Where the reference comes from",
                    show_label=False,
                    value="retrieved" if default_strategy in known else default_strategy,
                )
                hint = panel(_source_hint("retrieved"), elem_id="source-hint")
                comparison = gr.Dropdown(
                    list(RULES),
                    elem_id="comparison",
                    label="Match memories by",
                    value=default_strategy if default_strategy in known else RULES[0][1],
                    filterable=False,
                )
                tries = gr.Slider(
                    1,
                    min(MAX_TRIED, bank_size),
                    value=_tries(bank_size),
                    step=1,
                    label="Try several references, keep the best",
                    elem_id="tries",
                    buttons=[],
                    visible=state.offers_tries(),
                )
                guidance = gr.Slider(
                    0,
                    MAX_GUIDANCE,
                    value=state.read_guidance(None),
                    step=0.25,
                    label="Caption strength",
                    info="Higher follows your words where the memory disagrees.",
                    elem_id="guidance",
                    buttons=[],
                )
            with gr.Column(elem_id="noise-fold", elem_classes="md-fold"):
                fold_title("noise-fold", "Noise")
                with gr.Row(elem_id="noise"):
                    seed = gr.Textbox(
                        begin.seed,
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
                keep = gr.Checkbox(
                    label="Keep this seed", info="Off: a new random seed for every picture.", elem_id="keep"
                )
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
            with gr.Column(elem_id="experiments-fold", elem_classes="md-fold"):
                fold_title("experiments-fold", "Experiments")
                k = gr.Slider(
                    1,
                    largest_k,
                    value=min(default_k, largest_k),
                    step=1,
                    label="References blended (k)",
                    info="Blended references often show through each other.",
                    elem_id="k",
                    buttons=[],
                )
                fade = build_fade()
    steering = gr.State(Steering(), time_to_live=STATE_SECONDS)
    current = gr.State(begin.current, time_to_live=STATE_SECONDS)
    past = gr.JSON([], visible=False)
    source.change(
        _show_source,
        source,
        [hint, comparison, k, tries, guidance],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    dice.click(None, None, [seed, keep], js=_DRAW_SEED)
    # What is in use changed, by the choice or by a recipe.
    checkpoints.facts.change(
        lambda: (chips(), known_words()),
        None,
        [tried, vocabulary],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    return Compose(
        caption,
        unknown,
        source,
        comparison,
        k,
        tries,
        seed,
        keep,
        generate,
        stop,
        told,
        place,
        steering,
        current,
        past,
        checkpoints,
        guidance,
        fade,
        mirror,
        window,
        steps,
    )


def steps_line(steering: Steering) -> str:
    """Return how far the kept noise is from its seed's, with a way back; nothing when it is not."""
    if not steering.variations:
        return ""
    label = seed_words(steering.base, len(steering.variations))
    back = button("Reset to the original seed", "md-link", data_act="steady")
    return tag("p", text(label) + " " + back, class_="md-steps")


def _tries(bank_size: int) -> int:
    """Return how many references the page begins by trying; one where its file is damaged."""
    try:
        return min(read_tries(state.pipeline()), bank_size) if state.offers_tries() else 1
    except DataError:
        return 1  # the captions' place on the page says what is wrong with the file


def _source_hint(source: str) -> str:
    return hint(SOURCE_HINTS.get(source, ""))


def _show_source(source: str) -> tuple[str, gr.Dropdown, gr.Slider, gr.Slider, gr.Slider]:
    return (
        _source_hint(source),
        gr.Dropdown(interactive=source == "retrieved"),
        gr.Slider(interactive=source in ("retrieved", "random")),
        gr.Slider(interactive=source in ("retrieved", "random")),
        gr.Slider(interactive=source != "none"),
    )
