"""Training of DAMSM: text encoder, heads over v, and the network that scores pixels, jointly."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.config import Config, to_dict
from memdriven.data.prepared import PreparedDataset
from memdriven.data.transforms import to_unit
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm, cosine, damsm_loss
from memdriven.encoders.damsm_files import TrainedDamsm, load_damsm, save_damsm
from memdriven.encoders.image import InceptionBackbone
from memdriven.errors import ConfigError, TrainingError
from memdriven.files import atomic_write_bytes
from memdriven.memory.feature_store import FeatureStore
from memdriven.training.damsm_data import Batch, DamsmData, choose_items, mixed_seed
from memdriven.training.damsm_state import STATE, Progress, load_state, not_finite, save_state

METRICS = "metrics.jsonl"
RECALL_AT = (1, 5, 10)
FINAL_LR = 0.05
"""Part of the learning rate that is left at the end of a time budget."""
_SPREAD_SAMPLE = 256


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

    The loss of a step is damsm(heads(v)) + damsm(pixels(image)), with one random caption an
    image. After each epoch Recall@1/5/10 (caption -> image, by sentence and global vector) is
    measured on the test split, or on a tenth of the training split held out where the features
    lack the test split. `out` receives damsm.safetensors (the epoch with the best mean recall),
    vocabulary.json, config.json, metrics.jsonl and last.safetensors (to go on from).

    Without `minutes` the learning rate falls by `lr_decay` an epoch [family], and a resumed
    training on the CPU gives the same bits as an uninterrupted one. With `minutes` it falls
    along a cosine to 5 % over the budget, earlier runs included [ours].

    Args:
        dataset: a prepared data set.
        features: the feature store of its items.
        out: new folder, or with `resume` that of the training to go on with.
        config: `text`, `damsm` and `train.seed` are used.
        minutes: stop after this long; 0 trains `damsm.epochs` epochs.
        device: where to compute.
        resume: go on from `out`.
        progress: show bars and one line an epoch.

    Returns:
        The saved model, read back, in evaluation mode.

    Raises:
        DataError, BankError: data or features are missing or damaged.
        CheckpointError: `resume` without a usable state.
        TrainingError: `out` is taken, or a loss is not finite; the last good state is kept.
    """  # fmt: skip
    out = Path(out)
    if (out / STATE).exists() and not resume:
        raise TrainingError(
            wanted=f"a new folder for the training, or resume, at {out}",
            found="an earlier training", fix="resume it, or choose another folder",
        )  # fmt: skip
    if config.damsm.epochs < 1:
        raise ConfigError(wanted="damsm.epochs of 1 or more", found=str(config.damsm.epochs),
                          fix="change that setting")  # fmt: skip
    prepared, store = PreparedDataset.open(dataset), FeatureStore.open(features)
    train_items, recall_items, kind = choose_items(prepared, store)
    captions = (caption for item in train_items for caption in item.captions)
    vocabulary = Vocabulary.build(captions, config.text.min_count)
    pixel_size = None if config.damsm.pixel_backbone == "vgg16" else config.damsm.pixel_size
    words = config.text.max_words
    train, recall = (
        DamsmData.load(prepared, items, store, vocabulary, words, pixel_size, progress)
        for items in (train_items, recall_items)
    )
    facts = {
        "dataset": prepared.name, "features_encoder": store.encoder, "train_items": len(train),
        "recall_on": f"{len(recall)} images, {kind}",
    }  # fmt: skip
    run = _Run(out, config, vocabulary, train, recall, torch.device(device), facts,
               60 * minutes, progress)  # fmt: skip
    with _own_randomness(run.device):
        run.start(resume)
        run.train()
    return load_damsm(out, device)


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Leave the caller's random state as it was."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


@dataclass
class _Run:
    """One call of `train_damsm`: its data, model, optimiser and progress."""

    out: Path
    config: Config
    vocabulary: Vocabulary
    data: DamsmData
    recall_data: DamsmData
    device: torch.device
    facts: dict[str, Any]
    budget: float
    """Seconds, or 0."""
    show: bool
    model: Damsm = field(init=False)
    optimiser: torch.optim.Adam = field(init=False)
    progress: Progress = field(default_factory=Progress)

    def start(self, resume: bool) -> None:
        """Build the model and optimiser, or restore them."""
        settings = self.config.damsm
        torch.manual_seed(mixed_seed(self.config.train.seed, 0, 0))
        self.model = Damsm(len(self.vocabulary), self.config.text, settings)
        if isinstance(self.model.pixels, InceptionBackbone) and not resume:
            self.model.pixels.load_pretrained()
        sample = self.data.order(self.config.train.seed, -1)[:_SPREAD_SAMPLE]
        self.model.heads.fit_spread(self.data.v(sample))
        self.model.to(self.device)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(trained, settings.learning_rate, settings.betas)
        if resume:
            self.progress = load_state(self.out, self.model, self.optimiser, self.identity)
            self._forget_later_metrics()
        else:
            self.save()

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between a training and its continuation."""
        own = to_dict(self.config)
        return {
            "text config": own["text"], "damsm config": {**own["damsm"], "epochs": 0},
            "seed": own["train"]["seed"], "vocabulary": len(self.vocabulary),
            "training items": self.data.key(), "features": self.facts["features_encoder"],
        }  # fmt: skip

    def save(self) -> None:
        save_state(self.out, self.model, self.optimiser, self.progress, self.identity)

    def train(self) -> None:
        """Run epochs until the count or the budget is reached."""
        started = time.perf_counter() - self.progress.seconds
        while self.progress.epoch < self.config.damsm.epochs:
            if not self._epoch(started):
                break

    def _epoch(self, started: float) -> bool:
        """Train to the end of the present epoch; false when the budget ran out."""
        state, size = self.progress, min(self.config.damsm.batch_size, len(self.data))
        order = self.data.order(self.config.train.seed, state.epoch)
        batches = list(torch.split(order, size))
        if len(batches[-1]) < size and len(batches) > 1:
            batches.pop()
        sums: dict[str, float] = {}
        first, began, in_time = state.batch, time.perf_counter(), True
        bar = tqdm(batches[first:], f"epoch {state.epoch + 1}", disable=not self.show, leave=False)
        for rows in bar:
            self._set_learning_rate((state.epoch * len(batches) + state.batch) / len(batches))
            losses = self._step(rows)
            sums = {key: sums.get(key, 0.0) + value for key, value in losses.items()}
            state.batch, state.step = state.batch + 1, state.step + 1
            state.seconds = time.perf_counter() - started
            bar.set_postfix(loss=f"{losses['loss']:.2f}", refresh=False)
            if self.budget and state.seconds >= self.budget:
                in_time = False
                break
        done = state.batch - first
        pace = done * size / (time.perf_counter() - began)
        if state.batch == len(batches):
            state.epoch, state.batch = state.epoch + 1, 0
        means = {key: value / max(done, 1) for key, value in sums.items()}
        self._report({"images_per_second": pace, **means})
        state.seconds = time.perf_counter() - started
        self.save()
        return in_time

    def _set_learning_rate(self, epochs: float) -> None:
        settings, state = self.config.damsm, self.progress
        factor = settings.lr_decay ** int(epochs)
        if self.budget:
            part = min(1.0, max(state.seconds / self.budget, epochs / settings.epochs))
            factor = FINAL_LR + (1 - FINAL_LR) * 0.5 * (1 + math.cos(math.pi * part))
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * factor

    def _step(self, rows: Tensor) -> dict[str, float]:
        """Make one optimiser step; all its randomness follows from the seed and its number."""
        seed = mixed_seed(self.config.train.seed, self.progress.step, 2)
        torch.manual_seed(seed)
        batch = self.data.batch(rows, torch.Generator().manual_seed(seed))
        self.model.train()
        losses = self._losses(batch)
        total = torch.stack([value for key, value in losses.items() if "total" in key]).sum()
        if not bool(torch.isfinite(total)):
            raise not_finite(self.out, "DAMSM loss", self.progress.step)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        clip = self.config.damsm.gradient_clip
        norm = torch.nn.utils.clip_grad_norm_(self.model.text.parameters(), clip)
        if not bool(torch.isfinite(norm)):
            raise not_finite(self.out, "gradient of the text encoder", self.progress.step)
        self.optimiser.step()
        return {"loss": float(total), **{k: float(v) for k, v in losses.items()}}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        settings, device = self.config.damsm, self.device
        text = self.model.text(batch.ids.to(device), batch.lengths)
        classes = batch.class_ids.to(device) if settings.mask_same_class else None
        sides = {"heads": self.model.heads(batch.v.to(device))}
        if self.model.pixels is not None and batch.images is not None:
            sides["pixels"] = self.model.pixels(batch.images.to(device))
        losses: dict[str, Tensor] = {}
        for name, side in sides.items():
            parts = damsm_loss(side, text, settings, classes)
            losses |= {f"{name}_{key}": value for key, value in parts._asdict().items()}
        return losses

    def _report(self, means: dict[str, float]) -> None:
        """Measure recall, log the epoch, and keep the weights when they are the best so far."""
        state = self.progress
        recalls = recall(self.model, self.recall_data)
        mean = sum(recalls.values()) / len(recalls)
        row = {
            "epoch": state.epoch, "step": state.step, "minutes": round(state.seconds / 60, 3),
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            **{key: round(value, 4) for key, value in {**means, **recalls}.items()},
        }  # fmt: skip
        if mean > state.best:
            state.best = mean
            facts = {**self.facts, "best": row}
            save_damsm(self.out, self.model, self.vocabulary, self.config, facts)
        with (self.out / METRICS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        if self.show:
            tqdm.write(" ".join(f"{key}={value:.4g}" for key, value in row.items()))

    def _forget_later_metrics(self) -> None:
        """Drop the rows that were logged after the state was saved."""
        path = self.out / METRICS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.progress.step]
        atomic_write_bytes(path, "".join(line + "\n" for line in kept).encode())


@torch.no_grad()
def recall(model: Damsm, data: DamsmData, chunk: int = 50) -> dict[str, float]:
    """Return Recall@1/5/10 of each item's first caption among the items' images.

    The score is cos(sentence, global). Keys are `<side>_recall@<k>` with the sides `heads` and,
    where the model has one, `pixels`; values are parts of 1. Chance is k / n.
    """
    was_training = model.training
    model.eval()
    sentences: list[Tensor] = []
    globals_: dict[str, list[Tensor]] = {"heads": []}
    for rows in torch.split(torch.arange(len(data)), chunk):
        first = [data.captions[row][0] for row in rows.tolist()]
        sentences.append(model.encode_captions(first).sentence)
        globals_["heads"].append(model.heads(data.v(rows).to(model.device)).global_)
        if model.pixels is not None and data.images is not None:
            images = to_unit(data.images[rows]).to(model.device)
            globals_.setdefault("pixels", []).append(model.pixels(images).global_)
    model.train(was_training)
    result: dict[str, float] = {}
    for side, parts in globals_.items():
        scores = cosine(torch.cat(sentences), torch.cat(parts))  # (n captions, n images)
        own = scores.diagonal()[:, None]
        ranks = len(scores) - 1 - (scores < own).sum(1)  # a tie, or NaN, counts as a miss
        for k in RECALL_AT:
            result[f"{side}_recall@{k}"] = float((ranks < k).float().mean())
    return result
