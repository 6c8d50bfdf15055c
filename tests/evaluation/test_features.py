from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from memdriven.encoders.squeezenet import SqueezeNet
from memdriven.errors import CheckpointError
from memdriven.evaluation import features
from memdriven.evaluation.features import Extractor, vgg_extractor
from memdriven.evaluation.squeezenet import perceptual_distances, squeezenet_extractor


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


def test_parts_that_were_made_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "SHARD", 2)
    network = Means()
    space = vgg_extractor(network, side=24)
    wanted = space(images())
    network.calls = 0

    class Stop(Means):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().forward(x)

    stopping = Stop()
    with pytest.raises(KeyboardInterrupt):
        vgg_extractor(stopping, side=24).cached(images(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert torch.equal(space.cached(images(), tmp_path), wanted)
    assert network.calls == 1, "only the third part was left"


def test_squeezenet_knows_both_input_scalings(tmp_path: Path, squeezenet_file: Path) -> None:
    network = SqueezeNet.load(squeezenet_file)
    mean, factor = network.mean, network.factor
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
    assert float(again.factor.max()) == 255
    x = torch.rand(2, 3, 64, 64)
    inner = ([m[:, :, 1:-1, 1:-1] for m in network(x)[:1]], [m[:, :, 1:-1, 1:-1] for m in again(x)[:1]])
    assert torch.allclose(inner[0][0], inner[1][0], atol=1e-3)


def test_squeezenet_space_and_distance(squeezenet_file: Path) -> None:
    network = SqueezeNet.load(squeezenet_file)
    found = squeezenet_extractor(network, side=64)(images(3))
    assert found.shape == (3, 512)
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
    with pytest.raises(CheckpointError, match="SqueezeNet"):
        SqueezeNet.load(path)


def test_extractor_runs_the_function_on_resized_images() -> None:
    space = Extractor(name="x", identity="y", side=8, function=lambda x: x.flatten(1)[:, :4])
    assert space(images()).shape == (5, 4)
