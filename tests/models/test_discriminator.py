"""The discriminators' content pyramid, heads and frozen maps, and the losses, against closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memdriven import losses
from memdriven.config import DiscriminatorConfig
from memdriven.models.discriminator import Discriminator, Logits, ProjectedDiscriminator, content_pyramid


def pooled_slowly(image: Tensor, kind: str) -> Tensor:
    """3x3 windows at stride 2 around every second pixel, cut at the border."""
    c, h, w = image.shape
    out = torch.empty(c, h // 2, w // 2)
    for y in range(h // 2):
        for x in range(w // 2):
            window = image[:, max(0, 2 * y - 1) : 2 * y + 2, max(0, 2 * x - 1) : 2 * x + 2]
            out[:, y, x] = window.mean((1, 2)) if kind == "average" else window.amax((1, 2))
    return out


@pytest.mark.parametrize("kind", ["average", "max"])
def test_content_pyramid_pools_repeatedly(kind: str) -> None:
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = content_pyramid(image, kind)
    assert [m.shape[-1] for m in maps] == [16, 8, 4]
    expected = image[0]
    for level in maps:
        expected = pooled_slowly(expected, kind)
        torch.testing.assert_close(level[0], expected)
    assert content_pyramid(image, "none") == []


@pytest.mark.parametrize("content", ["average", "max", "none"])
@pytest.mark.parametrize("spectral", [True, False])
def test_shapes_and_gradients(content: str, spectral: bool) -> None:
    torch.manual_seed(0)
    config = DiscriminatorConfig(width=8, max_width=16, content=content, spectral_norm=spectral)
    model = Discriminator(config, 64, 12)
    logits = model(torch.rand(3, 3, 64, 64) * 2 - 1, torch.randn(3, 12))
    assert logits.unconditional.shape == logits.conditional.shape == (3,)
    (logits.unconditional + logits.conditional).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_content_reaches_the_decision() -> None:
    torch.manual_seed(0)
    wide = Discriminator(DiscriminatorConfig(width=8, content="average"), 32, 4)
    bare = Discriminator(DiscriminatorConfig(width=8, content="none"), 32, 4)
    assert wide.downs[1].in_channels == bare.downs[1].in_channels + 3


def test_spectral_norm_bounds_the_weights() -> None:
    torch.manual_seed(0)
    model = Discriminator(DiscriminatorConfig(width=8), 32, 4)
    for _ in range(30):
        model(torch.randn(2, 3, 32, 32), torch.randn(2, 4))
    weight = model.downs[1].weight.flatten(1)
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=0.05)


def naive_log(x: Tensor) -> Tensor:
    return torch.log(torch.sigmoid(x.double()))


def test_adversarial_losses_are_the_papers_equations() -> None:
    g = torch.Generator().manual_seed(0)
    real, fake = (Logits(torch.randn(5, generator=g), torch.randn(5, generator=g)) for _ in "ab")
    eq1 = -0.5 * naive_log(fake[0]).mean() - 0.5 * naive_log(fake[1]).mean()
    torch.testing.assert_close(losses.generator_adversarial(fake).double(), eq1)
    eq3 = sum(-0.5 * naive_log(real[i]).mean() - 0.5 * naive_log(-fake[i]).mean() for i in range(2))
    torch.testing.assert_close(losses.discriminator_adversarial(real, fake).double(), eq3)
    same = losses.discriminator_adversarial(real._replace(mismatched=fake.conditional), fake)
    torch.testing.assert_close(same.double(), eq3)


def test_losses_stay_finite_at_extremes() -> None:
    far = Logits(torch.tensor([1e4]), torch.tensor([-1e4]))
    assert losses.generator_adversarial(far).isfinite()
    assert losses.discriminator_adversarial(far._replace(mismatched=far.conditional), far).isfinite()


def test_r1_of_a_linear_critic_is_its_squared_norm() -> None:
    class Linear(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.randn(3, 8, 8))

        def forward(self, images: Tensor, sentence: Tensor) -> Logits:
            score = (images * self.w).sum((1, 2, 3))
            return Logits(score, 3 * score)

    critic = Linear()
    penalty = losses.r1_penalty(critic, torch.randn(4, 3, 8, 8), torch.zeros(4, 2))
    torch.testing.assert_close(penalty, 4 * critic.w.square().sum())
    penalty.backward()
    torch.testing.assert_close(critic.w.grad, 8 * critic.w)


def test_kl_matches_the_distribution() -> None:
    g = torch.Generator().manual_seed(0)
    mu, logvar = torch.randn(6, 4, generator=g), torch.randn(6, 4, generator=g)
    reference = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, (logvar / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    ).mean()
    torch.testing.assert_close(losses.kl_divergence(mu, logvar), reference)
    assert losses.kl_divergence(torch.zeros(1, 2), torch.zeros(1, 2)).item() == 0
    assert math.isfinite(losses.kl_divergence(mu, logvar).item())


def test_reconstruction_counts_only_own_features() -> None:
    fake, real = torch.zeros(3, 3, 4, 4), torch.tensor([1.0, 2.0, 4.0])[:, None, None, None]
    real = real.expand(3, 3, 4, 4)
    own = torch.tensor([True, False, True])
    assert losses.reconstruction(fake, real, own).item() == pytest.approx(2.5)
    assert losses.reconstruction(fake, real, torch.zeros(3, dtype=torch.bool)).item() == 0


# --- On a frozen network's maps ---

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


def projected(size: int = 64) -> tuple[ProjectedDiscriminator, Pooled]:
    torch.manual_seed(0)
    backbone = Pooled()
    return ProjectedDiscriminator(backbone, size, text_dim=6, width=8), backbone


def test_pictures_are_brought_to_the_backbones_range_and_size() -> None:
    judge, backbone = projected()
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    judge(images, torch.randn(2, 6))
    expected = F.interpolate((images + 1) / 2, 128, mode="bilinear", align_corners=False)
    assert torch.equal(backbone.seen[-1], expected)
    large, backbone = projected(256)
    large(torch.zeros(1, 3, 256, 256), torch.randn(1, 6))
    assert backbone.seen[-1].shape[-1] == 256


def test_only_the_heads_train_and_the_backbone_is_no_part_of_it() -> None:
    judge, backbone = projected()
    assert not any(p is backbone.weight for p in judge.parameters())
    assert not any("backbone" in name for name in judge.state_dict())
    fixed = {name.split(".")[0] for name, p in judge.named_parameters() if not p.requires_grad}
    assert fixed == {"across_channels", "across_depths"}
    images = torch.randn(2, 3, 64, 64, requires_grad=True)
    losses.generator_adversarial(judge(images, torch.randn(2, 6))).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_decisions_written_out() -> None:
    judge, _ = projected()
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
    judge, _ = projected()
    torch.manual_seed(1)
    optimiser = torch.optim.Adam([p for p in judge.parameters() if p.requires_grad], 1e-2)
    red, blue = torch.eye(6)[0], torch.eye(6)[1]
    sentence = torch.stack([red, blue, red, blue])
    for _ in range(40):
        real = torch.full((4, 3, 64, 64), -1.0) + 0.1 * torch.randn(4, 3, 64, 64)
        real[0::2, 0] += 2  # red pictures
        real[1::2, 2] += 2  # blue ones
        fake = torch.randn(4, 3, 64, 64).clamp(-1, 1)
        loss = losses.discriminator_adversarial(
            judge(real, sentence, sentence.roll(1, 0)), judge(fake, sentence)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    features = judge.features(real)
    right, mixed = judge.judge(features, sentence), judge.judge(features, sentence.roll(1, 0))
    assert right.mean() > mixed.mean() + 1
    assert judge(real, sentence).unconditional.mean() > judge(fake, sentence).unconditional.mean()
