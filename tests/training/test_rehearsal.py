"""Every preset's forward pass and losses on a GPU that is not there: FakeTensors know devices and types.

They refuse a tensor left on the CPU and types that do not fit, and compute nothing. Backward passes do not
run on them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrizations

from memdriven.encoders.damsm import Damsm
from memdriven.encoders.image import CompactBackbone
from memdriven.encoders.imagenet import SqueezeNet, Vgg16Features
from memdriven.encoders.readers import AttributeHead
from memdriven.encoders.text import TextFeatures
from memdriven.presets import PRESETS
from memdriven.training import step
from memdriven.training.aux_losses import Teachers
from memdriven.training.data import Batch, pyramid
from memdriven.training.distributed import Chance, World
from memdriven.training.step import GanTrainer

ATTRIBUTES = {"crown": ("red", "blue", "white"), "wing": ("red", "blue", "white")}


class FakeChance(Chance):
    """Draws without a generator, as there is none of a missing GPU."""

    def __init__(self) -> None:
        self.world = World()

    def draw(self, kind: Callable[..., Tensor], count: int, *shape: int) -> Tensor:
        return kind((count, *shape), device="cuda")


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    # There is no memory that cuDNN could lay an LSTM's weights out in, or that could be copied.
    average = partial(SimpleNamespace, n_averaged=torch.tensor(0))
    monkeypatch.setattr(step, "AveragedModel", lambda module, **settings: average(module=module))
    monkeypatch.setattr(torch.nn.LSTM, "flatten_parameters", lambda self: None)
    # Spectral normalisation's power iterations would be half of the test's time.
    monkeypatch.setattr(parametrizations._SpectralNorm, "_power_method", lambda *_: None)
    # First weights are of no matter, and take as long as the rest.
    for fill in ("orthogonal_", "kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_"):
        monkeypatch.setattr(torch.nn.init, fill, lambda tensor, *_, **__: tensor)
    # FakeTensors cannot be moved within their module; it is made on the GPU here.
    monkeypatch.setattr(GanTrainer, "_place", lambda self, module: module)
    monkeypatch.setattr(Vgg16Features, "to", lambda self, **_: self)


def fake_batch(config: Any, size: int, count: int = 2) -> Batch:
    g, d = config.generator, config.text.dim
    named = torch.randn(count, g.attribute_dim) if g.attribute_dim else None
    mask = torch.ones(count, 9, dtype=torch.bool)
    return Batch(
        images=pyramid(torch.randn(count, 3, size, size), g.stages),
        text=TextFeatures(torch.randn(count, 9, d), torch.randn(count, d), mask, named),
        v=torch.randn(count, 512, 16, 16),
        is_target=torch.ones(count, dtype=torch.bool),
        class_ids=torch.zeros(count, dtype=torch.long),
        z=torch.randn(count, g.z_dim),
        epsilon=torch.randn(count, g.condition_dim),
        labels=torch.zeros(count, len(ATTRIBUTES), dtype=torch.long),
        pixel_weights=torch.ones(count, 1, size, size),
    )


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_runs_on_a_gpu(name: str, fake_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    config = PRESETS[name]
    loss = config.loss
    with FakeTensorMode(), torch.device("cuda"):
        damsm, network = Damsm(100, config.text, config.damsm), SqueezeNet()
        vgg = Vgg16Features() if config.damsm.pixel_backbone == "vgg16" else None
        head = None
        if loss.attribute_weight:
            assert isinstance(damsm.pixels, CompactBackbone)
            head = AttributeHead(damsm.pixels.project.regions.in_channels, ATTRIBUTES)
        trainer = GanTrainer(config, Teachers(damsm, vgg, head, network), World(device=torch.device("cuda")))
        batch = fake_batch(config, trainer.generator.resolutions[-1])
        with trainer._autocast():
            assert torch.is_autocast_enabled("cuda") == config.train.amp
            made = trainer._generate(
                batch.z, batch.text.sentence, batch.text.condition, batch.v, batch.epsilon
            )
        found = {
            name: value for name, (_, value) in trainer.generator_losses(batch, made, FakeChance()).items()
        }
        if trainer.stages:
            total, record = trainer.discriminator_losses(batch, made.images, 1, FakeChance())
            found |= {**record, "d_total": total}
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
        with trainer._autocast():
            assert not torch.is_autocast_enabled("cuda"), "cuDNN has no bf16 convolutions there"
    assert [image.dtype for image in made.images] == [torch.float32] * config.generator.stages
    assert {(value.device.type, value.dtype, value.shape) for value in found.values()} == {
        ("cuda", torch.float32, ())
    }


def test_what_is_left_on_the_cpu_is_found() -> None:
    with FakeTensorMode():
        here, there = torch.randn(2), torch.randn(2, device="cuda")
        with pytest.raises(Exception, match="device"):
            here + there
