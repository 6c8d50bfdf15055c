from __future__ import annotations

import base64
import re

import pytest

from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe, Request
from memdriven.ui.diversity import NUMBERS, tiles
from memdriven.ui.html import part
from memdriven.ui.picture import picture_panel

CAPTION = 'a red bird "<b>"'

pytestmark = pytest.mark.usefixtures("loaded")


def test_panel_grows_with_the_stages(pipe: MemoryDrivenPipeline) -> None:
    panels = [picture_panel(step) for step in pipe.stream(Request.of(CAPTION, seed=4))]
    assert "Painting\u2026" in panels[0]
    assert [panel.count("md-blank") for panel in panels] == [2, 1, 0]
    assert ['data-complete="true"' in panel for panel in panels] == [False, False, True]
    assert all('<b>"' not in panel for panel in panels)
    assert 'download="memdriven-4.png"' in panels[-1]


def test_finished_picture_carries_its_recipe(pipe: MemoryDrivenPipeline) -> None:
    out = pipe(CAPTION, seed=4)
    panel = picture_panel(out)
    (content,) = set(re.findall(r"data:image/png;base64,([^\"]+)", panel))
    assert Recipe.from_png(base64.b64decode(content)) == out.recipe


def test_time_bar_names_every_step() -> None:
    timings = {"encode": 2.0, "retrieve": 1.0, "features": 1.0, "stage 64": 60.0, "total": 64.0}
    made = part("times", timings, of="known")
    assert "Time <b>64 ms</b>" in made
    assert "read words <b>2.0 ms</b>" in made
    assert "paint 64 px <b>60 ms</b>" in made
    assert "width:93.75%" in made
    assert "0.0 ms" in part("times", {"encode": 0.0}, of="known")


def test_grid_tiles_are_buttons_once_they_are_there(pipe: MemoryDrivenPipeline) -> None:
    output = pipe(CAPTION, seed=1)
    made = part("tiles", NUMBERS, output.images, tiles(output.recipe, 0.5), (), of="grid")
    assert made.count("<button") == 1
    assert "Variation 1" in made
    assert "Variation 2, waiting" in made
    assert part("blank", of="grid").count("<li>") == 9
    assert "Your picture appears here." in part("blank", of="known")
