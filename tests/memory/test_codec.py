"""The codec keeps its promise of fidelity, and refuses what is not its own."""

from __future__ import annotations

import lzma
import struct

import numpy as np
import pytest

from memdriven.errors import BankError
from memdriven.memory import codec

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
        back = codec.decode(codec.encode(v, wanted), shape)
        assert back.shape == shape
        assert back.dtype == np.float32
        assert cosine(v, back) >= wanted - 1e-7


def test_the_step_is_as_coarse_as_the_cosine_allows() -> None:
    v = sparse_features(1)
    sizes = [len(codec.encode(v, wanted)) for wanted in (0.95, 0.98, 0.991, 0.999)]
    assert sizes == sorted(sizes)
    assert cosine(v, codec.decode(codec.encode(v), SHAPE)) < codec.COSINE + 2e-4


def test_scale_makes_the_squared_error_least() -> None:
    v = sparse_features(2)
    levels, scale = codec.decode_levels(codec.encode(v), SHAPE)

    def error(factor: float) -> float:
        return float(((v - factor * scale * levels.astype(np.float64)) ** 2).sum())

    assert error(1.0) < min(error(0.999), error(1.001))


def test_levels_and_places_survive_exactly() -> None:
    """Decoding the two planes by a slow loop gives the same levels."""
    v = sparse_features(3, (64, 16, 16))
    v[10:30] = 0  # a gap of more than 256 places
    blob = codec.encode(v)
    planes = lzma.decompress(blob[4:], lzma.FORMAT_RAW, filters=codec._FILTERS)
    slow, place = [0] * v.size, -1
    for gap, level in zip(planes[: len(planes) // 2], planes[len(planes) // 2 :], strict=True):
        place += gap + 1
        slow[place] = level
    levels, scale = codec.decode_levels(blob, v.shape)
    assert levels.ravel().tolist() == slow
    assert scale == struct.unpack("<f", blob[:4])[0]
    assert (v[levels > 0] > 0).all()


def test_decoding_into_an_array_overwrites_it() -> None:
    v = sparse_features(4, (8, 4, 4))
    out = np.full((8, 4, 4), 7, np.uint8)
    levels, _ = codec.decode_levels(codec.encode(v), (8, 4, 4), out)
    assert levels is out
    assert (out == codec.decode_levels(codec.encode(v), (8, 4, 4))[0]).all()


@pytest.mark.parametrize("fill", [0.0, 3.5])
def test_constant_features(fill: float) -> None:
    v = np.full((16, 4, 4), fill, np.float32)
    assert np.allclose(codec.decode(codec.encode(v), v.shape), v)


def test_equal_features_give_equal_bytes() -> None:
    assert codec.encode(sparse_features(5)) == codec.encode(sparse_features(5).astype(np.float64))


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_features_that_no_relu_gives_are_refused(bad: float) -> None:
    v = sparse_features(6, (8, 4, 4))
    v[0, 0, 0] = bad
    with pytest.raises(BankError, match="non-negative"):
        codec.encode(v)


def test_a_value_that_dwarfs_the_rest_is_refused_when_the_cosine_is_out_of_reach() -> None:
    v = np.ones(SHAPE, np.float32)
    v[0, 0, 0] = 1000.0
    with pytest.raises(BankError, match="dwarfs"):
        codec.encode(v)
    assert codec.decode(codec.encode(v, 0.9), SHAPE)[0, 0, 0] == pytest.approx(1000.0, rel=0.1)


def test_damaged_blobs_are_refused() -> None:
    v = sparse_features(7, (32, 4, 4))
    blob = codec.encode(v)
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
            codec.decode(bad, v.shape)
    with pytest.raises(BankError):
        codec.decode(blob, (1, 2, 2))


def test_a_decompression_bomb_is_refused_without_unpacking_it() -> None:
    bomb = blob = struct.pack("<f", 1.0) + lzma.compress(
        bytes(20_000_000), lzma.FORMAT_RAW, filters=codec._FILTERS
    )
    assert len(blob) < 10_000
    with pytest.raises(BankError):
        codec.decode(bomb, (4, 4, 4))
