"""The loop around the GAN's steps: time, learning rates, logs, samples, saves, the checkpoint."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from memdriven.checkpoint import save_checkpoint
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.attribute_files import Attributes
from memdriven.encoders.damsm import Damsm
from memdriven.errors import TrainingError
from memdriven.training.batches import GanData
from memdriven.training.distributed import World
from memdriven.training.run_directory import RunDirectory
from memdriven.training.state import save_state
from memdriven.training.steps import GanTrainer

STATE = "state.safetensors"
SAMPLES = 8
"""Captions of a sample grid at most, each drawn with three noises."""


class Loop:
    """Steps until the budget of steps or minutes is spent."""

    def __init__(
        self,
        trainer: GanTrainer,
        data: GanData,
        run: RunDirectory | None,
        out: Path,
        world: World,
        facts: dict[str, Any],
        show: bool,
    ) -> None:
        self.trainer, self.data, self.directory, self.out = trainer, data, run, out
        self.world, self.show = world, show
        self.config = trainer.config
        self.step, self.spent = int(facts["step"]), float(facts["seconds"])
        self.earlier: list[dict[str, float]] = facts["earlier"]
        self.seen = round(sum(run["steps"] for run in self.earlier))
        """Steps of the runs this one goes on from: their batches are not drawn again."""
        self.identity: dict[str, str] = facts["identity"]
        self.limit = self.config.train.max_minutes * 60 or float("inf")
        self.until = facts["until"] if facts["until"] > self.spent else float("inf")
        self.batch_images = self.config.train.batch_size * world.size

    def run(self, damsm: Damsm, vocabulary: Vocabulary, attributes: Attributes | None = None) -> None:
        """Train, then write the checkpoint, which keeps the encoders' attributes too."""
        train = self.config.train
        started = self.logged = time.perf_counter()
        sums: dict[str, list[Tensor]] = {}
        samples = SampleGrid(self.data)
        before = self.spent
        with tqdm(
            total=train.steps, initial=self.step, disable=not self.show, unit="step", desc="train"
        ) as bar:
            stop = self.step >= train.steps or self.spent >= self.limit
            while not stop:
                part = max(self.step / train.steps, self.spent / self.limit)
                self.trainer.scale_learning_rates(decay(part, train.decay_from))
                batch = self.data.batch(self.seen + self.step, self.world.rank, self.world.size)
                for name, value in self.trainer.step(batch, self.step).items():
                    sums.setdefault(name, []).append(value)
                self.step += 1
                bar.update()
                now = time.perf_counter()
                self.spent = before + now - started
                stop = self.step >= train.steps or self.spent > min(self.limit, self.until)
                stop = self.world.agree(stop, self.trainer.device)
                if self.step % train.log_every == 0 or stop:
                    bar.set_postfix(self._log(sums))
                    sums = {}
                if self.directory is not None and (self.step % train.sample_every == 0 or stop):
                    images = samples.draw(self.trainer)
                    self.directory.save_grid(f"{self.step:06d}", images, columns=samples.count)
                if self.directory is not None and (self.step % train.save_every == 0 or stop):
                    self._save()
        if self.directory is not None:
            facts = {
                "steps": self.step,
                "images": self.step * self.batch_images,
                "minutes": round(self.spent / 60, 1),
                "device": device_name(self.trainer.device),
                "dataset": self.data.name,
                "training_images": len(self.data),
                **self.identity,
                "earlier_runs": self.earlier,
            }
            save_checkpoint(
                self.out / "checkpoint", self.config, vocabulary, damsm, self.trainer.ema, facts, attributes
            )
            self.directory.close()

    def _save(self) -> None:
        facts = {"step": self.step, "seconds": self.spent, "earlier": self.earlier, "identity": self.identity}
        save_state(self.out / STATE, self.trainer.modules, self.trainer.optimisers, facts)

    def _log(self, sums: dict[str, list[Tensor]]) -> dict[str, str]:
        """Write the means since the last log; stop the run if one is not finite."""
        means = {name: torch.stack(values).mean().item() for name, values in sums.items()}
        broken = [name for name, value in means.items() if value - value != 0]
        if broken:
            raise TrainingError(
                wanted="finite losses",
                found=f"{', '.join(broken)} at step {self.step}",
                fix=f"the last good state is in {self.out / STATE}; lower the learning rate",
            )
        now = time.perf_counter()
        count = max(map(len, sums.values())) * self.batch_images
        rate = count / (now - self.logged)
        self.logged = now
        record: dict[str, Any] = {
            "step": self.step,
            "images": self.step * self.batch_images,
            "minutes": round(self.spent / 60, 2),
            "images_per_second": round(rate, 1),
        }
        record |= {name: round(value, 5) for name, value in means.items()}
        if self.directory is not None:
            self.directory.log(record)
        shown = {"d": "d_adversarial", "g": "g_adversarial", "damsm": "damsm", "l1": "reconstruction"}
        told = {short: f"{means[name]:.2f}" for short, name in shown.items() if name in means}
        return {"img/s": f"{rate:.0f}", **told}


def decay(part: float, start: float) -> float:
    """Return the factor on the learning rates when `part` of the budget is spent."""
    part = min(part, 1.0)  # the clock may run past the budget
    return 1.0 if part <= start else (1 - part) / (1 - start)


class SampleGrid:
    """A fixed batch whose pictures show progress: real, then three noises each, column by column.

    Captions and features are drawn as in training: some are the image's own, others neighbours'.
    """

    def __init__(self, data: GanData) -> None:
        self.batch = data.batch(2**40)
        self.count = min(SAMPLES, len(self.batch.z))
        self.z = torch.randn(3, *self.batch.z.shape, generator=torch.Generator().manual_seed(0)).to(
            self.batch.z.device
        )

    @torch.no_grad()
    def draw(self, trainer: GanTrainer) -> Tensor:
        """Return pictures (32, 3, s, s): the real images, then one row a noise."""
        model, batch = trainer.ema.eval(), self.batch
        rows = [batch.images[-1]]
        for z in self.z:
            output = model(z, batch.text.sentence, batch.words, batch.v, torch.zeros_like(batch.epsilon))
            rows.append(output.images[-1])
        return torch.cat([row[: self.count].cpu().float() for row in rows])


def device_name(device: torch.device) -> str:
    """Return what trained, for the model card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
