"""Further training of encoders, of their pixel network or their text side alone.

Each kind says what is drawn at a step and what is lost; `Further` is what both begin and end with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from memdriven.data.attributes import IGNORED, attribute_values, label_ids, visible_record
from memdriven.data.prepared import PreparedDataset
from memdriven.data.vocabulary import EncodedCaption
from memdriven.devices import choose_device
from memdriven.encoders.damsm import TrainedDamsm, damsm_loss, load_damsm, save_damsm
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
from memdriven.numbers import counted
from memdriven.training.captions import fit_reader
from memdriven.training.damsm import GRADIENT_CLIP, told
from memdriven.training.encoder_data import (
    CaptionedImages,
    evenly_spread,
    frozen_maps,
    mixed_seed,
    own_randomness,
    recall,
)
from memdriven.training.loop import Descent, Loop, warm_cosine
from memdriven.training.run_directory import RunDirectory

ATTRIBUTE_WEIGHT = 2.0
"""Weight of the loss on what captions name, or pictures show, beside DAMSM's."""
HEADS_EVERY = 4
"""Steps from one batch of v to the next in `train_text`: the heads are two linear maps."""


class Captioned(NamedTuple):
    """Captions, and what they are to be matched with."""

    seen: Tensor
    """Pictures (b, 3, s, s) in [0, 1], maps of pictures, or v."""
    captions: list[EncodedCaption]
    class_ids: Tensor | None
    """(b,), where members of one class are no negatives."""
    labels: Tensor
    """(b, attributes) what the pictures show, or what the captions name."""


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
    settings = {"batch": batch, "learning_rate": learning_rate, "seed": seed}
    further = Further("pixels", datasets, None, damsm, out, minutes, settings, device, resume, progress)
    data, model, pixels = further.data, further.trained.damsm, further.pixels
    shown = [visible_record(item) for item in data.items]
    attributes = attribute_values(shown)
    labels = label_ids(shown, attributes)

    def draw(step: int) -> Captioned:
        rows = data.rows(batch, seed, step)
        chance = torch.Generator().manual_seed(mixed_seed(seed, step, 3))
        images = data.disturbed(rows, chance)
        captions, _ = data.draw_captions(rows, chance)
        return further.captioned(images, captions, rows, labels[rows])

    def losses(batch: Captioned, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            text = model.encode_captions(batch.captions)
        maps = pixels.maps(batch.seen)
        terms = {"damsm": damsm_loss(pixels.embed(maps), text, model.config, batch.class_ids).total}
        if head is not None and bool((batch.labels != IGNORED).any()):
            terms["attributes"] = ATTRIBUTE_WEIGHT * attribute_loss(head(maps), batch.labels)
        return torch.stack(list(terms.values())).sum(), terms

    with own_randomness(model.device):
        torch.manual_seed(seed)
        modules: dict[str, nn.Module] = {"pixels": pixels}
        # A head that names attributes off the maps teaches small parts far sooner than captions do [ours];
        # it is kept beside the encoders, for G's attribute loss.
        head = None
        if attributes:
            head = AttributeHead(pixels.project.regions.in_channels, attributes).to(model.device)
            earlier = load_attributes(damsm, further.trained.facts["hash"])
            if earlier is not None and earlier.values == head.attributes:
                head.load_state_dict(earlier.head.state_dict())
            modules["head"] = head
        further.train(modules, losses, draw)
    return further.leave(head)


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
    settings = {"batch": batch, "learning_rate": learning_rate, "seed": seed}
    further = Further("text", datasets, features, damsm, out, minutes, settings, device, resume, progress)
    data, model, pixels = further.data, further.trained.damsm, further.pixels
    assert data.pictures is not None
    attributes = attribute_values([named for usable in data.captions for _, named in usable])
    maps = frozen_maps(pixels, data.pictures, views, seed, progress)

    def draw(step: int) -> tuple[Captioned, Captioned | None]:
        """Draw captioned maps of pictures, and now and then captioned v."""
        chance = torch.Generator().manual_seed(mixed_seed(seed, step, 5))
        rows = data.rows(batch, seed, step)
        view = torch.randint(views, (len(rows),), generator=chance)
        of_pictures = captioned(maps[view, rows].float(), rows, chance)
        if step % HEADS_EVERY or not len(data.featured):
            return of_pictures, None
        chosen = torch.randperm(len(data.featured), generator=chance)[:batch]
        return of_pictures, captioned(data.v(chosen), data.featured[chosen], chance)

    def captioned(seen: Tensor, rows: Tensor, chance: torch.Generator) -> Captioned:
        captions, named = data.draw_captions(rows, chance)
        return further.captioned(seen, captions, rows, label_ids(named, attributes))

    def losses(batch: tuple[Captioned, Captioned | None], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        torch.manual_seed(mixed_seed(seed, step, 6))  # dropout
        of_pictures, of_v = batch
        text = model.encode_captions(of_pictures.captions)
        seen = pixels.embed(of_pictures.seen)
        terms = {"pixels": damsm_loss(seen, text, model.config, of_pictures.class_ids).total}
        if reader is not None and bool((of_pictures.labels != IGNORED).any()):
            terms["named"] = ATTRIBUTE_WEIGHT * attribute_loss(reader(text), of_pictures.labels)
        if of_v is not None:
            text = model.encode_captions(of_v.captions)
            terms["heads"] = damsm_loss(model.heads(of_v.seen), text, model.config, of_v.class_ids).total
        return torch.stack(list(terms.values())).sum(), terms

    with own_randomness(model.device):
        torch.manual_seed(seed)
        # Where captions carry records, a linear layer must read them off the caption's embeddings, which
        # keeps "red wings, blue head" apart from "blue wings, red head" [ours]; it is dropped afterwards.
        reader = LinearReader(further.trained.config.text.dim, attributes) if attributes else None
        modules = {"text": model.text, "heads": model.heads, "project": pixels.project}
        modules |= {} if reader is None else {"reader": reader.to(model.device)}
        further.train(modules, losses, draw, (model.text, GRADIENT_CLIP))
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
        features: Path | str | None,
        damsm: Path | str,
        out: Path | str,
        minutes: float,
        settings: dict[str, Any],
        device: torch.device | str,
        resume: bool,
        progress: bool,
    ) -> None:
        self.kind, self.out, self.minutes, self.settings = kind, Path(out), minutes, settings
        self.progress = progress
        self.run = RunDirectory(self.out, settings, resume=resume)
        require(
            minutes > 0, ConfigError, wanted="minutes above 0", found=minutes, fix="give a budget of minutes"
        )
        self.trained = load_damsm(damsm, choose_device(device))
        model, vocabulary, config, facts = self.trained
        if not isinstance(model.pixels, CompactBackbone):
            raise ConfigError(
                "encoders with damsm.pixel_backbone 'compact'",
                f"{config.damsm.pixel_backbone!r}, which has no pixel network to train",
                "choose encoders that were trained with the compact pixel network",
            )
        self.pixels = model.pixels
        self.sets = [PreparedDataset.open(path) for path in datasets]
        store = None if features is None else features_of(self.sets[0], features)
        tested = [item for item in self.sets[0].items if item.split == "test"]  # a small set may have none
        if store is not None:
            known = set(store.ids)
            tested = [item for item in tested if item.id in known]
        training = [(dataset, dataset.split("train")) for dataset in self.sets]
        self.data, self.gallery = (
            CaptionedImages(
                sets,
                vocabulary,
                config,
                pictures=True,
                features=store,
                gallery=sets is not training,
                progress=progress,
            )
            for sets in (training, [(self.sets[0], evenly_spread(tested))])
        )
        require(
            len(self.data) >= settings["batch"],
            TrainingError,
            f"a batch of {settings['batch']} training pictures",
            len(self.data),
            "give more pictures, or a smaller batch",
        )
        identity = {"encoders": facts["hash"], "training items": self.data.key()}
        self.facts: dict[str, Any] = {"identity": identity}
        if not self.run.resumes:
            self.facts["before"] = recall(model, self.gallery)

    def captioned(
        self, seen: Tensor, captions: list[EncodedCaption], rows: Tensor, labels: Tensor
    ) -> Captioned:
        """Put together what was drawn of items, on the encoders' device."""
        device = self.trained.damsm.device
        masked = self.trained.config.damsm.mask_same_class
        classes = self.data.class_ids[rows].to(device) if masked else None
        return Captioned(seen.to(device), captions, classes, labels.to(device))

    def train(
        self,
        modules: Mapping[str, nn.Module],
        losses: Callable[[Any, int], tuple[Tensor, dict[str, Tensor]]],
        draw: Callable[[int], Any],
        clipped: tuple[nn.Module, float] | None = None,
    ) -> None:
        """Train modules to the end of the budget of minutes, a row of metrics an epoch."""
        parameters = [
            p for module in modules.values() for p in module.requires_grad_(True).train().parameters()
        ]
        optimiser = torch.optim.Adam(parameters, self.settings["learning_rate"], (0.9, 0.99))
        Loop(
            trainer=Descent(modules, optimiser, losses, clipped),
            draw=draw,
            steps=10**9,
            minutes=self.minutes,
            schedule=warm_cosine,
            run=self.run,
            facts=self.facts,
            log_every=len(self.data) // self.settings["batch"],
            batch_images=self.settings["batch"],
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
        stale = ("schema", "hash", "best", "test_recall", "test_images")
        kept = {key: value for key, value in facts.items() if key not in stale}
        kept |= {
            f"{self.kind}_trained_on": f"{counted(len(self.data), 'picture')} of {names}",
            f"{self.kind}_minutes": self.minutes,
            f"{self.kind}_from": facts["hash"],
            f"{self.kind}_test_recall": found,
        }
        save_damsm(self.out, model, vocabulary, config, kept)
        if head is not None:
            items, words = self.sets[0].split("train"), config.text.max_words
            reader = fit_reader(items, model, vocabulary, words, head.attributes, progress=self.progress)
            save_attributes(self.out, Attributes(head, reader), model.hash())
        if self.progress:
            for when, recalls in found.items():
                print(f"recall {when}: {told(recalls)}")
            print(f"encoders in {self.out}")
        return load_damsm(self.out, model.device)
