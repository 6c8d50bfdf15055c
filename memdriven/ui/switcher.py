"""The choice between checkpoints, each with its own memory; every tab of a browser has its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from memdriven.errors import MemDrivenError
from memdriven.ui import cards, state
from memdriven.ui.html import failure, hint, status, tag, text
from memdriven.ui.parts import panel
from memdriven.ui.startup import gr
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
        cards.own_panel(Steering()),
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


def build() -> Switcher:
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
