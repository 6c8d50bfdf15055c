"""The Copy check tab: what in the memory looks most like the picture, not judged by v."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from memdriven.explore.copies import ALIKE_COLOURS, CopySpace, Level, Likeness, Near
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe
from memdriven.ui import gr, html, references, state
from memdriven.ui.html import explain, explained, figure, image_uri, row, run_button, status, tag
from memdriven.ui.picture import is_moment
from memdriven.ui.query import Compose, Query
from memdriven.ui.references import note
from memdriven.ui.restore import made_here
from memdriven.ui.state import Once, Shelved

EMPTY = "The picture and its nearest in memory appear here, side by side."
SHOWN = 4
LEVELS: dict[Level, tuple[str, str]] = {
    "copy": ("A copy, or nearly", "Looks like a copy."),
    "follows": ("Follows its reference", "Follows its reference, and is no copy of it."),
    "new": ("Its own", "Goes its own way."),
}

_spaces: Shelved[CopySpace] = Shelved()


def space(pipe: MemoryDrivenPipeline) -> Once[CopySpace]:
    """Return a model's memory as the check sees it, computed when it is first needed."""
    return _spaces.get(pipe.bank_hash, partial(CopySpace, pipe.bank))


def describing(pipe: MemoryDrivenPipeline) -> Iterator[str]:
    """Yield how far the memory is described for the check, until it is."""
    for done, count in space(pipe).wait():
        yield f"Describing the memory's pictures: {done / max(1, count):.0%}."


@explained(note(EMPTY))
def check(current: object, *query: Any) -> Iterator[tuple[str, str]]:
    """Yield progress, then the picture beside the pictures of the memory that are nearest.

    Args:
        current: the moment of the picture on the page; without one, the left column's is painted.
        query: what the left column asks.
    """
    if is_moment(current):
        recipe = Recipe.from_json(current["recipe"])
        pipe = made_here(recipe)
        paint = partial(pipe.from_recipe, recipe, Query(*query).steering.guests)
    else:
        pipe = state.pipeline()
        paint = partial(pipe, references.read(*query))
    begun = status("Describing every picture of the memory, once.", busy=True)
    yield note("Looking through the memory\u2026"), begun
    for line in describing(pipe):
        yield note(line), status(line, busy=True)
    output = paint()
    yield check_html(pipe, output), status(f"Checked the picture of seed {output.recipe.seed}.")


def check_html(pipe: MemoryDrivenPipeline, output: PipelineOutput) -> str:
    """Return the picture, the nearest pictures, where it stands among their distances."""
    memory, bank = space(pipe).result(), pipe.bank
    made, window = output.images[0], output.windows[0]
    near = memory.nearest(made, SHOWN, window)
    cells = []
    for rank, each in enumerate(near, start=1):
        item = bank.item(each.index)
        words = tag("b", f"No. {rank}", class_="md-rank") + tag("span", standing(each))
        if item.id in output.retrieval.ids:
            words += tag("span", "was its reference", class_="md-own")
        alt = html.CARD_ALT.format(rank=rank, caption=item.captions[0])
        shown = image_uri(bank.thumbnail(each.index))
        cells.append(figure(shown, alt, words, title=item.captions[0], data_id=item.id))
    parts, found = [row("md-near", cells)], {bank.ids[each.index] for each in near}
    cells, rest = [], []
    for reference in output.retrieval:
        if reference.id in bank.ids:
            rest += [] if reference.id in found else [reference]
        else:  # the visitor's own
            near.append(memory.standing(made, reference.image, window))
            told = tag("span", standing(near[-1]))
            cells.append(figure(image_uri(reference.image), f"Your own image {len(cells) + 1}", told))
    if cells:
        parts += [_title("Your own images that it drew on"), row("md-near", cells)]
    if rest:
        parts += [_title("References that are not among the nearest"), html.thumbs(rest)]
    best = min(near, key=lambda each: each.distance)
    alt = html.PICTURE_ALT.format(caption=output.recipe.caption)
    return tag(
        "div",
        verdict(memory.likeness(output), best),
        _scale(near, best),
        tag("div", figure(image_uri(made), alt, "the result"), tag("div", *parts), class_="md-copy-pair"),
        html.hint(
            "Compared by colours at 4, 8 and 16 px and by edges in eight directions, mirrored or not; no "
            "network takes part. A blurred picture lies far from everything, so look as well."
        ),
        class_="md-copy",
    )


def _title(words: str) -> str:
    return tag("h3", words, class_="md-small-title")


def verdict(likeness: Likeness | None, nearest: Near) -> str:
    """Return which of three levels a picture is on, and in what it is like its reference."""
    level: Level = "copy" if nearest.suspect else "new"
    told = "No reference took part."
    if likeness is not None:
        level = likeness.level(nearest)
        lines = [_alike("pose and place", likeness.same_layout)]
        around, own = likeness.surroundings, likeness.subject
        for name, gap in (("the colours around it", around), ("its own colours, where v is strong", own)):
            lines.append(_alike(f"{name} ({gap:.0%} apart on average)", gap < ALIKE_COLOURS))
        told = tag("ul", *lines, class_="md-alike")
    steps = []
    for name, (short, _) in LEVELS.items():
        steps.append(tag("li", short, aria_current="true" if name == level else None))
    line = tag("strong", LEVELS[level][1]) + " " + tag("span", standing(nearest))
    said = tag("p", line, class_="md-verdict", data_level=level)
    return tag("ol", *steps, class_="md-levels") + said + told


def _alike(name: str, same: bool) -> str:
    word = "alike" if same else "unlike"
    return tag("li", tag("b", word, class_=f"md-is-{word}"), f" {name}")


def standing(near: Near) -> str:
    """Return how near a picture is, measured by the memory's own pictures."""
    return f"{near.percentile:.0f} % of the memory's own pictures have a closer neighbour than this one."


def _scale(near: Sequence[Near], best: Near) -> str:
    """Return a line from copy to new with a mark for each of the nearest."""
    marks = (tag("span", class_="md-mark", style=f"left:{each.percentile:.1f}%") for each in near)
    return tag(
        "div",
        tag("div", *marks, class_="md-scale-line", role="img", aria_label=standing(best)),
        tag("div", tag("span", "a copy"), tag("span", "entirely new"), class_="md-scale-ends"),
        class_="md-scale",
    )


def build(compose: Compose) -> list[gr.events.Dependency]:
    """Add the tab; return its long events, so that Stop can cancel them."""
    with gr.Tab("Copy check", id="copies"):
        html.section("memory", "Is it a copy?")
        explain(
            "Looks for the pictures of the memory that are nearest to the result, by their pixels and not "
            "by the features that the model was given."
        )
        run = run_button("Check this picture", "copy-run")
        made = html.panel(note(EMPTY), elem_id="copy-result")
    asked, shown = [compose.current, *compose.whole_query], [made, compose.status]
    return [run.click(check, asked, shown, **html.event_options())]
