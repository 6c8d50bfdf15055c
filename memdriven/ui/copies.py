"""The Copy check tab: what in the memory looks most like the picture, not judged by v."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from memdriven.explore.copies import LEVELS, CopySpace
from memdriven.numbers import percent
from memdriven.pipeline.output import PipelineOutput
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Recipe, Request
from memdriven.ui import gr, html, references, state
from memdriven.ui.history import made_here
from memdriven.ui.html import note, status
from memdriven.ui.query import Compose, Query
from memdriven.ui.state import BackgroundTask, TaskCache

SHOWN = 4
part = partial(html.part, of="copies")
_spaces: TaskCache[CopySpace] = TaskCache()


def space(pipe: MemoryDrivenPipeline) -> BackgroundTask[CopySpace]:
    """Return a model's memory as the check sees it, computed when it is first needed."""
    return _spaces.get(pipe.bank_hash, partial(CopySpace, pipe.bank))


def describing(pipe: MemoryDrivenPipeline) -> Iterator[str]:
    """Yield how far the memory is described for the check, until it is."""
    for done, count in space(pipe).wait():
        yield f"Describing the memory's pictures: {percent(done / max(1, count))}."


def check(current: object, *query: Any) -> Iterator[tuple[str, str]]:
    """Yield progress, then the picture beside the pictures of the memory that are nearest.

    Without a `current` picture (its recipe) the left column's is painted.
    """
    if isinstance(current, Recipe):
        pipe, request = made_here(current), Request.of(current, images=Query(*query).steering.images)
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
    shown = {bank.ids[near.index] for near in checked.nearest}
    own = [each.image for each in used if each.id not in bank.ids]
    return part(
        "check",
        checked,
        bool(used),
        LEVELS,
        picture=output.images[0],
        caption=output.recipe.caption,
        nearest=[(bank.items[n.index], bank.thumbnail(n.index), n) for n in checked.nearest],
        used=output.retrieval.ids,
        own=list(zip(own, checked.own, strict=True)),
        rest=[each for each in used if each.id in bank.ids and each.id not in shown],
    )


def build(compose: Compose) -> None:
    """Add the tab."""
    with gr.Tab("Copy check", id="copies"):
        html.section("memory", "Is it a copy?")
        html.explain(
            "Looks for the pictures of the memory that are nearest to the result, by their pixels and not "
            "by the features that the model was given."
        )
        run = html.run_button("Check this picture", "copy-run")
        empty = note("The picture and its nearest in memory appear here, side by side.")
        made = html.panel(empty, elem_id="copy-result")
    compose.on(run.click, check, ["current", *compose.whole_query], [made, "status"])
