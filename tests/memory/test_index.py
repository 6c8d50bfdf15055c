"""Annoy and Milvus against a comparison with every key."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from memdriven.errors import RetrievalError
from memdriven.memory import index as module
from memdriven.memory.index import AnnoyIndex, MilvusIndex


def clustered(n: int, dim: int = 24, seed: int = 0) -> Tensor:
    """Keys in clumps, as captions of a few species are."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(12, dim, generator=generator)
    which = torch.randint(12, (n,), generator=generator)
    return centres[which] + 0.5 * torch.randn(n, dim, generator=generator)


def recall(found: Tensor, truth: Tensor) -> float:
    pairs = zip(found.tolist(), truth.tolist(), strict=True)
    return sum(len({*own} & {*wanted}) / len(wanted) for own, wanted in pairs) / len(truth)


class OneNeighbour:
    """What Annoy 1.17.3 does on some machines: one neighbour, whatever is asked."""

    def __init__(self, n: int, answer: Sequence[int] = (0,)) -> None:
        self.n, self.answer = n, answer

    def get_n_items(self) -> int:
        return self.n

    def get_nns_by_vector(self, key: object, k: int, effort: int) -> list[int]:
        return list(self.answer)


def exact(keys: Tensor, queries: Tensor, k: int) -> Tensor:
    unit = torch.nn.functional.normalize
    return (
        (unit(queries, dim=1) @ unit(keys, dim=1).T).sort(dim=1, descending=True, stable=True).indices[:, :k]
    )


def test_annoy_reaches_the_recall_it_is_tuned_to(tmp_path: Path) -> None:
    keys, queries = clustered(1500), clustered(50, seed=3)
    annoy, truth = AnnoyIndex(keys, tmp_path / "trees"), exact(keys, queries, 10)
    assert annoy.recall >= module.GOOD_RECALL
    tuned = recall(annoy.search(5 * queries, 10), truth)
    annoy.search_k = 10
    assert tuned > max(0.85, recall(annoy.search(queries, 10), truth))


def test_annoy_returns_k_even_when_its_effort_is_too_small(tmp_path: Path) -> None:
    annoy = AnnoyIndex(clustered(60), tmp_path / "trees")
    annoy.search_k = 1
    ids = annoy.search(clustered(2, seed=1), 60)
    assert sorted(ids[0].tolist()) == list(range(60))


def test_an_annoy_that_finds_too_few_is_refused(tmp_path: Path) -> None:
    built = AnnoyIndex(clustered(30), tmp_path / "trees")
    built.trees = OneNeighbour(30)
    assert built.search(clustered(1), 1).tolist() == [[0]]
    with pytest.raises(RetrievalError, match=r"5 neighbours.*\n?.*1, whatever the effort"):
        built.search(clustered(1), 5)


@pytest.mark.parametrize("answer", [[3, 3, 3, 3, 3], [0, 1, 2, 3, 30], [0, 1, 2, 3, -1]])
def test_an_annoy_that_repeats_itself_or_names_no_key_is_refused(tmp_path: Path, answer: list[int]) -> None:
    built = AnnoyIndex(clustered(30), tmp_path / "trees")
    built.trees = OneNeighbour(30, answer)
    with pytest.raises(RetrievalError, match="5 neighbours"):
        built.search(clustered(1), 5)


def test_a_low_recall_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(AnnoyIndex, "search", lambda self, queries, k: torch.zeros(len(queries), k).long())
    for _ in range(2):  # measured, then read
        with pytest.raises(RetrievalError, match="nearest keys from Annoy"):
            AnnoyIndex(clustered(60), tmp_path / "poor")


def test_equal_keys_lower_no_recall(tmp_path: Path) -> None:
    assert AnnoyIndex(torch.eye(4).repeat(30, 1), tmp_path / "trees").recall == 1.0


def test_annoy_comes_back_from_disk_and_damaged_trees_are_planted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, path = clustered(120), tmp_path / "sub" / "trees"
    built = AnnoyIndex(keys, path)
    whole = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(AnnoyIndex, "tune", None)
        loaded = AnnoyIndex(keys, path)
    assert (loaded.search_k, loaded.recall, loaded.trees.get_n_items()) == (built.search_k, built.recall, 120)
    assert torch.equal(loaded.search(keys[:5], 7), built.search(keys[:5], 7))
    path.write_bytes(whole[:-8])
    assert AnnoyIndex(keys, path).trees.get_n_items() == 120
    assert path.read_bytes() == whole, "equal keys give equal trees"
    path.unlink()
    assert AnnoyIndex(keys, path).trees.get_n_items() == 120


@pytest.fixture
def pymilvus(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv(module.MILVUS_VARIABLE, raising=False)
    pytest.importorskip("milvus_lite", reason="Milvus's embedded engine is not installed")
    return pytest.importorskip("pymilvus", reason="Milvus's client is not installed")


def test_milvus_finds_what_exact_search_finds(pymilvus: Any, tmp_path: Path) -> None:
    keys, queries = clustered(700), 3 * clustered(6, seed=1)
    index = module.open_index("milvus", keys, "sentence_abc", tmp_path / "index")
    ids = index.search(queries, 12)
    assert index.count == 700
    assert ids.dtype == torch.int64
    assert torch.equal(ids, exact(keys, queries, 12))
    for k in (0, 701):
        with pytest.raises(RetrievalError, match="k: a whole number in 1"):
            index.search(queries, k)
    assert index.search(queries, 700)[0].sort().values.tolist() == list(range(700))


def test_milvus_keeps_its_keys_and_makes_up_for_a_killed_builder(
    pymilvus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = clustered(60)
    first = MilvusIndex(keys, "memdriven_kept", tmp_path)
    first.client.delete("memdriven_kept", ids=[3, 59])
    again = MilvusIndex(keys, "memdriven_kept", tmp_path)
    assert again.search(keys[[3, 59]], 1).tolist() == [[3], [59]]
    monkeypatch.setattr(pymilvus.MilvusClient, "upsert", None)  # nothing more is written
    assert MilvusIndex(keys, "memdriven_kept", tmp_path).count == 60


def test_a_milvus_that_finds_too_few_is_refused(pymilvus: Any, tmp_path: Path) -> None:
    index = MilvusIndex(clustered(20), "memdriven_few", tmp_path)
    index.client.delete("memdriven_few", ids=[0, 1])
    with pytest.raises(RetrievalError, match="20 neighbours from Milvus"):
        index.search(clustered(1), 20)
    index.client.drop_collection("memdriven_few")
    with pytest.raises(RetrievalError, match="memdriven_few"):
        index.search(clustered(1), 5)


def test_a_milvus_server_that_is_not_there(
    pymilvus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://me:secret@127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv(module.MILVUS_VARIABLE, address)
    with pytest.raises(RetrievalError, match=module.MILVUS_VARIABLE) as error:
        module.open_index("milvus", clustered(5), "x", tmp_path / "nothing")
    assert "secret" not in str(error.value)
    assert not (tmp_path / "nothing").exists()


def test_without_milvus_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(RetrievalError, match=r"\.\[milvus\]"):
        module.open_index("milvus", clustered(5), "x", tmp_path)
