"""Further training of DAMSM's text encoder, on pictures that its pixel network has looked at once.

The pixel network stands still, so a picture's maps are computed once and a step costs no
convolution: thousands of steps in minutes, on many more captions than have features. Text encoder,
the projection of the maps and the heads over v learn together. Where captions carry records of what
they name, a linear layer must read them off the caption's embeddings, which keeps "red wings, blue
head" apart from "blue wings, red head" [ours]; it is dropped afterwards.

Keys change, so banks have to be built anew, and generators go on from where they are
(`train --start-from`).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import trange

from memdriven.data.attributes import IGNORED, attribute_values, label_ids
from memdriven.data.prepared import PreparedDataset
from memdriven.encoders.attribute_files import Attributes, load_attributes, save_attributes
from memdriven.encoders.attribute_head import attribute_loss
from memdriven.encoders.damsm import Damsm, damsm_loss
from memdriven.encoders.damsm_files import TrainedDamsm, load_damsm, save_damsm
from memdriven.encoders.image import CompactBackbone
from memdriven.encoders.text import TextFeatures
from memdriven.errors import ConfigError, TrainingError
from memdriven.files import atomic_write_json
from memdriven.memory.feature_store import FeatureStore
from memdriven.training.caption_reading import fit_reader
from memdriven.training.captions import named_by
from memdriven.training.damsm_data import DamsmData, choose_items, mixed_seed
from memdriven.training.damsm_recall import recall
from memdriven.training.damsm_run import GRADIENT_CLIP
from memdriven.training.damsm_state import not_finite
from memdriven.training.frozen_maps import Maps
from memdriven.training.pixel_data import PixelData

METRICS = "text.json"
NAMED_WEIGHT = 2.0
"""Weight of the loss on what captions name beside DAMSM's."""
HEADS_EVERY = 4
"""Steps from one batch of v to the next: the heads are two linear maps, and learn fast."""


class LinearReader(nn.Module):
    """Reads what a caption names off the two vectors that G is given, one softmax per attribute."""

    def __init__(self, dim: int, attributes: dict[str, tuple[str, ...]]) -> None:
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
    minutes: float,
    batch: int = 64,
    learning_rate: float = 1e-3,
    views: int = 2,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> TrainedDamsm:
    """Train text encoder, projection and heads further; write the whole to another folder.

    Adam; the learning rate rises over the first 5 % of the budget and then falls along a cosine to
    zero. `out` receives a DAMSM folder (with the attribute head, if there was one) and text.json
    with the losses over time and the recall on test pictures before and after.

    Args:
        datasets: prepared data sets; `train` trains, `test` of the first measures.
        features: feature store of the first one's items.
        damsm: folder of trained encoders with the compact pixel network.
        out: new folder.
        minutes: budget of wall-clock time, after the maps are computed.
        batch: captions that compete.
        learning_rate: its peak.
        views: disturbed views of each picture.
        seed: of order, captions and disturbances.
        device: where to compute.
        progress: show bars.

    Raises:
        ConfigError: the encoders have no pixel network of their own.
        DataError, BankError, CheckpointError: data, features or encoders are missing or damaged.
        TrainingError: `out` is taken, there are too few pictures, or a loss is not finite.
    """
    out, device = Path(out), torch.device(device)
    if (out / METRICS).exists():
        raise TrainingError(
            wanted=f"a new folder at {out}", found="an earlier training", fix="choose another folder"
        )
    model, vocabulary, config, facts = load_damsm(damsm, device)
    if not isinstance(model.pixels, CompactBackbone):
        raise ConfigError(
            wanted="encoders with damsm.pixel_backbone 'compact'",
            found=repr(config.damsm.pixel_backbone),
            fix="choose encoders that were trained with the compact pixel network",
        )
    sets = [PreparedDataset.open(path) for path in datasets]
    data = PixelData(sets, "train", vocabulary, config, progress=progress)
    if len(data) < batch:
        raise TrainingError(
            wanted=f"a batch of {batch} training pictures",
            found=str(len(data)),
            fix="give more pictures, or a smaller batch",
        )
    store = FeatureStore.open(features)
    gallery = DamsmData.load(
        sets[0],
        choose_items(sets[0], store)[1],
        store,
        vocabulary,
        config.text.max_words,
        config.damsm.pixel_size,
        progress,
    )
    torch.manual_seed(seed)
    before = recall(model, gallery)
    records = [named_by(item, vocabulary, config.text.max_words) for item in data.items]
    run = _Run(model, data, records, store, views, seed, progress)
    curve = run.fit(60 * minutes, batch, learning_rate, out, progress)
    model.eval().requires_grad_(False)
    after = recall(model, gallery)
    told = {
        "text_trained_on": f"{len(data)} pictures of {', '.join(s.name for s in sets)}",
        "text_minutes": minutes,
        "text_from": facts["hash"],
    }
    keep = {key: value for key, value in facts.items() if key not in ("schema", "hash", "best")}
    save_damsm(out, model, vocabulary, config, {**keep, **told})
    known = load_attributes(damsm, facts["hash"])
    if known is not None:  # its head reads the maps, which stand still
        items, words = sets[0].split("train"), config.text.max_words
        reader = fit_reader(items, model, vocabulary, words, known.values, progress=progress)
        save_attributes(out, Attributes(known.head, reader), model.hash())
    atomic_write_json(out / METRICS, {**told, "before": before, "after": after, "curve": curve})
    if progress:
        print(json.dumps({"recall before": before, "recall after": after}))
    return load_damsm(out, device)


class _Run:
    """One call of `train_text`: what learns, what it learns from, and the loop."""

    def __init__(
        self,
        model: Damsm,
        data: PixelData,
        records: list[list[Mapping[str, Any]]],
        store: FeatureStore,
        views: int,
        seed: int,
        progress: bool,
    ) -> None:
        assert isinstance(model.pixels, CompactBackbone)
        self.model, self.pixels, self.data, self.seed = model, model.pixels, data, seed
        self.maps = Maps(model.pixels.eval(), data.pictures, views, seed, progress)
        stored = {identifier: row for row, identifier in enumerate(store.ids)}
        self.featured = torch.tensor([i for i in data.first if data.items[i].id in stored])
        rows = [stored[data.items[i].id] for i in self.featured.tolist()]
        self.levels, self.scale = store.load_all(rows, progress=progress)
        attributes = attribute_values([record for some in records for record in some])
        self.labels = [label_ids(some, attributes) for some in records]
        width = 2 * model.text.lstm.hidden_size
        self.reader = LinearReader(width, attributes) if attributes else None
        self.trained: list[nn.Module] = [model.text, model.heads, model.pixels.project]
        if self.reader is not None:
            self.trained.append(self.reader.to(model.device))
        for module in self.trained:
            module.requires_grad_(True).train()

    def fit(
        self, budget: float, batch: int, peak: float, out: Path, progress: bool
    ) -> list[dict[str, float]]:
        """Train until the budget of seconds is spent; return the mean losses of every epoch."""
        parameters = [p for module in self.trained for p in module.parameters()]
        optimiser = torch.optim.Adam(parameters, peak, (0.9, 0.99))
        started, step, part = time.perf_counter(), 0, 0.0
        curve: list[dict[str, float]] = []
        sums: dict[str, list[float]] = {}
        with trange(100, desc="text", disable=not progress) as bar:
            while part < 1:
                rate = peak * min(1.0, part / 0.05 + 0.02) * 0.5 * (1 + math.cos(math.pi * part))
                for group in optimiser.param_groups:
                    group["lr"] = rate
                losses = self._losses(step, batch)
                total = torch.stack(list(losses.values())).sum()
                if not bool(torch.isfinite(total)):
                    raise not_finite(out, "loss of the text encoder", step)
                optimiser.zero_grad(set_to_none=True)
                total.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self.model.text.parameters(), GRADIENT_CLIP)
                optimiser.step()
                for name, value in losses.items():
                    sums.setdefault(name, []).append(float(value.detach()))
                step += 1
                part = (time.perf_counter() - started) / budget
                if step % max(1, len(self.data) // batch) == 0 or part >= 1:
                    means = {name: round(sum(some) / len(some), 4) for name, some in sums.items()}
                    curve.append({"step": step, "minutes": round(part * budget / 60, 2), **means})
                    bar.set_postfix(means)
                    sums = {}
                bar.n = min(100, round(100 * part))
                bar.update(0)
        return curve

    def _losses(self, step: int, batch: int) -> dict[str, Tensor]:
        """Return the step's losses: pictures, what captions name, and now and then v."""
        config, device = self.model.config, self.model.device
        chance = torch.Generator().manual_seed(mixed_seed(self.seed, step, 5))
        rows = self.data.rows(batch, self.seed, step)
        text, labels = self._text(rows, chance)
        classes = self.data.class_ids[rows].to(device) if config.mask_same_class else None
        seen = self.pixels.embed(self.maps.draw(rows, chance).to(device))
        found = {"pixels": damsm_loss(seen, text, config, classes).total}
        if self.reader is not None and bool((labels != IGNORED).any()):
            found["named"] = NAMED_WEIGHT * attribute_loss(self.reader(text), labels.to(device))
        if step % HEADS_EVERY == 0 and len(self.featured):
            chosen = torch.randperm(len(self.featured), generator=chance)[:batch]
            v = self.levels[chosen].float().mul_(self.scale[chosen]).to(device)
            rows = self.featured[chosen]
            text, _ = self._text(rows, chance)
            classes = self.data.class_ids[rows].to(device) if config.mask_same_class else None
            found["heads"] = damsm_loss(self.model.heads(v), text, config, classes).total
        return found

    def _text(self, rows: Tensor, chance: torch.Generator) -> tuple[TextFeatures, Tensor]:
        """Encode one random caption of each picture; return also what it names."""
        draws = torch.rand(len(rows), generator=chance).tolist()
        captions, labels = [], []
        for row, draw in zip(rows.tolist(), draws, strict=True):
            place = int(draw * len(self.data.captions[row]))
            captions.append(self.data.captions[row][place])
            labels.append(self.labels[row][place])
        return self.model.encode_captions(captions), torch.stack(labels)
