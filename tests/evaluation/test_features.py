from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memdriven.encoders.imagenet import SqueezeNet
from memdriven.errors import CheckpointError, EvaluationError
from memdriven.evaluation import features
from memdriven.evaluation.features import (
    Extractor,
    Inception2015,
    inception_extractor,
    pillow_resize,
    pooled_maps,
)


def images(n: int = 5, side: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=generator)


class Means(nn.Module):
    """A stand-in for VGG: the image itself as maps."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


def test_pooled_maps_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BATCH", 2)
    space = pooled_maps("vgg", Means(), 24)
    wanted = images().float().mean(dim=(2, 3)) / 255
    assert torch.allclose(space(images()), wanted, atol=1e-6)
    assert "24 px" in space.name


def test_squeezenet_space(squeezenet_file: Path) -> None:
    network = SqueezeNet.load(squeezenet_file)
    assert pooled_maps("squeezenet", network, 64)(images(3)).shape == (3, 512)
    assert len(network(torch.rand(2, 3, 64, 64))) == 7


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_missing_or_foreign_squeezenet_weights(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="SqueezeNet"):
        SqueezeNet.load(path)


def test_extractor_runs_the_function_on_resized_images() -> None:
    space = Extractor(name="x", side=8, function=lambda x: x.flatten(1)[:, :4])
    assert space(images()).shape == (5, 4)


SMALL = 79
"""The networks take any side from 75 px; the real 299 would cost a test fifteen times the time."""


@pytest.fixture(autouse=True)
def small_side(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    assert features.SIDE == FeatureExtractorInceptionV3.INPUT_IMAGE_SIZE == 299
    monkeypatch.setattr(features, "SIDE", SMALL)
    monkeypatch.setattr(FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", SMALL)


def pixels(n: int = 1, side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def network_2015(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """torch-fidelity's network with weights drawn at random, and their file."""
    from torch_fidelity import feature_extractor_inceptionv3 as library

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(library, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
        network = library.FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"])
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path, network


def test_form_a_is_the_librarys_own_network(network_2015: tuple[Path, nn.Module]) -> None:
    path, network = network_2015
    pooled, logits = network(pixels())
    space = inception_extractor("a", path, 32)
    assert torch.allclose(space(pixels()), pooled, rtol=1e-4, atol=1e-5)
    scores = inception_extractor("a", path, 32, logits=True)
    found = scores(pixels())
    assert found.shape == (1, 1008)
    assert torch.allclose(found, logits, rtol=1e-4, atol=1e-4)
    assert "form (a)" in space.name
    assert space.name != scores.name


def test_form_c_differs_from_a_in_the_resize_alone(network_2015: tuple[Path, nn.Module]) -> None:
    path, _ = network_2015
    a, c = inception_extractor("a", path, 32), inception_extractor("c", path, 32)
    assert not torch.allclose(a(pixels()), c(pixels()), rtol=1e-3)
    exact = pixels(side=SMALL)
    assert torch.allclose(a(exact), c(exact), atol=1e-4), "nothing to resize: the same input"


def test_class_scores_leave_the_bias_out() -> None:
    layers = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Linear(3, 4))
    x = torch.rand(2, 3, 32, 32)
    pooled = Inception2015(layers, antialiased=True, logits=False)(x)
    assert pooled.shape == (2, 3)
    assert torch.allclose(pooled, (x * 255 - 128).mean(dim=(2, 3)) / 128, atol=0.02)
    scores = Inception2015(layers, antialiased=True, logits=True)(x)
    assert torch.allclose(scores, layers[1](pooled) - layers[1].bias, atol=1e-6)


def test_form_b_scales_pixels_as_the_family_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels in [0, 1] times std / 0.5 plus (mean - 0.5) / 0.5, then torchvision's layers."""
    from torchvision.models import inception as library
    from torchvision.models import inception_v3

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = inception_v3(weights=None, aux_logits=True, init_weights=False)
    path = tmp_path / "inception.pth"
    torch.save(network.state_dict(), path)
    seen: list[Tensor] = []
    forward = library.Inception3._forward
    monkeypatch.setattr(library.Inception3, "_forward", lambda self, x: (seen.append(x), forward(self, x))[1])
    space = inception_extractor("b", path, 64)
    pictures = pixels(side=SMALL)
    assert space(pictures).shape == (1, 2048)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    assert torch.allclose(seen[0], pictures / 255 * std / 0.5 + (mean - 0.5) / 0.5, atol=1e-6)
    assert space.side == SMALL, "other images are resized to it"


@pytest.mark.parametrize("form", ["a", "b", "c"])
def test_a_form_without_its_weights_says_so(
    tmp_path: Path, form: features.Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to the host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(EvaluationError, match=f"form \\({form}\\).*no route to the host"):
        inception_extractor(form, None, 64)
    absent = tmp_path / "absent.pth"
    with pytest.raises(EvaluationError, match="no such file"):
        inception_extractor(form, absent, 64)
    foreign = tmp_path / "foreign.pth"
    foreign.write_bytes(b"nonsense")
    with pytest.raises(EvaluationError, match=f"form \\({form}\\)"):
        inception_extractor(form, foreign, 64)


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "weights.pth"
    torch.save({"fc.bias": Trap()}, path)
    with pytest.raises(EvaluationError):
        inception_extractor("a", path, 64)
    assert not (tmp_path / "ran").exists()


def test_without_torch_fidelity_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    torch.save({}, path)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(EvaluationError, match=r"memdriven\[evaluation\]"):
        inception_extractor("c", path, 64)


def test_pillow_resize_keeps_flat_colours_and_fractions_and_shrinks_smoothly() -> None:
    flat = torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)
    assert torch.allclose(pillow_resize(flat, 5), torch.tensor(77.0))
    ramp = torch.arange(16, dtype=torch.uint8).view(1, 1, 1, 16).expand(1, 3, 16, 16)
    assert not np.allclose(pillow_resize(ramp, 5) % 1, 0), "fractions are kept"
    stripes = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    stripes[..., ::2] = 255
    inner = pillow_resize(stripes, 8)[..., 1:-1, 1:-1]
    assert abs(float(inner.mean()) - 127.5) < 3
    assert float(inner.std()) < 12, "antialiased: no stripe is picked alone"
    assert float(pillow_resize(stripes, 200).max()) <= 255
