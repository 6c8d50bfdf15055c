"""The tab How it works: Fig. 2 as a diagram that one walks through, and the memory weakened.

A row of steps with the paths between them, and the open step's account below, with one picture's own
tensors. All that it shows is sent at once; what one chooses in it (a step, a place, a part of v) moves in
the browser alone (`inside.js`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from memdriven.explore.compare import least_alike
from memdriven.explore.critic import contents, judged, load_critic
from memdriven.explore.inside import BLOCKS, Inside, hide, look_inside, reference
from memdriven.models.noise import WHOLE
from memdriven.numbers import percent
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import gr, html, references, state
from memdriven.ui.html import note, status, wash
from memdriven.ui.query import STATE_SECONDS, Compose, Query, read_examples

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the memory's features that are shown side by side."""
RULES = state.RULES | {"random": "drawn at random", "oracle": "its own caption"}
QUESTIONS = ("Is it real?", "Real, and fits its caption?", "Real, and fits a wrong one?")


# ---- The walk ------------------------------------------------------------------------------------


class Step(NamedTuple):
    """A station of the diagram and its account."""

    name: str
    title: str
    kind: str
    """`text`, `memory` or `paint`: its colour."""
    macro: str
    """Of `stations.html`: what its account is told by, and with `_view` after it, how it looks."""
    of: Mapping[str, object]


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
    begins = names.index(stages[0]) + 1
    return html.render(
        "walk",
        prefix=prefix,
        steps=steps,
        wires=json.dumps(wires),
        first=begins,
        after=1 if only else begins + 2,
        z=None if only else seen.noise.z[0],
        numbers=json.dumps(_numbers(seen), separators=(",", ":")),
    )


def words(seen: Inside) -> Step:
    """Show the words and the sentence, each as a strip of its numbers."""
    guided = seen.prepared.guidance and len(seen.prepared.retrieval)
    of = {"seen": seen, "guided": seen.prepared.text.sentence[0] if guided else None}
    return Step("words", "Words", "text", "words", of)


def search(pipe: MemoryDrivenPipeline, seen: Inside) -> Step:
    """Show the histogram of cosines, the references marked, with the references below it."""
    found, bank = seen.prepared.retrieval, pipe.bank
    cosines = {each: float(seen.cosines[bank.index_of(each)]) for each in found.ids if each in bank.ids}
    tried = [each.neighbour.id for each in seen.prepared.tried if not each.kept]
    places = {each: int((seen.cosines > cosine).sum()) + 1 for each, cosine in cosines.items()}
    of = {
        "cosines": seen.cosines,
        "marks": list(cosines.values()),
        "others": [float(seen.cosines[bank.index_of(each)]) for each in tried],
        "rule": "" if found.strategy == "sentence-sentence" else RULES.get(found.strategy, ""),
        "tried": found.tried,
        "found": [(each, cosines.get(each.id), places.get(each.id)) for each in found],
    }
    return Step("search", "Search", "memory", "search", of)


def features(seen: Inside) -> Step:
    """Show the reference with v over it, v at one place, and v_G."""
    found, mean = seen.prepared.retrieval, seen.v.mean(dim=(1, 2))
    top = mean.topk(8)[1].tolist()
    of = {
        "picture": html.image_uri(reference(seen)),
        "strength": wash(seen.v.norm(dim=0), "memory"),
        "mean": mean,
        "count": len(found),
        "share": percent(found[0].weight) if len(found) else "",
        "cropped": seen.noise.view.window != WHOLE,
        "mirrored": bool(seen.noise.view.mirrored),
        "channels": {f"channel {n}": float(mean[n]) for n in top if mean[n] > 0},
    }
    return Step("features", "Features", "memory", "features", of)


def stage(seen: Inside, number: int) -> Step:
    """Show a stage: where the memory moved its gates, and h W + b at one place."""
    picture, fusions = seen.pictures[number], []
    for place, each in enumerate(seen.fusions):
        if each.stage == number:
            scales = {"common": seen.most_moved, "own": float(each.moved.max())}
            maps = [(n, wash(each.moved, "memory", most), f"{most or 0:.3g}") for n, most in scales.items()]
            fusions.append((place, each, maps))
    of = {"number": number + 1, "side": picture.width, "picture": html.image_uri(picture), "fusions": fusions}
    return Step(f"stage{number}", f"Stage {number + 1}", "paint", "stage", of)


def hiding(seen: Inside) -> Step:
    """Show the picture without a part of v, what went with it, and where v had entered."""
    entered = seen.fusions[0] if seen.fusions and len(seen.prepared.retrieval) else None
    of = {
        "picture": html.image_uri(seen.pictures[-1]),
        "effects": wash(seen.effects, "memory"),
        "hidden": bool(seen.hidden),
        "side": entered.side if entered else 0,
        "entered": wash(entered.moved, "memory", seen.most_moved) if entered else "",
        "cells": BLOCKS,
    }
    return Step("picture", "Picture", "paint", "hiding", of)


def critic(pipe: MemoryDrivenPipeline, seen: Inside) -> Step:
    """Show the content features of a real and of the made picture, with D's answers where it is at hand."""
    judge, found = load_critic(pipe.checkpoint), seen.prepared.retrieval
    caption, wrong = seen.prepared.request.caption, ""
    if judge is not None:
        wrong = pipe.bank.items[pipe.bank.index_of(least_alike(pipe, caption))].captions[0]
    (real, made), shown = judged(pipe, seen), []
    for name, picture, own in (("real", real, found[0].caption if real else ""), ("made", made, caption)):
        if picture is None:
            continue
        answers = None
        if judge is not None:
            sentences = [pipe.retriever.query(each).text.sentence[0].float() for each in (own, wrong)]
            answers = dict(zip(QUESTIONS, judge.judge(picture, *sentences), strict=True))
        pooled = [(a.width, html.image_uri(a)) for a in contents(picture)]
        shown.append(
            {"name": name, "picture": html.image_uri(picture), "contents": pooled, "answers": answers}
        )
    small = [html.image_uri(each) for each in contents(seen.pictures[0])]
    of = {"judged": shown, "wrong": wrong, "side": made.width, "pooled": small}
    return Step("critic", "Critic", "paint", "critic", of)


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


# ---- The tab -------------------------------------------------------------------------------------


def question(*query: object) -> str:
    """Return what is asked by the column as it stands: the same words, the same walk."""
    asked = Query(*query)
    return repr(asked._replace(steering=replace(asked.steering, images=())))


def show(*query: object) -> Iterator[tuple[Any, Any, str]]:
    """Yield the walk, then with what hiding parts of v does, then the strengths; and the status.

    First what is under way is told, over the walk that is there.
    """
    pipe, asked = state.pipeline(), Query(*query)
    if asked.empty:  # there is always something to walk through
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
        cells.append((percent(share), html.image_uri(picture)))
        yield gr.skip(), html.render("fading", cells=cells), line


def build(compose: Compose) -> None:
    """Add the tab."""
    with gr.Tab("How it works", id="inside") as tab:
        html.section("paint", "From your words to the picture, step by step")
        with gr.Row(elem_classes="md-tools"):
            html.explain("Figure 2 of the paper, with the numbers of this very picture. Choose a step.")
            open_ = html.run_button("Work it out again", "inside-run")
            asked = gr.State("", time_to_live=STATE_SECONDS)
        empty = note("What words, memory and noise did in your picture is worked out when the tab opens.")
        seen = html.panel(empty, elem_id="inside-result", js_on_load=html.script("inside.js"))
        faded = html.panel(elem_id="inside-fading")
    # Of an event beside the queue the page does not hear that a state has changed.
    compose.on(tab.select, question, compose.whole_query, [asked], **html.QUIET)
    compose.on([open_.click, asked.change], show, compose.whole_query, [seen, faded, "status"])
