from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from memdriven.errors import EvaluationError
from memdriven.evaluation.features import Extractor, vgg_extractor
from memdriven.evaluation.inception import (
    FidelityInception,
    TorchvisionInception,
    inception_extractor,
    pillow_resize,
)
from memdriven.evaluation.squeezenet import (
    SqueezeNet,
    perceptual_distances,
    squeezenet_extractor,
)


def images(n: int = 5, side: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=generator)


class Means(nn.Module):
    """A stand-in for VGG: the image itself as maps."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * self.scale


def test_pooled_maps_do_not_depend_on_the_batch() -> None:
    space = vgg_extractor(Means(), side=24)
    wanted = images().float().mean(dim=(2, 3)) / 255
    assert torch.allclose(space(images(), batch=2), wanted, atol=1e-6)
    assert "24 px" in space.name


def test_cache_is_by_pixels_and_by_space(tmp_path: Path) -> None:
    network = Means()
    space = vgg_extractor(network, side=16)
    first = space.cached(images(), tmp_path)
    assert torch.equal(space.cached(images(), tmp_path), first)
    assert network.calls == 1
    space.cached(images(4), tmp_path)
    vgg_extractor(network, side=20).cached(images(), tmp_path)
    assert network.calls == 3
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:20])
    assert torch.equal(space.cached(images(), tmp_path), first), "a damaged cache is made anew"
    assert torch.equal(space.cached(images(), None), first)


def test_squeezenet_knows_both_input_scalings(tmp_path: Path, squeezenet_file: Path) -> None:
    network = SqueezeNet.load(squeezenet_file)
    mean, factor = network.scaling
    assert torch.allclose(mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    caffe = SqueezeNet.load(squeezenet_file)
    # The same network for 0..255 input: the first layer shrinks by the ratio of the factors.
    weight = caffe.features[0].weight
    bias = caffe.features[0].bias
    caffe_mean = torch.tensor([123, 117, 104]).view(1, 3, 1, 1) / 255
    with torch.no_grad():
        bias += ((caffe_mean - mean) * factor * weight).sum(dim=(1, 2, 3))
        weight *= factor / 255
    path = tmp_path / "caffe.safetensors"
    save_file(caffe.state_dict(), path)
    again = SqueezeNet.load(path)
    assert float(again.scaling[1].max()) == 255
    x = torch.rand(2, 3, 64, 64)
    inner = (
        [m[:, :, 1:-1, 1:-1] for m in network(x)[:1]],
        [m[:, :, 1:-1, 1:-1] for m in again(x)[:1]],
    )
    assert torch.allclose(inner[0][0], inner[1][0], atol=1e-3)


def test_squeezenet_space_and_distance(squeezenet_file: Path) -> None:
    network = SqueezeNet.load(squeezenet_file)
    features = squeezenet_extractor(network, side=64)(images(3))
    assert features.shape == (3, 512)
    maps = network(torch.rand(2, 3, 64, 64))
    assert len(maps) == 7
    assert perceptual_distances(maps, maps).tolist() == [0, 0]
    flipped = [m.flip(0) for m in maps]
    there, back = perceptual_distances(maps, flipped), perceptual_distances(flipped, maps)
    assert torch.allclose(there, back)
    assert bool((there > 0).all())


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_missing_or_foreign_squeezenet_weights(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvaluationError, match="SqueezeNet"):
        SqueezeNet.load(path)


@pytest.mark.parametrize("form", ["a", "b", "c"])
def test_inception_forms_need_their_own_weights(tmp_path: Path, form: str) -> None:
    with pytest.raises(EvaluationError, match=f"form \\({form}\\)"):
        inception_extractor(form, None, 64)  # type: ignore[arg-type]
    path = tmp_path / "weights.pth"
    path.write_bytes(b"nonsense")
    with pytest.raises(EvaluationError, match=f"form \\({form}\\)"):
        inception_extractor(form, path, 64)  # type: ignore[arg-type]


def test_inception_inputs_by_form() -> None:
    seen = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x.float().mean(dim=(2, 3))

    pictures = torch.rand(2, 3, 32, 32)
    TorchvisionInception(Spy())(pictures)
    assert seen[0].shape == (2, 3, 299, 299)
    assert seen[0].min() >= -1
    FidelityInception(Spy(), antialiased=False)(pictures)
    assert seen[1].shape == (2, 3, 32, 32)
    assert seen[1].dtype == torch.uint8
    FidelityInception(Spy(), antialiased=True)(pictures)
    assert seen[2].shape == (2, 3, 299, 299)
    assert seen[2].dtype == torch.uint8


def test_pillow_resize_keeps_flat_colours_and_shrinks_smoothly() -> None:
    flat = torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)
    assert pillow_resize(flat, 5).unique().tolist() == [77]
    stripes = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    stripes[..., ::2] = 255
    inner = pillow_resize(stripes, 8)[..., 1:-1, 1:-1].float()
    assert abs(float(inner.mean()) - 127.5) < 3
    assert float(inner.std()) < 12, "antialiased: no stripe is picked alone"


def test_extractor_runs_the_function_on_resized_images() -> None:
    space = Extractor(name="x", identity="y", side=8, function=lambda x: x.flatten(1)[:, :4])
    assert space(images()).shape == (5, 4)
