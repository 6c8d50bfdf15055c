from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from memdriven.errors import DataError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import experiments, learn, state, strings
from memdriven.ui.lessons import EXPERIMENTS, HIGHLIGHTS, lessons, read_lesson


@pytest.fixture(autouse=True)
def loaded(pipe: MemoryDrivenPipeline) -> None:
    state.use(pipe)


def test_there_are_five_lessons_one_an_experiment() -> None:
    assert list(lessons()) == ["noise", "retrieval", "wrong", "copy", "stages"]
    assert {lesson.experiment for lesson in lessons().values()} == set(EXPERIMENTS)


@pytest.mark.parametrize("name", ["noise", "retrieval", "wrong", "copy", "stages"])
def test_every_lesson_runs(name: str) -> None:
    steps = list(learn.run(name))
    assert all('role="alert"' not in step[0] for step in steps)
    assert strings.LEARN_RAN in steps[-1][0]
    assert all(f'data-of="{name}"' in step[1] for step in steps)
    assert ['data-done="true"' in step[1] for step in steps] == [False] * (len(steps) - 1) + [True]
    made = steps[-1][1]
    wanted = {
        "noise": ("<figure", experiments.NOISES),
        "retrieval": ('class="md-row"', 3),
        "wrong": ("data-control", 4),
        "copy": ("data-id", 4),
        "stages": ("md-station", 8),
    }
    mark, count = wanted[name]
    assert made.count(mark) >= count


def test_predict_before_running_and_reveal_after() -> None:
    made = learn.choose("wrong")
    assert "The wrong memory" in str(made[0])
    assert "md-memory md-about" in str(made[0])
    assert made[2].interactive is False
    assert learn.predict(None).interactive is False
    assert learn.predict("x").interactive is True
    lesson = lessons()["wrong"]
    told, button = learn.reveal("wrong", lesson.options[1])
    assert lesson.options[1] in told
    assert lesson.reveal[0] in told
    assert button.visible is False
    assert strings.LEARN_NO_ANSWER in learn.reveal("wrong", "<img src=x>")[0]


def test_every_highlight_marks_one_term_of_the_equation() -> None:
    lesson = lessons()["noise"]
    assert len(HIGHLIGHTS) == 4
    for highlight in HIGHLIGHTS:
        shown = learn.lesson_html(replace(lesson, highlight=highlight))
        assert shown.count(f'class="md-{highlight} md-about"') == 1
        content = json.loads(files("memdriven.ui.lessons").joinpath("1-noise.json").read_text())
        assert read_lesson(json.dumps(content | {"highlight": highlight}), "x").highlight == highlight


def test_teachers_links_are_documented() -> None:
    written = Path(__file__).parents[2].joinpath("docs/teaching.md").read_text("utf-8")
    style = files("memdriven.ui").joinpath("tabs.css").read_text("utf-8")
    hidden = set(re.findall(r"\.md-hide-([a-z]+)", style))
    address = files("memdriven.ui").joinpath("address.js").read_text("utf-8")
    modes = set(re.findall(r"(\w+): \"", re.findall(r"mode = \{(.*?)\}", address)[0]))
    assert {"compose", "reveal"} < hidden
    assert modes == {"design", "paper", "class"}
    for name in (*hidden, *modes, *lessons()):
        assert f"`{name}`" in written


@pytest.mark.parametrize("name", [None, "sql", 3, ["noise"]])
def test_unknown_lessons_are_refused(name: object) -> None:
    assert 'role="alert"' in str(learn.choose(name)[4])
    (only,) = learn.run(name)
    assert 'role="alert"' in only[0]
    assert 'role="alert"' in learn.reveal(name, "x")[0]


def test_a_file_that_is_no_lesson_is_named() -> None:
    good = {
        "schema": "memdriven.lesson/1",
        "id": "a",
        "title": "A",
        "highlight": "noise",
        "text": ["a"],
        "question": "?",
        "options": ["a", "b"],
        "experiment": "seeds",
        "recipe": {"caption": "a", "strategy": "none", "k": 1, "seed": 1},
        "reveal": ["r"],
    }
    assert read_lesson(json.dumps(good), "a.json").seed == 1
    for change in (
        {"experiment": "x"},
        {"options": ["a"]},
        {"text": "a"},
        {"title": " "},
        {"recipe": {}},
        {"schema": 2},
    ):
        with pytest.raises(DataError, match=r"a\.json"):
            read_lesson(json.dumps(good | change), "a.json")
