"""The left column: words, where the references come from, noise, and the two buttons.

A `Query` is what the column's components hold: from it a `Request` is read, and into it a recipe is
written back.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial, wraps
from inspect import isgeneratorfunction
from types import SimpleNamespace
from typing import Any, NamedTuple

from memdriven.errors import DataError, MemDrivenError, require
from memdriven.files import read_json
from memdriven.models.noise import Window
from memdriven.numbers import counted
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_TRIED, Recipe, Request
from memdriven.ui import gr, html, state
from memdriven.ui.html import hint, panel, section, status
from memdriven.ui.order import typed
from memdriven.ui.state import NUMBERS, RULES, read_number
from memdriven.ui.steering import Steering, own_panel, steps_line

part = partial(html.part, of="column")
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
FREE = {"": "from the seed"}
"""Of what a seed decides."""
MIRRORS = {"": None, "no": False, "yes": True}
STATE_SECONDS = 24 * 3600
"""How long the server keeps what a tab holds: a day, because Gradio counts from its last change
and not its last use. An hour after a tab is closed it goes in any case."""


class Query(NamedTuple):
    """What the left column's components hold, in the order that handlers are given it; not yet checked."""

    caption: Any
    source: object
    comparison: object
    k: object
    seed: object
    keep: object
    steering: Any = Steering()
    share: object = None
    guidance: object = None
    mirror: object = None
    window: object = None
    tries: object = None

    @property
    def empty(self) -> bool:
        """Whether nothing is written."""
        return not (isinstance(self.caption, str) and self.caption.strip())

    def request(self, kept: bool = False) -> Request:
        """Return the column's own request, without what is steered by hand.

        The seed in the box counts where the page keeps it, or where it is `kept` in any case.
        """
        numbers = {name: read_number(name, getattr(self, name)) for name in NUMBERS}
        seed = state.read_seed(self.seed, kept or bool(self.keep))
        return Request(
            caption=self.caption,
            seeds=(seed,),
            strategy=str(self.comparison if self.source == "retrieved" else self.source),
            k=int(numbers["k"]),
            variations=self.steering.steps_from(seed, bool(self.keep)),
            memory=numbers["share"],
            guidance=numbers["guidance"],
            best_of=int(numbers["tries"]),
            mirror=MIRRORS.get(str(self.mirror)),
            window=_window(self.window),
        )


KEPT = (*(name for name in Query._fields if name != "steering"), "checkpoint")
"""What a browser tab keeps of the column over a reload, by name."""

WRITTEN = ("keep", "share", "guidance", "mirror", "window")
"""What a recipe sets besides the question: what a visitor writes or chooses while one is painted stays."""


def _window(written: object) -> Any:
    parts: Any = written.replace(",", " ").split() if isinstance(written, str) else ()
    with suppress(ValueError):  # a request tells what is wrong with other words
        parts = tuple(map(float, parts))
    return parts or None


def view(mirror: bool | None, window: Window | None) -> dict[str, str]:
    """Return how the memory is seen as the column's components hold it, by name."""
    written = " ".join(f"{share:.6g}" for share in window or ())
    return {"mirror": next(name for name, held in MIRRORS.items() if held is mirror), "window": written}


def settings(recipe: Recipe, steering: Steering, *, noise: bool) -> dict[str, Any]:
    """Return the column's values for a recipe, by name; the seed and its steps with the noise.

    From then on the recipe's checkpoint is in use. Nothing is pinned: its references are begun from.
    """
    state.choose(model_of(recipe))
    taken = replace(steering.release(), shown=recipe)
    if noise:
        taken = taken.step(recipe.seed, recipe.variations)
    source = {"source": recipe.strategy}
    if recipe.strategy in RULES:
        source = {"source": "retrieved", "comparison": recipe.strategy}
    return {
        "caption": recipe.caption,
        **source,
        "k": read_number("k", len(recipe.neighbours) or recipe.k),
        "seed": str(recipe.seed) if noise else "",
        "keep": noise,
        "steering": taken,
        "steps": steps_line(taken),
        "share": read_number("share", recipe.memory),
        "guidance": recipe.guidance,
        **view(recipe.mirror, recipe.window),
        "tabs": gr.Tabs(selected="picture"),
        **in_use(),
    }


def model_of(recipe: Recipe) -> str:
    """Return the name of a recipe's checkpoint where the page has it, else of the one in use."""
    return recipe.checkpoint if recipe.checkpoint in state.registry().folders else state.chosen()


class Compose(SimpleNamespace):
    """The page's components by their names: `compose.caption`, for tabs to listen to.

    Beside what a `Query` is made of, and the Picture tab's panels: unknown (words), generate, stop, status,
    place (in line, shown instead of the status), checkpoint and facts (the choice, and what is in use), fade
    (shows `share` where the model offers it), steps (away from the seed's noise, with a way back), tabs;
    current, the last finished picture's recipe (None before the first); and saved, a file that the browser
    keeps as soon as it comes.
    """

    @property
    def whole_query(self) -> list[Any]:
        """All that a picture is made from: a `Query`."""
        return self.named(*Query._fields)

    def named(self, *names: object) -> list[Any]:
        """Return the components of these names; a component is its own."""
        return [vars(self)[each] if isinstance(each, str) else each for each in names]

    def on(
        self,
        trigger: Any,
        handler: Callable[..., Any],
        given: Sequence[object],
        changed: Sequence[object],
        **how: Any,
    ) -> Any:
        """Let a handler answer a trigger, or several; through the queue unless `how` says otherwise.

        It is `given` the values of components, and answers with those of the `changed` ones in their order,
        or with some by name. What goes wrong is told in the status; a tab's own panels then show again what
        they began with, and the page's components by name stay as they are. What fills a tab's own panels
        may take long, and is `html.LONG`.
        """
        parts, outputs = vars(self), self.named(*changed)
        begun = {each: each.value for each in outputs if each not in set(parts.values())}

        def placed(made: Any) -> Any:
            return {parts[name]: value for name, value in made.items()} if isinstance(made, dict) else made

        @wraps(handler)
        def once(*values: Any) -> Any:
            try:
                return placed(handler(*values))
            except Exception as error:
                return begun | {self.status: html.failure(error)}

        @wraps(handler)
        def often(*values: Any) -> Iterator[Any]:
            try:
                yield from map(placed, handler(*values))
            except Exception as error:
                yield begun | {self.status: html.failure(error)}

        answer = often if isgeneratorfunction(handler) else once
        listen = partial(gr.on, trigger) if isinstance(trigger, list) else trigger
        return listen(answer, self.named(*given), outputs, **(how or (html.LONG if begun else html.QUEUED)))


# ---- What the model in use offers ----------------------------------------------------------------

FILE, COUNT = "examples.json", 4


def _opening(pipe: MemoryDrivenPipeline, name: str, otherwise: Any) -> tuple[Any, str]:
    path = pipe.checkpoint.path / FILE
    given = read_json(path, DataError) if path.is_file() else {}
    return given.get(name, otherwise), f"{name} in {path}"


def read_examples(pipe: MemoryDrivenPipeline) -> list[str]:
    """Return captions of known words: from a model's folder, or the shortest of some items of its memory."""
    items = pipe.bank.items[:: max(1, pipe.bank.n // COUNT)][:COUNT]
    shortest = list(dict.fromkeys(min(item.captions, key=len) for item in items))
    captions, where = _opening(pipe, "captions", shortest)
    right = isinstance(captions, list) and all(isinstance(each, str) for each in captions)
    require(right, DataError, f"a list of {where}", json.dumps(captions)[:80], "restore the file")
    return list(captions)


def read_tries(pipe: MemoryDrivenPipeline) -> int:
    """Return how many references a model's page begins by trying (`references_tried`)."""
    tries, where = _opening(pipe, "references_tried", 1)
    right = type(tries) is int and 1 <= tries <= MAX_TRIED
    require(right, DataError, f"1..{MAX_TRIED} as {where}", json.dumps(tries)[:80], "restore the file")
    return min(tries, pipe.bank.n) if pipe.checkpoint.damsm.pixels is not None else 1


def chips() -> str:
    """Return example captions as buttons (`page.js` writes them), or what is wrong with their file."""
    try:
        pipe = state.pipeline()
        read_tries(pipe)
        return part("chips", read_examples(pipe))
    except DataError as error:
        return html.failure(error)


def _examples(count: int) -> str:
    with suppress(DataError):  # the captions' place on the page says what is wrong with the file
        return "\n".join(read_examples(state.pipeline())[:count])
    return ""


def known_words() -> str:
    """Return how many words the visitor's model knows and what about; all of them when unfolded."""
    words = sorted(word for word in state.pipeline().vocabulary.words if word.isalpha())
    subject = state.subject()
    return part("known", words, f" about {subject.removesuffix('s')}s" if subject else "")


def facts() -> str:
    """Return what is in use as a quiet line."""
    return hint(f"{state.chosen()}: {counted(state.pipeline().bank.n, 'picture')} in memory")


def choices() -> dict[str, str]:
    """Return a label for each checkpoint that can be opened: one that has, or borrows, a memory."""
    return {name: name for name, folder in state.registry().folders.items() if state.has_memory(folder)}


def in_use() -> dict[str, Any]:
    """Return the checkpoint in use, its facts, and whether it offers less than all of the memory."""
    fade = gr.Column(visible=state.offers_memory())
    return {"checkpoint": state.chosen(), "facts": facts(), "fade": fade}


def switch(name: object) -> Iterator[dict[str, Any]]:
    """Yield what changes before and after a checkpoint is loaded, by name."""
    yield {"status": status(f"Opening {name}\u2026", busy=True)}
    try:
        pipe = state.choose(str(name))
        tries = read_tries(pipe)
    except MemDrivenError as error:
        yield {"checkpoint": state.chosen(), "status": html.failure(error)}
        return
    yield {
        **in_use(),
        "k": gr.Slider(maximum=state.limits("k")[1]),
        "steering": Steering(),
        "own": own_panel(Steering()),
        "steps": "",
        "share": 1.0,
        "guidance": pipe.config.generator.guidance,
        "tries": gr.Slider(tries, maximum=min(MAX_TRIED, pipe.bank.n), visible=state.offers_tries()),
        "status": status(f"{state.chosen()} is in use: {counted(pipe.bank.n, 'picture')} in memory."),
    }


# ---- The column ----------------------------------------------------------------------------------


def build(begin: Mapping[str, Any]) -> Compose:
    """Add the column to the page that is being built, with what it opens with by name."""
    pipe, offered = state.pipeline(), choices()
    strategy = pipe.config.retrieval.strategy
    tries, most = 1, min(MAX_TRIED, pipe.bank.n)
    with suppress(DataError):  # `chips` says what is wrong with the file
        tries = read_tries(pipe)
    column = Compose(steering=gr.State(Steering(), time_to_live=STATE_SECONDS))
    column.current = gr.State(begin.get("current"), time_to_live=STATE_SECONDS)
    with gr.Column(elem_id="compose", scale=0, min_width=300):
        with gr.Column(elem_id="words"):
            section("text", "Words")
            first, form = begin.get("caption", ""), {"lines": 2, "max_lines": 6, "show_label": False}
            column.caption = html.box(
                "caption", "Your words", value=first, placeholder=_examples(1), autofocus=True, **form
            )
            column.unknown = panel(elem_id="unknown")
            with gr.Row(elem_id="word-tools"):
                vocabulary = panel(known_words(), elem_id="vocabulary", js_on_load=html.script("words.js"))
                panel(part("batch", _examples(2)), elem_id="batch")
            tried = panel(chips(), elem_id="examples")
        # It stays in sight, what went wrong included.
        with gr.Column(elem_id="foot"):
            with gr.Row(elem_id="actions"):
                column.generate = gr.Button("Generate", variant="primary", elem_id="generate", scale=3)
                column.stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=70)
            column.status = panel(status(html.READY), elem_id="status")
            column.place = panel(elem_id="place", js_on_load=html.script("place.js"))
        with gr.Column(elem_id="folds"):
            with html.fold("memory", "Memory"):
                label, first, several = "Model and memory", state.registry().default, len(offered) > 1
                column.checkpoint = html.choice(
                    gr.Dropdown, "checkpoint", label, offered, value=first, visible=several
                )
                column.facts = panel(facts(), elem_id="facts")
                sources = {name: label for name, (label, _) in SOURCES.items()}
                label = "Where the reference comes from"
                first = "retrieved" if strategy in RULES else strategy
                column.source = html.choice(
                    gr.Radio, "source", label, sources, value=first, show_label=False, elem_classes=None
                )
                column.hint = panel(hint(SOURCES["retrieved"][1]), elem_id="source-hint")
                label, first = "Match memories by", strategy if strategy in RULES else next(iter(RULES))
                column.comparison = html.choice(gr.Dropdown, "comparison", label, RULES, value=first)
                label = "Try several references, keep the best"
                column.tries = html.slider("tries", label, 1, most, tries, visible=state.offers_tries())
                info = "Higher follows your words where the memory disagrees."
                strength = state.limits("guidance")
                column.guidance = html.slider("guidance", "Caption strength", *strength, 0.25, info=info)
            with html.fold("noise", "Noise"):
                with gr.Row(elem_id="noise"):
                    first, form = begin.get("seed", ""), {"show_label": False, "min_width": 120, "scale": 2}
                    column.seed = html.box("seed", "Seed", value=first, placeholder="random", **form)
                    dice = gr.Button("Random seed", elem_id="dice", min_width=60, scale=1)
                column.steps = panel(elem_id="steps", js_on_load=html.CLICKS)
                free = "Off: a new random seed for every picture."
                column.keep = gr.Checkbox(label="Keep this seed", info=free, elem_id="keep")
                label, sides = "Mirror the memory, left to right", FREE | {"no": "off", "yes": "on"}
                column.mirror = html.choice(gr.Radio, "mirror", label, sides, value="")
                label = "Part of the memory that is seen (left, top, side)"
                parts = FREE | {"0 0 1": "the whole", "0.1 0.1 0.8": "the middle"}
                column.window = html.choice(
                    gr.Dropdown, "window", label, parts, value="", allow_custom_value=True, filterable=True
                )
            with html.fold("experiments", "Experiments"):
                low, high, _ = state.limits("k")
                begun, info = pipe.config.retrieval.k, "Blended references often show through each other."
                column.k = html.slider("k", "References blended (k)", low, high, min(begun, high), info=info)
                with gr.Column(elem_id="fade", visible=state.offers_memory()) as column.fade:
                    column.share = html.slider("fade-share", "How much of the memory is used", 0, 1, 1, 0.05)
                    panel(part("ends"))
    save = "watch('value', () => setTimeout(() => element.querySelector('a')?.click(), 100))"
    column.saved = panel(elem_id="saved", js_on_load=save)
    drawn = "() => [String(crypto.getRandomValues(new Uint32Array(1))[0]), true]"
    dice.click(None, None, [column.seed, column.keep], js=drawn, **html.QUIET)
    # What is written into the box of the seed, by hand or the button, is kept (`page.js`).
    gr.on([column.keep.input, dice.click], typed, None, column.seed, **html.PRESS)
    for each in column.named(*WRITTEN):
        each.input(typed, None, each, **html.PRESS)
    set_by_source = ("hint", "comparison", "k", "tries", "guidance")
    column.on(column.source.change, show_source, ["source"], set_by_source, **html.BESIDE)
    # What is in use changed, by the html.choice or by a recipe.
    column.facts.change(
        lambda: (chips(), known_words(), gr.Textbox(placeholder=_examples(1))),
        None,
        [tried, vocabulary, column.caption],
        **html.BESIDE,
    )
    return column


def show_source(source: str) -> dict[str, Any]:
    """Return what a place where the references come from leaves to be set, by name."""
    found = source in ("retrieved", "random")
    return {
        "hint": hint(SOURCES[source][1] if source in SOURCES else ""),
        "comparison": gr.Dropdown(interactive=source == "retrieved"),
        "k": gr.Slider(interactive=found),
        "tries": gr.Slider(interactive=source == "retrieved"),
        "guidance": gr.Slider(interactive=source != "none"),
    }
