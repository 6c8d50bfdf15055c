"""The Paper tab: each claim with its measured answer, and the figures as live pages of the loaded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from PIL import Image

from memdriven.checkpoint import load_rival
from memdriven.errors import MemDrivenError
from memdriven.evaluation.tables import PUBLISHED, metric
from memdriven.explore.compare import difference
from memdriven.explore.inside import hidden_parts, look_inside
from memdriven.explore.paper import Answer, answers, paint_rival, rows_of
from memdriven.pipeline.output import Prepared, Retrieval, to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED, Request
from memdriven.ui import copies, gr, references, state
from memdriven.ui.copies import COPY_PROGRESS
from memdriven.ui.html import (
    CARD_ALT,
    PICTURE_ALT,
    event_options,
    failure,
    hint,
    image_uri,
    panel,
    script,
    status,
    tag,
    text,
)
from memdriven.ui.query import Compose, read_examples
from memdriven.ui.references import note
from memdriven.ui.state import read_tries
from memdriven.ui.walk import walk_html

EMPTY = "The figure is drawn here."

ROWS, NOISES = 4, 5
COLUMNS = {
    "fid_vgg": "FID, VGG-16",
    "kid_vgg": "KID, VGG-16",
    "r_precision_judge": "R-precision, %",
    "asked_colours": "named colours seen, %",
    "copy_suspected": "suspected copies, %",
}
ROW_NAMES = {
    "real": "real pictures",
    "retrieved": "references, unchanged",
    "best-of-8": "ours, best of 8 references",
    "model": "ours, nearest reference",
    "rival": "a rival without memory",
    "random": "ours, random reference",
    "none": "ours, no memory",
}
THOUSANDTHS = ("kid_vgg",)
"""Recorded times 1000, as is usual of KID's thousandths; of unscaled VGG features the plain number is read
more easily."""
HEADS = {
    "1": ("Given text", "No memory", "Random memory", "Ours"),
    "3": ("Given text", "Retrieved", "Ours", "Copy check"),
}
RIVAL_HEAD = "A rival without memory"
CAPTIONS = {
    "1": "Pictures from text. The paper compares with other models. Here the same model paints without its "
    "memory and with a random one: this shows what the memory gives, not how a model would paint that "
    "never had one.",
    "1, rival": "Pictures from text: of a rival of DF-GAN\u2019s kind, trained on the same pictures and "
    "captions, which never had a memory; of the same model without its memory, and with a random one; ours.",
    "2": "The method, with the numbers of the picture that your words give. Choose a step.",
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
            yield made, status("Drawing the figure\u2026", busy=True)
        yield made, status(f"Drawn with seed {requests[0].seeds[0]}.")
    except MemDrivenError as error:
        yield note(EMPTY), failure(error)


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
    """Yield Fig. 1: given text, then pictures of the rival, without memory, with a random one, and ours."""
    rival = load_rival(pipe.checkpoint)
    heads = list(HEADS["1"])
    if rival is not None:
        heads.insert(1, RIVAL_HEAD)
    caption = CAPTIONS["1" if rival is None else "1, rival"]
    rows: list[str] = []
    for request in requests:
        cells = [_words(request.caption)]
        loose = replace(request, references=None, best_of=1)
        if rival is not None:
            cells.append(_picture(paint_rival(pipe, rival, request), request.caption))
        for each in (replace(loose, strategy="none"), replace(loose, strategy="random"), request):
            cells.append(_picture(pipe(each).images[0], request.caption))
            yield _figure("1", [*rows, _row(cells, len(heads))], heads, caption)
        rows.append(_row(cells, len(heads)))


def second(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 2: the walk through the method with the first request's tensors."""
    seen = look_inside(pipe, requests[0])
    yield _figure("2", [walk_html(pipe, seen, prefix="figure")])
    if len(seen.prepared.retrieval):
        yield _figure("2", [walk_html(pipe, seen, list(hidden_parts(pipe, seen)), prefix="figure")])


def third(pipe: MemoryDrivenPipeline, requests: Sequence[Request]) -> Iterator[str]:
    """Yield Fig. 3: text, the retrieved picture, the picture made of its features, the copy check."""
    rows: list[str] = []
    spaces = copies.space(pipe)
    for done, count in spaces.wait():
        yield note(COPY_PROGRESS.format(share=f"{done / max(1, count):.0%}"))
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
    made = _table("Published, CUB", ("Method", "FID", "form", "R-precision"), theirs)
    ours = [[ROW_NAMES[row], *(_shown(name, rows.value(name, row)) for name in COLUMNS)] for row in ROW_NAMES]
    ours = [cells for cells in ours if any(cells[1:])]
    if ours:
        made += _table(f"Measured here, {pipe.checkpoint.name}", ("Row", *COLUMNS.values()), ours)
        forms = sorted({each.protocol for each in rows.all.values() if each.metric in COLUMNS})
        lines = "".join(tag("li", text(form.replace("KID x 1000", "KID"))) for form in forms)
        made += tag("details", tag("summary", "How each number was measured") + tag("ul", lines))
    else:
        made += hint("Nothing was measured of this checkpoint yet.")
    yield _figure("table 1", [made])


def _shown(name: str, value: float | None) -> str:
    """Return a number of ours as the table shows it; "" where there is none."""
    if value is None:
        return ""
    if name in THOUSANDTHS:
        return f"{value / 1000:,.1f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else metric(name).show(value)


PAGES: dict[str, Page] = {"1": first, "2": second, "3": third, "5": fifth, "table 1": table}


def _requests(*query: object) -> list[Request]:
    """Return what the left column asks for, if it has words, and the examples at the same seed."""
    pipe = state.pipeline()
    seed = state.read_seed(query[4] if isinstance(query[4], str) else "", keep=True)
    tries = state.read_tries(query[9] if len(query) > 9 else read_tries(pipe))
    found = [Request(caption=each, seeds=(seed,), best_of=tries) for each in read_examples(pipe)]
    if str(query[0]).strip():
        own = replace(references.read(*query), seeds=(seed,))
        found = [own, *(each for each in found if each.caption != own.caption)]
    return (found or [Request(caption="a small red bird with black wings", seeds=(seed,))])[:ROWS]


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(tag("th", text(each), scope="col") for each in heads)
    body = "".join(
        tag("tr", tag("th", text(name), scope="row") + "".join(tag("td", text(each)) for each in rest))
        for name, *rest in rows
    )
    made = tag("table", tag("caption", text(title)) + tag("thead", tag("tr", head)) + tag("tbody", body))
    return tag("div", made, class_="md-numbers", tabindex=0, role="region", aria_label=title)


def _figure(number: str, rows: Sequence[str], heads: Sequence[str] = (), caption: str = "") -> str:
    heads = heads or HEADS.get(number, ())
    head = "".join(tag("span", text(each)) for each in heads)
    if heads:
        head = tag("div", head, class_="md-paper-row md-paper-head", style=f"--cells:{len(heads)}")
    name = "Table 1:" if number == "table 1" else f"Figure {number}:"
    words = tag("b", text(name)) + " " + text(caption or CAPTIONS[number])
    content = head + "".join(rows) + tag("figcaption", words)
    return tag("figure", content, class_="md-paper", data_figure=number)


def _row(cells: Sequence[str], count: int = 4) -> str:
    blank = ["<span></span>"] * (count - len(cells))
    return tag("div", "".join([*cells, *blank]), class_="md-paper-row", style=f"--cells:{count}")


def _words(caption: str) -> str:
    return tag("p", text(caption), class_="md-paper-words")


def _picture(picture: Image.Image, caption: str) -> str:
    return tag("img", src=image_uri(picture), alt=PICTURE_ALT.format(caption=caption))


def _retrieved(retrieval: Retrieval) -> str:
    if not len(retrieval):
        return tag("span")
    best = retrieval[0]
    alt = CARD_ALT.format(rank=best.rank, caption=best.caption)
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
    with gr.Tab("Paper", id="paper") as tab:
        panel(
            hint(
                "What \u201cMemory-Driven Text-to-Image Generation\u201d says, and "
                "whether it holds here; below, its figures, drawn now by the model "
                "that is loaded, for your words and the examples."
            )
        )
        claims = panel(note("The claims are looked up when this tab is opened."), elem_id="paper-claims")
        with gr.Row(elem_classes="md-tools"):
            number = gr.Radio(
                list(CHOICES),
                value="1",
                label="Figure",
                show_label=False,
                elem_id="paper-choice",
                elem_classes="md-choice",
                scale=3,
            )
            run = gr.Button(
                "Draw the figure",
                variant="primary",
                elem_id="paper-run",
                elem_classes="md-run",
                min_width=130,
            )
        made = panel(note(EMPTY), elem_id="paper-result", js_on_load=script("inside.js"))
    inputs, outputs = [number, *compose.whole_query], [made, compose.status]
    tab.select(claims_html, None, claims, queue=False, show_progress="hidden", api_visibility="private")
    drawing = run.click(draw, inputs, outputs, **event_options())
    return [drawing, number.change(draw, inputs, outputs, **event_options())]
