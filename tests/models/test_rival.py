"""The rival without a memory: shapes, sizes, and its losses against closed forms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memdriven.models.rival import (
    Affine,
    RivalDiscriminator,
    RivalGenerator,
    hinge,
    matching_gradient_penalty,
    widths,
)


def test_widths_halve_from_eight_times_the_finest() -> None:
    assert widths(32, 256) == [256, 256, 256, 256, 128, 64, 32]
    assert widths(8, 8) == [16, 8]


def test_images_depend_on_noise_and_on_words() -> None:
    torch.manual_seed(0)
    generator = RivalGenerator(4, 32, z_dim=6, text_dim=5)
    for parameter in generator.parameters():  # the affines begin as the identity, blind to words
        nn.init.normal_(parameter, 0.0, 0.3)
    z, words = torch.randn(2, 6), torch.randn(2, 5)
    image = generator(z, words)
    assert image.shape == (2, 3, 32, 32)
    assert image.abs().max() <= 1
    assert not torch.equal(image, generator(z + 1, words))
    assert not torch.equal(image, generator(z, words + 1))


def test_the_published_size_at_256_px() -> None:
    weights = sum(p.numel() for p in RivalGenerator(32, 256).parameters())
    assert 9.0e6 < weights < 10.5e6


def test_an_affine_begins_as_the_identity() -> None:
    h = torch.randn(2, 3, 4, 4)
    assert torch.equal(Affine(5, 3)(h, torch.randn(2, 5)), h)


def test_every_weight_learns() -> None:
    torch.manual_seed(0)
    generator, judge = RivalGenerator(4, 16, z_dim=6, text_dim=5), RivalDiscriminator(4, 16, text_dim=5)
    for module in (*generator.modules(), *judge.modules()):
        for parameter in module.parameters(recurse=False):
            nn.init.normal_(parameter, 0.0, 0.2)
    words = torch.randn(3, 5)
    score = judge.judge(judge.features(generator(torch.randn(3, 6), words)), words)
    assert score.shape == (3,)
    score.sum().backward()
    for name, parameter in (*generator.named_parameters(), *judge.named_parameters()):
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_hinge_by_hand() -> None:
    real, fake, wrong = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0]), torch.tensor([1.0])
    assert hinge(real, fake, wrong).item() == 0.25 + 0.5 * (0.5 + 2.0)


def test_the_gradient_penalty_of_a_linear_judge() -> None:
    class Linear(RivalDiscriminator):
        """D(x, s) = a . x + b . s, whose gradient is (a, b) everywhere."""

        def __init__(self) -> None:
            super().__init__(2, 8, text_dim=3)

        def features(self, images: Tensor) -> Tensor:
            return 0.01 * images.sum(dim=(1, 2, 3))

        def judge(self, features: Tensor, sentence: Tensor) -> Tensor:
            return features + 0.5 * sentence.sum(dim=1)

    found = matching_gradient_penalty(Linear(), torch.randn(2, 3, 8, 8), torch.randn(2, 3))
    assert torch.isclose(found, 2.0 * torch.tensor(192 * 0.01**2 + 3 * 0.25) ** 3)
