"""From one picture to another: each of z, view, memory and words moves, or stays as it was."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from memdriven.errors import ConfigError
from memdriven.models.noise import Noise
from memdriven.pipeline.guidance import TextCondition
from memdriven.pipeline.output import Prepared, to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

PARTS = ("words", "memory", "z", "view")
"""What can move; `view` is the rest of the noise: epsilon, mirror and window."""
MAX_FRAMES = 33
FORMATS = ("GIF", "WEBP")


class End(NamedTuple):
    """All that one picture is made of."""

    prepared: Prepared
    noise: Noise

    @classmethod
    def of(cls, pipe: MemoryDrivenPipeline, request: Request) -> End:
        """Return what a request's first picture is made of."""
        prepared = pipe.prepare(request)
        return cls(prepared, pipe.noise(request, prepared.request.seeds[0]))


def slerp(start: Tensor, end: Tensor, t: float) -> Tensor:
    """Return the point at t in 0..1 on the arc between two vectors (1, d).

    Normal noise in many dimensions has nearly one length; a straight line would cut through the
    empty middle (K. Shoemake's spherical interpolation).
    """
    cosine = torch.nn.functional.cosine_similarity(start.double(), end.double(), dim=-1)
    angle = cosine.clamp(-1, 1).arccos()[..., None]
    if t in (0.0, 1.0) or bool((angle.sin() < 1e-6).any()):
        return lerp(start, end, t)
    parts = torch.sin((1 - t) * angle) * start.double() + torch.sin(t * angle) * end.double()
    return (parts / angle.sin()).to(start.dtype)


def lerp(start: Tensor, end: Tensor, t: float) -> Tensor:
    """Return the point at t in 0..1 on the line between two tensors; the ends bit for bit."""
    if t == 0.0:
        return start
    return end if t == 1.0 else start + t * (end - start)


def between(start: End, end: End, moving: Collection[str], t: float) -> End:
    """Return what is at t: slerp of z and epsilon, lerp of the view, of v and of the text."""
    noise, text, v = start.noise, start.prepared.text, start.prepared.v
    if "z" in moving:
        noise = noise._replace(z=slerp(noise.z, end.noise.z, t))
    if "view" in moving:
        here, there = start.noise, end.noise
        x, y, side = ((1 - t) * a + t * b for a, b in zip(here.window, there.window, strict=True))
        noise = noise._replace(
            epsilon=slerp(here.epsilon, there.epsilon, t),
            mirror=(1 - t) * here.mirror + t * there.mirror,
            window=(x, y, side),
        )
    if "words" in moving:
        other = end.prepared.text
        text = TextCondition(lerp(text.sentence, other.sentence, t), lerp(text.words, other.words, t))
    if "memory" in moving:
        v = lerp(v, end.prepared.v, t)
    return End(replace(start.prepared, text=text, v=v), noise)


def frames(
    pipe: MemoryDrivenPipeline, start: Request, end: Request, moving: Collection[str], count: int
) -> Iterator[Image.Image]:
    """Yield `count` pictures, both ends included: each request's first.

    Raises:
        CaptionError, RetrievalError: as the pipeline's call.
        ConfigError: nothing moves, an unknown part moves, or a count outside 2..33.
    """
    if not moving or not set(moving) <= set(PARTS):
        raise ConfigError(
            wanted="something that moves: " + ", ".join(PARTS),
            found=", ".join(map(str, moving))[:80] or "nothing",
            fix="choose one or more",
        )
    if not 2 <= count <= MAX_FRAMES:
        raise ConfigError(
            wanted=f"2 to {MAX_FRAMES} pictures", found=str(count)[:40], fix="choose another number"
        )
    first, last = End.of(pipe, start), End.of(pipe, end)
    for place in range(count):
        prepared, noise = between(first, last, moving, place / (count - 1))
        *_, stage = pipe.paint(prepared, noise)
        yield to_picture(stage.image)


def animation(pictures: Sequence[Image.Image], kind: str, ms: int = 90) -> bytes:
    """Return pictures as an endless animation, there and back, of `kind` GIF or WEBP.

    Raises:
        ConfigError: another kind.
    """
    if kind not in FORMATS:
        raise ConfigError(
            wanted="a kind: " + ", ".join(FORMATS), found=repr(kind)[:40], fix="choose one of these"
        )
    there_and_back = [*pictures, *pictures[-2:0:-1]]
    buffer = io.BytesIO()
    there_and_back[0].save(
        buffer,
        format=kind,
        save_all=True,
        append_images=there_and_back[1:],
        duration=ms,
        loop=0,
        **({"quality": 90, "method": 2} if kind == "WEBP" else {}),
    )
    return buffer.getvalue()
