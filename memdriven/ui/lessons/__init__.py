"""The lessons: a JSON file each, and the four questions asked before and after; read and checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from memdriven.errors import DataError, MemDrivenError
from memdriven.numbers import is_whole, parse_json
from memdriven.pipeline.request import Request
from memdriven.ui.html import EQUATION

SCHEMA, QUESTIONS = "memdriven.lesson/2", "memdriven.questions/1"
EXPERIMENTS = ("search", "share", "gates", "noise", "copy", "critic")
HIGHLIGHTS = tuple(kind for kind, _ in EQUATION if kind)


@dataclass(frozen=True, kw_only=True)
class Question:
    """Something with several answers, one of them right."""

    question: str
    options: tuple[str, ...]
    answer: int | None
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
    folder = files("memdriven.ui.lessons")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name[0].isdigit())
    read = [read_lesson(folder.joinpath(name).read_text("utf-8"), name) for name in names]
    return {lesson.id: lesson for lesson in read}


@cache
def questions() -> tuple[Question, ...]:
    """Return the questions that are asked before and after the lessons."""
    content = parse_json(files("memdriven.ui.lessons").joinpath("questions.json").read_text("utf-8"))
    return tuple(_question(each) for each in content["questions"])


def read_lesson(content: str, name: str) -> Lesson:
    """Return the lesson in a file's JSON.

    Raises:
        DataError: it is not one.
    """
    try:
        values: dict[str, Any] = parse_json(content)
        asked, recipe = _question(values), dict(values["recipe"])
        lesson = Lesson(
            question=asked.question,
            options=asked.options,
            answer=asked.answer,
            id=_words(values["id"]),
            title=_words(values["title"]),
            minutes=values["minutes"],
            highlight=values["highlight"],
            text=_lines(values["text"]),
            outcomes=_lines(values["outcomes"]),
            experiment=values["experiment"],
            other=recipe.pop("other", ""),
            request=Request(**recipe),
            reveal=_lines(values["reveal"]),
            notes=_lines(values["notes"]),
        )
        known = (
            values["schema"] == SCHEMA
            and lesson.experiment in EXPERIMENTS
            and lesson.highlight in HIGHLIGHTS
            and len(lesson.outcomes) == len(lesson.options)
            and is_whole(lesson.minutes)
            and len(lesson.request.seeds) == 1
            and isinstance(lesson.other, str)
        )
        if not known:
            raise ValueError("an unknown schema, experiment or highlight, or not an outcome an option")
    except (ValueError, KeyError, TypeError, AttributeError, MemDrivenError) as error:
        raise DataError(
            wanted=f"a lesson ({SCHEMA}) in {name}",
            found=str(error)[:120],
            fix="compare it with the lessons beside it",
        ) from None
    return lesson


def _question(values: dict[str, Any]) -> Question:
    options, answer = _lines(values["options"]), values.get("answer")
    if len(options) < 2 or not (answer is None or (is_whole(answer) and 0 <= answer < len(options))):
        raise ValueError("two options or more, and the place of the right one")
    return Question(question=_words(values["question"]), options=options, answer=answer)


def _words(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"words expected, not {value!r}")
    return value


def _lines(value: object) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ValueError(f"a list of sentences expected, not {value!r}")
    return tuple(_words(line) for line in value)
