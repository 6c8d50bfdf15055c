"""The Picture tab: neighbours that follow the keystrokes, and a picture that grows in stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from memdriven.errors import MemDrivenError
from memdriven.trace import Neighbour, PipelineOutput, Retrieval
from memdriven.ui import cards, lineup, picture, state, strings
from memdriven.ui.compose import Compose
from memdriven.ui.parts import panel, section
from memdriven.ui.startup import gr
from memdriven.ui.status import failure, status

Update = str | dict[str, object]
"""HTML for a panel, or `gr.skip()` to leave it as it is."""


@dataclass(frozen=True)
class PictureTab:
    """The tab's components, for other tabs that show something here."""

    tab: gr.Tab
    memory: gr.HTML
    result: gr.HTML


def look(
    caption: str, source: str, comparison: str, k: int, seed: str, keep: bool
) -> tuple[str, str, str]:
    """Return memory panel, unknown words and status for what is written so far."""
    if not caption.strip():
        return cards.note(strings.MEMORY_EMPTY), "", status(strings.READY)
    try:
        number = state.read_seed(seed, keep)
        strategy = state.read_strategy(source, comparison)
        retrieval, spare = lineup.neighbours(caption, strategy, state.read_k(k), number)
    except MemDrivenError as error:
        return cards.note(strings.MEMORY_ERROR), "", failure(error)
    return (*_memory(retrieval, spare), status(_found(retrieval)))


def paint(
    caption: str, source: str, comparison: str, k: int, seed: str, keep: bool
) -> Iterator[tuple[Update, Update, Update, Update, Update]]:
    """Yield memory panel, unknown words, result, status and seed after each step."""
    pipe = state.pipeline()
    try:
        number = state.read_seed(seed, keep)
        strategy = state.read_strategy(source, comparison)
        yield gr.skip(), gr.skip(), gr.skip(), status(strings.RETRIEVING, busy=True), str(number)
        for output in pipe.stream(caption, strategy, state.read_k(k), number):
            if not output.stages:
                spare = lineup.next_in_line(output.retrieval)
                memory, unknown = _memory(output.retrieval, spare)
                yield memory, unknown, show(output), _progress(output), gr.skip()
            else:
                yield gr.skip(), gr.skip(), show(output), _progress(output), gr.skip()
    except MemDrivenError as error:
        yield gr.skip(), gr.skip(), picture.empty_picture(), failure(error), gr.skip()


def show(output: PipelineOutput) -> str:
    """Return the result panel for an output."""
    return picture.picture_panel(output, state.pipeline().resolutions)


def build(compose: Compose) -> tuple[PictureTab, gr.events.Dependency]:
    """Add the tab; return it with the event that paints, so that Stop can cancel it."""
    with gr.Tab(strings.TAB_PICTURE, id="picture") as tab, gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="memory-column", min_width=300):
            section("memory", strings.MEMORY_TITLE)
            memory = panel(cards.note(strings.MEMORY_EMPTY), elem_id="memory")
        with gr.Column(elem_id="picture-column", min_width=300):
            section("paint", strings.PICTURE_TITLE)
            result = panel(picture.empty_picture(), elem_id="result")
    gr.on(
        [compose.caption.change, compose.source.change, compose.comparison.change,
         compose.k.change],
        look, compose.query, [memory, compose.unknown, compose.status],
        trigger_mode="always_last", show_progress="hidden", concurrency_id=state.CONCURRENCY_ID,
        concurrency_limit=1, api_visibility="private",
    )  # fmt: skip
    event = compose.generate.click(
        paint, compose.query, [memory, compose.unknown, result, compose.status, compose.seed],
        trigger_mode="once", show_progress="hidden", concurrency_id=state.CONCURRENCY_ID,
        concurrency_limit=1, api_visibility="private",
    )  # fmt: skip
    return PictureTab(tab, memory, result), event


def _memory(retrieval: Retrieval, spare: tuple[Neighbour, ...]) -> tuple[str, str]:
    return (
        cards.memory_panel(retrieval, spare, state.common_words()),
        cards.unknown_words(retrieval.unknown_words, retrieval.truncated),
    )


def _found(retrieval: Retrieval) -> str:
    if retrieval.strategy == "none":
        return strings.FOUND_NONE
    return strings.FOUND.format(count=len(retrieval), words=len(retrieval.words))


def _progress(output: PipelineOutput) -> str:
    if output.complete:
        total = f"{output.timings['total']:.0f}"
        return status(strings.DONE.format(ms=total, seed=output.recipe.seed))
    count = len(state.pipeline().resolutions)
    return status(strings.PAINTING.format(done=len(output.stages), count=count), busy=True)
