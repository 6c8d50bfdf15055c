"""The Paper tab: the paper's Figures 1, 3 and 5 as live pages, made by the loaded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from PIL import Image

from memdriven.errors import MemDrivenError
from memdriven.pipeline.output import PipelineOutput, Retrieval
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED
from memdriven.ui import asked, state, strings
from memdriven.ui.cards import note
from memdriven.ui.compose import Compose
from memdriven.ui.examples import read_examples
from memdriven.ui.html import image_uri, tag, text
from memdriven.ui.parts import panel
from memdriven.ui.startup import gr
from memdriven.ui.status import failure, status
from memdriven.ui.widgets import event_options

ROWS, NOISES = 4, 5
Page = Callable[[MemoryDrivenPipeline, Sequence[str], int], Iterator[str]]


def draw(number: str, *query: object) -> Iterator[tuple[str, str]]:
    """Yield a figure as far as it is, and the status."""
    pipe = state.pipeline()
    try:
        captions, seed = _captions(*query)
        page = PAGES.get(str(number), first)
        for made in page(pipe, captions, seed):
            yield made, status(strings.PAPER_DRAWING, busy=True)
        yield made, status(strings.PAPER_DONE.format(seed=seed))
    except MemDrivenError as error:
        yield note(strings.PAPER_EMPTY), failure(error)


def first(pipe: MemoryDrivenPipeline, captions: Sequence[str], seed: int) -> Iterator[str]:
    """Yield Fig. 1: given text, then pictures without memory, with any memory, and ours."""
    rows: list[str] = []
    for caption in captions:
        cells = [_words(caption)]
        for strategy in ("none", "random", None):
            output = pipe(caption, strategy, 1, seed)
            cells.append(_picture(output.images[0], caption))
            yield _figure("1", [*rows, _row(cells, 4)])
        rows.append(_row(cells, 4))


def third(pipe: MemoryDrivenPipeline, captions: Sequence[str], seed: int) -> Iterator[str]:
    """Yield Fig. 3: text, the retrieved picture whose features were used, the picture made."""
    rows: list[str] = []
    for caption in captions:
        output = pipe(caption, None, 1, seed)
        rows.append(
            _row([_words(caption), _retrieved(output.retrieval), _picture(output.images[0], caption)], 3)
        )
        yield _figure("3", rows)


def fifth(pipe: MemoryDrivenPipeline, captions: Sequence[str], seed: int) -> Iterator[str]:
    """Yield Fig. 5: fixed sentence and features above, pictures of several noises below."""
    columns: list[tuple[str, Retrieval, PipelineOutput]] = []
    seeds = [(seed + step) % (MAX_SEED + 1) for step in range(NOISES)]
    for caption in captions[:2]:
        for output in pipe.stream(caption, None, 1, seeds=seeds):
            blocks = [_block(*each) for each in [*columns, (caption, output.retrieval, output)]]
            yield _figure("5", blocks)
        columns.append((caption, output.retrieval, output))


PAGES: dict[str, Page] = {"1": first, "3": third, "5": fifth}


def _captions(*query: object) -> tuple[list[str], int]:
    """Return the words in the left column and the examples, and the seed."""
    seed = state.read_seed(query[4] if isinstance(query[4], str) else "", keep=True)
    captions = read_examples(state.pipeline())
    if str(query[0]).strip():
        own = asked.read(*query).caption
        captions = [own, *(each for each in captions if each != own)]
    return (captions or [strings.CAPTION_PLACEHOLDER])[:ROWS], seed


def _figure(number: str, rows: Sequence[str]) -> str:
    heads = "".join(tag("span", text(head)) for head in strings.PAPER_HEADS[number])
    title = strings.PAPER_FIGURES[number]
    head = (
        tag(
            "div",
            heads,
            class_="md-paper-row md-paper-head",
            style=f"--cells:{len(strings.PAPER_HEADS[number])}",
        )
        if heads
        else ""
    )
    caption = tag("b", text(strings.PAPER_NUMBER.format(number=number))) + " " + text(title)
    return tag(
        "figure", head + "".join(rows) + tag("figcaption", caption), class_="md-paper", data_figure=number
    )


def _row(cells: Sequence[str], count: int) -> str:
    return tag("div", "".join(cells), class_="md-paper-row", style=f"--cells:{count}")


def _words(caption: str) -> str:
    return tag("p", text(caption), class_="md-paper-words")


def _picture(picture: Image.Image, caption: str) -> str:
    return tag("img", src=image_uri(picture), alt=strings.PICTURE_ALT.format(caption=caption))


def _retrieved(retrieval: Retrieval) -> str:
    if not len(retrieval):
        return tag("span")
    best = retrieval[0]
    alt = strings.CARD_ALT.format(rank=best.rank, caption=best.caption)
    return tag("img", src=image_uri(best.image), alt=alt, class_="md-paper-memory")


def _block(caption: str, retrieval: Retrieval, output: PipelineOutput) -> str:
    top = tag("div", _words(caption) + _retrieved(retrieval), class_="md-paper-top")
    stages = len(state.pipeline().resolutions)
    done = [made[-1] for made in output.all_stages if len(made) == stages]
    blank = tag("span", class_="md-tile md-busy") * (NOISES - len(done))
    below = "".join(_picture(picture, caption) for picture in done) + blank
    return tag("div", top + tag("div", below, class_="md-paper-noises"), class_="md-paper-block")


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    with gr.Tab(strings.TAB_PAPER, id="paper"):
        panel(tag("p", text(strings.PAPER_NOTE), class_="md-hint"))
        with gr.Row(elem_classes="md-tools"):
            number = gr.Radio(
                [(label, each) for each, label in strings.PAPER_CHOICES],
                value="1",
                label=strings.PAPER_FIGURE,
                show_label=False,
                elem_id="paper-choice",
                elem_classes="md-choice",
                scale=3,
            )
            run = gr.Button(
                strings.PAPER_RUN,
                variant="primary",
                elem_id="paper-run",
                elem_classes="md-run",
                min_width=130,
            )
        made = panel(note(strings.PAPER_EMPTY), elem_id="paper-result")
    return [run.click(draw, [number, *compose.steered_query], [made, compose.status], **event_options())]
