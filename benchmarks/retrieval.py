"""Annoy's and Milvus's recall against exact search, and how long each strategy takes.

    python -m benchmarks.retrieval                                  # made-up keys
    python -m benchmarks.retrieval --checkpoint checkpoints/aviary  # a bank's own

Prints tables and appends each number to a JSONL file.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.data.vocabulary import tokenize
from memdriven.evaluation.results import Result, append_results, format_table
from memdriven.memory.bank import MemoryBank
from memdriven.memory.index import AnnoyIndex, ExactIndex, Index, open_index
from memdriven.memory.retrieval import STRATEGIES, Retriever

OUT = Path(__file__).with_suffix(".jsonl")
TREES = (10, 40)
EFFORTS = (1, 4, 16)
"""Nodes inspected, as multiples of Annoy's default k * trees."""


def main() -> None:
    """Read the command line, measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="folder with encoders and a memory bank")
    parser.add_argument("--damsm", type=Path, help="or: a folder of trained encoders ...")
    parser.add_argument("--memory", type=Path, help="... and their memory bank")
    parser.add_argument("--keys", type=int, default=40_000, help="made-up keys, or a bank's first ones")
    parser.add_argument("--indices-only", action="store_true", help="leave the strategies out")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 keeps its choice")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.checkpoint is None and arguments.memory is None:
        keys = made_up(arguments.keys)
        queries = keys[:: max(1, len(keys) // arguments.queries)] + 0.4 * made_up(1, seed=1)
        about = {"checkpoint": "", "checkpoint_hash": "", "dataset": "made-up clusters"}
        rows = list(measure_indices(keys, queries, about))
    else:
        retriever, about = open_retriever(arguments.checkpoint, arguments.damsm, arguments.memory)
        captions = shortened(retriever.bank, arguments.queries)
        with torch.no_grad():
            texts = [retriever.query(caption).text.sentence[0] for caption in captions]
        keys = retriever.bank.sentence_keys[: arguments.keys]
        rows = list(measure_indices(keys, torch.stack(texts).cpu(), about))
        if not arguments.indices_only:
            rows += measure_strategies(retriever, captions[:20], about)
    for metrics in (
        ("build_s", "megabytes", "recall_at_1", "recall_at_10", "ms"),
        ("first_ms", "warm_ms", "annoy_overlap_at_10"),
    ):
        chosen = [row for row in rows if row.metric in metrics]
        if chosen:
            print(format_table(chosen, metrics), end="\n\n")
    append_results(arguments.out, rows)


def measure_indices(keys: Tensor, queries: Tensor, about: dict[str, Any]) -> Iterator[Result]:
    """Yield recall, time a query, time to build and size of exact search, of Annoy and of Milvus."""
    exact = ExactIndex(keys)
    truth, _ = exact.search(queries, 10)
    note = f"{len(queries)} queries in {len(keys)} keys of width {keys.shape[1]}, one at a time"
    yield from numbers(
        "exact",
        note,
        about,
        ms=per_query(exact, queries),
        recall_at_10=1.0,
        recall_at_1=1.0,
        megabytes=keys.nbytes / 1e6,
    )
    for trees in TREES:
        start = time.perf_counter()
        annoy = AnnoyIndex.build(keys, trees)
        built = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            annoy.save(Path(folder) / "trees")
            size = (Path(folder) / "trees").stat().st_size / 1e6
        for effort in EFFORTS:
            annoy.search_k = 10 * trees * effort
            yield from recalls(
                f"annoy {trees} trees, search_k {annoy.search_k}",
                annoy,
                queries,
                truth,
                note,
                about,
                built,
                size,
            )
        annoy.tune(keys)
        yield from recalls(
            f"annoy {trees} trees, tuned to {annoy.search_k}", annoy, queries, truth, note, about, built, size
        )

    if importlib.util.find_spec("milvus_lite"):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            milvus = open_index("milvus", keys, "benchmark", Path(folder))
            built = time.perf_counter() - start
            size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6
            yield from recalls("milvus, embedded", milvus, queries, truth, note, about, built, size)


def recalls(
    row: str,
    index: Index,
    queries: Tensor,
    truth: Tensor,
    note: str,
    about: dict[str, Any],
    built: float,
    size: float,
) -> Iterator[Result]:
    """Yield one setting's numbers."""
    ids, _ = index.search(queries, 10)
    yield from numbers(
        row,
        note,
        about,
        build_s=built,
        megabytes=size,
        ms=per_query(index, queries),
        recall_at_1=recall_at_k(ids[:, :1], truth[:, :1]),
        recall_at_10=recall_at_k(ids, truth),
    )


def recall_at_k(found: Tensor, truth: Tensor) -> float:
    """Return the share of the true neighbours (q, k) that are among the found ones (q, k)."""
    return float((found[:, :, None] == truth[:, None, :]).any(dim=1).float().mean())


def measure_strategies(retriever: Retriever, captions: list[str], about: dict[str, Any]) -> Iterator[Result]:
    """Yield each strategy's median time, before and after its caches are warm, at k = 10."""
    trees = dataclasses.replace(retriever.config, index="annoy")
    by_annoy = Retriever(retriever.bank, retriever.damsm, retriever.vocabulary, trees)
    by_annoy.retrieve(captions[0], "sentence-both", 1)  # plants the trees
    note = f"{len(captions)} captions, k 10, shortlist {retriever.config.shortlist}"
    for strategy in STRATEGIES:
        if strategy in ("oracle", "none"):
            continue
        cold = Retriever(retriever.bank, retriever.damsm, retriever.vocabulary, retriever.config)
        first = timed(partial(cold.retrieve, captions[0], strategy, 10))
        warm, overlaps = [], []
        for caption in captions:
            exact = {m.id for m in cold.retrieve(caption, strategy, 10)}
            warm.append(timed(partial(cold.retrieve, caption, strategy, 10)))
            annoy = by_annoy.retrieve(caption, strategy, 10)
            overlaps.append(len(exact & {m.id for m in annoy}) / 10)
        yield from numbers(
            f"strategy {strategy}",
            note,
            about,
            first_ms=first,
            warm_ms=statistics.median(warm),
            annoy_overlap_at_10=statistics.mean(overlaps),
        )


def numbers(row: str, note: str, about: dict[str, Any], **values: float) -> Iterator[Result]:
    """Yield one result a value."""
    for metric, value in values.items():
        yield Result(
            **about,
            row=row,
            metric=metric,
            protocol=note,
            value=value,
            n=0,
            seed=0,
            device=f"cpu, {torch.get_num_threads()} threads",
        )


def per_query(index: Index, queries: Tensor) -> float:
    """Return the median milliseconds of one query at k = 10."""
    return statistics.median(timed(partial(index.search, query, 10)) for query in torch.split(queries, 1))


def timed(work: Callable[[], Any]) -> float:
    """Return how many milliseconds a call takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def made_up(n: int, dim: int = 256, seed: int = 0) -> Tensor:
    """Return unit keys in 150 clusters of 32 effective dimensions."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(150, dim, generator=generator)
    spread = torch.randn(32, dim, generator=generator) / 32**0.5
    which = torch.randint(150, (n,), generator=generator)
    return F.normalize(centres[which] + torch.randn(n, 32, generator=generator) @ spread, dim=1)


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


def open_retriever(
    path: Path | None, damsm: Path | None, memory: Path | None
) -> tuple[Retriever, dict[str, Any]]:
    """Return the retriever of a checkpoint, or of encoders and a bank; and its name in results."""
    if path is not None:
        from memdriven.checkpoint import load_checkpoint

        made: Any = load_checkpoint(path)
        about = {"checkpoint": made.name, "checkpoint_hash": made.hash}
        folder = memory or made.bank_path
    else:
        from memdriven.encoders.damsm import load_damsm

        if damsm is None or memory is None:
            raise SystemExit("give --checkpoint, or both --damsm and --memory")
        made, folder = load_damsm(damsm), memory
        about = {"checkpoint": damsm.resolve().name, "checkpoint_hash": made.damsm.hash()}
    bank = MemoryBank.open(folder, expect_encoder=made.damsm.hash())
    retriever = Retriever(bank, made.damsm, made.vocabulary, made.config.retrieval)
    return retriever, {**about, "dataset": str(bank.header.get("dataset", ""))}


if __name__ == "__main__":
    main()
