"""The cache keeps what was used last."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from memdriven.memory.retrieval import LruCache


class Maker:
    """Makes tensors and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, keys: list[int]) -> list[Tensor]:
        self.asked.append(keys)
        return [torch.tensor(float(key)) for key in keys]


def test_only_missing_tensors_are_made_each_once() -> None:
    cache, make = LruCache(10), Maker()
    assert [float(t) for t in cache.fetch([3, 1, 3], make)] == [3.0, 1.0, 3.0]
    assert [float(t) for t in cache.fetch([1, 2, 3], make)] == [1.0, 2.0, 3.0]
    assert make.asked == [[3, 1], [2]]
    assert cache.fetch([], make) == []


def test_the_longest_unused_goes_first() -> None:
    cache, make = LruCache(2), Maker()
    cache.fetch([1, 2], make)
    cache.fetch([1], make)
    cache.fetch([3], make)
    cache.fetch([1], make)
    cache.fetch([2], make)
    assert make.asked == [[1, 2], [3], [2]]
    assert len(cache) == 2


def test_a_request_larger_than_the_cache_is_served() -> None:
    cache = LruCache(2)
    assert len(cache.fetch(list(range(9)), Maker())) == 9
    assert len(cache) == 2


def test_threads_get_what_they_asked_for() -> None:
    cache = LruCache(5)

    def ask(seed: int) -> bool:
        keys = [random.Random(seed).randrange(12) for _ in range(6)]
        return [float(t) for t in cache.fetch(keys, Maker())] == [float(key) for key in keys]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(300)))
    assert len(cache) <= 5
