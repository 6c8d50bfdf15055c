"""The Copy check tab: what in the memory looks most like the picture, not judged by v."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from memdriven.explore.copies import ALIKE_COLOURS, Check, CopySpace, Level, Near
from memdriven.numbers import percent
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe, Request
from memdriven.ui import gr, html, references, state
from memdriven.ui.html import figure, image_uri, row, status, tag
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
        yield f"Describing the memory's pictures: {percent(done / max(1, count))}."


def check(current: object, *query: Any) -> Iterator[tuple[str, str]]:
    """Yield progress, then the picture beside the pictures of the memory that are nearest.

    Without a `current` picture (a `Moment`) the left column's is painted.
    """
    if is_moment(current):
        recipe, own = Recipe.from_json(current["recipe"]), Query(*query).steering.guests
        pipe, request = made_here(recipe), Request.of(recipe, images=own)
    else:
        pipe, request = state.pipeline(), references.read(*query)
    begun = status("Describing every picture of the memory, once.", busy=True)
    yield note("Looking through the memory\u2026"), begun
    for line in describing(pipe):
        yield note(line), status(line, busy=True)
    output = pipe(request)
    yield check_html(pipe, output), status(f"Checked the picture of seed {output.recipe.seed}.")


def check_html(pipe: MemoryDrivenPipeline, output: PipelineOutput) -> str:
    """Return the picture, the nearest pictures, where it stands among their distances."""
    checked, bank, used = space(pipe).result().check(output, SHOWN), pipe.bank, list(output.retrieval)
    cells, own = [], [each for each in used if each.id not in bank.ids]
    for rank, near in enumerate(checked.nearest, start=1):
        item = bank.items[near.index]
        words = tag("b", f"No. {rank}", class_="md-rank") + tag("span", standing(near))
        if item.id in output.retrieval.ids:
            words += tag("span", "was its reference", class_="md-own")
        alt, shown = html.CARD_ALT.format(rank=rank, caption=item.captions[0]), bank.thumbnail(near.index)
        cells.append(figure(image_uri(shown), alt, words, title=item.captions[0], data_id=item.id))
    parts = [row("md-near", cells)]
    if own:
        told = (tag("span", standing(near)) for near in checked.own)
        names = (f"Your own image {number}" for number in range(1, len(own) + 1))
        cells = [figure(image_uri(each.image), *said) for each, *said in zip(own, names, told, strict=True)]
        title = "Your own images that it drew on"
        parts += [tag("h3", title, class_="md-small-title"), row("md-near", cells)]
    shown_ids = {bank.ids[near.index] for near in checked.nearest}
    rest = [each for each in used if each.id in bank.ids and each.id not in shown_ids]
    if rest:
        title = "References that are not among the nearest"
        parts += [tag("h3", title, class_="md-small-title"), html.thumbs(rest)]
    # A line from copy to new with a mark for each of the nearest.
    places = (each.percentile for each in (*checked.nearest, *checked.own))
    marks = (tag("span", class_="md-mark", style=f"left:{place:.1f}%") for place in places)
    line = tag("div", *marks, class_="md-scale-line", role="img", aria_label=standing(checked.best))
    ends = tag("div", tag("span", "a copy"), tag("span", "entirely new"), class_="md-scale-ends")
    alt = html.PICTURE_ALT.format(caption=output.recipe.caption)
    made = figure(image_uri(output.images[0]), alt, "the result")
    how = (
        "Compared by colours at 4, 8 and 16 px and by edges in eight directions, mirrored or not; no "
        "network takes part. A blurred picture lies far from everything, so look as well."
    )
    pair = tag("div", made, tag("div", *parts), class_="md-copy-pair")
    scale = tag("div", line, ends, class_="md-scale")
    return tag("div", verdict(checked, bool(used)), scale, pair, html.hint(how), class_="md-copy")


def verdict(checked: Check, referred: bool) -> str:
    """Return which of three levels a picture is on, and in what it is like its reference."""
    told = "No reference took part."
    if referred:
        around, own = checked.surroundings, checked.subject
        alike = {
            "pose and place": checked.same_layout,
            f"the colours around it ({percent(around)} apart on average)": around < ALIKE_COLOURS,
            f"its own colours, where v is strong ({percent(own)} apart on average)": own < ALIKE_COLOURS,
        }
        words = {name: "alike" if same else "unlike" for name, same in alike.items()}
        lines = (tag("li", tag("b", word, class_=f"md-is-{word}"), f" {n}") for n, word in words.items())
        told = tag("ul", *lines, class_="md-alike")
    steps = (
        tag("li", short, aria_current="true" if name == checked.level else None)
        for name, (short, _) in LEVELS.items()
    )
    line = tag("strong", LEVELS[checked.level][1]) + " " + tag("span", standing(checked.best))
    said = tag("p", line, class_="md-verdict", data_level=checked.level)
    return tag("ol", *steps, class_="md-levels") + said + told


def standing(near: Near) -> str:
    """Return how near a picture is, measured by the memory's own pictures."""
    share = percent(near.percentile / 100)
    return f"{share} of the memory's own pictures have a closer neighbour than this one."


def build(compose: Compose) -> None:
    """Add the tab."""
    with gr.Tab("Copy check", id="copies"):
        html.section("memory", "Is it a copy?")
        html.explain(
            "Looks for the pictures of the memory that are nearest to the result, by their pixels and not "
            "by the features that the model was given."
        )
        run = html.run_button("Check this picture", "copy-run")
        made = html.panel(note(EMPTY), elem_id="copy-result")
    compose.on(run.click, check, ["current", *compose.whole_query], [made, "status"])
