"""VGG-16 in coarse levels: the file by which images are read where torchvision's 528 MB are not at hand.

    python -m benchmarks.coarse_vgg data/aviary data/coco data/cub data/flowers --vgg FILE \
        --out memdriven/encoders/vgg16.safetensors.xz

Layer after layer, least squares fit weights that give of the coarse layers' outputs what the exact layer
gives of the exact ones'. They are rounded to int8 levels of one scale a row, input after input, and inputs
that are not rounded yet make up for what rounding loses (GPTQ, Frantar et al. 2022). LZMA does the rest. It
is calibrated on pictures of the training splits; the last lines say how it reads those of the test splits.
"""

from __future__ import annotations

import argparse
import lzma
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.data.images import centre_square, to_tensor
from memdriven.data.prepared import PreparedDataset
from memdriven.encoders.imagenet import Vgg16Features
from memdriven.encoders.weights import SCALE, SCALE_STEPS

STEPS = (0.03, 0.08, 0.15, 0.15, *[0.7] * 3, *[0.8] * 3, *[0.9] * 3)
"""Between two levels of each layer, in root mean squares of a row's weights."""
PLACES, RATIO = 256, 12
"""Of a picture's map, at least so many places are looked at, and in all so many for each input of a place."""
CODEC = {"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 0, "pb": 0}
"""Levels are noise to LZMA: contexts would cost more than they bring."""


def main() -> None:
    """Write the file and print how alike both networks read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("datasets", type=Path, nargs="+")
    parser.add_argument("--vgg", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=int, default=160, help="pictures to calibrate on, in all")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    exact, data = Vgg16Features.load(chosen.vgg), [PreparedDataset.open(path) for path in chosen.datasets]
    levels = quantised(exact, torch.cat([some(each, "train", chosen.n // len(data)) for each in data]))
    chosen.out.write_bytes(lzma.compress(save(levels), lzma.FORMAT_XZ, filters=[CODEC]))
    print(f"{chosen.out}: {chosen.out.stat().st_size:,} bytes")
    coarse = Vgg16Features.load(chosen.out)
    for each in data:
        pictures = some(each, "test", 32)
        with torch.inference_mode():
            alike = [
                F.cosine_similarity(exact(x).flatten(1), coarse(x).flatten(1)) for x in pictures.split(8)
            ]
        print(
            f"{each.name}: mean cosine of relu5_3 on {len(pictures)} pictures {torch.cat(alike).mean():.4f}"
        )


def some(data: PreparedDataset, split: str, count: int) -> Tensor:
    """Return pictures of a split, evenly spread over it, as (count, 3, 256, 256) in [0, 1]."""
    items = data.split(split)
    chosen = [items[place * len(items) // count] for place in range(count)]
    return torch.stack([to_tensor(centre_square(data.load_image(item), 256)) for item in chosen])


@torch.inference_mode()
def quantised(exact: Vgg16Features, pictures: Tensor) -> dict[str, Tensor]:
    """Return VGG-16 as `weights.pack` would lay it out: int8 levels, a scale each row, float16 biases."""
    made = dict[str, Tensor]()
    wanted = ((pictures - exact.mean) * 255).contiguous(memory_format=torch.channels_last)
    found, steps = wanted, iter(STEPS)
    for place, layer in enumerate(tqdm(exact.features, desc="layers")):
        outputs = torch.cat([layer(part) for part in wanted.split(8)])
        if isinstance(layer, nn.Conv2d):
            levels, scale, bias = quantised_layer(layer, found, outputs, next(steps))
            key = f"features.{place}"
            made |= {f"{key}.weight": levels, f"{key}.weight{SCALE}": scale, f"{key}.bias": bias.half()}
            layer = coarse_layer(levels, scale, bias)
        found = torch.cat([layer(part) for part in found.split(8)])
        wanted = outputs
    return made


def quantised_layer(layer: nn.Conv2d, inputs: Tensor, wanted: Tensor, step: float) -> tuple[Tensor, ...]:
    """Return levels (o, c, 3, 3), scales (o, 1) and biases (o,) with which `inputs` give nearly `wanted`."""
    weight, bias = layer.weight.flatten(1), layer.bias
    size = weight.shape[1]
    square, cross = torch.zeros(size + 1, size + 1).double(), torch.zeros(size + 1, len(weight)).double()
    for x, y in patches(inputs, wanted, size):
        with_one = F.pad(x, (0, 1), value=1.0)  # sums and means come along
        square += with_one.T @ with_one
        cross += with_one.T @ (y - x @ weight.T - bias)
    square, cross = square / square[-1, -1], cross / square[-1, -1]
    mean, missed = square[-1, :-1], cross[-1]
    square, cross = square[:-1, :-1] - mean[:, None] * mean, cross[:-1] - mean[:, None] * missed
    ridge = square.diagonal().mean() * torch.eye(len(square), dtype=torch.float64)
    fitted = weight.double() + torch.linalg.solve(square + 0.05 * ridge, cross).T
    least = torch.maximum(
        step * fitted.square().mean(1, keepdim=True).sqrt(), fitted.abs().amax(1, keepdim=True) / 127
    )
    share, power = torch.frexp(least)
    scale = torch.ldexp((share * SCALE_STEPS).ceil() / SCALE_STEPS, power)
    levels = rounded(fitted, scale, square + 0.01 * ridge)
    bias = bias + missed + (weight.double() - levels * scale) @ mean
    return levels.to(torch.int8).view_as(layer.weight), scale.float(), bias.float()


def patches(inputs: Tensor, wanted: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what a 3 x 3 layer sees at some places (n, 9 c) and what it should say there (n, o)."""
    places = wanted.shape[2] * wanted.shape[3]
    some = min(places, max(PLACES, RATIO * size // len(inputs)))
    for x, y in zip(inputs.split(8), wanted.split(8), strict=True):
        chosen = torch.randperm(places)[:some]
        rows = (F.unfold(x, 3, padding=1), y.flatten(2))
        sees, says = (row[:, :, chosen].transpose(1, 2).flatten(0, 1) for row in rows)
        yield sees, says


def rounded(weights: Tensor, scale: Tensor, square: Tensor) -> Tensor:
    """Return weights (o, n) in whole multiples of `scale` (o, 1) whose products with the inputs stay near.

    `square` (n, n) is the inputs' covariance. Inputs that vary most are rounded first, 128 at a time.
    """
    order = square.diagonal().argsort(descending=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(square[order][:, order]))
    factor, left = torch.linalg.cholesky(inverse, upper=True), weights[:, order].clone()
    levels = torch.zeros_like(left)
    for start in range(0, left.shape[1], 128):
        part = slice(start, start + 128)
        block, carry = left[:, part], factor[part, part]
        missed = torch.zeros_like(block)
        for i in range(block.shape[1]):
            levels[:, start + i] = (block[:, i] / scale[:, 0]).round().clamp(-127, 127)
            missed[:, i] = (block[:, i] - levels[:, start + i] * scale[:, 0]) / carry[i, i]
            block[:, i:] -= missed[:, i : i + 1] * carry[i, i:]
        left[:, start + 128 :] -= missed @ factor[part, start + 128 :]
    return levels[:, order.argsort()]


def coarse_layer(levels: Tensor, scale: Tensor, bias: Tensor) -> nn.Conv2d:
    """Return the layer of some levels, as the file will give it."""
    layer = nn.Conv2d(levels.shape[1], levels.shape[0], 3, padding=1)
    layer.weight.copy_((levels.flatten(1) * scale).view_as(levels).half())
    layer.bias.copy_(bias.half())
    return layer.to(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
