"""From one picture to another: each of z, view, memory and words moves, or stays as it was."""

import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from memdriven.errors import ConfigError, require
from memdriven.explore.compare import painted
from memdriven.models.noise import Noise, View
from memdriven.pipeline.guidance import TextCondition
from memdriven.pipeline.output import Prepared
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

PARTS = ("words", "memory", "z", "view")
"""What can move; `view` is the rest of the noise: epsilon, mirror and window."""
MAX_FRAMES = 33


End = tuple[Prepared, Noise]
"""All that one picture is made of."""


def slerp(start: Tensor, end: Tensor, t: float) -> Tensor:
    """Return the point at t in 0..1 on the arc between two vectors (1, d).

    Normal noise in many dimensions has nearly one length; a straight line would cut through the
    empty middle (K. Shoemake's spherical interpolation).
    """
    cosine = F.cosine_similarity(start.double(), end.double(), dim=-1)
    angle = cosine.clamp(-1, 1).arccos()[..., None]
    if t in (0.0, 1.0) or bool((angle.sin() < 1e-6).any()):
        return torch.lerp(start, end, t)
    parts = torch.sin((1 - t) * angle) * start.double() + torch.sin(t * angle) * end.double()
    return (parts / angle.sin()).to(start.dtype)


def between(start: End, end: End, moving: Collection[str], t: float) -> End:
    """Return what is at t: slerp of z and epsilon, lerp of the view, of v and of the text."""
    (prepared, noise), (other, there) = start, end
    here, text = noise, prepared.text
    if "z" in moving:
        noise = noise._replace(z=slerp(here.z, there.z, t))
    if "view" in moving:
        view = View(*((1 - t) * a + t * b for a, b in zip(here.view, there.view, strict=True)))
        noise = noise._replace(epsilon=slerp(here.epsilon, there.epsilon, t), view=view)
    if "words" in moving:
        text = TextCondition(*(a.lerp(b, t) for a, b in zip(text, other.text, strict=True)))
    v = prepared.v.lerp(other.v, t) if "memory" in moving else prepared.v
    return replace(prepared, text=text, v=v), noise


def frames(
    pipe: MemoryDrivenPipeline, start: Request, end: Request, moving: Collection[str], count: int
) -> Iterator[Image.Image]:
    """Yield `count` pictures, two or more, both ends included: each request's first."""
    wanted, found = "something that moves: " + ", ".join(PARTS), ", ".join(map(str, moving))[:80] or "nothing"
    require(moving and set(moving) <= set(PARTS), ConfigError, wanted, found, "choose one or more")
    ends = ((pipe.prepare(each), each) for each in (start, end))
    first, last = [(each, pipe.noise(asked, each.request.seeds[0])) for each, asked in ends]
    for place in range(count):
        yield painted(pipe, *between(first, last, moving, place / (count - 1)))


def animation(pictures: Sequence[Image.Image], kind: str, ms: int = 90) -> bytes:
    """Return pictures as an endless animation, there and back: a GIF or a WEBP."""
    first, *rest = [*pictures, *pictures[-2:0:-1]]
    buffer = io.BytesIO()
    quality = {"quality": 90, "method": 2} if kind == "WEBP" else {}
    first.save(buffer, format=kind, save_all=True, append_images=rest, duration=ms, loop=0, **quality)
    return buffer.getvalue()
