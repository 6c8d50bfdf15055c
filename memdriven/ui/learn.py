"""The Learn tab: predict, run, be judged, understand; four questions before and after.

Lessons are data files; `?lesson=&hide=` opens one. Answers to the questions are kept without a name in a
file on the computer that serves the page, so that it can be said whether the lessons teach.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from memdriven.errors import ConfigError, MemDrivenError
from memdriven.numbers import is_whole, parse_json, shown
from memdriven.ui import experiments, gr, state
from memdriven.ui.experiments import Ran
from memdriven.ui.html import (
    CLICKS,
    EQUATION,
    READY,
    event_options,
    failure,
    hint,
    panel,
    script,
    status,
    tag,
    text,
)
from memdriven.ui.lessons import Lesson, lessons, questions
from memdriven.ui.query import STATE_SECONDS, Compose
from memdriven.ui.references import note

EMPTY = "Predict, then run. What happens appears here."

Update = Any
BEFORE, AFTER = "before", "after"
PLACE = "MEMDRIVEN_ANSWERS"
"""Names the file of answers; ~/.memdriven/answers.jsonl without it."""
MOST_BYTES = 1_000_000
"""The file grows no further than this."""

_OF_THIS_LESSON = f"""(made, lesson) => {{
  const of = (html, name) => new RegExp(`data-${{name}}="([^"]*)"`).exec(html || "")?.[1];
  const late = of(made, "of") !== undefined && of(made, "of") !== of(lesson, "lesson");
  const open = !late && of(made, "done") === "true";
  return late
    ? [{json.dumps(note(EMPTY))}, {{__type__: "update", visible: false}},
       {json.dumps(status(READY))}]
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
        raise ConfigError(wanted=f"a lesson: {', '.join(known)}", found=shown(chosen), fix="choose one above")
    return known[chosen]


def predict(answer: object) -> Update:
    """Allow to run once there is a prediction."""
    return gr.Button(interactive=bool(answer))


def run(chosen: object, caption: object = "") -> Iterator[tuple[str, str, Update]]:
    """Yield the status, the experiment so far, and at its end what came true."""
    try:
        lesson = lesson_of(chosen)
        line, ran = status("Running the experiment\u2026", busy=True), Ran("")
        for ran in experiments.run(state.pipeline(), lesson, caption if isinstance(caption, str) else ""):
            yield line, _result(lesson, ran.made), None
        yield (
            status("That is what happened. Reveal tells why."),
            _result(lesson, ran.made, done=True),
            (lesson.id, ran.answer, ran.measured),
        )
    except MemDrivenError as error:
        yield failure(error), note(EMPTY), None


def reveal(chosen: object, predicted: object, outcome: object) -> tuple[str, Update]:
    """Return the prediction, judged by the run, beside the explanation; hide the button."""
    try:
        lesson = lesson_of(chosen)
    except MemDrivenError as error:
        return failure(error), gr.skip()
    said = lesson.options.index(predicted) if predicted in lesson.options else None
    _, answer, measured = (
        outcome if isinstance(outcome, tuple) and outcome[0] == lesson.id else ("", None, "")
    )
    return told(lesson, said, answer, measured), gr.Button(visible=False)


def told(lesson: Lesson, said: int | None, answer: int | None, measured: str) -> str:
    """Return whether the prediction came true, by what numbers, why, and the way on.

    Args:
        lesson: what was run.
        said: the option that was predicted; None for none of them.
        answer: the option that came true; None where none did.
        measured: by what numbers.
    """
    own = tag("q", text("none" if said is None else lesson.options[said]))
    verdict = "open" if said is None or answer is None else "right" if said == answer else "wrong"
    judged = {
        "right": "You were right.",
        "wrong": "It came otherwise.",
        "open": "None of the answers came true.",
    }
    if said is None:
        judged["open"] = "You made no prediction."
    head = tag("strong", text(judged[verdict])) + " " + tag("span", text("Your prediction:") + " " + own)
    lines = [tag("p", head, class_="md-judged", data_verdict=verdict)]
    if measured:
        lines.append(tag("p", text(measured), class_="md-measured"))
    if answer is not None:
        came = "" if verdict == "right" else tag("b", text(lesson.options[answer]) + ". ")
        lines.append(tag("p", came + text(lesson.outcomes[answer])))
    lines += [tag("p", text(line)) for line in lesson.reveal]
    order = [*lessons(), AFTER]
    following = order[order.index(lesson.id) + 1]
    label = lessons()[following].title if following in lessons() else "the four questions again"
    forward = tag(
        "button",
        text(f"Next: {label} \u2192"),
        type="button",
        class_="md-action",
        data_act="next",
        data_lesson=following,
    )
    place = text(f"Lesson {order.index(lesson.id) + 1} of {len(order) - 1}")
    lines.append(tag("p", forward + tag("span", place, class_="md-hint"), class_="md-onward"))
    return tag("div", "".join(lines), class_=f"md-reveal md-{lesson.highlight}")


def lesson_html(lesson: Lesson) -> str:
    """Return the lesson's words: which term it is about, its text, its question, and a teacher's notes."""
    about = {lesson.highlight: " md-about"}
    terms = "".join(
        tag("b", text(word), class_=f"md-{kind}{about.get(kind, '')}") if kind else text(f" {word} ")
        for kind, word in EQUATION
    )
    lines = "".join(tag("p", text(line)) for line in lesson.text)
    notes = "".join(tag("li", text(line)) for line in lesson.notes)
    return tag(
        "article",
        tag("p", terms, class_="md-equation")
        + tag("h2", text(lesson.title) + tag("small", text(f" {lesson.minutes} min")))
        + lines
        + tag("p", tag("q", text(lesson.request.caption)), class_="md-quote")
        + tag("details", tag("summary", "For teachers") + tag("ul", notes), class_="md-teacher")
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


# ----------------------------------------------------------------------------------------------------
# Four questions before and after


def answers_file() -> Path:
    """Return where answers are kept."""
    return Path(os.environ.get(PLACE) or Path.home() / ".memdriven" / "answers.jsonl")


def keep(when: object, visit: object, *chosen: object) -> tuple[str, Mapping[str, Any]]:
    """Keep a visitor's answers; return what to say, and what the visit knows of itself.

    Args:
        when: `before` or `after`.
        visit: an id of no meaning that joins both, and the right answers before.
        chosen: an option for each question, in their order.
    """
    asked = questions()
    visit = dict(visit) if isinstance(visit, Mapping) else {}
    visit.setdefault("id", secrets.token_hex(6))
    when = AFTER if when == AFTER else BEFORE
    places = [
        each.options.index(answer) if answer in each.options else None
        for each, answer in zip(asked, chosen, strict=True)
    ]
    if None in places:
        return tag("p", text("Answer all four, or guess."), class_="md-hint", role="status"), visit
    right = sum(place == each.answer for place, each in zip(places, asked, strict=True))
    visit[when] = right
    record = {"visit": visit["id"], "when": when, "answers": places, "right": right}
    record["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    kept = _write(record)
    where = (
        f"Kept without a name in {answers_file()}." if kept else "Your answers could not be kept in a file."
    )
    if when == BEFORE:
        said = tag("p", "Thank you. Now the lessons; you will meet these questions again.")
        return _kept(said, where), visit
    rows = []
    for place, each in zip(places, asked, strict=True):
        mark = tag("b", "\u2713" if place == each.answer else "\u2717")
        rows.append(
            tag("li", f"{mark} {text(each.question)} " + tag("em", text(each.options[each.answer or 0])))
        )
    before = f"Before: {visit[BEFORE]} of {len(asked)}. " if BEFORE in visit else ""
    head = tag("p", tag("strong", text(f"{before}Now: {right} of {len(asked)}.")))
    return _kept(head + tag("ul", "".join(rows), class_="md-answered"), f"{summary()} {where}"), visit


def _kept(said: str, where: str) -> str:
    return tag("div", said + hint(where), class_="md-reveal", role="status")


def summary() -> str:
    """Return how all visitors who answered twice did, before and after."""
    visits: dict[str, dict[str, int]] = {}
    for record in _read():
        visits.setdefault(record["visit"], {})[record["when"]] = record["right"]
    both = [each for each in visits.values() if len(each) == 2]
    if not both:
        return ""
    before, after = (fmean(each[when] for each in both) for when in (BEFORE, AFTER))
    return f"All who answered twice ({len(both)}): {before:.1f} right before, {after:.1f} after."


def _write(record: Mapping[str, Any]) -> bool:
    path = answers_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > MOST_BYTES:
            return False
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
    except OSError:
        return False
    return True


def _read() -> list[dict[str, Any]]:
    """Return the kept answers; lines that are none are passed over."""
    try:
        lines = answers_file().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for line in lines:
        try:
            record = parse_json(line)
        except ValueError:
            continue
        if (
            isinstance(record, dict)
            and record.get("when") in (BEFORE, AFTER)
            and is_whole(record.get("right"))
        ):
            found.append({**record, "visit": str(record.get("visit"))})
    return found


# ----------------------------------------------------------------------------------------------------
# The tab


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    first = next(iter(lessons().values()))
    minutes = sum(each.minutes for each in lessons().values())
    with gr.Tab("Learn", id="learn"):
        # In the tab: what stands between two tabs, Gradio takes for one.
        outcome = gr.State(None, time_to_live=STATE_SECONDS)
        visit = gr.State({}, time_to_live=STATE_SECONDS)
        panel(
            tag(
                "p",
                text("There is no lesson of that name. Choose one below."),
                class_="md-error",
                role="alert",
                hidden=True,
            ),
            elem_id="lesson-gone",
        )
        chosen = gr.Radio(
            [
                ("Four questions", BEFORE),
                *((f"{n} {each.title}", each.id) for n, each in enumerate(lessons().values(), 1)),
                ("The same four", AFTER),
            ],
            value=first.id,
            label="Lessons",
            show_label=False,
            elem_id="lesson-choice",
            elem_classes="md-choice",
        )
        panel(hint(f"{minutes} minutes in all. Answer the four questions before and after."))
        with gr.Row(elem_classes="md-columns", elem_id="lesson-row") as taught:
            with gr.Column(elem_id="lesson-column", min_width=280):
                words = panel(lesson_html(first), elem_id="lesson")
                answer = gr.Radio(
                    list(first.options),
                    label="Predict first",
                    elem_id="lesson-answer",
                    elem_classes="md-answers",
                )
                own = gr.Textbox(
                    label="Your own caption (if you like)",
                    placeholder=first.request.caption,
                    max_lines=2,
                    elem_id="lesson-own",
                )
                start = gr.Button(
                    "Run", variant="primary", interactive=False, elem_id="lesson-run", elem_classes="md-run"
                )
            with gr.Column(elem_id="lesson-shown", min_width=300):
                made = panel(note(EMPTY), elem_id="lesson-result", js_on_load=script("inside.js"))
                open_ = gr.Button("Reveal", visible=False, elem_id="lesson-reveal", elem_classes="md-run")
                judged = panel(elem_id="lesson-told", js_on_load=CLICKS)
        with gr.Column(visible=False, elem_id="questions") as quiz:
            asked = [
                gr.Radio(
                    list(each.options),
                    label=each.question,
                    elem_classes="md-answers",
                    elem_id=f"question-{n}",
                )
                for n, each in enumerate(questions(), 1)
            ]
            save = gr.Button(
                "Keep my answers", variant="primary", elem_id="questions-keep", elem_classes="md-run"
            )
            thanks = panel(elem_id="questions-told")

    def choose(chosen: object) -> dict[Any, Any]:
        """Show a lesson's text and answers, or the questions, and everything after them cleared."""
        if chosen in (BEFORE, AFTER):
            return {taught: gr.Row(visible=False), quiz: gr.Column(visible=True), thanks: ""} | {
                each: gr.Radio(value=None) for each in asked
            }
        try:
            lesson = lesson_of(chosen)
        except MemDrivenError as error:
            return {compose.status: failure(error)}
        return {
            taught: gr.Row(visible=True),
            quiz: gr.Column(visible=False),
            words: lesson_html(lesson),
            answer: gr.Radio(choices=list(lesson.options), value=None),
            own: gr.Textbox(value="", placeholder=lesson.request.caption),
            start: gr.Button(interactive=False),
            made: note(EMPTY),
            compose.status: status(READY),
        }

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    running = start.click(run, [chosen, own], [compose.status, made, outcome], **event_options())
    # What still runs is the lesson before's, and would fill the new one's place.
    shown = [taught, quiz, words, answer, own, start, made, compose.status, thanks, *asked]
    chosen.change(choose, chosen, shown, cancels=running, **quick)
    made.change(None, [made, words], [made, open_, compose.status], js=_OF_THIS_LESSON, **quick)
    chosen.change(lambda: "", None, judged, **quick)
    answer.change(predict, answer, start, **quick)
    open_.click(reveal, [chosen, answer, outcome], [judged, open_], **quick)
    judged.click(onward, None, chosen, **quick)
    save.click(keep, [chosen, visit, *asked], [thanks, visit], **quick)
    return [running]


def onward(event: gr.EventData) -> str:
    """Return the lesson, or the questions, that the pressed button leads to."""
    following = getattr(event, "lesson", None)
    return following if following in (*lessons(), AFTER) else next(iter(lessons()))
