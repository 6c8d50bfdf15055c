"""The Look inside tab: v and v_global, the gates of each stage, and the memory exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from PIL import Image, ImageOps

from memdriven.errors import MemDrivenError
from memdriven.explore.controls import CONTROLS, Control, controls
from memdriven.explore.inside import STRENGTHS, Channel, GateMaps, Inside, fading, look_inside
from memdriven.models.window import WHOLE, Window
from memdriven.pipeline.output import Neighbour
from memdriven.ui import asked, state, strings
from memdriven.ui.cards import note
from memdriven.ui.compose import Compose
from memdriven.ui.generate import Update
from memdriven.ui.html import image_uri, tag, text
from memdriven.ui.parts import panel, section
from memdriven.ui.startup import gr
from memdriven.ui.status import failure, status
from memdriven.ui.widgets import event_options, figure, linked, script, thumbs


def look(*query: object) -> Iterator[tuple[Update, Update, str]]:
    """Yield the picture taken apart, then the strengths one more each time; and the status."""
    try:
        wanted = asked.read(*query)
        pipe = state.pipeline()
        seen = look_inside(pipe, wanted.request)
        done = status(strings.INSIDE_DONE.format(seed=wanted.seed))
        if not (state.offers_memory() and len(seen.retrieval)):
            yield inside_html(seen), "", done
            return
        made: list[Image.Image] = []
        yield inside_html(seen), "", _strength(0)
        for picture in fading(pipe, wanted.request):
            made.append(picture)
            last = len(made) == len(STRENGTHS)
            yield gr.skip(), fading_html(made), done if last else _strength(len(made))
    except MemDrivenError as error:
        yield note(strings.INSIDE_EMPTY), "", failure(error)


def exchange(*query: object) -> Iterator[tuple[str, str]]:
    """Yield the controls' pictures, one more each time, and the status."""
    made: list[Control] = []
    try:
        wanted = asked.read(*query)
        for control in controls(state.pipeline(), wanted.request):
            made.append(control)
            line = strings.CONTROLS_PROGRESS.format(done=len(made), count=len(CONTROLS))
            yield controls_html(made), status(line, busy=len(made) < len(CONTROLS))
    except MemDrivenError as error:
        yield note(strings.CONTROLS_EMPTY), failure(error)


def inside_html(seen: Inside) -> str:
    """Return v over its image, the channels of v_global, and the gates of each stage."""
    if not len(seen.retrieval):
        return note(strings.INSIDE_NO_MEMORY)
    best = seen.retrieval[0]
    if seen.window != WHOLE:
        best = replace(best, image=_cut(best.image, seen.window))
    if seen.mirrored:
        best = replace(best, image=ImageOps.mirror(best.image))
    alt = strings.CARD_ALT.format(rank=best.rank, caption=best.caption)
    mixed = ""
    if len(seen.retrieval) > 1:
        words = strings.INSIDE_MIXED.format(count=len(seen.retrieval), share=best.weight)
        mixed = tag("p", text(words), class_="md-hint")
    if seen.window != WHOLE:
        mixed += tag("p", text(strings.INSIDE_PART), class_="md-hint")
    if seen.mirrored:
        mixed += tag("p", text(strings.INSIDE_MIRRORED), class_="md-hint md-mirrored")
    strength = tag(
        "label",
        text(strings.WASH_LABEL)
        + tag("input", type="range", min=0, max=100, value=75, class_="md-wash-strength"),
        class_="md-wash-label",
    )
    energy = linked(best.image, seen.energy, "memory", strings.ENERGY_LABEL, alt)
    first = tag("div", energy + _channels(seen.channels, best), class_="md-features")
    stages = [
        tag(
            "li",
            tag("h3", text(strings.STAGE_LABEL.format(side=picture.width)), class_="md-row-name")
            + (
                "".join(_gates(each, picture, best) for each in gates)
                or tag("p", text(strings.NO_GATES), class_="md-hint")
            ),
        )
        for picture, gates in zip(seen.pictures, seen.gates, strict=True)
    ]
    return tag(
        "div",
        mixed
        + strength
        + tag("h3", text(strings.V_TITLE), class_="md-step-title")
        + first
        + tag("h3", text(strings.GATES_TITLE), class_="md-step-title")
        + tag("p", text(strings.GATES_NOTE), class_="md-hint")
        + tag("ol", "".join(stages), class_="md-stages"),
        class_="md-inside",
    )


def controls_html(made: Sequence[Control]) -> str:
    """Return the controls side by side, each with the memory that it used."""
    cells = []
    for control in made:
        name, why = strings.CONTROL_NAMES[control.name]
        words = tag("b", text(name)) + tag("span", text(why))
        if control.picture is None:
            gone = tag("span", text(strings.CONTROL_GONE), class_="md-tile md-control-gone")
            cells.append(tag("li", gone + tag("p", words, class_="md-control")))
            continue
        shown = figure(image_uri(control.picture), f"{name}: {why}")
        cells.append(
            tag(
                "li",
                shown + tag("p", words, class_="md-control") + thumbs(control.retrieval),
                data_control=control.name,
            )
        )
    return tag("ol", "".join(cells), class_="md-controls")


def fading_html(pictures: Sequence[Image.Image]) -> str:
    """Return the picture with ever more of the memory, side by side."""
    shares = [f"{strength:.0%}" for strength in STRENGTHS]
    cells = "".join(
        tag(
            "li",
            figure(image_uri(picture), strings.FADE_ALT.format(share=share), text(share)),
            data_share=share,
        )
        for share, picture in zip(shares, pictures, strict=False)
    )
    ends = "".join(tag("span", text(each)) for each in strings.FADE_ENDS)
    return tag(
        "div",
        tag("h3", text(strings.FADE_TITLE), class_="md-step-title")
        + tag("p", text(strings.FADE_NOTE), class_="md-hint")
        + tag("ol", cells, class_="md-fading")
        + tag("p", ends, class_="md-fade-ends"),
        class_="md-inside",
    )


def _strength(done: int) -> str:
    line = strings.FADE_PROGRESS.format(done=done + 1, count=len(STRENGTHS))
    return status(line, busy=True)


def _channels(channels: Sequence[Channel], best: Neighbour) -> str:
    """Return the strongest of v_global as bars, each with its channel's map on the image."""
    strongest = channels[0].mean
    rows = []
    for channel in channels:
        label = strings.CHANNEL.format(number=channel.number)
        alt = strings.CHANNEL_ALT.format(number=channel.number)
        bar = tag("span", tag("span", style=f"width:{100 * channel.mean / strongest:.1f}%"), class_="md-bar")
        rows.append(
            tag(
                "li",
                linked(best.image, channel.map, "memory", label, alt)
                + tag(
                    "div",
                    bar + tag("span", text(f"{channel.mean:.1f}"), class_="md-bar-label"),
                    class_="md-channel-mean",
                ),
            )
        )
    title = tag("p", text(strings.V_GLOBAL_NOTE), class_="md-hint")
    return tag("div", title + tag("ol", "".join(rows), class_="md-channels"))


def _gates(gates: GateMaps, picture: Image.Image, best: Neighbour) -> str:
    """Return one module's gates over the stage's picture, and over the memory's image."""
    made = []
    for map_, label in ((gates.scale, strings.GATE_SCALE), (gates.shift, strings.GATE_SHIFT)):
        alt = strings.GATE_ALT.format(gate=label, side=gates.side)
        made.append(linked(picture, map_, "memory", label, alt))
        made.append(linked(best.image, map_, "memory", strings.GATE_ON_MEMORY.format(gate=label), alt))
    early = gates.side < picture.width
    name = strings.GATE_EARLY if early else strings.GATE_LAST
    return tag("p", text(name.format(side=gates.side)), class_="md-hint") + tag(
        "div", "".join(made), class_="md-gates"
    )


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    with gr.Tab(strings.TAB_INSIDE, id="inside"):
        section("memory", strings.INSIDE_TITLE)
        panel(tag("p", text(strings.INSIDE_NOTE), class_="md-hint"))
        open_ = gr.Button(strings.INSIDE_RUN, variant="primary", elem_id="inside-run", elem_classes="md-run")
        seen = panel(note(strings.INSIDE_EMPTY), elem_id="inside-result", js_on_load=script("linked.js"))
        faded = panel(elem_id="inside-fading")
        section("noise", strings.CONTROLS_TITLE)
        panel(tag("p", text(strings.CONTROLS_NOTE), class_="md-hint"))
        run = gr.Button(
            strings.CONTROLS_RUN, variant="primary", elem_id="controls-run", elem_classes="md-run"
        )
        made = panel(note(strings.CONTROLS_EMPTY), elem_id="controls-result")
    options = event_options()
    return [
        open_.click(look, compose.whole_query, [seen, faded, compose.status], **options),
        run.click(exchange, compose.whole_query, [made, compose.status], **options),
    ]


def _cut(image: Image.Image, window: Window) -> Image.Image:
    """Return the part of an image that a window shows, as large as the whole."""
    x, y, side = (share * image.width for share in window)
    return image.resize(image.size, Image.Resampling.BICUBIC, (x, y, x + side, y + side))
