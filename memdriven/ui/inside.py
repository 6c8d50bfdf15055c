"""The tab that walks through the method: Fig. 2 with one picture's own tensors, from the words to the critic.

Everything that the walk shows is sent at once; what one chooses in it (a step, a place, a part of v) moves
in the browser alone (`inside.js`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from memdriven.errors import MemDrivenError
from memdriven.explore.controls import CONTROLS, Control, controls, least_alike
from memdriven.explore.critic import Answers, contents, load_critic
from memdriven.explore.inside import (
    BLOCKS,
    PLACES,
    STRENGTHS,
    Inside,
    as_seen,
    effect,
    fading,
    hidden_parts,
    look_inside,
    strongest,
)
from memdriven.models.noise import WHOLE
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import references, state, strings
from memdriven.ui.cards import note
from memdriven.ui.compose import Compose, read_examples
from memdriven.ui.generate import Update
from memdriven.ui.html import (
    COLOURS,
    failure,
    figure,
    image_uri,
    levels,
    status,
    tag,
    text,
    thumbs,
    wash,
    washed,
)
from memdriven.ui.parts import event_options, panel, script, section
from memdriven.ui.startup import gr

RULES = (("drawn at random", "random"), ("its own caption", "oracle"))
BINS = 72
"""Bars of the histogram of cosines, from -1 to 1."""
GATE_STEP = "stage"
STEPS_BEFORE = {"words": "Words", "search": "Search", "features": "Features"}


def look(*query: object) -> Iterator[tuple[Update, str, str]]:
    """Yield the walk, then with what hiding parts of v does, then the strengths; and the status."""
    try:
        pipe = state.pipeline()
        if not str(query[0]).strip():  # there is always something to walk through
            query = (read_examples(pipe)[0], *query[1:])
        wanted = references.read(*query)
        seen = look_inside(pipe, wanted.request)
        done = status(strings.INSIDE_DONE.format(seed=wanted.seed))
        if not len(seen.prepared.retrieval):
            yield walk_html(pipe, seen), "", done
            return
        yield walk_html(pipe, seen), "", status("Painting once without each part of v\u2026", busy=True)
        fades = state.offers_memory()
        yield walk_html(pipe, seen, list(hidden_parts(pipe, seen))), "", _strength(0) if fades else done
        shown: list[Image.Image] = []
        for picture in fading(pipe, wanted.request) if fades else ():
            shown.append(picture)
            last = len(shown) == len(STRENGTHS)
            yield gr.skip(), fading_html(shown), done if last else _strength(len(shown))
    except MemDrivenError as error:
        yield note(strings.INSIDE_EMPTY), "", failure(error)


def exchange(*query: object) -> Iterator[tuple[str, str]]:
    """Yield the controls' pictures, one more each time, and the status."""
    made: list[Control] = []
    try:
        wanted = references.read(*query)
        for control in controls(state.pipeline(), wanted.request):
            made.append(control)
            line = strings.CONTROLS_PROGRESS.format(done=len(made), count=len(CONTROLS))
            yield controls_html(made), status(line, busy=len(made) < len(CONTROLS))
    except MemDrivenError as error:
        yield note(strings.CONTROLS_EMPTY), failure(error)


# ----------------------------------------------------------------------------------------------------
# The walk: a row of stations with the paths between them, and one station's account below


def walk_html(
    pipe: MemoryDrivenPipeline,
    seen: Inside,
    hidden: Sequence[Image.Image] = (),
    *,
    prefix: str = "walk",
    only: Sequence[str] = (),
) -> str:
    """Return the diagram and the account of each of its steps.

    Args:
        pipe: the model.
        seen: the picture's tensors.
        hidden: the picture without each part of v; none while they are still painted.
        prefix: of the elements' ids, which two walks on one page must not share.
        only: the steps to show; all if none are named.
    """
    stages = [f"{GATE_STEP}{number}" for number in range(len(seen.pictures))]
    bank, found = pipe.bank, seen.prepared.retrieval
    marks = [float(seen.cosines[bank.index_of(each.id)]) for each in found if each.id in bank.ids]
    others = [
        float(seen.cosines[bank.index_of(each.neighbour.id)]) for each in seen.prepared.tried if not each.kept
    ]
    accounts = {
        "words": words(seen),
        "search": search(pipe, seen, histogram(seen.cosines, marks, others)),
        "features": features(seen),
        **{name: stage(seen, number) for number, name in enumerate(stages)},
        "picture": hiding(seen, hidden),
        "critic": critic(pipe, seen),
    }
    titles = {
        **STEPS_BEFORE,
        **{name: f"Stage {number}" for number, name in enumerate(stages, start=1)},
        "picture": "Picture",
        "critic": "Critic",
    }
    views = {
        "words": tag("q", text(seen.prepared.request.caption)) + _barcode(seen.sentence, "text"),
        "search": histogram(seen.cosines, marks, small=True),
        "features": _over(_reference(seen), wash(seen.v.norm(dim=0), "memory"), "")
        + _barcode(seen.v.mean(dim=(1, 2)), "memory"),
        **{name: _image(p) for name, p in zip(stages, seen.pictures, strict=True)},
        "picture": _over(seen.pictures[-1], _effects(seen, hidden), ""),
        "critic": tag("span", "".join(map(_image, contents(seen.pictures[0]))), class_="md-pooled"),
    }
    names = [name for name in titles if not only or name in only]
    stations = [
        tag(
            "button",
            tag("b", tag("i", text(number)) + text(titles[name]))
            + tag("span", views[name], class_="md-station-view"),
            type="button",
            role="tab",
            id=f"{prefix}-{name}",
            class_=f"md-station md-{_kind(name)}",
            data_step=name,
            aria_controls=f"{prefix}-at-{name}",
            aria_selected=str(number == 1).lower(),
            tabindex=0 if number == 1 else -1,
        )
        for number, name in enumerate(names, start=1)
    ]
    first = names.index(f"{GATE_STEP}0") + 1
    noise = tag("span", tag("b", "z") + text(f" {seen.noise.z.shape[1]} random numbers"))
    noise += _barcode(seen.noise.z[0], "noise")
    later = [name for name in names if name.startswith(GATE_STEP)]
    wires = [
        *((a, b, _kind(a)) for a, b in pairwise(names)),
        *(("words", name, "text") for name in (*later, "critic")),
        *(("features", name, "memory") for name in later[1:]),
        ("noise", later[0], "noise"),
    ]
    there = {*names, *([] if only else ["noise"])}
    wires = [wire for wire in wires if {*wire[:2]} <= there]
    steps = tag(
        "div",
        tag("button", "\u2190 Back", type="button", class_="md-action", data_go="-1")
        + tag("output", class_="md-step-of", aria_live="off")
        + tag("button", "Next \u2192", type="button", class_="md-action", data_go="1"),
        class_="md-walk-steps",
    )
    flow = tag(
        "div",
        '<svg class="md-wires" aria-hidden="true"></svg>'
        + tag(
            "div",
            "".join(stations),
            role="tablist",
            class_="md-stations",
            aria_label="The method, step by step",
        )
        + (
            ""
            if only
            else tag("div", noise + _barcode(seen.noise.z[0], "noise"), class_="md-z-node", data_step="noise")
        )
        + steps,
        class_="md-flow",
        style=f"--stations:{len(names)};--first:{first};--after:{1 if only else first + 2}",
        data_wires=json.dumps(wires),
    )
    panels = "".join(
        tag(
            "section",
            accounts[name],
            role="tabpanel",
            id=f"{prefix}-at-{name}",
            aria_labelledby=f"{prefix}-{name}",
            class_=f"md-account md-{_kind(name)}",
            data_step=name,
            hidden=number > 0,
        )
        for number, name in enumerate(names)
    )
    return tag(
        "div",
        flow + panels,
        class_="md-walk",
        data_walk=json.dumps(_numbers(seen, hidden), separators=(",", ":")),
    )


def _kind(name: str) -> str:
    return {"words": "text", "search": "memory", "features": "memory"}.get(name, "paint")


def _account(title: str, words: str, shown: str, formula: str = "") -> str:
    head = tag("h3", text(title)) + (tag("p", formula, class_="md-formula") if formula else "")
    return (
        tag(
            "div",
            head + tag("p", words.replace("v_G", "v<sub>G</sub>"), class_="md-lead"),
            class_="md-account-head",
        )
        + shown
    )


def words(seen: Inside) -> str:
    """Return the words and the sentence, each as a strip of its numbers."""
    rows = [
        tag("li", tag("span", text(word)) + _barcode(embedding, "text")) for word, embedding in seen.words
    ]
    rows.append(tag("li", tag("b", "s") + _barcode(seen.sentence, "text"), class_="md-whole"))
    guided = ""
    if seen.prepared.guidance and len(seen.prepared.retrieval):
        rows.append(tag("li", tag("span", "s, guided") + _barcode(seen.prepared.text.sentence[0], "text")))
        guided = " The last row is s as G reads it: moved away from what the reference\u2019s captions say."
    lead = (
        f"A recurrent network turns each word into {len(seen.sentence)} numbers, its embedding, and the "
        "whole sentence S into as many, s. A strip shows them side by side: blue above zero, grey below."
        + guided
    )
    return _account("The words become numbers", text(lead), tag("ul", "".join(rows), class_="md-strips"))


def search(pipe: MemoryDrivenPipeline, seen: Inside, shown: str) -> str:
    """Return the histogram `shown` with the references below it."""
    found = seen.prepared.retrieval
    lead = (
        f"The memory M holds {pipe.bank.n:,} items: image features with their captions. s is compared "
        "with all of these captions, and each item counts by its best. Far right means: says nearly the "
        "same."
    )
    if not len(found):
        return _account(
            "Searching the memory", text(lead + " No reference was taken: the memory is switched off."), shown
        )
    if found.strategy != "sentence-sentence":
        rule = next(label for label, value in (*strings.STRATEGIES, *RULES) if value == found.strategy)
        lead += (
            f" This reference was found by another rule ({rule}); the mark shows where it lies by this one."
        )
    cards = []
    for each in found:
        row = pipe.bank.index_of(each.id) if each.id in pipe.bank.ids else None
        told = "your own image"
        if row is not None:
            place = int((seen.cosines > seen.cosines[row]).sum()) + 1
            told = f"cosine {float(seen.cosines[row]):.2f}, number {place} of {pipe.bank.n:,}"
        cards.append(
            tag(
                "li",
                _image(each.image, each.caption)
                + tag("div", tag("q", text(each.caption)) + tag("p", text(told), class_="md-told")),
            )
        )
    tried = ""
    if found.tried:
        tried = tag(
            "p",
            text(
                f"The {found.tried} nearest were painted with, and the picture that fits the words best "
                "decided [ours]: the small marks are the others."
            ),
            class_="md-hint",
        )
    return _account(
        "Searching the memory",
        text(lead),
        shown + tried + tag("ul", "".join(cards), class_="md-found"),
        "cos(s, s<sub>i</sub>) = s \u00b7 s<sub>i</sub> / (|s| |s<sub>i</sub>|)",
    )


def features(seen: Inside) -> str:
    """Return the reference with v over it, v at one place, and v_G."""
    lead = (
        "VGG-16 saw the reference once, when the memory was built. Its layer relu5_3 gave v: 512 "
        "numbers at each of 16 \u00d7 16 places. Choose a place. Their mean over all places is v_G, "
        "which says what is there, not where."
    )
    if not len(seen.prepared.retrieval):
        return _account(
            "The features v", text("Without a reference v is zero everywhere, and so is v_G."), ""
        )
    view = []
    if len(seen.prepared.retrieval) > 1:
        share = seen.prepared.retrieval[0].weight
        view.append(strings.INSIDE_MIXED.format(count=len(seen.prepared.retrieval), share=share))
    if seen.noise.window != WHOLE:
        view.append(strings.INSIDE_PART)
    if seen.noise.mirror:
        view.append(strings.INSIDE_MIRRORED)
    hints = "".join(tag("p", text(line), class_="md-hint") for line in view)
    mean = seen.v.mean(dim=(1, 2))
    top = strongest(seen.v, 8)
    means = tag(
        "div",
        tag("h4", "v<sub>G</sub>: the mean of each channel")
        + _barcode(mean, "memory")
        + bars([(f"channel {n}", float(mean[n])) for n in top], largest=float(mean.max())),
    )
    picker = _picker(
        _reference(seen), "The reference, with the strength of v", wash(seen.v.norm(dim=0), "memory")
    )
    return _account(
        "The image features v",
        text(lead),
        tag("div", tag("div", picker + hints) + tag("div", _v_here()) + means, class_="md-three"),
        "v \u2208 \u211d<sup>512\u00d716\u00d716</sup>, &ensp; v<sub>G</sub> = mean over places of v",
    )


def stage(seen: Inside, number: int) -> str:
    """Return a stage: where the memory moved its gates, and h W + b at one place."""
    fusions = [(place, each) for place, each in enumerate(seen.fusions) if each.stage == number]
    picture = seen.pictures[number]
    title = f"Stage {number + 1}: {picture.width} px"
    lead = (
        "This stage takes the hidden features h of the one before and the words again, to "
        f"{picture.width} px. "
        if number
        else "The first stage begins with z, s and v_G side by side and grows them from 4 to 64 px. "
    )
    if not fusions:
        return _account(title, text(lead + "This model feeds no v to it."), _image(picture))
    lead += (
        "At every place the memory tells each channel two things: multiply by W(v), add b(v). "
        "This is the affine combination (ACM), and all that v does to a picture. Choose a place."
    )
    largest = max(float(each.moved.max()) for each in seen.fusions)
    pictures, choices = [], []
    for order, (place, each) in enumerate(fusions):
        alt = f"Stage {number + 1}, with how far the memory moved W at {each.side} px"
        over = wash(each.moved, "memory", largest or None)
        pictures.append(tag("div", _picker(picture, alt, over), data_fusion=place, hidden=order > 0))
        label = f"at {each.side} px"
        pressed = str(order == 0).lower()
        choices.append(
            tag("button", label, type="button", class_="md-chip", data_choose=place, aria_pressed=pressed)
        )
    meets = tag("p", text("v enters ") + "".join(choices), class_="md-meets")
    ramp = tag("span", "0") + tag("span", class_="md-ramp") + tag("span", text(f"{largest:.1f}"))
    legend = tag("p", ramp, class_="md-scale-of") + tag(
        "p",
        text("|W(v) \u2212 W(0)|, mean over channels, on one scale for all of this picture\u2019s maps"),
        class_="md-hint",
    )
    heads = "".join(tag("th", name, scope="col") for name in ("channel", "h", "W", "b", "h\u2032"))
    sums = tag(
        "table",
        tag("caption", _here("h \u00b7 W + b = h\u2032")) + tag("thead", tag("tr", heads)) + tag("tbody"),
        class_="md-sums",
    )
    why = f"{len(fusions[0][1].channels)} channels of h, those whose W this memory moves most."
    here = tag("div", _v_here() + sums + tag("p", text(why), class_="md-hint"))
    return _account(
        title,
        text(lead),
        tag("div", tag("div", meets + "".join(pictures) + legend) + here, class_="md-two"),
        "h\u2032 = h \u2299 W(v) + b(v)",
    )


def hiding(seen: Inside, hidden: Sequence[Image.Image]) -> str:
    """Return the picture without a part of v, what went with it, and where v had entered."""
    lead = (
        "Where W moves, the memory entered; what it did there is seen only by taking it away. "
        "Choose a part: v is set to 0 there, and the same words and noise are painted again."
    )
    if not seen.fusions or not len(seen.prepared.retrieval):
        return _account(
            "What v did to the picture",
            text("No v took part in this picture, so that nothing can be hidden."),
            _image(seen.pictures[-1]),
        )
    picker = _picker(
        seen.pictures[-1],
        "The picture; stronger where hiding v changes more of it",
        _effects(seen, hidden),
        BLOCKS,
    )
    if not hidden:
        return _account("What v did to the picture", text(lead), tag("div", picker, class_="md-four"))
    largest = max(float(each.moved.max()) for each in seen.fusions)
    moved = wash(seen.fusions[0].moved, "memory", largest or None)
    cells = (
        (picker, "what each part of v did: the mean change of the whole picture when it is hidden"),
        (tag("img", class_="md-without", alt="The picture without this part of v"), "without it"),
        (tag("img", class_="md-gone", alt="Where hiding this part changed the picture"), "what went"),
        (
            _over(seen.pictures[-1], moved, ""),
            f"beside it, where v entered: |W(v) \u2212 W(0)| at {seen.fusions[0].side} px",
        ),
    )
    shown = "".join(
        tag("figure", each + tag("figcaption", text(words)), class_="md-figure") for each, words in cells
    )
    return _account(
        "What v did to the picture",
        text(lead),
        tag("div", shown, class_="md-four") + tag("p", class_="md-told md-effect", aria_live="polite"),
    )


def critic(pipe: MemoryDrivenPipeline, seen: Inside) -> str:
    """Return the content features of a real and of the made picture, with D's answers where it is at hand."""
    picture, found = seen.pictures[0], seen.prepared.retrieval
    lead = (
        "While it is trained, the generator has an opponent: the discriminator D. Deep layers lose the "
        "shape of things, so D is also given the picture itself, pooled again and again: its content "
        "features."
    )
    asked_for = seen.prepared.request.caption
    rows = [("made", picture, asked_for)]
    if len(found):
        real = found[0].image.resize(picture.size, Image.Resampling.BOX)
        rows.insert(0, ("real", real, found[0].caption))
    critic = load_critic(pipe.checkpoint)
    told = "D is needed for training alone, and this checkpoint comes without it: no answers to show."
    wrong = ""
    if critic is not None:
        wrong = pipe.bank.item(pipe.bank.index_of(least_alike(pipe, asked_for))).captions[0]
        told = f"The wrong caption, of all the memory least like yours: \u201c{wrong}\u201d"
    shown = []
    for name, image, caption in rows:
        pooled = "".join(
            tag("li", _image(a, f"{name}, pooled to {a.width} px") + tag("span", f"a<sub>{a.width}</sub>"))
            for a in contents(image)
        )
        own = tag("li", _image(image, f"{name} picture") + tag("b", name))
        answers = ""
        if critic is not None:
            sentences = [pipe.retriever.query(words).text.sentence[0].float() for words in (caption, wrong)]
            answers = _answers(critic.judge(image, *sentences))
        shown.append(tag("div", tag("ol", own + pooled, class_="md-contents") + answers))
    sizes = f"a<sub>{picture.width // 2}</sub>, a<sub>{picture.width // 4}</sub>, \u2026, a<sub>4</sub>"
    return _account(
        "The critic",
        text(lead),
        "".join(shown) + tag("p", text(told), class_="md-hint"),
        f"{sizes}: each the average of the one before",
    )


def _answers(said: Answers) -> str:
    lines = (
        ("Is it real?", said.real),
        ("Real, and fits its caption?", said.fits),
        ("Beside a wrong caption?", said.fits_wrong),
    )
    return bars([(words, value) for words, value in lines], largest=1.0, form="{:.0%}")


def _numbers(seen: Inside, hidden: Sequence[Image.Image]) -> dict[str, Any]:
    """Return what the browser needs to answer for any place: v, and each ACM's h, W and b."""
    v = seen.v.flatten(1)  # (512, 256)
    columns = []
    for column in v.T:
        some = column.nonzero()[:, 0].tolist()
        columns.append([[channel, round(float(column[channel]), 2)] for channel in some])
    final = seen.pictures[-1]
    gaps = [effect(final, each) for each in hidden]
    strongest_gap = max((float(gap.max()) for gap in gaps), default=0.0)
    return {
        "v": columns,
        "largest": round(float(v.max()), 2),
        "start": int(v.norm(dim=0).argmax()),
        "fusions": [
            {"side": each.side, "channels": each.channels}
            | {
                name: [[round(x, 3) for x in row] for row in maps.flatten(1).tolist()]
                for name, maps in (("h", each.hidden), ("W", each.scale), ("b", each.shift))
            }
            for each in seen.fusions
        ],
        "without": [image_uri(each) for each in hidden],
        "gone": [wash(gap, "memory", strongest_gap or None) for gap in gaps],
        "effects": [round(100 * float(gap.mean()), 2) for gap in gaps],
    }


# ----------------------------------------------------------------------------------------------------
# Parts of the walk


def histogram(
    cosines: Tensor, marks: Sequence[float], others: Sequence[float] = (), *, small: bool = False
) -> str:
    """Return how many items have which cosine with the caption, and where the references lie.

    Args:
        cosines: of each item, (n,).
        marks: the references' own.
        others: those of references that were tried and not kept.
        small: leave out the axis.
    """
    low = min(0.0, float(cosines.min()))
    counts = torch.histc(cosines, BINS, low, 1.0).tolist()
    width, height, most = 720, 150, max(counts) or 1

    def x(value: float) -> float:
        return round((value - low) / (1 - low) * width, 1)

    step = width / BINS
    bars = "".join(
        tag(
            "rect",
            x=round(place * step + 0.5, 1),
            y=round(height - up, 1),
            width=round(step - 1, 1),
            height=round(up, 1),
        )
        for place, up in enumerate(count and max(2.0, count / most * (height - 24)) for count in counts)
        if up
    )
    lines = "".join(
        tag("line", x1=x(each), x2=x(each), y1=top, y2=height, class_=name)
        for name, values, top in (("md-other", others, height - 26), ("md-mark-at", marks, 4))
        for each in values
    )
    told = f"Histogram of {len(cosines):,} cosines from {low:.1f} to 1; references in use at {_listed(marks)}"
    axis = ""
    if not small:
        ticks = [each / 4 for each in range(-4, 5) if each / 4 >= low]
        axis = "".join(
            tag("text", f"{each:g}", x=x(each), y=height + 18, text_anchor="middle") for each in ticks
        )
        axis += "".join(
            tag("text", f"{each:.2f}", x=x(each) - 6, y=16, text_anchor="end", class_="md-mark-name")
            for each in marks[:1]
        )
        axis += tag("text", "cosine with s", x=0, y=16)
    return tag(
        "svg",
        bars + lines + axis,
        class_="md-histogram",
        viewBox=f"-12 0 {width + 24} {height + (0 if small else 24)}",
        role=None if small else "img",
        aria_label=None if small else told,
        aria_hidden="true" if small else None,
        preserveAspectRatio="none" if small else None,
    )


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{each:.2f}" for each in values) or "none"


def bars(rows: Sequence[tuple[str, float]], largest: float, form: str = "{:.2f}") -> str:
    """Return named numbers as bars; `largest` fills one."""
    cells = "".join(
        tag(
            "li",
            tag("span", text(name))
            + tag(
                "span",
                tag("span", style=f"width:{100 * value / largest if largest else 0:.1f}%"),
                class_="md-bar",
            )
            + tag("span", form.format(value), class_="md-number"),
        )
        for name, value in rows
    )
    return tag("ol", cells, class_="md-bars")


def _barcode(values: Tensor, kind: str) -> str:
    """Return numbers (n,) as a strip one px high: coloured above 0, grey below."""
    strong = levels(values[None].abs())
    colours = np.where((values[None] > 0).numpy()[..., None], COLOURS[kind], (128, 122, 112)).astype(np.uint8)
    return tag("img", src=washed(colours, strong), alt="", class_="md-barcode")


def _image(picture: Image.Image, alt: str = "") -> str:
    return tag("img", src=image_uri(picture), alt=alt)


def _over(picture: Image.Image, map_: str, alt: str) -> str:
    return tag(
        "span", _image(picture, alt) + tag("img", src=map_, alt="", class_="md-wash"), class_="md-over"
    )


def _picker(picture: Image.Image, label: str, over: str, cells: int = PLACES) -> str:
    """Return a picture under a map, on which one of cells x cells places is chosen."""
    return tag(
        "div",
        _over(picture, over, "") + tag("span", class_="md-cell"),
        class_="md-picker",
        role="application",
        tabindex=0,
        aria_label=f"{label}. The arrow keys choose a place.",
        data_cells=cells,
        style=f"--cells:{cells}",
    )


def _here(before: str) -> str:
    return before + " at " + tag("output", class_="md-where")


def _v_here() -> str:
    strip = tag("canvas", class_="md-barcode md-v-here", width=512, height=1, aria_hidden="true")
    return tag("h4", _here("v")) + strip + tag("ol", class_="md-bars md-v-top")


def _effects(seen: Inside, hidden: Sequence[Image.Image]) -> str:
    gaps = [float(effect(seen.pictures[-1], each).mean()) for each in hidden] or [0.0] * BLOCKS**2
    return wash(torch.tensor(gaps).view(BLOCKS, BLOCKS), "memory")


def _reference(seen: Inside) -> Image.Image:
    """Return the first reference's image as the noise lets it be seen; grey where there is none."""
    if not len(seen.prepared.retrieval):
        return Image.new("RGB", (64, 64), (128, 128, 128))
    return as_seen(seen.prepared.retrieval[0].image, seen.noise)


# ----------------------------------------------------------------------------------------------------
# Experiments on the whole memory: another one, and less of it


def controls_html(made: Sequence[Control]) -> str:
    """Return the controls side by side, each with the memory that it used."""
    cells = []
    for control in made:
        name, why = strings.CONTROL_NAMES[control.name]
        words = tag("b", text(name)) + tag("span", text(why))
        if control.picture is None:
            gone = tag("span", text(strings.CONTROL_GONE), class_="md-tile md-control-gone")
            cells.append(tag("li", gone + tag("p", words, class_="md-control")))
            continue
        shown = figure(image_uri(control.picture), f"{name}: {why}")
        cells.append(
            tag(
                "li",
                shown + tag("p", words, class_="md-control") + thumbs(control.retrieval),
                data_control=control.name,
            )
        )
    return tag("ol", "".join(cells), class_="md-controls")


def fading_html(pictures: Sequence[Image.Image]) -> str:
    """Return the picture with ever more of the memory, side by side."""
    shares = [f"{strength:.0%}" for strength in STRENGTHS]
    cells = "".join(
        tag(
            "li",
            figure(image_uri(picture), strings.FADE_ALT.format(share=share), text(share)),
            data_share=share,
        )
        for share, picture in zip(shares, pictures, strict=False)
    )
    ends = "".join(tag("span", text(each)) for each in strings.FADE_ENDS)
    return tag(
        "div",
        tag("h3", text(strings.FADE_TITLE), class_="md-step-title")
        + tag("p", text(strings.FADE_NOTE), class_="md-hint")
        + tag("ol", cells, class_="md-fading")
        + tag("p", ends, class_="md-fade-ends"),
        class_="md-inside",
    )


def _strength(done: int) -> str:
    line = strings.FADE_PROGRESS.format(done=done + 1, count=len(STRENGTHS))
    return status(line, busy=True)


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    with gr.Tab(strings.TAB_INSIDE, id="inside") as tab:
        section("paint", strings.INSIDE_TITLE)
        with gr.Row(elem_classes="md-tools"):
            panel(tag("p", text(strings.INSIDE_NOTE), class_="md-hint"))
            open_ = gr.Button(
                strings.INSIDE_RUN, variant="primary", elem_id="inside-run", elem_classes="md-run"
            )
        seen = panel(note(strings.INSIDE_EMPTY), elem_id="inside-result", js_on_load=script("inside.js"))
        faded = panel(elem_id="inside-fading")
        section("memory", strings.CONTROLS_TITLE)
        panel(tag("p", text(strings.CONTROLS_NOTE), class_="md-hint"))
        run = gr.Button(
            strings.CONTROLS_RUN, variant="primary", elem_id="controls-run", elem_classes="md-run"
        )
        made = panel(note(strings.CONTROLS_EMPTY), elem_id="controls-result")
    options = event_options()
    walked = [seen, faded, compose.status]
    return [
        open_.click(look, compose.whole_query, walked, **options),
        tab.select(look, compose.whole_query, walked, **options),
        run.click(exchange, compose.whole_query, [made, compose.status], **options),
    ]
