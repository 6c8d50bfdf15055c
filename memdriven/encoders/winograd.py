"""3x3 convolution by Winograd's minimal filtering F(4x4, 3x3), for VGG on a CPU.

Lavin & Gray, "Fast Algorithms for Convolutional Networks", CVPR 2016: each 4 x 4 tile of outputs
costs 36 multiplications a channel pair in place of 144. The transforms to and from the 36
products run as two matrix products, so that the method pays where there are many channels;
torch's own CPU convolutions are direct.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 4
_INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
"""B^T of Lavin & Gray, Sec. 4.3; the next two are G (times 24) and A^T."""
_FILTER = (
    torch.tensor(
        [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
    )
    / 24
)
_OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float64
)
_INPUT_2D = torch.kron(_INPUT, _INPUT).float()  # (36, 36)
_OUTPUT_2D = torch.kron(_OUTPUT, _OUTPUT).float()  # (16, 36)


def transform_weight(weight: Tensor) -> Tensor:
    """Return G w G^T of filters (k, c, 3, 3): (36, c, k) float32."""
    return (
        torch.einsum("ia,kcab,jb->ijck", _FILTER, weight.double(), _FILTER).flatten(0, 1).float().contiguous()
    )


def convolve(x: Tensor, transformed: Tensor, bias: Tensor) -> Tensor:
    """Convolve with zero padding of 1.

    Args:
        x: (b, c, h, w) float32, h and w multiples of 4; fast when in channels_last.
        transformed: (36, c, k), from `transform_weight`.
        bias: (k,).

    Returns:
        (b, k, h, w) in channels_last, equal to `conv2d` up to rounding.
    """
    count, _, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()  # (b, h+2, w+2, c)
    down, across = height // TILE, width // TILE
    image, row, column, channel = padded.stride()
    tiles = padded.as_strided(
        (6, 6, count, down, across, padded.shape[3]), (row, column, image, TILE * row, TILE * column, channel)
    ).reshape(36, -1)  # (36, b*h/4*w/4*c)
    products = torch.bmm((_INPUT_2D @ tiles).view(36, -1, padded.shape[3]), transformed)
    out = (_OUTPUT_2D @ products.flatten(1)).view(TILE, TILE, count, down, across, -1)
    merged = out.permute(2, 3, 0, 4, 1, 5).reshape(count, height, width, -1)
    return merged.add_(bias).permute(0, 3, 1, 2)  # (b, k, h, w)
