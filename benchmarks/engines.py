"""Nearest-neighbour libraries side by side: building, searching, saving, and trying harder.

All search unit keys by inner product on one thread a query. The three graphs (hierarchical
navigable small worlds) get the same two settings: 16 links a key and 100 candidates at building.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from memdriven.memory.index import AnnoyIndex, ExactIndex

LINKS, CANDIDATES = 16, 100
Rows = NDArray[np.float32]


class Engine(Protocol):
    """An index that can be filled in parts."""

    efforts: tuple[int, ...]
    """Settings of the search to try, least first; empty where there is nothing to set."""
    parts: bool
    """Whether `add` may be called again after `load`."""

    def __init__(self, n: int, dim: int) -> None:
        """Make room for n keys."""

    def add(self, rows: Rows) -> None:
        """Add keys (r, d), and do all the work that this takes."""

    def set_effort(self, effort: int) -> None:
        """Choose one of `efforts`."""

    def search(self, query: Rows, k: int) -> NDArray[np.int64]:
        """Return the rows of k keys near one query (d,), nearest first."""

    def save(self, path: Path) -> None:
        """Write the index."""

    def load(self, path: Path) -> None:
        """Read it."""

    def __len__(self) -> int:
        """Return how many keys it holds."""


class Exact:
    """Every key, with memdriven's own index."""

    efforts: tuple[int, ...] = ()
    parts = False

    def __init__(self, n: int, dim: int) -> None:
        self.index: ExactIndex | None = None

    def add(self, rows: Rows) -> None:
        self.index = ExactIndex(torch.from_numpy(rows))

    def set_effort(self, effort: int) -> None:
        raise ValueError("exact search has no effort")

    def search(self, query: Rows, k: int) -> NDArray[np.int64]:
        assert self.index is not None
        ids, _ = self.index.search(torch.from_numpy(query)[None], k)
        found: NDArray[np.int64] = ids[0].numpy()
        return found

    def save(self, path: Path) -> None:
        assert self.index is not None
        np.save(path.open("wb"), self.index.keys.numpy())

    def load(self, path: Path) -> None:
        self.index = ExactIndex(torch.from_numpy(np.load(path)))

    def __len__(self) -> int:
        return 0 if self.index is None else len(self.index)


class Annoy:
    """Forty random-projection trees, with memdriven's own index."""

    efforts = tuple(100 * 2**step for step in range(14))
    parts = False

    def __init__(self, n: int, dim: int) -> None:
        self.index: AnnoyIndex | None = None

    def add(self, rows: Rows) -> None:
        self.index = AnnoyIndex.build(torch.from_numpy(rows), trees=40)

    def set_effort(self, effort: int) -> None:
        assert self.index is not None
        self.index.search_k = effort

    def search(self, query: Rows, k: int) -> NDArray[np.int64]:
        assert self.index is not None
        return self.index.search(torch.from_numpy(query)[None], k)[0][0].numpy()

    def save(self, path: Path) -> None:
        assert self.index is not None
        self.index.save(path)

    def load(self, path: Path) -> None:
        self.index = AnnoyIndex.load(path)

    def __len__(self) -> int:
        return 0 if self.index is None else len(self.index)


class Faiss:
    """faiss-cpu, IndexHNSWFlat."""

    efforts = tuple(10 * 2**step for step in range(9))
    parts = True

    def __init__(self, n: int, dim: int) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.index: Any = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = CANDIDATES

    def add(self, rows: Rows) -> None:
        self.index.add(rows)

    def set_effort(self, effort: int) -> None:
        self.index.hnsw.efSearch = effort

    def search(self, query: Rows, k: int) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self.index.search(query[None], k)[1][0]
        return found

    def save(self, path: Path) -> None:
        import faiss

        faiss.write_index(self.index, str(path))

    def load(self, path: Path) -> None:
        import faiss

        self.index = faiss.read_index(str(path))

    def __len__(self) -> int:
        return int(self.index.ntotal)


class Hnswlib:
    """hnswlib."""

    efforts = Faiss.efforts
    parts = True

    def __init__(self, n: int, dim: int) -> None:
        import hnswlib

        self.n = n
        self.index: Any = hnswlib.Index(space="ip", dim=dim)
        self.index.init_index(max_elements=n, M=LINKS, ef_construction=CANDIDATES, random_seed=0)
        self.index.set_num_threads(1)

    def add(self, rows: Rows) -> None:
        self.index.add_items(rows, np.arange(len(self), len(self) + len(rows)))

    def set_effort(self, effort: int) -> None:
        self.index.set_ef(effort)

    def search(self, query: Rows, k: int) -> NDArray[np.int64]:
        return np.asarray(self.index.knn_query(query, k=k, num_threads=1)[0][0], np.int64)

    def save(self, path: Path) -> None:
        self.index.save_index(str(path))

    def load(self, path: Path) -> None:
        self.index.load_index(str(path), max_elements=self.n)
        self.index.set_num_threads(1)

    def __len__(self) -> int:
        return int(self.index.get_current_count())


class Usearch:
    """usearch with float32 keys."""

    efforts = Faiss.efforts
    parts = True

    def __init__(self, n: int, dim: int) -> None:
        from usearch.index import Index

        self.index: Any = Index(
            ndim=dim, metric="ip", dtype="f32", connectivity=LINKS, expansion_add=CANDIDATES
        )

    def add(self, rows: Rows) -> None:
        self.index.add(np.arange(len(self), len(self) + len(rows)), rows, threads=1)

    def set_effort(self, effort: int) -> None:
        self.index.expansion_search = effort

    def search(self, query: Rows, k: int) -> NDArray[np.int64]:
        return np.asarray(self.index.search(query, k, threads=1).keys, np.int64)

    def save(self, path: Path) -> None:
        self.index.save(str(path))

    def load(self, path: Path) -> None:
        self.index.load(str(path))

    def __len__(self) -> int:
        return len(self.index)


ENGINES: dict[str, type[Engine]] = {
    "exact": Exact,
    "annoy": Annoy,
    "faiss": Faiss,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
}
