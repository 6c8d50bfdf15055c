"""What D sees of small sets, and the small disturbances of judges."""

import pytest
import torch

from memdriven.training.augment import augment, disturb
from memdriven.training.distributed import Chance


def test_augmentation_is_differentiable_and_refuses_strangers() -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    chance = Chance(0)
    result = augment(images, "color,translation,cutout", chance)
    assert torch.equal(result, augment(images, "color,translation,cutout", Chance(0)))
    assert result.shape == images.shape
    result.square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert augment(images, "", chance) is images
    with pytest.raises(Exception, match="colour"):
        augment(images, "colour", chance)


def test_disturbed_pictures_stay_near_and_repeat() -> None:
    images = torch.full((16, 3, 32, 32), 0.5)
    images[:, 0] = 0.8
    one = disturb(images, Chance(1))
    assert torch.equal(one, disturb(images, Chance(1)))
    assert not torch.equal(one, disturb(images, Chance(2)))
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1
    means = one.mean((2, 3))
    assert float((means[:, 0] / means[:, 1] - 1.6).abs().max()) < 0.03  # the hue is kept
    ramp = torch.linspace(0, 1, 32).expand(16, 3, 32, 32)
    slopes = disturb(ramp, Chance(1)).diff(dim=3).mean((1, 2, 3))
    assert 0 < int((slopes < 0).sum()) < 16  # some are mirrored
