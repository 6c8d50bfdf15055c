"""The lessons: a JSON file each, and the small experiment on the loaded model that each of them runs.

An experiment measures what its lesson asks about, so that a prediction is judged by this very run, for
captions of one's own and for other models, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import torch
from PIL import Image, ImageFilter, ImageOps

from memdriven.errors import DataError, MemDrivenError
from memdriven.explore.compare import carries, cosines, difference, least_alike, mean_difference, painted
from memdriven.explore.critic import contents
from memdriven.explore.inside import BLOCKS, PLACES, as_seen, effect, hidden_parts, look_inside
from memdriven.numbers import is_whole, parse_json
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Reference, Request
from memdriven.ui import copies, state, walk
from memdriven.ui.html import EQUATION, bars, figure, hint, histogram, image_uri, row, tag, text, thumbs
from memdriven.ui.references import note

SCHEMA = "memdriven.lesson/2"
HIGHLIGHTS = tuple(kind for kind, _ in EQUATION if kind)
FOLDER = files("memdriven.ui").joinpath("lessons")
DRAWS = 4
"""Pictures in each row of the lesson on noise."""
FOUND = 4
"""Items shown in the lesson on search."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Something with several answers, one of them right."""

    question: str
    options: tuple[str, ...]
    answer: int | None = None
    """The right option; None where the run alone decides."""


@dataclass(frozen=True, kw_only=True)
class Lesson(Question):
    """Something to predict, to run, and to understand."""

    id: str
    title: str
    minutes: int
    highlight: str
    """The term that it is about, by its kind in `EQUATION`."""
    text: tuple[str, ...]
    outcomes: tuple[str, ...]
    """What it means that an option came true, one each."""
    experiment: str
    request: Request
    other: str
    """A second caption, of the lesson on search."""
    reveal: tuple[str, ...]
    notes: tuple[str, ...]
    """For teachers."""


@cache
def lessons() -> dict[str, Lesson]:
    """Return all lessons by id, in their order.

    Raises:
        DataError: a file is not a lesson.
    """
    named = sorted((each.name, each) for each in FOLDER.iterdir() if each.name[0].isdigit())
    read = [read_lesson(file.read_text("utf-8"), name) for name, file in named]
    return {lesson.id: lesson for lesson in read}


@cache
def questions() -> tuple[Question, ...]:
    """Return the questions that are asked before and after the lessons."""
    content = parse_json(FOLDER.joinpath("questions.json").read_text("utf-8"))
    return tuple(Question(**_tuples(each)) for each in content["questions"])


def read_lesson(content: str, name: str) -> Lesson:
    """Return the lesson in a file's JSON.

    Raises:
        DataError: it is not one.
    """
    try:
        values = _tuples(parse_json(content))
        schema, recipe = values.pop("schema"), dict(values.pop("recipe"))
        lesson = Lesson(other=recipe.pop("other", ""), request=Request(**recipe), **values)
        lists = (lesson.options, lesson.text, lesson.outcomes, lesson.reveal, lesson.notes)
        known = {
            "schema": schema == SCHEMA,
            "experiment": lesson.experiment in EXPERIMENTS,
            "highlight": lesson.highlight in HIGHLIGHTS,
            "minutes": is_whole(lesson.minutes),
            "lists of sentences": all(isinstance(each, tuple) for each in lists),
            "outcomes": len(lesson.outcomes) == len(lesson.options) > 1,
            "answer": lesson.answer in (None, *range(len(lesson.options))),
            "seeds": len(lesson.request.seeds) == 1,
        }
        for wrong in (each for each, good in known.items() if not good):
            raise ValueError(f"{wrong} not of this schema")
    except (ValueError, KeyError, TypeError, AttributeError, MemDrivenError) as error:
        wanted, fix = f"a lesson ({SCHEMA}) in {name}", "compare it with the lessons beside it"
        raise DataError(wanted, str(error)[:120], fix) from None
    return lesson


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


# ----------------------------------------------------------------------------------------------------
# Experiments


class Ran(NamedTuple):
    """An experiment as far as it is."""

    made: str
    """HTML."""
    answer: int | None = None
    """Which of the lesson's options came true; None while it runs, or where none did."""
    measured: str = ""
    """By what numbers; empty while it runs."""


def run(pipe: MemoryDrivenPipeline, lesson: Lesson, caption: str = "") -> Iterator[Ran]:
    """Yield a lesson's experiment, ever fuller; the last one is judged.

    Args:
        pipe: the model.
        lesson: what to run.
        caption: one's own words instead of the lesson's; their reference is then found, not given.

    Raises:
        CaptionError, RetrievalError: the model cannot read the caption.
    """
    request = replace(lesson.request, caption=caption.strip() or lesson.request.caption)
    given = request.references or ()
    if caption.strip() or not all(each.id in pipe.bank.ids for each in given):
        request = replace(request, references=None)
    if not state.offers_tries():
        request = replace(request, best_of=1)
    yield from EXPERIMENTS[lesson.experiment](pipe, request, lesson.other)


def search(pipe: MemoryDrivenPipeline, request: Request, other: str) -> Iterator[Ran]:
    """Show where the best lies among all cosines, and that the nearest need not have what was named."""
    rows, tops = "", []
    for caption in dict.fromkeys(filter(None, (request.caption, other))):
        found, named = cosines(pipe, caption), pipe.retrieve(caption, "none").named
        cells = []
        for place in found.argsort(descending=True)[:FOUND].tolist():
            item = pipe.bank.item(place)
            has = carries(named, item)
            told = tag("b", f"{float(found[place]):.2f}")
            told += f" has {has[0]} of the {has[1]} named" if has else ""
            cells.append(figure(image_uri(pipe.bank.thumbnail(place)), item.captions[0], told))
        tops.append(float(found.max()))
        title = tag("h3", tag("q", text(caption)), class_="md-row-name")
        rows += title + histogram(found, tops[-1:]) + row("md-nearest", cells)
        yield Ran(rows)
    answer = 0 if tops[0] < 0.4 else 1 if tops[0] < 0.8 else 2
    yield Ran(rows, answer, f"The best of {pipe.bank.n:,} has a cosine of {tops[0]:.2f}.")


def share(pipe: MemoryDrivenPipeline, request: Request, _: str) -> Iterator[Ran]:
    """Paint with none, half and all of the memory, and with the wrong one."""
    references = pipe.prepare(request).retrieval.shares
    shares = (0.0, 0.5, 1.0) if state.offers_memory() else (0.0, 1.0)
    kinds = {
        f"{each:.0%} of the memory": replace(request, references=references, memory=each) for each in shares
    }
    far = Reference(least_alike(pipe, request.caption))
    kinds["the wrong memory"] = replace(request, references=(far,))
    for line in copies.describing(pipe):
        yield Ran(note(line))
    cells, named, seen = [], 0, 0
    for name, each in kinds.items():
        output = pipe(each)
        said = [one.holds for one in (output.claims[0] if output.claims else ()) if one.said == "named"]
        named, seen = len(said), sum(said)
        told = tag("b", name) + (f" shows {seen} of the {named} named" if named else "")
        used = thumbs(output.retrieval if each.memory else None)
        cells.append(figure(image_uri(output.images[0]), name, told) + used)
        yield Ran(row("md-draws", cells))
    likeness = copies.space(pipe).result().likeness(output)
    shape = likeness is not None and likeness.same_layout
    colours = not named or 2 * seen >= named
    answer = {(True, False): 0, (False, True): 1, (True, True): 2}.get((colours, shape))
    measured = (
        f"With the wrong memory the picture shows {seen} of the {named} things named, and its pose and place "
        f"are {'' if shape else 'not '}its reference\u2019s."
    )
    yield Ran(row("md-draws", cells), answer, measured)


def gates(pipe: MemoryDrivenPipeline, request: Request, _: str) -> Iterator[Ran]:
    """Show h W + b at one place, and what goes when a part of v is hidden."""
    seen, steps = look_inside(pipe, request), ("features", "stage0", "picture")
    yield Ran(walk.walk_html(pipe, seen, prefix="lesson", only=steps))
    hidden = list(hidden_parts(pipe, seen))
    made = walk.walk_html(pipe, seen, hidden, prefix="lesson", only=steps)
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


def noise(pipe: MemoryDrivenPipeline, request: Request, _: str) -> Iterator[Ran]:
    """Paint a row in which z alone is drawn again, and a row in which only the view of the memory is."""
    prepared = pipe.prepare(request)
    seed = prepared.request.seeds[0]
    base, draws = pipe.noise(request, seed), [pipe.noise(request, seed + step) for step in range(DRAWS)]
    rows = {
        "z alone": [base._replace(z=each.z) for each in draws],
        "mirror and window alone": [base._replace(mirror=n.mirror, window=n.window) for n in draws],
    }
    shown, apart = thumbs(prepared.retrieval), []
    for name, noises in rows.items():
        pictures, cells = list[Image.Image](), list[str]()
        for each in noises:
            pictures.append(painted(pipe, prepared, each))
            cells.append(figure(image_uri(pictures[-1]), f"{name}, picture {len(pictures)}"))
            made = tag("h3", name, class_="md-row-name") + row("md-draws", cells)
            yield Ran(shown + made)
        apart.append(100 * mean_difference(pictures))
        shown += made + hint(f"Two of them differ by {apart[-1]:.1f} % on average.")
    answer = 2 if max(apart) < 0.5 else int(apart[1] > apart[0])
    measured = f"z alone: {apart[0]:.1f} % apart. Mirror and window alone: {apart[1]:.1f} %."
    yield Ran(shown, answer, measured)


def copy(pipe: MemoryDrivenPipeline, request: Request, _: str) -> Iterator[Ran]:
    """Check the picture, and two traps."""
    for line in copies.describing(pipe):
        yield Ran(note(line))
    space, output = copies.space(pipe).result(), pipe(request)
    checked = copies.check_html(pipe, output)
    if not len(output.retrieval):
        yield Ran(checked, None, "No reference took part.")
        return
    picture = output.images[0]
    reference = as_seen(output.retrieval[0].image, pipe.noise(output.prepared.request, output.recipe.seed))
    traps = {
        "made": picture,
        "trap: its reference, turned round": ImageOps.mirror(reference.resize(picture.size)),
        "trap: the picture, blurred": picture.filter(ImageFilter.GaussianBlur(picture.width / 10)),
    }
    cells, found = [], []
    for name, each in traps.items():
        near = space.nearest(each, 1, output.windows[0])[0]
        likeness = space.likeness(replace(output, all_stages=((each,),)))
        assert likeness is not None
        found.append(likeness.level(near))
        told = tag("b", name) + f" {copies.LEVELS[found[-1]][0]}. {copies.standing(near)}"
        cells.append(figure(image_uri(each), name, told, data_level=found[-1]))
    measured = f"The check says of the picture: {copies.LEVELS[found[0]][1]}"
    yield Ran(row("md-controls", cells) + checked, list(copies.LEVELS).index(found[0]), measured)


def critic(pipe: MemoryDrivenPipeline, request: Request, _: str) -> Iterator[Ran]:
    """Measure how far a real and a made picture are apart in each content feature."""
    seen = look_inside(pipe, request)
    made, (real, picture) = walk.critic(pipe, seen), walk.judged(pipe, seen)
    if real is None:
        yield Ran(made, None, "No real picture to compare with: no reference took part.")
        return
    pairs = zip(contents(real), contents(picture), strict=True)
    gaps = {f"{a.width} px": float(difference(a, b).mean()) for a, b in pairs}
    apart = list(gaps.values())
    title = tag("h3", "How far real and made are apart", class_="md-row-name")
    shown = made + title + bars([(f"at {size}", gap) for size, gap in gaps.items()], max(apart), "{:.1%}")
    answer = 2 if max(apart) < 1.3 * min(apart) else 0 if apart[0] > apart[-1] else 1
    sizes = list(gaps)
    yield Ran(shown, answer, f"Apart by {apart[0]:.1%} at {sizes[0]}, by {apart[-1]:.1%} at {sizes[-1]}.")


EXPERIMENTS: dict[str, Callable[[MemoryDrivenPipeline, Request, str], Iterator[Ran]]] = {
    each.__name__: each for each in (search, share, gates, noise, copy, critic)
}
