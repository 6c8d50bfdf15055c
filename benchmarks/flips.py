"""One byte of one file of a model is struck, again and again: what is found when it opens, and what is not.

    python -m benchmarks.flips --checkpoint checkpoints/aviary --flips 12

Each flip is one bit at a random place, a third of them in the first 4 kB, where headers lie. Found: opening
the model, and the memory in its folder, refuses with an error of its own, as it does not with the whole copy.
Not read: files that no code opens (model card, samples, results).
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from memdriven.checkpoint import MEMORY, load_checkpoint
from memdriven.errors import MemDrivenError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline

NOT_READ = (".md", ".webp", ".jsonl")
HEAD = 4096


def main() -> int:
    """Strike each file, print a line each, and return 1 where a byte was struck unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/aviary"))
    parser.add_argument("--flips", type=int, default=12, help="a file")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance, whole = random.Random(arguments.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / arguments.checkpoint.name
        shutil.copytree(arguments.checkpoint, copy)
        open_all(copy)
        for path in sorted(each for each in copy.rglob("*") if each.is_file()):
            name = path.relative_to(copy)
            if path.suffix in NOT_READ:
                print(f"{name}: not read")
                continue
            found = Counter(strike(copy, path, chance, turn) for turn in range(arguments.flips))
            whole += found
            print(f"{name}: " + ", ".join(f"{count} {what}" for what, count in found.items()), flush=True)
    print("all: " + ", ".join(f"{count} {what}" for what, count in whole.items()))
    return int(set(whole) != {"found"})


def open_all(copy: Path) -> None:
    """Open a model with the memory in its folder; alone where it borrows another's."""
    if (copy / MEMORY).is_dir():
        MemoryDrivenPipeline.from_pretrained(copy, "cpu")
    else:
        load_checkpoint(copy)


def strike(copy: Path, path: Path, chance: random.Random, turn: int) -> str:
    """Flip one bit, open the model, and put the file back; return what came of it."""
    content = path.read_bytes()
    place = chance.randrange(min(len(content), len(content) if turn % 3 else HEAD))
    struck = bytearray(content)
    struck[place] ^= 1 << chance.randrange(8)
    path.write_bytes(struck)
    try:
        open_all(copy)
        return "UNNOTICED"
    except MemDrivenError:
        return "found"
    except Exception as error:
        return f"TRACEBACK {type(error).__name__}"
    finally:
        path.write_bytes(content)


if __name__ == "__main__":
    raise SystemExit(main())
