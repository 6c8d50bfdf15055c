"""A memory bank of tens of thousands of items: memory while it is built, time to open it.

    python -m benchmarks.scale_bank build --n 20000 --captions captions.jsonl.gz
    python -m benchmarks.scale_bank open --n 20000

Real captions, five an item, repeated with a word exchanged where there are too few; 256 made-up,
sparse v (512 x 16 x 16, 94 % zeros) through the real codec, and 64 made-up pictures, all repeated.
A build that is out of time stops, and the same command goes on. Results are appended to a JSONL.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import random
import re
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

from memdriven.data.prepared import Item, write_prepared
from memdriven.files import atomic_folder
from memdriven.memory import build
from memdriven.memory.bank import MemoryBank
from memdriven.memory.features import encode_v, write_store

PER_ITEM, PICTURES, FEATURES = 5, 64, 256
SHAPE = (512, 16, 16)
THUMBNAIL = 32
"""Px; small, because compressing thumbnails is not what is measured here."""


def main() -> None:
    """Read the command line and run one step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("build", "open"))
    parser.add_argument("--n", type=int, required=True)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/aviary"))
    parser.add_argument("--captions", type=Path, help="JSON lines with a list `captions`")
    parser.add_argument("--seconds", type=int, default=120, help="after which a build pauses")
    parser.add_argument("--work", type=Path, default=Path("runs/scale"))
    parser.add_argument("--out", type=Path, default=Path("runs/scale.jsonl"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.work / f"bank-{arguments.n}"
    row: dict[str, Any] = {"bank": arguments.step, "items": arguments.n}
    if arguments.step == "open":
        row |= measure_open(folder / "bank")
    else:
        if not (folder / "data/dataset.json").is_file():
            write_made_up(folder, arguments.n, arguments.captions)
        row |= measure_build(folder, arguments.checkpoint, arguments.seconds)
    print(json.dumps(row))
    with arguments.out.open("a") as stream:
        stream.write(json.dumps(row) + "\n")


def write_made_up(folder: Path, n: int, captions: Path) -> None:
    """Write a data set of n items and its feature store."""
    chance = np.random.default_rng(0)
    with atomic_folder(folder / "data") as data:
        for number in range(PICTURES):
            pixels = chance.integers(256, size=(8, 8, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)
            path = data / f"images/train/{number}.webp"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=90)
        texts = varied(captions)
        items = [
            Item(
                id=f"item-{number:06d}",
                file=f"images/train/{number % PICTURES}.webp",
                split="train",
                class_id=None,
                class_name="",
                captions=list(itertools.islice(texts, PER_ITEM)),
            )
            for number in range(n)
        ]
        write_prepared(data, name="made-up", items=items, classes=[], image_size=64)
    maps = np.maximum(chance.normal(-1.55, 1, (FEATURES, *SHAPE)), 0).astype(np.float32)
    blobs = [encode_v(v) for v in maps]
    with atomic_folder(folder / "features") as store:
        write_store(
            store,
            [item.id for item in items],
            (blobs[number % FEATURES] for number in range(n)),
            SHAPE,
            {"encoder": "0" * 16},
        )


def varied(path: Path) -> Iterator[str]:
    """Yield real captions without end; from the second round on a word of each is exchanged."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        texts = [text for line in stream for text in json.loads(line)["captions"]]
    texts = [text for text in dict.fromkeys(texts) if len(re.findall(r"\w+", text)) > 3]
    words = sorted({word for text in texts for word in text.split()})
    chance = random.Random(0)
    yield from texts
    while True:
        for text in texts:
            parts = text.split()
            parts[chance.randrange(len(parts))] = chance.choice(words)
            yield " ".join(parts)


class PeakMemory:
    """Samples the process's own (anonymous) memory, which counts no mapped file."""

    def __enter__(self) -> PeakMemory:
        self.before = self.peak = self._now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, self._now())

    @staticmethod
    def _now() -> float:
        text = Path("/proc/self/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


def measure_build(folder: Path, checkpoint: Path, seconds: int) -> dict[str, Any]:
    """Build the bank, or go on building it until the time is up."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(seconds)
    cpu, whole = time.process_time(), True
    with PeakMemory() as memory:
        try:
            # Thumbnails are not what is measured, and what opening takes is measured apart.
            with (
                mock.patch.object(build, "THUMBNAIL", THUMBNAIL),
                mock.patch.object(MemoryBank, "__init__", return_value=None),
            ):
                paths = checkpoint, folder / "data", folder / "features"
                build.build_memory(*paths, out=folder / "bank", device="cpu")
        except KeyboardInterrupt:
            whole = False
    signal.alarm(0)
    return {
        "whole": whole,
        "cpu_s": time.process_time() - cpu,
        "before_mb": memory.before,
        "peak_mb": memory.peak,
        "peak_rss_mb": _peak_rss(),
    }


def measure_open(path: Path) -> dict[str, Any]:
    """Open the bank."""
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    with PeakMemory() as memory:
        wall, cpu = time.monotonic(), time.process_time()
        bank = MemoryBank(path)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "load": os.getloadavg()[0],
        "mb": size / 1e6,
        "captions": len(bank.sentence_keys),
        "before_mb": memory.before,
        "peak_mb": memory.peak,
        "peak_rss_mb": _peak_rss(),
    }


def _peak_rss() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
