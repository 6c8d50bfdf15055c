"""Training of DAMSM from the beginning: damsm(heads(v)) + damsm(pixels(image)), one caption each [family]."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.config import Config, to_dict
from memdriven.data.prepared import PreparedDataset
from memdriven.data.vocabulary import Vocabulary
from memdriven.devices import choose_device
from memdriven.encoders.damsm import Damsm, TrainedDamsm, damsm_loss, load_damsm, save_damsm
from memdriven.encoders.image import ImageFeatures
from memdriven.errors import TrainingError, require
from memdriven.memory.build import features_of
from memdriven.numbers import counted
from memdriven.training.captions import (
    Captioned,
    CaptionedImages,
    gallery,
    mixed_seed,
    permuted_rows,
    recall,
    split_items,
)
from memdriven.training.distributed import joined_world, synchronise
from memdriven.training.loop import Descent, Loop
from memdriven.training.run_directory import RunDirectory

BETAS = (0.5, 0.999)
"""Of Adam [family]."""
LR_DECAY = 0.98
"""Factor on the learning rate after each epoch [family]."""
GRADIENT_CLIP = 0.25
"""Norm to which the text encoder's gradient is clipped [family]."""
FINAL_RATE = 0.05
"""Part of the learning rate that is left at the end of a budget of minutes."""
SPREAD_SAMPLE = 256
"""Images off which the heads learn how strong each channel of v is."""
NONE_HELD_OUT = "none: the last epoch"

JointBatch = tuple[dict[str, Tensor], Captioned]
"""What each side sees of this process's images: v (b', 512, h, w), half of them mirrored, as relu5_3 of a
mirrored picture is nearly its mirror image, and pictures where a network of theirs trains; all captions."""


def train_damsm(
    dataset: Path | str,
    features: Path | str,
    out: Path | str,
    config: Config,
    *,
    minutes: float = 0.0,
    device: torch.device | str = "auto",
    resume: bool = False,
) -> TrainedDamsm:
    """Train the text encoder and image heads (DAMSM) on cached features, and its pixel network if any.

    Start from a preset and change any setting: `--preset tiny --damsm.epochs 4`.

    A tenth of the training images is held out where that makes 20 or more, and the encoders of the
    latest epoch are kept whose recall there (caption -> image, by sentence and global vector) is the
    best but for chance; of fewer images those of the last. The test split chooses nothing; recall on it
    is recorded at the end. `out` receives damsm.safetensors, vocabulary.json, config.json, metrics.jsonl
    with a row an epoch, and the state to go on from.

    Without `minutes` the learning rate falls by `LR_DECAY` an epoch [family]; with them along a cosine
    to 5 % over the budget, earlier starts included [ours]. On the CPU a resumed training gives the same
    bits as an uninterrupted one. Several processes (torchrun) give what one gives with the same batch.

    Args:
        dataset: folder of a prepared data set.
        features: folder of its features (extract-features).
        out: folder for the encoders; new, unless --resume.
        config: its sections text and damsm are used, and train.seed.
        minutes: stop after this many minutes; 0 trains damsm.epochs epochs.
        device: auto, cpu, cuda, cuda:1, ...
        resume: go on with the training in OUT.

    Returns:
        The saved model, read back, in evaluation mode.

    Raises:
        DataError, BankError: data or features are missing or damaged.
        CheckpointError: a damaged state.
        TrainingError: `out` is taken, or a loss is not finite; the last good state is kept.
    """
    out, settings, seed = Path(out), config.damsm, config.train.seed
    plain = to_dict(config)
    frozen = {"text": plain["text"], "damsm": plain["damsm"], "seed": seed}
    run = RunDirectory(out, frozen, resume=resume, free=("damsm.epochs",))
    with joined_world(choose_device(device)) as world:
        # The data: what trains, what chooses the epoch, and what measures the result.
        device = world.device
        prepared = PreparedDataset.open(dataset)
        store = features_of(prepared, features)
        training, *others = split_items(prepared, store)
        vocabulary = Vocabulary.build(c for item in (*training, *others[0]) for c in item.captions)
        galleries = (gallery(items, vocabulary, config.text.max_words) for items in others)
        options: dict[str, Any] = {"features": store, "device": device}
        options["pictures"] = settings.pixel_backbone != "vgg16"
        data, held_out, test = (
            CaptionedImages([(prepared, items)], vocabulary, config, **options)
            for items in (training, *galleries)
        )
        size = min(settings.batch_size, len(data))
        epoch = len(data) // size
        wanted = f"a batch that {world.size} processes can share evenly, of 2 or more each"
        found, fix = f"{counted(size, 'image')} a batch", "change damsm.batch_size, or use fewer processes"
        require(size % world.size == 0 and size >= 2 * world.size, TrainingError, wanted, found, fix)

        # The networks.
        torch.manual_seed(mixed_seed(seed, 0, 0))
        model = Damsm(len(vocabulary), config.text, settings)
        model.heads.fit_spread(data.v(permuted_rows(len(data), len(data), seed, -1)[:SPREAD_SAMPLE]))
        if world.size > 1:
            synchronise(model.to(device))
        optimiser = torch.optim.Adam(model.to(device).parameters(), settings.learning_rate, BETAS)

        def draw(step: int) -> JointBatch:
            rows = permuted_rows(len(data), size, seed, step)
            chance = torch.Generator().manual_seed(mixed_seed(seed, step, 2))
            mirrored = world.mine(torch.rand(len(rows), generator=chance) < 0.5)
            mine = world.mine(rows)
            seen = {"heads": data.v(mine)}
            seen["heads"][mirrored] = seen["heads"][mirrored].flip(-1)
            if data.pictures is not None:
                seen["pixels"] = data.disturbed(mine, chance, world)
            return seen, data.captioned(rows, chance)

        def losses(batch: JointBatch, step: int) -> dict[str, Tensor]:
            # Every process reads all captions of the batch, with one dropout, and looks at its own pictures.
            model.train()
            torch.manual_seed(mixed_seed(seed, step, 2))
            seen, captioned = batch
            text = model.encode_captions(captioned.captions)
            terms: dict[str, Tensor] = {}
            for side, tensor in seen.items():
                found = model.get_submodule(side)(tensor.to(device))
                loss = damsm_loss(ImageFeatures(*map(world.gather, found)), text, captioned.class_ids)
                terms |= {f"{side}_words": loss.words, f"{side}_sentence": loss.sentence}
            return terms

        # After each epoch: recall, and the encoders kept if none before them are better.
        facts: dict[str, Any] = {
            "dataset": prepared.name,
            "features_encoder": store.encoder,
            "train_items": len(data),
            "recall_on": f"{counted(len(held_out), 'image')}, held out" if len(held_out) else NONE_HELD_OUT,
        }
        identity = {"features": store.encoder, "training items": data.key(), "vocabulary": len(vocabulary)}
        memory: dict[str, Any] = {"identity": identity, "best": 0.0}

        def report(row: Mapping[str, Any]) -> dict[str, Any]:
            found = recall(model, held_out if len(held_out) else test)
            mean = sum(found.values()) / max(1, len(found))
            rate = optimiser.param_groups[0]["lr"]
            more = {"epoch": -(-int(row["step"]) // epoch), "learning_rate": rate, **found}
            if not len(held_out) or as_good(mean, memory["best"], len(held_out)):
                memory["kept"] = {**row, **more}
                save_damsm(out, model, vocabulary, config, {**facts, "best": memory["kept"]})
            memory["best"] = max(mean, memory["best"])
            tqdm.write(f"epoch {more['epoch']}, loss {row['loss']:.3f}: {as_line(found)}")
            return more

        Loop(
            trainer=Descent({"damsm": model}, optimiser, losses, (model.text, GRADIENT_CLIP), world),
            draw=draw,
            steps=settings.epochs * epoch,
            minutes=minutes,
            schedule=cosine_decay if minutes > 0 else lambda _, step: float(LR_DECAY ** (step // epoch)),
            run=run,
            facts=memory,
            log_every=epoch,
            report=report,
            batch_images=size,
            world=world,
            name="train-damsm",
        ).train()

        # What is kept, measured on what has chosen nothing.
        if world.is_main:
            print(f"kept: epoch {memory['kept']['epoch']} of {settings.epochs}")
            save_measured(out, load_damsm(out, device), test)
        world.maximum(0.0)  # the others wait for the files
    return load_damsm(out, device)


def save_measured(out: Path, trained: TrainedDamsm, test: CaptionedImages) -> None:
    """Write encoders, with how well the captions of test pictures find them."""
    found = recall(trained.damsm, test)
    facts = {key: value for key, value in trained.facts.items() if key not in ("schema", "hash")}
    facts |= {"test_images": len(test), "test_recall": found}
    save_damsm(out, trained.damsm, trained.vocabulary, trained.config, facts)
    print(f"on {counted(len(test), 'test image')}, {as_line(found)}\nencoders in {out}")


def as_good(found: float, best: float, count: int) -> bool:
    """Return whether a recall among `count` images is the best so far, but for one standard error."""
    share = (best * count + 1) / (count + 2)  # of a sample, so that it is never without an error
    return found >= best - math.sqrt(share * (1 - share) / count)


def cosine_decay(part: float, step: int) -> float:
    """Fall along a cosine to `FINAL_RATE`."""
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))


def as_line(recalls: Mapping[str, float]) -> str:
    """Return recalls as one line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in recalls.items()) or "no recall"
