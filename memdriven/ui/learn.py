"""The Learn tab: predict, run, reveal. Lessons are data files; `?lesson=&hide=` opens one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from memdriven.errors import ConfigError, MemDrivenError
from memdriven.ui import experiments, state, strings
from memdriven.ui.cards import note
from memdriven.ui.compose import Compose
from memdriven.ui.html import tag, text
from memdriven.ui.lessons import Lesson, lessons
from memdriven.ui.parts import panel
from memdriven.ui.startup import gr
from memdriven.ui.status import failure, status
from memdriven.ui.widgets import event_options, script

Choice = tuple[Any, ...]

_OF_THIS_LESSON = f"""(made, lesson) => {{
  const of = (html, name) => new RegExp(`data-${{name}}="([^"]*)"`).exec(html || "")?.[1];
  const late = of(made, "of") !== undefined && of(made, "of") !== of(lesson, "lesson");
  const open = !late && of(made, "done") === "true";
  return late
    ? [{json.dumps(note(strings.LEARN_EMPTY))}, {{__type__: "update", visible: false}},
       {json.dumps(status(strings.READY))}]
    : [undefined, {{__type__: "update", visible: open}}, undefined];
}}"""
"""A cancelled run's last words may still be on their way when the next lesson is there already;
the browser alone sees both, and puts such a result away again."""


def lesson_of(chosen: object) -> Lesson:
    """Return a lesson by its id.

    Raises:
        ConfigError: there is none of that id.
    """
    known = lessons()
    if not isinstance(chosen, str) or chosen not in known:
        raise ConfigError(
            wanted=strings.LESSON_WANTED.format(names=", ".join(known)),
            found=repr(chosen)[:60],
            fix=strings.LESSON_FIX,
        )
    return known[chosen]


def choose(chosen: object) -> Choice:
    """Return a lesson's text, its answers, and everything after it cleared."""
    try:
        lesson = lesson_of(chosen)
    except MemDrivenError as error:
        return (gr.skip(),) * 4 + (failure(error),)
    return (
        lesson_html(lesson),
        gr.Radio(choices=list(lesson.options), value=None),
        gr.Button(interactive=False),
        note(strings.LEARN_EMPTY),
        status(strings.READY),
    )


def predict(answer: object) -> gr.Button:
    """Allow to run once there is a prediction."""
    return gr.Button(interactive=bool(answer))


def run(chosen: object) -> Iterator[Choice]:
    """Yield the status and the experiment, which says of which lesson it is and when it is done."""
    try:
        lesson = lesson_of(chosen)
        line, made = status(strings.LEARN_RUNNING, busy=True), ""
        for made in experiments.run(state.pipeline(), lesson):
            yield line, _result(lesson, made)
        yield status(strings.LEARN_RAN), _result(lesson, made, done=True)
    except MemDrivenError as error:
        yield failure(error), note(strings.LEARN_EMPTY)


def reveal(chosen: object, answer: object) -> tuple[str, Any]:
    """Return what was predicted beside the explanation, and hide the button."""
    try:
        lesson = lesson_of(chosen)
    except MemDrivenError as error:
        return failure(error), gr.skip()
    said = answer if answer in lesson.options else strings.LEARN_NO_ANSWER
    lines = "".join(tag("p", text(line)) for line in lesson.reveal)
    words = tag("p", tag("span", text(strings.LEARN_SAID)) + " " + tag("q", text(said)), class_="md-said")
    return tag("div", words + lines, class_=f"md-reveal md-{lesson.highlight}"), _closed()


def lesson_html(lesson: Lesson) -> str:
    """Return the lesson's words: which term it is about, its text, its question."""
    about = {lesson.highlight: " md-about"}
    terms = "".join(
        tag("b", text(word), class_=f"md-{kind}{about.get(kind, '')}") if kind else text(f" {word} ")
        for kind, word in strings.EQUATION
    )
    lines = "".join(tag("p", text(line)) for line in lesson.text)
    caption = tag("p", tag("q", text(lesson.caption)), class_="md-quote")
    return tag(
        "article",
        tag("p", terms, class_="md-equation")
        + tag("h2", text(lesson.title))
        + lines
        + caption
        + tag("p", text(lesson.question), class_="md-question"),
        class_="md-lesson",
        data_lesson=lesson.id,
    )


def _result(lesson: Lesson, made: str, *, done: bool = False) -> str:
    return tag(
        "div",
        made,
        class_="md-experiment",
        data_experiment=lesson.experiment,
        data_of=lesson.id,
        data_done=str(done).lower(),
    )


def _closed() -> gr.Button:
    return gr.Button(visible=False)


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    first = next(iter(lessons().values()))
    with gr.Tab(strings.TAB_LEARN, id="learn"):
        panel(
            tag("p", text(strings.LESSON_GONE), class_="md-error", role="alert", hidden=True),
            elem_id="lesson-gone",
        )
        chosen = gr.Radio(
            [(each.title, each.id) for each in lessons().values()],
            value=first.id,
            label=strings.LEARN_LESSONS,
            show_label=False,
            elem_id="lesson-choice",
            elem_classes="md-choice",
        )
        with gr.Row(elem_classes="md-columns"):
            with gr.Column(elem_id="lesson-column", min_width=280):
                words = panel(lesson_html(first), elem_id="lesson")
                answer = gr.Radio(
                    list(first.options),
                    label=strings.LEARN_PREDICT,
                    elem_id="lesson-answer",
                    elem_classes="md-answers",
                )
                start = gr.Button(
                    strings.LEARN_RUN,
                    variant="primary",
                    interactive=False,
                    elem_id="lesson-run",
                    elem_classes="md-run",
                )
            with gr.Column(elem_id="lesson-shown", min_width=300):
                made = panel(
                    note(strings.LEARN_EMPTY), elem_id="lesson-result", js_on_load=script("inside.js")
                )
                open_ = gr.Button(
                    strings.LEARN_REVEAL, visible=False, elem_id="lesson-reveal", elem_classes="md-run"
                )
                told = panel(elem_id="lesson-told")
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    running = start.click(run, chosen, [compose.status, made], **event_options())
    # What still runs is the lesson before's, and would fill the new one's place.
    chosen.change(choose, chosen, [words, answer, start, made, compose.status], cancels=running, **quick)
    made.change(None, [made, words], [made, open_, compose.status], js=_OF_THIS_LESSON, **quick)
    chosen.change(lambda: "", None, told, **quick)
    answer.change(predict, answer, start, **quick)
    open_.click(reveal, [chosen, answer], [told, open_], **quick)
    return [running]
