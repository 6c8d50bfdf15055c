"""How fast each discriminator learns to tell a checkpoint's last stage from real pictures.

    python -m benchmarks.critics --checkpoint checkpoints/aviary --dataset data/aviary \
        --extra data/aviary-recoloured --squeezenet FILE

G stands still: the same batches are painted once, and every D sees them in the same order, from
its first weights. Printed is the share of right decisions (unconditional head, real and
generated alike) by sixths of the steps. A D that stays at a half can teach G nothing yet.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from memdriven import losses
from memdriven.checkpoint import load_checkpoint
from memdriven.encoders.readers import reader_of
from memdriven.encoders.squeezenet import SqueezeNet
from memdriven.models.discriminator import Discriminator, Logits
from memdriven.models.projected import DEPTHS, ProjectedDiscriminator
from memdriven.presets import PRESETS, preset
from memdriven.training.data import GanData

PARTS = 6


def main() -> None:
    """Read the command line, paint, train each D, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--extra", type=Path, nargs="*", default=[])
    parser.add_argument("--features", type=Path, help="default: those of the checkpoint's memory")
    parser.add_argument("--squeezenet", type=Path, help="default: torchvision's download")
    parser.add_argument("--preset", choices=PRESETS, default="aviary-128")
    parser.add_argument("--batch-size", type=int, default=6)
    parser.add_argument("--steps", type=int, default=60)
    of = parser.parse_args()
    made = load_checkpoint(of.checkpoint)
    config = replace(
        made.config,
        discriminator=preset(of.preset).discriminator,
        train=replace(made.config.train, batch_size=of.batch_size),
    )
    cpu = torch.device("cpu")
    reader = reader_of(made.attributes) if made.config.generator.attribute_dim else None
    data = GanData(
        of.dataset,
        of.features or made.bank_path / "features",
        made.damsm,
        made.vocabulary,
        config,
        cpu,
        extra=of.extra,
        reader=reader,
    )
    shown = []
    for step in range(of.steps):
        batch = data.batch(step)
        sentence = batch.text.sentence
        with torch.no_grad():
            fake = made.generator(batch.z, sentence, batch.text_condition, batch.v, batch.epsilon).images[-1]
        shown.append((batch.images[-1], fake, sentence))
    size, dim = made.generator.resolutions[-1], config.text.dim
    plain, backbone = config.discriminator, SqueezeNet.load(of.squeezenet, cpu)
    bare = replace(plain, spectral_norm=False)
    variants: dict[str, tuple[Callable[[], nn.Module], float]] = {
        "as preset, 4e-4": (lambda: Discriminator(plain, size, dim), 4e-4),
        "as preset, 1e-3": (lambda: Discriminator(plain, size, dim), 1e-3),
        "no spectral normalisation, 4e-4": (lambda: Discriminator(bare, size, dim), 4e-4),
        "no spectral normalisation, 4e-3": (lambda: Discriminator(bare, size, dim), 4e-3),
        "projected, 4e-4": (
            lambda: ProjectedDiscriminator(partial(backbone, depths=DEPTHS), size, dim),
            4e-4,
        ),
    }
    for name, (build, rate) in variants.items():
        torch.manual_seed(0)
        started = time.perf_counter()
        right = taught(build(), rate, shown)
        parts = [part.mean().item() for part in torch.tensor(right).chunk(PARTS)]
        seconds = (time.perf_counter() - started) / len(shown)
        print(f"{name}: {' '.join(f'{p:.2f}' for p in parts)}, {seconds:.2f} s a step", flush=True)


def taught(judge: nn.Module, rate: float, shown: list[tuple[Tensor, Tensor, Tensor]]) -> list[float]:
    """Train a D on (real, generated, sentence); return its share of right decisions a step."""
    optimiser = torch.optim.Adam([p for p in judge.parameters() if p.requires_grad], rate, betas=(0.5, 0.999))
    right = []
    for real, fake, sentence in shown:
        on_real, on_fake = Logits(*judge(real, sentence)), Logits(*judge(fake, sentence))
        optimiser.zero_grad()
        losses.discriminator_adversarial(on_real, on_fake).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        decisions = torch.cat([on_real.unconditional > 0, on_fake.unconditional < 0])
        right.append(decisions.float().mean().item())
    return right


if __name__ == "__main__":
    main()
