"""Weights come back within what float16, or eight bits a row, can say."""

import lzma
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from memdriven.encoders import weights
from memdriven.encoders.weights import SCALE, pack, read_weights, unpack, weights_hash, write_weights
from memdriven.errors import CheckpointError


def test_what_float16_cannot_hold_is_kept_and_counts(tmp_path: Path) -> None:
    """The variance of a memory's features may be over 65,504; a training must not end in an error for it."""
    norm = torch.nn.BatchNorm2d(3)
    before = weights_hash(norm)
    norm.running_var.copy_(torch.tensor([1.0, 71_330.0, 90_000.0]))
    write_weights(tmp_path / "a.safetensors", norm, {})
    found = load_file(tmp_path / "a.safetensors")
    assert torch.equal(found["running_var"], norm.running_var)
    assert found["weight"].dtype == torch.float16
    large = weights_hash(norm)
    norm.running_var[2] = 80_000.0
    assert len({before, large, weights_hash(norm)}) == 3
    norm.running_var[2] = float("inf")
    with pytest.raises(CheckpointError, match="finite numbers in running_var"):
        write_weights(tmp_path / "b.safetensors", norm, {})


def test_packed_weights_are_within_half_a_level_of_their_rows() -> None:
    torch.manual_seed(0)
    kernel = torch.randn(8, 4, 3, 3) * torch.logspace(-6, 3, 8).view(8, 1, 1, 1)
    kernel[3] = 0
    given = {"a.weight": kernel.half().float(), "a.bias": torch.randn(8)}
    packed = pack(given)
    assert packed["a.weight"].dtype == torch.int8
    assert set(packed) == {"a.weight", "a.bias", "a.weight" + SCALE}
    found = unpack(packed)
    assert found.keys() == given.keys()
    assert torch.equal(found["a.bias"], given["a.bias"].half())
    again = pack(found)
    same = [torch.equal(value, again[key]) for key, value in packed.items()]
    assert all(same), "a frozen stage keeps its bits"
    error = (found["a.weight"] - given["a.weight"]).flatten(1).abs().amax(1)
    assert (error <= given["a.weight"].flatten(1).abs().amax(1) / 127 * 0.5002).all()


def test_weights_that_were_never_packed_stay_as_they_are() -> None:
    half = {"a.weight": torch.randn(3, 2).half()}
    assert torch.equal(unpack(half)["a.weight"], half["a.weight"])


def test_compressed_weights_are_read_as_far_as_they_may_be_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, given = tmp_path / "a.safetensors.xz", {"a": torch.zeros(1000)}
    path.write_bytes(lzma.compress(save(given)))
    assert torch.equal(read_weights(path)["a"], given["a"])
    monkeypatch.setattr(weights, "MOST", 2000)
    with pytest.raises(CheckpointError, match="damaged or foreign"):
        read_weights(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="damaged or foreign"):
        read_weights(path)
