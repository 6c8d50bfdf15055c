"""Cost of search as a memory grows: exact, Annoy, and three libraries that are compared only here.

    python -m pip install -r benchmarks/requirements.txt
    python -m benchmarks.scale keys --checkpoint checkpoints/aviary --captions captions.jsonl.gz
    python -m benchmarks.scale index --engine faiss --n 100000

Keys are caption embeddings s. The first ones are those of real captions; beyond their number come
variations, s_i + (s_j - s_k) / 2 with j and k two captions of one image: the differences between
two descriptions of one thing are what sets captions apart. Queries are captions of images of which
no caption is among the keys. Each engine's effort is the least that finds 97 % of the true ten
nearest of other queries. Results are appended to a JSONL; `benchmarks.scale_report` draws them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.engines import ENGINES, Engine, Rows
from memdriven.checkpoint import load_checkpoint
from memdriven.errors import CaptionError

HELD_OUT = 60
"""Images whose captions are queries."""
TUNED, MEASURED, K, RECALL = 200, 300, 10, 0.97
CHUNK = 10_000
MOST = 1_000_000
NOTES = "-build.json"
AGAIN = 3
"""Exit code when the time was up before an index was whole; the same command goes on."""


def main() -> None:
    """Read the command line and run one step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("keys", "index"))
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/aviary"))
    parser.add_argument("--captions", type=Path, help="JSON lines with a list `captions`")
    parser.add_argument("--engine", choices=tuple(ENGINES), default="exact")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=120, help="after which a build pauses")
    parser.add_argument("--work", type=Path, default=Path("runs/scale"))
    parser.add_argument("--out", type=Path, default=Path("runs/scale.jsonl"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.step == "keys":
        write_keys(arguments.checkpoint, arguments.captions, arguments.work)
    else:
        measure(arguments)


def write_keys(checkpoint: Path, captions: Path, work: Path) -> None:
    """Encode the captions, and write keys and queries."""
    loaded = load_checkpoint(checkpoint)
    opener: Any = gzip.open if captions.suffix == ".gz" else open
    with opener(captions, "rt", encoding="utf-8") as stream:
        images = [json.loads(line)["captions"] for line in stream]
    random.Random(0).shuffle(images)
    encoded, image_of, words, known = [], [], 0, 0
    for image, texts in enumerate(tqdm(images, "words")):
        for text in texts:
            words += len(text.split())
            try:
                encoded.append(loaded.vocabulary.encode(text, loaded.config.text.max_words))
            except CaptionError:
                continue
            known += len(encoded[-1].ids)
            image_of.append(image)
    with torch.no_grad():
        s = loaded.damsm.sentences(encoded, progress=True).numpy()
    s /= np.linalg.norm(s, axis=1, keepdims=True)
    owner = np.array(image_of)
    queries, base = s[owner < HELD_OUT], s[owner >= HELD_OUT]
    np.save(work / "queries.npy", queries)
    first = np.searchsorted(owner[owner >= HELD_OUT], owner[owner >= HELD_OUT])
    keys = np.lib.format.open_memmap(work / "keys.npy", "w+", np.float32, (MOST, s.shape[1]))
    generator = np.random.default_rng(0)
    keys[: len(base)] = base
    for start in tqdm(range(len(base), MOST, CHUNK), "variations"):
        rows = min(CHUNK, MOST - start)
        i, j = generator.integers(len(base), size=(2, rows))
        varied = base[i] + 0.5 * (base[j] - base[first[j]])
        keys[start : start + rows] = varied / np.linalg.norm(varied, axis=1, keepdims=True)
    keys.flush()
    about = {
        "captions": len(s),
        "real_keys": len(base),
        "queries": len(queries),
        "images": len(images),
        "encoder": loaded.damsm.hash(),
        "words_known": known / words,
        "different": len(np.unique(base.round(5), axis=0)),
    }
    (work / "keys.json").write_text(json.dumps(about))
    print(about)


def measure(arguments: argparse.Namespace) -> None:
    """Build or go on building one index, measure it once it is whole, and append a line."""
    keys = np.load(arguments.work / "keys.npy", mmap_mode="r")[: arguments.n]
    queries = np.load(arguments.work / "queries.npy")
    queries = queries[np.random.default_rng(1).permutation(len(queries))[: TUNED + MEASURED]]
    path = arguments.work / f"{arguments.engine}-{arguments.n}"
    engine, build = fill(arguments.engine, keys, path, arguments.seconds)
    if engine is None:
        print(f"{build['keys']:,} of {len(keys):,} keys; run the same command again")
        raise SystemExit(AGAIN)
    truth = least_cosines(arguments.work, keys, queries)
    effort = tune(engine, keys, queries[:TUNED], truth[:TUNED])
    rest, least = queries[TUNED:], truth[TUNED:]
    search = partial(engine.search, k=K)
    found = [search(query) for query in rest]
    row = {
        "engine": arguments.engine,
        "n": arguments.n,
        "effort": effort,
        "recall_at_10": recall(keys, rest, found, least),
        "bytes": path.stat().st_size,
        "build_cpu_s": build["cpu"],
        "build_wall_s": build["wall"],
        "load": os.getloadavg()[0],
        "cores": os.cpu_count(),
        **json.loads((arguments.work / "keys.json").read_text()),
    }
    for callers in (1, 2):
        wall, cpu = latencies(search, rest, callers)
        for name, times in (("wall", wall), ("cpu", cpu)):
            for part in (50, 99):
                row[f"{name}_p{part}_ms_{callers}"] = float(np.percentile(times, part))
    with arguments.out.open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))
    for file in arguments.work.glob(f"{path.name}*"):
        if file.name.removeprefix(path.name) in ("", ".json", NOTES):
            file.unlink()


def fill(name: str, keys: Rows, path: Path, seconds: float) -> tuple[Engine | None, dict[str, float]]:
    """Return the index over the keys and what it cost; None when the time was up before."""
    notes = path.with_name(path.name + NOTES)
    build = json.loads(notes.read_text()) if notes.is_file() else {"cpu": 0, "wall": 0, "keys": 0}
    engine = ENGINES[name](len(keys), keys.shape[1])
    if build["keys"]:
        engine.load(path)
    deadline = time.monotonic() + seconds
    step = CHUNK if engine.parts else len(keys)
    for start in tqdm(range(build["keys"], len(keys), step), f"{name} {len(keys)}"):
        rows = np.ascontiguousarray(keys[start : start + step])
        cpu, wall = time.process_time(), time.monotonic()
        engine.add(rows)
        build["cpu"] += time.process_time() - cpu
        build["wall"] += time.monotonic() - wall
        build["keys"] = start + len(rows)
        if time.monotonic() > deadline:
            break
    engine.save(path)
    notes.write_text(json.dumps(build))
    return (engine if build["keys"] == len(keys) else None), build


def least_cosines(work: Path, keys: Rows, queries: Rows) -> Rows:
    """Return the cosine of each query's tenth nearest key, kept between runs."""
    path = work / f"truth-{len(keys)}.npy"
    if not path.is_file():
        best = np.full((len(queries), K), -2, np.float32)
        for start in tqdm(range(0, len(keys), CHUNK), "truth"):
            cosines = queries @ keys[start : start + CHUNK].T
            top = np.partition(cosines, -K, axis=1)[:, -K:]
            best = np.partition(np.concatenate([best, top], axis=1), -K, axis=1)[:, -K:]
        np.save(path, best.min(axis=1))
    found: Rows = np.load(path)
    return found


def tune(engine: Engine, keys: Rows, queries: Rows, least: Rows) -> int | None:
    """Set and return the least effort that reaches the recall."""
    for effort in engine.efforts:
        engine.set_effort(effort)
        found = [engine.search(query, K) for query in queries]
        if recall(keys, queries, found, least) >= RECALL:
            break
    return effort if engine.efforts else None


def recall(keys: Rows, queries: Rows, found: Sequence[Any], least: Rows) -> float:
    """Return the share of found keys that are as near as the true tenth: equal keys count alike."""
    hits = [
        (keys[np.sort(rows)] @ query >= tenth - 1e-5).sum() / K
        for rows, query, tenth in zip(found, queries, least, strict=True)
    ]
    return float(np.mean(hits))


def latencies(search: Callable[[Rows], Any], queries: Rows, callers: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each query, passed and of CPU, with so many callers at once."""
    wall: list[float] = []
    cpu: list[float] = []

    def call(part: Rows) -> None:
        for query in part:
            begin, busy = time.perf_counter(), time.thread_time()
            search(query)
            cpu.append(1000 * (time.thread_time() - busy))
            wall.append(1000 * (time.perf_counter() - begin))

    threads = [threading.Thread(target=call, args=(queries[i::callers],)) for i in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wall, cpu


if __name__ == "__main__":
    main()
