from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from memdriven.checkpoint import MAP, load_checkpoint
from memdriven.errors import BankError
from memdriven.explore import memory_map
from memdriven.explore.memory_map import item_directions, neighbour_embedding, principal, read_map, renew_map
from memdriven.pipeline.pipeline import MemoryDrivenPipeline


def test_directions_are_the_mean_caption(pipe: MemoryDrivenPipeline) -> None:
    rows = pipe.bank.sentence_keys[list(pipe.bank.caption_rows(3))]
    wanted = torch.nn.functional.normalize(rows.mean(0), dim=0)
    torch.testing.assert_close(item_directions(pipe.bank)[3], wanted)


def test_principal_directions_agree_with_the_singular_values() -> None:
    torch.manual_seed(0)
    rows = torch.randn(50, 6) * torch.tensor([5.0, 3.0, 1.0, 0.5, 0.2, 0.1])
    found = principal(rows)
    u, s, _ = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    torch.testing.assert_close(found.abs(), (u[:, :2] * s[:2]).abs(), atol=1e-4, rtol=1e-4)


def test_layout_keeps_groups_together() -> None:
    torch.manual_seed(0)
    rows = torch.cat([torch.randn(20, 8) * 0.1 + 4 * torch.eye(8)[group] for group in range(3)])
    y = neighbour_embedding(rows, perplexity=8, steps=400)
    nearest = (torch.cdist(y, y) + 1e9 * torch.eye(60)).argmin(1)
    assert torch.equal(nearest // 20, torch.arange(60) // 20)


def test_map_is_stored_for_its_bank_alone(
    pipe: MemoryDrivenPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(pipe.checkpoint.path, tmp_path / "model")
    path = folder / MAP
    plain = read_map(pipe.bank, path)
    assert not plain.stored
    assert plain.points.abs().max() == pytest.approx(1.0)
    renew_map(folder, steps=20)
    drawn = read_map(pipe.bank, path)
    assert drawn.stored
    assert drawn.points.shape == (pipe.bank.n, 2)
    assert not torch.allclose(drawn.points, plain.points, atol=0.05)
    assert load_checkpoint(folder).hash == pipe.checkpoint.hash, "the map is recorded, and decides nothing"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(BankError):
        read_map(pipe.bank, path)
    exchanged = save({"points": torch.zeros(3, 2)}, {"schema": memory_map.SCHEMA, "bank": "0" * 16})
    for stale in (content[:-4], exchanged):
        path.write_bytes(stale)
        renew_map(folder, steps=20)
        assert torch.equal(read_map(pipe.bank, path).points, drawn.points)
    path.write_bytes(exchanged)
    assert torch.equal(read_map(pipe.bank, path).points, plain.points), "of another memory: drawn anew"
    monkeypatch.setattr(memory_map, "LARGEST", 2)
    renew_map(folder)
    assert not path.exists()
    load_checkpoint(folder)


def test_a_query_lies_amid_its_nearest(pipe: MemoryDrivenPipeline) -> None:
    drawn = read_map(pipe.bank, Path("nowhere"))
    at = drawn.place(drawn.directions[2], count=1)
    torch.testing.assert_close(at, drawn.points[2])
