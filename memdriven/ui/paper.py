"""The Paper tab: each claim with its measured answer, and the figures as live pages of the loaded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from memdriven.checkpoint import load_rival, rival_budget
from memdriven.errors import DataError, MemDrivenError
from memdriven.evaluation.report import PUBLISHED
from memdriven.evaluation.results import Result
from memdriven.explore.compare import by_others, mean_difference, painted
from memdriven.explore.inside import look_inside
from memdriven.explore.paper import Answered, Claim, answers, paint_rival, rows_of
from memdriven.files import read_json
from memdriven.numbers import percent
from memdriven.pipeline.output import Retrieval
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED, Request
from memdriven.ui import copies, gr, html, inside, references, state
from memdriven.ui.html import image, image_uri, panel, status, tag
from memdriven.ui.query import Compose, Query, read_examples
from memdriven.ui.references import note

EMPTY = "The figure is drawn here."
ROWS, NOISES = 4, 5
COLUMNS, ROW_NAMES, CAPTIONS = read_json(Path(__file__).with_name("paper.json"), DataError).values()
"""Names of Table 1's columns and rows, and the figures' captions."""
RIVAL_HEAD = "A rival without memory"
HOLDS = {"yes": "holds", "partly": "in part", "no": "does not hold", None: "not measured"}


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
    if str(asked.caption).strip():
        own = replace(references.read(*asked), seeds=(seed,))
        found = [own, *(each for each in found if each.caption != own.caption)]
    return found[:ROWS] or [Request(caption=pipe.bank.items[0].captions[0], seeds=(seed,), best_of=tries)]


# ----------------------------------------------------------------------------------------------------
# Claims


def claims_html() -> str:
    """Return the table of claims, where the paper makes them, and what was measured here."""
    try:
        rows = [_claim(*each) for each in answers(state.pipeline()).items()]
    except MemDrivenError as error:
        return html.failure(error)
    title = f"Measured on {state.pipeline().checkpoint.name}, by rows of its results.jsonl."
    return html.table(title, ("The paper says", "Where", "Here", "Holds?"), rows, class_="md-claim-table")


def _claim(claim: Claim, answered: Answered) -> str:
    here, holds = answered[0], answered[1]
    tab, press = claim.see, "#generate"
    if claim.see == "inside":  # works it out when it is opened
        press = '[data-tab-id="inside"]'
    elif claim.see.startswith(("figure", "table")):
        tab, press = "paper", f'#paper-choice input[value="{claim.see.removeprefix("figure ")}"]'
    if claim.see:
        here += " " + html.button("See it", "md-link", data_press=press, data_tab=tab)
    return tag(
        "tr",
        tag("th", claim.words, scope="row"),
        tag("td", claim.where, data_head="Where"),
        tag("td", here, data_head="Here"),
        tag("td", tag("b", HOLDS[holds]), data_head="Holds?"),
        data_holds=holds or "open",
    )


# ----------------------------------------------------------------------------------------------------
# Figures

Figure = Callable[[MemoryDrivenPipeline, Sequence[Request]], Iterator[str]]


def first(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 1: given text, then pictures of the rival, without memory, with a random one, and ours."""
    rival = load_rival(pipe.checkpoint)
    named = ["Given text", RIVAL_HEAD, "No memory", "Random memory", "Ours"]
    heads = [each for each in named if rival is not None or each != RIVAL_HEAD]
    budget = f" ({told})" if (told := rival_budget(pipe.checkpoint)) else ""
    caption, rows = (CAPTIONS["1" if rival is None else "1, rival"].format(budget=budget), [_heads(heads)])
    for request in requests:
        cells, loose = [_words(request.caption)], replace(request, references=None, best_of=1)
        if rival is not None:
            cells.append(_picture(paint_rival(pipe, rival, request), request.caption))
        for each in (replace(loose, strategy="none"), replace(loose, strategy="random"), request):
            cells.append(_picture(pipe(each).images[0], request.caption))
            yield _figure("1", [*rows, _row(cells, len(heads))], caption)
        rows.append(_row(cells, len(heads)))


def second(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 2: the walk through the method with the first request's tensors."""
    for made in inside.walks(pipe, look_inside(pipe, requests[0]), "figure"):
        yield _figure("2", [made])


def third(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 3: text, the retrieved picture, the picture made of its features, the copy check."""
    yield from map(note, copies.describing(pipe))
    rows = [_heads(("Given text", "Retrieved", "Ours", "Copy check"))]
    for request in requests:
        output = pipe(request)
        found = copies.verdict(copies.space(pipe).result().check(output), len(output.retrieval) > 0)
        made = _picture(output.images[0], request.caption)
        cells = (_words(request.caption), _retrieved(output.retrieval), made)
        rows.append(_row([*cells, tag("div", found, class_="md-paper-check")], 4))
        yield _figure("3", rows)


def fifth(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 5: fixed sentence and features above, pictures of several z below, and how far apart."""
    blocks = ""
    for request in requests[:2]:
        prepared, caption, pictures = pipe.prepare(request), request.caption, list[Image.Image]()
        above = tag("div", _words(caption), _retrieved(prepared.retrieval), class_="md-paper-top")
        first = pipe.noise(request, request.seeds[0])
        for step in range(NOISES):
            z = pipe.noise(request, (request.seeds[0] + step) % (MAX_SEED + 1)).z
            pictures.append(painted(pipe, prepared, first._replace(z=z)))
            shown = [_picture(each, caption) for each in pictures]
            blank, apart = tag("span", class_="md-tile md-busy") * (NOISES - len(pictures)), ""
            if not blank:
                by_memory = mean_difference([pictures[0], *by_others(pipe, prepared, first)])
                share = (
                    f"Two of them differ by {percent(mean_difference(pictures), 1)} on average; with other "
                    f"references and the same noise by {percent(by_memory, 1)}."
                )
                apart = tag("p", share, class_="md-hint md-apart")
            below = tag("div", *shown, blank, class_="md-paper-noises")
            block = tag("div", above, below, apart, class_="md-paper-block")
            yield _figure("5", [blocks, block])
        blocks += block


def numbers(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Table 1 with our own rows below it, each number with its form."""
    theirs, ours, measured, dash = [], [], rows_of(pipe), "\u2013"
    for each in PUBLISHED["CUB"]:
        theirs.append([each["method"], each["fid"] or dash, each["form"], each["r_precision"] or dash])
    for row, name in ROW_NAMES.items():
        if any((row, each) in measured for each in COLUMNS):
            ours.append([name, *(_shown(each, measured.get((row, each))) for each in COLUMNS)])
    made = [_numbers("Published, CUB", ("Method", "FID", "form", "R-precision"), theirs)]
    if ours:
        made.append(_numbers(f"Measured here, {pipe.checkpoint.name}", ("Row", *COLUMNS.values()), ours))
        forms = sorted({each.protocol for each in measured.values() if each.metric in COLUMNS})
        lines = (tag("li", form.replace("KID x 1000", "KID")) for form in forms)
        made.append(tag("details", tag("summary", "How each number was measured"), tag("ul", *lines)))
    else:
        made.append(html.hint("Nothing was measured of this checkpoint yet."))
    yield _figure("table 1", made)


def _shown(name: str, result: Result | None) -> str:
    if result is None:
        return ""
    if name == "kid_vgg":  # recorded in thousandths; of unscaled features the plain number is easier to read
        return f"{result.value / 1000:,.1f}"
    if name in ("asked_colours", "copy_suspected"):
        return f"{100 * result.value:.1f}"
    return f"{result.value:,.0f}" if abs(result.value) >= 100 else f"{result.value:.2f}"


FIGURES: dict[str, tuple[str, Figure]] = {
    "1": ("Fig. 1: with and without", first),
    "2": ("Fig. 2: the method", second),
    "3": ("Fig. 3: references", third),
    "5": ("Fig. 5: diversity", fifth),
    "table 1": ("Table 1", numbers),
}


# ----------------------------------------------------------------------------------------------------
# Their parts


def _figure(number: str, rows: Sequence[str], caption: str = "") -> str:
    name = "Table 1:" if number == "table 1" else f"Figure {number}:"
    words = tag("figcaption", tag("b", name), " ", caption or CAPTIONS[number])
    return tag("figure", *rows, words, class_="md-paper", data_figure=number)


def _heads(names: Sequence[str]) -> str:
    return _row([tag("span", each) for each in names], len(names), "md-paper-row md-paper-head")


def _row(cells: Sequence[str], count: int, kind: str = "md-paper-row") -> str:
    blank = tag("span") * (count - len(cells))
    return tag("div", *cells, blank, class_=kind, style=f"--cells:{count}")


def _numbers(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        tag("tr", tag("th", name, scope="row"), *(tag("td", each) for each in cells)) for name, *cells in rows
    ]
    made = html.table(title, heads, lines)
    return tag("div", made, class_="md-numbers", tabindex=0, role="region", aria_label=title)


def _words(caption: str) -> str:
    return tag("p", caption, class_="md-paper-words")


def _picture(picture: Image.Image, caption: str) -> str:
    return image(picture, html.PICTURE_ALT.format(caption=caption))


def _retrieved(retrieval: Retrieval) -> str:
    if not len(retrieval):
        return tag("span")
    best = retrieval[0]
    alt = html.CARD_ALT.format(rank=best.rank, caption=best.caption)
    return tag("img", src=image_uri(best.image), alt=alt, class_="md-paper-memory")


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
        made = panel(note(EMPTY), elem_id="paper-result", js_on_load=html.script("inside.js"))
    tab.select(claims_html, None, claims, **html.BESIDE)
    compose.on([run.click, number.change], draw, [number, *compose.whole_query], [made, "status"])
