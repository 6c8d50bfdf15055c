"""Nearest-neighbour libraries beside exact search as a memory grows, and how long each strategy takes.

    python -m pip install -r benchmarks/requirements.txt
    python -m benchmarks.retrieval --checkpoint checkpoints/aviary --keys 10000 100000 --plot runs/keys.png

Keys are a bank's caption embeddings s. Beyond their number come variations, s_i + (s_j - s_k) / 2 with j and
k two captions of one image: the differences between two descriptions of one thing are what sets captions
apart. Queries are captions with a word left out. An engine's effort is the least of doubling ones that finds
97 % of the true ten nearest of other queries; graphs have 16 links a key and 100 candidates at building. One
thread a query. Engines that are not installed are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from memdriven.checkpoint import load_checkpoint
from memdriven.data.vocabulary import tokenize
from memdriven.memory.bank import MEMORY, MemoryBank
from memdriven.memory.index import AnnoyIndex, open_index
from memdriven.memory.retrieval import STRATEGIES, Retriever

K, RECALL, TUNED = 10, 0.97, 100
LINKS, CANDIDATES = 16, 100
Search = Callable[[Tensor, int], Tensor]
"""Queries (q, d) and k to rows (q, k)."""
EFFORTS = [10 * 2**step for step in range(12)]


def main() -> None:
    """Read the command line, measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/aviary"))
    parser.add_argument("--keys", type=int, nargs="+", default=[40_000])
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--strategies", action="store_true", help="also time the ten strategies")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("runs/retrieval.jsonl"))
    parser.add_argument("--plot", type=Path, help="draw query and building time against the keys")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    made = load_checkpoint(arguments.checkpoint)
    bank = MemoryBank(made.path / MEMORY, expect_encoder=made.damsm.hash())
    retriever = Retriever(bank, made.damsm, made.vocabulary, made.config.retrieval)
    captions = shortened(bank, TUNED + arguments.queries)
    with torch.no_grad():
        queries = torch.stack([retriever.query(caption).text.sentence[0] for caption in captions])
    queries = F.normalize(queries.float(), dim=1)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with arguments.out.open("a") as stream:
        for n in arguments.keys:
            keys = grown(bank, n)
            truth = torch.stack([(keys @ query).topk(K).values[-1:] for query in queries])  # (q, 1)
            for engine in arguments.engines:
                with contextlib.suppress(ImportError):
                    rows.append(measure(engine, keys, queries, truth))
                    print(json.dumps(rows[-1]), flush=True)
                    stream.write(json.dumps(rows[-1]) + "\n")
        for row in strategies(retriever, captions[:20]) if arguments.strategies else ():
            print(json.dumps(row), flush=True)
            stream.write(json.dumps(row) + "\n")
    if arguments.plot:
        draw(rows, arguments.plot)


def measure(engine: str, keys: Tensor, queries: Tensor, truth: Tensor) -> dict[str, Any]:
    """Return one engine's cost: building, size, and a query at the effort that the recall takes.

    Args:
        engine: one of `ENGINES`.
        keys: unit rows (n, d).
        queries: unit rows (q, d), of which the first `TUNED` set the effort.
        truth: the cosine of each query's tenth nearest key (q, 1): equal keys count alike.
    """

    def recall(part: slice) -> float:
        found = torch.cat([search(query, K) for query in torch.split(queries[part], 1)])  # (q, k)
        cosines = torch.einsum("qd,qkd->qk", queries[part], keys[found])
        return float((cosines >= truth[part] - 1e-5).float().mean())

    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        search, set_effort = ENGINES[engine](keys, Path(folder))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        effort = None
        for effort in EFFORTS if set_effort else ():
            set_effort(effort)  # type: ignore[misc]
            if recall(slice(TUNED)) >= RECALL:
                break
        asked = torch.split(queries[TUNED:], 1)
        times, cpu_times = zip(*(timed(partial(search, query, K)) for query in asked))
        return {
            "engine": engine,
            "keys": len(keys),
            "effort": effort,
            "recall_at_10": round(recall(slice(TUNED, None)), 4),
            "build_s": round(wall, 2),
            "build_cpu_s": round(cpu, 2),
            "mb": round(size / 1e6, 1),
            **{f"ms_p{part}": round(float(np.percentile(times, part)), 3) for part in (50, 99)},
            "cpu_ms_p50": round(float(np.percentile(cpu_times, 50)), 3),
            "load": os.getloadavg()[0],
        }


# -------------------------------------------------------------------------------------------- engines

Built = tuple[Search, Callable[[int], Any] | None]
"""How to search, and how to set the effort where there is one to set."""


def exact(keys: Tensor, folder: Path) -> Built:
    """Every key, as memdriven without an index."""
    np.save(folder / "keys.npy", keys.numpy())
    return lambda queries, k: (queries @ keys.T).topk(k).indices, None


def annoy(keys: Tensor, folder: Path) -> Built:
    """Forty random-projection trees, by memdriven's own index, which tunes and keeps them."""
    index = AnnoyIndex(keys, folder / "trees")
    return index.search, partial(setattr, index, "search_k")


def milvus(keys: Tensor, folder: Path) -> Built:
    """Milvus's embedded engine, by memdriven's own index."""
    import pymilvus  # noqa: F401

    return open_index("milvus", keys, "benchmark", folder).search, None


def faiss(keys: Tensor, folder: Path) -> Built:
    """faiss-cpu, IndexHNSWFlat."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(keys.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CANDIDATES
    index.add(keys.numpy())
    faiss.write_index(index, str(folder / "index"))
    return _numpy(lambda q, k: index.search(q, k)[1]), partial(setattr, index.hnsw, "efSearch")


def hnswlib(keys: Tensor, folder: Path) -> Built:
    """hnswlib."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=keys.shape[1])
    index.init_index(max_elements=len(keys), M=LINKS, ef_construction=CANDIDATES, random_seed=0)
    index.set_num_threads(1)
    index.add_items(keys.numpy())
    index.save_index(str(folder / "index"))
    return _numpy(lambda q, k: index.knn_query(q, k=k, num_threads=1)[0]), index.set_ef


def usearch(keys: Tensor, folder: Path) -> Built:
    """usearch with float32 keys."""
    from usearch.index import Index as Graph

    index = Graph(ndim=keys.shape[1], metric="ip", dtype="f32", connectivity=LINKS, expansion_add=CANDIDATES)
    index.add(np.arange(len(keys)), keys.numpy(), threads=1)
    index.save(str(folder / "index"))
    return (
        _numpy(lambda q, k: np.atleast_2d(index.search(q, k, threads=1).keys)),
        partial(setattr, index, "expansion_search"),
    )


def _numpy(search: Callable[[NDArray[np.float32], int], Any]) -> Search:
    return lambda queries, k: torch.from_numpy(np.asarray(search(queries.numpy(), k), np.int64))


ENGINES: dict[str, Callable[[Tensor, Path], Built]] = {
    each.__name__: each for each in (exact, annoy, milvus, faiss, hnswlib, usearch)
}


# --------------------------------------------------------------------------------- keys and strategies


def grown(bank: MemoryBank, n: int) -> Tensor:
    """Return n unit keys: a bank's own, and variations of them beyond their number."""
    own = F.normalize(bank.sentence_keys[:n].float(), dim=1)
    if len(own) == n:
        return own
    owner = torch.as_tensor(bank.caption_item[: len(own)])
    first = torch.searchsorted(owner, owner)  # each caption's image's first one
    chance = torch.Generator().manual_seed(0)
    i, j = torch.randint(len(own), (2, n - len(own)), generator=chance)
    return torch.cat([own, F.normalize(own[i] + 0.5 * (own[j] - own[first[j]]), dim=1)])


def strategies(retriever: Retriever, captions: list[str]) -> Iterator[dict[str, Any]]:
    """Yield each strategy's CPU time before and after its caches are warm, and what it finds with Annoy."""
    own = retriever.bank, retriever.damsm, retriever.vocabulary
    by_annoy = Retriever(*own, dataclasses.replace(retriever.config, index="annoy"))
    for strategy in STRATEGIES:
        if strategy in ("oracle", "none"):
            continue
        cold = Retriever(*own, retriever.config)
        _, first = timed(partial(cold.retrieve, captions[0], strategy, K))
        warm, overlaps = [], []
        for caption in captions:
            exact = {match.id for match in cold.retrieve(caption, strategy, K)}
            warm.append(timed(partial(cold.retrieve, caption, strategy, K))[1])
            overlaps.append(len(exact & {match.id for match in by_annoy.retrieve(caption, strategy, K)}) / K)
        yield {
            "strategy": strategy,
            "first_cpu_ms": round(first, 1),
            "warm_cpu_ms": round(statistics.median(warm), 1),
            "annoy_overlap_at_10": statistics.mean(overlaps),
        }


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return how many milliseconds pass during a call, and how many of them this process computes."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - cpu)


def shortened(bank: MemoryBank, count: int) -> list[str]:
    """Return captions of the bank with one word left out: like those that users type."""
    chance = random.Random(0)
    captions = []
    for row in chance.sample(range(len(bank.caption_item)), min(count, len(bank.caption_item))):
        words = tokenize(bank.caption(row))
        if len(words) > 1:
            words.pop(chance.randrange(len(words)))
        captions.append(" ".join(words))
    return captions


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw query time and building time against the number of keys."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), dpi=110, layout="constrained")
    panels = {"ms_p50": "A query, median ms, at 97 % recall", "build_cpu_s": "Building, CPU s"}
    for axes, (key, title) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for engine in dict.fromkeys(row["engine"] for row in rows):
            own = [row for row in rows if row["engine"] == engine]
            axes.plot([row["keys"] for row in own], [row[key] for row in own], marker="o", label=engine)
        axes.set(xscale="log", yscale="log", xlabel="caption keys")
        axes.set_title(title, loc="left")
        axes.grid(True, color="#dddddd")
        axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


if __name__ == "__main__":
    main()
