"""Controls: the same words and noise with another memory, to see what the memory does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from PIL import Image

from memdriven.errors import RetrievalError
from memdriven.explore.painting import gather, picture
from memdriven.pipeline.output import Retrieval
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.recipe import Variation

Name = Literal["retrieved", "none", "wrong", "random", "oracle"]
CONTROLS: tuple[Name, ...] = get_args(Name)


@dataclass(frozen=True)
class Control:
    """One control's picture; both are None where it does not apply."""

    name: Name
    retrieval: Retrieval | None = None
    picture: Image.Image | None = None


def controls(
    pipe: MemoryDrivenPipeline,
    caption: str,
    strategy: str | None,
    k: int | None,
    seed: int,
    memory: float = 1.0,
    *,
    variations: Sequence[Variation] = (),
    exclude: Sequence[str] = (),
    given: Mapping[str, Any] | None = None,
    guidance: float | None = None,
) -> Iterator[Control]:
    """Yield a picture of each control with the same words and noise.

    `retrieved` is the strategy asked for; where that is itself a control, the checkpoint's own.
    `oracle` is given without a picture for a caption that is nobody's in the memory.

    Args:
        pipe: the model.
        caption: the words of all pictures.
        strategy: the checkpoint's default when None.
        k: how many neighbours are mixed; the checkpoint's default when None.
        seed: of the noise, and of `random`.
        memory: how much of the memory is used.
        variations: steps away from the noise.
        exclude: ids that no control may use.
        given: `neighbours`, `weights` and `guests` in place of what the strategy finds.
        guidance: how far the words are moved away from the memory's; see the pipeline's call.

    Raises:
        CaptionError, RetrievalError: as the pipeline's call.
    """
    control = strategy in ("none", "random", "oracle")
    own = pipe.config.retrieval.strategy if control else strategy
    memories: dict[Name, Mapping[str, Any]] = {
        "retrieved": {} if control else given or {},
        "wrong": {"neighbours": [least_alike(pipe, caption, exclude)]},
    }
    for name in CONTROLS:
        asked: str | None = own if name in ("retrieved", "wrong") else name
        try:
            inputs, retrieval = gather(
                pipe,
                caption,
                asked,
                k,
                seed,
                memory=memory,
                variations=variations,
                exclude=exclude,
                guidance=guidance,
                **memories.get(name, {}),
            )
        except RetrievalError:
            if name != "oracle":
                raise
            yield Control(name)
            continue
        yield Control(name, retrieval, picture(pipe, inputs))


@torch.inference_mode()
def least_alike(pipe: MemoryDrivenPipeline, caption: str, exclude: Sequence[str] = ()) -> str:
    """Return the id of the item whose captions are all least like this one, `exclude` left out.

    Raises:
        CaptionError: the caption cannot be encoded.
    """
    sentence = pipe.lookup.retriever.query(caption).text.sentence[0].float().cpu()
    cosines = pipe.bank.sentence_keys @ torch.nn.functional.normalize(sentence, dim=0)  # (m,)
    best = torch.full((pipe.bank.n,), -2.0).scatter_reduce(0, pipe.bank.caption_item, cosines, "amax")
    best[[pipe.bank.index_of(each) for each in exclude]] = torch.inf
    return pipe.bank.ids[int(best.argmin())]
