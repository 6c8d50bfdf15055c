"""How long a whole bank build takes by each way to compute relu5_3, side by side in one run.

    python -m benchmarks.bank_build --vgg vgg16_features.safetensors --images 48

Pictures: the shipped bank's thumbnails, enlarged to 256 px. A build is `extract_features` (decode, VGG-16,
compress) and `build_memory` (keys, thumbnails, files). Ways take turns, so that what else the machine
does meets all of them; least wall and CPU seconds of the rounds count.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from memdriven.data.prepared import Item, write_prepared
from memdriven.encoders.imagenet import Vgg16Features
from memdriven.memory.bank import MEMORY, MemoryBank
from memdriven.memory.build import build_memory, extract_features


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vgg", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/aviary"))
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    arguments = parser.parse_args()
    checkpoint: Path = arguments.checkpoint
    bank = MemoryBank(checkpoint / MEMORY)
    vgg = Vgg16Features.load(arguments.vgg)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        data = work / "data"
        write_data(bank, data, arguments.images)
        seconds: dict[tuple[str, int], list[tuple[float, float, float, float]]] = {}
        for turn in range(arguments.rounds):
            for batch in arguments.batches:
                for name, forward in ways(vgg).items():
                    out = work / f"{turn}-{batch}-{name}"
                    vgg.forward = forward  # type: ignore[method-assign]
                    start = time.perf_counter(), time.process_time()
                    with mock.patch.object(Vgg16Features, "load", return_value=vgg):
                        extract_features(data, out / "features", batch=batch, device="cpu")
                    middle = time.perf_counter(), time.process_time()
                    build_memory(checkpoint, data, out / "features", out=out / "bank", device="cpu")
                    end = time.perf_counter(), time.process_time()
                    spent = (end[0] - start[0], end[1] - start[1], middle[0] - start[0], middle[1] - start[1])
                    seconds.setdefault((name, batch), []).append(spent)
                    print(turn, batch, name, *(f"{each:.2f}" for each in spent), flush=True)
    print(f"{torch.get_num_threads()} threads, {arguments.images} images; least of {arguments.rounds} rounds")
    print("way, batch: build wall s, CPU s; of it features wall s, CPU s")
    for (name, batch), rounds in seconds.items():
        print(f"{name}, {batch}:", *(f"{min(column):.2f}" for column in zip(*rounds, strict=True)))


def ways(vgg: Vgg16Features) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return each way to compute v: ours, channels last, and the same layers on maps as they lie."""

    def contiguous(images: Tensor) -> Tensor:
        return vgg.features((images - vgg.mean) * 255)

    return {"channels last": type(vgg).forward.__get__(vgg), "contiguous": contiguous}


def write_data(bank: MemoryBank, folder: Path, count: int) -> None:
    """Write a prepared data set of the bank's first pictures."""
    (folder / "images").mkdir(parents=True)
    items = []
    for row in range(count):
        item = bank.items[row * bank.n // count]
        image = bank.thumbnail(row * bank.n // count).resize((256, 256))
        image.save(folder / "images" / f"{row}.png")
        items.append(
            Item(
                id=f"item-{row}",
                file=f"images/{row}.png",
                split="train",
                class_id=0,
                class_name="bird",
                captions=item.captions,
                attributes=item.attributes,
            )
        )
    write_prepared(folder, items=items, name="thumbnails", classes=["bird"], image_size=256)


if __name__ == "__main__":
    main()
