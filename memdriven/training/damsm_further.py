"""Further training of encoders, of their pixel network or their text side alone.

Each says what is drawn at a step and what is lost; `Further` is what both begin and end with.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from memdriven.data.prepared import Item, PreparedDataset
from memdriven.data.vocabulary import IGNORED, attribute_values, label_ids, visible_record
from memdriven.devices import choose_device
from memdriven.encoders.damsm import TrainedDamsm, damsm_loss, load_damsm
from memdriven.encoders.image import CompactBackbone
from memdriven.encoders.readers import (
    AttributeHead,
    Attributes,
    CaptionReader,
    attribute_loss,
    reading_loss,
    save_attributes,
)
from memdriven.encoders.text import TextFeatures
from memdriven.errors import ConfigError, TrainingError, require
from memdriven.memory.build import features_of
from memdriven.numbers import counted
from memdriven.training.captions import (
    Captioned,
    CaptionedImages,
    EmbeddedCaptions,
    gallery,
    mixed_seed,
    permuted_rows,
)
from memdriven.training.damsm import GRADIENT_CLIP, save_measured
from memdriven.training.loop import Descent, Loop, warm_cosine
from memdriven.training.run_directory import RunDirectory

ATTRIBUTE_WEIGHT = 2.0
"""Weight of the loss on what captions name, or pictures show, beside DAMSM's."""
HEADS_EVERY = 4
"""Steps from one batch of v to the next in `train_text`: the heads are two linear maps."""
VIEWS = 2
"""Disturbed views of each picture in `train_text`."""
READER_BATCH, READER_RATE = 256, 1e-2
"""Of a caption reader: captions a step, and Adam's rate at its peak, to which it rises over 50 steps."""
READER_EPOCHS, READER_STEPS = 32, 200
"""How long it trains, and the steps of that at least, however few captions there are."""

Batch = tuple[Tensor, Captioned, Tensor]
"""Pictures (b, 3, s, s) in [0, 1], maps of pictures, or v; their captions; labels (b, attributes) of what the
pictures show, or the captions name."""


@dataclass(frozen=True, kw_only=True)
class PixelSettings:
    """What one further training of the pixel network is."""

    minutes: float = 15.0
    """Budget of wall-clock time, all starts together."""
    batch: int = 64
    """Captions that compete."""
    learning_rate: float = 2e-3
    """Of Adam at its peak, behind the first 5 % of the budget; a cosine from there to zero."""
    seed: int = 0
    """Of order, captions and disturbances."""


@dataclass(frozen=True, kw_only=True)
class TextSettings(PixelSettings):
    """Likewise of the text side; the time that its maps take comes on top of the minutes."""

    minutes: float = 10.0
    learning_rate: float = 1e-3


def train_pixels(
    datasets: Sequence[Path | str],
    damsm: Path | str,
    out: Path | str,
    settings: PixelSettings | None = None,
    *,
    device: torch.device | str = "auto",
    resume: bool = False,
) -> TrainedDamsm:
    """Train DAMSM's pixel network further, on pictures that need no features.

    Small renders do: `prepare aviary --image-size 64 --seed 2`. Text encoder and heads stay as they are,
    so keys, memory banks and generators that were made with them stay valid. OUT receives a DAMSM folder
    and metrics.jsonl; config.json records the recall on test pictures.

    Args:
        datasets: folders of prepared data sets; the first one's test split measures.
        damsm: folder of trained encoders with the compact pixel network.
        out: folder for the encoders; new, unless --resume.
        settings: of the training.
        device: auto, cpu, cuda, cuda:1, ...
        resume: go on with the training in OUT.

    Raises:
        ConfigError: the encoders have no pixel network of their own.
        DataError, CheckpointError: data, encoders or the state are missing or damaged.
        TrainingError: `out` is taken, there are too few pictures, or a loss is not finite.
    """
    settings = settings or PixelSettings()
    further = Further("pixels", datasets, None, damsm, Path(out), settings, device, resume)
    data, model, pixels = further.data, further.trained.damsm, further.pixels
    shown = [visible_record(item) for item in data.items]
    attributes = attribute_values(shown)
    labels = label_ids(shown, attributes)

    # A head that names attributes off the maps teaches small parts far sooner than captions do [ours];
    # it is kept beside the encoders, for G's attribute loss.
    modules: dict[str, nn.Module] = {"pixels": pixels}
    head = None
    if attributes:
        modules["head"] = head = AttributeHead(pixels.project.regions.in_channels, attributes)
        known = further.trained.attributes
        if known is not None and known.values == head.attributes:
            head.load_state_dict(known.head.state_dict())
        head.to(model.device)

    def draw(step: int) -> Batch:
        rows = permuted_rows(len(data), settings.batch, settings.seed, step)
        chance = torch.Generator().manual_seed(mixed_seed(settings.seed, step, 3))
        images = data.disturbed(rows, chance)
        return images, data.captioned(rows, chance), labels[rows]

    def losses(batch: Batch, step: int) -> dict[str, Tensor]:
        images, captioned, visible = batch
        with torch.no_grad():
            text = model.encode_captions(captioned.captions)
        maps = pixels.maps(images.to(model.device))
        terms = {"damsm": damsm_loss(pixels.embed(maps), text, captioned.class_ids).total}
        if head is not None:
            terms["attributes"] = ATTRIBUTE_WEIGHT * attribute_loss(head(maps), visible.to(model.device))
        return terms

    return further.train(modules, losses, draw, head)


def train_text(
    datasets: Sequence[Path | str],
    features: Path | str,
    damsm: Path | str,
    out: Path | str,
    settings: TextSettings | None = None,
    *,
    device: torch.device | str = "auto",
    resume: bool = False,
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
        settings: of the training.
        device: auto, cpu, cuda, cuda:1, ...
        resume: go on with the training in OUT.

    Raises:
        BankError: the features are missing or damaged; else as `train_pixels`.
    """
    settings = settings or TextSettings()
    further = Further("text", datasets, features, damsm, Path(out), settings, device, resume)
    data, model, pixels = further.data, further.trained.damsm, further.pixels
    attributes = attribute_values(data.named)
    labels = label_ids(data.named, attributes)
    maps = frozen_maps(pixels, data, VIEWS, settings.seed)

    # Where captions carry records, a linear layer must read them off the caption's embeddings, which
    # keeps "red wings, blue head" apart from "blue wings, red head" [ours]; it is dropped afterwards.
    modules: dict[str, nn.Module] = {"text": model.text, "heads": model.heads, "project": pixels.project}
    shape = len(attributes), max(map(len, attributes.values()), default=0)
    reader = nn.Linear(2 * further.trained.config.text.dim, shape[0] * shape[1]).to(model.device)
    if attributes:
        modules["reader"] = reader

    def draw(step: int) -> list[Batch]:
        """Draw captioned maps of pictures, and now and then captioned v."""
        chance = torch.Generator().manual_seed(mixed_seed(settings.seed, step, 5))
        rows = permuted_rows(len(data), settings.batch, settings.seed, step)
        view = torch.randint(VIEWS, (len(rows),), generator=chance)
        drawn = [(maps[view, rows].float(), rows)]
        if step % HEADS_EVERY == 0 and len(data.featured):
            chosen = torch.randperm(len(data.featured), generator=chance)[: settings.batch]
            drawn.append((data.v(chosen), data.featured[chosen]))
        captioned = [data.captioned(rows, chance) for _, rows in drawn]
        return [(seen, each, labels[each.drawn]) for (seen, _), each in zip(drawn, captioned)]

    def losses(batch: list[Batch], step: int) -> dict[str, Tensor]:
        torch.manual_seed(mixed_seed(settings.seed, step, 6))  # dropout
        terms: dict[str, Tensor] = {}
        for name, (seen, captioned, named) in zip(("pixels", "heads"), batch):
            text, seen = model.encode_captions(captioned.captions), seen.to(model.device)
            found = pixels.embed(seen) if name == "pixels" else model.heads(seen)
            terms[name] = damsm_loss(found, text, captioned.class_ids).total
            if name == "pixels" and attributes:
                read = reader(torch.cat([text.sentence, text.words_mean], dim=1)).view(-1, *shape)
                terms["named"] = ATTRIBUTE_WEIGHT * attribute_loss(read, named.to(model.device))
        return terms

    # The head reads the maps, which do not change.
    known = further.trained.attributes
    head = known.head if known else None
    return further.train(modules, losses, draw, head, (model.text, GRADIENT_CLIP))


@torch.no_grad()
def frozen_maps(pixels: CompactBackbone, data: CaptionedImages, views: int, seed: int) -> Tensor:
    """Return a frozen pixel network's maps of the data's n pictures, each disturbed a few times.

    They are (views, n, 112, h, w) in float16, on the CPU.
    """
    device = next(pixels.parameters()).device
    chance = torch.Generator().manual_seed(mixed_seed(seed, 4))
    rows = torch.split(torch.arange(len(data)).repeat(views), 64)
    found = [
        pixels.maps(data.disturbed(some, chance).to(device)).half().cpu()
        for some in tqdm(rows, "maps", leave=False)
    ]
    maps = torch.cat(found)
    return maps.view(views, len(data), *maps.shape[1:])


@dataclass
class Further:
    """What both kinds of further training begin and end with."""

    kind: str
    """What learns: "pixels" or "text"."""
    datasets: Sequence[Path | str]
    features: Path | str | None
    """Of the first data set's items; with these, recall by v is measured, too."""
    damsm: Path | str
    out: Path
    settings: PixelSettings
    device: torch.device | str
    resume: bool

    def __post_init__(self) -> None:
        """Open the encoders, and the data that train and measure them."""
        batch, minutes = self.settings.batch, self.settings.minutes
        self.run = RunDirectory(self.out, asdict(self.settings), resume=self.resume, free=("minutes",))
        require(minutes > 0, ConfigError, "minutes above 0", minutes, "give a budget of minutes")
        self.trained = load_damsm(self.damsm, choose_device(self.device))
        model, vocabulary, config, *_ = self.trained
        if not isinstance(model.pixels, CompactBackbone):
            found = f"{config.damsm.pixel_backbone!r}, which has no pixel network to train"
            fix = "choose encoders that were trained with the compact pixel network"
            raise ConfigError("encoders with damsm.pixel_backbone 'compact'", found, fix)
        self.pixels = model.pixels
        self.sets = [PreparedDataset.open(path) for path in self.datasets]
        store = None if self.features is None else features_of(self.sets[0], self.features)
        training = [(dataset, dataset.split("train")) for dataset in self.sets]
        tested = [item for item in self.sets[0].items if item.split == "test"]  # a small set may have none
        measuring = [(self.sets[0], gallery(tested, vocabulary, config.text.max_words))]
        options: dict[str, Any] = {"features": store, "device": model.device}
        self.data, self.gallery = (
            CaptionedImages(sets, vocabulary, config, pictures=True, **options)
            for sets in (training, measuring)
        )
        wanted, fix = f"a batch of {batch} training pictures", "give more pictures, or a smaller batch"
        require(len(self.data) >= batch, TrainingError, wanted, len(self.data), fix)
        torch.manual_seed(self.settings.seed)

    def train(
        self,
        modules: Mapping[str, nn.Module],
        losses: Callable[[Any, int], dict[str, Tensor]],
        draw: Callable[[int], Any],
        head: AttributeHead | None,
        clipped: tuple[nn.Module, float] | None = None,
    ) -> TrainedDamsm:
        """Train modules to the end of the budget, a row of metrics an epoch; write the encoders and readers.

        Args:
            head: what reads attributes off the maps, to keep beside the encoders.
        """
        model, facts = self.trained.damsm, self.trained.facts
        learning = [p for each in modules.values() for p in each.requires_grad_(True).train().parameters()]
        optimiser = torch.optim.Adam(learning, self.settings.learning_rate, (0.9, 0.99))
        Loop(
            trainer=Descent(modules, optimiser, losses, clipped),
            draw=draw,
            minutes=self.settings.minutes,
            schedule=warm_cosine,
            run=self.run,
            facts={"identity": {"encoders": facts["hash"], "training items": self.data.key()}},
            log_every=len(self.data) // self.settings.batch,
            batch_images=self.settings.batch,
            name=f"train-{self.kind}",
        ).train()

        # What came of it; what was known of the encoders before is kept.
        model.eval().requires_grad_(False)
        names = ", ".join(dataset.name for dataset in self.sets)
        kept = {key: value for key, value in facts.items() if key != "best"} | {
            f"{self.kind}_trained_on": f"{counted(len(self.data), 'picture')} of {names}",
            f"{self.kind}_minutes": self.settings.minutes,
            f"{self.kind}_from": facts["hash"],
        }
        save_measured(self.out, self.trained._replace(facts=kept), self.gallery)
        if head is not None:
            items = self.sets[0].split("train")
            reader = fit_reader(items, self.trained, head.attributes)
            save_attributes(self.out, Attributes(head, reader), model.hash())
        return load_damsm(self.out, model.device)


def fit_reader(
    items: Sequence[Item], trained: TrainedDamsm, attributes: Mapping[str, Sequence[str]]
) -> CaptionReader | None:
    """Return a reader of what training images' captions name of the attributes, by their word embeddings.

    There is none where no caption records what it names. The encoders stand still.
    """
    captions = EmbeddedCaptions(items, trained, attributes)
    labels = captions.labels
    assert labels is not None
    if bool((labels == IGNORED).all()):
        return None
    torch.manual_seed(0)
    reader = CaptionReader(captions.words.shape[2], attributes).to(captions.device)
    chance = torch.Generator().manual_seed(0)

    def draw(step: int) -> tuple[TextFeatures, Tensor]:
        rows = torch.randint(len(captions.words), (READER_BATCH,), generator=chance)
        return captions.text(rows), labels[rows].to(captions.device)

    def losses(batch: tuple[TextFeatures, Tensor], step: int) -> dict[str, Tensor]:
        text, named = batch
        return {"reading": reading_loss(reader(text), named)}

    Loop(
        trainer=Descent({"reader": reader}, torch.optim.Adam(reader.parameters(), READER_RATE), losses),
        draw=draw,
        steps=max(READER_STEPS, READER_EPOCHS * len(captions.words) // READER_BATCH),
        schedule=lambda part, step: min(1.0, (step + 1) / 50) * (1 - part),
        name="caption reader",
        batch_images=READER_BATCH,
    ).train()
    return reader.eval().requires_grad_(False)
