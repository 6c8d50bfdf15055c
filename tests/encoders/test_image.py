from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from memdriven.encoders.image import CompactBackbone, FeatureHeads, resized


def _every_parameter_learns(module: nn.Module, loss: torch.Tensor) -> None:
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_heads_embed_regions_in_row_order_and_the_mean() -> None:
    torch.manual_seed(0)
    heads = FeatureHeads(6)
    v = torch.rand(2, 512, 4, 8)
    features = heads(v)
    assert features.regions.shape == (2, 2 * 4, 6)
    assert features.global_.shape == (2, 6)
    block = v[1, :, 2:4, 4:6].mean((1, 2))  # second row, third column
    wanted = heads.project.regions.weight[:, :, 0, 0] @ block
    assert torch.allclose(features.regions[1, 1 * 4 + 2], wanted, atol=1e-5)
    assert torch.allclose(features.global_, heads.project.global_(v.mean((2, 3))), atol=1e-5)
    _every_parameter_learns(heads, features.regions.square().sum() + features.global_.sum())


def test_spread_evens_out_the_channels() -> None:
    heads = FeatureHeads(4)
    v = torch.zeros(3, 512, 4, 4)
    v[:, 0], v[:, 1] = 100.0, 0.5
    heads.fit_spread(v)
    assert float(heads.spread[0]) == pytest.approx(100)
    assert float(heads.spread[1]) == pytest.approx(0.5, rel=0.01)
    assert float(heads.spread[2]) == pytest.approx(0.5 * 100.5 / 512, rel=0.01)  # never seen
    assert torch.isfinite(heads(v).regions).all()


def test_compact_shapes_cost_and_gradient_to_every_pixel() -> None:
    torch.manual_seed(0)
    backbone = CompactBackbone(16).eval().requires_grad_(False)
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    features = backbone(images)
    assert features.regions.shape == (2, 64, 16)
    assert features.global_.shape == (2, 16)
    (features.regions.square().mean() + features.global_.mean()).backward()
    assert images.grad is not None
    assert bool((images.grad != 0).all())
    with FlopCounterMode(display=False) as counter:
        backbone(torch.rand(1, 3, 64, 64))
    assert 30e6 < counter.get_total_flops() / 2 < 50e6
    assert backbone(torch.rand(1, 3, 128, 128)).regions.shape == (1, 64, 16)
    larger = CompactBackbone(16, 128).eval()
    larger.load_state_dict(backbone.state_dict())  # the same weights see twice as finely
    assert larger(torch.rand(1, 3, 64, 64)).regions.shape == (1, 256, 16)
    assert larger(torch.rand(1, 3, 64, 64)).global_.shape == (1, 16)
    network = CompactBackbone(16)
    result = network(torch.rand(4, 3, 64, 64))
    _every_parameter_learns(network, result.regions.square().mean() + result.global_.square().mean())


def test_resizing_keeps_what_fits_and_averages_what_shrinks() -> None:
    images = torch.rand(1, 3, 8, 8)
    assert resized(images, 8) is images
    checks = (torch.arange(64) % 2).float().view(1, 1, 1, 64).expand(1, 3, 64, 64)
    assert float((resized(checks, 16) - 0.5)[..., 2:-2].abs().max()) < 0.1  # no aliasing
