"""Training of the attribute judge, on the renders of the training species alone.

Pictures are disturbed on purpose (shift, blur, noise, a little light), so that a slightly soft or noisy
picture is judged for what it shows and not for how it was made [ours].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memdriven.data.attributes import IGNORED, attribute_values, visible_record
from memdriven.data.images import to_unit
from memdriven.data.prepared import PreparedDataset, load_images
from memdriven.encoders.attribute_head import attribute_loss
from memdriven.errors import EvaluationError
from memdriven.evaluation.judge import AttributeJudge
from memdriven.training.augment import disturb
from memdriven.training.distributed import Chance
from memdriven.training.encoder_data import mixed_seed, permuted_rows
from memdriven.training.loop import Loop
from memdriven.training.run_directory import RunDirectory


class JudgeTrainer:
    """A judge, and the step that trains it."""

    def __init__(self, judge: AttributeJudge, learning_rate: float) -> None:
        self.judge = judge.to(memory_format=torch.channels_last)
        self.modules = {"judge": judge}
        self.optimisers = {
            "judge": torch.optim.AdamW(judge.parameters(), lr=learning_rate, weight_decay=0.02)
        }

    def step(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        """Take pictures (b, 3, s, s) in [0, 1] and labels (b, attributes); return the loss."""
        images, labels = batch
        self.judge.train()
        loss = attribute_loss(self.judge(images), labels)
        self.judge.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimisers["judge"].step()
        return {"loss": loss.detach()}


def one_cycle(part: float, step: int) -> float:
    """Rise over the first tenth of the budget, then fall linearly to zero."""
    return max(0.0, min(part / 0.1 + 0.02, (1 - part) / 0.9, 1.0))


def accuracy_by_attribute(judge: AttributeJudge, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return name -> {"right", "count", "rate"} of the judge's top value over labelled images."""
    right = judge.log_probabilities(images).argmax(dim=2) == labels
    known = labels != IGNORED
    table = {}
    for i, name in enumerate(judge.names):
        count = int(known[:, i].sum())
        if count:
            hits = int(right[:, i].sum())
            table[name] = {"right": hits, "count": count, "rate": round(hits / count, 4)}
    return table


def _priors(labels: Tensor, attributes: Mapping[str, Sequence[str]]) -> dict[str, list[float]]:
    """Share of each value among the labels, with one added to each count."""
    priors = {}
    for i, (name, values) in enumerate(attributes.items()):
        known = labels[:, i][labels[:, i] != IGNORED]
        counts = torch.bincount(known, minlength=len(values)).double() + 1
        priors[name] = [round(float(share), 6) for share in counts / counts.sum()]
    return priors


def train_attribute_judge(
    dataset: Path,
    out: Path,
    *,
    minutes: float = 5.0,
    size: int = 64,
    steps: int = 20_000,
    batch: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    limit: int | None = None,
    device: str = "cpu",
    resume: bool = False,
    progress: bool = True,
) -> AttributeJudge:
    """Train a judge on the `train` split, measure it on `test`, and save it to `out`.

    Stops at `minutes` or `steps`, whichever comes first; the learning rate follows a one-cycle
    over whichever of the two is further on. About 300 images/s on two CPU cores.

    Args:
        dataset: a prepared data set whose items carry attribute records.
        out: new folder for `judge.safetensors` and `judge.json`, metrics and state; or with `resume` that
            of the training to go on with.
        minutes: wall-clock budget of the training loop, earlier starts included; 0 means
            `steps` alone, which makes the judge a function of the seed.
        size: side in px at which pictures are judged.
        steps: upper bound on the optimiser's steps.
        batch: images per step.
        learning_rate: peak rate of AdamW.
        seed: of initialisation, order and augmentation.
        limit: use only this many images of each split.
        device: where to train.
        resume: go on from `out`.
        progress: show a bar.

    Raises:
        EvaluationError: the items carry no attributes with two or more values.
        TrainingError: `out` is taken, or a loss is not finite; the last good state is kept.
    """
    settings = {"size": size, "batch": batch, "learning_rate": learning_rate, "seed": seed, "limit": limit}
    run = RunDirectory(Path(out), settings, resume=resume)
    data = PreparedDataset.open(dataset)
    items, tested = (
        [item for item in data.items if item.split == split and item.attributes][:limit]
        for split in ("train", "test")
    )
    if len(items) < 2:
        raise EvaluationError(
            wanted=f"attribute records on the items of {dataset}",
            found=f"{len(items)} of them",
            fix="train the judge on a data set with attributes, e.g. `prepare aviary`",
        )
    records = [visible_record(item) for item in items]
    attributes = attribute_values(records)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = AttributeJudge(attributes, size)
    labels = judge.labels(records)
    judge.priors = {name: tuple(v) for name, v in _priors(labels, attributes).items()}
    images = load_images(data, items, size, progress)
    batch = min(batch, len(images))

    def draw(step: int) -> tuple[Tensor, Tensor]:
        rows = permuted_rows(len(images), batch, seed, step)
        chance = torch.Generator().manual_seed(mixed_seed(seed, step, 3))
        return disturb(to_unit(images[rows]), Chance(chance)).to(device), labels[rows].to(device)

    loop = Loop(
        trainer=JudgeTrainer(judge.to(device), learning_rate),
        draw=draw,
        steps=steps,
        minutes=minutes,
        schedule=one_cycle,
        run=run,
        facts={"identity": {"dataset": data.name, "images": len(items)}},
        batch_images=batch,
        device=torch.device(device),
        name="train-judge",
        show=progress,
    )
    loop.train()
    judge.eval()
    facts = {
        "dataset": data.name,
        "train_images": len(items),
        "test_images": len(tested),
        "steps": loop.step,
        "batch": batch,
        "seed": seed,
        "minutes": round(loop.seconds / 60, 2),
        "device": str(device),
        "parameters": sum(p.numel() for p in judge.parameters()),
    }
    if tested:
        facts["test_accuracy"] = accuracy_by_attribute(
            judge,
            load_images(data, tested, size, progress),
            judge.labels([visible_record(item) for item in tested]),
        )
    judge.save(out, facts)
    return judge
