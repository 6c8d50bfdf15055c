"""The left column: words, where the reference comes from, noise, and the two buttons."""

from __future__ import annotations

from dataclasses import dataclass

from memdriven.config import MAX_GUIDANCE
from memdriven.errors import DataError
from memdriven.pipeline.request import MAX_TRIED
from memdriven.ui import cards, examples, line, picture, state, strings, switcher
from memdriven.ui.html import tag, text
from memdriven.ui.moment import Moment
from memdriven.ui.parts import CLICKS, fold_title, panel, section
from memdriven.ui.startup import gr
from memdriven.ui.status import status
from memdriven.ui.steering import Steering
from memdriven.ui.switcher import Fade

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
    switcher: switcher.Switcher
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
    def query(self) -> list[gr.components.Component]:
        """What a handler is given: caption, source, comparison, k, seed, keep."""
        return [self.caption, self.source, self.comparison, self.k, self.seed, self.keep]

    @property
    def steered_query(self) -> list[gr.components.Component]:
        """The query, and then what was done to the memory by hand."""
        return [*self.query, self.steering]

    @property
    def settings(self) -> list[gr.components.Component]:
        """What a recipe sets: the steered query, how much of the memory, guidance, mirror, window."""
        return [*self.steered_query, self.fade.share, self.guidance, self.mirror, self.window]

    @property
    def whole_query(self) -> list[gr.components.Component]:
        """All that a picture is made from: the settings, and how many memories are tried."""
        return [*self.settings, self.tries]

    @property
    def kept(self) -> dict[str, gr.components.Component]:
        """What a browser tab keeps of the column over a reload, by name."""
        names = (
            "caption",
            "source",
            "comparison",
            "k",
            "tries",
            "seed",
            "keep",
            "guidance",
            "mirror",
            "window",
        )
        return {
            **{name: getattr(self, name) for name in names},
            "share": self.fade.share,
            "checkpoint": self.switcher.choice,
        }


@dataclass(frozen=True)
class Opening:
    """What the page shows before anybody has asked for anything: a finished picture, or nothing."""

    caption: str = ""
    seed: str = ""
    memory: str = cards.note(strings.MEMORY_EMPTY)
    result: str = picture.empty_picture()
    current: Moment | None = None


def build(begin: Opening) -> Compose:
    """Add the column to the page that is being built.

    Args:
        begin: the picture that the page opens with.
    """
    pipe = state.pipeline()
    bank_size, default_k = pipe.bank.n, pipe.config.retrieval.k
    default_strategy = pipe.config.retrieval.strategy
    known = {value for _, value in strings.STRATEGIES}
    largest_k = min(state.MAX_K, bank_size)
    with gr.Column(elem_id="compose", scale=0, min_width=300):
        with gr.Column(elem_id="words"):
            section("text", strings.WORDS)
            caption = gr.Textbox(
                begin.caption,
                label=strings.CAPTION_LABEL,
                show_label=False,
                lines=2,
                max_lines=6,
                placeholder=strings.CAPTION_PLACEHOLDER,
                elem_id="caption",
                autofocus=True,
            )
            unknown = panel(elem_id="unknown")
            vocabulary = panel(examples.known_words(), elem_id="vocabulary")
            tried = panel(examples.chips(), elem_id="examples")
        # It stays in sight, what went wrong included.
        with gr.Column(elem_id="foot"):
            with gr.Row(elem_id="actions"):
                generate = gr.Button(strings.GENERATE, variant="primary", elem_id="generate", scale=3)
                stop = gr.Button(strings.STOP, elem_id="stop", scale=1, min_width=70)
            told = panel(status(strings.READY), elem_id="status")
            place = panel(elem_id="place", js_on_load=line.PRESSES)
        with gr.Column(elem_id="folds"):
            with gr.Column(elem_id="memory-fold", elem_classes="md-fold"):
                fold_title("memory-fold", strings.MEMORY)
                checkpoints = switcher.build()
                source = gr.Radio(
                    list(strings.SOURCES),
                    elem_id="source",
                    label=strings.SOURCE_LABEL,
                    show_label=False,
                    value="retrieved" if default_strategy in known else default_strategy,
                )
                hint = panel(_source_hint("retrieved"), elem_id="source-hint")
                comparison = gr.Dropdown(
                    list(strings.STRATEGIES),
                    elem_id="comparison",
                    label=strings.STRATEGY_LABEL,
                    value=default_strategy if default_strategy in known else strings.STRATEGIES[0][1],
                    filterable=False,
                )
                tries = gr.Slider(
                    1,
                    min(MAX_TRIED, bank_size),
                    value=_tries(bank_size),
                    step=1,
                    label=strings.TRIES_LABEL,
                    elem_id="tries",
                    buttons=[],
                    visible=state.offers_tries(),
                )
                guidance = gr.Slider(
                    0,
                    MAX_GUIDANCE,
                    value=state.read_guidance(None),
                    step=0.25,
                    label=strings.GUIDANCE_LABEL,
                    info=strings.GUIDANCE_HINT,
                    elem_id="guidance",
                    buttons=[],
                )
            with gr.Column(elem_id="noise-fold", elem_classes="md-fold"):
                fold_title("noise-fold", strings.NOISE)
                with gr.Row(elem_id="noise"):
                    seed = gr.Textbox(
                        begin.seed,
                        label=strings.SEED_LABEL,
                        show_label=False,
                        max_lines=1,
                        min_width=120,
                        scale=2,
                        placeholder=strings.SEED_PLACEHOLDER,
                        elem_id="seed",
                    )
                    dice = gr.Button(strings.DICE, elem_id="dice", min_width=60, scale=1)
                steps = panel(elem_id="steps", js_on_load=CLICKS)
                keep = gr.Checkbox(label=strings.LOCK, info=strings.LOCK_HINT, elem_id="keep")
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
                    label=strings.K_LABEL,
                    info="Blended references often show through each other.",
                    elem_id="k",
                    buttons=[],
                )
                fade = switcher.build_fade()
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
        lambda: (examples.chips(), examples.known_words()),
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
    label = strings.VARIED.format(seed=steering.base, count=len(steering.variations))
    back = tag("button", text(strings.STEADY), type="button", class_="md-link", data_act="steady")
    return tag("p", text(label) + " " + back, class_="md-steps")


def _tries(bank_size: int) -> int:
    """Return how many references the page begins by trying; one where its file is damaged."""
    try:
        return min(examples.read_tries(state.pipeline()), bank_size) if state.offers_tries() else 1
    except DataError:
        return 1  # the captions' place on the page says what is wrong with the file


def _source_hint(source: str) -> str:
    return tag("p", text(strings.SOURCE_HINTS.get(source, "")), class_="md-hint")


def _show_source(source: str) -> tuple[str, gr.Dropdown, gr.Slider, gr.Slider, gr.Slider]:
    return (
        _source_hint(source),
        gr.Dropdown(interactive=source == "retrieved"),
        gr.Slider(interactive=source in ("retrieved", "random")),
        gr.Slider(interactive=source in ("retrieved", "random")),
        gr.Slider(interactive=source != "none"),
    )
