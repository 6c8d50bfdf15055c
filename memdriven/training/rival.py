"""Trains the rival without a memory on the pictures and captions that G learns from (Tao et al. 2022).

What is theirs is marked [DF-GAN]: hinge losses, one-way D, MA-GP, Adam with betas 0 and 0.9. The text
encoder is the model's own, frozen, so that both painters read the same sentence embeddings.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from memdriven.checkpoint import RIVAL
from memdriven.data.prepared import PreparedDataset, load_images
from memdriven.devices import choose_device, device_name
from memdriven.encoders.damsm import load_damsm
from memdriven.encoders.weights import write_weights
from memdriven.errors import TrainingError, require
from memdriven.models.rival import RivalDiscriminator, RivalGenerator, hinge, matching_gradient_penalty
from memdriven.training.captions import EmbeddedCaptions
from memdriven.training.loop import SAMPLES, Loop, SampleGrid, Trainer, adam
from memdriven.training.run_directory import RunDirectory

SCHEMA = "memdriven.rival.1"
Z_DIM = 100


@dataclass(frozen=True, kw_only=True)
class RivalSettings:
    """What one training of the rival is."""

    width: int = 16
    """Channels of the finest map; 32 in DF-GAN's published model."""
    size: int = 64
    """Side of its pictures in px."""
    batch_size: int = 24
    """Images a step."""
    learning_rate: float = 1e-4
    """Of G's Adam."""
    d_learning_rate: float = 4e-4
    """Of D's Adam."""
    ema: float = 0.999
    """Decay of G's moving average."""
    minutes: float = 60.0
    """Budget, all starts together."""
    steps: int = 0
    """Likewise; 0 for minutes alone."""
    seed: int = 0
    """Of first weights, order and noise."""


RivalBatch = tuple[Tensor, Tensor, Tensor]
"""Images (b, 3, s, s) in [-1, 1], their captions' sentences (b, d), and noise z (b, z_dim)."""


class RivalTrainer(Trainer):
    """Both networks, their optimisers and the step."""

    def __init__(self, settings: RivalSettings, text_dim: int, device: torch.device | str = "cpu") -> None:
        torch.manual_seed(settings.seed)
        self.generator = RivalGenerator(settings.width, settings.size, text_dim=text_dim)
        self.discriminator = RivalDiscriminator(settings.width, settings.size, text_dim=text_dim)
        for network in (self.generator, self.discriminator):
            network.to(device).to(memory_format=torch.channels_last)
        update = get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.generator, multi_avg_fn=update)
        modules = {"generator": self.generator, "average": self.average, "discriminator": self.discriminator}
        rates = {"generator": settings.learning_rate, "discriminator": settings.d_learning_rate}
        super().__init__(modules, {n: adam(modules[n], rate, betas=(0.0, 0.9)) for n, rate in rates.items()})

    def step(self, batch: RivalBatch, step: int) -> dict[str, Tensor]:
        """Update D, then G, then its average; return the losses."""
        d, (images, sentence, z) = self.discriminator, batch
        made = self.generator(z, sentence)

        # D: real pairs, the same images beside the next one's caption, generated pairs [DF-GAN].
        real, fake = d.features(images), d.features(made.detach())
        adversarial = hinge(
            d.judge(real, sentence), d.judge(fake, sentence), d.judge(real, sentence.roll(1, 0))
        )
        penalty = matching_gradient_penalty(d, images, sentence)
        self.update("discriminator", adversarial + penalty)

        # G.
        g_loss = -d.judge(d.features(made), sentence).mean()
        self.update("generator", g_loss)
        self.average.update_parameters(self.generator)
        found = {"d_hinge": adversarial, "penalty": penalty, "g_hinge": g_loss}
        return {name: value.detach() for name, value in found.items()}


def train_rival(
    dataset: Path,
    damsm: Path,
    out: Path,
    settings: RivalSettings | None = None,
    *,
    extra: Sequence[Path] = (),
    device: torch.device | str = "auto",
    resume: bool = False,
) -> Path:
    """Train a GAN without a memory on the same pictures and captions: the rival.

    OUT/rival.safetensors is its moving average. Laid beside a checkpoint (and recorded there) it is a row
    of `evaluate`: rival.

    Args:
        dataset: folder of a prepared data set.
        damsm: folder of trained encoders (train-damsm), or a checkpoint, for its text encoder.
        out: run directory; new, unless --resume.
        settings: of the networks and the training.
        extra: more prepared data sets, whose training images it learns from, too.
        device: auto, cpu, cuda, cuda:1, ...
        resume: go on with the run in OUT.

    Returns:
        The file.

    Raises:
        TrainingError: a loss is not finite, or the run directory does not fit.
    """
    settings, device = settings or RivalSettings(), choose_device(device)
    run = RunDirectory(out, asdict(settings), resume=resume, free=("minutes", "steps"))
    trained = load_damsm(damsm, device)
    sets = [PreparedDataset.open(folder) for folder in (dataset, *extra)]
    small = ", ".join(s.name for s in sets if s.image_size < settings.size)
    wanted, found = f"pictures of {settings.size} px or more, as the rival makes", f"smaller ones in {small}"
    require(not small, TrainingError, wanted, found, "lower the size")
    items = [item for s in sets for item in s.split("train")]
    captions = EmbeddedCaptions(items, trained)
    images = torch.cat([load_images(s, s.split("train"), settings.size) for s in sets])

    def batch(step: int) -> RivalBatch:
        """Draw images evenly, one caption of each, half of them mirrored."""
        chance = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        index = torch.randint(len(images), (settings.batch_size,), generator=chance)
        caption = captions.pick(index, chance)
        mirrored = torch.rand(len(index), generator=chance) < 0.5
        shown = images[index].float() / 127.5 - 1
        shown = torch.where(mirrored[:, None, None, None], shown.flip(3), shown).to(device)
        z = torch.randn(len(index), Z_DIM, generator=chance).to(device)
        return shown, captions.sentences[caption.to(device)], z

    trainer = RivalTrainer(settings, trained.config.text.dim, device)
    first, sentence, _ = (tensor[:SAMPLES] for tensor in batch(2**40))

    def finish(loop: Loop) -> None:
        facts = {
            "schema": SCHEMA,
            "width": settings.width,
            "size": settings.size,
            "text_dim": trained.config.text.dim,
            "damsm": trained.facts["hash"],
            "minutes": round(loop.seconds / 60, 1),
            "images": loop.step * loop.batch_images,
            "device": device_name(device),
        }
        # One entry: safetensors writes several in any order, and a file's bytes are its hash.
        write_weights(out / RIVAL, trainer.average.module, {"memdriven": json.dumps(facts)}, packed=True)

    Loop(
        trainer=trainer,
        draw=batch,
        steps=settings.steps or math.inf,
        minutes=settings.minutes,
        run=run,
        facts={"identity": {"damsm": trained.facts["hash"], "images": len(items)}},
        samples=SampleGrid(first, lambda z: trainer.average.eval()(z, sentence), Z_DIM),
        finish=finish,
        batch_images=settings.batch_size,
        name="rival",
    ).train()
    return out / RIVAL
