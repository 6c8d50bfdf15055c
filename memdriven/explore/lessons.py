"""The lessons: a JSON file each, and the small experiment on the loaded model that each of them runs.

An experiment measures what its lesson asks about, so that a prediction is judged by this very run, for
captions of one's own and for other models, too. What it shows is told by the page.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from PIL import Image, ImageFilter, ImageOps

from memdriven.errors import DataError, MemDrivenError
from memdriven.explore.compare import carries, cosines, difference, least_alike, mean_difference, painted
from memdriven.explore.copies import LEVELS, CopySpace
from memdriven.explore.critic import contents, judged
from memdriven.explore.inside import BLOCKS, PLACES, hide, look_inside, viewed
from memdriven.numbers import is_whole, parse_json, percent
from memdriven.pipeline.claims import by_thing
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Reference, Request

SCHEMA = "memdriven.lesson/2"
HIGHLIGHTS = ("text", "memory", "noise", "picture")
FOLDER = files("memdriven.explore").joinpath("lessons")
DRAWS = 4
"""Pictures in each row of the lesson on noise."""
FOUND = 4
"""Items shown in the lesson on search."""
COMPARED = ("share", "copy")
"""Experiments that compare a picture with all of the memory's."""


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


# ---- Experiments ---------------------------------------------------------------------------------


class Ran(NamedTuple):
    """An experiment as far as it is."""

    shown: Mapping[str, Any]
    """What there is to see, by names of its own."""
    answer: int | None = None
    """Which of the lesson's options came true; None while it runs, or where none did."""
    measured: str = ""
    """By what numbers; empty while it runs."""


def run(
    pipe: MemoryDrivenPipeline, lesson: Lesson, caption: str = "", space: CopySpace | None = None
) -> Iterator[Ran]:
    """Yield a lesson's experiment, ever fuller; the last one is judged.

    With a `caption` of one's own instead of the lesson's the reference is found, not given. `space` is
    that of the memory's pictures, where it is at hand.
    """
    if lesson.experiment in COMPARED:
        space = space or CopySpace(pipe.bank)
    request = replace(lesson.request, caption=caption.strip() or lesson.request.caption)
    given = request.references or ()
    if caption.strip() or not all(each.id in pipe.bank.ids for each in given):
        request = replace(request, references=None)
    if pipe.checkpoint.damsm.pixels is None:  # nothing tells which of several pictures fits
        request = replace(request, best_of=1)
    yield from EXPERIMENTS[lesson.experiment](pipe, request, lesson.other, space)


def search(pipe: MemoryDrivenPipeline, request: Request, other: str, _: object) -> Iterator[Ran]:
    """Show where the best lies among all cosines, and that the nearest need not have what was named."""
    captions, tops = [], []
    for caption in dict.fromkeys(filter(None, (request.caption, other))):
        found, named = cosines(pipe, caption), pipe.retrieve(caption, "none").named
        nearest = [
            (place, pipe.bank.items[place]) for place in found.argsort(descending=True)[:FOUND].tolist()
        ]
        cells = [(pipe.bank.thumbnail(n), item, float(found[n]), carries(named, item)) for n, item in nearest]
        tops.append(float(found.max()))
        captions.append((caption, found, tops[-1], cells))
        yield Ran({"captions": captions})
    answer = 0 if tops[0] < 0.4 else 1 if tops[0] < 0.8 else 2
    yield Ran({"captions": captions}, answer, f"The best of {pipe.bank.n:,} has a cosine of {tops[0]:.2f}.")


def share(pipe: MemoryDrivenPipeline, request: Request, _: str, space: CopySpace) -> Iterator[Ran]:
    """Paint with none, half and all of the memory, and with the wrong one."""
    given, far = pipe.prepare(request).retrieval.shares, Reference(least_alike(pipe, request.caption))
    shares = (0.0, 0.5, 1.0) if pipe.config.train.p_fade > 0 else (0.0, 1.0)
    known = replace(request, references=given)
    kinds = {f"with {percent(each)} of the memory": replace(known, memory=each) for each in shares}
    cells = []
    for name, each in (kinds | {"the wrong memory": replace(request, references=(far,))}).items():
        output = pipe(each)
        things = by_thing(output.prepared.retrieval.named, output.claims[0])
        named, seen = len(things), sum(all(claim.holds for claim in thing) for thing in things)
        # Without a memory there may be the colours, but no shape that they are seen on.
        used, has = (output.retrieval, (seen, named)) if each.memory else ((), None)
        cells.append((output.images[0], name, has, used))
        yield Ran({"cells": cells})
    shape = space.check(output).same_layout
    colours = not named or 2 * seen >= named
    answer = {(True, False): 0, (False, True): 1, (True, True): 2}.get((colours, shape))
    measured = (
        f"With the wrong memory the picture shows {seen} of the {named} things named, and its pose and place "
        f"are {'' if shape else 'not '}its reference\u2019s."
    )
    yield Ran({"cells": cells}, answer, measured)


def gates(pipe: MemoryDrivenPipeline, request: Request, *_: object) -> Iterator[Ran]:
    """Show h W + b at one place, and what goes when a part of v is hidden."""
    seen = look_inside(pipe, request)
    yield Ran({"seen": seen})
    seen = hide(pipe, seen)
    gaps = seen.effects.flatten()
    step = PLACES // BLOCKS
    strength = seen.v.norm(dim=0).unfold(0, step, step).unfold(1, step, step).mean(dim=(2, 3)).flatten()
    most, least, there = float(gaps.max()), float(gaps.min()), strength[gaps.argmax()]
    answer, rank = 2 if most < 2 * least else int(there < strength.median()), int((strength > there).sum())
    measured = (
        f"Hiding one part changes {percent(most, 1)} of the picture, hiding another {percent(least, 1)}. "
        f"The one that changes most is number {rank + 1} of 16 by the strength of v."
    )
    yield Ran({"seen": seen}, answer, measured)


def noise(pipe: MemoryDrivenPipeline, request: Request, *_: object) -> Iterator[Ran]:
    """Paint a row in which z alone is drawn again, and a row in which only the view of the memory is."""
    prepared = pipe.prepare(request)
    draws = [pipe.noise(request, prepared.request.seeds[0] + step) for step in range(DRAWS)]
    noises = {
        "z alone": [draws[0]._replace(z=each.z) for each in draws],
        "mirror and window alone": [draws[0]._replace(view=each.view) for each in draws],
    }
    rows: dict[str, list[Image.Image]] = {}
    apart: list[float] = []
    shown = {"used": prepared.retrieval, "rows": rows, "apart": apart}
    for name, drawn in noises.items():
        rows[name] = []
        for each in drawn:
            rows[name].append(painted(pipe, prepared, each))
            yield Ran(shown)
        apart.append(mean_difference(rows[name]))
    answer = 2 if max(apart) < 0.005 else int(apart[1] > apart[0])
    by_z, by_view = (percent(each, 1) for each in apart)
    yield Ran(shown, answer, f"z alone: {by_z} apart. Mirror and window alone: {by_view}.")


def copy(pipe: MemoryDrivenPipeline, request: Request, _: str, space: CopySpace) -> Iterator[Ran]:
    """Check the picture, and two traps."""
    output, found = pipe(request), []
    if not len(output.retrieval):
        yield Ran({"output": output, "cells": ()}, None, "No reference took part.")
        return
    picture = output.images[0]
    reference = viewed(output.retrieval[0].image, output.views[0])
    traps = {
        "made": picture,
        "trap: its reference, turned round": ImageOps.mirror(reference.resize(picture.size)),
        "trap: the picture, blurred": picture.filter(ImageFilter.GaussianBlur(picture.width / 10)),
    }
    for name, each in traps.items():
        found.append((each, name, space.check(replace(output, all_stages=((each,),)))))
    level = found[0][2].level
    measured = f"The check says of the picture: {LEVELS[level][1]}"
    yield Ran({"output": output, "cells": found}, list(LEVELS).index(level), measured)


def critic(pipe: MemoryDrivenPipeline, request: Request, *_: object) -> Iterator[Ran]:
    """Measure how far a real and a made picture are apart in each content feature."""
    seen = look_inside(pipe, request)
    real, picture = judged(pipe, seen)
    if real is None:
        none = "No real picture to compare with: no reference took part."
        yield Ran({"seen": seen, "gaps": {}}, None, none)
        return
    pairs = zip(contents(real), contents(picture), strict=True)
    gaps = {f"{a.width} px": float(difference(a, b).mean()) for a, b in pairs}
    shares, ends = {size: percent(gap, 1) for size, gap in gaps.items()}, list(gaps.items())
    (largest, first), (smallest, last) = ends[0], ends[-1]
    answer = 2 if max(gaps.values()) < 1.3 * min(gaps.values()) else 0 if first > last else 1
    measured = f"Apart by {shares[largest]} at {largest}, by {shares[smallest]} at {smallest}."
    named = {f"at {size}": gap for size, gap in gaps.items()}
    yield Ran({"seen": seen, "gaps": named}, answer, measured)


EXPERIMENTS: dict[str, Callable[..., Iterator[Ran]]] = {
    each.__name__: each for each in (search, share, gates, noise, copy, critic)
}
"""Each is given the pipeline, the request, the lesson's other caption, and the space of the copy check."""
