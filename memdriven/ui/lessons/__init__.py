"""The lessons: a JSON file each, read and checked once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from memdriven.errors import DataError
from memdriven.pipeline.request import STRATEGIES
from memdriven.ui import strings

SCHEMA = "memdriven.lesson/1"
EXPERIMENTS = ("seeds", "strategies", "controls", "copy", "stages")
HIGHLIGHTS = tuple(kind for kind, _ in strings.EQUATION if kind)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Something to predict, to run, and to understand."""

    id: str
    title: str
    highlight: str
    """The term that it is about, by its kind in `strings.EQUATION`."""
    text: tuple[str, ...]
    question: str
    options: tuple[str, ...]
    experiment: str
    caption: str
    strategy: str
    k: int
    seed: int
    reveal: tuple[str, ...]


@cache
def lessons() -> dict[str, Lesson]:
    """Return all lessons by id, in their order.

    Raises:
        DataError: a file is not a lesson.
    """
    folder = files("memdriven.ui.lessons")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".json"))
    read = [read_lesson(folder.joinpath(name).read_text("utf-8"), name) for name in names]
    return {lesson.id: lesson for lesson in read}


def read_lesson(content: str, name: str) -> Lesson:
    """Return the lesson in a file's JSON.

    Raises:
        DataError: it is not one.
    """
    try:
        values: dict[str, Any] = json.loads(content)
        recipe = values["recipe"]
        lesson = Lesson(
            id=_words(values["id"]),
            title=_words(values["title"]),
            highlight=values["highlight"],
            text=_lines(values["text"]),
            question=_words(values["question"]),
            options=_lines(values["options"]),
            experiment=values["experiment"],
            caption=_words(recipe["caption"]),
            strategy=recipe["strategy"],
            k=int(recipe["k"]),
            seed=int(recipe["seed"]),
            reveal=_lines(values["reveal"]),
        )
        known = (
            values["schema"] == SCHEMA
            and lesson.experiment in EXPERIMENTS
            and lesson.highlight in HIGHLIGHTS
            and lesson.strategy in STRATEGIES
            and len(lesson.options) > 1
        )
        if not known:
            raise ValueError("an unknown schema, experiment, highlight or strategy")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            wanted=f"a lesson ({SCHEMA}) in {name}",
            found=str(error)[:120],
            fix="compare it with the lessons beside it",
        ) from None
    return lesson


def _words(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"words expected, not {value!r}")
    return value


def _lines(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"a list of sentences expected, not {value!r}")
    return tuple(_words(line) for line in value)
