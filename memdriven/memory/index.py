"""Nearest keys by cosine where there are too many to compare with all: Annoy's trees, and Milvus."""

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

from memdriven.errors import BankError, DataError, RetrievalError, require
from memdriven.files import (
    atomic_file,
    atomic_write_json,
    explain_disk_errors,
    read_json,
    sealed,
    sha256_file,
)
from memdriven.numbers import check_number, check_whole, counted

SCHEMA = "memdriven.annoy/1"
LEAST_RECALL = 0.9
"""An index that finds less of what exact search finds is refused."""
GOOD_RECALL = 0.97
SAMPLE = 200
"""What a new one is tuned to, and by how many queries."""
MOST_EFFORT = 1 << 30
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

    def search(self, queries: Tensor, k: int) -> Tensor:
        """Return rows (q, k) of the k keys nearest to queries (q, d) of any length, nearest first."""
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


class AnnoyIndex:
    """Approximate search in random-projection trees (spotify/annoy).

    Annoy's default effort finds too little, so the number of nodes it inspects is set by `tune` from
    recall that is measured on the keys themselves.
    """

    def __init__(self, trees: Any, search_k: int, recall: float = 0.0) -> None:
        """Use `open`, `build` or `load`; `trees` is Annoy's own object."""
        self._trees, self.search_k, self.recall = trees, search_k, recall

    @classmethod
    def open(cls, keys: Tensor, path: Path) -> Self:
        """Load the trees of keys (n, d) that are kept at `path`, or plant them and keep them there.

        Raises:
            RetrievalError: even at their greatest effort they find less than `LEAST_RECALL`.
        """
        index = None
        with contextlib.suppress(BankError):  # missing, or damaged
            index = cls.load(path)
        if index is None:
            index = cls.build(keys)
            index.tune(keys, k=min(10, len(keys)))
            with contextlib.suppress(DataError):  # a folder that refuses writing: planted again next time
                index.save(path)
        wanted = f"{LEAST_RECALL:.0%} or more of the nearest keys from Annoy"
        found, fix = (
            f"{index.recall:.0%}, at its greatest effort",
            'use retrieval.index "exact", or install annoy again',
        )
        require(index.recall >= LEAST_RECALL, RetrievalError, wanted, found, fix)
        return index

    @classmethod
    def build(cls, keys: Tensor, trees: int = 40) -> Self:
        """Plant the trees over keys (n, d), on one thread so that equal keys give equal trees."""
        from annoy import AnnoyIndex as Trees

        n, dim = keys.shape
        own = Trees(dim, "angular")
        own.set_seed(0)
        for row, key in enumerate(keys.float().cpu().numpy()):
            own.add_item(row, key)
        own.build(trees, n_jobs=1)
        return cls(own, search_k=min(n, 200) * trees)

    def __len__(self) -> int:
        """Return n."""
        return int(self._trees.get_n_items())

    def search(self, queries: Tensor, k: int) -> Tensor:
        """See `Index.search`; some of the true neighbours may be missing."""
        return torch.tensor([self._nearest(query, k) for query in queries.float().cpu().numpy()])

    def _nearest(self, query: Any, k: int) -> list[int]:
        effort = max(self.search_k, k, 1)
        while effort < MOST_EFFORT:  # fewer than k are found where too few nodes are inspected
            rows: list[int] = self._trees.get_nns_by_vector(query, k, effort)
            if len(rows) == k:
                return rows
            effort *= 2
        raise RetrievalError(
            f"{k} neighbours from Annoy's trees of {counted(len(self), 'key')}",
            f"{len(rows)}, whatever the effort",
            'use retrieval.index "exact", or install annoy again',
        )

    def tune(self, keys: Tensor, k: int = 10, recall: float = GOOD_RECALL) -> float:
        """Set `search_k` to the least of doubling efforts that finds enough of the true k nearest.

        Some of the keys (n, d), jittered so that none is its own neighbour at distance 0, serve as queries.
        Returns the recall measured at the chosen effort, which is also kept as `recall`.
        """
        generator = torch.Generator().manual_seed(0)
        unit = F.normalize(keys.float().cpu(), dim=1)
        rows = torch.randperm(len(unit), generator=generator)[:SAMPLE]
        jitter = torch.randn(len(rows), unit.shape[1], generator=generator)
        queries = F.normalize(unit[rows] + 0.3 * F.normalize(jitter, dim=1), dim=1)
        farthest = torch.stack([(unit @ query).topk(k).values[-1] for query in queries])  # (q,)
        self.search_k = k
        while True:
            found = torch.einsum("qd,qkd->qk", queries, unit[self.search(queries, k)])
            self.recall = float(
                (found >= farthest[:, None] - 1e-5).float().mean()
            )  # of equal keys any will do
            if self.recall >= recall or self.search_k > len(self) * self._trees.get_n_trees():
                return self.recall
            self.search_k *= 2

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
        good = path.is_file() and sha256_file(path) == facts.get("sha256")
        wanted = f"Annoy trees in {path} as {_facts_path(path).name} describes"
        require(
            good, BankError, wanted, "a missing, changed or foreign file", "delete both; they are built again"
        )
        own = Trees(check_whole("dim", facts.get("dim"), 1, 1 << 16, BankError), "angular")
        own.load(str(path))
        effort = check_whole("search_k", facts.get("search_k"), 1, MOST_EFFORT, BankError)
        return cls(own, effort, check_number("recall", facts.get("recall"), 0, 1, BankError))


def _facts_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


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

    def search(self, queries: Tensor, k: int) -> Tensor:
        """See `Index.search`."""
        most = min(len(self), MILVUS_MOST)
        check_whole("k", k, 1, most, RetrievalError, "ask for fewer neighbours")
        with _milvus_errors(self.collection):
            answers = self.client.search(
                self.collection, queries.float().cpu().tolist(), limit=k, output_fields=["id"]
            )
            found = [sorted((-hit["distance"], hit["id"]) for hit in answer) for answer in answers]
        fewest, fix = min(map(len, found)), f"drop the collection {self.collection}: it is filled again"
        wanted = f"{k} neighbours from Milvus, of {counted(len(self), 'key')}"
        require(fewest == k, RetrievalError, wanted, fewest, fix)
        return torch.tensor([[row for _, row in answer] for answer in found])


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
