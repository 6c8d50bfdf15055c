"""The Paper tab: each claim with its measured answer, and the figures as live pages of the loaded model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from memdriven.checkpoint import load_rival, rival_budget
from memdriven.errors import DataError, MemDrivenError
from memdriven.evaluation.report import PUBLISHED
from memdriven.explore.compare import by_others, mean_difference, painted
from memdriven.explore.copies import LEVELS
from memdriven.explore.inside import look_inside
from memdriven.explore.paper import answers, paint_rival, rows_of
from memdriven.files import read_json
from memdriven.numbers import percent
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED, Request
from memdriven.ui import copies, gr, html, inside, references, state
from memdriven.ui.html import note, panel, status
from memdriven.ui.query import Compose, Query, read_examples

part = partial(html.part, of="paper")
ROWS, NOISES = 4, 5
COLUMNS, ROW_NAMES, CAPTIONS = read_json(Path(__file__).with_name("paper.json"), DataError).values()
"""Names of Table 1's columns and rows, and the figures' captions."""
RIVAL_HEAD = "A rival without memory"


def draw(number: object, *query: object) -> Iterator[tuple[str, str]]:
    """Yield a figure as far as it is, and the status."""
    requests = _requests(Query(*query))
    _, page = FIGURES.get(str(number), FIGURES["1"])
    for made in page(state.pipeline(), requests):
        yield made, status("Drawing the figure\u2026", busy=True)
    yield made, status(f"Drawn with seed {requests[0].seeds[0]}.")


def _requests(asked: Query) -> list[Request]:
    """Return what the left column asks for, if it has words, and the examples at its seed and tries."""
    pipe = state.pipeline()
    seed = state.read_seed(str(asked.seed or ""), keep=True)
    tries = int(state.read_number("tries", asked.tries))
    found = [Request(caption=each, seeds=(seed,), best_of=tries) for each in read_examples(pipe)]
    if not asked.empty:
        own = replace(references.read(*asked), seeds=(seed,))
        found = [own, *(each for each in found if each.caption != own.caption)]
    return found[:ROWS] or [Request(caption=pipe.bank.items[0].captions[0], seeds=(seed,), best_of=tries)]


# ---- Claims --------------------------------------------------------------------------------------


def claims_html() -> str:
    """Return the table of claims, where the paper makes them, and what was measured here."""
    try:
        return part("claims", state.pipeline().checkpoint.name, answers(state.pipeline()))
    except MemDrivenError as error:
        return html.failure(error)


# ---- Figures -------------------------------------------------------------------------------------

Figure = Callable[[MemoryDrivenPipeline, Sequence[Request]], Iterator[str]]


def first(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 1: given text, then pictures of the rival, without memory, with a random one, and ours."""
    rival = load_rival(pipe.checkpoint)
    named = ["Given text", RIVAL_HEAD, "No memory", "Random memory", "Ours"]
    heads = [each for each in named if rival is not None or each != RIVAL_HEAD]
    budget = f" ({trained})" if (trained := rival_budget(pipe.checkpoint)) else ""
    caption = CAPTIONS["1" if rival is None else "1, rival"].format(budget=budget)
    rows: list[dict[str, Any]] = []
    for request in requests:
        pictures, loose = list[Image.Image](), replace(request, references=None, best_of=1)
        rows.append({"caption": request.caption, "pictures": pictures})
        if rival is not None:
            pictures.append(paint_rival(pipe, rival, request))
        for each in (replace(loose, strategy="none"), replace(loose, strategy="random"), request):
            pictures.append(pipe(each).images[0])
            yield _figure("1", part("rows", heads, rows), caption)


def second(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 2: the walk through the method with the first request's tensors."""
    for made in inside.walks(pipe, look_inside(pipe, requests[0]), "figure"):
        yield _figure("2", made)


def third(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 3: text, the retrieved picture, the picture made of its features, the copy check."""
    yield from map(note, copies.describing(pipe))
    heads, rows = ("Given text", "Retrieved", "Ours", "Copy check"), list[dict[str, Any]]()
    for request in requests:
        output = pipe(request)
        found = copies.space(pipe).result().check(output)
        verdict = html.part("verdict", found, len(output.retrieval) > 0, LEVELS, of="copies")
        made = {"caption": request.caption, "retrieval": output.retrieval, "pictures": output.images}
        rows.append(made | {"check": verdict})
        yield _figure("3", part("rows", heads, rows))


def fifth(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 5: fixed sentence and features above, pictures of several z below, and how far apart."""
    blocks: list[dict[str, Any]] = []
    for request in requests[:2]:
        prepared, pictures = pipe.prepare(request), list[Image.Image]()
        block = {"caption": request.caption, "retrieval": prepared.retrieval, "pictures": pictures}
        blocks.append(block | {"apart": ""})
        first = pipe.noise(request, request.seeds[0])
        for step in range(NOISES):
            z = pipe.noise(request, (request.seeds[0] + step) % (MAX_SEED + 1)).z
            pictures.append(painted(pipe, prepared, first._replace(z=z)))
            if len(pictures) == NOISES:
                by_memory = mean_difference([pictures[0], *by_others(pipe, prepared, first)])
                blocks[-1]["apart"] = percent(mean_difference(pictures), 1)
                blocks[-1]["by_memory"] = percent(by_memory, 1)
            yield _figure("5", part("noises", blocks, NOISES))


def numbers(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Table 1 with our own rows below it, each number with its form."""
    known = rows_of(pipe)
    rows = {row: name for row, name in ROW_NAMES.items() if any((row, each) in known for each in COLUMNS)}
    table = part("numbers", PUBLISHED["CUB"], COLUMNS, rows, known, pipe.checkpoint.name)
    yield _figure("table 1", table)


FIGURES: dict[str, tuple[str, Figure]] = {
    "1": ("Fig. 1: with and without", first),
    "2": ("Fig. 2: the method", second),
    "3": ("Fig. 3: references", third),
    "5": ("Fig. 5: diversity", fifth),
    "table 1": ("Table 1", numbers),
}


def _figure(number: str, made: str, caption: str = "") -> str:
    return part("figure", number, caption or CAPTIONS[number], made)


def build(compose: Compose) -> None:
    """Add the tab."""
    with gr.Tab("Paper", id="paper") as tab:
        html.explain(
            "What \u201cMemory-Driven Text-to-Image Generation\u201d says, and whether it holds here; below, "
            "its figures, drawn now by the model that is loaded, for your words and the examples."
        )
        claims = panel(note("The claims are looked up when this tab is opened."), elem_id="paper-claims")
        with gr.Row(elem_classes="md-tools"):
            figures = {name: label for name, (label, _) in FIGURES.items()}
            number = html.choice(
                gr.Radio, "paper-choice", "Figure", figures, value="1", show_label=False, scale=3
            )
            run = html.run_button("Draw the figure", "paper-run", min_width=130)
        made = panel(
            note("The figure is drawn here."), elem_id="paper-result", js_on_load=html.script("inside.js")
        )
    tab.select(claims_html, None, claims, **html.BESIDE)
    compose.on([run.click, number.change], draw, [number, *compose.whole_query], [made, "status"])
