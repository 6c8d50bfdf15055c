"""The loop of DAMSM's training: steps, learning rate, reports, and the state to go on from."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.config import Config, to_dict
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm, damsm_loss
from memdriven.encoders.damsm_files import save_damsm
from memdriven.errors import TrainingError
from memdriven.files import atomic_write_bytes
from memdriven.training.damsm_data import Batch, DamsmData, mixed_seed
from memdriven.training.damsm_recall import recall
from memdriven.training.damsm_state import Progress, load_state, not_finite, save_state
from memdriven.training.distributed import World

BETAS = (0.5, 0.999)
LR_DECAY = 0.98
"""Factor on the learning rate after each epoch [family]."""
GRADIENT_CLIP = 0.25
"""Norm to which the text encoder's gradient is clipped [family]."""
METRICS = "metrics.jsonl"
FINAL_LR = 0.05
"""Part of the learning rate that is left at the end of a time budget."""
_SPREAD_SAMPLE = 256


@dataclass
class DamsmRun:
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
    world: World
    model: Damsm = field(init=False)
    optimiser: torch.optim.Adam = field(init=False)
    progress: Progress = field(default_factory=Progress)

    def start(self, resume: bool) -> None:
        """Build the model and optimiser, or restore them."""
        settings = self.config.damsm
        torch.manual_seed(mixed_seed(self.config.train.seed, 0, 0))
        self.model = Damsm(len(self.vocabulary), self.config.text, settings)
        sample = self.data.order(self.config.train.seed, -1)[:_SPREAD_SAMPLE]
        self.model.heads.fit_spread(self.data.v(sample))
        self.model.to(self.device)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(trained, settings.learning_rate, BETAS)
        if resume:
            self.progress = load_state(self.out, self.model, self.optimiser, self.identity)
            if self.world.is_main:
                self._forget_later_metrics()
        else:
            self.save()

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between a training and its continuation."""
        own = to_dict(self.config)
        return {
            "text config": own["text"],
            "damsm config": {**own["damsm"], "epochs": 0},
            "seed": own["train"]["seed"],
            "vocabulary": len(self.vocabulary),
            "training items": self.data.key(),
            "features": self.facts["features_encoder"],
        }

    def save(self) -> None:
        """Write the state, from the main process."""
        if self.world.is_main:
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
        batches = [part for part in torch.split(order, size) if len(part) == size]
        if len(batches) < self.world.size:
            raise TrainingError(
                wanted=f"a batch of {size} for each of {self.world.size} processes",
                found=f"{len(self.data)} training items",
                fix="use fewer processes",
            )
        per_process = len(batches) // self.world.size
        batches = batches[self.world.rank :: self.world.size][:per_process]
        sums: dict[str, float] = {}
        first, began, in_time = state.batch, time.perf_counter(), True
        bar = tqdm(batches[first:], f"epoch {state.epoch + 1}", disable=not self.show, leave=False)
        for rows in bar:
            self._set_learning_rate((state.epoch * len(batches) + state.batch) / len(batches))
            losses = self._step(rows)
            sums = {key: sums.get(key, 0.0) + value for key, value in losses.items()}
            state.batch, state.step = state.batch + 1, state.step + 1
            state.seconds = self._agreed(time.perf_counter() - started)
            bar.set_postfix(loss=f"{losses['loss']:.2f}", refresh=False)
            if self.budget and state.seconds >= self.budget:
                in_time = False
                break
        done = state.batch - first
        pace = done * size * self.world.size / (time.perf_counter() - began)
        if state.batch == len(batches):
            state.epoch, state.batch = state.epoch + 1, 0
        means = {key: value / max(done, 1) for key, value in sums.items()}
        if self.world.is_main:
            self._report({"images_per_second": pace, **means})
        state.seconds = self._agreed(time.perf_counter() - started)
        self.save()
        return in_time

    def _agreed(self, seconds: float) -> float:
        """Return the main process's value, so that all stop together and share a learning rate."""
        if self.world.size == 1:
            return seconds
        value = torch.tensor([seconds], dtype=torch.float64, device=self.device)
        self.world.broadcast([value])
        return float(value)

    def _set_learning_rate(self, epochs: float) -> None:
        settings, state = self.config.damsm, self.progress
        factor = LR_DECAY ** int(epochs)
        if self.budget:
            part = min(1.0, max(state.seconds / self.budget, epochs / settings.epochs))
            factor = FINAL_LR + (1 - FINAL_LR) * 0.5 * (1 + math.cos(math.pi * part))
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * factor

    def _step(self, rows: Tensor) -> dict[str, float]:
        """Make one optimiser step; all its randomness follows from the seed and its number."""
        seed = mixed_seed(self.config.train.seed, self.progress.step, 2 + self.world.rank)
        torch.manual_seed(seed)
        batch = self.data.batch(rows, torch.Generator().manual_seed(seed))
        self.model.train()
        losses = self._losses(batch)
        total = torch.stack([value for key, value in losses.items() if "total" in key]).sum()
        if not bool(torch.isfinite(total)):
            raise not_finite(self.out, "DAMSM loss", self.progress.step)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self.world.average_gradients(self.model)
        clip = GRADIENT_CLIP
        norm = torch.nn.utils.clip_grad_norm_(self.model.text.parameters(), clip)
        if not bool(torch.isfinite(norm)):
            raise not_finite(self.out, "gradient of the text encoder", self.progress.step)
        self.optimiser.step()
        return {"loss": float(total.detach()), **{k: float(v.detach()) for k, v in losses.items()}}

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
            "epoch": state.epoch,
            "step": state.step,
            "minutes": round(state.seconds / 60, 3),
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            **{key: round(value, 4) for key, value in {**means, **recalls}.items()},
        }
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
