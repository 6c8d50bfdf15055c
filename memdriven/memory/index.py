"""Nearest keys by cosine: exact search, Annoy's trees, and Milvus beyond one machine, behind one protocol."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.errors import BankError, DataError, RetrievalError
from memdriven.files import (
    atomic_file,
    atomic_write_json,
    explain_disk_errors,
    read_json,
    sealed,
    sha256_file,
)
from memdriven.numbers import check_number, check_whole

CHUNK = 1 << 24
"""Similarities held at once by exact search: 64 MiB."""
SCHEMA = "memdriven.annoy/1"
LEAST_RECALL = 0.9
"""An index that finds less of what exact search finds is refused."""
GOOD_RECALL = 0.97
SAMPLE = 200
"""What a new one is tuned to, and by how many queries."""
MILVUS_VARIABLE = "MEMDRIVEN_MILVUS"
"""Environment variable with the address of a Milvus server."""
MILVUS_TIMEOUT = 10.0
"""Seconds to wait for a connection."""
MILVUS_BATCH, MILVUS_MOST = 1000, 16384
"""Keys written at once, and the largest k that a server answers."""


class Index(Protocol):
    """Keys that can be searched."""

    def __len__(self) -> int:
        """Return the number of keys."""
        ...

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return rows (q, k) of the k keys nearest to queries (q, d) of any length, and their cosines.

        The nearest come first. A k below 1, or above the number of keys, is a RetrievalError.
        """
        ...


def open_index(kind: str, keys: Tensor, name: str, folder: Path) -> Index:
    """Return an index of keys (n, d) that stays between runs, building it where there is none.

    Args:
        kind: `annoy` or `milvus`.
        keys: what to search.
        name: of these very keys, so that no other ones are searched in their place.
        folder: where Annoy, and Milvus without a server, keep it.

    Raises:
        RetrievalError: it finds too little, or there is no such engine here.
    """
    if kind == "milvus":
        address = os.environ.get(MILVUS_VARIABLE, "")
        return MilvusIndex.open(keys, f"memdriven_{name}", folder, address)
    return AnnoyIndex.open(keys, folder / f"{name}.annoy")


class ExactIndex:
    """Every key is compared with every query; of equal cosines the lower row wins."""

    def __init__(self, keys: Tensor) -> None:
        """Keep unit copies of keys (n, d)."""
        self.keys = F.normalize(keys.float(), dim=1)

    def __len__(self) -> int:
        """Return n."""
        return len(self.keys)

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """See `Index.search`."""
        _check_k(k, len(self))
        ids, scores = [], []
        unit, rows = F.normalize(queries.float(), dim=1), max(1, CHUNK // len(self))
        for part in torch.split(unit, rows):
            cosines = part.to(self.keys.device) @ self.keys.T  # (q, n)
            best, row = _top_rows(cosines, k)
            scores.append(best)
            ids.append(row)
        return torch.cat(ids), torch.cat(scores)


class AnnoyIndex:
    """Approximate search in random-projection trees (spotify/annoy).

    The angular distance is sqrt(2 - 2 cos). Annoy's default effort finds too little, so the number
    of nodes it inspects is set by `tune` from recall that is measured on the keys themselves.
    """

    def __init__(self, trees: Any, search_k: int, recall: float = 0.0) -> None:
        """Use `open`, `build` or `load`; `trees` is Annoy's own object."""
        self._trees, self.search_k, self.recall = trees, search_k, recall

    @classmethod
    def open(cls, keys: Tensor, path: Path | None = None) -> Self:
        """Load the trees of keys (n, d) that are kept at `path`, or plant them and keep them there.

        Raises:
            RetrievalError: even at their greatest effort they find less than `LEAST_RECALL`.
        """
        index, fresh = None, False
        if path is not None:
            with contextlib.suppress(BankError):  # missing, or damaged
                index = cls.load(path)
        if index is None:
            index, fresh = cls.build(keys), True
            index.tune(keys, k=min(10, len(keys)), recall=GOOD_RECALL)
        if index.recall < LEAST_RECALL:
            raise RetrievalError(
                f"{LEAST_RECALL:.0%} or more of the nearest keys from Annoy",
                f"{index.recall:.0%}, at its greatest effort",
                'use retrieval.index "exact", or install annoy again',
            )
        if fresh and path is not None:
            with contextlib.suppress(DataError):  # a folder that refuses writing: planted again next time
                index.save(path)
        return index

    @classmethod
    def build(cls, keys: Tensor, trees: int = 40) -> Self:
        """Plant the trees over keys (n, d), on one thread so that equal keys give equal trees."""
        from annoy import AnnoyIndex as Trees

        n, dim = keys.shape
        own = Trees(dim, "angular")
        own.set_seed(0)
        unit = F.normalize(keys.float(), dim=1).cpu().numpy()
        for row, key in enumerate(unit):
            own.add_item(row, key)
        own.build(trees, n_jobs=1)
        return cls(own, search_k=min(n, 200) * trees)

    def __len__(self) -> int:
        """Return n."""
        return int(self._trees.get_n_items())

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """See `Index.search`; some of the true neighbours may be missing.

        Annoy returns fewer than k when it inspects too few nodes; then it is asked for more.
        """
        _check_k(k, len(self))
        ids, scores = [], []
        for query in F.normalize(queries.float(), dim=1).cpu().numpy():
            for effort in _doubling(max(self.search_k, k)):
                rows, distances = self._trees.get_nns_by_vector(query, k, effort, True)
                if len(rows) == k:
                    break
            else:
                raise RetrievalError(
                    f"{k} neighbours from Annoy's trees of {len(self)} keys",
                    f"{len(rows)}, whatever the effort",
                    'use retrieval.index "exact", or install annoy again',
                )
            ids.append(rows)
            scores.append(distances)
        return torch.tensor(ids), 1 - torch.tensor(scores).square() / 2

    def tune(self, keys: Tensor, k: int = 10, recall: float = GOOD_RECALL) -> float:
        """Set `search_k` to the least of doubling efforts that finds enough of the true k nearest.

        Some of the keys (n, d), jittered so that none is its own neighbour at distance 0, serve as queries.
        Returns the recall measured at the chosen effort, which is also kept as `recall`.
        """
        generator = torch.Generator().manual_seed(0)
        unit = F.normalize(keys.float().cpu(), dim=1)
        rows = torch.randperm(len(unit), generator=generator)[:SAMPLE]
        jitter = torch.randn(len(rows), unit.shape[1], generator=generator)
        queries = unit[rows] + 0.3 * F.normalize(jitter, dim=1)
        farthest = ExactIndex(unit).search(queries, k)[1][:, -1:]  # (q, 1)
        for effort in _doubling(k):
            self.search_k = effort
            found = torch.einsum("qd,qkd->qk", F.normalize(queries, dim=1), unit[self.search(queries, k)[0]])
            self.recall = float((found >= farthest - 1e-5).float().mean())  # of equal keys any will do
            if self.recall >= recall or effort > len(self) * self._trees.get_n_trees():
                break
        return self.recall

    def save(self, path: Path) -> None:
        """Write the trees to `path` and what is known of them to `path` with `.json` appended."""
        with atomic_file(path) as scratch:
            self._trees.save(str(scratch))
        facts = {"schema": SCHEMA, "sha256": sha256_file(path), "dim": self._trees.f}
        facts |= {"search_k": self.search_k, "recall": self.recall}
        atomic_write_json(_facts_path(path), sealed(facts))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Map trees that `save` wrote.

        Raises:
            BankError: they are missing, truncated or foreign.
        """
        from annoy import AnnoyIndex as Trees

        facts = read_json(_facts_path(path), BankError, SCHEMA)
        # Annoy trusts its file: one that was cut or changed would crash the process.
        if not path.is_file() or sha256_file(path) != facts.get("sha256"):
            raise BankError(
                f"Annoy trees in {path} as {_facts_path(path).name} describes",
                "a missing, changed or foreign file",
                "delete both; they are built again",
            )
        own = Trees(check_whole("dim", facts.get("dim"), 1, 1 << 16, BankError), "angular")
        own.load(str(path))
        effort = check_whole("search_k", facts.get("search_k"), 1, 1 << 30, BankError)
        return cls(own, effort, check_number("recall", facts.get("recall"), 0, 1, BankError))


class MilvusIndex:
    """Exact search by Milvus (index FLAT): its embedded engine, or a server that several machines share.

    A server's operator may give the collection another index; what is asked of it stays the same.
    """

    def __init__(self, client: Any, collection: str, count: int) -> None:
        """Use `open`; `client` is pymilvus's own object."""
        self.client, self.collection, self._count = client, collection, count

    @classmethod
    def open(cls, keys: Tensor, collection: str, folder: Path, address: str = "") -> Self:
        """Connect, and fill a collection with keys (n, d) unless it holds as many.

        Each key is written under its row: whoever else fills the collection, or began to and was
        killed, writes the same.

        Args:
            keys: what the collection's name stands for.
            collection: letters, digits and underscores.
            folder: where the embedded engine keeps its files; one process at a time works there.
            address: of a server, such as http://user:password@host:19530, in place of the engine.

        Raises:
            RetrievalError: pymilvus is not installed, the server cannot be reached, or another process
                holds the engine's files.
        """
        try:
            from pymilvus import DataType, MilvusClient
        except ImportError as error:
            raise RetrievalError(
                'pymilvus for retrieval.index "milvus"',
                str(error),
                'pip install "memdriven[milvus]", or use retrieval.index "exact"',
            ) from error
        if not address:
            with explain_disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        with _milvus_errors(re.sub("//.*@", "//", address) or str(folder)):
            client = MilvusClient(address or str(folder / "milvus.db"), timeout=MILVUS_TIMEOUT)
            if not client.has_collection(collection):
                schema = client.create_schema()
                schema.add_field("id", DataType.INT64, is_primary=True)
                schema.add_field("key", DataType.FLOAT_VECTOR, dim=keys.shape[1])
                index = client.prepare_index_params()
                index.add_index("key", index_type="FLAT", metric_type="COSINE")
                client.create_collection(
                    collection, schema=schema, index_params=index, consistency_level="Strong"
                )
            counted = client.query(collection, filter="", output_fields=["count(*)"])
            if counted[0]["count(*)"] != len(keys):
                rows = F.normalize(keys.float(), dim=1).cpu().numpy()
                for start in range(0, len(rows), MILVUS_BATCH):
                    part = enumerate(rows[start : start + MILVUS_BATCH], start)
                    client.upsert(collection, [{"id": row, "key": key} for row, key in part])
                client.flush(collection)
            client.load_collection(collection)
        return cls(client, collection, len(keys))

    def __len__(self) -> int:
        """Return n."""
        return self._count

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """See `Index.search`."""
        _check_k(k, min(len(self), MILVUS_MOST))
        with _milvus_errors(self.collection):
            answers = self.client.search(
                self.collection, queries.float().cpu().tolist(), limit=k, output_fields=["id"]
            )
            found = [sorted((-hit["distance"], hit["id"]) for hit in answer) for answer in answers]
        if any(len(answer) != k for answer in found):
            raise RetrievalError(
                f"{k} neighbours from Milvus, of {len(self)} keys",
                f"{min(map(len, found))}",
                f"drop the collection {self.collection}: it is filled again",
            )
        ids = torch.tensor([[row for _, row in answer] for answer in found])
        return ids, torch.tensor([[-distance for distance, _ in answer] for answer in found])


@contextlib.contextmanager
def _milvus_errors(where: str) -> Iterator[None]:
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except MilvusException as error:
        raise RetrievalError(
            f"Milvus with the memory's keys at {where}",
            f"{error.message}"[:200],
            f"start the server that {MILVUS_VARIABLE} names; without one, end other processes that use "
            "this memory's index, or delete its folder: it is made again",
        ) from error


def _top_rows(cosines: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k highest of each row with their columns, lower columns first among equals."""
    kth = cosines.topk(k, dim=1).values[:, -1:]
    best, rows = [], []
    for line, least in zip(cosines, kth, strict=True):
        columns = (line >= least).nonzero()[:, 0]  # rising, so a stable sort settles ties
        order = torch.argsort(line[columns], descending=True, stable=True)[:k]
        rows.append(columns[order])
        best.append(line[rows[-1]])
    return torch.stack(best), torch.stack(rows)


def _doubling(start: int) -> Iterator[int]:
    effort = max(1, start)
    while effort < 1 << 30:
        yield effort
        effort *= 2


def _check_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise RetrievalError(f"k in 1..{n}", str(k), "ask for fewer neighbours")


def _facts_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")
