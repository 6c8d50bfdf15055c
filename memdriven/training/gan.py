"""`train`: the networks, the data and the loop put together (Sec. 4.3)."""

import resource
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memdriven.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from memdriven.config import Config, from_dict, to_dict
from memdriven.devices import choose_device, device_name
from memdriven.encoders.damsm import load_damsm
from memdriven.encoders.readers import reader_of
from memdriven.errors import CheckpointError, TrainingError, require
from memdriven.files import read_json
from memdriven.models.generator import Generator
from memdriven.numbers import counted
from memdriven.training.aux_losses import Teachers
from memdriven.training.data import Batch, GanData
from memdriven.training.distributed import joined_world
from memdriven.training.loop import SAMPLES, Loop, SampleGrid, linear_decay
from memdriven.training.run_directory import STATE, RunDirectory, load_state
from memdriven.training.step import GanTrainer

CONFIG = "config.json"
"""A run's frozen settings."""
FREE = tuple(f"train.{name}" for name in ("steps", "max_minutes", "compile", "log_every", "save_every"))
"""Settings that no step's arithmetic hangs on: a resumed run may change them."""
WEIGHTS = "generator.safetensors"


def train_gan(
    dataset: Path,
    features: Path,
    damsm: Path,
    out: Path,
    config: Config,
    *,
    device: torch.device | str = "auto",
    resume: bool = False,
    start_from: Path | None = None,
    later_from: Path | None = None,
    extra: Sequence[Path] = (),
    dry_run: bool = False,
    vgg: Path | None = None,
    squeezenet: Path | None = None,
) -> Path:
    """Train the generator against its discriminators; leave a checkpoint in OUT/checkpoint.

    Start from a preset and change any setting: `--preset tiny --generator.width 24`. On several GPUs:
    `torchrun --nproc-per-node 4 -m memdriven train ...`. The checkpoint has no memory bank yet.

    Args:
        dataset: folder of a prepared data set.
        features: folder of its features (extract-features).
        damsm: folder of trained encoders (train-damsm), or a checkpoint, for its encoders.
        out: run directory: config, metrics, samples, state and checkpoint; new, unless --resume.
        config: frozen into the run directory; its `text` and `damsm`, and a `generator.attribute_dim`
            that is not 0, give way to the encoders' own.
        device: auto, cpu, cuda, ...; under torchrun each process takes its own GPU.
        resume: go on with the run in OUT.
        start_from: run directory whose networks and optimisers this run begins with, or a checkpoint,
            such as checkpoints/aviary, for its generator alone; data, encoders and settings may differ,
            shapes may not, and what it lacks (early fusion, say) starts fresh.
        later_from: checkpoint whose later stages it begins with, where --start-from is a checkpoint that
            lacks them: they were trained on another first stage.
        extra: more data sets of the same classes, whose training images have no features of their own:
            they are painted from the memories they name (prepare recoloured), or else from neighbours
            of their captions [ours].
        dry_run: print shapes, parameters, memory and a time estimate; write nothing.
        vgg: VGG-16 weight file, where damsm.pixel_backbone is vgg16; else $MEMDRIVEN_VGG16 or a download.
        squeezenet: SqueezeNet 1.1 weight file, where discriminator.projected is on, or
            loss.perceptual_weight above 0; else $MEMDRIVEN_SQUEEZENET or a download.

    Returns:
        The run directory.

    Raises:
        TrainingError: a loss is not finite (the last good state is kept), or the run directory
            does not fit.
        ConfigError: the generator does not fit the encoders.
        CheckpointError: the checkpoint to start from is damaged or of another shape.
    """
    with joined_world(choose_device(device)) as world:
        train = config.train
        wanted = f"a train.batch_size that {world.size} processes can share evenly"
        fix = "choose a multiple of the number of processes"
        require(train.batch_size % world.size == 0, TrainingError, wanted, train.batch_size, fix)
        trained = load_damsm(damsm, world.device)
        config = replace(config, text=trained.config.text, damsm=trained.config.damsm)
        if config.generator.attribute_dim:
            width = reader_of(trained.attributes).width
            config = replace(config, generator=replace(config.generator, attribute_dim=width))

        # A folder that is taken, or settings that cannot be, are refused before hours of loading.
        run = None
        if not dry_run:
            run = RunDirectory(out, to_dict(config), resume=resume, file=CONFIG, free=FREE)
            freezes, begun = train.frozen_stages or train.frozen_names, resume or start_from is not None
            wanted = "trained weights to freeze (train.frozen_stages, train.frozen_parts)"
            found, fix = "a run that starts from nothing", "name a checkpoint that has them with --start-from"
            require(begun or not freezes, TrainingError, wanted, found, fix)
        teachers = Teachers.load(config, trained, vgg, squeezenet)
        trainer = GanTrainer(config, teachers, world)
        data = GanData(dataset, features, trained, config, extra=extra)
        if run is None:
            lines = _dry_run(trainer, data)  # every process: gradients are averaged
            print(lines)
            return out
        facts: dict[str, Any] = {"identity": {"damsm": trained.facts["hash"], **data.identity}, "earlier": []}
        if start_from is not None and not run.resumes:
            facts["earlier"] = begin_from(start_from, trainer, later_from)

        def draw(step: int) -> Batch:
            """Draw none of the batches again of the runs that this one goes on from."""
            earlier = round(sum(float(part.get("steps", 0)) for part in facts["earlier"]))
            return data.batch(earlier + step, world)

        def finish(loop: Loop) -> None:
            made = {
                "steps": loop.step,
                "images": loop.step * loop.batch_images,
                "minutes": round(loop.seconds / 60, 1),
                "finished": loop.part >= 1,
                "device": device_name(world.device),
                "dataset": data.name,
                "training_images": len(data),
                **facts["identity"],
                "earlier_runs": facts["earlier"],
            }
            networks = (trained.vocabulary, trained.damsm, trainer.ema)
            dropped = save_checkpoint(out / "checkpoint", config, *networks, made, trained.attributes)
            for line in dropped:
                print(f"not kept in {out / 'checkpoint'}: {line}")

        Loop(
            trainer=trainer,
            draw=draw,
            steps=train.steps,
            minutes=train.max_minutes,
            schedule=linear_decay(train.decay_from),
            run=run,
            facts=facts,
            log_every=train.log_every,
            save_every=train.save_every,
            samples=sample_grid(data, trainer),
            finish=finish,
            batch_images=train.batch_size,
            compiles=train.compile,
            world=world,
        ).train()
    return out


def sample_grid(data: GanData, trainer: GanTrainer) -> SampleGrid:
    """Return what draws a fixed batch: the real images, and pictures of their captions and memories."""
    batch = data.batch(2**40)
    read = (batch.text.sentence, batch.text.condition, batch.v, torch.zeros_like(batch.epsilon))
    inputs = [tensor[:SAMPLES] for tensor in read]
    shown, size = batch.images[-1][:SAMPLES], batch.z.shape[1]
    return SampleGrid(shown, lambda z: trainer.ema.eval()(z, *inputs).images[-1], size)


def begin_from(folder: Path, trainer: GanTrainer, later: Path | None = None) -> list[dict[str, Any]]:
    """Load what an earlier training left, in place; return each part of it: steps, minutes, settings.

    Args:
        folder: a run directory, whose networks and optimisers are taken, or a checkpoint, which
            holds the averaged generator alone, so that the discriminators start fresh. What
            either lacks (early fusion, say) keeps its first values; a checkpoint's later stages
            are left behind, and what it knows of other data's attributes (`attribute_dim`). With
            stages or parts frozen that the run had not frozen, its checkpoint is taken: they are to
            stay as they make pictures.
        trainer: the new run's networks.
        later: a checkpoint whose later stages are taken, those that `folder` lacks, as they were
            trained on another first one.

    Raises:
        TrainingError: neither is there, or the networks are of another shape.
        CheckpointError: the checkpoint is damaged, or its generator of another shape.
    """
    train = trainer.config.train
    kept = (train.frozen_stages, train.frozen_names)
    if any(kept) and not (folder / WEIGHTS).exists():
        then = from_dict(Config, read_json(folder / CONFIG, TrainingError)).train
        if kept != (then.frozen_stages, then.frozen_names):
            folder = folder / "checkpoint"
    if (folder / STATE).exists() or not (folder / WEIGHTS).exists():
        past = load_state(folder / STATE, trainer.modules, trainer.optimisers, grow=True)
        settings = read_json(folder / CONFIG, TrainingError)
        part = {"steps": past["step"], "minutes": past["seconds"] / 60, "config": settings}
        return [*past.get("earlier", []), part]

    # A checkpoint: its generator but for the stages that this run lacks, and what other readers say.
    made, new = load_checkpoint(folder), trainer.config.generator
    old, parts = made.config.generator, _parts(made)
    wanted = f"a generator of at least {train.frozen_stages} stages in {folder}, as so many are frozen"
    enough = old.stages >= train.frozen_stages
    require(enough, CheckpointError, wanted, old.stages, "lower train.frozen_stages")
    left = _names(made.generator, new.stages, old.stages)
    if old.attribute_dim != new.attribute_dim:
        left += ("early.text_code.attributes.", "early.text_code.noise.gate.")
    weights = {k: v for k, v in made.generator.state_dict().items() if not k.startswith(left)}
    if new.first_rank and "first.linear.weight" in weights:
        weights |= of_rank(weights.pop("first.linear.weight"), new.first_rank)
    if later is not None:
        other = load_checkpoint(later)
        known = [(part["steps"], part["minutes"]) for part in parts]
        parts = [*(p for p in _parts(other) if (p["steps"], p["minutes"]) not in known), *parts]
        names = _names(other.generator, old.stages, new.stages)
        weights |= {k: v for k, v in other.generator.state_dict().items() if k.startswith(names)}
    own, wanted = trainer.generator.state_dict(), "a generator of this run's shape, to start from"
    wrong = [k for k, v in weights.items() if k not in own or own[k].shape != v.shape]
    found = f"{', '.join(wrong[:1])} in {folder} is unknown, or of another shape"
    require(not wrong, CheckpointError, wanted, found, "use the settings that it was trained with")
    for module in (trainer.generator, trainer.ema):
        module.load_state_dict(weights, strict=False)
    return parts


def _names(generator: Generator, first: int, end: int) -> tuple[str, ...]:
    """Return how the names of the weights of its stages begin, from the `first` to before the `end`."""
    stages = range(first, min(end, generator.config.stages))
    return tuple(f"{name}." for stage in stages for name in generator.stage_parts(stage))


def _parts(made: Checkpoint) -> list[dict[str, Any]]:
    """Return what is known of a checkpoint's training, by parts: steps, minutes, data set, settings."""
    last = {name: made.facts[name] for name in ("steps", "minutes", "dataset") if name in made.facts}
    return [*made.facts.get("earlier_runs", []), {**last, "config": to_dict(made.config)}]


def of_rank(full: Tensor, rank: int) -> dict[str, Tensor]:
    """Return the first stage's full linear layer as two of a rank, by its singular values."""
    u, s, v = torch.linalg.svd(full.float(), full_matrices=False)
    root = s[:rank].sqrt()  # shared, so that both layers learn at one pace
    return {
        "first.linear.0.weight": (root[:, None] * v[:rank]).contiguous(),
        "first.linear.1.weight": (u[:, :rank] * root).contiguous(),
    }


def _dry_run(trainer: GanTrainer, data: GanData) -> str:
    """Run two steps on the first batches; return shapes, sizes, and what a run needs of memory and time."""
    train, batch = trainer.config.train, data.batch(0)

    def millions(module: nn.Module) -> str:
        return f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f} M parameters"

    def gigabytes(tensors: Iterable[Tensor]) -> str:
        return f"{sum(tensor.nbytes for tensor in tensors) / 1e9:.2f}"

    for step in range(2):
        start = time.perf_counter()
        losses = {name: value.item() for name, value in trainer.step(data.batch(step), step).items()}
        seconds = time.perf_counter() - start
    peak, where = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "of memory"
    if trainer.world.device.type == "cuda":
        peak, where = torch.cuda.max_memory_allocated(), "of the GPU's memory"
    weights = [w for module in trainer.modules.values() for w in module.state_dict().values()]
    moments = [m for o in trainer.optimisers.values() for s in o.state.values() for m in s.values()]
    held = f"data {gigabytes((data.images, data.features, data.captions.words))}, "
    held += f"networks {gigabytes(weights)}, moments {gigabytes(moments)}, the rest libraries and a step"
    sides = [trainer.generator.resolutions[stage] for stage in trainer.stages]
    pace = f"{seconds:.2f} s a step, {train.batch_size / seconds:.1f} images/s"
    lines = [
        ("training images", len(data)),
        ("batch", f"{train.batch_size} an update, over all processes"),
        ("images", ", ".join(str(tuple(image.shape)) for image in batch.images)),
        ("words, sentence", f"{tuple(batch.text.words.shape)}, {tuple(batch.text.sentence.shape)}"),
        ("v", tuple(batch.v.shape)),
        ("generator", millions(trainer.generator)),
        *((f"discriminator {side:>4}", millions(d)) for side, d in zip(sides, trainer.discriminators)),
        ("losses", ", ".join(f"{name} {value:.3f}" for name, value in losses.items())),
        ("memory", f"{peak / 1e9:.2f} GB {where} a process: {held}"),
        ("time", f"{pace}, {seconds * train.steps / 3600:.1f} h for {counted(train.steps, 'step')}"),
    ]
    return "\n".join(f"{name:<20} {value}" for name, value in lines)
