"""Fig. 2 as a diagram that one walks through, with one picture's own tensors, from the words to the critic.

A row of steps with the paths between them, and the open step's account below. All that it shows is sent at
once; what one chooses in it (a step, a place, a part of v) moves in the browser alone (`inside.js`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from PIL import Image

from memdriven.explore.compare import least_alike
from memdriven.explore.critic import contents, load_critic
from memdriven.explore.inside import BLOCKS, PLACES, Inside, as_seen, effect, strongest
from memdriven.models.noise import WHOLE
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui.html import hint, image_uri, tag, text, wash
from memdriven.ui.state import RULES
from memdriven.ui.tabs import barcode, bars, histogram, image, over

NAMES = {value: label for label, value in RULES} | {"random": "drawn at random", "oracle": "its own caption"}


CRITIC_SIZE = 128
"""Side in px of the picture whose content features are shown where no D says which it judges."""
QUESTIONS = ("Is it real?", "Real, and fits its caption?", "Real, and fits a wrong one?")


class Step(NamedTuple):
    """A station of the diagram and its account."""

    name: str
    title: str
    kind: str
    """`text`, `memory` or `paint`: its colour."""
    view: str
    account: str


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
    steps = [each for each in _steps(pipe, seen, hidden) if not only or each.name in only]
    names = [each.name for each in steps]
    stages = [name for name in names if name.startswith("stage")]
    wires = [
        *((a.name, b.name, a.kind) for a, b in pairwise(steps)),
        *(("words", name, "text") for name in (*stages, "critic")),
        *(("features", name, "memory") for name in stages[1:]),
        *(() if only else (("noise", stages[0], "noise"),)),
    ]
    wires = [wire for wire in wires if {*wire[:2]} <= {*names, "noise"}]
    stations = "".join(
        tag(
            "button",
            tag("b", tag("i", text(number)) + text(step.title))
            + tag("span", step.view, class_="md-station-view"),
            type="button",
            role="tab",
            id=f"{prefix}-{step.name}",
            class_=f"md-station md-{step.kind}",
            data_step=step.name,
            aria_controls=f"{prefix}-at-{step.name}",
            aria_selected=str(number == 1).lower(),
            tabindex=0 if number == 1 else -1,
        )
        for number, step in enumerate(steps, start=1)
    )
    z = seen.noise.z[0]
    noise = tag("span", tag("b", "z") + text(f" {len(z)} random numbers")) + barcode(z, "noise")
    onward = (
        tag("button", "\u2190 Back", type="button", class_="md-action", data_go="-1")
        + tag("output", class_="md-step-of", aria_live="off")
        + tag("button", "Next \u2192", type="button", class_="md-action", data_go="1")
    )
    first = names.index(stages[0]) + 1
    flow = tag(
        "div",
        '<svg class="md-wires" aria-hidden="true"></svg>'
        + tag("div", stations, role="tablist", class_="md-stations", aria_label="The method, step by step")
        + ("" if only else tag("div", noise, class_="md-z-node", data_step="noise"))
        + tag("div", onward, class_="md-walk-steps"),
        class_="md-flow",
        style=f"--stations:{len(names)};--first:{first};--after:{1 if only else first + 2}",
        data_wires=json.dumps(wires),
    )
    panels = "".join(
        tag(
            "section",
            step.account,
            role="tabpanel",
            id=f"{prefix}-at-{step.name}",
            aria_labelledby=f"{prefix}-{step.name}",
            class_=f"md-account md-{step.kind}",
            data_step=step.name,
            hidden=number > 0,
        )
        for number, step in enumerate(steps)
    )
    numbers = json.dumps(_numbers(seen, hidden), separators=(",", ":"))
    return tag("div", flow + panels, class_="md-walk", data_walk=numbers)


def _steps(pipe: MemoryDrivenPipeline, seen: Inside, hidden: Sequence[Image.Image]) -> list[Step]:
    bank, found = pipe.bank, seen.prepared.retrieval
    marks = [float(seen.cosines[bank.index_of(each.id)]) for each in found if each.id in bank.ids]
    others = [
        float(seen.cosines[bank.index_of(each.neighbour.id)]) for each in seen.prepared.tried if not each.kept
    ]
    quoted = tag("q", text(seen.prepared.request.caption)) + barcode(seen.sentence, "text")
    chart = histogram(seen.cosines, marks, others)
    v = over(_reference(seen), wash(seen.v.norm(dim=0), "memory")) + barcode(
        seen.v.mean(dim=(1, 2)), "memory"
    )
    pooled = tag("span", "".join(map(image, contents(seen.pictures[0]))), class_="md-pooled")
    return [
        Step("words", "Words", "text", quoted, words(seen)),
        Step(
            "search",
            "Search",
            "memory",
            histogram(seen.cosines, marks, small=True),
            search(pipe, seen, chart),
        ),
        Step("features", "Features", "memory", v, features(seen)),
        *(
            Step(f"stage{n}", f"Stage {n + 1}", "paint", image(picture), stage(seen, n))
            for n, picture in enumerate(seen.pictures)
        ),
        Step(
            "picture",
            "Picture",
            "paint",
            over(seen.pictures[-1], _effects(seen, hidden)),
            hiding(seen, hidden),
        ),
        Step("critic", "Critic", "paint", pooled, critic(pipe, seen)),
    ]


def _account(title: str, lead: str, shown: str, formula: str = "") -> str:
    head = tag("h3", text(title)) + (tag("p", formula, class_="md-formula") if formula else "")
    lead = text(lead).replace("v_G", "v<sub>G</sub>")
    return tag("div", head + tag("p", lead, class_="md-lead"), class_="md-account-head") + shown


def words(seen: Inside) -> str:
    """Return the words and the sentence, each as a strip of its numbers."""
    rows = [tag("li", tag("span", text(word)) + barcode(embedding, "text")) for word, embedding in seen.words]
    rows.append(tag("li", tag("b", "s") + barcode(seen.sentence, "text"), class_="md-whole"))
    guided = ""
    if seen.prepared.guidance and len(seen.prepared.retrieval):
        rows.append(tag("li", tag("span", "s, guided") + barcode(seen.prepared.text.sentence[0], "text")))
        guided = " The last row is s as G reads it: moved away from what the reference\u2019s captions say."
    lead = (
        f"A recurrent network turns each word into {len(seen.sentence)} numbers, its embedding, and the "
        "whole sentence S into as many, s. A strip shows them side by side: blue above zero, grey below."
        + guided
    )
    return _account("The words become numbers", lead, tag("ul", "".join(rows), class_="md-strips"))


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
            "Searching the memory", lead + " No reference was taken: the memory is switched off.", shown
        )
    if found.strategy != "sentence-sentence":
        rule = NAMES[found.strategy]
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
                image(each.image, each.caption)
                + tag("div", tag("q", text(each.caption)) + tag("p", text(told), class_="md-told")),
            )
        )
    tried = ""
    if found.tried:
        tried = hint(
            f"The {found.tried} nearest were painted with, and the picture that fits the words best "
            "decided [ours]: the small marks are the others."
        )
    return _account(
        "Searching the memory",
        lead,
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
        return _account("The features v", "Without a reference v is zero everywhere, and so is v_G.", "")
    view = []
    if len(seen.prepared.retrieval) > 1:
        share = seen.prepared.retrieval[0].weight
        view.append(
            f"{len(seen.prepared.retrieval)} memories took part, mixed into one "
            f"v, shown over the image of No. 1, which weighs {share:.0%}."
        )
    if seen.noise.window != WHOLE:
        view.append("This seed crops the memory; the same crop is shown here.")
    if seen.noise.mirror:
        view.append("This seed mirrors the memory; it is shown mirrored here.")
    hints = "".join(hint(line) for line in view)
    mean = seen.v.mean(dim=(1, 2))
    top = strongest(seen.v, 8)
    means = tag(
        "div",
        tag("h4", "v<sub>G</sub>: the mean of each channel")
        + barcode(mean, "memory")
        + bars([(f"channel {n}", float(mean[n])) for n in top], largest=float(mean.max())),
    )
    picker = _picker(
        _reference(seen), "The reference, with the strength of v", wash(seen.v.norm(dim=0), "memory")
    )
    return _account(
        "The image features v",
        lead,
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
        else "The first stage begins with z, s and v_G side by side and grows them from 4 to "
        f"{picture.width} px. "
    )
    if not fusions:
        return _account(title, lead + "This model feeds no v to it.", image(picture))
    lead += (
        "At every place the memory tells each channel two things: multiply by W(v), add b(v). "
        "This is the affine combination (ACM), and all that v does to a picture. Choose a place."
    )
    largest = max(float(each.moved.max()) for each in seen.fusions)
    pictures, choices = [], []
    for order, (place, each) in enumerate(fusions):
        alt = f"Stage {number + 1}, with how far the memory moved W at {each.side} px"
        moved = wash(each.moved, "memory", largest or None)
        pictures.append(tag("div", _picker(picture, alt, moved), data_fusion=place, hidden=order > 0))
        label = f"at {each.side} px"
        pressed = str(order == 0).lower()
        choices.append(
            tag("button", label, type="button", class_="md-chip", data_choose=place, aria_pressed=pressed)
        )
    meets = tag("p", text("v enters ") + "".join(choices), class_="md-meets")
    ramp = tag("span", "0") + tag("span", class_="md-ramp") + tag("span", text(f"{largest:.1f}"))
    legend = tag("p", ramp, class_="md-scale-of") + hint(
        "|W(v) \u2212 W(0)|, mean over channels, on one scale for all of this picture\u2019s maps"
    )
    heads = "".join(tag("th", name, scope="col") for name in ("channel", "h", "W", "b", "h\u2032"))
    sums = tag(
        "table",
        tag("caption", _here("h \u00b7 W + b = h\u2032")) + tag("thead", tag("tr", heads)) + tag("tbody"),
        class_="md-sums",
    )
    why = f"{len(fusions[0][1].channels)} channels of h, those whose W this memory moves most."
    here = tag("div", _v_here() + sums + hint(why))
    return _account(
        title,
        lead,
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
            "No v took part in this picture, so that nothing can be hidden.",
            image(seen.pictures[-1]),
        )
    picker = _picker(
        seen.pictures[-1],
        "The picture; stronger where hiding v changes more of it",
        _effects(seen, hidden),
        BLOCKS,
    )
    if not hidden:
        return _account("What v did to the picture", lead, tag("div", picker, class_="md-four"))
    largest = max(float(each.moved.max()) for each in seen.fusions)
    moved = wash(seen.fusions[0].moved, "memory", largest or None)
    cells = (
        (picker, "what each part of v did: the mean change of the whole picture when it is hidden"),
        (tag("img", class_="md-without", alt="The picture without this part of v"), "without it"),
        (tag("img", class_="md-gone", alt="Where hiding this part changed the picture"), "what went"),
        (
            over(seen.pictures[-1], moved),
            f"beside it, where v entered: |W(v) \u2212 W(0)| at {seen.fusions[0].side} px",
        ),
    )
    shown = "".join(
        tag("figure", each + tag("figcaption", text(words)), class_="md-figure") for each, words in cells
    )
    return _account(
        "What v did to the picture",
        lead,
        tag("div", shown, class_="md-four") + tag("p", class_="md-told md-effect", aria_live="polite"),
    )


def critic(pipe: MemoryDrivenPipeline, seen: Inside) -> str:
    """Return the content features of a real and of the made picture, with D's answers where it is at hand."""
    judge, found, caption = (
        load_critic(pipe.checkpoint),
        seen.prepared.retrieval,
        seen.prepared.request.caption,
    )
    lead = (
        "While it is trained, the generator has an opponent: the discriminator D. Deep layers lose the "
        "shape of things, so D is also given the picture itself, pooled again and again: its content "
        "features."
    )
    told = "D is needed for training alone, and this checkpoint comes without it: no answers to show."
    wrong, size = "", CRITIC_SIZE
    if judge is not None:
        size = judge.size
        wrong = pipe.bank.item(pipe.bank.index_of(least_alike(pipe, caption))).captions[0]
        told = (
            "50 % says that D cannot tell; the generator was trained until it hardly could. The real picture "
            "is the memory\u2019s small copy of it. "
            f"The wrong caption, of all the memory least like yours: \u201c{wrong}\u201d"
        )
    made = next((each for each in seen.pictures if each.width == size), seen.pictures[-1])
    rows = [("made", made, caption)]
    if len(found):
        real = found[0].image.resize(made.size, Image.Resampling.BICUBIC)
        rows.insert(0, ("real", real, found[0].caption))
    shown = []
    for name, picture, own in rows:
        pooled = "".join(
            tag("li", image(a, f"{name}, pooled to {a.width} px") + tag("span", f"a<sub>{a.width}</sub>"))
            for a in contents(picture)
        )
        strip = tag("li", image(picture, f"{name} picture") + tag("b", name)) + pooled
        answers = ""
        if judge is not None:
            sentences = [pipe.retriever.query(words).text.sentence[0].float() for words in (own, wrong)]
            said = zip(QUESTIONS, judge.judge(picture, *sentences), strict=True)
            answers = bars(list(said), largest=1.0, form="{:.0%}")
        shown.append(tag("div", tag("ol", strip, class_="md-contents") + answers))
    sizes = f"a<sub>{made.width // 2}</sub>, a<sub>{made.width // 4}</sub>, \u2026, a<sub>4</sub>"
    return _account(
        "The critic", lead, "".join(shown) + hint(told), f"{sizes}: each the average of the one before"
    )


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
# Parts of the accounts


def _picker(picture: Image.Image, label: str, map_: str, cells: int = PLACES) -> str:
    """Return a picture under a map, on which one of cells x cells places is chosen."""
    return tag(
        "div",
        over(picture, map_) + tag("span", class_="md-cell"),
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
