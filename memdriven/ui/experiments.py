"""What a lesson runs: one small experiment on the loaded model, and which of its answers came true.

An experiment measures what its lesson asks about, so that a prediction is judged by this very run, for
captions of one's own and for other models, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import torch
from PIL import Image, ImageFilter, ImageOps

from memdriven.explore.compare import carries, cosines, difference, least_alike
from memdriven.explore.critic import contents
from memdriven.explore.inside import BLOCKS, PLACES, as_seen, effect, hidden_parts, look_inside
from memdriven.pipeline.output import PipelineOutput, to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Reference, Request
from memdriven.ui import copies, state, tabs, walk
from memdriven.ui.copies import COPY_PROGRESS
from memdriven.ui.html import figure, hint, image_uri, tag, text, thumbs
from memdriven.ui.lessons import Lesson
from memdriven.ui.references import note

DRAWS = 4
"""Pictures in each row of the lesson on noise."""
FOUND = 4


@dataclass(frozen=True)
class Ran:
    """An experiment as far as it is."""

    made: str
    """HTML."""
    answer: int | None = None
    """Which of the lesson's options came true; None while it runs, or where none did."""
    measured: str = ""
    """By what numbers; empty while it runs."""


def run(pipe: MemoryDrivenPipeline, lesson: Lesson, caption: str = "") -> Iterator[Ran]:
    """Yield the lesson's experiment, ever fuller; the last one is judged.

    Args:
        pipe: the model.
        lesson: what to run.
        caption: one's own words instead of the lesson's; their reference is then found, not given.

    Raises:
        CaptionError, RetrievalError: the model cannot read the caption.
    """
    request, known = lesson.request, frozenset(pipe.bank.ids)
    if caption.strip():
        request = replace(request, caption=caption.strip(), references=None)
    elif request.references and not all(each.id in known for each in request.references):
        request = replace(request, references=None)
    if not state.offers_tries():
        request = replace(request, best_of=1)
    kinds: dict[str, Callable[[MemoryDrivenPipeline, Request], Iterator[Ran]]] = {
        "search": partial(_search, other=lesson.other),
        "share": _share,
        "gates": _gates,
        "noise": _noise,
        "copy": _copy,
        "critic": _critic,
    }
    yield from kinds[lesson.experiment](pipe, request)


# ----------------------------------------------------------------------------------------------------
# Search: where the best lies among all cosines, and that the nearest need not have what was named


def _search(pipe: MemoryDrivenPipeline, request: Request, other: str) -> Iterator[Ran]:
    captions = [request.caption, *([other] if other and other != request.caption else [])]
    rows, tops = [], []
    for caption in captions:
        found = cosines(pipe, caption)
        order = found.argsort(descending=True)[:FOUND].tolist()
        tops.append(float(found[order[0]]))
        cells = []
        for row in order:
            item = pipe.bank.item(row)
            has = carries(pipe, caption, item)
            told = tag("b", text(f"{float(found[row]):.2f}")) + text(
                f" has {has[0]} of the {has[1]} named" if has else ""
            )
            cells.append(tag("li", figure(image_uri(pipe.bank.thumbnail(row)), item.captions[0], told)))
        rows.append(
            tag("h3", tag("q", text(caption)), class_="md-row-name")
            + tabs.histogram(found, tops[-1:])
            + tag("ol", "".join(cells), class_="md-nearest")
        )
        yield Ran("".join(rows))
    answer = 0 if tops[0] < 0.4 else 1 if tops[0] < 0.8 else 2
    yield Ran("".join(rows), answer, f"The best of {pipe.bank.n:,} has a cosine of {tops[0]:.2f}.")


# ----------------------------------------------------------------------------------------------------
# The memory's share: none, half, all, and the wrong one


def _share(pipe: MemoryDrivenPipeline, request: Request) -> Iterator[Ran]:
    fitting = pipe.prepare(request)
    far = Reference(least_alike(pipe, request.caption))
    shares = (0.0, 0.5, 1.0) if state.offers_memory() else (0.0, 1.0)
    kinds = [
        *(
            (f"{share:.0%} of the memory", replace(request, references=fitting.references, memory=share))
            for share in shares
        ),
        ("the wrong memory", replace(request, references=(far,))),
    ]
    cells, named, seen = [], 0, 0
    space = copies.space(pipe)
    for done, count in space.wait():
        yield Ran(note(COPY_PROGRESS.format(share=f"{done / max(1, count):.0%}")))
    output: PipelineOutput | None = None
    for name, each in kinds:
        output = pipe(each)
        said = [one for one in (output.claims[0] if output.claims else ()) if one.said == "named"]
        named, seen = len(said), sum(one.holds for one in said)
        told = tag("b", text(name)) + (text(f" shows {seen} of the {named} named") if named else "")
        used = thumbs(output.retrieval if each.memory else None)
        shown = tag("li", figure(image_uri(output.images[0]), name, told) + used)
        cells.append(shown)
        yield Ran(tag("ol", "".join(cells), class_="md-draws"))
    assert output is not None
    likeness = space.result().likeness(output)
    shape = likeness is not None and likeness.same_layout
    colours = not named or 2 * seen >= named
    answer = {(True, False): 0, (False, True): 1, (True, True): 2}.get((colours, shape))
    measured = (
        f"With the wrong memory the picture shows {seen} of the {named} things named, and its pose and place "
        f"are {'' if shape else 'not '}its reference\u2019s."
    )
    yield Ran(tag("ol", "".join(cells), class_="md-draws"), answer, measured)


# ----------------------------------------------------------------------------------------------------
# Gates: h W + b at one place, and what goes when a part of v is hidden


def _gates(pipe: MemoryDrivenPipeline, request: Request) -> Iterator[Ran]:
    seen = look_inside(pipe, request)
    yield Ran(walk.walk_html(pipe, seen, prefix="lesson", only=("features", "stage0", "picture")))
    hidden = list(hidden_parts(pipe, seen))
    made = walk.walk_html(pipe, seen, hidden, prefix="lesson", only=("features", "stage0", "picture"))
    gaps = torch.tensor([float(effect(seen.pictures[-1], each).mean()) for each in hidden])
    step = PLACES // BLOCKS
    strength = seen.v.norm(dim=0).unfold(0, step, step).unfold(1, step, step).mean(dim=(2, 3)).flatten()
    most, least = float(gaps.max()), float(gaps.min())
    answer = 2 if most < 2 * least else int(strength[gaps.argmax()] < strength.median())
    rank = int((strength > strength[gaps.argmax()]).sum()) + 1
    measured = (
        f"Hiding one part changes {100 * most:.1f} % of the picture, hiding another {100 * least:.1f} %. "
        f"The one that changes most is number {rank} of 16 by the strength of v."
    )
    yield Ran(made, answer, measured)


# ----------------------------------------------------------------------------------------------------
# Noise: a row in which z alone is drawn again, and a row in which only the view of the memory is


def _noise(pipe: MemoryDrivenPipeline, request: Request) -> Iterator[Ran]:
    prepared = pipe.prepare(request)
    seed = prepared.request.seeds[0]
    base, draws = pipe.noise(request, seed), [pipe.noise(request, seed + step) for step in range(DRAWS)]
    rows = (
        ("z alone", [base._replace(z=n.z) for n in draws]),
        ("mirror and window alone", [base._replace(mirror=n.mirror, window=n.window) for n in draws]),
    )
    shown: list[str] = []
    apart = []
    for name, noises in rows:
        pictures: list[Image.Image] = []
        for noise in noises:
            *_, last = pipe.paint(prepared, noise)
            pictures.append(to_picture(last.image))
            cells = "".join(
                tag("li", figure(image_uri(each), f"{name}, picture {n}"))
                for n, each in enumerate(pictures, 1)
            )
            row = tag("h3", text(name), class_="md-row-name") + tag("ol", cells, class_="md-draws")
            yield Ran("".join([thumbs(prepared.retrieval), *shown, row]))
        gaps = [float(difference(a, b).mean()) for a, b in combinations(pictures, 2)]
        apart.append(sum(gaps) / len(gaps))
        told = hint(f"Two of them differ by {100 * apart[-1]:.1f} % on average.")
        shown.append(row + told)
    answer = 2 if max(apart) < 0.005 else int(apart[1] > apart[0])
    measured = f"z alone: {100 * apart[0]:.1f} % apart. Mirror and window alone: {100 * apart[1]:.1f} %."
    yield Ran("".join([thumbs(prepared.retrieval), *shown]), answer, measured)


# ----------------------------------------------------------------------------------------------------
# Copy or not: the picture, and two traps


def _copy(pipe: MemoryDrivenPipeline, request: Request) -> Iterator[Ran]:
    spaces = copies.space(pipe)
    for done, count in spaces.wait():
        yield Ran(note(COPY_PROGRESS.format(share=f"{done / max(1, count):.0%}")))
    space, output = spaces.result(), pipe(request)
    picture, window = output.images[0], output.windows[0]
    if not len(output.retrieval):
        yield Ran(copies.check_html(output, space, pipe.bank), None, "No reference took part.")
        return
    reference = as_seen(output.retrieval[0].image, pipe.noise(output.prepared.request, output.recipe.seed))
    traps = (
        ("made", picture),
        ("trap: its reference, turned round", ImageOps.mirror(reference.resize(picture.size))),
        ("trap: the picture, blurred", picture.filter(ImageFilter.GaussianBlur(picture.width / 10))),
    )
    cells, levels = [], []
    for name, each in traps:
        near = space.nearest(each, 1, window)[0]
        likeness = space.likeness(replace(output, all_stages=((each,),)))
        assert likeness is not None
        levels.append(likeness.level(near))
        verdict = f" {copies.LEVELS[levels[-1]][0]}. {copies.standing(near)}"
        told = tag("b", text(name)) + text(verdict)
        cells.append(tag("li", figure(image_uri(each), name, told), data_level=levels[-1]))
    made = tag("ol", "".join(cells), class_="md-controls") + copies.check_html(output, space, pipe.bank)
    answer = list(copies.LEVELS).index(levels[0])
    yield Ran(made, answer, f"The check says of the picture: {copies.LEVELS[levels[0]][1]}")


# ----------------------------------------------------------------------------------------------------
# The critic: how far a real and a made picture are apart in each content feature


def _critic(pipe: MemoryDrivenPipeline, request: Request) -> Iterator[Ran]:
    seen = look_inside(pipe, request)
    made = walk.critic(pipe, seen)
    if not len(seen.prepared.retrieval):
        yield Ran(made, None, "No real picture to compare with: no reference took part.")
        return
    picture = seen.pictures[0]
    real = as_seen(seen.prepared.retrieval[0].image, seen.noise).resize(picture.size, Image.Resampling.BOX)
    gaps = _apart(contents(real), contents(picture))
    sizes = [each.width for each in contents(picture)]
    bars = tabs.bars(
        [(f"at {size} px", gap) for size, gap in zip(sizes, gaps, strict=True)], max(gaps), "{:.1%}"
    )
    shown = made + tag("h3", text("How far real and made are apart"), class_="md-row-name") + bars
    answer = 2 if max(gaps) < 1.3 * min(gaps) else 0 if gaps[0] > gaps[-1] else 1
    yield Ran(shown, answer, f"Apart by {gaps[0]:.1%} at {sizes[0]} px, by {gaps[-1]:.1%} at {sizes[-1]} px.")


def _apart(first: Sequence[Image.Image], second: Sequence[Image.Image]) -> list[float]:
    return [float(difference(a, b).mean()) for a, b in zip(first, second, strict=True)]
