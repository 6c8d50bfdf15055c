"""The tab How it works: Fig. 2 as a diagram that one walks through, and the memory weakened or swapped.

A row of steps with the paths between them, and the open step's account below, with one picture's own
tensors. All that it shows is sent at once; what one chooses in it (a step, a place, a part of v) moves in
the browser alone (`inside.js`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from markupsafe import Markup, escape
from PIL import Image

from memdriven.explore.compare import WRONG, Row, across, least_alike
from memdriven.explore.critic import contents, load_critic
from memdriven.explore.inside import BLOCKS, PLACES, Fusion, Inside, hide, look_inside, viewed
from memdriven.models.noise import WHOLE
from memdriven.numbers import counted, percent
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import CONTROLS
from memdriven.ui import gr, html, references, state
from memdriven.ui.html import button, hint, image, over, row, status, tag, wash
from memdriven.ui.query import STATE_SECONDS, Compose, Query, read_examples
from memdriven.ui.references import note

INSIDE_EMPTY = "Worked out once, when this tab is opened: what words, memory and noise did in your picture."
CONTROLS_EMPTY = "Your caption with the best memory, with none, the worst, a random one and its own."
CONTROL_NAMES = {
    "retrieved": ("Fitting memory", "what retrieval found"),
    "none": ("No memory", "all features zero"),
    WRONG: ("Worst match", "least like the words"),
    "random": ("Random memory", "drawn by the seed"),
    "oracle": ("Oracle", "the one the caption was written for"),
}
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the memory's features that are shown side by side."""
RULES = state.RULES | {"random": "drawn at random", "oracle": "its own caption"}
CRITIC_SIZE = 128
"""Side in px of the picture whose content features are shown where no D says which it judges."""
V_G = Markup("v<sub>G</sub>")
QUESTIONS = ("Is it real?", "Real, and fits its caption?", "Real, and fits a wrong one?")


# ----------------------------------------------------------------------------------------------------
# The walk


class Step(NamedTuple):
    """A station of the diagram and its account."""

    name: str
    title: str
    kind: str
    """`text`, `memory` or `paint`: its colour."""
    view: str
    account: str


def walks(pipe: MemoryDrivenPipeline, seen: Inside, prefix: str = "walk") -> Iterator[str]:
    """Yield the walk, then with what hiding parts of v does, if a reference took part."""
    yield walk(pipe, seen, prefix)
    if len(seen.prepared.retrieval):
        yield walk(pipe, hide(pipe, seen), prefix)


def walk(pipe: MemoryDrivenPipeline, seen: Inside, prefix: str, only: Sequence[str] = ()) -> str:
    """Return the diagram and the account of each of its steps, or of `only` some.

    Two walks on one page must not share the `prefix` of their elements' ids.
    """
    painting = (stage(seen, number) for number in range(len(seen.pictures)))
    steps = [words(seen), search(pipe, seen), features(seen), *painting, hiding(seen), critic(pipe, seen)]
    steps = [each for each in steps if not only or each.name in only]
    names = [each.name for each in steps]
    stages = [name for name in names if name.startswith("stage")]
    wires = [(a.name, b.name, a.kind) for a, b in pairwise(steps)]
    wires += [("features", name, "memory") for name in stages[1:] if "features" in names]
    if not only:
        wires += [("words", name, "text") for name in (*stages, "critic")] + [("noise", stages[0], "noise")]
    stations, panels = [], []
    for number, step in enumerate(steps, 1):
        station, account, first = f"{prefix}-{step.name}", f"{prefix}-at-{step.name}", number == 1
        head = tag("b", tag("i", str(number)), step.title) + tag("span", step.view, class_="md-station-view")
        of: dict[str, object] = {
            "data_step": step.name,
            "aria_selected": str(first).lower(),
            "tabindex": 0 if first else -1,
        }
        of |= {"class_": f"md-station md-{step.kind}", "aria_controls": account}
        stations.append(tag("button", head, type="button", role="tab", id=station, **of))
        of = {"data_step": step.name, "class_": f"md-account md-{step.kind}", "hidden": not first}
        of |= {"aria_labelledby": station}
        panels.append(tag("section", step.account, role="tabpanel", id=account, **of))
    z = seen.noise.z[0]
    noise = (tag("span", tag("b", "z"), f" {len(z)} random numbers"), html.barcode(z, "noise"))
    back, onward = button("\u2190 Back", data_go="-1"), button("Next \u2192", data_go="1")
    begins = names.index(stages[0]) + 1
    flow = tag(
        "div",
        tag("svg", class_="md-wires", aria_hidden="true"),
        tag("div", *stations, role="tablist", class_="md-stations", aria_label="The method, step by step"),
        "" if only else tag("div", *noise, class_="md-z-node", data_step="noise"),
        tag("div", back, tag("output", class_="md-step-of", aria_live="off"), onward, class_="md-walk-steps"),
        class_="md-flow",
        style=f"--stations:{len(names)};--first:{begins};--after:{1 if only else begins + 2}",
        data_wires=json.dumps(wires),
    )
    numbers = json.dumps(_numbers(seen), separators=(",", ":"))
    return tag("div", flow, *panels, class_="md-walk", data_walk=numbers)


def words(seen: Inside) -> Step:
    """Show the words and the sentence, each as a strip of its numbers."""
    rows = [tag("li", tag("span", word), html.barcode(numbers, "text")) for word, numbers in seen.words]
    rows.append(tag("li", tag("b", "s"), html.barcode(seen.sentence, "text"), class_="md-whole"))
    lead = (
        f"A recurrent network turns each word into {len(seen.sentence)} numbers, its embedding, and the "
        "whole sentence S into as many, s. A strip shows them side by side: blue above zero, grey below."
    )
    if seen.prepared.guidance and len(seen.prepared.retrieval):
        rows.append(tag("li", tag("span", "s, guided"), html.barcode(seen.prepared.text.sentence[0], "text")))
        lead += " The last row is s as G reads it: moved away from what the reference\u2019s captions say."
    view = tag("q", seen.prepared.request.caption) + html.barcode(seen.sentence, "text")
    account = _account("The words become numbers", lead, tag("ul", *rows, class_="md-strips"))
    return Step("words", "Words", "text", view, account)


def search(pipe: MemoryDrivenPipeline, seen: Inside) -> Step:
    """Show the histogram of cosines, the references marked, with the references below it."""
    found, bank = seen.prepared.retrieval, pipe.bank
    cosines = {each: float(seen.cosines[bank.index_of(each)]) for each in found.ids if each in bank.ids}
    tried = [each.neighbour.id for each in seen.prepared.tried if not each.kept]
    others = [float(seen.cosines[bank.index_of(each)]) for each in tried]
    shown = html.histogram(seen.cosines, list(cosines.values()), others)
    lead = (
        f"The memory M holds {counted(bank.n, 'item')}: image features with their captions. s is compared "
        "with all of these captions, and each item counts by its best. Far right means: says nearly the same."
    )
    formula = Markup("cos(s, s<sub>i</sub>) = s \u00b7 s<sub>i</sub> / (|s| |s<sub>i</sub>|)")
    if not len(found):
        lead, formula = lead + " No reference was taken: the memory is switched off.", Markup()
    elif found.strategy != "sentence-sentence":
        by = f"This reference was found by another rule ({RULES[found.strategy]})"
        lead += f" {by}; the mark shows where it lies by this one."
    cards = []
    for each in found:
        told = "your own image"
        if each.id in cosines:
            place = int((seen.cosines > cosines[each.id]).sum()) + 1
            told = f"cosine {cosines[each.id]:.2f}, number {place} of {bank.n:,}"
        said = tag("div", tag("q", each.caption), tag("p", told, class_="md-told"))
        cards.append(tag("li", image(each.image, each.caption), said))
    if found.tried:
        shown += hint(
            f"The {found.tried} nearest were painted with, and the picture that fits the words best "
            "decided [ours]: the small marks are the others."
        )
    shown += tag("ul", *cards, class_="md-found") if cards else ""
    view = html.histogram(seen.cosines, list(cosines.values()), small=True)
    return Step("search", "Search", "memory", view, _account("Searching the memory", lead, shown, formula))


def features(seen: Inside) -> Step:
    """Show the reference with v over it, v at one place, and v_G."""
    found, mean, strength = seen.prepared.retrieval, seen.v.mean(dim=(1, 2)), seen.v.norm(dim=0)
    view = over(_reference(seen), wash(strength, "memory")) + html.barcode(mean, "memory")
    if not len(found):
        account = _account("The features v", "Without a reference v is zero everywhere, and so is v_G.")
        return Step("features", "Features", "memory", view, account)
    hints = []
    if len(found) > 1:
        hints.append(
            f"{len(found)} references took part, mixed into one v, shown over the image of No. 1, which "
            f"weighs {percent(found[0].weight)}."
        )
    if seen.noise.view.window != WHOLE:
        hints.append("This seed crops the reference; the same crop is shown here.")
    if seen.noise.view.mirrored:
        hints.append("This seed mirrors the reference; it is shown mirrored here.")
    top, largest = mean.topk(8)[1].tolist(), float(mean.max())
    channels = html.bars([(f"channel {n}", float(mean[n])) for n in top if mean[n] > 0], largest)
    shown = over(_reference(seen), wash(strength, "memory"))
    picker = _picker(shown, "The reference, with the strength of v")
    lead = (
        "VGG-16 saw the reference once, when the memory was built. Its layer relu5_3 gave v: 512 numbers at "
        "each of 16 \u00d7 16 places. Choose a place. Their mean over all places is v_G, which says what is "
        "there, not where."
    )
    means = tag("h4", V_G + ": the mean of each channel") + html.barcode(mean, "memory") + channels
    parts = (tag("div", picker, *map(hint, hints)), tag("div", _v_here()), tag("div", means))
    size = tag("sup", "512\u00d716\u00d716")
    formula = "v \u2208 \u211d" + size + ", \u2002 " + V_G + " = mean over places of v"
    account = _account("The image features v", lead, tag("div", *parts, class_="md-three"), formula)
    return Step("features", "Features", "memory", view, account)


def stage(seen: Inside, number: int) -> Step:
    """Show a stage: where the memory moved its gates, and h W + b at one place."""
    fusions = [(place, each) for place, each in enumerate(seen.fusions) if each.stage == number]
    picture = seen.pictures[number]
    lead = (
        "This stage takes the hidden features h of the one before and the words again, to "
        if number
        else "The first stage begins with z, s and v_G side by side and grows them from 4 to "
    ) + f"{picture.width} px. "
    shown, formula = image(picture), ""
    if fusions:
        lead += (
            "At every place the memory tells each channel two things: multiply by W(v), add b(v). This is "
            "the affine combination (ACM), and all that v does to a picture. Choose a place."
        )
        shown, formula = _gates(seen, picture, fusions), "h\u2032 = h \u2299 W(v) + b(v)"
    else:
        lead += "This model feeds no v to it."
    account = _account(f"Stage {number + 1}: {picture.width} px", lead, shown, formula)
    return Step(f"stage{number}", f"Stage {number + 1}", "paint", image(picture), account)


def _gates(seen: Inside, picture: Image.Image, fusions: Sequence[tuple[int, Fusion]]) -> Markup:
    pictures, choices = [], []
    for place, each in fusions:
        first = place == fusions[0][0]
        alt = f"Stage {each.stage + 1}, with how far the memory moved W at {each.side} px"
        washes, ramps = [], []
        for scale, largest in (("common", seen.most_moved), ("own", float(each.moved.max()))):
            of: dict[str, object] = {"data_scale": scale, "hidden": scale == "own"}
            ramp = (tag("span", "0"), tag("span", class_="md-ramp"), tag("span", f"{largest or 0:.3g}"))
            ramps.append(tag("p", *ramp, class_="md-scale-of", **of))
            washes.append(tag("img", src=wash(each.moved, "memory", largest), alt="", class_="md-wash", **of))
        picker = _picker(tag("span", image(picture), *washes, class_="md-over"), alt)
        pictures.append(tag("div", picker, *ramps, data_fusion=place, hidden=not first))
        name, pressed = f"at {each.side} px", str(first).lower()
        choices.append(button(name, "md-chip", data_choose=place, aria_pressed=pressed))
    scales = [
        button(name, "md-chip", data_by_scale=scale, aria_pressed=str(scale == "common").lower())
        for scale, name in (("common", "the scale of all maps"), ("own", "this map\u2019s own"))
    ]
    maps = tag("p", "v enters ", *choices, class_="md-meets") + Markup().join(pictures)
    maps += tag("p", *scales, class_="md-meets")
    maps += hint("|W(v) \u2212 W(0)|, mean over channels. Only on the scale of all maps can two be compared.")
    heads = ("channel", "h", "W", "b", "h\u2032")
    where = " at " + tag("output", class_="md-where")
    sums = html.table("h \u00b7 W + b = h\u2032" + where, heads, (), class_="md-sums")
    why = f"{len(fusions[0][1].channels)} channels of h, those whose W this memory moves most."
    return tag("div", tag("div", maps), tag("div", _v_here(), sums, hint(why)), class_="md-two")


def hiding(seen: Inside) -> Step:
    """Show the picture without a part of v, what went with it, and where v had entered."""
    title, picture, effects = "What v did to the picture", seen.pictures[-1], wash(seen.effects, "memory")
    if not seen.fusions or not len(seen.prepared.retrieval):
        lead, shown = "No v took part in this picture, so that nothing can be hidden.", image(picture)
    else:
        lead = (
            "Where W moves, the memory entered; what it did there is seen only by taking it away. Choose a "
            "part: v is set to 0 there, and the same words and noise are painted again."
        )
        told = "The picture; stronger where hiding v changes more of it"
        shown = _picker(over(picture, effects), told, BLOCKS)
        entered = over(picture, wash(seen.fusions[0].moved, "memory", seen.most_moved))
        cells = {
            "what each part of v did: the mean change of the whole picture when it is hidden": shown,
            "without it": tag("img", class_="md-without", alt="The picture without this part of v"),
            "what went": tag("img", class_="md-gone", alt="Where hiding this part changed the picture"),
            f"beside it, where v entered: |W(v) \u2212 W(0)| at {seen.fusions[0].side} px": entered,
        }
        figures = (tag("figure", each, tag("figcaption", n), class_="md-figure") for n, each in cells.items())
        change = tag("p", class_="md-told md-effect", aria_live="polite")
        shown = tag("div", *(figures if seen.hidden else [shown]), class_="md-four")
        shown += change if seen.hidden else ""
    return Step("picture", "Picture", "paint", over(picture, effects), _account(title, lead, shown))


def critic(pipe: MemoryDrivenPipeline, seen: Inside) -> Step:
    """Show the content features of a real and of the made picture, with D's answers where it is at hand."""
    judge, found = load_critic(pipe.checkpoint), seen.prepared.retrieval
    caption, wrong = seen.prepared.request.caption, ""
    told = "D is needed for training alone, and this checkpoint comes without it: no answers to show."
    if judge is not None:
        wrong = pipe.bank.items[pipe.bank.index_of(least_alike(pipe, caption))].captions[0]
        told = (
            "50 % says that D cannot tell; the generator was trained until it hardly could. The real picture "
            "is the memory\u2019s small copy of it. "
            f"The wrong caption, of all the memory least like yours: \u201c{wrong}\u201d"
        )
    (real, made), shown = judged(pipe, seen), ""
    for name, picture, own in (("real", real, found[0].caption if real else ""), ("made", made, caption)):
        if picture is None:
            continue
        cells = [image(picture, f"{name} picture") + tag("b", name)]
        for a in contents(picture):
            cells.append(image(a, f"{name}, pooled to {a.width} px") + tag("span", "a", tag("sub", a.width)))
        answers = ""
        if judge is not None:
            sentences = [pipe.retriever.query(each).text.sentence[0].float() for each in (own, wrong)]
            said = zip(QUESTIONS, judge.judge(picture, *sentences), strict=True)
            answers = html.bars(list(said), 1.0, percent)
        shown += tag("div", row("md-contents", cells), answers)
    lead = (
        "While it is trained, the generator has an opponent: the discriminator D. Deep layers lose the shape "
        "of things, so D is also given the picture itself, pooled again and again: its content features."
    )
    sizes = Markup("a<sub>{}</sub>, a<sub>{}</sub>, \u2026, a<sub>4</sub>").format(
        made.width // 2, made.width // 4
    )
    formula = sizes + ": each the average of the one before"
    view = tag("span", *map(image, contents(seen.pictures[0])), class_="md-pooled")
    return Step("critic", "Critic", "paint", view, _account("The critic", lead, shown + hint(told), formula))


def judged(pipe: MemoryDrivenPipeline, seen: Inside) -> tuple[Image.Image | None, Image.Image]:
    """Return the reference, as the noise saw it (None without one), and the picture, at the size D judges."""
    judge = load_critic(pipe.checkpoint)
    size = CRITIC_SIZE if judge is None else judge.size
    made = next((each for each in seen.pictures if each.width == size), seen.pictures[-1])
    real = _reference(seen).resize(made.size, Image.Resampling.BICUBIC)
    return real if len(seen.prepared.retrieval) else None, made


def _account(title: str, lead: str, shown: str = "", formula: str = "") -> Markup:
    sentences = tag("p", escape(lead).replace("v_G", V_G), class_="md-lead")
    written = tag("p", formula, class_="md-formula") if formula else ""
    return tag("div", tag("h3", title), written, sentences, class_="md-account-head") + shown


def _picker(shown: Markup, label: str, cells: int = PLACES) -> Markup:
    """Return a picture under a map (`over`), on which one of cells x cells places is chosen."""
    label = f"{label}. The arrow keys choose a place."
    about = {"class_": "md-picker", "role": "application", "tabindex": 0, "aria_label": label}
    cell = tag("span", class_="md-cell")
    return tag("div", shown, cell, **about, data_cells=cells, style=f"--cells:{cells}")


def _v_here() -> Markup:
    strip = tag("canvas", class_="md-barcode md-v-here", width=512, height=1, aria_hidden="true")
    return tag("h4", "v at ", tag("output", class_="md-where")) + strip + tag("ol", class_="md-bars md-v-top")


def _reference(seen: Inside) -> Image.Image:
    """Return the first reference's image as the noise lets it be seen; grey where there is none."""
    if not len(seen.prepared.retrieval):
        return Image.new("RGB", (64, 64), (128, 128, 128))
    return viewed(seen.prepared.retrieval[0].image, seen.noise.view)


def _numbers(seen: Inside) -> dict[str, Any]:
    """Return what the browser needs to answer for any place: v, and each ACM's h, W and b."""
    columns = [
        [[channel, round(float(column[channel]), 2)] for channel in column.nonzero()[:, 0].tolist()]
        for column in seen.v.flatten(1).T  # 256 places of 512 channels
    ]
    largest = max((float(gap.max()) for gap in seen.gone), default=0.0) or None
    fusions: list[dict[str, object]] = []
    for each in seen.fusions:
        fusions.append({"side": each.side, "channels": each.channels})
        for name, maps in {"h": each.hidden, "W": each.scale, "b": each.shift}.items():
            fusions[-1][name] = [[round(value, 3) for value in line] for line in maps.flatten(1).tolist()]
    return {
        "v": columns,
        "largest": round(float(seen.v.max()), 2),
        "start": int(seen.v.norm(dim=0).argmax()),
        "fusions": fusions,
        "without": [html.image_uri(each) for each in seen.hidden],
        "gone": [wash(gap, "memory", largest) for gap in seen.gone],
        "effects": [round(100 * float(gap.mean()), 2) for gap in seen.gone],
    }


# ----------------------------------------------------------------------------------------------------
# The tab


def question(*query: object) -> str:
    """Return what is asked by the column as it stands: the same words, the same walk."""
    asked = Query(*query)
    return repr(asked._replace(steering=replace(asked.steering, guests=())))


def look(*query: object) -> Iterator[tuple[Any, Any, str]]:
    """Yield the walk, then with what hiding parts of v does, then the strengths; and the status.

    First what is under way is told, over the walk that is there.
    """
    pipe, asked = state.pipeline(), Query(*query)
    if not str(asked.caption).strip():  # there is always something to walk through
        asked = asked._replace(caption=read_examples(pipe)[0])
    wanted = references.read(*asked)
    yield gr.skip(), "", status(f"Looking inside the picture of seed {wanted.seeds[0]}\u2026", busy=True)
    seen = look_inside(pipe, wanted)
    used = seen.prepared.retrieval.shares
    shares = STRENGTHS if used and state.offers_memory() else ()
    lines = [status(f"Strength {n + 1} of {len(shares)}.", busy=True) for n in range(len(shares))]
    lines.append(status(f"Inside the picture of seed {wanted.seeds[0]}."))
    if used:
        lines.insert(0, status("Painting once without each part of v\u2026", busy=True))
    for made, line in zip(walks(pipe, seen), lines, strict=False):
        yield made, "", line
    cells = []
    for share, line in zip(shares, lines[2:], strict=False):
        picture = pipe(replace(wanted, references=used, memory=share)).images[0]
        alt = f"The picture with {percent(share)} of the memory"
        cells.append(html.figure(html.image_uri(picture), alt, percent(share), data_share=percent(share)))
        yield gr.skip(), fading_html(cells), line


def fading_html(cells: Sequence[str]) -> str:
    """Return pictures with ever more of the memory, side by side."""
    title = tag("h3", "From words alone to all of the memory", class_="md-step-title")
    why = hint("Same words, references and noise; only the strength of the features differs.")
    ends = tag("p", tag("span", "words alone"), tag("span", "all of the memory"), class_="md-fade-ends")
    return tag("div", title, why, row("md-fading", cells), ends, class_="md-inside")


def exchange(*query: object) -> Iterator[tuple[str, str]]:
    """Yield the controls' pictures, one more each time, and the status."""
    pipe, request = state.pipeline(), references.read(*query)
    own = request.strategy
    if own is None or own in CONTROLS:
        own = pipe.config.retrieval.strategy
    names = [own, *list(CONTROL_NAMES)[1:]]
    for rows in across(pipe, request, names):
        if rows[-1].pictures or rows[-1].retrieval is None:
            line = f"Control {len(rows)} of {len(names)}."
            yield controls_html(rows), status(line, busy=len(rows) < len(names))


def controls_html(rows: Sequence[Row]) -> str:
    """Return the controls side by side, each with the memory that it used."""
    cells = []
    for control, (key, (name, why)) in zip(rows, CONTROL_NAMES.items(), strict=False):
        words = tag("p", tag("b", name), tag("span", why), class_="md-control")
        shown, used = tag("span", html.CONTROL_GONE, class_="md-tile md-control-gone"), ""
        if control.pictures:
            shown = html.figure(html.image_uri(control.pictures[0]), f"{name}: {why}", data_control=key)
            used = html.thumbs(control.retrieval)
        cells.append(shown + words + used)
    return row("md-controls", cells)


def build(compose: Compose) -> None:
    """Add the tab."""
    with gr.Tab("How it works", id="inside") as tab:
        html.section("paint", "From your words to the picture, step by step")
        with gr.Row(elem_classes="md-tools"):
            html.explain(
                "Figure 2 of the paper, with the numbers of this very picture, worked out once, when the tab "
                "is opened. Choose a step."
            )
            open_ = html.run_button("Work it out again", "inside-run")
            asked = gr.State("", time_to_live=STATE_SECONDS)
        seen = html.panel(note(INSIDE_EMPTY), elem_id="inside-result", js_on_load=html.script("inside.js"))
        faded = html.panel(elem_id="inside-fading")
        html.section("memory", "Swap the memory")
        html.explain("Same words, same noise. Whatever differs was the memory's doing.")
        run = html.run_button("Swap the memory", "controls-run")
        made = html.panel(note(CONTROLS_EMPTY), elem_id="controls-result")
    # In line, if in no group's: of an event beside the queue the page does not hear that a state has changed.
    quiet = {name: html.QUEUED[name] for name in ("show_progress", "api_visibility")}
    compose.on(tab.select, question, compose.whole_query, [asked], **quiet)
    compose.on([open_.click, asked.change], look, compose.whole_query, [seen, faded, "status"])
    compose.on(run.click, exchange, compose.whole_query, [made, "status"])
