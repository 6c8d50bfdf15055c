"""The Learn tab: predict, run, be judged, understand; four questions before and after.

Lessons are data files; `?lesson=&hide=` opens one. Answers to the questions are kept without a name in a
file on the computer that serves the page, so that it can be said whether the lessons teach.
"""

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

from memdriven.errors import ConfigError, DataError
from memdriven.explore import lessons
from memdriven.explore.lessons import Lesson, Question, questions
from memdriven.numbers import is_whole, parse_json, shown
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import copies, gr, html, inside, queue, state
from memdriven.ui.html import BESIDE, READY, note, panel, status
from memdriven.ui.query import STATE_SECONDS, Compose, read_examples

EMPTY = "Predict, then run. What happens appears here."
BEFORE, AFTER = "before", "after"
PLACE = "MEMDRIVEN_ANSWERS"
"""Names the file of answers; ~/.memdriven/answers.jsonl without it."""
MOST_BYTES = 1_000_000
"""The file grows no further than this."""


def lesson_of(chosen: object) -> Lesson:
    """Return a lesson by its id (ConfigError: there is none of that id)."""
    known = lessons.lessons()
    if not isinstance(chosen, str) or chosen not in known:
        raise ConfigError(f"a lesson: {', '.join(known)}", shown(chosen), "choose one above")
    return known[chosen]


def run(chosen: object, caption: object = "") -> Iterator[tuple[Any, str, str]]:
    """Yield what came true (at the end), the experiment so far, and the status."""
    lesson, pipe, space, busy = lesson_of(chosen), state.pipeline(), None, "Running the experiment\u2026"
    if lesson.experiment in lessons.COMPARED:
        for line in copies.describing(pipe):
            yield None, _result(lesson, note(line)), status(busy, busy=True)
        space = copies.space(pipe).result()
    for ran in lessons.run(pipe, lesson, caption if isinstance(caption, str) else "", space):
        made = _experiment(pipe, lesson, ran.shown)
        yield None, _result(lesson, made), status(busy, busy=True)
    line = status("That is what happened. Reveal tells why.")
    yield (lesson.id, ran.answer, ran.measured), _result(lesson, made, done=True), line


def _experiment(pipe: MemoryDrivenPipeline, lesson: Lesson, shown: Mapping[str, Any]) -> str:
    """Return what an experiment has shown so far."""
    told = dict[str, object]()
    if lesson.experiment == "gates":
        told["walk"] = inside.walk(pipe, shown["seen"], "lesson", ("features", "stage0", "picture"))
    elif lesson.experiment == "critic":
        told["account"] = html.part("critic", inside.critic(pipe, shown["seen"]).of, of="stations")
    elif lesson.experiment == "copy":
        told["check"] = copies.check_html(pipe, shown["output"])
    return html.part(lesson.experiment, {**shown, **told}, of="experiments")


def _result(lesson: Lesson, made: str, *, done: bool = False) -> str:
    return html.part("experiment", made, lesson.experiment, lesson.id, done, of="experiments")


def reveal(chosen: object, predicted: object, outcome: object) -> tuple[str, gr.Button]:
    """Return the prediction, judged by the run's outcome, why, and the way on; hide the button."""
    lesson, answer, measured = lesson_of(chosen), None, ""
    if isinstance(outcome, tuple) and outcome[0] == lesson.id:
        _, answer, measured = outcome
    said = lesson.options.index(str(predicted)) if predicted in lesson.options else None
    verdict = "open"
    if said is not None and answer is not None:
        verdict = "right" if said == answer else "wrong"
    known = list(lessons.lessons().values())
    place = known.index(lesson) + 1
    shown = html.render(
        "reveal",
        lesson=lesson,
        predicted=None if said is None else predicted,
        verdict=verdict,
        measured=measured,
        answer=answer,
        place=place,
        count=len(known),
        next=[*known, {"id": AFTER, "title": "the four questions again"}][place],
    )
    return shown, gr.Button(visible=False)


def lesson_html(lesson: Lesson) -> str:
    """Return the lesson's words: which term it is about, its text, its question, and a teacher's notes."""
    pipe, subject, words, other = state.pipeline(), state.subject(), lesson.request.caption.split(), None
    if not {*words} <= {*pipe.vocabulary.words} or (subject and subject not in words):
        other = ""
        with suppress(DataError):
            other = "".join(f", such as \u201c{each}\u201d" for each in read_examples(pipe)[:1])
    return html.render("lesson", lesson=lesson, other=other)


# ---- Four questions before and after -------------------------------------------------------------


def keep(when: object, visit: object, *chosen: object) -> tuple[str, Mapping[str, Any]]:
    """Keep a visitor's answers; return what to say, and what the visit knows of itself.

    Args:
        when: `before` or `after`.
        visit: an id of no meaning that joins both, and the right answers before.
        chosen: an option for each question, in their order.
    """
    asked, visit = questions(), dict(visit) if isinstance(visit, Mapping) else {}
    when = AFTER if when == AFTER else BEFORE
    if not all(answer in each.options for each, answer in zip(asked, chosen, strict=True)):
        return html.part("said", "Answer all four, or guess."), visit
    places = [each.options.index(str(answer)) for each, answer in zip(asked, chosen, strict=True)]
    right = [place == each.answer for place, each in zip(places, asked, strict=True)]
    visit = {"id": secrets.token_hex(6)} | visit | {when: sum(right)}
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    record = {"visit": visit["id"], "when": when, "answers": places, "right": visit[when], "time": moment}
    where = "Your answers could not be kept in a file."
    if _write(record):
        where = f"Kept without a name in {answers_file()}."
    if when == AFTER:
        where = f"{summary()} {where}"
    rights = [each.options[each.answer or 0] for each in asked]
    answers = list(zip(right, [each.question for each in asked], rights, strict=True))
    about = {"after": when == AFTER, "before": visit.get(BEFORE), "right": visit[when], "where": where}
    return html.render("answers", answers=answers, **about), visit


def summary() -> str:
    """Return how all visitors who answered twice did, before and after."""
    visits: dict[str, dict[str, int]] = {}
    with suppress(OSError, UnicodeDecodeError):
        for line in answers_file().read_text("utf-8").splitlines():
            with suppress(ValueError):  # a line that is none is passed over
                found = parse_json(line)
                known = isinstance(found, dict) and found.get("when") in (BEFORE, AFTER)
                if known and is_whole(found.get("right")):
                    visits.setdefault(str(found.get("visit")), {})[found["when"]] = found["right"]
    both = [each for each in visits.values() if len(each) == 2]
    if not both:
        return ""
    before, after = (fmean(each[when] for each in both) for when in (BEFORE, AFTER))
    return f"All who answered twice ({len(both)}): {before:.1f} right before, {after:.1f} after."


def answers_file() -> Path:
    """Return where answers are kept."""
    return Path(os.environ.get(PLACE) or Path.home() / ".memdriven" / "answers.jsonl")


def _write(record: Mapping[str, Any]) -> bool:
    path = answers_file()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            if stream.tell() <= MOST_BYTES:
                stream.write(json.dumps(record) + "\n")
                return True
    return False


# ---- The tab -------------------------------------------------------------------------------------


def _options(asked: Question, label: str, name: str) -> gr.Radio:
    return gr.Radio(list(asked.options), label=label, elem_classes="md-answers", elem_id=name)


def build(compose: Compose) -> None:
    """Add the tab."""
    known = lessons.lessons()
    first = next(iter(known.values()))
    titles = {each.id: f"{n} {each.title}" for n, each in enumerate(known.values(), 1)}
    choices = {BEFORE: "Four questions", **titles, AFTER: "The same four"}
    minutes = sum(each.minutes for each in known.values())
    with gr.Tab("Learn", id="learn"):
        # In the tab: what stands between two tabs, Gradio takes for one.
        outcome = gr.State(None, time_to_live=STATE_SECONDS)
        visit = gr.State({}, time_to_live=STATE_SECONDS)
        gone = "There is no lesson of that name. Choose one below."
        panel(html.part("gone", gone), elem_id="lesson-gone")
        chosen = html.choice(gr.Radio, "lesson-choice", "Lessons", choices, value=first.id, show_label=False)
        html.explain(f"{minutes} minutes in all. Answer the four questions before and after.")
        with gr.Row(elem_classes="md-columns", elem_id="lesson-row") as taught:
            with gr.Column(elem_id="lesson-column", min_width=280):
                words = panel(lesson_html(first), elem_id="lesson")
                answer = _options(first, "Predict first", "lesson-answer")
                label, example = "Your own caption (if you like)", first.request.caption
                own = html.box("lesson-own", label, placeholder=example, max_lines=2)
                start = html.run_button("Run", "lesson-run", interactive=False)
            with gr.Column(elem_id="lesson-shown", min_width=300):
                made = panel(note(EMPTY), elem_id="lesson-result", js_on_load=html.script("inside.js"))
                open_ = gr.Button("Reveal", visible=False, elem_id="lesson-reveal", elem_classes="md-run")
                judged = panel(elem_id="lesson-told", js_on_load=html.CLICKS)
        with gr.Column(visible=False, elem_id="questions") as quiz:
            asked = [_options(each, each.question, f"question-{n}") for n, each in enumerate(questions(), 1)]
            save = html.run_button("Keep my answers", "questions-keep")
            thanks = panel(elem_id="questions-told")

    async def choose(chosen: object) -> dict[Any, Any]:
        """Show a lesson's text and answers, or the questions, and every result cleared."""
        # What still runs is the lesson before's, and would fill the new one's place.
        queue.stop({made: note(EMPTY), compose.status: status(READY)}, giving=made)
        if chosen in (BEFORE, AFTER):
            return {taught: gr.Row(visible=False), quiz: gr.Column(visible=True)}
        lesson = known.get(str(chosen), first)
        return {
            taught: gr.Row(visible=True),
            quiz: gr.Column(visible=False),
            words: lesson_html(lesson),
            answer: gr.Radio(choices=list(lesson.options)),
            own: gr.Textbox(placeholder=lesson.request.caption),
            made: note(EMPTY),
            compose.status: status(READY),
        }

    compose.on(start.click, run, [chosen, own], [outcome, made, "status"])
    # What a visitor filled in is cleared by the browser at once, before the server is asked (listeners run
    # one after the other): its word of it could come late, and take away what they have answered since.
    filled = {answer: None, own: "", judged: "", thanks: ""} | dict.fromkeys(asked)
    chosen.change(None, None, list(filled), js=f"() => {json.dumps([*filled.values()])}", **BESIDE)
    parts = [taught, quiz, words, answer, own, made, compose.status]
    chosen.change(choose, chosen, parts, **BESIDE)
    # A cancelled run's last words may still be on their way when the next lesson is there already; the
    # browser alone sees both, and puts such a result away again (`page.js`).
    cleared = json.dumps([note(EMPTY), status(READY)])
    put_away = f"(...both) => window.memdriven.ofThisLesson(...both, ...{cleared})"
    made.change(None, [made, words], [made, open_, compose.status], js=put_away, **BESIDE)
    answered = "said => ({ __type__: 'update', interactive: Boolean(said) })"
    answer.change(None, answer, start, js=answered, **BESIDE)
    open_.click(reveal, [chosen, answer, outcome], [judged, open_], **BESIDE)
    judged.click(onward, None, chosen, **BESIDE)
    save.click(keep, [chosen, visit, *asked], [thanks, visit], **BESIDE)


def onward(event: gr.EventData) -> str:
    """Return the lesson, or the questions, that the pressed button leads to."""
    following, known = getattr(event, "lesson", None), lessons.lessons()
    return following if following in (*known, AFTER) else next(iter(known))
