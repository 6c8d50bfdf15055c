"""Example pictures of an evaluation, kept as files for a report: nothing is chosen by hand.

`pairs` is Fig. 3 of the paper: a caption's picture beside the image that its features came from.
`diversity` is Fig. 5: one caption and one memory, and pictures of several z. Both show the first
captions of the evaluation, with its own seeds.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from memdriven.errors import EvaluationError
from memdriven.evaluation.results import git_commit
from memdriven.evaluation.rows import Prompt, prompts_hash
from memdriven.evaluation.workbench import Workbench
from memdriven.files import atomic_write_bytes, atomic_write_json, read_json
from memdriven.memory.retrieval import Match

SCHEMA = "memdriven.figures/1"
FOLDER, INDEX = "figures", "figures.json"
PAIRS, GROUPS, DRAWS = 12, 3, 6
FIRST_DRAW = 1_000_000
"""Added to the seed for the draws of z, as in the measure of diversity."""


def draw_figures(bench: Workbench, variant: str = "") -> Path:
    """Write the example pictures and `figures.json`, which says what they are; return its path.

    What is there already of the same model, memory, captions and seed is left as it is.
    """
    folder, retrieval = bench.folder / FOLDER, bench.checkpoint.config.retrieval
    facts = {
        "schema": SCHEMA,
        "checkpoint": bench.model_name,
        "checkpoint_hash": bench.checkpoint.hash,
        "memory": bench.memory_hash,
        "dataset": f"{bench.dataset.name}/{bench.split}",
        "seed": bench.seed,
        "prompts": prompts_hash(bench.prompts),
        "strategy": retrieval.strategy,
        "k": retrieval.k,
        "variant": variant,
    }
    index = folder / INDEX
    if index.exists() and facts.items() <= read_json(index, EvaluationError).items():
        return index
    prompts = bench.prompts[:PAIRS]
    matches = bench.finder.find(prompts, retrieval.strategy, retrieval.k, bench.seed)
    shown: list[str | None] = [None] * len(prompts)
    if all(matches):
        images = bench.retrieved(matches, retrieval.strategy).images
        shown = [_save(folder, f"neighbour-{i}", image) for i, image in enumerate(images)]
    pairs, groups = [], []
    for i, prompt in enumerate(prompts):
        picture = _paint(bench, prompt, matches[i], [bench.seed + i])[0]
        pairs.append(
            _about(bench, prompt, matches[i])
            | {"retrieved": shown[i], "picture": _save(folder, f"picture-{i}", picture)}
        )
    for i, prompt in enumerate(prompts[:GROUPS]):
        seeds = [bench.seed + FIRST_DRAW + i * DRAWS + q for q in range(DRAWS)]
        draws = _paint(bench, prompt, matches[i], seeds)
        names = [_save(folder, f"draw-{i}-{q}", image) for q, image in enumerate(draws)]
        groups.append(_about(bench, prompt, matches[i]) | {"retrieved": shown[i], "draws": names})
    content = facts | {"commit": git_commit(), "pairs": pairs, "diversity": groups}
    atomic_write_json(index, content)
    return index


def _paint(bench: Workbench, prompt: Prompt, matches: list[Match], seeds: list[int]) -> Tensor:
    """Return the last stage's pictures of one caption at several seeds, (q, 3, s, s)."""
    painter, strategy = bench.painter, bench.checkpoint.config.retrieval.strategy
    v = painter.features(prompt, matches, strategy)
    return torch.cat([painter.paint([prompt], v, [seed], [matches])[-1] for seed in seeds])


def _about(bench: Workbench, prompt: Prompt, matches: list[Match]) -> dict[str, Any]:
    """Say of which caption and which neighbour a picture is."""
    about: dict[str, Any] = {"caption": prompt.caption, "item": prompt.item.id}
    if matches:
        item = bench.bank.item(matches[0].index)
        about |= {"neighbour": item.id, "matched": item.captions[matches[0].caption_index]}
    return about


def _save(folder: Path, name: str, image: Tensor) -> str:
    """Write one uint8 image (3, s, s) as WebP; return the file's name."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "WEBP", quality=90, method=4)
    atomic_write_bytes(folder / f"{name}.webp", buffer.getvalue())
    return f"{name}.webp"
