"""Rows of pictures of an evaluation's captions, one a caption: the model's, a control's, a strategy's.

Noise is the pipeline's: picture i of a row is drawn from seed + i, so any picture of a table can be made
again alone. In a batch the arithmetic may differ in the last bits. Rows are kept on disk as they are painted:
a run that was cut short goes on after its last whole batch.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.checkpoint import RIVAL as RIVAL_FILE
from memdriven.checkpoint import load_rival
from memdriven.data.images import to_unit
from memdriven.errors import EvaluationError, require
from memdriven.evaluation.context import CONTROLS, Context, Prompt, quantised
from memdriven.files import atomic_write_json, explain_disk_errors, read_json, sha256_file
from memdriven.pipeline.claims import score_pictures

MODEL, REAL, RETRIEVED = "model", "real", "retrieved"
TRIED = 8
BEST = f"best-of-{TRIED}"
"""The model, with the one of so many references whose picture fits the words best."""
RETRIEVED_BEST = f"retrieved-{BEST}"
"""Of so many references the one whose own image fits the words best, by the same reader: what is left of
`best-of-8` if nothing is painted."""
RIVAL = "rival"
"""A GAN without a memory, trained on the same pictures and captions."""
ROWS = (*CONTROLS, BEST, RETRIEVED_BEST, RIVAL)
"""What can stand beside the model; `best-of-8` costs a painting a reference."""
SETTING = re.compile(r"(best-of|k)-\d+|guidance-\d+(\.\d+)?")
"""Rows of the model with another setting, to choose one by: best-of-4, guidance-0.5, k-3."""
IMAGES = (REAL, RETRIEVED, RETRIEVED_BEST)
"""Rows of images that nobody painted."""
STRATEGY = "strategy "
"""Begins the name of a row whose references another strategy found."""
SHOWN = 10
"""Pictures of a row that a report shows."""
NO_IMAGES = torch.empty(0)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The images of one line of the table, one a caption."""

    name: str
    images: Tensor = NO_IMAGES
    """uint8 (n, 3, size, size); none for what a measure paints or searches by itself."""
    drew_on: Sequence[str | None] | None = None
    """Id of the first reference that each image drew on."""
    seeds: range | None = None
    """Of each image's noise, where G painted it."""
    strategy: str = ""
    """By which the references were found."""
    note: str = ""
    """What a reader must know of these images."""


Made = tuple[Tensor, Sequence[str | None]]
"""Pictures in [-1, 1] or as uint8, (b, 3, size, size), and the first reference of each."""
Source = tuple[Row, Callable[[slice], Made], object]
"""A row without its images; what makes those of some of the captions; all that painted ones depend on, or
None where they are made anew each time."""


def make_row(context: Context, name: str, prompts: Sequence[Prompt] | None = None, file: str = "") -> Row:
    """Make one row: `model`, one of `ROWS`, one with another `SETTING`, or `strategy NAME`.

    Its pictures are made batch by batch and mapped from a file; where the file was begun with all that they
    depend on the same, it is gone on with. Other prompts than the evaluation's need another name of `file`.
    An EvaluationError says that it needs what is not here.
    """
    prompts, file = context.prompts if prompts is None else prompts, file or name.replace(" ", "-")
    seeds = range(context.seed, context.seed + len(prompts))
    others = {REAL: _real, RETRIEVED: _retrieved, RETRIEVED_BEST: _retrieved, RIVAL: _rivals}
    row, make, painted = others.get(name, _painted)(context, name, prompts, seeds)
    path = context.folder / "rows" / f"{file}.npy"
    mark, shape = path.with_suffix(".json"), (len(prompts), 3, context.size, context.size)
    facts = {
        "key": hashlib.sha256(repr((painted, shape)).encode()).hexdigest(),
        "captions": [prompt.caption for prompt in prompts[:SHOWN]],
    }
    drew_on: list[str | None] = []
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if painted and path.is_file() and mark.is_file():
            before = read_json(mark, EvaluationError)
            drew_on = before["drew_on"] if facts.items() <= before.items() else []
        if not drew_on:
            mark.unlink(missing_ok=True)
        images = np.lib.format.open_memmap(path, "r+" if drew_on else "w+", dtype=np.uint8, shape=shape)
        starts = range(len(drew_on), len(prompts), context.batch)
        for start in tqdm(starts, f"pictures ({file})"):
            at = slice(start, start + context.batch)
            made, references = make(at)
            images[at] = quantised(made).numpy()
            images.flush()
            drew_on += references
            atomic_write_json(mark, {**facts, "drew_on": drew_on})
    return replace(row, images=torch.from_numpy(images), drew_on=drew_on if any(drew_on) else None)


def setting(row: str) -> dict[str, Any]:
    """Return the fields of a request that the name of a row sets."""
    name, _, number = row.rpartition("-")
    if SETTING.fullmatch(row) is None:
        return {}
    return {name.replace("-", "_"): float(number) if name == "guidance" else int(number)}


def _real(context: Context, name: str, prompts: Sequence[Prompt], seeds: range) -> Source:
    """Each caption's own image."""

    def copy(at: slice) -> Made:
        shown = [context.dataset.pixels(prompt.item, context.size) for prompt in prompts[at]]
        return torch.stack(shown), [None] * len(shown)

    return Row(name=name), copy, None


def _retrieved(context: Context, name: str, prompts: Sequence[Prompt], seeds: range) -> Source:
    """Each caption's nearest reference, or of the nearest the one whose own image fits the words best."""
    checkpoint, strategy = context.checkpoint, context.checkpoint.config.retrieval.strategy
    wanted, lacking = f"references for the row `{name}`", f"strategy {strategy!r}, which has none"
    fix = "leave the row out, or evaluate with another default strategy"
    require(strategy not in ("none", "oracle"), EvaluationError, wanted, lacking, fix)
    k = 1 if name == RETRIEVED else min(TRIED, context.bank.n - 1)
    side, ids = checkpoint.config.damsm.pixel_size, []
    captions = tqdm(zip(prompts, seeds), f"references ({name})", len(prompts))
    for prompt, seed in captions:
        found = context.pipe.retrieve(context.request(prompt, seed, strategy=strategy, k=k))
        best = 0
        if name == RETRIEVED_BEST:
            images = torch.stack([context.remembered(each, side) for each in found.ids]).to(context.device)
            asked = context.encode([found.caption])
            with torch.inference_mode():
                fit = score_pictures(checkpoint, found.named, asked, images.float() / 127.5 - 1)
            best = int(fit.argmax())
        ids.append(found.ids[best])

    def recall(at: slice) -> Made:
        return torch.stack([context.remembered(each, context.size) for each in ids[at]]), ids[at]

    note = "the bank's thumbnails" if context.remembers_others else ""
    return Row(name=name, strategy=strategy, note=note), recall, None


def _rivals(context: Context, name: str, prompts: Sequence[Prompt], seeds: range) -> Source:
    """Pictures of the rival, enlarged where they are smaller."""
    rival, place = load_rival(context.checkpoint), context.checkpoint.path / RIVAL_FILE
    if rival is None:
        fix = "train one (train-rival) and lay it there, or leave the row out"
        raise EvaluationError(f"a rival in {place}", "no such file", fix)

    @torch.inference_mode()
    def paint(at: slice) -> Made:
        chances = [torch.Generator().manual_seed(seed) for seed in seeds[at]]
        z = torch.stack([torch.randn(rival.z_dim, generator=chance) for chance in chances])
        sentences = context.encode([prompt.caption for prompt in prompts[at]]).sentence
        made = rival(z.to(context.device), sentences)
        if rival.size != context.size:
            made = F.interpolate(made, (context.size,) * 2, mode="bicubic", antialias=True)
        return made, [None] * len(z)

    note = "" if rival.size == context.size else f"painted at {rival.size} px"
    return Row(name=name, note=note), paint, None


def _painted(context: Context, name: str, prompts: Sequence[Prompt], seeds: range) -> Source:
    """Pictures of the model, by the strategy or the setting that the row's name says."""
    config = context.checkpoint.config
    strategy = config.retrieval.strategy if name == MODEL or setting(name) else name.removeprefix(STRATEGY)
    fields = {"strategy": strategy, "k": config.retrieval.k, **setting(name)}
    own = strategy == "oracle"
    if own:  # the memory need not hold the caption's own image
        fields["strategy"] = "none"
    requests = [context.request(prompt, seed, **fields) for prompt, seed in zip(prompts, seeds)]

    @torch.no_grad()
    def features_of(prompt: Prompt) -> Tensor:
        image = to_unit(context.dataset.pixels(prompt.item, 256))
        return context.vgg(image[None].to(context.device)).float()  # type: ignore[no-any-return]

    def paint(at: slice) -> Made:
        prepared = [context.pipe.prepare(request) for request in requests[at]]
        if own:
            prepared = [replace(each, v=features_of(of)) for each, of in zip(prepared, prompts[at])]
        painted = context.pipe.paint_many(prepared, seeds[at])[-1]
        return painted, [each.retrieval.ids[0] if each.retrieval.ids else None for each in prepared]

    key = [context.identity["checkpoint_hash"], context.identity["memory"], config, requests]
    key += [sha256_file(context.dataset.image_path(prompt.item)) for prompt in prompts if own]
    return Row(name=name, seeds=seeds, strategy=strategy), paint, key
