"""`train`: the networks, the data and the loop put together (Sec. 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from memdriven.config import Config
from memdriven.encoders.attribute_files import load_attributes, reader_of
from memdriven.encoders.damsm_files import load_damsm
from memdriven.encoders.squeezenet import SqueezeNet
from memdriven.errors import TrainingError
from memdriven.models.projected import DEPTHS
from memdriven.training.batches import GanData
from memdriven.training.distributed import join_world, leave_world
from memdriven.training.dry_run import report as dry_run_report
from memdriven.training.loop import STATE, Loop
from memdriven.training.perceptual import Perceptual
from memdriven.training.run_directory import RunDirectory
from memdriven.training.start import begin_from
from memdriven.training.state import load_state
from memdriven.training.steps import GanTrainer
from memdriven.training.text_loss import TextLoss


def train_gan(
    dataset: Path,
    features: Path,
    damsm: Path,
    out: Path,
    config: Config,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    start_from: Path | None = None,
    extra: Sequence[Path] = (),
    call_minutes: float = 0.0,
    dry_run: bool = False,
    vgg_weights: Path | None = None,
    squeezenet_weights: Path | None = None,
    progress: bool = True,
) -> Path:
    """Train G and the D's; leave a checkpoint (without its memory bank) in `out`/checkpoint.

    Args:
        dataset: prepared data set.
        features: feature store of its training images.
        damsm: folder that `train-damsm` wrote, or a checkpoint, for its encoders.
        out: run directory; made, or gone on with when `resume`.
        config: frozen into the run directory; its `text` and `damsm`, and a `generator.named_width`
            that is not 0, give way to the encoders' own.
        device: of this process, e.g. "cuda"; under torchrun each takes its own GPU.
        start_from: run directory of a finished training whose networks and optimisers this run
            begins with, or a checkpoint, for its generator alone; data, encoders and settings may
            differ, shapes may not, and what it lacks (early fusion, say) starts fresh.
        extra: prepared data sets of the same classes whose training images have no features of
            their own: they are given those of the memory they name (`prepare recoloured`), or else
            always neighbours' v, as an unseen caption is [ours].
        call_minutes: stop after this much of `train.max_minutes`, to be resumed; 0 means no limit.
        dry_run: print shapes, parameters, memory and a time estimate; write nothing.
        vgg_weights: VGG-16 file, where `damsm.pixel_backbone` is `vgg16`.
        squeezenet_weights: SqueezeNet 1.1 file, where `discriminator.projected` is on, or
            `loss.perceptual_network` is `squeezenet`.

    Returns:
        The run directory.

    Raises:
        TrainingError: a loss is not finite (the last good state is kept), or the run directory
            does not fit.
        ConfigError: the generator does not fit the encoders.
        CheckpointError: the checkpoint to start from is damaged or of another shape.
    """
    world, device = join_world(torch.device(device))
    show = progress and world.is_main
    try:
        trained = load_damsm(damsm, device)
        config = replace(config, text=trained.config.text, damsm=trained.config.damsm)
        encoders, vocabulary = trained.damsm, trained.vocabulary
        attributes = load_attributes(damsm, trained.facts["hash"])
        reader = None
        if config.generator.named_width:
            reader = reader_of(attributes)
            settings = replace(config.generator, named_width=reader.width)
            config = replace(config, generator=settings)
        text_loss = TextLoss.load(config, trained, attributes, vgg_weights)
        by = config.loss.perceptual_network if config.loss.perceptual_weight else ""
        backbone, perceptual = None, None
        if config.discriminator.projected or by == "squeezenet":
            network = SqueezeNet.load(squeezenet_weights, device)
            network = network.to(memory_format=torch.channels_last)
            if config.discriminator.projected:
                backbone = partial(network, depths=DEPTHS)
            if by == "squeezenet":
                perceptual = Perceptual.of_squeezenet(network)
        if by == "damsm":
            perceptual = Perceptual.of_damsm(encoders)
        trainer = GanTrainer(config, text_loss, device, world, backbone, perceptual)
        data = GanData(
            dataset,
            features,
            encoders,
            vocabulary,
            config,
            device,
            extra=extra,
            attributes=text_loss.attributes,
            progress=show,
            reader=reader,
        )
        if dry_run:
            told = dry_run_report(trainer, data)  # every process: gradients are averaged
            if world.is_main:
                print(told)
            return out
        frozen = config.train.frozen_stages or config.train.frozen_names
        if frozen and start_from is None and not resume:
            raise TrainingError(
                wanted="trained weights to freeze (train.frozen_stages, train.frozen_parts)",
                found="a run that starts from nothing",
                fix="name a checkpoint that has them with --start-from",
            )
        run = RunDirectory(out, config, resume=resume) if world.is_main else None
        identity = {"damsm": trained.facts["hash"], **data.identity}
        facts: dict[str, Any] = {"step": 0, "seconds": 0.0, "earlier": []}
        if resume and (out / STATE).exists():
            facts |= load_state(out / STATE, trainer.modules, trainer.optimisers)
            _check_same(facts.get("identity", identity), identity, out)
        elif start_from is not None:
            facts["earlier"] = begin_from(start_from, trainer)
        facts |= {"identity": identity, "until": facts["seconds"] + 60 * call_minutes}
        Loop(trainer, data, run, out, world, facts, show).run(encoders, vocabulary, attributes)
    finally:
        leave_world(world)
    return out


def _check_same(then: dict[str, str], now: dict[str, str], out: Path) -> None:
    """Refuse to resume a run with other data or encoders."""
    changed = [name for name in now if now[name] != then.get(name)]
    if changed:
        raise TrainingError(
            wanted=f"the {changed[0]} with which the run in {out} was started",
            found="another one",
            fix="resume with the same data and encoders, or start a new run with --start-from",
        )
