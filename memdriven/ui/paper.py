"""The Paper tab: each claim with its measured answer, and the figures as live pages of the loaded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from PIL import Image

from memdriven.errors import MemDrivenError
from memdriven.evaluation.tables import PUBLISHED, metric
from memdriven.explore.compare import difference
from memdriven.explore.paper import MODELS, Answer, answers, rows_of
from memdriven.pipeline.output import Prepared, Retrieval, to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED, Request
from memdriven.ui import copies, references, state, strings
from memdriven.ui.cards import note
from memdriven.ui.compose import Compose, read_examples, read_tries
from memdriven.ui.html import failure, image_uri, status, tag, text
from memdriven.ui.parts import event_options, panel
from memdriven.ui.startup import gr

ROWS, NOISES = 4, 5
OURS = ("real", "retrieved", *MODELS, "rival", "random", "none")
COLUMNS = ("fid_vgg", "kid_vgg", "r_precision_judge", "asked_colours", "copy_suspected")
HEADS = {
    "1": ("Given text", "No memory", "Random memory", "Ours"),
    "3": ("Given text", "Retrieved", "Ours", "Copy check"),
}
CAPTIONS = {
    "1": "Pictures from text. The paper compares with other models. Here it is the same model without "
    "its memory, and with a random one: this shows what the memory gives, not how a model would paint "
    "that never had one.",
    "2": "The method, as a walk with the numbers of your own picture.",
    "3": "Pictures with the retrieved image that gave the features, and what the copy check finds.",
    "5": "Diversity. Above: the fixed sentence and image features, shown by their image. Below: pictures of "
    "other z, and nothing else: the memory is seen the same way in all of them.",
    "table 1": "The paper\u2019s numbers on CUB, and ours on our own birds. FID comes in forms (a, b, "
    "c; ? unknown) that differ by ten points on the same pictures, and these are other pictures: the "
    "two parts cannot be ranked.",
}
CHOICES = (
    ("Fig. 1: with and without", "1"),
    ("Fig. 2: the method", "2"),
    ("Fig. 3: references", "3"),
    ("Fig. 5: diversity", "5"),
    ("Table 1", "table 1"),
)
HOLDS = {"yes": "holds", "partly": "in part", "no": "does not hold", None: "not measured"}
Page = Callable[[MemoryDrivenPipeline, Sequence[Request]], Iterator[str]]


def draw(number: object, *query: object) -> Iterator[tuple[str, str]]:
    """Yield a figure as far as it is, and the status."""
    pipe = state.pipeline()
    try:
        requests = _requests(*query)
        page = PAGES.get(str(number), first)
        for made in page(pipe, requests):
            yield made, status(strings.PAPER_DRAWING, busy=True)
        yield made, status(strings.PAPER_DONE.format(seed=requests[0].seeds[0]))
    except MemDrivenError as error:
        yield note(strings.PAPER_EMPTY), failure(error)


# ----------------------------------------------------------------------------------------------------
# Claims


def claims_html() -> str:
    """Return the table of claims, where the paper makes them, and what was measured here."""
    try:
        found = answers(state.pipeline())
    except MemDrivenError as error:
        return failure(error)
    heads = "".join(tag("th", head, scope="col") for head in ("The paper says", "Where", "Here", "Holds?"))
    return tag(
        "table",
        tag("caption", text(f"Measured on {state.pipeline().checkpoint.name}, by rows of its results.jsonl."))
        + tag("thead", tag("tr", heads))
        + tag("tbody", "".join(map(_claim, found))),
        class_="md-claim-table",
    )


def _claim(answer: Answer) -> str:
    here = text(answer.here)
    if answer.see.startswith(("figure", "table")):
        number = answer.see.removeprefix("figure ")
        here += " " + _see("See it", f'#paper-choice input[value="{number}"]', "paper")
    elif answer.see:
        here += " " + _see("See it", "#inside-run" if answer.see == "inside" else "#generate", answer.see)
    return tag(
        "tr",
        tag("th", text(answer.claim), scope="row")
        + tag("td", text(answer.where), data_head="Where")
        + tag("td", here, data_head="Here")
        + tag("td", tag("b", HOLDS[answer.holds]), data_head="Holds?"),
        data_holds=answer.holds or "open",
    )


def _see(label: str, press: str, tab: str, look: str = "md-link") -> str:
    """Return a button that opens a tab and presses what shows it."""
    return tag("button", label, type="button", class_=look, data_press=press, data_tab=tab)


# ----------------------------------------------------------------------------------------------------
# Figures


def first(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 1: given text, then pictures without memory, with a random one, and ours."""
    rows: list[str] = []
    for request in requests:
        cells = [_words(request.caption)]
        loose = replace(request, references=None, best_of=1)
        for each in (replace(loose, strategy="none"), replace(loose, strategy="random"), request):
            cells.append(_picture(pipe(each).images[0], request.caption))
            yield _figure("1", [*rows, _row(cells)])
        rows.append(_row(cells))


def second(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield the way to Fig. 2, which is a tab of its own."""
    go = _see("Walk through it", "#inside-run", "inside", "md-action")
    yield _figure("2", [tag("p", go)])


def third(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 3: text, the retrieved picture, the picture made of its features, the copy check."""
    rows: list[str] = []
    spaces = copies.space(pipe)
    for done, count in spaces.wait():
        yield note(strings.COPY_PROGRESS.format(share=f"{done / max(1, count):.0%}"))
    space = spaces.result()
    for request in requests:
        output = pipe(request)
        nearest = space.nearest(output.images[0], 1, output.windows[0])[0]
        checked = copies.verdict(space.likeness(output), nearest)
        rows.append(
            _row(
                [
                    _words(request.caption),
                    _retrieved(output.retrieval),
                    _picture(output.images[0], request.caption),
                    tag("div", checked, class_="md-paper-check"),
                ]
            )
        )
        yield _figure("3", rows)


def fifth(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 5: fixed sentence and features above, pictures of several z below, and how far apart."""
    blocks: list[str] = []
    for request in requests[:2]:
        prepared = pipe.prepare(request)
        seed = request.seeds[0]
        base, pictures = pipe.noise(request, seed), []
        for step in range(NOISES):
            z = pipe.noise(request, (seed + step) % (MAX_SEED + 1)).z
            *_, last = pipe.paint(prepared, base._replace(z=z))
            pictures.append(to_picture(last.image))
            yield _figure("5", [*blocks, _block(prepared, pictures)])
        blocks.append(_block(prepared, pictures))


def table(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Table 1 with our own rows below it, each number with its form."""
    rows = rows_of(pipe)
    theirs = [
        [each.method, each.values.get("fid", "\u2013"), each.form, each.values.get("r_precision", "\u2013")]
        for each in PUBLISHED["CUB"]
    ]
    ours = []
    for row in dict.fromkeys(OURS):
        values = [rows.value(name, row) for name in COLUMNS]
        if any(value is not None for value in values):
            ours.append(
                [
                    row,
                    *(
                        metric(name).show(value) or "\u2013"
                        for name, value in zip(COLUMNS, values, strict=True)
                    ),
                ]
            )
    forms = sorted({each.protocol for each in rows.all.values() if each.metric in COLUMNS})
    made = _table("Published, CUB", ("Method", "FID", "form", "R-precision"), theirs)
    if ours:
        heads = ("Row", *(metric(name).title for name in COLUMNS))
        made += _table(f"Measured here, {pipe.checkpoint.name}", heads, ours)
        made += tag("ul", "".join(tag("li", text(form)) for form in forms), class_="md-hint md-forms")
    else:
        made += tag("p", text("Nothing was measured of this checkpoint yet."), class_="md-hint")
    yield _figure("table 1", [made])


PAGES: dict[str, Page] = {"1": first, "2": second, "3": third, "5": fifth, "table 1": table}


def _requests(*query: object) -> list[Request]:
    """Return what the left column asks for, if it has words, and the examples at the same seed."""
    pipe = state.pipeline()
    seed = state.read_seed(query[4] if isinstance(query[4], str) else "", keep=True)
    tries = state.read_tries(query[9] if len(query) > 9 else read_tries(pipe))
    found = [Request(caption=each, seeds=(seed,), best_of=tries) for each in read_examples(pipe)]
    if str(query[0]).strip():
        own = replace(references.read(*query).request, seeds=(seed,))
        found = [own, *(each for each in found if each.caption != own.caption)]
    return (found or [Request(caption=strings.CAPTION_PLACEHOLDER, seeds=(seed,))])[:ROWS]


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(tag("th", text(each), scope="col") for each in heads)
    body = "".join(
        tag("tr", tag("th", text(name), scope="row") + "".join(tag("td", text(each)) for each in rest))
        for name, *rest in rows
    )
    made = tag("table", tag("caption", text(title)) + tag("thead", tag("tr", head)) + tag("tbody", body))
    return tag("div", made, class_="md-numbers", tabindex=0, role="region", aria_label=title)


def _figure(number: str, rows: Sequence[str]) -> str:
    heads = HEADS.get(number, ())
    head = "".join(tag("span", text(each)) for each in heads)
    if heads:
        head = tag("div", head, class_="md-paper-row md-paper-head", style=f"--cells:{len(heads)}")
    name = "Table 1:" if number == "table 1" else strings.PAPER_NUMBER.format(number=number)
    caption = tag("b", text(name)) + " " + text(CAPTIONS[number])
    content = head + "".join(rows) + tag("figcaption", caption)
    return tag("figure", content, class_="md-paper", data_figure=number)


def _row(cells: Sequence[str]) -> str:
    blank = ["<span></span>"] * (4 - len(cells))
    return tag("div", "".join([*cells, *blank]), class_="md-paper-row", style="--cells:4")


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


def _block(prepared: Prepared, pictures: Sequence[Image.Image]) -> str:
    caption = prepared.request.caption
    top = tag("div", _words(caption) + _retrieved(prepared.retrieval), class_="md-paper-top")
    blank = tag("span", class_="md-tile md-busy") * (NOISES - len(pictures))
    below = "".join(_picture(each, caption) for each in pictures) + blank
    apart = ""
    if len(pictures) == NOISES:
        gaps = [float(difference(a, b).mean()) for a, b in combinations(pictures, 2)]
        words = f"Two of them differ by {100 * sum(gaps) / len(gaps):.1f} % on average."
        apart = tag("p", text(words), class_="md-hint md-apart")
    return tag("div", top + tag("div", below, class_="md-paper-noises") + apart, class_="md-paper-block")


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    with gr.Tab(strings.TAB_PAPER, id="paper") as tab:
        panel(tag("p", text(strings.PAPER_NOTE), class_="md-hint"))
        claims = panel(note("The claims are looked up when this tab is opened."), elem_id="paper-claims")
        with gr.Row(elem_classes="md-tools"):
            number = gr.Radio(
                list(CHOICES),
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
    inputs, outputs = [number, *compose.whole_query], [made, compose.status]
    tab.select(claims_html, None, claims, queue=False, show_progress="hidden", api_visibility="private")
    drawing = run.click(draw, inputs, outputs, **event_options())
    return [drawing, number.change(draw, inputs, outputs, **event_options())]
