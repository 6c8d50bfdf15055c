"""The rows of a table of pictures: the model, its controls, other strategies.

Noise is the pipeline's: picture i of a row is drawn from seed + i, so any picture of a table can be made
again alone. In a batch the arithmetic may differ in the last bits. Painted rows are kept on disk as they are
painted: a run that was cut short goes on after its last whole batch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.checkpoint import RIVAL as RIVAL_FILE
from memdriven.checkpoint import load_rival
from memdriven.config import to_dict
from memdriven.data.images import centre_square, to_bytes, to_tensor
from memdriven.errors import EvaluationError
from memdriven.evaluation.context import Context, Prompt, pixels_hash
from memdriven.files import atomic_write_json, explain_disk_errors, read_json
from memdriven.pipeline.claims import named_in, wishes
from memdriven.pipeline.output import Retrieval
from memdriven.pipeline.request import Request
from memdriven.pipeline.rerank import score_words

MODEL, REAL, RETRIEVED = "model", "real", "retrieved"
TRIED = 8
BEST = f"best-of-{TRIED}"
"""The model, with the one of so many references whose picture fits the words best."""
RETRIEVED_BEST = f"retrieved-{BEST}"
"""Of so many references the one whose own image fits the words best, by the same reader: what is left of
`best-of-8` if nothing is painted."""
RIVAL = "rival"
"""A GAN without a memory, trained on the same pictures and captions."""
CONTROLS = (RETRIEVED, REAL, "random", "none", "oracle")
ROWS = (*CONTROLS, BEST, RETRIEVED_BEST, RIVAL)
"""What can stand beside the model; `best-of-8` costs a painting a reference."""
SETTING = re.compile(r"(best-of|k)-\d+|guidance-\d+(\.\d+)?")
"""Rows of the model with another setting, to choose one by: best-of-4, guidance-0.5, k-3."""
IMAGES = (REAL, RETRIEVED, RETRIEVED_BEST)
"""Rows of images that nobody painted."""
STRATEGY = "strategy "
"""Begins the name of a row whose references another strategy found."""
FEATURE_SIDE = 256
"""Side in px at which VGG sees an image to make v."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The images of one line of the table, one a caption."""

    name: str
    images: Tensor
    """uint8 (n, 3, size, size)."""
    drew_on: Sequence[str | None] | None = None
    """Id of the first reference that each image drew on."""
    seeds: range | None = None
    """Of each image's noise, where G painted it."""
    strategy: str = ""
    """By which the references were found."""
    note: str = ""
    """What a reader must know of these images."""

    @cached_property
    def pixels(self) -> str:
        """Names the images by their pixels."""
        return pixels_hash(self.images)


def make_row(context: Context, name: str, prompts: Sequence[Prompt] | None = None, file: str = "") -> Row:
    """Make one row: `model`, one of `ROWS`, one with another `SETTING`, or `strategy NAME`.

    Args:
        context: the evaluation's material.
        name: of the row.
        prompts: other captions than the evaluation's.
        file: under which name such other pictures are kept.

    Raises:
        EvaluationError: it needs what is not here.
    """
    prompts = context.prompts if prompts is None else prompts
    config = context.checkpoint.config.retrieval
    if name == REAL:
        images, rows = context.images_of([prompt.item for prompt in prompts])
        return Row(name=name, images=context.fill(name, len(rows), lambda chosen: images[rows[chosen]]))
    if name in (RETRIEVED, RETRIEVED_BEST):
        return _retrieved(context, name, prompts)
    if name == RIVAL:
        return _rivals(context, prompts)
    strategy = config.strategy if name == MODEL or setting(name) else name.removeprefix(STRATEGY)
    seeds = range(context.seed, context.seed + len(prompts))
    fields = {"strategy": strategy, "k": config.k, **setting(name)}
    if strategy == "oracle":  # the memory need not hold the caption's own image
        fields["strategy"] = "none"
    requests = [context.request(prompt, seed, **fields) for prompt, seed in zip(prompts, seeds)]
    own = prompts if strategy == "oracle" else None
    images, drew_on = _painted(context, requests, own, file or name.replace(" ", "-"))
    return Row(
        name=name, images=images, strategy=strategy, seeds=seeds, drew_on=drew_on if any(drew_on) else None
    )


def setting(row: str) -> dict[str, Any]:
    """Return the fields of a request that the name of a row sets."""
    name, _, number = row.rpartition("-")
    if SETTING.fullmatch(row) is None:
        return {}
    return {name.replace("-", "_"): float(number) if name == "guidance" else int(number)}


def _painted(
    context: Context, requests: Sequence[Request], own: Sequence[Prompt] | None, name: str
) -> tuple[Tensor, list[str | None]]:
    """Return the pictures of requests, mapped from a file, and the first reference of each.

    Where captions are given as `own`, their own images are the memory.
    """
    pipe, shape = context.pipe, (len(requests), 3, context.size, context.size)
    path = context.folder / "rows" / f"{name}.npy"
    mark = path.with_suffix(".json")
    key = _key(context, requests, own)
    images, drew_on = _open(path, mark, key, shape)
    with tqdm(
        total=len(requests),
        initial=len(drew_on),
        desc=f"pictures ({name})",
        unit="img",
        disable=not context.progress,
    ) as bar:
        for start in range(len(drew_on), len(requests), context.batch):
            part = requests[start : start + context.batch]
            prepared = [pipe.prepare(request) for request in part]
            if own is not None:
                prepared = [
                    replace(each, v=_own_features(context, prompt))
                    for each, prompt in zip(prepared, own[start : start + context.batch], strict=True)
                ]
            made = pipe.paint_many(prepared, [request.seeds[0] for request in part])[-1]
            images[start : start + len(part)] = quantised(made).numpy()
            images.flush()
            drew_on += [each.retrieval.ids[0] if each.retrieval.ids else None for each in prepared]
            atomic_write_json(mark, {"key": key, "drew_on": drew_on})
            bar.update(len(part))
    return torch.from_numpy(images), drew_on


@torch.inference_mode()
def _rivals(context: Context, prompts: Sequence[Prompt]) -> Row:
    """The rival's pictures, one noise a caption, enlarged where they are smaller than the model's."""
    checkpoint = context.checkpoint
    rival = load_rival(checkpoint)
    if rival is None:
        raise EvaluationError(
            f"a rival in {checkpoint.path / RIVAL_FILE}",
            "no such file",
            "train one (train-rival) and lay it there, or leave the row out",
        )

    def images(chosen: slice) -> Tensor:
        seeds = range(context.seed, context.seed + len(prompts))[chosen]
        chances = [torch.Generator().manual_seed(seed) for seed in seeds]
        z = torch.stack([torch.randn(rival.z_dim, generator=chance) for chance in chances])
        text = context.encode([prompt.caption for prompt in prompts[chosen]])
        made = rival(z.to(context.device), text.sentence)
        if rival.size != context.size:
            made = F.interpolate(made, (context.size,) * 2, mode="bicubic", antialias=True)
        return quantised(made)

    note = "" if rival.size == context.size else f"painted at {rival.size} px"
    return Row(name=RIVAL, images=context.fill(RIVAL, len(prompts), images), note=note)


def _own_features(context: Context, prompt: Prompt) -> Tensor:
    """Return v (1, 512, 16, 16) of a caption's own image."""
    image = to_tensor(centre_square(context.dataset.load_image(prompt.item), FEATURE_SIDE))
    with torch.no_grad():
        return context.vgg(image[None].to(context.device)).float()  # type: ignore[no-any-return]


def quantised(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8, on the CPU."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def _key(context: Context, requests: Sequence[Request], own: Sequence[Prompt] | None) -> str:
    """Return a hash of everything that a row's pixels depend on."""
    config = context.checkpoint.config
    asked = [(r.caption, r.seeds, r.strategy, r.k, r.best_of, r.exclude) for r in requests]
    facts: list[Any] = [context.checkpoint.hash, context.memory_hash, to_dict(config.retrieval)]
    facts += [config.generator.guidance, context.size, asked]
    facts += [r.guidance for r in requests[:1] if r.guidance is not None]
    if own is not None:
        facts.append(pixels_hash(context.images_of([prompt.item for prompt in own])[0]))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _open(path: Path, mark: Path, key: str, shape: tuple[int, ...]) -> tuple[Any, list[str | None]]:
    """Map an image file for writing; return it and what the images that are done drew on."""
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and mark.exists():
            facts = read_json(mark, EvaluationError)
            drew_on = facts.get("drew_on")
            if facts.get("key") == key and isinstance(drew_on, list) and len(drew_on) <= shape[0]:
                with contextlib.suppress(ValueError, OSError):  # damaged
                    images = np.lib.format.open_memmap(path, mode="r+")
                    if images.shape == shape and images.dtype == np.uint8:
                        return images, drew_on
        mark.unlink(missing_ok=True)
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape), []


def _retrieved(context: Context, name: str, prompts: Sequence[Prompt]) -> Row:
    """The references' own images; thumbnails where the data set lacks the originals."""
    strategy = context.checkpoint.config.retrieval.strategy
    if strategy in ("none", "oracle"):
        raise EvaluationError(
            f"references for the row `{name}`",
            f"strategy {strategy!r}, which has none",
            "leave the row out, or evaluate with another default strategy",
        )
    k = 1 if name == RETRIEVED else min(TRIED, context.bank.n - 1)
    found = [
        context.pipe.retrieve(context.request(prompt, context.seed + i, strategy=strategy, k=k))
        for i, prompt in enumerate(tqdm(prompts, desc=f"references ({name})", disable=not context.progress))
    ]
    ids = [each.ids[0] for each in found] if name == RETRIEVED else _best_images(context, found)
    images, rows, note = images_of_memory(context, ids, context.size)
    return Row(
        name=name,
        images=context.fill(name, len(ids), lambda chosen: images[rows[chosen]]),
        drew_on=ids,
        strategy=strategy,
        note=note,
    )


@torch.inference_mode()
def _best_images(context: Context, found: Sequence[Retrieval]) -> list[str]:
    """Return which of each caption's references' own images fits the words best."""
    checkpoint = context.checkpoint
    every = [each for retrieval in found for each in retrieval.ids]
    images, rows, _ = images_of_memory(context, every, checkpoint.config.damsm.pixel_size)
    chosen, start = [], 0
    for each in found:
        shown = images[rows[start : start + len(each)]].to(context.device).float() / 127.5 - 1
        start += len(each)
        wanted = wishes(checkpoint, named_in(checkpoint, each.caption, each.unknown_words))
        scores = score_words(checkpoint, context.encode([each.caption]), shown, wanted)
        chosen.append(each.ids[int(scores.argmax())])
    return chosen


def images_of_memory(context: Context, ids: Sequence[str], side: int) -> tuple[Tensor, Tensor, str]:
    """Return distinct images of the memory, each id's place among them, and what there is to say of them."""
    if all(each in context.items for each in ids):
        return *context.images_of([context.items[each] for each in ids], side), ""
    unique = list(dict.fromkeys(ids))
    bank = context.bank
    thumbnails = [to_bytes(centre_square(bank.thumbnail(bank.index_of(each)), side)) for each in unique]
    rows = torch.tensor([unique.index(each) for each in ids])
    return torch.stack(thumbnails), rows, "the bank's thumbnails"
