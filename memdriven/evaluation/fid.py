"""Frechet distance between the features of two sets of images.

    d^2 = |mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))        (Heusel et al. 2017)

What it is called depends on the features: `fid_a`, `fid_b`, `fid_c` on Inception in three forms
that cannot be compared with each other (`features.py`), `fid_vgg` on pooled relu5_3 of VGG-16,
which must never be called FID.
"""

from __future__ import annotations

from torch import Tensor, nn

from memdriven.errors import EvaluationError


class Precomputed(nn.Module):
    """Stands where torchmetrics expects a network: hands the features on."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """Return the features (b, d) as they came."""
        return features


def check_features(real: Tensor, fake: Tensor, least: int = 2) -> None:
    """Refuse features that are not two (n, d) tables of one width with `least` rows or more."""
    if (
        real.ndim != 2
        or fake.ndim != 2
        or real.shape[1] != fake.shape[1]
        or min(len(real), len(fake)) < least
    ):
        raise EvaluationError(
            wanted=f"two feature tables (n, d) of the same d, n >= {least}",
            found=f"{tuple(real.shape)} and {tuple(fake.shape)}",
            fix="take both from the same network, over more images",
        )


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Return the squared Frechet distance of Gaussians fitted to features (n, d) and (m, d).

    In float64; covariances are unbiased. It grows as n falls, so n belongs beside the number.

    Raises:
        EvaluationError: fewer than two images, or features of different widths.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    check_features(real, fake)
    metric = FrechetInceptionDistance(feature=Precomputed(real.shape[1]))
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    return max(float(metric.compute()), 0.0)
