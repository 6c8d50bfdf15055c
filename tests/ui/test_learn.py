from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from markupsafe import escape

from memdriven.errors import CaptionError, ConfigError, DataError
from memdriven.explore.lessons import (
    DRAWS,
    EXPERIMENTS,
    FOLDER,
    HIGHLIGHTS,
    lessons,
    questions,
    read_lesson,
    run,
)
from memdriven.models.noise import Noise
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import learn
from tests.ui.asking import HOSTILE

pytestmark = pytest.mark.usefixtures("loaded")


IDS = ["retrieval", "wrong", "stages", "noise", "copy", "critic"]


def test_six_lessons_fill_fifteen_minutes() -> None:
    assert list(lessons()) == IDS
    assert [lesson.experiment for lesson in lessons().values()] == list(EXPERIMENTS)
    assert sum(lesson.minutes for lesson in lessons().values()) == 15


@pytest.mark.parametrize("name", IDS)
def test_every_lesson_runs_and_is_judged_by_its_run(name: str) -> None:
    steps = list(learn.run(name))
    assert all('role="alert"' not in step[2] for step in steps)
    assert "That is what happened. Reveal tells why." in steps[-1][2]
    assert all(f'data-of="{name}"' in step[1] for step in steps)
    assert ['data-done="true"' in step[1] for step in steps] == [False] * (len(steps) - 1) + [True]
    wanted = {
        "retrieval": ('class="md-histogram"', 2),
        "wrong": ("<figure", 3),
        "stages": ("md-station", 3),
        "noise": ("<figure", 2 * DRAWS),
        "copy": ("data-id", 4),
        "critic": ('class="md-contents"', 2),
    }
    mark, count = wanted[name]
    assert steps[-1][1].count(mark) >= count
    of, answer, measured = steps[-1][0]
    assert of == name
    assert measured
    lesson = lessons()[name]
    assert answer in (None, *range(len(lesson.options)))
    for said in range(len(lesson.options)):
        told, button = learn.reveal(name, lesson.options[said], steps[-1][0])
        verdict = "open" if answer is None else "right" if said == answer else "wrong"
        assert f'data-verdict="{verdict}"' in told
        assert measured in html.unescape(told)
        assert lesson.reveal[0] in html.unescape(told)
        assert button.visible is False
    # What another lesson measured judges nothing here.
    assert 'data-verdict="open"' in learn.reveal(name, lesson.options[0], ("other", 0, "x"))[0]


def test_the_row_of_z_holds_all_but_z(pipe: MemoryDrivenPipeline, painted: list[Noise]) -> None:
    *_, ran = run(pipe, lessons()["noise"])
    by_z, by_view = painted[-2 * DRAWS : -DRAWS], painted[-DRAWS:]
    assert len({tuple(each.z[0].tolist()) for each in by_z}) == DRAWS
    assert len({tuple(each.z[0].tolist()) for each in by_view}) == 1
    for row in (by_z, by_view):
        assert len({tuple(each.epsilon[0].tolist()) for each in row}) == 1
    assert len({each.view for each in by_z}) == 1
    assert list(ran.shown["rows"]) == ["z alone", "mirror and window alone"]


def test_own_words_take_the_place_of_the_lessons() -> None:
    *_, (_, made, _) = learn.run("retrieval", HOSTILE)
    assert "<img src=x" not in made
    assert "&lt;img src=x" in made
    with pytest.raises(CaptionError):
        list(learn.run("copy", "qqq"))


def test_predict_before_running() -> None:
    lesson = lessons()["wrong"]
    words = learn.lesson_html(lesson)
    assert lesson.title in words
    assert "md-memory md-about" in words
    assert escape(lesson.notes[0]) in words
    assert "none" in learn.reveal("wrong", "<img src=x>", None)[0]
    assert 'data-lesson="after"' in learn.reveal("critic", None, None)[0]
    assert 'data-lesson="wrong"' in learn.reveal("retrieval", None, None)[0]


def test_answers_before_and_after_are_kept_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "class" / "answers.jsonl"
    monkeypatch.setenv(learn.PLACE, str(place))
    right = [each.options[each.answer or 0] for each in questions()]
    wrong = [each.options[(each.answer or 0) - 1] for each in questions()]
    assert len(right) == 4
    told, visit = learn.keep("before", {}, *wrong[:3], right[3])
    assert str(place) in told
    assert right[0] not in told, "what is right is not told before"
    assert "Answer all four" in learn.keep("before", {}, None, *right[1:])[0]
    assert "Answer all four" in learn.keep("before", {}, ["x"], *right[1:])[0]
    told, _ = learn.keep("after", visit, *right)
    assert "Before: 1 of 4. Now: 4 of 4." in told
    assert "(1): 1.0 right before, 4.0 after." in told
    records = [json.loads(line) for line in place.read_text().splitlines()]
    assert [(each["when"], each["right"]) for each in records] == [("before", 1), ("after", 4)]
    assert records[0]["visit"] == records[1]["visit"]
    place.write_text("no json\n[1]\n{}\n")
    assert learn.summary() == ""
    monkeypatch.setattr(learn, "MOST_BYTES", 3)
    assert "could not be kept" in learn.keep("before", {}, *right)[0]
    assert place.read_text().count("\n") == 3


def test_every_highlight_marks_one_term_of_the_equation() -> None:
    lesson = lessons()["noise"]
    assert len(HIGHLIGHTS) == 4
    for highlight in HIGHLIGHTS:
        shown = learn.lesson_html(replace(lesson, highlight=highlight))
        assert shown.count(f'class="md-{highlight} md-about"') == 1
        content = json.loads(FOLDER.joinpath("4-noise.json").read_text("utf-8"))
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
    with pytest.raises(ConfigError):
        next(learn.run(name))


def test_a_file_that_is_no_lesson_is_named() -> None:
    good = json.loads(FOLDER.joinpath("4-noise.json").read_text("utf-8"))
    assert read_lesson(json.dumps(good), "a.json").answer is None
    for change in (
        {"experiment": "x"},
        {"options": ["a"]},
        {"outcomes": ["a"]},
        {"answer": 3},
        {"text": "a"},
        {"recipe": {}},
        {"recipe": {"caption": "a bird", "seeds": [1], "k": 0}},
        {"recipe": {"caption": "a bird", "seeds": [1], "colour": 1}},
        {"schema": 2},
    ):
        with pytest.raises(DataError, match=r"a\.json"):
            read_lesson(json.dumps(good | change), "a.json")
