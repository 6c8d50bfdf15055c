"""Features on disk: what the codec promises, exact reads, and refusal of what is damaged or foreign."""

from __future__ import annotations

import json
import lzma
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from memdriven.errors import BankError
from memdriven.files import sealed
from memdriven.memory.features import (
    _FILTERS,
    COSINE,
    FeatureStore,
    Parts,
    decode_levels,
    decode_v,
    encode_v,
    write_store,
)

SHAPE = (512, 16, 16)


def sparse_features(seed: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Stand-in for relu5_3: mostly zeros, exponential values, some channels busier than others."""
    rng = np.random.default_rng(seed)
    rate = rng.beta(0.5, 6.0, size=(shape[0], 1, 1))
    return ((rng.random(shape) < rate) * rng.exponential(20.0, shape)).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine in float64 over everything."""
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


@pytest.mark.parametrize("wanted", [0.9, 0.991, 0.999])
@pytest.mark.parametrize("shape", [SHAPE, (512, 4, 4), (3, 1, 2)])
def test_decoded_features_reach_the_cosine(wanted: float, shape: tuple[int, int, int]) -> None:
    for seed in range(4):
        v = sparse_features(seed, shape) + (shape[0] == 3)
        back = decode_v(encode_v(v, wanted), shape)
        assert back.shape == shape
        assert back.dtype == np.float32
        assert cosine(v, back) >= wanted - 1e-7


def test_the_step_is_as_coarse_as_the_cosine_allows() -> None:
    v = sparse_features(1)
    sizes = [len(encode_v(v, wanted)) for wanted in (0.95, 0.98, 0.991, 0.999)]
    assert sizes == sorted(sizes)
    assert cosine(v, decode_v(encode_v(v), SHAPE)) < COSINE + 2e-4


def test_scale_makes_the_squared_error_least() -> None:
    v = sparse_features(2)
    levels, scale = decode_levels(encode_v(v), SHAPE)

    def error(factor: float) -> float:
        return float(((v - factor * scale * levels.astype(np.float64)) ** 2).sum())

    assert error(1.0) < min(error(0.999), error(1.001))


def test_levels_and_places_survive_exactly() -> None:
    """Decoding the two planes by a slow loop gives the same levels."""
    v = sparse_features(3, (64, 16, 16))
    v[10:30] = 0  # a gap of more than 256 places
    blob = encode_v(v)
    planes = lzma.decompress(blob[4:], lzma.FORMAT_RAW, filters=_FILTERS)
    slow, place = [0] * v.size, -1
    for gap, level in zip(planes[: len(planes) // 2], planes[len(planes) // 2 :], strict=True):
        place += gap + 1
        slow[place] = level
    levels, scale = decode_levels(blob, v.shape)
    assert levels.ravel().tolist() == slow
    assert scale == struct.unpack("<f", blob[:4])[0]
    assert (v[levels > 0] > 0).all()


@pytest.mark.parametrize("fill", [0.0, 3.5])
def test_constant_features(fill: float) -> None:
    v = np.full((16, 4, 4), fill, np.float32)
    assert np.allclose(decode_v(encode_v(v), v.shape), v)


def test_equal_features_give_equal_bytes() -> None:
    assert encode_v(sparse_features(5)) == encode_v(sparse_features(5).astype(np.float64))


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_features_that_no_relu_gives_are_refused(bad: float) -> None:
    v = sparse_features(6, (8, 4, 4))
    v[0, 0, 0] = bad
    with pytest.raises(BankError, match="non-negative"):
        encode_v(v)


def test_a_value_that_dwarfs_the_rest_is_refused_when_the_cosine_is_out_of_reach() -> None:
    v = np.ones(SHAPE, np.float32)
    v[0, 0, 0] = 1000.0
    with pytest.raises(BankError, match="dwarfs"):
        encode_v(v)
    assert decode_v(encode_v(v, 0.9), SHAPE)[0, 0, 0] == pytest.approx(1000.0, rel=0.1)


def test_damaged_blobs_are_refused() -> None:
    v = sparse_features(7, (32, 4, 4))
    blob = encode_v(v)
    damaged = [
        b"",
        blob[:3],
        blob[:20],
        blob[:-1],
        b"\x00" * 40,
        blob[:4] + b"\xff" * 50,
        struct.pack("<f", float("nan")) + blob[4:],
        struct.pack("<f", -1.0) + blob[4:],
    ]
    for bad in damaged:
        with pytest.raises(BankError):
            decode_v(bad, v.shape)
    with pytest.raises(BankError):
        decode_v(blob, (1, 2, 2))


def test_a_decompression_bomb_is_refused_without_unpacking_it() -> None:
    bomb = blob = struct.pack("<f", 1.0) + lzma.compress(bytes(20_000_000), lzma.FORMAT_RAW, filters=_FILTERS)
    assert len(blob) < 10_000
    with pytest.raises(BankError):
        decode_v(bomb, (4, 4, 4))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    blobs = [encode_v(rng.random((4, 2, 2), np.float32)) for _ in range(3)]
    folder = tmp_path / "stored"
    folder.mkdir()
    write_store(folder, ["a", "b", "c"], blobs, (4, 2, 2), {"encoder": "right"})
    return folder


def test_load_all_is_exactly_the_items(stored: Path) -> None:
    store = FeatureStore(stored)
    levels, scale = store.load_all()
    assert levels.dtype == torch.uint8
    assert levels.shape == (3, 4, 2, 2)
    for row in range(3):
        assert torch.equal(levels[row] * scale[row], torch.from_numpy(store[row]))
    some, factors = store.load_all([1, 2, 1])
    assert torch.equal(some, levels[[1, 2, 1]])
    assert torch.equal(factors, scale[[1, 2, 1]])


def edit_header(folder: Path, **changes: object) -> None:
    header = json.loads((folder / "features.json").read_text()) | changes
    (folder / "features.json").write_text(json.dumps(sealed(header)))


def test_another_encoder_is_named_beside_the_wanted_one(stored: Path) -> None:
    assert FeatureStore(stored, expect_encoder="right").ids == ["a", "b", "c"]
    with pytest.raises(BankError, match=r"wrong.*right"):
        FeatureStore(stored, expect_encoder="wrong")


@pytest.mark.parametrize("file", ["features.json", "features.bin", "offsets.npy", "ids.txt"])
def test_missing_and_truncated_files_are_refused(stored: Path, file: str) -> None:
    content = (stored / file).read_bytes()
    (stored / file).write_bytes(content[:-2])
    with pytest.raises(BankError, match=file):
        FeatureStore(stored)
    (stored / file).unlink()
    with pytest.raises(BankError, match=file):
        FeatureStore(stored)


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
        FeatureStore(stored)


def test_changed_bytes_are_found_by_verify_and_by_reading(stored: Path) -> None:
    content = bytearray((stored / "features.bin").read_bytes())
    content[6] ^= 255
    (stored / "features.bin").write_bytes(content)
    store = FeatureStore(stored)
    with pytest.raises(BankError, match="sha256"):
        store.verify()


def test_a_file_that_is_cut_while_it_is_read_is_refused(stored: Path) -> None:
    store = FeatureStore(stored)
    (stored / "features.bin").write_bytes(b"")
    with pytest.raises(BankError, match="as it was opened"):
        store[0]


def test_positions_that_do_not_rise_are_refused(stored: Path) -> None:
    np.save(stored / "offsets.npy", np.load(stored / "offsets.npy")[[0, 2, 1, 3]])
    with pytest.raises(BankError, match="byte positions"):
        FeatureStore(stored)


@pytest.mark.filterwarnings("ignore")  # of what a struck header asks numpy for
def test_no_byte_of_the_positions_header_is_struck_unnoticed(tmp_path: Path) -> None:
    content, positions = tmp_path / "parts", tmp_path / "offsets.npy"
    Parts.write(content, positions, [b"one", b"second", b"a third"])
    intact = positions.read_bytes()
    for place in range(len(intact)):
        struck = bytearray(intact)
        struck[place] ^= 1 << 3 * place % 8
        positions.write_bytes(bytes(struck))
        try:
            found = Parts(content, positions, 3).offsets
        except BankError:
            continue
        assert place >= 128 or found.tolist() == [0, 3, 9, 16], "the end's sum is not held against it"


def test_no_store_at_all(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="no such folder"):
        FeatureStore(tmp_path / "nowhere")


def test_rows_and_ids_that_do_not_exist(stored: Path) -> None:
    store = FeatureStore(stored)
    for row in (-1, 3):
        with pytest.raises((IndexError, BankError)):
            store[row]
    with pytest.raises(BankError, match="'d'"):
        store.index_of("d")


def test_threads_read_what_one_thread_reads(stored: Path) -> None:
    store = FeatureStore(stored)
    wanted = [store[row] for row in range(3)]
    with ThreadPoolExecutor(4) as pool:
        for row, v in enumerate(pool.map(lambda i: store[i % 3], range(60))):
            assert (v == wanted[row % 3]).all()
