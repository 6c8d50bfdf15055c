"""`train --dry-run`: what a run would build, need and cost, from two real steps."""

from __future__ import annotations

import resource
import time

import torch
from torch import nn

from memdriven.training.data import GanData
from memdriven.training.step import GanTrainer


def _parameters(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f} M parameters"


def report(trainer: GanTrainer, data: GanData) -> str:
    """Run two steps on the first batches; return shapes, sizes, memory and a time estimate."""
    train = trainer.config.train
    batch = data.batch(0)
    sizes = trainer.generator.resolutions
    lines = [
        f"training images      {len(data)}",
        f"batch                {train.batch_size} an update, over all processes",
        "images               " + ", ".join(str(tuple(i.shape)) for i in batch.images),
        f"words, sentence      {tuple(batch.text.words.shape)}, {tuple(batch.text.sentence.shape)}",
        f"v                    {tuple(batch.v.shape)}",
        f"generator            {_parameters(trainer.generator)}",
        *(
            f"discriminator {sizes[stage]:>4}   {_parameters(discriminator)}"
            for stage, discriminator in zip(trainer.stages, trainer.discriminators, strict=True)
        ),
    ]
    trainer.step(batch, 0)
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    losses = trainer.step(data.batch(1), 1)
    {name: value.item() for name, value in losses.items()}
    seconds = time.perf_counter() - start
    if trainer.device.type == "cuda":
        memory = f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB of GPU memory"
    else:
        memory = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB resident"
    lines += [
        "losses               " + ", ".join(f"{n} {v.item():.3f}" for n, v in losses.items()),
        f"memory               {memory}",
        f"time                 {seconds:.2f} s a step, {train.batch_size / seconds:.1f} images/s, "
        f"{seconds * train.steps / 3600:.1f} h for {train.steps} steps",
    ]
    return "\n".join(lines)
