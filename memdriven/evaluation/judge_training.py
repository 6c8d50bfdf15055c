"""Training of the attribute judge, on the renders of the training species alone.

Pictures are made imperfect on purpose (shift, blur, noise, a little light), so that a slightly
soft or noisy picture is judged for what it shows and not for how it was made [ours].
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from memdriven.data.attributes import IGNORED, attribute_values, visible_record
from memdriven.data.prepared import PreparedDataset, load_images
from memdriven.encoders.attribute_head import attribute_loss
from memdriven.errors import EvaluationError
from memdriven.evaluation.judge import AttributeJudge

SHIFT = 0.08
"""Largest shift, as a share of the side."""
NOISE = 0.05
"""Largest standard deviation of the added noise, for pixels in [0, 1]."""
LIGHT = 0.08
"""Largest relative change of exposure: small, for a colour must keep its name."""


def imperfect(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (b, 3, s, s) in [0, 1], each moved, blurred, lit and noised at random."""
    b, side = images.shape[0], images.shape[-1]

    def uniform(low: float, high: float) -> Tensor:
        draw = torch.rand(b, generator=generator) * (high - low) + low
        return draw.to(images.device)

    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    zoom = uniform(0.92, 1.08)
    matrix = torch.zeros(b, 2, 3, device=images.device)
    matrix[:, 0, 0], matrix[:, 1, 1] = flip * zoom, zoom
    matrix[:, :, 2] = torch.stack([uniform(-2 * SHIFT, 2 * SHIFT) for _ in "xy"], dim=1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    coarse = int(torch.randint(int(0.55 * side), side + 1, (1,), generator=generator))
    soft = F.interpolate(images, (coarse, coarse), mode="bilinear", antialias=True)
    soft = F.interpolate(soft, (side, side), mode="bilinear")
    images = torch.lerp(images, soft, uniform(-0.5, 1).clamp(0)[:, None, None, None])
    images = images * (1 + uniform(-LIGHT, LIGHT))[:, None, None, None]
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    images = images + noise * uniform(-NOISE, NOISE).clamp(0)[:, None, None, None]
    return images.clamp(0, 1)


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
    progress: bool = True,
) -> AttributeJudge:
    """Train a judge on the `train` split, measure it on `test`, and save it to `out`.

    Stops at `minutes` or `steps`, whichever comes first; the learning rate follows a one-cycle
    over whichever of the two is further on. About 300 images/s on two CPU cores.

    Args:
        dataset: a prepared data set whose items carry attribute records.
        out: folder for `judge.safetensors` and `judge.json`.
        minutes: wall-clock budget of the training loop; 0 means `steps` alone, which makes the
            judge a function of the seed.
        size: side in px at which pictures are judged.
        steps: upper bound on the optimiser's steps.
        batch: images per step.
        learning_rate: peak rate of AdamW.
        seed: of initialisation, order and augmentation.
        limit: use only this many images of each split.
        device: where to train.
        progress: show a bar.

    Raises:
        EvaluationError: the items carry no attributes with two or more values.
    """
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
    started = time.monotonic()
    done = _fit(judge.to(device), images, labels, minutes, steps, batch, learning_rate, seed, progress)
    facts = {
        "dataset": data.name,
        "train_images": len(items),
        "test_images": len(tested),
        "steps": done,
        "batch": batch,
        "seed": seed,
        "minutes": round((time.monotonic() - started) / 60, 2),
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


def _fit(
    judge: AttributeJudge,
    images: Tensor,
    labels: Tensor,
    minutes: float,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
    progress: bool,
) -> int:
    """Run the training loop; return the steps taken."""
    device = judge.head.bias.device
    judge.train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=learning_rate, weight_decay=0.02)
    generator = torch.Generator().manual_seed(seed)
    started, step = time.monotonic(), 0
    order = torch.empty(0, dtype=torch.long)
    batch = min(batch, len(images))
    shown = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
    with tqdm(total=100, desc="judge", disable=not progress, bar_format=shown) as bar:
        while (done := max(step / steps, _spent(started, minutes))) < 1:
            if len(order) < batch:
                order = torch.randperm(len(images), generator=generator)
            chosen, order = order[:batch], order[batch:]
            # Rise over the first tenth, then fall linearly to zero.
            rate = learning_rate * min(done / 0.1 + 0.02, (1 - done) / 0.9, 1.0)
            for group in optimiser.param_groups:
                group["lr"] = max(rate, 0.0)
            pictures = imperfect(images[chosen].to(device).float() / 255, generator)
            loss = attribute_loss(judge(pictures), labels[chosen].to(device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
            bar.n = min(100, round(100 * done))
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            bar.update(0)
    judge.eval()
    return step


def _spent(started: float, minutes: float) -> float:
    """Return the share of the budget of minutes that is gone; 0 where there is none."""
    return (time.monotonic() - started) / (60 * minutes) if minutes > 0 else 0.0
