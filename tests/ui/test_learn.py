from __future__ import annotations

import json

import pytest

from memdriven.errors import DataError
from memdriven.pipeline import MemoryDrivenPipeline
from memdriven.ui import experiments, learn, state, strings
from memdriven.ui.lessons import EXPERIMENTS, lessons, read_lesson
from memdriven.ui.startup import gr


@pytest.fixture(autouse=True)
def loaded(pipe: MemoryDrivenPipeline) -> None:
    state.use(pipe)


def test_there_are_five_lessons_one_an_experiment() -> None:
    assert list(lessons()) == ["noise", "retrieval", "wrong", "copy", "stages"]
    assert {lesson.experiment for lesson in lessons().values()} == set(EXPERIMENTS)


@pytest.mark.parametrize("name", ["noise", "retrieval", "wrong", "copy", "stages"])
def test_every_lesson_runs(name: str) -> None:
    steps = list(learn.run(name))
    assert all('role="alert"' not in str(step[1]) for step in steps)
    assert strings.LEARN_RAN in str(steps[-1][1])
    assert isinstance(steps[-1][2], gr.Button)
    made = str(steps[-2][0])
    wanted = {
        "noise": ("<figure", experiments.NOISES), "retrieval": ('class="md-row"', 3),
        "wrong": ("data-control", 4), "copy": ("data-id", 4), "stages": ("md-linked-frame", 21),
    }  # fmt: skip
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


@pytest.mark.parametrize("name", [None, "sql", 3, ["noise"]])
def test_unknown_lessons_are_refused(name: object) -> None:
    assert 'role="alert"' in str(learn.choose(name)[5])
    (only,) = learn.run(name)
    assert 'role="alert"' in str(only[1])
    assert 'role="alert"' in learn.reveal(name, "x")[0]


def test_a_file_that_is_no_lesson_is_named() -> None:
    good = {
        "schema": "memdriven.lesson/1", "id": "a", "title": "A", "highlight": "noise",
        "text": ["a"], "question": "?", "options": ["a", "b"], "experiment": "seeds",
        "recipe": {"caption": "a", "strategy": "none", "k": 1, "seed": 1}, "reveal": ["r"],
    }  # fmt: skip
    assert read_lesson(json.dumps(good), "a.json").seed == 1
    for change in ({"experiment": "x"}, {"options": ["a"]}, {"text": "a"}, {"title": " "},
                   {"recipe": {}}, {"schema": 2}):  # fmt: skip
        with pytest.raises(DataError, match=r"a\.json"):
            read_lesson(json.dumps(good | change), "a.json")
