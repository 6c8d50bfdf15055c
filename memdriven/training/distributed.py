"""Several processes, one training: started by torchrun, gradients averaged after each backward.

The averaging is written out rather than left to DistributedDataParallel: D runs several times
before its backward and G's backward passes through D, which the wrapper's hooks do not expect.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True, kw_only=True)
class World:
    """This process's place among all."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def average_gradients(self, module: nn.Module) -> None:
        """Replace each gradient by its mean over the processes, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        for gradient, piece in zip(gradients, torch.split(flat, [g.numel() for g in gradients])):
            gradient.copy_(piece.view_as(gradient))

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the values of rank 0."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def maximum(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Return the largest of each value over all processes: what one of them sees, all know."""
        if self.size == 1:
            return list(values)
        found = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return [float(value) for value in found]


class Chance:
    """A step's random numbers: drawn for the global batch, each process takes those of its samples.

    So a training does not depend on how many processes share its batch. They are drawn where they are
    needed: noise of a picture's size made on the CPU would take longer than a GPU's whole step.

    Args:
        seed: the same numbers for the same seed, on one kind of device; or a generator to draw from.
        world: the processes that share the batch.
        device: where the numbers are drawn.
    """

    def __init__(
        self, seed: int | torch.Generator, world: World | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.world = world or World()
        if isinstance(seed, int):
            seed = torch.Generator(device).manual_seed(seed)
        self.generator: torch.Generator = seed

    def uniform(self, count: int, *shape: int) -> Tensor:
        """Return numbers in [0, 1) (count, *shape) for this process's `count` samples."""
        return self._mine(torch.rand(self._all(count), *shape, **self._where()), count)

    def normal(self, count: int, *shape: int) -> Tensor:
        """Return standard normal numbers (count, *shape)."""
        return self._mine(torch.randn(self._all(count), *shape, **self._where()), count)

    def integers(self, below: int, count: int, *shape: int) -> Tensor:
        """Return whole numbers in 0..below - 1 (count, *shape)."""
        return self._mine(torch.randint(below, (self._all(count), *shape), **self._where()), count)

    def _all(self, count: int) -> int:
        return count * self.world.size

    def _where(self) -> dict[str, Any]:
        return {"generator": self.generator, "device": self.generator.device}

    def _mine(self, drawn: Tensor, count: int) -> Tensor:
        return drawn[self.world.rank * count : (self.world.rank + 1) * count]


def join_world(device: torch.device) -> tuple[World, torch.device]:
    """Join the group that torchrun describes in the environment; alone without one.

    Returns this process's world and its own device.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(rank=distributed.get_rank(), size=size), device


def leave_world(world: World) -> None:
    """Close the group."""
    if world.size > 1 and distributed.is_initialized():
        distributed.destroy_process_group()
