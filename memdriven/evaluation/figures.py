"""Example pictures of an evaluation, kept as files for a report: nothing is chosen by hand.

`pairs` is Fig. 3 of the paper: a caption's picture beside the image that its features came from.
`diversity` is Fig. 5: one caption and one memory, and pictures of several z. Both show the first
captions of the evaluation, with its own seeds.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from memdriven.errors import EvaluationError
from memdriven.evaluation.context import Context, Prompt, prompts_hash
from memdriven.evaluation.results import git_commit
from memdriven.evaluation.rows import images_of_memory, quantised
from memdriven.files import atomic_write_bytes, atomic_write_json, read_json
from memdriven.pipeline.output import Prepared

SCHEMA = "memdriven.figures/1"
FOLDER, INDEX = "figures", "figures.json"
PAIRS, GROUPS, DRAWS = 12, 3, 6
FIRST_DRAW = 1_000_000
"""Added to the seed for the draws of z, as in the measure of diversity."""


def draw_figures(context: Context, variant: str = "") -> Path:
    """Write the example pictures and `figures.json`, which says what they are; return its path.

    What is there already of the same model, memory, captions and seed is left as it is.
    """
    folder, retrieval = context.folder / FOLDER, context.checkpoint.config.retrieval
    facts = {
        "schema": SCHEMA,
        "checkpoint": context.model_name,
        "checkpoint_hash": context.checkpoint.hash,
        "memory": context.memory_hash,
        "dataset": f"{context.dataset.name}/{context.split}",
        "seed": context.seed,
        "prompts": prompts_hash(context.prompts),
        "strategy": retrieval.strategy,
        "k": retrieval.k,
        "variant": variant,
    }
    index = folder / INDEX
    if index.exists() and facts.items() <= read_json(index, EvaluationError).items():
        return index
    pipe, prompts = context.pipe, context.prompts[:PAIRS]
    prepared = [pipe.prepare(context.request(p, context.seed + i)) for i, p in enumerate(prompts)]
    shown: list[str | None] = [None] * len(prompts)
    if all(each.retrieval.ids for each in prepared):
        ids = [each.retrieval.ids[0] for each in prepared]
        images, rows, _ = images_of_memory(context, ids, context.size)
        shown = [_save(folder, f"neighbour-{i}", images[row]) for i, row in enumerate(rows)]
    pairs, groups = [], []
    for i, each in enumerate(prepared):
        about = _about(prompts[i], each) | {"retrieved": shown[i]}
        picture = _paint(context, each, [context.seed + i])[0]
        pairs.append(about | {"picture": _save(folder, f"picture-{i}", picture)})
        if i < GROUPS:
            draws = _paint(context, each, [context.seed + FIRST_DRAW + i * DRAWS + q for q in range(DRAWS)])
            names = [_save(folder, f"draw-{i}-{q}", image) for q, image in enumerate(draws)]
            groups.append(about | {"draws": names})
    content = facts | {"commit": git_commit(), "pairs": pairs, "diversity": groups}
    atomic_write_json(index, content)
    return index


def _paint(context: Context, prepared: Prepared, seeds: list[int]) -> Tensor:
    """Return the last stage's pictures of one caption at several seeds, uint8 (q, 3, s, s)."""
    return quantised(context.pipe.paint_many(prepared, seeds)[-1])


def _about(prompt: Prompt, prepared: Prepared) -> dict[str, Any]:
    """Say of which caption and which reference a picture is."""
    about: dict[str, Any] = {"caption": prompt.caption, "item": prompt.item.id}
    if prepared.retrieval.ids:
        first = prepared.retrieval[0]
        about |= {"neighbour": first.id, "matched": first.caption}
    return about


def _save(folder: Path, name: str, image: Tensor) -> str:
    """Write one uint8 image (3, s, s) as WebP; return the file's name."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "WEBP", quality=90, method=4)
    atomic_write_bytes(folder / f"{name}.webp", buffer.getvalue())
    return f"{name}.webp"
