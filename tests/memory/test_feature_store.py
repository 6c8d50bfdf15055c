"""Feature stores: exact reads, refusal of what is damaged or foreign."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from memdriven.errors import BankError
from memdriven.files import sealed
from memdriven.memory import codec
from memdriven.memory.bank import FeatureStore, write_store


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    blobs = [codec.encode(rng.random((4, 2, 2), np.float32)) for _ in range(3)]
    folder = tmp_path / "stored"
    folder.mkdir()
    write_store(folder, ["a", "b", "c"], blobs, (4, 2, 2), {"encoder": "right"})
    return folder


def test_load_all_is_exactly_the_items(stored: Path) -> None:
    store = FeatureStore.open(stored)
    levels, scale = store.load_all(progress=False)
    assert levels.dtype == torch.uint8
    assert levels.shape == (3, 4, 2, 2)
    for row in range(3):
        assert torch.equal(levels[row] * scale[row], torch.from_numpy(store[row]))
    some, factors = store.load_all([1, 2, 1], workers=1, progress=False)
    assert torch.equal(some, levels[[1, 2, 1]])
    assert torch.equal(factors, scale[[1, 2, 1]])


def edit_header(folder: Path, **changes: object) -> None:
    header = json.loads((folder / "features.json").read_text()) | changes
    (folder / "features.json").write_text(json.dumps(sealed(header)))


def test_another_encoder_is_named_beside_the_wanted_one(stored: Path) -> None:
    assert FeatureStore.open(stored, expect_encoder="right").ids == ["a", "b", "c"]
    with pytest.raises(BankError, match=r"wrong.*right"):
        FeatureStore.open(stored, expect_encoder="wrong")


@pytest.mark.parametrize("file", ["features.json", "features.bin", "offsets.npy", "ids.txt"])
def test_missing_and_truncated_files_are_refused(stored: Path, file: str) -> None:
    content = (stored / file).read_bytes()
    (stored / file).write_bytes(content[:-2])
    with pytest.raises(BankError, match=file):
        FeatureStore.open(stored)
    (stored / file).unlink()
    with pytest.raises(BankError, match=file):
        FeatureStore.open(stored)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "memdriven.bank/1"},
        {"count": 4},
        {"count": "3"},
        {"count": True},
        {"count": -1},
        {"shape": [4, 2]},
        {"shape": None},
        {"shape": [4, 2, -2]},
        {"files": []},
        {"files": {}},
    ],
)
def test_foreign_headers_are_refused(stored: Path, changes: dict[str, object]) -> None:
    edit_header(stored, **changes)
    with pytest.raises(BankError):
        FeatureStore.open(stored)


def test_changed_bytes_are_found_by_verify_and_by_reading(stored: Path) -> None:
    content = bytearray((stored / "features.bin").read_bytes())
    content[6] ^= 255
    (stored / "features.bin").write_bytes(content)
    store = FeatureStore.open(stored)
    with pytest.raises(BankError, match="SHA-256"):
        store.verify()


def test_positions_that_do_not_rise_are_refused(stored: Path) -> None:
    np.save(stored / "offsets.npy", np.load(stored / "offsets.npy")[[0, 2, 1, 3]])
    with pytest.raises(BankError, match="byte positions"):
        FeatureStore.open(stored)


def test_no_store_at_all(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="no such folder"):
        FeatureStore.open(tmp_path / "nowhere")


def test_rows_and_ids_that_do_not_exist(stored: Path) -> None:
    store = FeatureStore.open(stored)
    for row in (-1, 3):
        with pytest.raises(IndexError):
            store[row]
    with pytest.raises(BankError, match="'d'"):
        store.index_of("d")


def test_threads_read_what_one_thread_reads(stored: Path) -> None:
    store = FeatureStore.open(stored)
    wanted = [store[row] for row in range(3)]
    with ThreadPoolExecutor(4) as pool:
        for row, v in enumerate(pool.map(lambda i: store[i % 3], range(60))):
            assert (v == wanted[row % 3]).all()


def test_copies_of_a_store_are_equal(stored: Path, tmp_path: Path) -> None:
    shutil.copytree(stored, tmp_path / "copy")
    assert (FeatureStore.open(tmp_path / "copy")[1] == FeatureStore.open(stored)[1]).all()
