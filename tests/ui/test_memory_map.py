from __future__ import annotations

import base64
import html
import json
import re

import numpy as np
import pytest
from markupsafe import escape

from memdriven.errors import MemDrivenError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import memory_map, references
from tests.ui.asking import CAPTION, EMPTY, QUERY, asking

pytestmark = pytest.mark.usefixtures("loaded")


class Click:
    """What a click on the map tells its handler."""

    def __init__(self, item: object) -> None:
        self.item = item


def content(made: str, name: str) -> dict[str, object]:
    found = re.search(f'data-{name}="([^"]*)"', made)
    assert found
    values: dict[str, object] = json.loads(html.unescape(found[1]))
    return values


def test_map_holds_every_memory(pipe: MemoryDrivenPipeline) -> None:
    *_, (made, star, there, _) = memory_map.unfold("", *QUERY)
    values = content(str(made), "map")
    assert values["ids"] == pipe.bank.ids
    points = np.frombuffer(base64.b64decode(str(values["points"])), "<i2").reshape(-1, 2)
    assert np.abs(points).max() == 32_000
    assert len(base64.b64decode(str(values["colours"]))) == 3 * pipe.bank.n
    assert content(str(star), "query")["ids"] == ["bird-00"]
    assert there == pipe.bank_hash


def test_map_travels_once_for_each_memory(pipe: MemoryDrivenPipeline) -> None:
    memory_map.drawing(pipe).result()  # progress would take the map's place, and bring it again
    *_, (made, _, there, _) = memory_map.unfold(pipe.bank_hash, *EMPTY)
    assert not isinstance(made, str)
    assert there == pipe.bank_hash
    *_, (made, _, there, _) = memory_map.unfold("another memory", *EMPTY)
    assert content(str(made), "map")["ids"] == pipe.bank.ids
    assert there == pipe.bank_hash


def test_a_choice_is_pinned_painted_and_released(pipe: MemoryDrivenPipeline) -> None:
    made = memory_map.choose(Click("bird-04"), *QUERY)
    assert made["steering"].pins == ("bird-04",)
    assert "Pinned, and painted with it" in made["chosen"]
    assert 'data-id="bird-04"' in made["memory"]
    assert content(made["star"], "query")["ids"] == ["bird-04"]
    assert "seed 7" in made["status"]
    # The Picture tab shows the same picture, which is the current one from now on.
    wanted = pipe(CAPTION, neighbours=["bird-04"], seed=7)
    assert base64.b64encode(wanted.png()).decode() in made["result"]
    assert made["result"] in made["chosen"]
    assert (made["seed"], made["current"]) == ("7", wanted.recipe)
    assert made["memory"] == references.show_references(*QUERY[:6], made["steering"])[0]
    again = memory_map.choose(Click("bird-04"), *asking(steering=made["steering"]))
    assert again["steering"].pins == ()
    assert "Released, and painted without it" in again["chosen"]


def test_without_words_a_memory_is_painted_with_its_own(pipe: MemoryDrivenPipeline) -> None:
    made = memory_map.choose(Click("bird-04"), *EMPTY)
    assert escape(pipe.bank.items[4].captions[0]) in made["chosen"]


def test_a_drawn_seed_is_told_and_the_next_choice_is_painted_with_it() -> None:
    made = memory_map.choose(Click("bird-04"), *asking(seed="", keep=False))
    own = {"seed": made["seed"], "steering": made["steering"]}
    again = memory_map.choose(Click("bird-05"), *asking(keep=False, **own))
    seeds = [each["current"].seed for each in (made, again)]
    assert seeds == [int(made["seed"])] * 2


@pytest.mark.parametrize("item", [None, 3, "bird-99", "<img>", ["bird-00"]])
def test_forged_choices_are_refused(item: object) -> None:
    with pytest.raises(MemDrivenError):
        memory_map.choose(Click(item), *QUERY)
