"""The losses of Sec. 4.3, one function a term, its equation beside it.

log D is written through logits: -log sigmoid(x) = softplus(-x) and
-log(1 - sigmoid(x)) = softplus(x), which stay finite where the logarithm would not.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.models.discriminator import Discriminator, Logits


def generator_adversarial(fake: Logits) -> Tensor:
    """Eq. 1 without DAMSM: -1/2 E log D(G) - 1/2 E log D(G, S)."""
    return 0.5 * (F.softplus(-fake.unconditional) + F.softplus(-fake.conditional)).mean()


def discriminator_adversarial(real: Logits, fake: Logits) -> Tensor:
    """Eq. 3: both heads, real against fake, each with weight 1/2.

    With `real.mismatched`, the conditional logits of real images beside a wrong caption, these share
    the fake side of the conditional term equally with the generated images [family].
    """
    unconditional = F.softplus(-real.unconditional).mean() + F.softplus(fake.unconditional).mean()
    wrong = F.softplus(fake.conditional).mean()
    if real.mismatched is not None:
        wrong = 0.5 * (wrong + F.softplus(real.mismatched).mean())
    conditional = F.softplus(-real.conditional).mean() + wrong
    return 0.5 * unconditional + 0.5 * conditional


def r1_penalty(discriminator: Discriminator, images: Tensor, sentence: Tensor) -> Tensor:
    """E |grad_x D(x)|^2 at real images, in float32 (Eq. 4; Mescheder et al. 2018).

    D's output is the mean of its two heads, as both decide in Eq. 3. The caller scales by
    gamma / 2 and, when computed every r steps, by r.
    """
    with torch.autocast(images.device.type, enabled=False):
        images = images.detach().float().requires_grad_(True)
        logits = discriminator(images, sentence.detach().float())
        output = 0.5 * (logits.unconditional + logits.conditional)
        (gradient,) = torch.autograd.grad(output.sum(), images, create_graph=True)
        return gradient.square().sum(dim=(1, 2, 3)).mean()


def reconstruction(fake: Tensor, real: Tensor, is_target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean |G(z, S, v) - I| over the images that are what G should make of v [ours].

    Args:
        fake: generated images (b, 3, s, s).
        real: the captions' images, of the same shape.
        is_target: (b,) bool, whether v is the image's own rather than a neighbour's.
        weights: of each place (b, 1, s', s'), resized to the images; all one by default.
    """
    error = (fake - real).abs()
    if weights is not None:
        error = error * F.interpolate(weights, fake.shape[2:], mode="area")
    distance = error.mean(dim=(1, 2, 3))  # (b,)
    return (distance * is_target).sum() / is_target.sum().clamp(min=1)


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, e^logvar) || N(0, 1)) = -1/2 mean(1 + logvar - mu^2 - e^logvar) [family]."""
    return -0.5 * (1 + logvar - mu.square() - logvar.exp()).mean()
