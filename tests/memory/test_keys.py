"""Keys of eight bits keep the cosines."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from memdriven.memory.bank import KeysWriter, quantise_keys, unit_keys


def test_directions_survive() -> None:
    keys = torch.randn(200, 256, generator=torch.Generator().manual_seed(0)) * 7
    back = unit_keys(quantise_keys(keys))
    assert torch.allclose(back.norm(dim=1), torch.ones(200), atol=1e-6)
    assert float(torch.cosine_similarity(keys, back).min()) > 0.9998
    unit = keys / keys.norm(dim=1, keepdim=True)
    assert float((unit @ unit.T - back @ back.T).abs().max()) < 0.004


def test_a_zero_row_stays_zero() -> None:
    assert unit_keys(quantise_keys(torch.zeros(1, 4))).tolist() == [[0.0] * 4]


def test_keys_written_in_parts_are_safetensors(tmp_path: Path) -> None:
    keys = torch.arange(-60, 60, dtype=torch.int8).view(12, 10)
    with KeysWriter(tmp_path / "keys", 9, 3, 10) as writer:
        for part in keys.split([4, 5, 1, 2]):
            writer.append(part.numpy().tobytes())
    read = load_file(tmp_path / "keys")
    assert sorted(read) == ["global", "sentence"]
    assert torch.equal(read["sentence"], keys[:9])
    assert torch.equal(read["global"], keys[9:])
