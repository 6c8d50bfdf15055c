"""Controls: the same words and noise with another memory, to see what the memory does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from PIL import Image

from memdriven.errors import RetrievalError
from memdriven.explore.inside import cosines
from memdriven.pipeline.output import Retrieval, to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import CONTROLS as STRATEGY_CONTROLS
from memdriven.pipeline.request import Reference, Request

Name = Literal["retrieved", "none", "wrong", "random", "oracle"]
CONTROLS: tuple[Name, ...] = get_args(Name)


@dataclass(frozen=True)
class Control:
    """One control's picture; both are None where it does not apply."""

    name: Name
    retrieval: Retrieval | None = None
    picture: Image.Image | None = None


def controls(pipe: MemoryDrivenPipeline, request: Request) -> Iterator[Control]:
    """Yield a picture of each control with the same words and noise.

    `retrieved` is what was asked for; where that is itself a control, the checkpoint's own strategy.
    `oracle` is given without a picture for a caption that is nobody's in the memory.

    Raises:
        CaptionError, RetrievalError: as the pipeline's call.
    """
    request = request.seeded()
    loose = replace(request, references=None)
    retrieved = replace(loose, strategy=None) if request.strategy in STRATEGY_CONTROLS else request
    for name in CONTROLS:
        each = retrieved
        if name == "wrong":
            far = least_alike(pipe, request.caption, request.exclude)
            each = replace(retrieved, references=(Reference(far),))
        elif name != "retrieved":
            each = replace(loose, strategy=name)
        try:
            prepared = pipe.prepare(each)
        except RetrievalError:
            if name != "oracle":
                raise
            yield Control(name)
            continue
        *_, last = pipe.paint(prepared, request.seeds[0])
        yield Control(name, prepared.retrieval, to_picture(last.image))


@torch.inference_mode()
def least_alike(pipe: MemoryDrivenPipeline, caption: str, exclude: Sequence[str] = ()) -> str:
    """Return the id of the item whose captions are all least like this one, `exclude` left out.

    Raises:
        CaptionError: the caption cannot be encoded.
    """
    best = cosines(pipe, caption)
    best[[pipe.bank.index_of(each) for each in exclude]] = torch.inf
    return pipe.bank.ids[int(best.argmin())]
