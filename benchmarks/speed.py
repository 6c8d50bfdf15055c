"""How long a caption takes to become a picture, beside DF-GAN's generator alone, in one run.

    python -m benchmarks.speed --checkpoint checkpoints/aviary --size 256

DF-GAN's published generator (nf = 32, 9.7 million weights at 256 px; `models.rival` has its layers) paints
from noise and a sentence vector that are there already. Ours starts from words: it reads them, searches the
memory, tries references where it is asked to, paints all stages and checks what was named. All take turns,
so that what else the machine does meets all of them; no caption is asked twice, so that nothing is
remembered. `--open` times how long a memory takes to open, every byte checked.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from memdriven.memory.bank import MemoryBank
from memdriven.models.rival import RivalGenerator
from memdriven.pipeline.pipeline import MemoryDrivenPipeline

PUBLISHED_WIDTH = 32
BASELINE = "DF-GAN's generator alone"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/aviary"))
    parser.add_argument("--size", type=int, help="of DF-GAN's pictures; the checkpoint's own by default")
    parser.add_argument("--tries", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--open", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pipe = MemoryDrivenPipeline.from_pretrained(arguments.checkpoint, "cpu")
    size = arguments.size or pipe.resolutions[-1]
    spent: dict[str, list[tuple[float, float]]] = {}
    with torch.inference_mode():
        contestants = dict(ways(pipe, size, arguments.tries, arguments.open))
        for turn in range(arguments.rounds + 1):
            for name, work in contestants.items():
                start = time.perf_counter(), time.process_time()
                work()
                if turn:  # the first one plans memory and kernels
                    passed = time.perf_counter() - start[0], time.process_time() - start[1]
                    spent.setdefault(name, []).append((1000 * passed[0], 1000 * passed[1]))
    print(f"{torch.get_num_threads()} threads, {arguments.rounds} rounds, DF-GAN at {size} px,", end=" ")
    print(f"{arguments.checkpoint.name} at {pipe.resolutions[-1]} px")
    print("what: median (least) wall ms, CPU ms; median ratio to the first, round by round, of wall and CPU")
    first = spent[BASELINE]
    for name, rounds in spent.items():
        wall, cpu = zip(*rounds, strict=True)
        ratios = [
            statistics.median(each[part] / base[part] for each, base in zip(rounds, first, strict=True))
            for part in (0, 1)
        ]
        print(
            f"{name}: {statistics.median(wall):.0f} ({min(wall):.0f}), {statistics.median(cpu):.0f} "
            f"({min(cpu):.0f}); {ratios[0]:.2f}, {ratios[1]:.2f}"
        )


def ways(
    pipe: MemoryDrivenPipeline, size: int, tries: list[int], opening: bool
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what is timed, by its name."""
    z, sentence = torch.randn(1, 100), torch.randn(1, 256)
    rival = RivalGenerator(PUBLISHED_WIDTH, size).eval()
    yield BASELINE, lambda: rival(z, sentence)
    last = RivalGenerator(PUBLISHED_WIDTH, size).eval().to(memory_format=torch.channels_last)
    yield "the same in channels_last", lambda: last(z, sentence)
    captions = (caption for item in pipe.bank.items for caption in item.captions)
    yield "retrieval alone", lambda: pipe.retrieve(next(captions), k=1)
    for count in tries:
        name = f"caption to picture, {count} reference{'s tried' if count > 1 else ''}"
        yield name, lambda count=count: pipe(next(captions), k=1, seed=7, best_of=count)
    if opening:
        yield "memory opened and checked", lambda: MemoryBank(pipe.bank.path).verify()


if __name__ == "__main__":
    main()
