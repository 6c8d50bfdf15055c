"""The lessons: a JSON file each, and the four questions asked before and after; read and checked once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from memdriven.errors import DataError, MemDrivenError
from memdriven.numbers import is_whole, parse_json
from memdriven.pipeline.request import Request
from memdriven.ui.experiments import EXPERIMENTS
from memdriven.ui.html import EQUATION

SCHEMA = "memdriven.lesson/2"
HIGHLIGHTS = tuple(kind for kind, _ in EQUATION if kind)


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

    def check(self) -> None:
        """Raise a ValueError that names what a file must not hold."""
        for name in ("question", "id", "title"):
            if not _is_words(getattr(self, name)):
                raise ValueError(f"{name} must be words")
        for name in ("options", "text", "outcomes", "reveal", "notes"):
            lines = getattr(self, name)
            if not (isinstance(lines, tuple) and lines and all(map(_is_words, lines))):
                raise ValueError(f"{name} must be a list of sentences")
        count = len(self.options)
        known = {
            "experiment": self.experiment in EXPERIMENTS,
            "highlight": self.highlight in HIGHLIGHTS,
            "minutes": is_whole(self.minutes),
            "options": count > 1,
            "outcomes": len(self.outcomes) == count,
            "answer": self.answer is None or (is_whole(self.answer) and 0 <= self.answer < count),
            "seeds": len(self.request.seeds) == 1,
            "other": isinstance(self.other, str),
        }
        for name in (name for name, good in known.items() if not good):
            raise ValueError(f"{name} is none of this schema")


@cache
def lessons() -> dict[str, Lesson]:
    """Return all lessons by id, in their order.

    Raises:
        DataError: a file is not a lesson.
    """
    folder = files("memdriven.ui.lessons")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name[0].isdigit())
    read = [read_lesson(folder.joinpath(name).read_text("utf-8"), name) for name in names]
    return {lesson.id: lesson for lesson in read}


@cache
def questions() -> tuple[Question, ...]:
    """Return the questions that are asked before and after the lessons."""
    content = parse_json(files("memdriven.ui.lessons").joinpath("questions.json").read_text("utf-8"))
    return tuple(Question(**_tuples(each)) for each in content["questions"])


def read_lesson(content: str, name: str) -> Lesson:
    """Return the lesson in a file's JSON.

    Raises:
        DataError: it is not one.
    """
    try:
        values = _tuples(parse_json(content))
        if values.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        recipe = dict(values.pop("recipe"))
        lesson = Lesson(other=recipe.pop("other", ""), request=Request(**recipe), **values)
        lesson.check()
    except (ValueError, KeyError, TypeError, AttributeError, MemDrivenError) as error:
        wanted, fix = f"a lesson ({SCHEMA}) in {name}", "compare it with the lessons beside it"
        raise DataError(wanted, str(error)[:120], fix) from None
    return lesson


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _is_words(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
