"""Memory of the app over many pictures: the page is served, and programs ask it for them.

    python -m benchmarks.app_memory --checkpoint checkpoints/aviary --count 500

Sixteen visitors ask in turn, each time with another caption of the memory and another seed. The
first pictures, which fill caches, come before the first figure. A further visitor costs what
Gradio keeps of a session, told apart at the end.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tqdm import tqdm

from benchmarks.attacks import Server, serving
from memdriven.checkpoint import bank_folder
from memdriven.memory.bank import MemoryBank

VISITORS, WARM, FURTHER = 16, 32, 20


def main() -> None:
    """Read the command line, serve the page, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/aviary"))
    parser.add_argument("--count", type=int, default=500)
    arguments = parser.parse_args()
    captions = [item.captions[0] for item in MemoryBank(bank_folder(arguments.checkpoint)).items]
    with tempfile.TemporaryDirectory() as folder, serving(arguments.checkpoint, Path(folder) / "log") as page:
        figures = []
        for number in tqdm(range(-WARM, arguments.count), "pictures"):
            if number >= 0 and number % 100 == 0:
                figures.append((number, page.memory()))
            ask(page, captions[number * 37 % len(captions)], number + WARM, f"visitor-{number % VISITORS}")
        figures.append((arguments.count, page.memory()))
        for number, resident in figures:
            print(f"{number:>5} pictures  {resident:7.1f} MB resident")
        print(f"grown by {figures[-1][1] - figures[0][1]:.1f} MB")
        for number in range(FURTHER):
            ask(page, captions[0], number, f"further-{number}")
        print(f"{(page.memory() - figures[-1][1]) / FURTHER:.2f} MB a further visitor")


def ask(page: Server, caption: str, seed: int, visitor: str) -> None:
    """Ask for one picture, as a program does."""
    kind, made = page.call(
        "generate", [caption, "sentence-sentence", 1, seed, None, None, 1.0, 1], session_hash=visitor
    )
    if kind != "complete":
        raise SystemExit(f"no picture for {caption!r}: {made}")


if __name__ == "__main__":
    main()
