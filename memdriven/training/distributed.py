"""Several processes, one training, started by torchrun: they give what one gives with the same global batch.

Gradients are averaged by DistributedDataParallel. What else joins samples of a batch is joined here over the
processes: statistics of BatchNorm, captions that compete, random numbers.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass

import torch

# Imported before there is a group: the defaults of its functions hold the group that they find, for good,
# and gloo's threads live as long as the group; where they outlive the interpreter the process may abort.
import torch.distributed.nn
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class World:
    """This process's place among all, and its own device."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of each value over the processes; gradients flow to all of them."""
        if self.size == 1:
            return values
        total: Tensor = torch.distributed.nn.functional.all_reduce(values)  # type: ignore[no-untyped-call]
        return total

    def mean(self, values: Tensor) -> Tensor:
        """Likewise their mean."""
        return self.sum(values) / self.size

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows (b, ...) of all processes in their order (b * size, ...), likewise."""
        if self.size == 1:
            return rows
        placed = rows.new_zeros(self.size, *rows.shape)
        placed[self.rank] = rows
        return self.sum(placed).flatten(0, 1)

    def mine(self, rows: Tensor) -> Tensor:
        """Return this process's part of the rows of all."""
        count = len(rows) // self.size
        return rows[self.rank * count : (self.rank + 1) * count]

    def balance(self, here: Tensor) -> Tensor | float:
        """Return the factor on a mean over `here` samples that makes the processes' mean one over all."""
        if self.size == 1:
            return 1.0
        return here * self.size / self.sum(here).clamp(min=1)

    def maximum(self, *values: float) -> tuple[float, ...]:
        """Return the largest of each value over all processes: what one of them sees, all know."""
        if self.size == 1:
            return values
        found = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return tuple(found.tolist())


class GlobalBatchNorm(nn.BatchNorm2d):
    """BatchNorm over all processes' samples on CPUs, where torch's SyncBatchNorm cannot run."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (b, c, ...)."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None  # noqa: PT018
        assert self.num_batches_tracked is not None and self.momentum is not None  # noqa: PT018
        world = World(rank=distributed.get_rank(), size=distributed.get_world_size())
        others = [axis for axis in range(x.dim()) if axis != 1]
        mean = world.mean(x.mean(others, keepdim=True))
        variance = world.mean((x - mean).square().mean(others, keepdim=True))
        with torch.no_grad():
            count = world.size * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(variance.flatten() * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight.view(mean.shape) * (variance + self.eps).rsqrt()
        return (x - mean) * scale + self.bias.view(mean.shape)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take (b, c), too."""


def parallel(module: nn.Module, world: World) -> nn.Module:
    """Average a module's gradients over the processes in each backward pass; buffers are the same on all."""
    if world.size == 1:
        return module
    with warnings.catch_warnings():
        # torch 2.14 would have another word for it, which earlier versions lack.
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        return DistributedDataParallel(module, broadcast_buffers=False)


def synchronise(module: nn.Module) -> None:
    """Let each BatchNorm in a module see the samples of all processes; weights and names stay."""
    if any(p.is_cuda for p in module.parameters()):
        nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                joined = GlobalBatchNorm(child.num_features, child.eps, child.momentum)
                joined.load_state_dict(child.state_dict())
                joined.weight, joined.bias = child.weight, child.bias
                setattr(parent, name, joined)


class Chance:
    """A step's random numbers: drawn for the global batch, each process takes those of its samples.

    So a training does not depend on how many processes share its batch. They are drawn where they are
    needed: noise of a picture's size made on the CPU would take longer than a GPU's whole step.

    Args:
        seed: the same numbers for the same seed, on one kind of device; or a generator to draw from.
        world: the processes that share the batch; says where numbers of a seed are drawn.
    """

    def __init__(self, seed: int | torch.Generator, world: World | None = None) -> None:
        self.world = world or World()
        device = self.world.device
        self.generator = torch.Generator(device).manual_seed(seed) if isinstance(seed, int) else seed

    def draw(self, kind: Callable[..., Tensor], count: int, *shape: int) -> Tensor:
        """Return numbers (count, ...) for this process's samples; torch.rand, say, is a kind of them."""
        whole = (count * self.world.size, *shape)
        return self.world.mine(kind(whole, generator=self.generator, device=self.generator.device))


@contextmanager
def joined_world(device: torch.device) -> Iterator[World]:
    """Join the group that torchrun describes in the environment, and leave it; alone without one.

    Until then all processes but the first print nothing.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    world = World(rank=distributed.get_rank(), size=size, device=device)
    try:
        with ExitStack() as stack:
            if not world.is_main:  # one process speaks for all
                nowhere = stack.enter_context(open(os.devnull, "w"))
                stack.enter_context(redirect_stdout(nowhere))
                stack.enter_context(redirect_stderr(nowhere))
            yield world
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
