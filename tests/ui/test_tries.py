"""Memories chosen by the pictures they give, as the page's handlers use it."""

from __future__ import annotations

import dataclasses

import pytest

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_TRIED, Request
from memdriven.ui import diversity, generate, references, state
from memdriven.ui.steering import Steering
from tests.ui.asking import CAPTION, asking


def line_up(
    caption: str, strategy: str, k: int, seed: int, steering: Steering | None = None, tries: int = 1
) -> references.LineUp:
    wanted = Request(caption=caption, strategy=strategy, k=k, seeds=(seed,), best_of=tries)
    return references.line_up(wanted, steering)


@pytest.fixture(autouse=True)
def loaded(pipe: MemoryDrivenPipeline) -> None:
    state.use(pipe)


def test_every_tab_paints_with_what_trying_chose(pipe: MemoryDrivenPipeline) -> None:
    wanted = pipe(CAPTION, k=1, seed=7, best_of=5)
    query = asking(tries=5)
    read = references.read(*query)
    assert read.paint(pipe).png() == wanted.png()
    assert pipe.prepare(read.request).retrieval.ids == wanted.retrieval.ids
    busy, *_, last = generate.paint(*query)
    assert "Painting with 5 references to choose from ..." in str(busy[3])
    assert last[-1]["recipe"] == wanted.recipe.to_json()
    memory = next(str(step[0]) for step in generate.paint(*query) if isinstance(step[0], str))
    assert "Best of 5 references: its picture fits your words best." in memory
    assert f'data-id="{wanted.retrieval.ids[0]}"' in memory
    assert {
        "encode": "read words",
        "retrieve": "search memory",
        "features": "recall features",
        "choose": "try and choose",
        "check": "look for what is named",
        "total": "total",
    }["choose"] in str(last[2])
    *_, (cards, _, _, grid) = diversity.vary(*query)
    assert wanted.retrieval.ids[0] in cards
    assert grid is not None
    assert wanted.retrieval.ids[0] in grid["recipe"]


def test_those_not_chosen_are_next_in_line(pipe: MemoryDrivenPipeline) -> None:
    line = line_up(CAPTION, "sentence-sentence", 1, 7, None, 5)
    shown = [*line.retrieval.ids, *(each.id for each in line.spare)]
    assert set(pipe.retrieve(CAPTION, k=5).ids) <= set(shown)
    assert len(shown) == len(set(shown))
    control = line_up(CAPTION, "random", 1, 7, None, 5)
    assert control.retrieval.tried == 0, "a control is never the best of several"
    assert control.spare == ()


def test_what_was_steered_by_hand_comes_first(pipe: MemoryDrivenPipeline) -> None:
    query = asking(steering=Steering().only("bird-05"), tries=5)
    assert references.read(*query).paint(pipe).retrieval.ids == ("bird-05",)
    for source in ("none", "oracle"):
        assert line_up(CAPTION, source, 1, 7, None, 5).retrieval.tried == 0


@pytest.mark.parametrize(
    ("given", "used"),
    [(4, 4), (4.9, 4), (0, 1), (99, MAX_TRIED), (True, 1), ("4", 1), (None, 1), (float("nan"), 1)],
)
def test_numbers_from_the_page_are_clamped(pipe: MemoryDrivenPipeline, given: object, used: int) -> None:
    assert state.read_tries(given) == used
    blind = MemoryDrivenPipeline(pipe.checkpoint, pipe.bank)
    damsm = type(pipe.checkpoint.damsm)(
        len(pipe.checkpoint.vocabulary),
        pipe.config.text,
        dataclasses.replace(pipe.config.damsm, pixel_backbone="vgg16"),
    )
    blind.checkpoint = dataclasses.replace(pipe.checkpoint, damsm=damsm)
    state.use(blind)
    assert not state.offers_tries()
    assert state.read_tries(given) == 1
