"""Further training of encoders, of their pixel network or their text encoder alone.

Each kind brings a trainer of its own to the loop; `Further` is what both begin and end with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from memdriven.data.attributes import IGNORED, attribute_values, label_ids
from memdriven.data.prepared import PreparedDataset
from memdriven.data.vocabulary import EncodedCaption
from memdriven.devices import choose_device
from memdriven.encoders.damsm import Damsm, TrainedDamsm, damsm_loss, load_damsm, save_damsm
from memdriven.encoders.image import CompactBackbone
from memdriven.encoders.readers import (
    AttributeHead,
    Attributes,
    attribute_loss,
    load_attributes,
    save_attributes,
)
from memdriven.encoders.text import TextFeatures
from memdriven.errors import ConfigError, TrainingError, require
from memdriven.memory.build import features_of
from memdriven.training.damsm import GRADIENT_CLIP
from memdriven.training.encoder_data import (
    GALLERY,
    CaptionedImages,
    FrozenMaps,
    mixed_seed,
    own_randomness,
    recall,
)
from memdriven.training.loop import Loop, warm_cosine
from memdriven.training.readers import fit_reader
from memdriven.training.run_directory import RunDirectory

ATTRIBUTE_WEIGHT = 2.0
"""Weight of the loss on what captions name, or pictures show, beside DAMSM's."""
HEADS_EVERY = 4
"""Steps from one batch of v to the next in `train_text`: the heads are two linear maps."""


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
    minutes: float = 15.0,
    batch: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    device: torch.device | str = "auto",
    resume: bool = False,
    progress: bool = True,
) -> TrainedDamsm:
    """Train DAMSM's pixel network further, on pictures that need no features.

    Small renders do: `prepare aviary --image-size 64 --seed 2`. Text encoder and heads stay as they are,
    so keys, memory banks and generators that were made with them stay valid. Adam; the learning rate
    rises over the first 5 % of the budget and then falls along a cosine to zero. OUT receives a DAMSM
    folder and metrics.jsonl; config.json records the recall on test pictures before and after.

    Args:
        datasets: folders of prepared data sets; the first one's test split measures.
        damsm: folder of trained encoders with the compact pixel network.
        out: folder for the encoders; new, unless --resume.
        minutes: budget of wall-clock time, earlier starts included.
        batch: captions that compete.
        learning_rate: its peak.
        seed: of order, captions and disturbances.
        device: auto, cpu, cuda, cuda:1, ...
        resume: go on with the training in OUT.
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

    with own_randomness(model.device):
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
    minutes: float = 10.0,
    batch: int = 64,
    learning_rate: float = 1e-3,
    views: int = 2,
    seed: int = 0,
    device: torch.device | str = "auto",
    resume: bool = False,
    progress: bool = True,
) -> TrainedDamsm:
    """Train DAMSM's text encoder further, on what its pixel network sees; run it after train-pixels.

    The pixel network stands still, so a picture's maps are computed once and a step costs no
    convolution: thousands of steps in minutes, on many more captions than have features. Keys change, so
    banks have to be built anew, and generators go on from where they are (`train --start-from`).

    Args:
        datasets: folders of prepared data sets; the first one's test split measures.
        features: folder of the first one's features (extract-features).
        damsm: folder of trained encoders with the compact pixel network.
        out: folder for the encoders; new, unless --resume.
        minutes: budget of wall-clock time, after the maps are computed.
        batch: captions that compete.
        learning_rate: its peak.
        views: disturbed views of each picture.
        seed: of order, captions and disturbances.
        device: auto, cpu, cuda, cuda:1, ...
        resume: go on with the training in OUT.
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

    with own_randomness(model.device):
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
        self.trained = load_damsm(damsm, choose_device(device))
        model, vocabulary, config, _ = self.trained
        require(
            isinstance(model.pixels, CompactBackbone),
            ConfigError,
            wanted="encoders with damsm.pixel_backbone 'compact'",
            found=f"{config.damsm.pixel_backbone!r}, which has no pixel network to train",
            fix="choose encoders that were trained with the compact pixel network",
        )
        self.sets = [PreparedDataset.open(path) for path in datasets]
        store = None if features is None else features_of(self.sets[0], features)
        known = None if store is None else set(store.ids)
        training = [(dataset, dataset.split("train")) for dataset in self.sets]
        tested = [item for item in self.sets[0].items if item.split == "test"]  # a small set may have none
        tested = [item for item in tested if known is None or item.id in known]
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
            print(f"encoders in {self.out}")
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
