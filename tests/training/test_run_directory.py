"""A state gives back the same bits, or says that it is damaged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import nn

from memdriven.errors import CheckpointError
from memdriven.training.run_directory import first_broken, load_state, save_state

Parts = tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer]]


def parts(seed: int, steps: int = 2, outputs: int = 3) -> Parts:
    """Return a small network and its optimiser after some steps."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(4, outputs), nn.BatchNorm1d(outputs))
    optimiser = torch.optim.Adam(network.parameters())
    for _ in range(steps):
        network(torch.ones(2, 4).mul_(torch.arange(8).view(2, 4))).square().sum().backward()
        optimiser.step()
    return {"net": network}, {"net": optimiser}


def test_weights_moments_and_facts_come_back(tmp_path: Path) -> None:
    one, other = parts(0), parts(1)
    save_state(tmp_path / "s", *one, {"step": 2, "seconds": 1.5})
    assert load_state(tmp_path / "s", *other) == {"step": 2, "seconds": 1.5}
    for name, value in one[0]["net"].state_dict().items():
        assert torch.equal(value, other[0]["net"].state_dict()[name])
    moments = [optimisers["net"].state_dict()["state"][0] for _, optimisers in (one, other)]
    assert moments[0].keys() == moments[1].keys()
    assert all(torch.equal(moments[0][key], moments[1][key]) for key in moments[0])


def test_a_flipped_byte_anywhere_is_found(tmp_path: Path) -> None:
    save_state(tmp_path / "s", *parts(0), {"step": 2})
    good, other = (tmp_path / "s").read_bytes(), parts(1)
    header = 8 + int.from_bytes(good[:8], "little")
    places = [*range(header), *random.Random(0).sample(range(header, len(good)), 100)]
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 + place % 255
        (tmp_path / "s").write_bytes(bad)
        with pytest.raises(CheckpointError, match="a state that memdriven saved"):
            load_state(tmp_path / "s", *other)
    for cut in (b"", good[:5], good[:-1], good + b" "):
        (tmp_path / "s").write_bytes(cut)
        with pytest.raises(CheckpointError, match="a state that memdriven saved"):
            load_state(tmp_path / "s", *other)
    with pytest.raises(CheckpointError, match="no such file"):
        load_state(tmp_path / "none", *other)


def test_another_network_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path / "s", *parts(0), {})
    with pytest.raises(CheckpointError, match="a state that memdriven saved"):
        load_state(tmp_path / "s", *parts(1, outputs=5))


def test_a_network_that_has_grown_keeps_what_is_new(tmp_path: Path) -> None:
    save_state(tmp_path / "s", *parts(0), {})
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    last = network[2].weight.clone()
    optimisers = {"net": torch.optim.Adam(network.parameters())}
    with pytest.raises(CheckpointError, match="parts missing"):
        load_state(tmp_path / "s", {"net": network}, optimisers)
    load_state(tmp_path / "s", {"net": network}, optimisers, grow=True)
    assert torch.equal(network[0].weight, parts(0)[0]["net"].state_dict()["0.weight"])
    assert torch.equal(network[2].weight, last)
    assert not optimisers["net"].state


def test_a_weight_that_is_no_number_is_named() -> None:
    modules, _ = parts(0)
    assert first_broken(modules) is None
    with torch.no_grad():
        modules["net"].get_parameter("0.bias")[1] = torch.inf
    assert first_broken(modules) == "net.0.bias"
