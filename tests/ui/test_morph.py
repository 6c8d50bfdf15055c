from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from memdriven.errors import MemDrivenError
from memdriven.explore import morph as explore_morph
from memdriven.explore.morph import MAX_FRAMES
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import morph
from memdriven.ui.html import image_uri
from memdriven.ui.steering import Steering
from tests.ui.asking import CAPTION, EMPTY, QUERY, asking

pytestmark = pytest.mark.usefixtures("loaded")


def test_pictures_come_one_by_one_and_stay() -> None:
    steps = list(morph.run(CAPTION.replace("red", "blue"), "9", ["words", "z"], 5, *QUERY))
    assert [step[0].count("data-shown") for step in steps] == [1, 2, 3, 4, 5, 5]
    made, line = steps[-1]
    assert "5 pictures" in line
    assert ['class="md-ends"' in step[0] for step in steps] == [False] * 5 + [True]
    assert 'type="range"' in made
    assert "data:image/gif" in made
    assert "data:image/webp" in made
    assert 'download="memdriven-morph.gif"' in made
    assert made.count("md-still") == 2  # the memory stays, at both ends
    assert made.count('style="height:') == 4


def test_what_stays_is_shown_alike_at_both_ends() -> None:
    *_, (made, _) = morph.run("a small blue bird with white wings", "9", ["z"], 5, *QUERY)
    assert made.count(f'<q class="md-quote md-still">{CAPTION}</q>') == 2
    near, far = (part.split("</div>")[0] for part in made.split('class="md-end-memory')[1:])
    assert near == far


@pytest.mark.parametrize(
    ("moving", "count", "seed"), [([], 5, "9"), (["sql"], 5, "9"), (None, 5, "9"), (["z"], 5, "nine")]
)
def test_nonsense_is_explained(moving: Any, count: int, seed: str) -> None:
    for asked in (morph.run("", seed, moving, count, *QUERY), morph.run("", "1", ["z"], 5, *EMPTY)):
        with pytest.raises(MemDrivenError):
            next(asked)


def test_counts_are_clamped(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    picture = Image.new("RGB", (8, 8))
    monkeypatch.setattr(explore_morph, "frames", lambda *given: [counts.append(given[-1]) or picture])
    for given in (1e9, -4, float("nan"), "x", 7.9):
        list(morph.run("", "9", ["z"], given, *QUERY))
    assert counts == [MAX_FRAMES, 5, 13, 13, 7]


def test_both_ends_are_steered(pipe: MemoryDrivenPipeline) -> None:
    other = "a small blue bird with white wings"
    first, second = pipe.retrieve(other, "sentence-sentence", 2).ids
    query = asking(steering=Steering().mask(first))
    *_, (made, _) = morph.run(other, "9", ["words", "memory", "z", "view"], 5, *query)
    assert image_uri(pipe(other, seed=9, neighbours=[second]).images[0]) in made
    pinned = asking(steering=Steering().only("bird-05"))
    *_, (made, _) = morph.run("", "9", ["z", "view"], 5, *pinned)
    for seed in (7, 9):
        assert image_uri(pipe(CAPTION, seed=seed, neighbours=["bird-05"]).images[0]) in made
