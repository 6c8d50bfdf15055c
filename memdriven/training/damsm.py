"""Training of DAMSM: from the beginning, and further its pixel network or its text encoder alone.

    train_damsm    text encoder, heads over v and pixel network learn together
    train_pixels   the pixel network alone, on captioned pictures that need no features
    train_text     text encoder, heads and the pixel network's projection, on maps computed once

Each brings a trainer of its own to the one loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from memdriven.config import Config, to_dict
from memdriven.data.attributes import IGNORED, attribute_values, label_ids
from memdriven.data.prepared import PreparedDataset
from memdriven.data.vocabulary import EncodedCaption, Vocabulary
from memdriven.encoders.attribute_files import Attributes, load_attributes, save_attributes
from memdriven.encoders.attribute_head import AttributeHead, attribute_loss
from memdriven.encoders.damsm import Damsm, damsm_loss
from memdriven.encoders.damsm_files import TrainedDamsm, load_damsm, save_damsm
from memdriven.encoders.image import CompactBackbone
from memdriven.encoders.text import TextFeatures
from memdriven.errors import ConfigError, TrainingError, require
from memdriven.memory.feature_store import FeatureStore
from memdriven.training.distributed import World, join_world, leave_world
from memdriven.training.encoder_data import (
    GALLERY,
    CaptionedImages,
    FrozenMaps,
    mixed_seed,
    recall,
    split_items,
)
from memdriven.training.loop import Loop, warm_cosine
from memdriven.training.readers import fit_reader
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
ATTRIBUTE_WEIGHT = 2.0
"""Weight of the loss on what captions name, or pictures show, beside DAMSM's."""
HEADS_EVERY = 4
"""Steps from one batch of v to the next in `train_text`: the heads are two linear maps."""


# --- Joint training -----------------------------------------------------------------------------------


class JointBatch(NamedTuple):
    """One step's captioned images."""

    v: Tensor
    """(b, 512, h, w), half of them mirrored: relu5_3 of a mirrored picture is nearly its mirror image."""
    images: Tensor | None
    """(b, 3, s, s) in [0, 1], disturbed; None where no pixel network trains."""
    captions: list[EncodedCaption]
    class_ids: Tensor
    """(b,)."""


class JointTrainer:
    """damsm(heads(v)) + damsm(pixels(image)), with one caption an image [family]."""

    def __init__(self, model: Damsm, config: Config, world: World) -> None:
        self.model, self.config, self.world = model, config, world
        settings = config.damsm
        trained = [p for p in model.parameters() if p.requires_grad]
        self.modules = {"damsm": model}
        self.optimisers = {"damsm": torch.optim.Adam(trained, settings.learning_rate, BETAS)}

    def step(self, batch: JointBatch, step: int) -> dict[str, Tensor]:
        """Update all of the encoders; return the losses of each side, their sum first."""
        settings, device = self.config.damsm, self.model.device
        torch.manual_seed(mixed_seed(self.config.train.seed, step, 2 + self.world.rank))  # dropout
        self.model.train()
        text = self.model.encode_captions(batch.captions)
        classes = batch.class_ids.to(device) if settings.mask_same_class else None
        sides = {"heads": self.model.heads(batch.v.to(device))}
        if self.model.pixels is not None and batch.images is not None:
            sides["pixels"] = self.model.pixels(batch.images.to(device))
        losses = {side: damsm_loss(features, text, settings, classes) for side, features in sides.items()}
        total = torch.stack([loss.total for loss in losses.values()]).sum()

        self.optimisers["damsm"].zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self.world.average_gradients(self.model)
        nn.utils.clip_grad_norm_(self.model.text.parameters(), GRADIENT_CLIP)
        self.optimisers["damsm"].step()
        parts = {
            f"{side}_{name}": value.detach()
            for side, loss in losses.items()
            for name, value in loss._asdict().items()
        }
        return {"loss": total.detach(), **parts}


def train_damsm(
    dataset: Path | str,
    features: Path | str,
    out: Path | str,
    config: Config,
    *,
    minutes: float = 0.0,
    device: torch.device | str = "cpu",
    resume: bool = False,
    progress: bool = True,
) -> TrainedDamsm:
    """Train DAMSM on cached features, and on pixels where the config has a pixel network.

    A tenth of the training images is held out where that makes 20 or more, and the encoders of the
    latest epoch are kept whose recall there (caption -> image, by sentence and global vector) is the
    best but for chance; of fewer images those of the last. The test split chooses nothing; recall on it
    is recorded at the end. `out` receives damsm.safetensors, vocabulary.json, config.json, metrics.jsonl
    with a row an epoch, and the state to go on from.

    Without `minutes` the learning rate falls by `LR_DECAY` an epoch [family]; with them along a cosine
    to 5 % over the budget, earlier starts included [ours]. On the CPU a resumed training gives the same
    bits as an uninterrupted one. Under torchrun each process takes its share of every batch, within
    which captions compete, and gradients are averaged.

    Args:
        dataset: a prepared data set.
        features: the feature store of its items.
        out: new folder, or with `resume` that of the training to go on with.
        config: `text`, `damsm` and `train.seed` are used.
        minutes: stop after this long; 0 trains `damsm.epochs` epochs.
        device: where to compute.
        resume: go on from `out`.
        progress: show a bar and one line an epoch.

    Returns:
        The saved model, read back, in evaluation mode.

    Raises:
        DataError, BankError: data or features are missing or damaged.
        CheckpointError: a damaged state.
        TrainingError: `out` is taken, or a loss is not finite; the last good state is kept.
    """
    out, settings, seed = Path(out), config.damsm, config.train.seed
    require(
        settings.epochs >= 1,
        ConfigError,
        wanted="damsm.epochs of 1 or more",
        found=settings.epochs,
        fix="change that setting",
    )
    plain = to_dict(config)
    run = RunDirectory(
        out,
        {"text": plain["text"], "damsm": plain["damsm"], "seed": seed},
        resume=resume,
        free=("damsm.epochs",),
    )
    world, device = join_world(torch.device(device))
    show = progress and world.is_main
    try:
        # The data: what trains, what chooses the epoch, and what measures the result.
        prepared, store = PreparedDataset.open(dataset), FeatureStore.open(features)
        split = split_items(prepared, store)
        captions = (c for item in (*split.train, *split.held_out) for c in item.captions)
        vocabulary = Vocabulary.build(captions)
        data, held_out, test = (
            CaptionedImages(
                [(prepared, items)],
                vocabulary,
                config,
                pictures=settings.pixel_backbone != "vgg16",
                features=store,
                wordless=items is split.test,
                progress=show,
            )
            for items in split
        )
        size = min(settings.batch_size, len(data))
        per_process = size // world.size
        require(
            per_process >= 2,
            TrainingError,
            wanted=f"a batch of 2 or more for each of {world.size} processes",
            found=f"{size} images a batch",
            fix="use fewer processes",
        )
        facts: dict[str, Any] = {
            "dataset": prepared.name,
            "features_encoder": store.encoder,
            "train_items": len(data),
            "recall_on": f"{len(held_out)} images, held out" if held_out.items else "none: the last epoch",
        }
        epoch = len(data) // size

        def draw(step: int) -> JointBatch:
            rows = data.rows(size, seed, step)[world.rank :: world.size][:per_process]
            chance = torch.Generator().manual_seed(mixed_seed(seed, step, 2 + world.rank))
            mirrored = torch.rand(len(rows), generator=chance) < 0.5
            v = data.v(rows)
            v[mirrored] = v[mirrored].flip(-1)
            images = data.disturbed(rows, chance) if data.pictures is not None else None
            chosen = data.chosen(rows, data.draw_captions(rows, chance))
            return JointBatch(v, images, chosen, data.class_ids[rows])

        with _own_randomness(device):
            torch.manual_seed(mixed_seed(seed, 0, 0))
            model = Damsm(len(vocabulary), config.text, settings)
            model.heads.fit_spread(data.v(data.rows(len(data), seed, -1)[:SPREAD_SAMPLE]))
            trainer = JointTrainer(model.to(device), config, world)
            identity = {
                "features": store.encoder,
                "training items": data.key(),
                "vocabulary": len(vocabulary),
            }
            memory: dict[str, Any] = {"identity": identity, "best": 0.0}

            def report(row: Mapping[str, Any]) -> dict[str, Any]:
                """Measure recall, and keep the encoders if none before them are better."""
                found = recall(model, held_out if held_out.items else test)
                mean = sum(found.values()) / max(1, len(found))
                rate = trainer.optimisers["damsm"].param_groups[0]["lr"]
                more = {"epoch": -(-int(row["step"]) // epoch), "learning_rate": rate, **found}
                if not held_out.items or as_good(mean, memory["best"], len(held_out)):
                    memory["kept"] = {**row, **more}
                    save_damsm(out, model, vocabulary, config, {**facts, "best": memory["kept"]})
                memory["best"] = max(mean, memory["best"])
                if show:
                    line = {"epoch": more["epoch"], **row, **more}
                    tqdm.write(" ".join(f"{key}={value:.4g}" for key, value in line.items()))
                return more

            Loop(
                trainer=trainer,
                draw=draw,
                steps=settings.epochs * epoch,
                minutes=minutes,
                schedule=epoch_decay(LR_DECAY, epoch) if minutes <= 0 else _cosine,
                run=run,
                facts=memory,
                log_every=epoch,
                report=report,
                batch_images=per_process * world.size,
                device=device,
                world=world,
                name="train-damsm",
                show=show,
            ).train()
        if world.is_main:
            trained = load_damsm(out, device)
            found = recall(trained.damsm, test)
            kept = {**facts, "best": memory["kept"], "test_images": len(test), "test_recall": found}
            save_damsm(out, trained.damsm, vocabulary, config, kept)
            if show:
                recalls = "".join(f", {name} {value:.3f}" for name, value in found.items())
                print(f"kept: epoch {memory['kept']['epoch']} of {settings.epochs}")
                print(f"on {len(test)} test images{recalls}")
        world.maximum((0.0,), device)  # the others wait for the files
    finally:
        leave_world(world)
    return load_damsm(out, device)


def as_good(found: float, best: float, count: int) -> bool:
    """Return whether a recall among `count` images is the best so far, but for one standard error."""
    share = (best * count + 1) / (count + 2)  # of a sample, so that it is never without an error
    return found >= best - math.sqrt(share * (1 - share) / count)


def epoch_decay(factor: float, epoch: int) -> Callable[[float, int], float]:
    """Return the schedule that multiplies the learning rate by `factor` after each epoch of steps."""
    return lambda part, step: float(factor ** (step // epoch))


def _cosine(part: float, step: int) -> float:
    """Fall along a cosine to `FINAL_RATE`."""
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Leave the caller's random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


# --- Further training ---------------------------------------------------------------------------------


class PixelBatch(NamedTuple):
    """One step's captioned pictures."""

    images: Tensor
    """(b, 3, s, s) in [0, 1], disturbed."""
    text: TextFeatures
    class_ids: Tensor | None
    labels: Tensor
    """(b, attributes) what the pictures show."""


class PixelTrainer:
    """The pixel network, and a head that names attributes off its maps.

    The head is an auxiliary task where the items carry attribute records: it teaches small parts far
    sooner than captions do [ours]. It is kept beside the encoders, for G's attribute loss.
    """

    def __init__(
        self,
        damsm: Damsm,
        attributes: Mapping[str, Sequence[str]],
        earlier: AttributeHead | None,
        learning_rate: float,
    ) -> None:
        assert isinstance(damsm.pixels, CompactBackbone)
        self.config, self.pixels = damsm.config, damsm.pixels.requires_grad_(True)
        channels = self.pixels.project.regions.in_channels
        self.head = AttributeHead(channels, attributes).to(damsm.device) if attributes else None
        self.modules: dict[str, nn.Module] = {"pixels": self.pixels}
        if self.head is not None:
            if earlier is not None and earlier.attributes == self.head.attributes:
                self.head.load_state_dict(earlier.state_dict())
            self.modules["head"] = self.head
        self.optimisers = {"pixels": _adam(self.modules.values(), learning_rate)}

    def step(self, batch: PixelBatch, step: int) -> dict[str, Tensor]:
        """Update network and head; return their losses."""
        for module in self.modules.values():
            module.train()
        maps = self.pixels.maps(batch.images)
        features = self.pixels.embed(maps)
        losses = {"damsm": damsm_loss(features, batch.text, self.config, batch.class_ids).total}
        if self.head is not None and bool((batch.labels != IGNORED).any()):
            losses["attributes"] = ATTRIBUTE_WEIGHT * attribute_loss(self.head(maps), batch.labels)
        return _descend(losses, self.optimisers["pixels"])


def train_pixels(
    datasets: Sequence[Path | str],
    damsm: Path | str,
    out: Path | str,
    *,
    minutes: float,
    batch: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    device: torch.device | str = "cpu",
    resume: bool = False,
    progress: bool = True,
) -> TrainedDamsm:
    """Train the pixel network of a DAMSM folder further and write the whole to another folder.

    Text encoder and heads stay as they are, so keys, memory banks and generators that were made with
    them stay valid. Adam; the learning rate rises over the first 5 % of the budget and then falls along
    a cosine to zero. `out` receives a DAMSM folder and metrics.jsonl; config.json records the recall on
    test pictures before and after.

    Args:
        datasets: prepared data sets; `train` trains, `test` of the first measures.
        damsm: folder of trained encoders with the compact pixel network.
        out: new folder, or with `resume` that of the training to go on with.
        minutes: budget of wall-clock time, earlier starts included.
        batch: captions that compete.
        learning_rate: its peak.
        seed: of order, captions and disturbances.
        device: where to compute.
        resume: go on from `out`.
        progress: show a bar.

    Raises:
        ConfigError: the encoders have no pixel network of their own.
        DataError, CheckpointError: data, encoders or the state are missing or damaged.
        TrainingError: `out` is taken, there are too few pictures, or a loss is not finite.
    """
    further = Further(
        "pixels", datasets, damsm, out, minutes, batch, learning_rate, seed, device, resume, progress
    )
    data, model = further.data, further.trained.damsm
    attributes = attribute_values(data.records())
    labels = label_ids(data.records(), attributes)
    earlier = load_attributes(damsm, further.trained.facts["hash"])

    def draw(step: int) -> PixelBatch:
        rows = data.rows(batch, seed, step)
        chance = torch.Generator().manual_seed(mixed_seed(seed, step, 3))
        images = data.disturbed(rows, chance).to(model.device)
        with torch.no_grad():
            text = model.encode_captions(data.chosen(rows, data.draw_captions(rows, chance)))
        return PixelBatch(images, text, further.classes(rows), labels[rows].to(model.device))

    with _own_randomness(model.device):
        torch.manual_seed(seed)
        trainer = PixelTrainer(model, attributes, earlier.head if earlier else None, learning_rate)
        further.train(trainer, draw)
    return further.leave(trainer.head)


class LinearReader(nn.Module):
    """Reads what a caption names off the two vectors that G is given, one softmax per attribute."""

    def __init__(self, dim: int, attributes: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.shape = (len(attributes), max(map(len, attributes.values())))
        self.layer = nn.Linear(2 * dim, math.prod(self.shape))

    def forward(self, text: TextFeatures) -> Tensor:
        """Return logits (b, attributes, most values)."""
        logits: Tensor = self.layer(torch.cat([text.sentence, text.words_mean], dim=1))
        return logits.view(-1, *self.shape)


class Captioned(NamedTuple):
    """Captions, and what they are to be matched with: maps of pictures, or v."""

    features: Tensor
    captions: list[EncodedCaption]
    class_ids: Tensor | None
    labels: Tensor
    """(b, attributes) what the captions name."""


class TextTrainer:
    """Text encoder, heads and the pixel network's projection learn; its convolutions stand still.

    Where captions carry records of what they name, a linear layer must read them off the caption's
    embeddings, which keeps "red wings, blue head" apart from "blue wings, red head" [ours]; it is
    dropped afterwards.
    """

    def __init__(
        self, damsm: Damsm, attributes: Mapping[str, Sequence[str]], seed: int, learning_rate: float
    ) -> None:
        assert isinstance(damsm.pixels, CompactBackbone)
        self.damsm, self.pixels, self.seed = damsm, damsm.pixels, seed
        width = 2 * damsm.text.lstm.hidden_size
        self.reader = LinearReader(width, attributes).to(damsm.device) if attributes else None
        self.modules: dict[str, nn.Module] = {
            "text": damsm.text,
            "heads": damsm.heads,
            "project": damsm.pixels.project,
        }
        if self.reader is not None:
            self.modules["reader"] = self.reader
        self.optimisers = {"text": _adam(self.modules.values(), learning_rate)}
        self.pixels.eval()
        for module in self.modules.values():
            module.requires_grad_(True).train()

    def step(self, batch: tuple[Captioned, Captioned | None], step: int) -> dict[str, Tensor]:
        """Take captioned maps of pictures, and now and then captioned v; return the losses."""
        torch.manual_seed(mixed_seed(self.seed, step, 6))  # dropout
        of_pictures, of_v = batch
        config = self.damsm.config
        text = self.damsm.encode_captions(of_pictures.captions)
        features = self.pixels.embed(of_pictures.features)
        losses = {"pixels": damsm_loss(features, text, config, of_pictures.class_ids).total}
        if self.reader is not None and bool((of_pictures.labels != IGNORED).any()):
            losses["named"] = ATTRIBUTE_WEIGHT * attribute_loss(self.reader(text), of_pictures.labels)
        if of_v is not None:
            text = self.damsm.encode_captions(of_v.captions)
            features = self.damsm.heads(of_v.features)
            losses["heads"] = damsm_loss(features, text, config, of_v.class_ids).total
        return _descend(losses, self.optimisers["text"], self.damsm.text, GRADIENT_CLIP)


def train_text(
    datasets: Sequence[Path | str],
    features: Path | str,
    damsm: Path | str,
    out: Path | str,
    *,
    minutes: float,
    batch: int = 64,
    learning_rate: float = 1e-3,
    views: int = 2,
    seed: int = 0,
    device: torch.device | str = "cpu",
    resume: bool = False,
    progress: bool = True,
) -> TrainedDamsm:
    """Train text encoder, projection and heads further; write the whole to another folder.

    The pixel network stands still, so a picture's maps are computed once and a step costs no
    convolution: thousands of steps in minutes, on many more captions than have features. Keys change, so
    banks have to be built anew, and generators go on from where they are (`train --start-from`).

    Args:
        datasets: prepared data sets; `train` trains, `test` of the first measures.
        features: feature store of the first one's items.
        damsm: folder of trained encoders with the compact pixel network.
        out: new folder, or with `resume` that of the training to go on with.
        minutes: budget of wall-clock time, after the maps are computed.
        batch: captions that compete.
        learning_rate: its peak.
        views: disturbed views of each picture.
        seed: of order, captions and disturbances.
        device: where to compute.
        resume: go on from `out`.
        progress: show bars.

    Raises:
        ConfigError: the encoders have no pixel network of their own.
        DataError, BankError, CheckpointError: data, features, encoders or the state are missing or
            damaged.
        TrainingError: `out` is taken, there are too few pictures, or a loss is not finite.
    """
    further = Further(
        "text", datasets, damsm, out, minutes, batch, learning_rate, seed, device, resume, progress, features
    )
    data, model = further.data, further.trained.damsm
    assert isinstance(model.pixels, CompactBackbone)
    assert data.pictures is not None
    attributes = attribute_values([record for records in data.named for record in records])
    labels = [label_ids(records, attributes) for records in data.named]
    maps = FrozenMaps(model.pixels, data.pictures, views, seed, progress)

    def captioned(seen: Tensor, rows: Tensor, chance: torch.Generator) -> Captioned:
        places = data.draw_captions(rows, chance)
        named = torch.stack([labels[row][place] for row, place in zip(rows.tolist(), places, strict=True)])
        device = model.device
        return Captioned(seen.to(device), data.chosen(rows, places), further.classes(rows), named.to(device))

    def draw(step: int) -> tuple[Captioned, Captioned | None]:
        chance = torch.Generator().manual_seed(mixed_seed(seed, step, 5))
        rows = data.rows(batch, seed, step)
        of_pictures = captioned(maps.draw(rows, chance), rows, chance)
        if step % HEADS_EVERY or not len(data.featured):
            return of_pictures, None
        chosen = torch.randperm(len(data.featured), generator=chance)[:batch]
        return of_pictures, captioned(data.v(chosen), data.featured[chosen], chance)

    with _own_randomness(model.device):
        torch.manual_seed(seed)
        trainer = TextTrainer(model, attributes, seed, learning_rate)
        further.train(trainer, draw)
    known = load_attributes(damsm, further.trained.facts["hash"])
    return further.leave(known.head if known else None)  # it reads the maps, which have not changed


class Further:
    """What both kinds of further training begin and end with.

    Args:
        kind: "pixels" or "text": what learns.
        features: feature store of the first data set's items; where there is one, recall by v is
            measured, too.
    """

    def __init__(
        self,
        kind: str,
        datasets: Sequence[Path | str],
        damsm: Path | str,
        out: Path | str,
        minutes: float,
        batch: int,
        learning_rate: float,
        seed: int,
        device: torch.device | str,
        resume: bool,
        progress: bool,
        features: Path | str | None = None,
    ) -> None:
        self.kind, self.out, self.minutes, self.batch = kind, Path(out), minutes, batch
        self.progress = progress
        settings = {"batch": batch, "learning_rate": learning_rate, "seed": seed}
        self.run = RunDirectory(self.out, settings, resume=resume)
        require(
            minutes > 0, ConfigError, wanted="minutes above 0", found=minutes, fix="give a budget of minutes"
        )
        self.trained = load_damsm(damsm, device)
        model, vocabulary, config, _ = self.trained
        require(
            isinstance(model.pixels, CompactBackbone),
            ConfigError,
            wanted="encoders with damsm.pixel_backbone 'compact'",
            found=f"{config.damsm.pixel_backbone!r}, which has no pixel network to train",
            fix="choose encoders that were trained with the compact pixel network",
        )
        self.sets = [PreparedDataset.open(path) for path in datasets]
        store = None if features is None else FeatureStore.open(features)
        known = None if store is None else set(store.ids)
        training = [(dataset, dataset.split("train")) for dataset in self.sets]
        tested = [item for item in self.sets[0].split("test") if known is None or item.id in known]
        tested = tested[:: max(1, math.ceil(len(tested) / GALLERY))]
        self.data, self.gallery = (
            CaptionedImages(
                sets,
                vocabulary,
                config,
                pictures=True,
                features=store,
                wordless=sets is not training,
                progress=progress,
            )
            for sets in (training, [(self.sets[0], tested)])
        )
        require(
            len(self.data) >= batch,
            TrainingError,
            wanted=f"a batch of {batch} training pictures",
            found=len(self.data),
            fix="give more pictures, or a smaller batch",
        )
        identity = {"encoders": self.trained.facts["hash"], "training items": self.data.key()}
        self.facts: dict[str, Any] = {"identity": identity}
        if not self.run.resumes:
            self.facts["before"] = recall(model, self.gallery)

    def classes(self, rows: Tensor) -> Tensor | None:
        """Return the class ids of items, where members of one class are no negatives."""
        if not self.trained.config.damsm.mask_same_class:
            return None
        return self.data.class_ids[rows].to(self.trained.damsm.device)

    def train(self, trainer: PixelTrainer | TextTrainer, draw: Callable[[int], Any]) -> None:
        """Train to the end of the budget of minutes, a row of metrics an epoch."""
        Loop(
            trainer=trainer,
            draw=draw,
            steps=10**9,
            minutes=self.minutes,
            schedule=warm_cosine,
            run=self.run,
            facts=self.facts,
            log_every=len(self.data) // self.batch,
            batch_images=self.batch,
            device=self.trained.damsm.device,
            name=f"train-{self.kind}",
            show=self.progress,
        ).train()

    def leave(self, head: AttributeHead | None) -> TrainedDamsm:
        """Write encoders and readers, and how well captions find their images before and after."""
        model, vocabulary, config, facts = self.trained
        model.eval().requires_grad_(False)
        found = {"before": self.facts["before"], "after": recall(model, self.gallery)}
        names = ", ".join(dataset.name for dataset in self.sets)
        told = {
            f"{self.kind}_trained_on": f"{len(self.data)} pictures of {names}",
            f"{self.kind}_minutes": self.minutes,
            f"{self.kind}_from": facts["hash"],
            f"{self.kind}_test_recall": found,
        }
        stale = ("schema", "hash", "best", "test_recall", "test_images")
        kept = {key: value for key, value in facts.items() if key not in stale}
        save_damsm(self.out, model, vocabulary, config, {**kept, **told})
        if head is not None:
            items, words = self.sets[0].split("train"), config.text.max_words
            reader = fit_reader(items, model, vocabulary, words, head.attributes, progress=self.progress)
            save_attributes(self.out, Attributes(head, reader), model.hash())
        if self.progress:
            for when, recalls in found.items():
                print(f"recall {when}: " + ", ".join(f"{k} {v:.3f}" for k, v in recalls.items()))
        return load_damsm(self.out, model.device)


def _adam(modules: Any, learning_rate: float) -> torch.optim.Adam:
    parameters = [p for module in modules for p in module.parameters()]
    return torch.optim.Adam(parameters, learning_rate, (0.9, 0.99))


def _descend(
    losses: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    clipped: nn.Module | None = None,
    clip: float = 0.0,
) -> dict[str, Tensor]:
    """Make a step down the sum of the losses; return them, detached."""
    optimiser.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    if clipped is not None:
        nn.utils.clip_grad_norm_(clipped.parameters(), clip)
    optimiser.step()
    return {name: value.detach() for name, value in losses.items()}
