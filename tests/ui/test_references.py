from __future__ import annotations

import dataclasses
import re
from html import unescape

import pytest

from memdriven.errors import CaptionError, ConfigError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_TRIED, Recipe, Request, Variation
from memdriven.ui import diversity, picture, references, state
from memdriven.ui.steering import Steering
from tests.ui.asking import CAPTION, asking

pytestmark = pytest.mark.usefixtures("loaded")


def test_a_seed_in_the_box_is_used_even_when_it_is_not_kept(pipe: MemoryDrivenPipeline) -> None:
    wanted = references.read(*asking(keep=False))
    given = wanted
    assert (given.caption, given.strategy, given.k, given.seeds) == (CAPTION, "sentence-sentence", 1, (7,))
    assert pipe(wanted).png() == pipe(CAPTION, k=1, seed=7).png()
    drawn = {references.read(*asking(seed="")).seeds for _ in range(3)}
    assert len(drawn) == 3


def test_what_was_steered_by_hand_counts(pipe: MemoryDrivenPipeline) -> None:
    steering = Steering().only("bird-05").step(7, (Variation(seed=2, strength=0.3),))
    wanted = references.read(*asking(steering=steering))
    output = pipe(wanted)
    assert output.retrieval.ids == ("bird-05",)
    assert output.recipe.variations == steering.variations
    assert pipe.prepare(wanted).retrieval.ids == ("bird-05",)
    assert pipe(references.read(*asking(steering=steering, source="none"))).retrieval.ids == ()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (0.25, 0.25),
        (0, 0.0),
        (-3, 0.0),
        (7, 1.0),
        (None, 1.0),
        ("0.5", 1.0),
        (True, 1.0),
        (float("nan"), 1.0),
    ],
)
def test_less_than_all_of_the_memory_where_the_model_offers_it(
    fading: MemoryDrivenPipeline, given: object, used: float
) -> None:
    assert references.read(*asking(memory=given)).memory == 1.0
    state.use(fading)
    wanted = references.read(*asking(memory=given))
    assert wanted.memory == used
    output = fading(wanted)
    assert output.recipe.memory == used
    again = fading(CAPTION, k=1, seed=7, memory=used)
    assert output.images[0].tobytes() == again.images[0].tobytes()
    assert float(fading.prepare(wanted).v.abs().max() > 0) == float(used > 0)


def test_nothing_and_nonsense_are_refused() -> None:
    for caption in ("  ", "", None, 3):
        with pytest.raises(CaptionError):
            references.read(*asking(caption=caption))  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        references.read(*asking(seed="seven"))


def line_up(
    caption: str, strategy: str, k: int, seed: int, steering: Steering | None = None, tries: int = 1
) -> references.Selection:
    wanted = Request(caption=caption, strategy=strategy, k=k, seeds=(seed,), best_of=tries)
    return references.select(wanted, steering or Steering())


def test_every_tab_paints_with_what_trying_chose(pipe: MemoryDrivenPipeline) -> None:
    wanted = pipe(CAPTION, k=1, seed=7, best_of=5)
    query = asking(tries=5)
    read = references.read(*query)
    assert pipe(read).png() == wanted.png()
    assert pipe.prepare(read).retrieval.ids == wanted.retrieval.ids
    busy, *_, last = picture.paint(*query)
    assert "Painting with 5 references to choose from ..." in busy["status"]
    assert last["current"] == wanted.recipe
    memory = next(step["memory"] for step in picture.paint(*query) if "memory" in step)
    assert "Best of 5 references: its picture fits your words best." in memory
    assert f'data-id="{wanted.retrieval.ids[0]}"' in memory
    assert "try and choose" in last["result"]
    *_, (cards, grid, _) = diversity.vary(*query)
    assert wanted.retrieval.ids[0] in cards
    tile = re.findall(r'data-recipe="([^"]*)"', grid)[0]
    assert Recipe.from_json(unescape(tile)).neighbours == wanted.retrieval.ids


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
    assert pipe(references.read(*query)).retrieval.ids == ("bird-05",)
    for source in ("none", "oracle"):
        assert line_up(CAPTION, source, 1, 7, None, 5).retrieval.tried == 0


@pytest.mark.parametrize(
    ("given", "used"),
    [(4, 4), (4.9, 4), (0, 1), (99, MAX_TRIED), (True, 1), ("4", 1), (None, 1), (float("nan"), 1)],
)
def test_numbers_from_the_page_are_clamped(pipe: MemoryDrivenPipeline, given: object, used: int) -> None:
    assert state.read_number("tries", given) == used
    blind = MemoryDrivenPipeline(pipe.checkpoint, pipe.bank)
    damsm = type(pipe.checkpoint.damsm)(
        len(pipe.checkpoint.vocabulary),
        pipe.config.text,
        dataclasses.replace(pipe.config.damsm, pixel_backbone="vgg16"),
    )
    blind.checkpoint = dataclasses.replace(pipe.checkpoint, damsm=damsm)
    state.use(blind)
    assert not state.offers_tries()
    assert state.read_number("tries", given) == 1
