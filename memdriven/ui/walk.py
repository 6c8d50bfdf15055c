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
from torch import Tensor

from memdriven.explore.compare import least_alike
from memdriven.explore.critic import contents, load_critic
from memdriven.explore.inside import BLOCKS, PLACES, Inside, as_seen, effect, strongest
from memdriven.models.noise import WHOLE
from memdriven.numbers import counted
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import state
from memdriven.ui.html import (
    barcode,
    bars,
    button,
    hint,
    histogram,
    image,
    image_uri,
    over,
    row,
    table,
    tag,
    text,
    wash,
)

RULES = {value: label for label, value in state.RULES}
RULES |= {"random": "drawn at random", "oracle": "its own caption"}
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
    wires = [(a.name, b.name, a.kind) for a, b in pairwise(steps)]
    wires += [("words", name, "text") for name in (*stages, "critic") if not only]
    wires += [("features", name, "memory") for name in stages[1:] if "features" in names]
    wires += [] if only else [("noise", stages[0], "noise")]
    stations, panels = [], []
    for number, step in enumerate(steps):
        station, account = f"{prefix}-{step.name}", f"{prefix}-at-{step.name}"
        head = tag("b", tag("i", str(number + 1)), step.title)
        about: dict[str, object] = {
            "data_step": step.name,
            "class_": f"md-station md-{step.kind}",
            "type": "button",
        }
        about |= {"role": "tab", "id": station, "aria_controls": account}
        about |= {"aria_selected": str(number == 0).lower(), "tabindex": -1 if number else 0}
        stations.append(tag("button", head, tag("span", step.view, class_="md-station-view"), **about))
        about = {"data_step": step.name, "class_": f"md-account md-{step.kind}", "hidden": number > 0}
        about |= {"role": "tabpanel", "id": account, "aria_labelledby": station}
        panels.append(tag("section", step.account, **about))
    z = seen.noise.z[0]
    noise = (tag("span", tag("b", "z"), f" {len(z)} random numbers"), barcode(z, "noise"))
    back, onward = button("\u2190 Back", data_go="-1"), button("Next \u2192", data_go="1")
    first = names.index(stages[0]) + 1
    flow = tag(
        "div",
        '<svg class="md-wires" aria-hidden="true"></svg>',
        tag("div", *stations, role="tablist", class_="md-stations", aria_label="The method, step by step"),
        "" if only else tag("div", *noise, class_="md-z-node", data_step="noise"),
        tag("div", back, tag("output", class_="md-step-of", aria_live="off"), onward, class_="md-walk-steps"),
        class_="md-flow",
        style=f"--stations:{len(names)};--first:{first};--after:{1 if only else first + 2}",
        data_wires=json.dumps(wires),
    )
    numbers = json.dumps(_numbers(seen, hidden), separators=(",", ":"))
    return tag("div", flow, *panels, class_="md-walk", data_walk=numbers)


def _steps(pipe: MemoryDrivenPipeline, seen: Inside, hidden: Sequence[Image.Image]) -> list[Step]:
    quoted = tag("q", text(seen.prepared.request.caption)) + barcode(seen.sentence, "text")
    used = [each for each in seen.prepared.retrieval.ids if each in pipe.bank.ids]
    marks = [float(seen.cosines[pipe.bank.index_of(each)]) for each in used]
    v = over(_reference(seen), wash(seen.v.norm(dim=0), "memory")) + barcode(_v_global(seen), "memory")
    last = over(seen.pictures[-1], _effects(seen, hidden))
    pooled = tag("span", *map(image, contents(seen.pictures[0])), class_="md-pooled")
    searched = histogram(seen.cosines, marks, small=True)
    stages = []
    for n, picture in enumerate(seen.pictures):
        stages.append(Step(f"stage{n}", f"Stage {n + 1}", "paint", image(picture), stage(seen, n)))
    return [
        Step("words", "Words", "text", quoted, words(seen)),
        Step("search", "Search", "memory", searched, search(pipe, seen, marks)),
        Step("features", "Features", "memory", v, features(seen)),
        *stages,
        Step("picture", "Picture", "paint", last, hiding(seen, hidden)),
        Step("critic", "Critic", "paint", pooled, critic(pipe, seen)),
    ]


# ----------------------------------------------------------------------------------------------------
# An account for each step


def words(seen: Inside) -> str:
    """Return the words and the sentence, each as a strip of its numbers."""
    rows = [tag("li", tag("span", text(word)), barcode(numbers, "text")) for word, numbers in seen.words]
    rows.append(tag("li", tag("b", "s"), barcode(seen.sentence, "text"), class_="md-whole"))
    lead = (
        f"A recurrent network turns each word into {len(seen.sentence)} numbers, its embedding, and the "
        "whole sentence S into as many, s. A strip shows them side by side: blue above zero, grey below."
    )
    if seen.prepared.guidance and len(seen.prepared.retrieval):
        rows.append(tag("li", tag("span", "s, guided"), barcode(seen.prepared.text.sentence[0], "text")))
        lead += " The last row is s as G reads it: moved away from what the reference\u2019s captions say."
    return _account("The words become numbers", lead, tag("ul", *rows, class_="md-strips"))


def search(pipe: MemoryDrivenPipeline, seen: Inside, marks: Sequence[float]) -> str:
    """Return the histogram of cosines, the references marked, with the references below it."""
    found, bank = seen.prepared.retrieval, pipe.bank
    others = [
        float(seen.cosines[bank.index_of(each.neighbour.id)]) for each in seen.prepared.tried if not each.kept
    ]
    shown = histogram(seen.cosines, marks, others)
    title = "Searching the memory"
    lead = (
        f"The memory M holds {counted(bank.n, 'item')}: image features with their captions. s is compared "
        "with all of these captions, and each item counts by its best. Far right means: says nearly the same."
    )
    if not len(found):
        return _account(title, lead + " No reference was taken: the memory is switched off.", shown)
    if found.strategy != "sentence-sentence":
        by = f"This reference was found by another rule ({RULES[found.strategy]})"
        lead += f" {by}; the mark shows where it lies by this one."
    cards = []
    for each in found:
        told = "your own image"
        if each.id in bank.ids:
            cosine = seen.cosines[bank.index_of(each.id)]
            place = int((seen.cosines > cosine).sum()) + 1
            told = f"cosine {float(cosine):.2f}, number {place} of {bank.n:,}"
        said = tag("div", tag("q", text(each.caption)), tag("p", told, class_="md-told"))
        cards.append(tag("li", image(each.image, each.caption), said))
    if found.tried:
        shown += hint(
            f"The {found.tried} nearest were painted with, and the picture that fits the words best "
            "decided [ours]: the small marks are the others."
        )
    formula = "cos(s, s<sub>i</sub>) = s \u00b7 s<sub>i</sub> / (|s| |s<sub>i</sub>|)"
    return _account(title, lead, shown + tag("ul", *cards, class_="md-found"), formula)


def features(seen: Inside) -> str:
    """Return the reference with v over it, v at one place, and v_G."""
    found, mean = seen.prepared.retrieval, _v_global(seen)
    if not len(found):
        return _account("The features v", "Without a reference v is zero everywhere, and so is v_G.", "")
    hints = []
    if len(found) > 1:
        hints.append(
            f"{len(found)} memories took part, mixed into one v, shown over the image of No. 1, which weighs "
            f"{found[0].weight:.0%}."
        )
    if seen.noise.window != WHOLE:
        hints.append("This seed crops the memory; the same crop is shown here.")
    if seen.noise.mirror:
        hints.append("This seed mirrors the memory; it is shown mirrored here.")
    channels = [(f"channel {n}", float(mean[n])) for n in strongest(seen.v, 8)]
    means = (
        tag("h4", "v<sub>G</sub>: the mean of each channel"),
        barcode(mean, "memory"),
        bars(channels, largest=float(mean.max())),
    )
    strength = wash(seen.v.norm(dim=0), "memory")
    picker = _picker(_reference(seen), "The reference, with the strength of v", strength)
    lead = (
        "VGG-16 saw the reference once, when the memory was built. Its layer relu5_3 gave v: 512 numbers at "
        "each of 16 \u00d7 16 places. Choose a place. Their mean over all places is v_G, which says what is "
        "there, not where."
    )
    parts = (tag("div", picker, *map(hint, hints)), tag("div", _v_here()), tag("div", *means))
    formula = "v \u2208 \u211d<sup>512\u00d716\u00d716</sup>, &ensp; v<sub>G</sub> = mean over places of v"
    return _account("The image features v", lead, tag("div", *parts, class_="md-three"), formula)


def stage(seen: Inside, number: int) -> str:
    """Return a stage: where the memory moved its gates, and h W + b at one place."""
    fusions = [(place, each) for place, each in enumerate(seen.fusions) if each.stage == number]
    picture = seen.pictures[number]
    title = f"Stage {number + 1}: {picture.width} px"
    lead = (
        "This stage takes the hidden features h of the one before and the words again, to "
        if number
        else "The first stage begins with z, s and v_G side by side and grows them from 4 to "
    ) + f"{picture.width} px. "
    if not fusions:
        return _account(title, lead + "This model feeds no v to it.", image(picture))
    lead += (
        "At every place the memory tells each channel two things: multiply by W(v), add b(v). This is the "
        "affine combination (ACM), and all that v does to a picture. Choose a place."
    )
    largest = _most_moved(seen)
    pictures, choices = [], []
    for order, (place, each) in enumerate(fusions):
        alt = f"Stage {number + 1}, with how far the memory moved W at {each.side} px"
        picker = _picker(picture, alt, wash(each.moved, "memory", largest))
        pictures.append(tag("div", picker, data_fusion=place, hidden=order > 0))
        pressed = str(order == 0).lower()
        choices.append(button(f"at {each.side} px", "md-chip", data_choose=place, aria_pressed=pressed))
    ramp = (tag("span", "0"), tag("span", class_="md-ramp"), tag("span", f"{largest or 0:.1f}"))
    scale = "|W(v) \u2212 W(0)|, mean over channels, on one scale for all of this picture\u2019s maps"
    shown = (
        tag("p", "v enters ", *choices, class_="md-meets"),
        *pictures,
        tag("p", *ramp, class_="md-scale-of"),
        hint(scale),
    )
    heads = ("channel", "h", "W", "b", "h\u2032")
    sums = table(_here("h \u00b7 W + b = h\u2032"), heads, (), class_="md-sums")
    why = hint(f"{len(fusions[0][1].channels)} channels of h, those whose W this memory moves most.")
    parts = tag("div", tag("div", *shown), tag("div", _v_here(), sums, why), class_="md-two")
    return _account(title, lead, parts, "h\u2032 = h \u2299 W(v) + b(v)")


def hiding(seen: Inside, hidden: Sequence[Image.Image]) -> str:
    """Return the picture without a part of v, what went with it, and where v had entered."""
    title, picture = "What v did to the picture", seen.pictures[-1]
    if not seen.fusions or not len(seen.prepared.retrieval):
        lead = "No v took part in this picture, so that nothing can be hidden."
        return _account(title, lead, image(picture))
    lead = (
        "Where W moves, the memory entered; what it did there is seen only by taking it away. Choose a part: "
        "v is set to 0 there, and the same words and noise are painted again."
    )
    told = "The picture; stronger where hiding v changes more of it"
    picker = _picker(picture, told, _effects(seen, hidden), BLOCKS)
    if not hidden:
        return _account(title, lead, tag("div", picker, class_="md-four"))
    entered = over(picture, wash(seen.fusions[0].moved, "memory", _most_moved(seen)))
    cells = {
        "what each part of v did: the mean change of the whole picture when it is hidden": picker,
        "without it": tag("img", class_="md-without", alt="The picture without this part of v"),
        "what went": tag("img", class_="md-gone", alt="Where hiding this part changed the picture"),
        f"beside it, where v entered: |W(v) \u2212 W(0)| at {seen.fusions[0].side} px": entered,
    }
    shown = (
        tag("figure", each, tag("figcaption", words), class_="md-figure") for words, each in cells.items()
    )
    change = tag("p", class_="md-told md-effect", aria_live="polite")
    return _account(title, lead, tag("div", *shown, class_="md-four") + change)


def critic(pipe: MemoryDrivenPipeline, seen: Inside) -> str:
    """Return the content features of a real and of the made picture, with D's answers where it is at hand."""
    judge, found = load_critic(pipe.checkpoint), seen.prepared.retrieval
    caption, wrong = seen.prepared.request.caption, ""
    told = "D is needed for training alone, and this checkpoint comes without it: no answers to show."
    if judge is not None:
        wrong = pipe.bank.item(pipe.bank.index_of(least_alike(pipe, caption))).captions[0]
        told = (
            "50 % says that D cannot tell; the generator was trained until it hardly could. The real picture "
            "is the memory\u2019s small copy of it. "
            f"The wrong caption, of all the memory least like yours: \u201c{wrong}\u201d"
        )
    real, made = judged(pipe, seen)
    shown = []
    for name, picture, own in (("real", real, found[0].caption if real else ""), ("made", made, caption)):
        if picture is None:
            continue
        cells = [image(picture, f"{name} picture") + tag("b", name)]
        for a in contents(picture):
            cells.append(image(a, f"{name}, pooled to {a.width} px") + tag("span", f"a<sub>{a.width}</sub>"))
        parts = [row("md-contents", cells)]
        if judge is not None:
            sentences = [pipe.retriever.query(each).text.sentence[0].float() for each in (own, wrong)]
            said = zip(QUESTIONS, judge.judge(picture, *sentences), strict=True)
            parts.append(bars(list(said), largest=1.0, form="{:.0%}"))
        shown.append(tag("div", *parts))
    lead = (
        "While it is trained, the generator has an opponent: the discriminator D. Deep layers lose the shape "
        "of things, so D is also given the picture itself, pooled again and again: its content features."
    )
    sizes = f"a<sub>{made.width // 2}</sub>, a<sub>{made.width // 4}</sub>, \u2026, a<sub>4</sub>"
    formula = f"{sizes}: each the average of the one before"
    return _account("The critic", lead, "".join(shown) + hint(told), formula)


def judged(pipe: MemoryDrivenPipeline, seen: Inside) -> tuple[Image.Image | None, Image.Image]:
    """Return the reference, as the noise saw it (None without one), and the picture, at the size D judges."""
    judge = load_critic(pipe.checkpoint)
    size = CRITIC_SIZE if judge is None else judge.size
    made = next((each for each in seen.pictures if each.width == size), seen.pictures[-1])
    real = _reference(seen).resize(made.size, Image.Resampling.BICUBIC)
    return real if len(seen.prepared.retrieval) else None, made


# ----------------------------------------------------------------------------------------------------
# Parts of the accounts


def _account(title: str, lead: str, shown: str, formula: str = "") -> str:
    head = [tag("h3", title), tag("p", text(lead).replace("v_G", "v<sub>G</sub>"), class_="md-lead")]
    if formula:
        head.insert(1, tag("p", formula, class_="md-formula"))
    return tag("div", *head, class_="md-account-head") + shown


def _picker(picture: Image.Image, label: str, map_: str, cells: int = PLACES) -> str:
    """Return a picture under a map, on which one of cells x cells places is chosen."""
    return tag(
        "div",
        over(picture, map_),
        tag("span", class_="md-cell"),
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


def _v_global(seen: Inside) -> Tensor:
    return seen.v.mean(dim=(1, 2))


def _most_moved(seen: Inside) -> float | None:
    """Return what fills the scale of all maps of W; None where the memory moved none."""
    return max(float(each.moved.max()) for each in seen.fusions) or None


def _effects(seen: Inside, hidden: Sequence[Image.Image]) -> str:
    gaps = [float(effect(seen.pictures[-1], each).mean()) for each in hidden] or [0.0] * BLOCKS**2
    return wash(torch.tensor(gaps).view(BLOCKS, BLOCKS), "memory")


def _reference(seen: Inside) -> Image.Image:
    """Return the first reference's image as the noise lets it be seen; grey where there is none."""
    if not len(seen.prepared.retrieval):
        return Image.new("RGB", (64, 64), (128, 128, 128))
    return as_seen(seen.prepared.retrieval[0].image, seen.noise)


def _numbers(seen: Inside, hidden: Sequence[Image.Image]) -> dict[str, Any]:
    """Return what the browser needs to answer for any place: v, and each ACM's h, W and b."""
    columns = [
        [[channel, round(float(column[channel]), 2)] for channel in column.nonzero()[:, 0].tolist()]
        for column in seen.v.flatten(1).T  # 256 places of 512 channels
    ]

    def rounded(maps: Tensor) -> list[list[float]]:
        return [[round(value, 3) for value in channel] for channel in maps.flatten(1).tolist()]

    gaps = [effect(seen.pictures[-1], each) for each in hidden]
    largest = max((float(gap.max()) for gap in gaps), default=0.0) or None
    fusions = []
    for each in seen.fusions:
        maps = {"h": each.hidden, "W": each.scale, "b": each.shift}
        sent = {name: rounded(value) for name, value in maps.items()}
        fusions.append({"side": each.side, "channels": each.channels, **sent})
    return {
        "v": columns,
        "largest": round(float(seen.v.max()), 2),
        "start": int(seen.v.norm(dim=0).argmax()),
        "fusions": fusions,
        "without": [image_uri(each) for each in hidden],
        "gone": [wash(gap, "memory", largest) for gap in gaps],
        "effects": [round(100 * float(gap.mean()), 2) for gap in gaps],
    }
