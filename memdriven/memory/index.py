"""Nearest keys by cosine where there are too many to compare with all: Annoy's trees, and Milvus."""

import os
import re
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.errors import BankError, DataError, RetrievalError, explained, require
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
TREES = 40
LEAST_RECALL, GOOD_RECALL = 0.9, 0.97
"""Of what exact search finds: an index that finds less than the first is refused, and a new one tuned to
the second, by so many queries:"""
SAMPLE = 200
MOST_EFFORT = 1 << 30
USE_EXACT = 'use retrieval.index "exact", or install annoy again'
MILVUS_VARIABLE = "MEMDRIVEN_MILVUS"
"""Environment variable with the address of a Milvus server."""
MILVUS_TIMEOUT = 10.0
"""Seconds to wait for a connection."""
MILVUS_BATCH, MILVUS_MOST = 1000, 16384
"""Keys written at once, and the largest k that a server answers."""


class AnnoyIndex:
    """Random-projection trees (spotify/annoy); some of the true neighbours may be missing.

    Annoy's default effort finds too little, so the number of nodes that it inspects, `search_k`, is set by
    `tune` from the `recall` that is measured on the keys themselves.
    """

    def __init__(self, keys: Tensor, path: Path) -> None:
        """Map the trees of keys (n, d) that are kept at `path`, or plant them and keep them there."""
        from annoy import AnnoyIndex as Trees

        self.trees, notes = Trees(keys.shape[1], "angular"), path.with_name(f"{path.name}.json")
        try:
            facts = read_json(notes, BankError, SCHEMA)
            # Annoy trusts its file: one that was cut or changed would crash the process.
            good = path.is_file() and sha256_file(path) == facts.get("sha256")
            require(good, BankError, f"the trees of {notes}", "others", "they are planted again")
            self.search_k = check_whole("search_k", facts.get("search_k"), 1, MOST_EFFORT, BankError)
            self.recall = check_number("recall", facts.get("recall"), 0, 1, BankError)
            self.trees.load(str(path))
        except BankError:  # there are none, or damaged ones
            self.trees.set_seed(0)
            for row, key in enumerate(keys.float().cpu().numpy()):
                self.trees.add_item(row, key)
            self.trees.build(TREES, n_jobs=1)  # one thread: equal keys give equal trees
            self.tune(keys, min(10, len(keys)))
            with suppress(DataError):  # a folder that refuses writing: planted again next time
                with atomic_file(path) as scratch:
                    self.trees.save(str(scratch))
                facts = {"schema": SCHEMA, "sha256": sha256_file(path)}
                facts |= {"search_k": self.search_k, "recall": self.recall}
                atomic_write_json(notes, sealed(facts))
        wanted = f"{LEAST_RECALL:.0%} or more of the nearest keys from Annoy"
        found = f"{self.recall:.0%}, at its greatest effort"
        require(self.recall >= LEAST_RECALL, RetrievalError, wanted, found, USE_EXACT)

    def search(self, queries: Tensor, k: int) -> Tensor:
        """Return rows (q, k) of the k keys nearest to queries (q, d) of any length, nearest first."""
        found, count = [], self.trees.get_n_items()
        for query in queries.float().cpu().numpy():
            rows, effort = list[int](), max(self.search_k, k, 1)
            while len(rows) != k and effort < MOST_EFFORT:  # too few nodes were inspected to find k
                answer = self.trees.get_nns_by_vector(query, k, effort)
                rows, effort = [*dict.fromkeys(row for row in answer if 0 <= row < count)], 2 * effort
            wanted = f"{k} neighbours from Annoy's trees of {counted(count, 'key')}"
            require(len(rows) == k, RetrievalError, wanted, f"{len(rows)}, whatever the effort", USE_EXACT)
            found.append(rows)
        return torch.tensor(found)

    def tune(self, keys: Tensor, k: int) -> None:
        """Set `search_k` to the least of doubling efforts that finds `GOOD_RECALL` of the true k nearest.

        Some of the keys (n, d), jittered so that none is its own neighbour at distance 0, serve as queries.
        """
        generator = torch.Generator().manual_seed(0)
        unit = F.normalize(keys.float().cpu(), dim=1)
        rows = torch.randperm(len(unit), generator=generator)[:SAMPLE]
        jitter = torch.randn(len(rows), unit.shape[1], generator=generator)
        queries = F.normalize(unit[rows] + 0.3 * F.normalize(jitter, dim=1), dim=1)
        farthest = torch.stack([(unit @ query).topk(k).values[-1] for query in queries])  # (q,)
        self.search_k, self.recall = k, 0.0
        while self.recall < GOOD_RECALL and self.search_k <= 2 * len(unit) * TREES:
            found = torch.einsum("qd,qkd->qk", queries, unit[self.search(queries, k)])
            # Of equal keys any will do.
            self.recall = float((found >= farthest[:, None] - 1e-5).float().mean())
            self.search_k *= 2
        self.search_k //= 2


class MilvusIndex:
    """Exact search by Milvus (index FLAT): its embedded engine, or a server that several machines share.

    A server's operator may give the collection another index; what is asked of it stays the same. Each key
    is written under its row: whoever else fills the collection, or began to and was killed, writes the same.
    """

    def __init__(self, keys: Tensor, collection: str, folder: Path, address: str = "") -> None:
        """Connect, and fill a collection, which is named after its keys (n, d), unless it holds as many.

        The engine keeps its files in `folder`, where one process at a time works; the `address` of a server,
        such as http://user:password@host:19530, takes its place.
        """
        fix = 'pip install ".[milvus]" in the clone, or use retrieval.index "exact"'
        with explained(RetrievalError, 'pymilvus for retrieval.index "milvus"', fix, ImportError):
            from pymilvus import DataType, MilvusClient
        if not address:
            with explain_disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        self.collection, self.count = collection, len(keys)
        with _milvus_errors(re.sub("//.*@", "//", address) or str(folder)):
            self.client = client = MilvusClient(address or str(folder / "milvus.db"), timeout=MILVUS_TIMEOUT)
            if not client.has_collection(collection):
                schema, index = client.create_schema(), client.prepare_index_params()
                schema.add_field("id", DataType.INT64, is_primary=True)
                schema.add_field("key", DataType.FLOAT_VECTOR, dim=keys.shape[1])
                index.add_index("key", index_type="FLAT", metric_type="COSINE")
                client.create_collection(
                    collection, schema=schema, index_params=index, consistency_level="Strong"
                )
            counted = client.query(collection, filter="", output_fields=["count(*)"])
            if counted[0]["count(*)"] != self.count:
                rows = F.normalize(keys.float(), dim=1).cpu().numpy()
                for start in range(0, self.count, MILVUS_BATCH):
                    part = enumerate(rows[start : start + MILVUS_BATCH], start)
                    client.upsert(collection, [{"id": row, "key": key} for row, key in part])
                client.flush(collection)
            client.load_collection(collection)

    def search(self, queries: Tensor, k: int) -> Tensor:
        """As `AnnoyIndex.search`."""
        most = min(self.count, MILVUS_MOST)
        check_whole("k", k, 1, most, RetrievalError, "ask for fewer neighbours")
        with _milvus_errors(self.collection):
            answers = self.client.search(self.collection, queries.float().cpu().tolist(), limit=k)
            found = [sorted({(-hit["distance"], hit["id"]) for hit in answer}) for answer in answers]
        fewest, fix = min(map(len, found)), f"drop the collection {self.collection}: it is filled again"
        wanted = f"{k} neighbours from Milvus, of {counted(self.count, 'key')}"
        require(fewest == k, RetrievalError, wanted, fewest, fix)
        return torch.tensor([[row for _, row in answer] for answer in found])


def open_index(kind: str, keys: Tensor, name: str, folder: Path) -> AnnoyIndex | MilvusIndex:
    """Return an `annoy` or `milvus` index of keys (n, d) that stays between runs, in a folder or on a server.

    Its name is of these very keys, so that no other ones are searched in their place. A RetrievalError says
    that it finds too little, or that there is no such engine here.
    """
    if kind == "milvus":
        return MilvusIndex(keys, f"memdriven_{name}", folder, os.environ.get(MILVUS_VARIABLE, ""))
    return AnnoyIndex(keys, folder / f"{name}.annoy")


def _milvus_errors(where: str) -> AbstractContextManager[None]:
    from pymilvus.exceptions import MilvusException

    fix = (
        f"start the server that {MILVUS_VARIABLE} names; without one, end other processes that use "
        "this memory's index, or delete its folder: it is made again"
    )
    return explained(RetrievalError, f"Milvus with the memory's keys at {where}", fix, MilvusException)
