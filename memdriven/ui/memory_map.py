"""The Memory map tab: every picture of the memory a point, the words a star among them."""

import base64
import io
import json
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from memdriven.checkpoint import MAP
from memdriven.data.images import tiled
from memdriven.errors import ConfigError
from memdriven.explore.memory_map import Map, Progress, mean_colours, read_map, small_pictures
from memdriven.memory.bank import MemoryBank
from memdriven.numbers import counted, percent, shown
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import gr, html, references, state
from memdriven.ui.html import hint, note, panel, status
from memdriven.ui.picture import keep_from, picture_panel
from memdriven.ui.query import Compose, Query
from memdriven.ui.references import panels
from memdriven.ui.state import BackgroundTask, TaskCache

part = partial(html.part, of="map")
TILE = 40
"""Side in px of a picture in the sheet that travels with the map."""
LARGEST = 6_000
"""Of a larger memory the map shows this many items, evenly spread."""


_drawings: TaskCache[tuple[Map, str]] = TaskCache()


def drawing(pipe: MemoryDrivenPipeline) -> BackgroundTask[tuple[Map, str]]:
    """Return the map of a model's memory and the page's version of it, drawn when it is first needed."""

    def draw(progress: Progress) -> tuple[Map, str]:
        layout = read_map(pipe.bank, pipe.bank.path.parent / MAP)
        return layout, map_html(pipe.bank, layout, progress)

    return _drawings.get(pipe.bank_hash, draw)


def map_html(bank: MemoryBank, layout: Map, progress: Progress | None = None) -> str:
    """Return the canvas with all that it draws from: points, colours, captions, pictures."""
    count = min(bank.n, LARGEST)
    rows = torch.linspace(0, bank.n - 1, count).round().long().tolist()
    pictures = small_pictures(bank, rows, TILE, progress)
    columns = math.isqrt(count - 1) + 1
    atlas = tiled([Image.fromarray(each) for each in pictures], columns, TILE, 0)
    buffer = io.BytesIO()
    atlas.save(buffer, format="WEBP", quality=70, method=2)
    content = {
        "points": _packed((layout.points[rows].numpy() * 32_000).round().astype("<i2")),
        "colours": _packed(mean_colours(pictures)),
        "ids": [bank.ids[row] for row in rows],
        "captions": [bank.items[row].captions[0] for row in rows],
        "tile": TILE,
        "columns": columns,
        "atlas": html.data_uri(buffer.getvalue()),
    }
    return part("map", json.dumps(content), counted(count, "picture"))


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def unfold(shown: str, *query: object) -> Iterator[tuple[object, str, str, str]]:
    """Yield the map (unless it is there), the star, which memory's map is there, and the status.

    `shown` is the hash of the memory whose map is on the page; empty before the first.
    """
    pipe = state.pipeline()
    once = drawing(pipe)
    for done, count in once.wait():
        line, shown = f"Drawing the map: {percent(done / max(1, count))}.", ""
        yield note(line), "", shown, status(line, busy=True)
    star, line = find(*query)
    yield (gr.skip() if shown == pipe.bank_hash else once.result()[1]), star, pipe.bank_hash, line


def find(*query: object) -> tuple[str, str]:
    """Return the star for the words in the left column, if there are any, and the status."""
    pipe = state.pipeline()
    if Query(*query).empty:
        return hint("Write a caption to see where it belongs."), status(html.READY)
    prepared = pipe.prepare(references.read(*query))
    layout, _ = drawing(pipe).result()
    content = {"at": layout.place(prepared.asked.sentence[0]).tolist(), "ids": prepared.retrieval.ids}
    star = part("star", json.dumps(content), len(prepared.retrieval))
    return star, status("Your words are on the map.")


def choose(event: gr.EventData, *query: Any) -> dict[str, Any]:
    """Pin the chosen item, or release it, and paint with the memory as it then is; return what changes."""
    pipe, asked, chosen = state.pipeline(), Query(*query), getattr(event, "item", None)
    if not isinstance(chosen, str):
        raise ConfigError("a point of the map", shown(chosen), "choose a point again")
    item = pipe.bank.items[pipe.bank.index_of(chosen)]
    new = asked.steering.pin(chosen)
    asked = asked._replace(caption=item.captions[0] if asked.empty else asked.caption, steering=new)
    output = pipe(references.read(*asked))
    line, result, seed = references.again(output.prepared, new), picture_panel(output), output.recipe.seed
    pinned = chosen in new.pins
    said = "The chosen reference is pinned." if pinned else "The reference is released."
    memory, unknown = panels(line)
    return {
        "chosen": part("chosen", chosen, pinned, references.memory_panel(line.retrieval), result),
        "star": find(*asked)[0],
        "status": status(f"{said} Painted with seed {seed}."),
        "steering": new,
        "memory": memory,
        "unknown": unknown,
        "result": result,
        "seed": str(seed),
        "current": output.recipe,
    }


def build(compose: Compose) -> None:
    """Add the tab."""
    with gr.Tab("Memory map", id="map") as tab:
        html.section("memory", "Everything it remembers")
        html.explain(
            "Each point is a picture of the memory in its own colour; similar captions "
            "lie close together, but how far apart groups lie says nothing. The star is the mean place of "
            "the captions nearest to your words."
        )
        with gr.Row(elem_classes="md-columns"):
            with gr.Column(elem_id="map-column", min_width=300):
                empty = note("The map is drawn when this tab is opened.")
                drawn = panel(empty, elem_id="map", js_on_load=html.script("memory_map.js"))
                compose.star = panel(elem_id="map-query")
                again = gr.Button("Show my words", elem_id="map-find", elem_classes="md-quiet")
            with gr.Column(elem_id="map-side", min_width=220):
                compose.chosen = panel(
                    note("Choose a point to pin it: your words are painted with that reference."),
                    elem_id="map-chosen",
                    js_on_load=html.CLICKS,
                )
                # Inside the tab: what lies directly among Gradio's tabs is counted as one.
                shown = gr.State("")
    keep_from(compose.chosen, compose)
    asked = compose.whole_query
    compose.on(tab.select, unfold, [shown, *asked], [drawn, "star", shown, "status"])
    compose.on(again.click, find, asked, ["star", "status"])
    compose.on(drawn.click, choose, asked, [*vars(compose)])
