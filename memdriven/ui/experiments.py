"""What a lesson runs: one small experiment on the loaded model, shown as the other tabs show it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from memdriven.explore.compare import across, difference
from memdriven.explore.controls import Control, controls
from memdriven.explore.inside import hidden_parts, look_inside
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request
from memdriven.ui import compare, copies, inside, strings
from memdriven.ui.cards import note
from memdriven.ui.html import image_uri, tag, text
from memdriven.ui.lessons import Lesson
from memdriven.ui.widgets import figure, thumbs

NOISES = 4
STRATEGIES = ("sentence-sentence", "sentence-image", "words-image")


def run(pipe: MemoryDrivenPipeline, lesson: Lesson) -> Iterator[str]:
    """Yield the lesson's experiment as HTML, ever fuller.

    Raises:
        CaptionError, RetrievalError: the model cannot read the lesson's caption.
    """
    kinds = {
        "seeds": _seeds,
        "strategies": _strategies,
        "controls": _controls,
        "copy": _copy,
        "stages": _stages,
    }
    yield from kinds[lesson.experiment](pipe, lesson)


def _question(lesson: Lesson) -> tuple[str, str, int]:
    return lesson.caption, lesson.strategy, lesson.k


def _request(lesson: Lesson) -> Request:
    return Request.of(*_question(lesson), lesson.seed)


def _seeds(pipe: MemoryDrivenPipeline, lesson: Lesson) -> Iterator[str]:
    seeds = range(lesson.seed, lesson.seed + NOISES)
    for output in pipe.stream(*_question(lesson), seeds=seeds):
        done = [made[-1] for made in output.all_stages if len(made) == len(pipe.resolutions)]
        cells = "".join(
            tag(
                "li",
                figure(
                    image_uri(picture),
                    strings.TILE_ALT.format(number=place, seed=seed),
                    text(strings.SEED_SHOWN.format(seed=seed)),
                ),
            )
            for place, (seed, picture) in enumerate(zip(seeds, done, strict=False), start=1)
        )
        apart = ""
        if len(done) == NOISES:
            gaps = [float(difference(a, b).mean()) for a, b in combinations(done, 2)]
            share = f"{100 * sum(gaps) / len(gaps):.1f} %"
            apart = tag("p", text(strings.LEARN_APART.format(share=share)), class_="md-hint")
        yield thumbs(output.retrieval) + tag("ol", cells, class_="md-controls") + apart


def _strategies(pipe: MemoryDrivenPipeline, lesson: Lesson) -> Iterator[str]:
    for rows in across(pipe, _request(lesson), STRATEGIES):
        yield compare.table_html(rows, [lesson.seed], pick=False)


def _controls(pipe: MemoryDrivenPipeline, lesson: Lesson) -> Iterator[str]:
    made: list[Control] = []
    for control in controls(pipe, _request(lesson)):
        if control.picture is not None:
            made.append(control)
            yield inside.controls_html(made)


def _copy(pipe: MemoryDrivenPipeline, lesson: Lesson) -> Iterator[str]:
    memory = copies.space(pipe)
    for done, count in memory.wait():
        yield note(strings.COPY_PROGRESS.format(share=f"{done / max(1, count):.0%}"))
    output = pipe(*_question(lesson), lesson.seed)
    yield copies.check_html(output, memory.result(), pipe.bank)


def _stages(pipe: MemoryDrivenPipeline, lesson: Lesson) -> Iterator[str]:
    seen = look_inside(pipe, _request(lesson))
    yield inside.walk_html(pipe, seen, list(hidden_parts(pipe, seen)))
