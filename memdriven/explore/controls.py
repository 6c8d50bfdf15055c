"""Controls: the same words and noise with another memory, to see what the memory does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from PIL import Image

from memdriven.errors import RetrievalError
from memdriven.explore.painting import gather, picture
from memdriven.pipeline import MemoryDrivenPipeline
from memdriven.trace import Retrieval

Name = Literal["retrieved", "none", "wrong", "random", "oracle"]
CONTROLS: tuple[Name, ...] = get_args(Name)


@dataclass(frozen=True)
class Control:
    """One control's picture; both are None where it does not apply."""

    name: Name
    retrieval: Retrieval | None = None
    picture: Image.Image | None = None


def controls(
    pipe: MemoryDrivenPipeline, caption: str, strategy: str | None, k: int | None, seed: int,
    memory: float = 1.0,
) -> Iterator[Control]:  # fmt: skip
    """Yield a picture of each control with the same words and noise.

    `retrieved` is the strategy asked for; where that is itself a control, the checkpoint's own.
    `oracle` is given without a picture for a caption that is nobody's in the memory.

    Raises:
        CaptionError, RetrievalError: as the pipeline's call.
    """
    own = pipe.config.retrieval.strategy if strategy in ("none", "random", "oracle") else strategy
    for name in CONTROLS:
        asked: str | None = own if name in ("retrieved", "wrong") else name
        wrong = [least_alike(pipe, caption)] if name == "wrong" else None
        try:
            inputs, retrieval = gather(
                pipe, caption, asked, k, seed, neighbours=wrong, memory=memory
            )
        except RetrievalError:
            if name != "oracle":
                raise
            yield Control(name)
            continue
        yield Control(name, retrieval, picture(pipe, inputs))


@torch.inference_mode()
def least_alike(pipe: MemoryDrivenPipeline, caption: str) -> str:
    """Return the id of the item whose captions are all least like this one.

    Raises:
        CaptionError: the caption cannot be encoded.
    """
    sentence = pipe.lookup.retriever.query(caption).text.sentence[0].float().cpu()
    cosines = pipe.bank.sentence_keys @ torch.nn.functional.normalize(sentence, dim=0)  # (m,)
    best = torch.full((pipe.bank.n,), -2.0).scatter_reduce(
        0, pipe.bank.caption_item, cosines, "amax"
    )
    return pipe.bank.ids[int(best.argmin())]
