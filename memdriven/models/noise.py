"""Everything random in a picture: z, epsilon, and the view of the memory [ours]."""

import math
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.models.generator import Generator

Window = tuple[float, float, float]
"""Left, top and side of a square, as shares of the whole."""
WHOLE: Window = (0.0, 0.0, 1.0)


class View(NamedTuple):
    """What a picture sees of its memory: a square of it, enlarged, then perhaps mirrored.

    The views of a batch are the rows of a tensor (b, 4).
    """

    left: float = 0.0
    top: float = 0.0
    side: float = 1.0
    mirrored: float = 0.0
    """0 or 1, in between only on the way from one to the other."""

    @property
    def window(self) -> Window:
        """The square."""
        return self[:3]


class Noise(NamedTuple):
    """What a seed draws: z, epsilon, and how the memory is seen."""

    z: Tensor
    """(1, z_dim)"""
    epsilon: Tensor
    """Of the conditioning augmentation, (1, condition_dim)."""
    view: View = View()


def draw_noise(
    seed: int,
    generator: Generator,
    variations: Iterable[tuple[int, float]] = (),
    mirror: bool | None = None,
    window: Window | None = None,
) -> Noise:
    """Return a picture's noise, drawn on the CPU.

    Args:
        seed: of all that is drawn.
        generator: says which of them it was trained with, and its sizes.
        variations: each turns z towards the z of its own seed, by a strength in 0..1; the rest stays.
        mirror: replaces what the seed draws.
        window: replaces what the seed draws.
    """
    source = torch.Generator("cpu").manual_seed(seed)
    device = next(generator.parameters()).device
    z = torch.randn(1, generator.config.z_dim, generator=source)
    epsilon = torch.randn(1, generator.config.condition_dim, generator=source)
    if mirror is None:
        # A drawn number's lowest bit: its highest ones are much alike for seeds that are neighbours.
        mirror = generator.config.mirror and bool(torch.randint(2, (), generator=source))
    if window is None:
        window = WHOLE
        if generator.config.zoom:
            # The first numbers of neighbouring small seeds are alike: a hash tells them apart.
            source.manual_seed(int.from_bytes(sha256(f"window {seed}".encode()).digest()[:7]))
            x, y, side = draw_windows(1, generator.config.zoom, source)[0].tolist()
            window = (x, y, side)
    for other_seed, strength in variations:
        source.manual_seed(other_seed)
        other = torch.randn(1, generator.config.z_dim, generator=source)
        angle = strength * math.pi / 2
        z = math.cos(angle) * z + math.sin(angle) * other
    return Noise(z.to(device), epsilon.to(device), View(*window, float(mirror)))


def draw_windows(count: int, zoom: float, generator: torch.Generator) -> Tensor:
    """Return squares (count, 3): left, top and side as shares of the whole, all within it.

    The smallest side is 1 - zoom; `generator` is a CPU generator.
    """
    draws = torch.rand(count, 3, generator=generator)
    side = 1 - zoom * draws[:, 2]
    return torch.stack([draws[:, 0] * (1 - side), draws[:, 1] * (1 - side), side], dim=1)


def apply_view(v: Tensor, view: View | Tensor) -> Tensor:
    """Return feature maps (b, c, h, w) as they are seen, bilinearly, of the same shape.

    relu5_3 of a part of an image is nearly that part of the image's relu5_3. `view` is one for all maps,
    or a row for each (b, 4) on the CPU.
    """
    views = view if isinstance(view, Tensor) else torch.tensor([view])
    x, y, side, mirrored = views.to(v.device, v.dtype, non_blocking=True).expand(len(v), 4).unbind(1)
    if (views[:, :3] != torch.tensor(WHOLE)).any():
        theta = v.new_zeros(len(v), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = side
        theta[:, 0, 2], theta[:, 1, 2] = 2 * x + side - 1, 2 * y + side - 1
        grid = F.affine_grid(theta, list(v.shape), align_corners=False)
        v = F.grid_sample(v, grid, padding_mode="border", align_corners=False)
    return v.lerp(v.flip(-1), mirrored[:, None, None, None]) if views[:, 3].any() else v


def cut_images(images: Tensor, views: Tensor, size: int) -> Tensor:
    """Return stored pictures (b, 3, s, s) uint8 as their views (b, 4) show them, (b, 3, size, size)."""
    from torchvision.transforms.functional import resize

    places = (images.shape[-1] * views[:, :3].double()).round().int()  # left, top, side in px
    parts: dict[int, Tensor] = {}
    for side in {*places[:, 2].tolist()}:  # squares of one side are made smaller at once
        rows = (places[:, 2] == side).nonzero()[:, 0].tolist()
        corners = places[rows, :2].tolist()
        squares = [images[i, :, y : y + side, x : x + side] for i, (x, y) in zip(rows, corners)]
        parts |= zip(rows, resize(torch.stack(squares), [size] * 2, antialias=True))
    shown = zip((parts[row] for row in range(len(images))), views[:, 3])
    return torch.stack([part.flip(-1) if turned else part for part, turned in shown])
