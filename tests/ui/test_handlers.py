"""The handlers behind the page, called as Gradio calls them but without a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from memdriven.errors import ConfigError, DataError, MemDrivenError, WordlessCaptionError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe, Request
from memdriven.ui import app, diversity, gr, history, html, picture, query, references, state
from memdriven.ui.query import read_examples, read_tries
from memdriven.ui.references import MEMORY_EMPTY
from memdriven.ui.steering import Steering

CAPTION = "a small red bird with black wings"
QUERY = ("retrieved", "sentence-sentence", 1, "7", True)

pytestmark = pytest.mark.usefixtures("loaded")


class Click:
    """What a press tells its handler."""

    def __init__(self, **told: object) -> None:
        self.__dict__.update(told)


def test_look_shows_neighbours_and_who_is_next() -> None:
    memory, unknown, line = references.show_references(CAPTION, *QUERY)
    assert memory.count("md-card") == 2  # the list and its one card
    assert memory.count("md-spare") == references.SHOWN - 1
    assert unknown == ""
    assert "Words read: 7. References in use: 1." in line


@pytest.mark.parametrize("k", [1, 3, 8])
def test_selection_agrees_with_the_pipeline(pipe: MemoryDrivenPipeline, k: int) -> None:
    for strategy in ("sentence-sentence", "words-image", "all"):
        found = references.select(Request(caption=CAPTION, strategy=strategy, k=k), Steering())
        wanted = pipe.retrieve(CAPTION, strategy, k)
        assert found.retrieval.ids == wanted.ids
        assert found.retrieval.weights == pytest.approx(wanted.weights, abs=1e-5)
        assert [n.rank for n in found.spare] == list(range(k + 1, references.SHOWN + 1))


def test_look_answers_nothing_and_nonsense() -> None:
    assert MEMORY_EMPTY in references.show_references("  ", *QUERY)[0]
    for cleared in (None, 3, []):
        assert MEMORY_EMPTY in references.show_references(cleared, *QUERY)[0]
    assert 'role="alert"' in references.show_references("bird " * 2_000, *QUERY)[2]
    off = references.show_references(CAPTION, "none", "sentence-sentence", 1, "", False)[0]
    assert "The memory is switched off: this picture comes from words and noise alone." in off


@pytest.mark.parametrize("caption", ["qqq", "qqq zzz", "!?"])
def test_a_first_word_half_written_is_no_failure(caption: str) -> None:
    memory, unknown, line = references.show_references(caption, *QUERY)
    assert "No references for this caption." in memory
    assert unknown.count("<del>") == len(caption.strip("!?").split())
    assert 'role="alert"' not in line
    assert "No known word yet." in line
    with pytest.raises(WordlessCaptionError):
        list(picture.paint(caption, *QUERY))


def test_only_random_memories_need_the_seed() -> None:
    half_written = ("sentence-sentence", 1, "-", True)
    assert "md-card" in references.show_references(CAPTION, "retrieved", *half_written)[0]
    line = references.show_references(CAPTION, "random", *half_written)[2]
    assert "Write digits only, or draw a random seed." in line


@pytest.mark.parametrize("strategy", ["sentence-sentence", "words-image", "all", "random"])
def test_a_picture_made_from_ids_shows_what_looking_shows(pipe: MemoryDrivenPipeline, strategy: str) -> None:
    request = Request(caption=CAPTION, strategy=strategy, k=2, seeds=(7,))
    shown = references.select(request, Steering())
    made = pipe.from_recipe(pipe(CAPTION, strategy, 2, 7).recipe)
    assert all(each.percentile is None for each in made.retrieval)
    line = references.again(made.prepared)
    for found, wanted in zip((*line.retrieval, *line.spare), (*shown.retrieval, *shown.spare), strict=True):
        assert (found.id, found.rank, found.caption) == (wanted.id, wanted.rank, wanted.caption)
        assert found.percentile == pytest.approx(wanted.percentile, abs=1e-3)
    assert line.retrieval.weights == made.retrieval.weights
    # An oracle whose words are nobody's can come in a recipe; its neighbour is shown as it is.
    odd = pipe("a red bird", "oracle", neighbours=["bird-05"], seed=7)
    assert references.again(odd.prepared).retrieval == odd.retrieval


@pytest.mark.parametrize("k", [0, -3, 99, 2.7, "many", None, float("nan"), float("inf")])
def test_forged_k_is_clamped(k: Any) -> None:
    line = references.show_references(CAPTION, "retrieved", "sentence-sentence", k, "", False)[2]
    assert 'role="alert"' not in line


@pytest.mark.parametrize("forged", ["sql", None, 3, ["none"]])
def test_forged_choices_are_refused(forged: Any) -> None:
    assert 'role="alert"' in references.show_references(CAPTION, "retrieved", forged, 1, "", False)[2]
    assert 'role="alert"' in references.show_references(CAPTION, forged, "all", 1, "", False)[2]
    with pytest.raises(MemDrivenError):
        list(picture.paint(CAPTION, forged, "all", 1, "", False))


def test_paint_streams_and_the_same_seed_gives_the_same_page() -> None:
    steps = list(picture.paint(CAPTION, *QUERY))
    assert not [step["seed"] for step in steps if "seed" in step], "the box keeps what is written there"
    drawn = next(picture.paint(CAPTION, *QUERY[:4], False))["seed"]
    assert drawn != "7"
    assert [step["result"].count("md-blank") for step in steps[1:]] == [2, 1, 0]
    assert "Done in" in steps[-1]["status"]
    again = list(picture.paint(CAPTION, *QUERY))
    png = [made[-1]["result"].split("base64,")[1].split('"')[0] for made in (steps, again)]
    assert png[0] == png[1]


def test_a_bad_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="digits only"):
        next(picture.paint(CAPTION, "retrieved", "all", 1, "seven", True))


def test_an_error_is_told_and_a_tabs_own_panels_begin_anew() -> None:
    """What the page's components by name show stays; a generator may fail when it has answered."""
    made: list[Any] = []

    def fail(value: str) -> Iterator[dict[str, Any]]:
        yield {"result": value}
        raise ConfigError("a number", value, "count")

    def listen(answer: Any, given: list[Any], changed: list[Any], **how: Any) -> None:
        made.extend([list(answer("x")), given, changed, how])

    compose = query.Compose(status=gr.HTML(), result=gr.HTML("a picture"), memory=gr.HTML())
    own = gr.HTML("nothing yet")
    compose.on(listen, fail, ["memory"], ["result", own, "status"])
    (first, last), given, changed, how = made
    assert first == {compose.result: "x"}
    assert last.keys() == {own, compose.status}
    assert last[own] == "nothing yet"
    assert "Wanted: a number" in last[compose.status]
    assert (given, changed) == ([compose.memory], [compose.result, own, compose.status])
    assert how["concurrency_id"] == state.LONG, "what fills a tab's own panel"
    compose.on(listen, fail, ["memory"], ["result", "status"])
    assert made[-1]["concurrency_id"] == state.CONCURRENCY_ID


def test_a_fault_of_ours_is_told_and_nothing_stays_busy(capsys: pytest.CaptureFixture[str]) -> None:
    column, made = query.Compose(status=gr.HTML()), []
    column.on(lambda answer, *_, **how: made.append(answer(0)), lambda value: 1 / value, [], ["status"])
    (told,) = made[0].values()
    assert "ZeroDivisionError, which the page did not expect" in told
    assert 'data-busy="false"' in told
    assert "Traceback" in capsys.readouterr().err


def test_grid_fills_tile_by_tile_and_a_tile_can_be_kept() -> None:
    steps = list(diversity.vary(CAPTION, "random", "all", 2, "7", True))
    assert [str(step[1]).count("<button") for step in steps] == [*range(1, 10), 9]
    assert ["z alone:" in str(step[1]) for step in steps] == [False] * 9 + [True]
    assert "another reference:" in str(steps[-1][1])
    *_, last = re.findall(r'data-recipe="([^"]*)"', str(steps[-1][1]))
    recipe = Recipe.from_json(unescape(last))
    assert (recipe.strategy, recipe.seed, len(recipe.neighbours)) == ("random", 7, 2)
    assert recipe.variations[-1].strength == 1
    kept = history.act(Click(act="adopt", recipe=recipe.to_json()), Steering())
    assert kept["seed"] == "7"
    assert 'data-seed="7"' in kept["result"]
    assert all(each in kept["memory"] for each in recipe.neighbours)
    assert kept["memory"].count('class="md-score"') == 2
    assert "The variation is kept, with its noise." in kept["status"]


def test_errors_in_the_grid() -> None:
    with pytest.raises(WordlessCaptionError):
        next(diversity.vary("qqq", *QUERY))


def test_the_noise_of_a_forgotten_picture_cannot_be_kept() -> None:
    with pytest.raises(ConfigError, match="a picture whose noise can be kept"):
        picture.keep(Click(), None, Steering())  # type: ignore[arg-type]


def test_what_a_tab_holds_outlives_a_working_day(pipe: MemoryDrivenPipeline) -> None:
    """Gradio forgets a state so long after it was written, however often it is used."""

    async def build() -> gr.Blocks:  # outside of a running event loop Gradio closes none of its own
        return app.build(pipe)

    with ThreadPoolExecutor(1) as other:  # in this thread a browser's loop may be running
        page = other.submit(lambda: asyncio.run(build())).result()
    kept = [block for block in page.blocks.values() if isinstance(block, gr.State)]
    assert len(kept) >= 4
    assert all(block.time_to_live > 8 * 3600 for block in kept)


def test_nothing_around_the_words_is_of_another_models_world(pipe: MemoryDrivenPipeline) -> None:
    elsewhere = copy(pipe)
    elsewhere.checkpoint = replace(pipe.checkpoint, path=pipe.checkpoint.path.parent)
    state.use(elsewhere)
    first = read_examples(elsewhere)[0]
    assert query._examples(1) == first
    assert first in query._examples(2)
    assert "bird" not in html.render("head")


def test_examples_are_the_checkpoints_or_its_memorys(pipe: MemoryDrivenPipeline, tmp_path: Path) -> None:
    assert read_examples(pipe)[0] == CAPTION
    elsewhere = copy(pipe)
    elsewhere.checkpoint = replace(pipe.checkpoint, path=tmp_path)
    captions = read_examples(elsewhere)
    assert len(captions) == len(set(captions)) == 4
    assert set(captions) <= {each for item in pipe.bank.items for each in item.captions}
    (tmp_path / "examples.json").write_text('{"captions": ["a", "b"]}')
    assert read_examples(elsewhere) == ["a", "b"]
    assert read_tries(elsewhere) == 1
    (tmp_path / "examples.json").write_text('{"captions": ["a"], "references_tried": 6}')
    assert read_tries(elsewhere) == 6
    for wrong in ("0", "17", "true", '"8"', "2.0"):
        (tmp_path / "examples.json").write_text(f'{{"references_tried": {wrong}}}')
        with pytest.raises(DataError, match="references_tried"):
            read_tries(elsewhere)
    (tmp_path / "examples.json").write_text('{"captions": "a"}')
    with pytest.raises(DataError, match="list of captions"):
        read_examples(elsewhere)
    state.use(elsewhere)
    assert 'role="alert"' in query.chips()
    (tmp_path / "examples.json").write_text('{"captions": ["<b>"], "references_tried": 16}')
    assert query.chips().count("&lt;b&gt;") == 2
    assert read_tries(elsewhere) == pipe.bank.n, "no more than there are"


def test_what_takes_no_part_cannot_be_set() -> None:
    """No control has a best of several, and without a reference nothing moves the caption."""
    for source, free in (
        ("retrieved", {"comparison", "k", "tries", "guidance"}),
        ("random", {"k", "guidance"}),
        ("oracle", {"guidance"}),
        ("none", set()),
    ):
        made = query.show_source(source)
        assert {name for name in made if name != "hint" and made[name].interactive} == free
