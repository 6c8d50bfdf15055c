"""The Copy check tab: what in the memory looks most like the picture, not judged by v."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from PIL import Image

from memdriven.errors import MemDrivenError
from memdriven.explore.copies import ALIKE_COLOURS, CopySpace, Level, Likeness, Near
from memdriven.memory.bank import MemoryBank
from memdriven.models.noise import WHOLE
from memdriven.pipeline.output import Neighbour, PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.recipe import Recipe
from memdriven.ui import gr, references, state
from memdriven.ui.html import (
    CARD_ALT,
    PICTURE_ALT,
    event_options,
    failure,
    figure,
    hint,
    image_uri,
    panel,
    section,
    status,
    tag,
    text,
)
from memdriven.ui.query import Compose
from memdriven.ui.references import note
from memdriven.ui.restore import made_here
from memdriven.ui.result import is_moment
from memdriven.ui.state import Once, Shelved

COPY_PROGRESS = "Describing the memory's pictures: {share}."

EMPTY = "The picture and its nearest in memory appear here, side by side."
STANDING = "{percentile} % of the memory's own pictures have a closer neighbour than this one."
SCALE = ("a copy", "entirely new")

SHOWN = 4


_spaces: Shelved[CopySpace] = Shelved()


def space(pipe: MemoryDrivenPipeline) -> Once[CopySpace]:
    """Return a model's memory as the check sees it, computed when it is first needed."""
    return _spaces.get(pipe.bank_hash, partial(CopySpace, pipe.bank))


def check(current: object, *query: Any) -> Iterator[tuple[str, str]]:
    """Yield progress, then the picture beside the pictures of the memory that are nearest.

    Args:
        current: the moment of the picture on the page; without one, the left column's is painted.
        query: what the left column asks.
    """
    try:
        if is_moment(current):
            recipe = Recipe.from_json(current["recipe"])
            pipe = made_here(recipe)
            paint = partial(pipe.from_recipe, recipe, query[6].guests)
        else:
            pipe = state.pipeline()
            paint = partial(pipe, references.read(*query))
        yield (
            note("Looking through the memory\u2026"),
            status("Describing every picture of the memory, once.", busy=True),
        )
        memory = space(pipe)
        for done, count in memory.wait():
            line = COPY_PROGRESS.format(share=f"{done / max(1, count):.0%}")
            yield note(line), status(line, busy=True)
        output = paint()
        made = check_html(output, memory.result(), pipe.bank)
        yield made, status(f"Checked the picture of seed {output.recipe.seed}.")
    except MemDrivenError as error:
        yield note(EMPTY), failure(error)


def check_html(output: PipelineOutput, memory: CopySpace, bank: MemoryBank) -> str:
    """Return the picture, the nearest pictures, where it stands among their distances."""
    window = output.windows[0] if output.windows else WHOLE
    near = memory.nearest(output.images[0], SHOWN, window)
    references = {bank.index_of(each.id): each for each in output.retrieval if each.id in bank.ids}
    own = [
        (each, memory.standing(output.images[0], each.image, window))
        for each in output.retrieval
        if each.id not in bank.ids
    ]
    picture = figure(
        image_uri(output.images[0]), PICTURE_ALT.format(caption=output.recipe.caption), text("the result")
    )
    found = {each.index for each in near}
    rest = [each for index, each in references.items() if index not in found]
    every = [*near, *(each for _, each in own)]
    best = min(every, key=lambda each: each.distance)
    likeness = memory.likeness(output)
    cells = "".join(
        _near(each, rank, bank, each.index in references) for rank, each in enumerate(near, start=1)
    )
    return tag(
        "div",
        verdict(likeness, best)
        + _scale(every, best)
        + tag(
            "div",
            picture + tag("div", tag("ol", cells, class_="md-near") + _own(own) + _used(rest)),
            class_="md-copy-pair",
        )
        + hint(
            "Compared by colours at 4, 8 and 16 px and by edges in eight "
            "directions, mirrored or not; no network takes part. A blurred "
            "picture lies far from everything, so look as well."
        ),
        class_="md-copy",
    )


LEVELS: dict[Level, tuple[str, str]] = {
    "copy": ("A copy, or nearly", "Looks like a copy."),
    "follows": ("Follows its reference", "Follows its reference, and is no copy of it."),
    "new": ("Its own", "Goes its own way."),
}


def verdict(likeness: Likeness | None, nearest: Near) -> str:
    """Return which of three levels a picture is on, and in what it is like its reference."""
    if likeness is None:
        level: Level = "copy" if nearest.suspect else "new"
        told = "No reference took part."
    else:
        level = likeness.level(nearest)
        parts = (
            ("pose and place", likeness.same_layout, ""),
            ("the colours around it", likeness.surroundings < ALIKE_COLOURS, likeness.surroundings),
            ("its own colours, where v is strong", likeness.subject < ALIKE_COLOURS, likeness.subject),
        )
        told = "".join(
            tag(
                "li",
                tag("b", "alike" if same else "unlike", class_=f"md-is-{'alike' if same else 'unlike'}")
                + text(f" {name}")
                + (text(f" ({gap:.0%} apart on average)") if gap != "" else ""),
            )
            for name, same, gap in parts
        )
        told = tag("ul", told, class_="md-alike")
    steps = "".join(
        tag("li", text(short), aria_current="true" if name == level else None)
        for name, (short, _) in LEVELS.items()
    )
    line = tag("strong", text(LEVELS[level][1])) + " " + tag("span", text(standing(nearest)))
    return tag("ol", steps, class_="md-levels") + tag("p", line, class_="md-verdict", data_level=level) + told


def _near(near: Near, rank: int, bank: MemoryBank, reference: bool) -> str:
    item = bank.item(near.index)
    picture: Image.Image = bank.thumbnail(near.index)
    words = [tag("b", text(f"No. {rank}"), class_="md-rank"), tag("span", text(standing(near)))]
    if reference:
        words.append(tag("span", text("was its reference"), class_="md-own"))
    alt = CARD_ALT.format(rank=rank, caption=item.captions[0])
    return tag("li", figure(image_uri(picture), alt, "".join(words), title=item.captions[0]), data_id=item.id)


def _own(used: Sequence[tuple[Neighbour, Near]]) -> str:
    """Return the visitor's own images among the references, and how near they are."""
    if not used:
        return ""
    cells = "".join(
        tag(
            "li", figure(image_uri(each.image), f"Your own image {number}", tag("span", text(standing(near))))
        )
        for number, (each, near) in enumerate(used, start=1)
    )
    return tag("h3", text("Your own images that it drew on"), class_="md-small-title") + tag(
        "ol", cells, class_="md-near"
    )


def _used(rest: Sequence[Neighbour]) -> str:
    """Return the references that are not among the nearest."""
    if not rest:
        return ""
    images = "".join(
        tag(
            "li",
            tag("img", src=image_uri(each.image), alt=CARD_ALT.format(rank=each.rank, caption=each.caption)),
        )
        for each in rest
    )
    return tag("h3", text("References that are not among the nearest"), class_="md-small-title") + tag(
        "ul", images, class_="md-thumbs"
    )


def standing(near: Near) -> str:
    """Return how near a picture is, measured by the memory's own pictures."""
    return STANDING.format(percentile=f"{near.percentile:.0f}")


def _scale(near: Sequence[Near], best: Near) -> str:
    """Return a line from copy to new with a mark for each of the nearest."""
    marks = "".join(tag("span", class_="md-mark", style=f"left:{each.percentile:.1f}%") for each in near)
    ends = tag("span", text(SCALE[0])) + tag("span", text(SCALE[1]))
    label = STANDING.format(percentile=f"{best.percentile:.0f}")
    return tag(
        "div",
        tag("div", marks, class_="md-scale-line", role="img", aria_label=label)
        + tag("div", ends, class_="md-scale-ends"),
        class_="md-scale",
    )


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    with gr.Tab("Copy check", id="copies"):
        section("memory", "Is it a copy?")
        panel(
            hint(
                "Looks for the pictures of the memory that are nearest to the "
                "result, by their pixels and not by the features that the model was "
                "given."
            )
        )
        run = gr.Button("Check this picture", variant="primary", elem_id="copy-run", elem_classes="md-run")
        made = panel(note(EMPTY), elem_id="copy-result")
    return [
        run.click(check, [compose.current, *compose.whole_query], [made, compose.status], **event_options())
    ]
