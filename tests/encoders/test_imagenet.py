from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from memdriven.data.images import to_tensor
from memdriven.encoders import imagenet
from memdriven.encoders.imagenet import COARSE, EXACT, Vgg16Features
from memdriven.errors import CheckpointError
from memdriven.memory.bank import MemoryBank

SHARED = Path(__file__).parents[2] / ".." / "shared" / "weights" / "vgg16_features_fp16.safetensors"


@pytest.fixture(scope="module", autouse=True)
def _no_first_weights() -> Iterator[None]:
    """Draw no weights that others replace: of each network it would take as long as loading them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.init, "kaiming_uniform_", lambda tensor, *_, **__: tensor)
        yield


@cache
def _random_state(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, value in Vgg16Features().state_dict().items():
        scale = (2 / max(value[0].numel(), 1)) ** 0.5 if value.ndim > 1 else 0.01
        state[key] = torch.randn(value.shape, generator=generator) * scale
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    save_file({key: value.half() for key, value in _random_state().items()}, path)
    return path


def test_the_layers_are_torchvisions_first_thirty(weights: Path) -> None:
    from torchvision.models import vgg16

    reference = vgg16(weights=None, init_weights=False).features[:30].eval()
    state = {key.removeprefix("features."): v for key, v in _random_state().items()}
    reference.load_state_dict({key: value.half().float() for key, value in state.items()})
    ours = Vgg16Features.load(weights)
    assert [str(layer) for layer in ours.features] == [str(layer) for layer in reference]
    images = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    mean = torch.tensor([0.48235, 0.45882, 0.40784])[:, None, None]
    with torch.no_grad():
        wanted = reference((images - mean) * 255)
        found = ours(images)
    assert found.shape == (2, 512, 4, 3)
    assert float(found.min()) == 0
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.max()))


def test_gradients_reach_the_pixels_but_no_weight(weights: Path) -> None:
    network = Vgg16Features.load(weights)
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    with_gradient = network(images)
    with_gradient.sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().min()) > 0
    assert all(parameter.grad is None for parameter in network.parameters())
    with torch.no_grad():
        assert torch.allclose(with_gradient, network(images), rtol=1e-3, atol=1e-2)
    assert not network.train().training


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 60, 64)])
def test_other_shapes_are_refused(weights: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="16i"):
        Vgg16Features.load(weights)(torch.rand(shape))


def test_the_hash_names_the_float16_weights(tmp_path: Path, weights: Path) -> None:
    half = Vgg16Features.load(weights)
    torch.save(_random_state() | {"classifier.0.bias": torch.zeros(3)}, tmp_path / "full.pth")
    full = Vgg16Features.load(tmp_path / "full.pth")
    assert half.hash == full.hash
    assert len(half.hash) == 16
    other = Vgg16Features()
    other.load_torchvision(_random_state(seed=1), "other")
    assert other.hash != half.hash


def test_the_environment_may_name_the_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(Vgg16Features.VARIABLE, str(weights))
    assert Vgg16Features.load().hash == Vgg16Features.load(weights).hash


def test_weights_for_classification_are_refused() -> None:
    """They have the same shapes, and were made for pixels of another scale."""
    head = {"classifier.6.weight": torch.zeros(10, 4)}
    with pytest.raises(CheckpointError, match="IMAGENET1K_V1"):
        Vgg16Features().load_torchvision(_random_state() | head, "x")
    nothing = {key: torch.full_like(value, torch.nan) for key, value in head.items()}
    Vgg16Features().load_torchvision(_random_state() | nothing, "x")


def test_unusable_weights_are_refused(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        Vgg16Features.load(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:1_000_000])
    with pytest.raises(CheckpointError, match="damaged"):
        Vgg16Features.load(cut)
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(CheckpointError, match="damaged"):
        Vgg16Features.load(tmp_path / "text.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="list"):
        Vgg16Features.load(tmp_path / "list.pth")
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="26 missing"):
        Vgg16Features.load(tmp_path / "foreign.safetensors")
    state = _random_state()
    with pytest.raises(CheckpointError, match="shape"):
        Vgg16Features().load_torchvision(state | {"features.0.bias": torch.zeros(3)}, "x")
    with pytest.raises(CheckpointError, match="NaN"):
        Vgg16Features().load_torchvision(state | {"features.0.bias": torch.full((64,), torch.nan)}, "x")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"features.0.bias": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="damaged or foreign"):
        Vgg16Features.load(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import VGG16_Weights

    def offline(self: object, *args: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.delenv(Vgg16Features.VARIABLE, raising=False)
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", offline)
    with pytest.raises(CheckpointError, match=Vgg16Features.VARIABLE):
        Vgg16Features.load()
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", lambda self, **_: _random_state())
    assert Vgg16Features.load().hash


@pytest.mark.skipif(not SHARED.is_file(), reason="the ImageNet weights are not on this machine")
def test_imagenet_features_are_sparse_and_tell_a_gradient_from_noise() -> None:
    network = Vgg16Features.load(SHARED)
    ramp = torch.linspace(0, 1, 128).expand(1, 3, 128, 128)
    noise = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        v = network(torch.cat([ramp, noise]))
    assert v.shape == (2, 512, 8, 8)
    assert float((v == 0).float().mean()) > 0.9
    assert float(F.cosine_similarity(v[0].mean((1, 2)), v[1].mean((1, 2)), dim=0)) < 0.8
    assert imagenet.STRIDE * v.shape[-1] == 128


def test_weights_of_the_package_stand_for_the_exact_ones() -> None:
    coarse = Vgg16Features.load(COARSE)
    assert coarse.coarse
    assert coarse.hash == EXACT
    levels = coarse.features[24].weight[0].unique()
    assert len(levels) < 40, "a few bits a weight"


@pytest.mark.skipif(not SHARED.is_file(), reason="the ImageNet weights are not on this machine")
def test_weights_of_the_package_read_what_the_exact_ones_read() -> None:
    exact, coarse = Vgg16Features.load(SHARED), Vgg16Features.load(COARSE)
    assert exact.hash == EXACT
    assert not exact.coarse
    bank = MemoryBank("checkpoints/aviary/memory")
    rows = range(0, bank.n, bank.n // 4)
    pictures = torch.stack([to_tensor(bank.thumbnail(row).resize((128, 128))) for row in rows])
    wanted, found = exact(pictures).flatten(1), coarse(pictures).flatten(1)
    assert F.cosine_similarity(wanted, found).min() > 0.97
    assert F.cosine_similarity(wanted, found[[1, 2, 3, 4, 0]]).max() < 0.8
