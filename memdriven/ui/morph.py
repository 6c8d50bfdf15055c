"""The Morph tab: from one picture to another, computed once, then scrubbed in the browser."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from PIL import Image

from memdriven.explore import morph
from memdriven.explore.compare import difference
from memdriven.numbers import is_number, percent
from memdriven.ui import gr, html, references, state
from memdriven.ui.html import image_uri, note, status
from memdriven.ui.query import Compose, Query

FORMAT_NAMES = {"GIF": "GIF", "WEBP": "animated WebP"}

DEFAULT_FRAMES, FEWEST = 13, 5
_MOVES = "(words, moving) => words.trim() ? [...new Set([...moving, 'words', 'memory'])] : moving"
"""Words that are typed for the end are meant to be reached, with their references."""
MOVING = ("words", "memory", "z", "mirror and window")


def run(
    words: str, seed: str, moving: Sequence[str] | None, count: object, *query: object
) -> Iterator[tuple[str, str]]:
    """Yield the pictures so far, at last with both ends and as files; and the status."""
    pipe, moving = state.pipeline(), list(moving or ())
    near = references.read(*query)
    # The far end is what the left column would give for these words and this seed.
    other = words if isinstance(words, str) and words.strip() else near.caption
    far = references.read(*Query(*query)._replace(caption=other, seed=seed))
    total = max(FEWEST, min(int(count), morph.MAX_FRAMES)) if is_number(count) else DEFAULT_FRAMES
    pictures, shown = list[Image.Image](), list[str]()
    for picture in morph.frames(pipe, near, far, moving, total):
        pictures.append(picture)
        shown.append(image_uri(picture))
        line = f"Painting: {len(pictures)} of {total} pictures."
        made = html.render("morph", pictures=shown, place=len(shown) - 1, ends=())
        yield made, status(line, busy=True)
    # What does not move is at the far end as it is at the near one.
    first, last = pipe.prepare(near).retrieval, pipe.prepare(far).retrieval
    reached = (last if "words" in moving else first).caption
    there = replace(last if "memory" in moving else first, caption=reached)
    gaps = [float(difference(a, b).mean()) for a, b in pairwise(pictures)]
    ends = [(each.caption, each, end.seeds[0]) for each, end in ((first, near), (there, far))]
    files = []
    for kind, label in FORMAT_NAMES.items():
        address = html.data_uri(morph.animation(pictures, kind), f"image/{kind.lower()}")
        files.append((f"memdriven-morph.{kind.lower()}", address, label))
    made = html.render(
        "morph",
        pictures=shown,
        place=0,
        steps=[f"{100 * gap / (max(gaps) or 1):.0f}%" for gap in gaps],
        total=percent(sum(gaps), 1),
        ends=ends,
        moving=moving,
        files=files,
    )
    yield made, status(f"{total} pictures. Move through them with the slider or the arrow keys.")


def build(compose: Compose) -> None:
    """Add the tab."""
    with gr.Tab("Morph", id="morph"), gr.Row(elem_classes="md-columns"):
        with gr.Column(elem_id="morph-ask", min_width=260):
            html.section("noise", "From this picture to another")
            html.explain(
                "Starts at your words and noise. Choose what moves; the rest stays. z is interpolated on "
                "a sphere, all else linearly."
            )
            options = {"value": ["z"], "elem_classes": "md-choice md-choice-three"}
            parts = dict(zip(morph.PARTS, MOVING, strict=True))
            moving = html.choice(gr.CheckboxGroup, "morph-moving", "What moves", parts, **options)
            words = html.box("morph-words", "Words at the end", max_lines=3, placeholder="the same words")
            seed = html.box("morph-seed", "Seed at the end", placeholder="random")
            count = html.slider("morph-count", "Pictures", FEWEST, morph.MAX_FRAMES, DEFAULT_FRAMES, 2)
            make = html.run_button("Morph", "morph-run")
        with gr.Column(elem_id="morph-shown", min_width=300):
            empty = note("The pictures between two appear here, to move through by hand.")
            made = html.panel(empty, elem_id="morph-result", js_on_load=html.script("morph.js"))
    words.input(None, [words, moving], moving, js=_MOVES, **html.QUIET)
    compose.on(make.click, run, [words, seed, moving, count, *compose.whole_query], [made, "status"])
