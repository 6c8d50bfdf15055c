"""Inside one picture: every tensor of Fig. 2, from the caption to the picture, and what hiding v changes.

A gate is what an affine combination module (ACM) multiplies the hidden features with, W(v), or adds to
them, b(v). Both depend on the memory alone. How far W(v) is from W(0) says where the memory entered; what
the memory did is seen only by hiding a part of v and painting again.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F

from memdriven.explore.compare import cosines, difference, painted
from memdriven.models.layers import AffineCombination, Gates
from memdriven.models.noise import WHOLE, Noise, View, apply_view
from memdriven.pipeline.output import Prepared, to_picture
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

CHANNELS = 6
"""Hidden channels of an ACM that are shown one by one."""
LARGEST_MAP = 64
"""Maps of larger stages are averaged down to this side."""
PLACES = 16
"""Side of v's grid: a place of the picture is one cell of it."""
BLOCKS = 4
"""Side of the coarser grid whose cells are hidden one by one."""


@dataclass(frozen=True)
class Fusion:
    """One ACM: h' = h * W(v) + b(v)."""

    stage: int
    side: int
    """Of its map, in px."""
    channels: tuple[int, ...]
    """The `CHANNELS` whose W the memory moves most."""
    hidden: Tensor
    scale: Tensor
    shift: Tensor
    """h, W and b of those channels at the middle of each place, (channels, 16, 16)."""
    moved: Tensor
    """|W(v) - W(0)|, the mean over all channels, (s, s) with s at most `LARGEST_MAP`."""


@dataclass(frozen=True, eq=False)
class Inside:
    """What one picture's forward pass was made of."""

    prepared: Prepared
    noise: Noise
    words: tuple[tuple[str, Tensor], ...]
    """The words that the encoder read, each with its embedding e_t (d,)."""
    sentence: Tensor
    """s (d,), not guided."""
    cosines: Tensor
    """Of s with each item's best caption, (n,)."""
    v: Tensor
    """As the picture saw it, in its window and mirrored: (512, 16, 16)."""
    pictures: tuple[Image.Image, ...]
    """A stage each."""
    fusions: tuple[Fusion, ...]
    """In the order in which the picture passes them; none where the model uses no features."""
    hidden: tuple[Image.Image, ...] = ()
    """The picture without each of 4 x 4 parts of v, row by row (`hide`)."""

    @property
    def most_moved(self) -> float | None:
        """What fills the scale of all maps of W; None where the memory moved none."""
        return max(float(each.moved.max()) for each in self.fusions) or None

    @cached_property
    def gone(self) -> list[Tensor]:
        """Where hiding each part changed the picture, (h, w) in 0..1, at most `LARGEST_MAP` px."""
        return [_smaller(difference(self.pictures[-1], each)[None]) for each in self.hidden]

    @property
    def effects(self) -> Tensor:
        """How much hiding each part changed the picture on average, (4, 4); 0 where none was hidden."""
        gaps = [gap.mean() for gap in self.gone]
        return torch.stack(gaps).view(BLOCKS, BLOCKS) if gaps else torch.zeros(BLOCKS, BLOCKS)


def look_inside(pipe: MemoryDrivenPipeline, request: Request) -> Inside:
    """Paint a request's first picture, and keep what passed through it."""
    prepared = pipe.prepare(request)
    noise = pipe.noise(request, prepared.request.seeds[0])
    query = pipe.retriever.query(request.caption)
    pictures, met = _paint(pipe, prepared, noise)
    nothing = replace(prepared, v=torch.zeros_like(prepared.v))
    empty = [gates for stage in pipe.paint(nothing, noise) for gates in stage.gates]
    return Inside(
        prepared=prepared,
        noise=noise,
        words=tuple(zip(query.words, query.known_words.cpu(), strict=False)),
        sentence=query.text.sentence[0].float().cpu(),
        cosines=cosines(pipe, request.caption),
        v=apply_view(prepared.v.float().cpu(), noise.view)[0],
        pictures=tuple(pictures),
        fusions=tuple(_fusion(*each, without) for each, without in zip(met, empty, strict=True)),
    )


def hide(pipe: MemoryDrivenPipeline, seen: Inside) -> Inside:
    """Return the same with `hidden`: painted again with each part of v set to 0."""
    step, parts = PLACES // BLOCKS, list[Image.Image]()
    plain = Noise(seen.noise.z, seen.noise.epsilon)  # v is as the picture saw it already
    for place in range(BLOCKS**2):
        y, x = (step * part for part in divmod(place, BLOCKS))
        v = seen.v.clone()
        v[:, y : y + step, x : x + step] = 0
        parts.append(painted(pipe, replace(seen.prepared, v=v[None].to(seen.prepared.v)), plain))
    return replace(seen, hidden=tuple(parts))


def viewed(image: Image.Image, view: View) -> Image.Image:
    """Return a reference's image as its features are seen: in the window, then mirrored."""
    if view.window != WHOLE:
        x, y, side = (share * image.width for share in view.window)
        image = image.resize(image.size, Image.Resampling.BICUBIC, (x, y, x + side, y + side))
    return ImageOps.mirror(image) if view.mirrored else image


def reference(seen: Inside) -> Image.Image:
    """Return the first reference's image as the noise lets it be seen; grey where there is none."""
    if not len(seen.prepared.retrieval):
        return Image.new("RGB", (64, 64), (128, 128, 128))
    return viewed(seen.prepared.retrieval[0].image, seen.noise.view)


def _paint(
    pipe: MemoryDrivenPipeline, prepared: Prepared, noise: Noise
) -> tuple[list[Image.Image], list[tuple[int, Tensor, Gates]]]:
    """Paint; write down of each ACM that is passed its stage, h (1, c, s, s) and the gates that met it."""
    pictures: list[Image.Image] = []
    met: list[tuple[int, Tensor, Gates]] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: tuple[Tensor, Gates]) -> None:
        met.append((len(pictures), inputs[0], output[1]))

    with pipe.turn, ExitStack() as hooks:  # nobody else paints meanwhile
        for module in pipe.checkpoint.generator.modules():
            if isinstance(module, AffineCombination):
                hooks.callback(module.register_forward_hook(keep).remove)
        for stage in pipe.paint(prepared, noise):
            pictures.append(to_picture(stage.image))
    return pictures, met


@torch.inference_mode()
def _fusion(stage: int, hidden: Tensor, gates: Gates, without: Gates) -> Fusion:
    moved = (gates.scale - without.scale).float().abs()  # (1, c, s, s)
    chosen = moved.mean(dim=(0, 2, 3)).topk(min(CHANNELS, moved.shape[1])).indices
    side = hidden.shape[-1]
    middle = (torch.arange(PLACES) * side + side // 2) // PLACES

    def at_places(maps: Tensor) -> Tensor:
        return maps[0, chosen][:, middle][:, :, middle].float().cpu()

    return Fusion(
        stage=stage,
        side=side,
        channels=tuple(chosen.tolist()),
        hidden=at_places(hidden),
        scale=at_places(gates.scale),
        shift=at_places(gates.shift),
        moved=_smaller(moved.mean(dim=1)),
    )


@torch.inference_mode()
def _smaller(map_: Tensor) -> Tensor:
    """Return a map (1, h, w) as (min(h, `LARGEST_MAP`), ...) on the CPU."""
    return F.adaptive_avg_pool2d(map_.float(), min(LARGEST_MAP, map_.shape[-1]))[0].cpu()
