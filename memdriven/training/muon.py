"""Muon: steps along the orthogonal part of a matrix' momentum (Jordan et al. 2024).

Adam scales each number by itself, so that few directions of a convolution take most of a step.
Here the momentum m = U S V^T of a weight, seen as a matrix (outputs x inputs), becomes U V^T: all
its directions are learnt at one pace. Written here because `torch.optim.Muon` takes matrices
alone, no convolutions, and computes in bfloat16, which most CPUs only imitate.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

SMALLEST, LARGEST = 16, 1_000_000
"""Shorter sides have few directions, and of more numbers the product costs as much as the step."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, which brings singular values to about 0.7 to 1.2 in five rounds."""
ROUNDS = 5
RMS = 0.2
"""Of Adam's usual update, in units of the learning rate: one rate serves both (Liu et al. 2025)."""


class Muon(torch.optim.Optimizer):
    """Momentum with Nesterov's look ahead, orthogonalised; for what `is_matrix` accepts.

    Args:
        parameters: of two dimensions or more; all but the first are flattened.
        lr: learning rate, on Adam's scale.
        momentum: share of the old momentum that a step keeps.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the parameters that have gradients; closures are not taken."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(state["momentum"], group["momentum"])
                matrix = ahead.reshape(len(ahead), -1)
                size = RMS * max(matrix.shape) ** 0.5
                update = orthogonalise(matrix).view(ahead.shape)
                parameter.add_(update, alpha=-group["lr"] * size)


def is_matrix(parameter: Tensor) -> bool:
    """Whether Muon should move it: a weight with many directions, and not too large."""
    if parameter.ndim < 2 or parameter.numel() > LARGEST:
        return False
    return min(len(parameter), parameter[0].numel()) >= SMALLEST


def orthogonalise(matrix: Tensor) -> Tensor:
    """Return about U V^T of a matrix (n, m) = U S V^T, by Newton and Schulz's iteration."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x: Tensor = matrix if wide else matrix.T
    x = x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.T
