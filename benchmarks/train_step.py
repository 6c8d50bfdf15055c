"""One GAN step: images a second, and its share of what the machine could do at best.

    python -m benchmarks.train_step --preset aviary-64
    python -m benchmarks.train_step --preset bird --device cuda --batch-sizes 16 32 64 --compile

The floor is the step's operations (counted by torch, forward and backward, both without R1, which
comes every 16th step) over the rate of one large matrix product, in the step's precision, measured
beside it in the same process. Variants alternate, and the median is taken, because shared machines
drift. Made-up inputs: no data set is needed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from memdriven.config import Config
from memdriven.devices import device_name
from memdriven.encoders.damsm import Damsm
from memdriven.encoders.imagenet import SqueezeNet, Vgg16Features
from memdriven.encoders.text import TextFeatures
from memdriven.models.generator import BASE_SIZE
from memdriven.presets import PRESETS, preset
from memdriven.training.aux_losses import Teachers
from memdriven.training.data import Batch, pyramid
from memdriven.training.distributed import World
from memdriven.training.step import GanTrainer

WORDS, VOCABULARY = 12, 1000
PRODUCT = {"cpu": 1536, "cuda": 8192}
"""Side of the matrix product that gives the machine's rate."""


def main() -> None:
    """Read the command line, measure every variant, print a table and append JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="aviary-64")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16])
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    parser.add_argument("--full", action="store_true", help="also float32 instead of bf16 on CUDA")
    parser.add_argument("--steps", type=int, default=5, help="timed steps a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON lines to append to")
    of = parser.parse_args()
    device = torch.device(of.device)
    base = preset(of.preset)
    changes: dict[str, dict[str, Any]] = {"as preset": {}}
    if of.full:
        changes["float32"] = {"amp": False}
    if of.compile:
        changes["compiled"] = {"compile": True}
    variants = {
        f"{name}, batch {size}": dataclasses.replace(
            base, train=dataclasses.replace(base.train, batch_size=size, **change)
        )
        for size in of.batch_sizes
        for name, change in changes.items()
    }
    runs = {name: prepared(config, device) for name, config in variants.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    rates: list[float] = []
    for _ in range(of.rounds):
        rates.append(product_rate(device, base.train.amp))
        for name, run in runs.items():
            times[name].append(timed(run, of.steps, device))
    rate = statistics.median(rates)
    where = device_name(device)
    print(f"{where}: {rate / 1e9:.0f} GFLOP/s in a matrix product")
    for name, config in variants.items():
        seconds, size = statistics.median(times[name]), config.train.batch_size
        work = operations(config, device)
        row = {
            "preset": of.preset,
            "variant": name,
            "device": where,
            "images_per_second": round(size / seconds, 2),
            "step_ms": round(1000 * seconds, 1),
            "gflop_an_image": round(work / size / 1e9, 2),
            "product_gflops": round(rate / 1e9, 1),
            "share_of_floor": round(work / rate / seconds, 3),
            "memory_gb": memory(device),
        }
        print(json.dumps(row), flush=True)
        if of.out:
            with of.out.open("a") as stream:
                stream.write(json.dumps(row) + "\n")


def made_up(config: Config, device: torch.device) -> Batch:
    """Return a batch of random numbers in the shapes of a real one."""
    size, chance = config.train.batch_size, torch.Generator().manual_seed(0)
    side, dim = BASE_SIZE << (config.generator.stages - 1), config.text.dim

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=chance).to(device)

    text = TextFeatures(
        normal(size, WORDS, dim),
        normal(size, dim),
        torch.ones(size, WORDS, dtype=torch.bool, device=device),
        normal(size, config.generator.attribute_dim) if config.generator.attribute_dim else None,
    )
    return Batch(
        images=pyramid(normal(size, 3, side, side).tanh(), config.generator.stages),
        text=text,
        v=normal(size, 512, 16, 16).sub(1.5).relu(),
        is_target=torch.arange(size, device=device) % 2 == 0,
        class_ids=None,
        z=normal(size, config.generator.z_dim),
        epsilon=normal(size, config.generator.condition_dim),
    )


def prepared(config: Config, device: torch.device) -> Callable[[int], None]:
    """Return a function of the step's number that makes that step, already warm."""
    damsm = Damsm(VOCABULARY, config.text, config.damsm).to(device).eval().requires_grad_(False)
    vgg = None
    if damsm.pixels is None:
        vgg = Vgg16Features().to(memory_format=torch.channels_last).to(device)
    # Its speed does not depend on its weights.
    trainer = GanTrainer(config, Teachers(damsm, vgg, None, SqueezeNet().to(device)), World(device=device))
    batch = made_up(config, device)

    def step(number: int) -> None:
        trainer.step(batch, number)

    for number in range(2):
        step(number)
    return step


def operations(config: Config, device: torch.device) -> float:
    """Return the floating-point operations of a step without R1."""
    plain = dataclasses.replace(config, train=dataclasses.replace(config.train, compile=False))
    step = prepared(plain, device)
    with FlopCounterMode(display=False) as counter:
        step(1)
    return float(counter.get_total_flops())


def timed(step: Callable[[int], None], steps: int, device: torch.device) -> float:
    """Return the seconds of a step without R1, the mean of a round."""
    synchronise(device)
    start = time.perf_counter()
    for number in range(1, steps + 1):
        step(number)
    synchronise(device)
    return (time.perf_counter() - start) / steps


def product_rate(device: torch.device, amp: bool) -> float:
    """Return the operations a second of a large matrix product."""
    n = PRODUCT[device.type]
    kind = torch.bfloat16 if amp and device.type == "cuda" else torch.float32
    a = torch.randn(n, n, device=device, dtype=kind)
    best = float("inf")
    for _ in range(5):
        synchronise(device)
        start = time.perf_counter()
        a @ a
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best


def memory(device: torch.device) -> float | None:
    """Return the most GPU memory in use so far, in GB."""
    if device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_allocated(device) / 1e9, 2)


def synchronise(device: torch.device) -> None:
    """Wait for what the device still does."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
