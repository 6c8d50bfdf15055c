from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchmetrics.image.inception import InceptionScore

from memdriven.encoders.imagenet import SqueezeNet
from memdriven.errors import CheckpointError, EvaluationError
from memdriven.evaluation import context, distances
from memdriven.evaluation.context import Extractor, pooled_maps
from memdriven.evaluation.distances import (
    SUSPECT,
    Inception2015,
    copy_check,
    frechet_distance,
    inception_extractor,
    inception_score,
    kernel_distance,
    nearest_distances,
    pillow_resize,
)


def whitened(n: int, d: int, seed: int) -> Tensor:
    """Samples whose mean is exactly 0 and whose unbiased covariance is exactly the identity."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x - x.mean(0)
    factor = torch.linalg.cholesky(x.T @ x / (n - 1))
    return torch.linalg.solve_triangular(factor, x.T, upper=False).T


def slow_reference(a: Tensor, b: Tensor) -> float:
    """Tr of the square root by symmetric eigenvalues: Tr (A^1/2 B A^1/2)^1/2."""
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(ca)
    root = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cb @ root).clamp_min(0).sqrt().sum()
    gap = (a.mean(0) - b.mean(0)).square().sum()
    return float(gap + ca.trace() + cb.trace() - 2 * cross)


def test_gaussians_with_a_closed_form() -> None:
    mean = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    scale_a = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    scale_b = torch.tensor([2.0, 2.0, 0.5], dtype=torch.float64)
    a, b = whitened(400, 3, 0) * scale_a, whitened(300, 3, 1) * scale_b + mean
    # Diagonal covariances: |mu|^2 + sum (sigma_a - sigma_b)^2.
    wanted = mean.square().sum() + (scale_a - scale_b).square().sum()
    assert frechet_distance(a, b) == pytest.approx(float(wanted), abs=1e-8)


@pytest.mark.parametrize("d", [4, 24])
def test_equals_the_symmetric_eigenvalue_form(d: int) -> None:
    g = torch.Generator().manual_seed(d)
    a = torch.randn(60, d, generator=g, dtype=torch.float64) @ torch.randn(
        d, d, generator=g, dtype=torch.float64
    )
    b = torch.randn(80, d, generator=g, dtype=torch.float64) + 0.3
    assert frechet_distance(a, b) == pytest.approx(slow_reference(a, b), rel=1e-6)


def test_a_set_is_at_no_distance_from_itself() -> None:
    a = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5)


def test_fewer_images_than_features_still_give_a_number() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(10, 32, generator=g), torch.rand(12, 32, generator=g)
    assert frechet_distance(a, b) == pytest.approx(slow_reference(a.double(), b.double()), rel=1e-3)


def test_other_widths_and_single_images_are_refused() -> None:
    with pytest.raises(EvaluationError, match="same network"):
        frechet_distance(torch.zeros(5, 3), torch.zeros(5, 4))
    with pytest.raises(EvaluationError, match="n >= 2"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))


def slow_mmd(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD by double loops over pairs."""
    d = x.shape[1]

    def kernel(a: Tensor, b: Tensor) -> float:
        return (float((a * b).sum()) / d + 1) ** 3

    n, m = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(kernel(a, b) for a in x for b in y) / (n * m)
    return xx + yy - 2 * xy


def test_one_subset_of_everything_equals_the_double_loop() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(14, 5, generator=g, dtype=torch.float64)
    y = torch.randn(14, 5, generator=g, dtype=torch.float64) + 0.5
    found = kernel_distance(x, y, subsets=3, subset_size=14)
    assert found.mean == pytest.approx(slow_mmd(x, y), rel=1e-9)
    assert math.isnan(found.std), "three times the same images have no spread"
    assert kernel_distance(x, y, subsets=3, subset_size=7).std > 0


def test_unbiased_near_zero_for_one_distribution_and_large_for_two() -> None:
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 300, 6, generator=g)
    same = kernel_distance(x, y, subsets=40, subset_size=50)
    other = kernel_distance(x, y + 1, subsets=40, subset_size=50)
    assert abs(same.mean) < 3 * same.std / 40**0.5 + 0.02
    assert other.mean > 10 * abs(same.mean)


def test_same_seed_same_number_and_caller_keeps_his_random_state() -> None:
    x, y = torch.randn(2, 40, 4, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert kernel_distance(x, y, subset_size=10) == kernel_distance(x, y, subset_size=10)
    assert torch.equal(before, torch.get_rng_state())


def test_a_single_image_is_refused() -> None:
    with pytest.raises(EvaluationError):
        kernel_distance(torch.zeros(1, 3), torch.zeros(9, 3))


def test_certain_and_evenly_spread_classes_score_their_number() -> None:
    logits = torch.nn.functional.one_hot(torch.arange(200) % 5).float() * 100
    assert inception_score(logits, splits=1).mean == pytest.approx(5, rel=1e-3)


def test_undecided_classifier_scores_one() -> None:
    found = inception_score(torch.zeros(100, 7))
    assert found.mean == pytest.approx(1)
    assert found.std == pytest.approx(0, abs=1e-6)


def test_equals_a_slow_reference() -> None:
    logits = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).double()
    p = logits.softmax(1)
    marginal = p.mean(0)
    divergences = [sum(float(q * (q / m).log()) for q, m in zip(row, marginal)) for row in p]
    wanted = torch.tensor(sum(divergences) / 40).exp()
    assert inception_score(logits, splits=1).mean == pytest.approx(float(wanted), rel=1e-6)


def test_ten_splits_are_ten() -> None:
    """As torchmetrics where n is a multiple of ten; of 21 images it makes seven splits."""
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(3)).double()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)
        torch.manual_seed(4)
        network = nn.Identity()
        network.num_features = 6  # type: ignore[assignment]
        metric = InceptionScore(feature=network, splits=10)
        metric.update(logits)
        mean, std = metric.compute()
    found = inception_score(logits, seed=4)
    assert (found.mean, found.std) == pytest.approx((float(mean), float(std)), rel=1e-6)
    certain = torch.nn.functional.one_hot(torch.arange(21), 21) * 100.0
    assert sorted({len(part) for part in certain.tensor_split(10)}) == [2, 3]
    assert inception_score(certain).mean == pytest.approx((3 + 9 * 2) / 10, rel=1e-6)


@pytest.mark.parametrize("logits", [torch.randn(19, 4), torch.randn(40, 1), torch.full((40, 4), torch.nan)])
def test_a_score_that_could_be_one_alone_or_none_is_refused(logits: torch.Tensor) -> None:
    with pytest.raises(EvaluationError):
        inception_score(logits)


def test_without_torchmetrics_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(EvaluationError, match=r"\.\[evaluation\]"):
        frechet_distance(torch.rand(5, 3), torch.rand(5, 3))


def test_fewer_images_than_splits_are_refused() -> None:
    with pytest.raises(EvaluationError, match="n >= 20"):
        inception_score(torch.zeros(9, 3))


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
    monkeypatch.setattr(context, "BATCH", 2)
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

    assert distances.SIDE == FeatureExtractorInceptionV3.INPUT_IMAGE_SIZE == 299
    monkeypatch.setattr(distances, "SIDE", SMALL)
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
    tmp_path: Path, form: distances.Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to the host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(EvaluationError, match=f"form \\({form}\\).*no route to the host"):
        inception_extractor(form, None, 64)
    absent = tmp_path / "absent.pth"
    with pytest.raises(CheckpointError, match="no such file"):
        inception_extractor(form, absent, 64)
    foreign = tmp_path / "foreign.pth"
    foreign.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"foreign\.pth"):
        inception_extractor(form, foreign, 64)


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "weights.pth"
    torch.save({"fc.bias": Trap()}, path)
    with pytest.raises(CheckpointError):
        inception_extractor("a", path, 64)
    assert not (tmp_path / "ran").exists()


def test_without_torch_fidelity_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    torch.save({}, path)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(EvaluationError, match=r"\.\[evaluation\]"):
        inception_extractor("c", path, 64)


def test_pillow_resize_keeps_flat_colours_and_fractions_and_shrinks_smoothly() -> None:
    flat = torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)
    assert torch.allclose(pillow_resize(flat, 5), torch.tensor(77.0))
    ramp = torch.arange(16, dtype=torch.uint8).view(1, 1, 1, 16).expand(1, 3, 16, 16)
    assert not np.allclose(pillow_resize(ramp, 5) % 1, 0), "fractions are kept"
    (plane,) = random = torch.rand(1, 1, 40, 40) * 255
    pillow = Image.fromarray(plane[0].numpy()).resize((23, 23), Image.Resampling.BICUBIC)
    assert abs(pillow_resize(random, 23)[0, 0].numpy() - np.asarray(pillow).clip(0, 255)).max() < 0.01
    stripes = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    stripes[..., ::2] = 255
    inner = pillow_resize(stripes, 8)[..., 1:-1, 1:-1]
    assert abs(float(inner.mean()) - 127.5) < 3
    assert float(inner.std()) < 12, "antialiased: no stripe is picked alone"
    assert float(pillow_resize(stripes, 200).max()) <= 255


TRAINING = torch.randn(1100, 6, generator=torch.Generator().manual_seed(0))


def test_nearest_distances_equal_a_loop_across_blocks() -> None:
    found = nearest_distances(TRAINING, TRAINING, skip_self=True)
    for i in (0, 511, 512, 600, 1099):
        gaps = (TRAINING.double() - TRAINING[i].double()).norm(dim=1)
        gaps[i] = float("inf")
        assert float(found[i]) == pytest.approx(float(gaps.min()), abs=1e-6)


def test_copies_are_at_zero_and_new_images_are_not() -> None:
    copies = copy_check([TRAINING[:50] + 1e-5], TRAINING, torch.arange(50))
    assert copies.neighbour is not None
    assert copies.nearest.max() == copies.neighbour.max() == 0
    fresh = torch.randn(400, 6, generator=torch.Generator().manual_seed(1))
    found = copy_check([fresh], TRAINING)
    assert 40 < found.nearest.median() < 60
    assert (found.nearest < SUSPECT).float().mean() < 0.04
    assert found.neighbour is None


def test_the_nearer_of_several_views_counts() -> None:
    fresh = torch.randn(50, 6, generator=torch.Generator().manual_seed(1)) + 3
    found = copy_check([fresh, TRAINING[:50]], TRAINING, torch.arange(50))
    assert found.neighbour is not None
    assert found.nearest.max() == found.neighbour.max() == 0


def test_neighbours_may_be_missing_for_some() -> None:
    found = copy_check([TRAINING[:2]], TRAINING, torch.tensor([-1, 900]))
    assert found.neighbour is not None
    assert len(found.neighbour) == 1


def test_a_tiny_training_set_is_refused() -> None:
    with pytest.raises(EvaluationError, match="three training images"):
        copy_check([TRAINING[:2]], TRAINING[:2])


def test_features_that_are_no_numbers_are_no_proof_of_difference() -> None:
    with pytest.raises(EvaluationError, match="than numbers"):
        copy_check([torch.full((2, TRAINING.shape[1]), torch.nan)], TRAINING)


def test_training_images_that_are_all_one_are_refused() -> None:
    with pytest.raises(EvaluationError, match="differ from each other"):
        copy_check([torch.randn(2, 4)], torch.ones(5, 4))


def test_a_copy_of_what_the_noise_saw_is_a_copy() -> None:
    """The part of a memory that a picture saw counts, though the whole of it is far."""
    fresh = torch.randn(50, TRAINING.shape[1], generator=torch.Generator().manual_seed(5)) + 3
    rows = torch.arange(50)
    rows[0] = -1
    alone = copy_check([fresh], TRAINING, rows)
    assert (alone.nearest > 1).all()
    found = copy_check([fresh], TRAINING, rows, fresh + 1e-6)
    assert found.neighbour is not None
    assert found.neighbour.max() == 0
    assert found.nearest[1:].max() == 0
    assert found.nearest[0] == alone.nearest[0], "no memory, nothing seen"
