"""The Memory map tab: every picture of the memory a point, the words a star among them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from memdriven.errors import ConfigError, MemDrivenError
from memdriven.explore.atlas import Progress, mean_colours, sheet, small_pictures
from memdriven.explore.projection import FILE, Map, read_map
from memdriven.memory.bank import MemoryBank
from memdriven.pipeline.output import Retrieval
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import cards, references, state, strings
from memdriven.ui.compose import Compose
from memdriven.ui.generate import PictureTab, keep_from, show
from memdriven.ui.history_list import moment
from memdriven.ui.html import failure, status, tag, text
from memdriven.ui.parts import CLICKS, event_options, panel, script, section
from memdriven.ui.references import panels
from memdriven.ui.startup import gr
from memdriven.ui.waiting import Once, Shelved

TILE = 40
"""Side in px of a picture in the sheet that travels with the map."""
LARGEST = 6_000
"""Of a larger memory the map shows this many items, evenly spread."""


@dataclass(frozen=True)
class Drawn:
    """A memory's map and the page's version of it."""

    map: Map
    html: str


_drawings: Shelved[Drawn] = Shelved()


def drawing(pipe: MemoryDrivenPipeline) -> Once[Drawn]:
    """Return the map of a model's memory, drawn when it is first needed."""
    return _drawings.get(pipe.bank_hash, partial(draw, pipe.bank))


def draw(bank: MemoryBank, progress: Progress | None = None) -> Drawn:
    """Return a memory's map and the page's version of it.

    Raises:
        BankError: the stored map or a thumbnail is damaged.
    """
    layout = read_map(bank, bank.path.parent / FILE)
    return Drawn(layout, map_html(bank, layout, progress))


def map_html(bank: MemoryBank, layout: Map, progress: Progress | None = None) -> str:
    """Return the canvas with all that it draws from: points, colours, captions, pictures."""
    count = min(bank.n, LARGEST)
    rows = torch.linspace(0, bank.n - 1, count).round().long().tolist()
    pictures = small_pictures(bank, rows, TILE, progress)
    atlas, columns = sheet(pictures)
    buffer = io.BytesIO()
    atlas.save(buffer, format="WEBP", quality=70, method=2)
    points = (layout.points[rows].numpy() * 32_000).round().astype("<i2")
    content = {
        "points": _packed(points),
        "colours": _packed(mean_colours(pictures)),
        "ids": [bank.ids[row] for row in rows],
        "captions": [bank.items[row].captions[0] for row in rows],
        "tile": TILE,
        "columns": columns,
        "atlas": "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"),
    }
    search = tag(
        "input",
        type="search",
        class_="md-map-search",
        aria_label=strings.MAP_SEARCH,
        placeholder=strings.MAP_SEARCH,
    )
    found = tag("output", class_="md-map-found", data_words=strings.MAP_FOUND)
    zoom = "".join(
        tag("button", text(sign), type="button", class_="md-action", data_zoom=way, aria_label=label)
        for sign, way, label in strings.MAP_ZOOM
    )
    canvas = tag("canvas", tabindex=0, role="img", aria_label=strings.MAP_ALT.format(count=count))
    card = tag("div", tag("i") + tag("span"), class_="md-map-card", hidden=True)
    return tag(
        "div",
        tag("div", search + found + tag("span", zoom, class_="md-map-zoom"), class_="md-map-tools")
        + tag("div", canvas + card, class_="md-map-frame"),
        class_="md-map",
        data_map=json.dumps(content),
    )


def query_html(retrieval: Retrieval, at: tuple[float, float]) -> str:
    """Return the star's place and its neighbours for the canvas, and in words."""
    content = {"at": at, "ids": retrieval.ids}
    words = strings.MAP_QUERY.format(count=len(retrieval))
    return tag("p", text(words), class_="md-hint", data_query=json.dumps(content))


def unfold(shown: str, *query: object) -> Iterator[tuple[object, object, object, object]]:
    """Yield the map (unless it is there), the star, the status, and which memory's map is there.

    Args:
        shown: hash of the memory whose map is on the page; empty before the first.
        query: what the left column asks.
    """
    try:
        pipe = state.pipeline()
        once = drawing(pipe)
        for done, count in once.wait():
            line, shown = strings.MAP_PROGRESS.format(share=f"{done / max(1, count):.0%}"), ""
            yield cards.note(line), "", status(line, busy=True), shown
        drawn = once.result()
    except MemDrivenError as error:
        yield cards.note(strings.MAP_EMPTY), "", failure(error), ""
        return
    star, line = find(*query)
    yield (gr.skip() if shown == pipe.bank_hash else drawn.html), star, line, pipe.bank_hash


def find(*query: object) -> tuple[str, str]:
    """Return the star for the words in the left column, if there are any, and the status."""
    pipe = state.pipeline()
    if not str(query[0]).strip():
        return tag("p", text(strings.MAP_NO_QUERY), class_="md-hint"), status(strings.READY)
    try:
        wanted = references.read(*query)
        prepared = pipe.prepare(wanted.request)
        x, y = drawing(pipe).result().map.place(prepared.asked.sentence[0]).tolist()
    except MemDrivenError as error:
        return "", failure(error)
    return query_html(prepared.retrieval, (x, y)), status(strings.MAP_SHOWN)


def choose(event: gr.EventData, *query: Any) -> tuple[Any, ...]:
    """Pin the chosen item, or release it, and paint with the memory as it then is.

    Returns:
        Chosen item with its picture, star, status, steering, memory panel, unknown words, result,
        seed and moment.
    """
    pipe, steering = state.pipeline(), query[6]
    try:
        chosen = getattr(event, "item", None)
        if not isinstance(chosen, str):
            raise ConfigError(
                wanted=strings.MAP_ITEM_WANTED, found=repr(chosen)[:40], fix=strings.MAP_ITEM_FIX
            )
        item = pipe.bank.items[pipe.bank.index_of(chosen)]
        new = steering.pin(chosen)
        own = str(query[0]).strip() or item.captions[0]
        wanted = references.read(own, *query[1:6], new, *query[7:])
        output = wanted.paint(pipe)
    except MemDrivenError as error:
        return gr.skip(), gr.skip(), failure(error), *(gr.skip(),) * 6
    pinned = chosen in new.pins
    title = strings.MAP_CHOSEN if pinned else strings.MAP_RELEASED
    line, result = references.again(output.prepared, new), show(output)
    cards_ = cards.memory_panel(line.retrieval, common=state.common_words())
    made = tag(
        "div",
        tag("h3", text(title), class_="md-small-title") + cards_ + result,
        class_="md-map-chosen",
        data_item=chosen,
    )
    star, _ = find(own, *query[1:6], new, *query[7:])
    said = strings.MAP_PINNED if pinned else strings.MAP_FREED
    return (
        made,
        star,
        status(said.format(seed=wanted.seed)),
        new,
        *panels(line),
        result,
        str(wanted.seed),
        moment(output),
    )


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def build(compose: Compose, picture: PictureTab) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them.

    Args:
        compose: the left column.
        picture: the Picture tab, which shows what is pinned and painted here, too.
    """
    with gr.Tab(strings.TAB_MAP, id="map") as tab:
        section("memory", strings.MAP_TITLE)
        panel(tag("p", text(strings.MAP_NOTE), class_="md-hint"))
        with gr.Row(elem_classes="md-columns"):
            with gr.Column(elem_id="map-column", min_width=300):
                drawn = panel(
                    cards.note(strings.MAP_EMPTY), elem_id="map", js_on_load=script("memory_map.js")
                )
                star = panel(elem_id="map-query")
                again = gr.Button(strings.MAP_FIND, elem_id="map-find", elem_classes="md-quiet")
            with gr.Column(elem_id="map-side", min_width=220):
                chosen = panel(cards.note(strings.MAP_CHOOSE), elem_id="map-chosen", js_on_load=CLICKS)
                # Inside the tab: what lies directly among Gradio's tabs is counted as one.
                shown = gr.State("")
    keep_from(chosen, compose)
    outputs = [drawn, star, compose.status, shown]
    painted = [
        chosen,
        star,
        compose.status,
        compose.steering,
        picture.memory,
        compose.unknown,
        picture.result,
        compose.seed,
        compose.current,
    ]
    return [
        tab.select(unfold, [shown, *compose.whole_query], outputs, **event_options()),
        again.click(find, compose.whole_query, [star, compose.status], **event_options()),
        drawn.click(choose, compose.whole_query, painted, **event_options()),
    ]
