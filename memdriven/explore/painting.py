"""The generator's inputs as things to hold fixed, exchange, or mix, and the picture they give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from memdriven.models.generator import Stage
from memdriven.pipeline.lookup import Guest
from memdriven.pipeline.output import Retrieval
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.recipe import Variation
from memdriven.pipeline.stages import Noise, draw_noise, mean_words, repeatable, staged, to_picture


@dataclass(frozen=True)
class Inputs:
    """Everything that one picture is made of, on the model's device; its words as guided."""

    noise: Noise
    sentence: Tensor
    """(1, d)"""
    words: Tensor
    """Masked mean of the word embeddings, (1, d)."""
    v: Tensor
    """Mixed features of the memory, (1, 512, 16, 16)."""


def gather(
    pipe: MemoryDrivenPipeline,
    caption: str,
    strategy: str | None,
    k: int | None,
    seed: int,
    *,
    neighbours: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
    variations: Sequence[Variation] = (),
    memory: float = 1.0,
    guests: Sequence[Guest] = (),
    exclude: Sequence[str] = (),
    guidance: float | None = None,
) -> tuple[Inputs, Retrieval]:
    """Return a caption's inputs and its neighbours; arguments as those of the pipeline.

    Raises:
        CaptionError, RetrievalError, ConfigError: as the pipeline's call.
    """
    with pipe.turn:
        retrieval, text = pipe.lookup.find(
            caption, strategy, k, seed, neighbours, weights, exclude, None, guests
        )
        text = pipe.lookup.guided(text, retrieval, guidance, memory)
        v = pipe.lookup.features(retrieval, guests, memory)
        v = v.to(pipe.device, memory_format=torch.channels_last)
    noise = draw_noise(seed, pipe.checkpoint.generator, variations)
    return Inputs(noise, text.sentence, mean_words(text), v), retrieval


def stages(pipe: MemoryDrivenPipeline, inputs: Inputs) -> Iterator[Stage]:
    """Yield each stage's image and gates; the images are the pipeline's for the same inputs."""
    made = staged(pipe.checkpoint.generator, inputs.noise, inputs.sentence, inputs.words, inputs.v)
    for _ in pipe.resolutions:
        with pipe.turn, repeatable():
            stage = next(made)
        yield stage


def picture(pipe: MemoryDrivenPipeline, inputs: Inputs) -> Image.Image:
    """Return the last stage's picture."""
    *_, last = stages(pipe, inputs)
    return to_picture(last.image)
