"""The lessons: a JSON file each, and the small experiment on the loaded model that each of them runs.

An experiment measures what its lesson asks about, so that a prediction is judged by this very run, for
captions of one's own and for other models, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.resources import files
from typing import Any, NamedTuple

from PIL import Image, ImageFilter, ImageOps

from memdriven.errors import DataError, MemDrivenError
from memdriven.explore.compare import carries, cosines, difference, least_alike, mean_difference, painted
from memdriven.explore.critic import contents
from memdriven.explore.inside import BLOCKS, PLACES, hide, look_inside, viewed
from memdriven.numbers import is_whole, parse_json, percent
from memdriven.pipeline.claims import by_thing
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Reference, Request
from memdriven.ui import copies, html, inside, state
from memdriven.ui.html import image_uri, note

SCHEMA = "memdriven.lesson/2"
HIGHLIGHTS = ("text", "memory", "noise", "picture")
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
    """The term that it is about, one of `HIGHLIGHTS`."""
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
    """Return all lessons by id, in their order (DataError: a file is not a lesson)."""
    named = sorted((each.name, each) for each in FOLDER.iterdir() if each.name[0].isdigit())
    read = [read_lesson(file.read_text("utf-8"), name) for name, file in named]
    return {lesson.id: lesson for lesson in read}


@cache
def questions() -> tuple[Question, ...]:
    """Return the questions that are asked before and after the lessons."""
    content = parse_json(FOLDER.joinpath("questions.json").read_text("utf-8"))
    return tuple(Question(**_tuples(each)) for each in content["questions"])


def read_lesson(content: str, name: str) -> Lesson:
    """Return the lesson in a file's JSON (DataError: it is not one)."""
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
        if not all(known.values()):
            raise ValueError(f"{', '.join(each for each in known if not known[each])} not of this schema")
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

    With a `caption` of one's own instead of the lesson's the reference is found, not given.
    """
    request = replace(lesson.request, caption=caption.strip() or lesson.request.caption)
    given = request.references or ()
    if caption.strip() or not all(each.id in pipe.bank.ids for each in given):
        request = replace(request, references=None)
    if not state.offers_tries():
        request = replace(request, best_of=1)
    yield from EXPERIMENTS[lesson.experiment](pipe, request, lesson.other)


part = partial(html.part, of="experiments")
Cell = dict[str, object]


def _cell(picture: Image.Image, alt: str, name: str = "", words: str = "", **more: object) -> Cell:
    """Return a picture of a row, with its name and what is told of it, as `experiments.html` shows it."""
    cell = {"picture": image_uri(picture), "alt": alt, "name": name, "words": words}
    return cell | {"level": None, "used": None} | more


def search(pipe: MemoryDrivenPipeline, request: Request, other: str) -> Iterator[Ran]:
    """Show where the best lies among all cosines, and that the nearest need not have what was named."""
    captions, tops = [], []
    for caption in dict.fromkeys(filter(None, (request.caption, other))):
        found, named = cosines(pipe, caption), pipe.retrieve(caption, "none").named
        cells = []
        for place in found.argsort(descending=True)[:FOUND].tolist():
            item = pipe.bank.items[place]
            has = carries(named, item)
            detail = f" has {has[0]} of the {has[1]} named" if has else ""
            shown = pipe.bank.thumbnail(place)
            cells.append(_cell(shown, item.captions[0], f"{float(found[place]):.2f}", detail))
        tops.append(float(found.max()))
        captions.append((caption, html.histogram(found, tops[-1:]), cells))
        made = part("search", captions)
        yield Ran(made)
    answer = 0 if tops[0] < 0.4 else 1 if tops[0] < 0.8 else 2
    yield Ran(made, answer, f"The best of {pipe.bank.n:,} has a cosine of {tops[0]:.2f}.")


def share(pipe: MemoryDrivenPipeline, request: Request, _: str) -> Iterator[Ran]:
    """Paint with none, half and all of the memory, and with the wrong one."""
    yield from map(Ran, map(note, copies.describing(pipe)))
    given, far = pipe.prepare(request).retrieval.shares, Reference(least_alike(pipe, request.caption))
    shares = (0.0, 0.5, 1.0) if state.offers_memory() else (0.0, 1.0)
    known = replace(request, references=given)
    kinds = {f"with {percent(each)} of the memory": replace(known, memory=each) for each in shares}
    cells = []
    for name, each in (kinds | {"the wrong memory": replace(request, references=(far,))}).items():
        output = pipe(each)
        things = by_thing(output.prepared.retrieval.named, output.claims[0])
        named, seen = len(things), sum(all(claim.holds for claim in thing) for thing in things)
        # Without a memory there may be the colours, but no shape that they are seen on.
        detail = f": {seen} of the {named} named are seen" if named and each.memory else ""
        used = output.retrieval if each.memory else ()
        cells.append(_cell(output.images[0], name, name, detail, used=used))
        made = part("row", "md-draws", cells)
        yield Ran(made)
    shape = copies.space(pipe).result().check(output).same_layout
    colours = not named or 2 * seen >= named
    answer = {(True, False): 0, (False, True): 1, (True, True): 2}.get((colours, shape))
    measured = (
        f"With the wrong memory the picture shows {seen} of the {named} things named, and its pose and place "
        f"are {'' if shape else 'not '}its reference\u2019s."
    )
    yield Ran(made, answer, measured)


def gates(pipe: MemoryDrivenPipeline, request: Request, _: str) -> Iterator[Ran]:
    """Show h W + b at one place, and what goes when a part of v is hidden."""
    seen, steps = look_inside(pipe, request), ("features", "stage0", "picture")
    yield Ran(inside.walk(pipe, seen, "lesson", steps))
    seen = hide(pipe, seen)
    made = inside.walk(pipe, seen, "lesson", steps)
    gaps = seen.effects.flatten()
    step = PLACES // BLOCKS
    strength = seen.v.norm(dim=0).unfold(0, step, step).unfold(1, step, step).mean(dim=(2, 3)).flatten()
    most, least, there = float(gaps.max()), float(gaps.min()), strength[gaps.argmax()]
    answer, rank = 2 if most < 2 * least else int(there < strength.median()), int((strength > there).sum())
    measured = (
        f"Hiding one part changes {percent(most, 1)} of the picture, hiding another {percent(least, 1)}. "
        f"The one that changes most is number {rank + 1} of 16 by the strength of v."
    )
    yield Ran(made, answer, measured)


def noise(pipe: MemoryDrivenPipeline, request: Request, _: str) -> Iterator[Ran]:
    """Paint a row in which z alone is drawn again, and a row in which only the view of the memory is."""
    prepared = pipe.prepare(request)
    draws = [pipe.noise(request, prepared.request.seeds[0] + step) for step in range(DRAWS)]
    rows = {
        "z alone": [draws[0]._replace(z=each.z) for each in draws],
        "mirror and window alone": [draws[0]._replace(view=each.view) for each in draws],
    }
    done: list[tuple[str, list[Cell], str]] = []
    apart = []
    for name, noises in rows.items():
        pictures, cells = list[Image.Image](), list[Cell]()
        for each in noises:
            pictures.append(painted(pipe, prepared, each))
            cells.append(_cell(pictures[-1], f"{name}, picture {len(pictures)}"))
            yield Ran(part("noise", prepared.retrieval, [*done, (name, cells, "")]))
        apart.append(mean_difference(pictures))
        done.append((name, cells, percent(apart[-1], 1)))
    answer = 2 if max(apart) < 0.005 else int(apart[1] > apart[0])
    by_z, by_view = (percent(each, 1) for each in apart)
    made = part("noise", prepared.retrieval, done)
    yield Ran(made, answer, f"z alone: {by_z} apart. Mirror and window alone: {by_view}.")


def copy(pipe: MemoryDrivenPipeline, request: Request, _: str) -> Iterator[Ran]:
    """Check the picture, and two traps."""
    yield from map(Ran, map(note, copies.describing(pipe)))
    output, found, cells = pipe(request), [], []
    checked = copies.check_html(pipe, output)
    if not len(output.retrieval):
        yield Ran(checked, None, "No reference took part.")
        return
    picture = output.images[0]
    reference = viewed(output.retrieval[0].image, output.views[0])
    traps = {
        "made": picture,
        "trap: its reference, turned round": ImageOps.mirror(reference.resize(picture.size)),
        "trap: the picture, blurred": picture.filter(ImageFilter.GaussianBlur(picture.width / 10)),
    }
    for name, each in traps.items():
        said = copies.space(pipe).result().check(replace(output, all_stages=((each,),)))
        found.append(said.level)
        detail = f" {copies.LEVELS[said.level][0]}. {copies.standing(said.best)}"
        cells.append(_cell(each, name, name, detail, level=said.level))
    measured = f"The check says of the picture: {copies.LEVELS[found[0]][1]}"
    shown = part("row", "md-controls", cells) + checked
    yield Ran(shown, list(copies.LEVELS).index(found[0]), measured)


def critic(pipe: MemoryDrivenPipeline, request: Request, _: str) -> Iterator[Ran]:
    """Measure how far a real and a made picture are apart in each content feature."""
    seen = look_inside(pipe, request)
    made = html.part("critic", inside.critic(pipe, seen).of, of="stations")
    real, picture = inside.judged(pipe, seen)
    if real is None:
        yield Ran(made, None, "No real picture to compare with: no reference took part.")
        return
    pairs = zip(contents(real), contents(picture), strict=True)
    gaps = {f"{a.width} px": float(difference(a, b).mean()) for a, b in pairs}
    shares, ends = {size: percent(gap, 1) for size, gap in gaps.items()}, list(gaps.items())
    (largest, first), (smallest, last) = ends[0], ends[-1]
    named = [(f"at {size}", gap) for size, gap in gaps.items()]
    shown = part("critic", made, html.bars(named, max(gaps.values()), partial(percent, digits=1)))
    answer = 2 if max(gaps.values()) < 1.3 * min(gaps.values()) else 0 if first > last else 1
    yield Ran(shown, answer, f"Apart by {shares[largest]} at {largest}, by {shares[smallest]} at {smallest}.")


EXPERIMENTS: dict[str, Callable[[MemoryDrivenPipeline, Request, str], Iterator[Ran]]] = {
    each.__name__: each for each in (search, share, gates, noise, copy, critic)
}
