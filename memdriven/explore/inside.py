"""Inside one picture: v, v_global, and the gates by which the memory entered each stage.

A gate is what an affine combination module multiplies the hidden features with (its scale) or
adds to them (its shift). Both depend on the memory alone; the model has no attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from memdriven.models.layers import Gates
from memdriven.models.window import WHOLE, Window
from memdriven.pipeline.noise import apply_view
from memdriven.pipeline.output import Retrieval, to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

CHANNELS = 8
"""Channels of v that are shown one by one."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the memory's features that are shown side by side."""
LARGEST_MAP = 64
"""Maps of larger stages are averaged down to this side."""


@dataclass(frozen=True)
class Channel:
    """One of the 512 channels of v."""

    number: int
    mean: float
    """Its entry of v_global: the mean over the map."""
    map: Tensor
    """(h, w), non-negative."""


@dataclass(frozen=True)
class GateMaps:
    """How much one module's gates did at each place, averaged over channels; (s, s) each."""

    side: int
    """Of the hidden map that they gate, in px."""
    scale: Tensor
    """|scale - 1|: 0 where the hidden features pass unchanged."""
    shift: Tensor
    """|shift|: 0 where nothing is added."""


@dataclass(frozen=True)
class Inside:
    """What one picture's forward pass was made of."""

    retrieval: Retrieval
    pictures: tuple[Image.Image, ...]
    """A stage each."""
    energy: Tensor
    """Length of v's 512 numbers at each place, (h, w)."""
    channels: tuple[Channel, ...]
    """The strongest of v_global, strongest first; none without memory."""
    gates: tuple[tuple[GateMaps, ...], ...]
    """A stage each: of every map that it fuses, the image's last; none without features."""
    mirrored: bool = False
    """Whether the noise turned the memory left to right, and all maps with it."""
    window: Window = WHOLE
    """The part of the memory that the noise let it see, before it was turned."""


def look_inside(pipe: MemoryDrivenPipeline, request: Request) -> Inside:
    """Paint a request's first picture, and keep what passed through.

    Raises:
        CaptionError, RetrievalError, ConfigError: as the pipeline's call.
    """
    prepared = pipe.prepare(request)
    noise = pipe.noise(request, prepared.request.seeds[0])
    pictures, gates = [], []
    for stage in pipe.paint(prepared, noise):
        pictures.append(to_picture(stage.image))
        gates.append(tuple(gate_maps(each) for each in stage.gates))
    v = apply_view(noise, prepared.v.float().cpu())[0]
    return Inside(
        retrieval=prepared.retrieval,
        pictures=tuple(pictures),
        gates=tuple(gates),
        energy=v.norm(dim=0),
        channels=strongest(v),
        mirrored=bool(noise.mirror),
        window=noise.window,
    )


def fading(pipe: MemoryDrivenPipeline, request: Request) -> Iterator[Image.Image]:
    """Yield a picture for each of `STRENGTHS`: v times it, with the same words and noise.

    Args:
        pipe: a model trained on weakened memories (`train.p_fade` above 0).
        request: all but the strength, which is left out of account.
    """
    whole = pipe.prepare(replace(request, memory=1.0))
    for strength in STRENGTHS:
        *_, last = pipe.paint(replace(whole, v=whole.v * strength), whole.request.seeds[0])
        yield to_picture(last.image)


def strongest(v: Tensor, count: int = CHANNELS) -> tuple[Channel, ...]:
    """Return the channels of v (c, h, w) with the largest v_global, largest first."""
    means = v.mean(dim=(1, 2))
    values, numbers = means.topk(min(count, len(means)))
    return tuple(
        Channel(number, value, v[number])
        for number, value in zip(numbers.tolist(), values.tolist(), strict=True)
        if value > 0
    )


def gate_maps(gates: Gates, side: int = LARGEST_MAP) -> GateMaps:
    """Return how much gates (1, c, h, w) do at each place, at most `side` px."""
    return GateMaps(
        gates.scale.shape[-1],
        _smaller((gates.scale - 1).abs().mean(dim=1), side),
        _smaller(gates.shift.abs().mean(dim=1), side),
    )


def _smaller(map_: Tensor, side: int) -> Tensor:
    """Return a map (1, h, w) as (min(h, side), ...) on the CPU."""
    with torch.inference_mode():
        return F.adaptive_avg_pool2d(map_.float(), min(side, map_.shape[-1]))[0].cpu()
