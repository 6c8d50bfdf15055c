"""Building blocks against slow references."""

import pytest
import torch
from torch.nn import functional as F

from memdriven.models.layers import AffineCombination, UpsampleConv


@pytest.mark.parametrize("channels", [(3, 5), (8, 2)])
def test_upsample_conv_equals_nearest_upsampling_and_conv3x3(channels: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = UpsampleConv(*channels)
    x = torch.randn(2, channels[0], 6, 5)
    reference = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.weight, padding=1)
    torch.testing.assert_close(layer(x), reference, atol=1e-5, rtol=1e-5)


def test_acm_is_the_affine_combination_of_its_maps() -> None:
    torch.manual_seed(0)
    acm = AffineCombination(3, 5, 7)
    h, v = torch.randn(2, 3, 8, 8), torch.randn(2, 5, 8, 8)
    fused, gates = acm(h, v)
    u = F.conv2d(v, acm.shared.weight, acm.shared.bias, padding=1)
    scale = F.conv2d(u, acm.scale.weight, acm.scale.bias, padding=1)
    shift = F.conv2d(u, acm.shift.weight, acm.shift.bias, padding=1)
    torch.testing.assert_close(fused, h * scale + shift)
    torch.testing.assert_close(gates.scale, scale)
