"""The discriminator on frozen maps: what it sees, what it trains, and its arithmetic."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memdriven.losses import discriminator_adversarial, generator_adversarial
from memdriven.models.discriminator import ProjectedDiscriminator

DEPTHS = 3


class Pooled(nn.Module):
    """Stand-in for a network: weighted pixels at three scales, and a note of what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        self.seen.append(images)
        return [F.avg_pool2d(images * self.weight, 8 << level) for level in range(DEPTHS)]


def made(size: int = 64) -> tuple[ProjectedDiscriminator, Pooled]:
    torch.manual_seed(0)
    backbone = Pooled()
    return ProjectedDiscriminator(backbone, size, text_dim=6, width=8), backbone


def test_pictures_are_brought_to_the_backbones_range_and_size() -> None:
    judge, backbone = made()
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    judge(images, torch.randn(2, 6))
    expected = F.interpolate((images + 1) / 2, 128, mode="bilinear", align_corners=False)
    assert torch.equal(backbone.seen[-1], expected)
    large, backbone = made(256)
    large(torch.zeros(1, 3, 256, 256), torch.randn(1, 6))
    assert backbone.seen[-1].shape[-1] == 256


def test_only_the_heads_train_and_the_backbone_is_no_part_of_it() -> None:
    judge, backbone = made()
    assert not any(p is backbone.weight for p in judge.parameters())
    assert not any("backbone" in name for name in judge.state_dict())
    fixed = {name.split(".")[0] for name, p in judge.named_parameters() if not p.requires_grad}
    assert fixed == {"across_channels", "across_depths"}
    images = torch.randn(2, 3, 64, 64, requires_grad=True)
    generator_adversarial(judge(images, torch.randn(2, 6))).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_decisions_written_out() -> None:
    judge, _ = made()
    judge.eval()  # spectral normalisation at rest
    images, sentence = torch.randn(2, 3, 64, 64), torch.randn(2, 6)
    features = judge.features(images)
    assert [tuple(f.shape) for f in features] == [(2, 8, 4, 4)] * DEPTHS
    logits = judge(images, sentence)
    assert logits.unconditional.shape == logits.conditional.shape == (2 * DEPTHS * 16,)
    alone = logits.unconditional.view(2, DEPTHS, 4, 4)
    both = logits.conditional.view(2, DEPTHS, 4, 4)
    weight = judge.unconditional_layers[1].weight.view(8)
    bias = judge.unconditional_layers[1].bias
    text = judge.conditional_layers[1](sentence)
    for b, i, j in ((0, 0, 0), (1, 3, 2)):
        h = features[1][b, :, i, j]
        torch.testing.assert_close(alone[b, 1, i, j], (h @ weight + bias).squeeze())
        torch.testing.assert_close(both[b, 1, i, j] - alone[b, 1, i, j], h @ text[b] / 8**0.5)


def test_it_learns_to_tell_captions_and_pictures_apart() -> None:
    judge, _ = made()
    torch.manual_seed(1)
    optimiser = torch.optim.Adam([p for p in judge.parameters() if p.requires_grad], 1e-2)
    red, blue = torch.eye(6)[0], torch.eye(6)[1]
    sentence = torch.stack([red, blue, red, blue])
    for _ in range(40):
        real = torch.full((4, 3, 64, 64), -1.0) + 0.1 * torch.randn(4, 3, 64, 64)
        real[0::2, 0] += 2  # red pictures
        real[1::2, 2] += 2  # blue ones
        fake = torch.randn(4, 3, 64, 64).clamp(-1, 1)
        loss = discriminator_adversarial(judge(real, sentence, sentence.roll(1, 0)), judge(fake, sentence))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    features = judge.features(real)
    right, mixed = judge.judge(features, sentence), judge.judge(features, sentence.roll(1, 0))
    assert right.mean() > mixed.mean() + 1
    assert judge(real, sentence).unconditional.mean() > judge(fake, sentence).unconditional.mean()
