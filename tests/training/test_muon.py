"""Muon: its steps are those of a singular value decomposition, and its state is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memdriven.errors import TrainingError
from memdriven.training.muon import COEFFICIENTS, RMS, ROUNDS, Muon, is_matrix, orthogonalise
from memdriven.training.steps import GanTrainer
from tests.training.small_gan import run, train_settings


def by_svd(matrix: np.ndarray) -> np.ndarray:
    """Return U p(S / |S|) V^T, p being the quintic applied to each singular value in turn."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    a, b, c = COEFFICIENTS
    s = s / np.sqrt((s**2).sum())
    for _ in range(ROUNDS):
        s = a * s + b * s**3 + c * s**5
    made: np.ndarray = (u * s) @ vt
    return made


@pytest.mark.parametrize("shape", [(16, 144), (40, 20), (24, 24)])
def test_all_directions_become_alike(shape: tuple[int, int]) -> None:
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = orthogonalise(matrix).numpy()
    assert np.allclose(made, by_svd(matrix.numpy()), atol=1e-9)
    if shape[0] != shape[1]:  # a square's smallest directions need more than five rounds
        values = np.linalg.svd(made, compute_uv=False)
        assert values.min() > 0.6
        assert values.max() < 1.3
    assert not orthogonalise(torch.zeros(16, 16)).any(), "no gradient, no step"


def test_two_steps_by_hand() -> None:
    generator = torch.Generator().manual_seed(1)
    start, *gradients = torch.randn(3, 18, 16, 3, 3, generator=generator, dtype=torch.float64)
    weight = nn.Parameter(start.clone().to(memory_format=torch.channels_last))
    optimiser = Muon([weight], lr=0.01, momentum=0.9)
    wanted, momentum = start.numpy().reshape(18, -1), np.zeros((18, 144))
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimiser.step()
        g = gradient.numpy().reshape(18, -1)
        momentum = 0.9 * momentum + 0.1 * g
        wanted = wanted - 0.01 * RMS * 12 * by_svd(0.1 * g + 0.9 * momentum)
    assert np.allclose(weight.detach().numpy().reshape(18, -1), wanted, atol=1e-9)
    weight.grad = None
    optimiser.step()
    assert np.allclose(weight.detach().numpy().reshape(18, -1), wanted, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        ((16, 16), True),
        ((20, 2, 3, 3), True),
        ((3, 24, 3, 3), False),
        ((64,), False),
        ((20, 1, 3, 3), False),
        ((512, 512, 3, 3), False),
    ],
)
def test_what_is_a_matrix(shape: tuple[int, ...], fits: bool) -> None:
    assert is_matrix(torch.empty(shape, device="meta")) == fits


def test_every_weight_has_one_optimiser(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[GanTrainer] = []
    step = GanTrainer.step

    def watched(self: GanTrainer, *arguments: object) -> dict[str, Tensor]:
        seen.append(self)
        return step(self, *arguments)

    monkeypatch.setattr(GanTrainer, "step", watched)
    run(world, tmp_path / "run", train_settings(optimiser="muon", steps=1))
    trainer = seen[0]
    held = [
        p
        for optimiser in (trainer.g_optimiser, trainer.g_muon)
        if optimiser is not None
        for group in optimiser.param_groups
        for p in group["params"]
    ]
    assert trainer.g_muon is not None
    assert sorted(map(id, held)) == sorted(map(id, trainer.generator.parameters()))


def test_a_run_goes_on_from_another_optimisers(world: Path, tmp_path: Path) -> None:
    """Networks are taken as they are, moments of other weights are not."""
    adam, muon = train_settings(steps=1), train_settings(steps=2, optimiser="muon")
    run(world, tmp_path / "adam", adam)
    run(world, tmp_path / "muon", muon, start_from=tmp_path / "adam")
    run(world, tmp_path / "back", adam, start_from=tmp_path / "muon")
    told = json.loads((tmp_path / "back/checkpoint/config.json").read_text())["facts"]
    assert [part["steps"] for part in told["earlier_runs"]] == [1, 2]
    settings = json.loads((tmp_path / "adam/config.json").read_text())
    settings["train"]["optimiser"] = "muon"
    (tmp_path / "adam/config.json").write_text(json.dumps(settings))
    with pytest.raises(TrainingError, match="moments of other weights"):
        run(world, tmp_path / "adam", train_settings(steps=1, optimiser="muon"), resume=True)
