"""Further training of DAMSM's pixel network alone, on captioned pictures that need no features.

The text encoder and the heads over v stay as they are, so keys, memory banks and generators that
were made with them stay valid. Where the items carry attribute records, the network's maps also
have to name them: an auxiliary task, which teaches small parts far sooner than captions do [ours].
The head that does so is kept beside the encoders, for G's attribute loss and for further training.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from memdriven.data.attributes import IGNORED, attribute_values, label_ids
from memdriven.data.images import to_unit
from memdriven.data.prepared import PreparedDataset
from memdriven.encoders.attribute_files import Attributes, load_attributes, save_attributes
from memdriven.encoders.attribute_head import AttributeHead, attribute_loss
from memdriven.encoders.damsm import Damsm, cosine, damsm_loss
from memdriven.encoders.damsm_files import TrainedDamsm, load_damsm, save_damsm
from memdriven.encoders.image import CompactBackbone
from memdriven.errors import ConfigError, TrainingError
from memdriven.files import atomic_write_json
from memdriven.training.augment import disturb
from memdriven.training.caption_reading import fit_reader
from memdriven.training.damsm_data import GALLERY, mixed_seed
from memdriven.training.damsm_state import STATE, Progress, load_state, not_finite, save_state
from memdriven.training.distributed import Chance
from memdriven.training.pixel_data import PixelData

METRICS = "pixels.json"
ATTRIBUTE_WEIGHT = 2.0
"""Weight of the auxiliary loss beside DAMSM's."""
SAVE_SECONDS = 120.0


class PixelTrainer(nn.Module):
    """The pixel network, its auxiliary head, and the loss of a batch."""

    def __init__(
        self, damsm: Damsm, attributes: dict[str, tuple[str, ...]], head: AttributeHead | None = None
    ) -> None:
        super().__init__()
        if not isinstance(damsm.pixels, CompactBackbone):
            raise ConfigError(
                wanted="encoders with damsm.pixel_backbone 'compact'",
                found=f"{damsm.config.pixel_backbone!r}, which has no pixel network to train",
                fix="choose encoders that were trained with the compact pixel network",
            )
        self.pixels = damsm.pixels.requires_grad_(True)
        self.config = damsm.config
        channels = self.pixels.project.regions.in_channels
        self.head = AttributeHead(channels, attributes) if attributes else None
        if self.head is not None and head is not None and head.attributes == attributes:
            self.head.load_state_dict(head.state_dict())

    def losses(self, images: Tensor, text: Any, classes: Tensor | None, labels: Tensor) -> dict[str, Tensor]:
        """Return the losses of images (b, 3, s, s) in [0, 1] with labels (b, attributes)."""
        maps = self.pixels.maps(images)
        parts = damsm_loss(self.pixels.embed(maps), text, self.config, classes)
        found = {"damsm": parts.total}
        if self.head is not None and bool((labels != IGNORED).any()):
            found["attributes"] = attribute_loss(self.head(maps), labels)
        return found


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

    Adam; the learning rate rises over the first 5 % of the budget and then falls along a cosine
    to zero. Pictures are disturbed as in DAMSM's training. `out` receives a DAMSM folder and
    pixels.json with the losses over time and the recall on test pictures before and after.

    Args:
        datasets: prepared data sets; `train` trains, `test` of the first measures.
        damsm: folder of trained encoders with the compact pixel network.
        out: new folder, or with `resume` that of the training to go on with.
        minutes: budget of wall-clock time, earlier runs included.
        batch: captions that compete.
        learning_rate: its peak.
        seed: of order, captions and disturbances.
        device: where to compute.
        resume: go on from `out`.
        progress: show a bar.

    Raises:
        ConfigError: the encoders have no pixel network of their own.
        DataError, CheckpointError: data or encoders are missing or damaged.
        TrainingError: `out` is taken, there are too few pictures, or a loss is not finite.
    """
    out, device = Path(out), torch.device(device)
    if (out / STATE).exists() and not resume:
        raise TrainingError(
            wanted=f"a new folder for the training, or resume, at {out}",
            found="an earlier training",
            fix="resume it, or choose another folder",
        )
    model, vocabulary, config, facts = load_damsm(damsm, device)
    sets = [PreparedDataset.open(path) for path in datasets]
    data = PixelData(sets, "train", vocabulary, config, progress=progress)
    gallery = PixelData(sets[:1], "test", vocabulary, config, GALLERY, progress)
    if len(data) < batch:
        raise TrainingError(
            wanted=f"a batch of {batch} training pictures",
            found=str(len(data)),
            fix="give more pictures, or a smaller batch",
        )
    attributes = attribute_values(data.records)
    earlier = load_attributes(damsm, facts["hash"])
    torch.manual_seed(seed)
    trainer = PixelTrainer(model, attributes, earlier.head if earlier else None).to(device)
    before = recall_of_pixels(model, gallery)
    optimiser = torch.optim.Adam(trainer.parameters(), learning_rate, (0.9, 0.99))
    identity = {"damsm": facts["hash"], "pictures": len(data), "seed": seed, "batch": batch}
    state = load_state(out, trainer, optimiser, identity) if resume else Progress()
    labels = label_ids(data.records, attributes)
    curve = _fit(
        trainer,
        model,
        data,
        labels,
        optimiser,
        state,
        60 * minutes,
        batch,
        learning_rate,
        seed,
        out,
        identity,
        progress,
    )
    model.eval().requires_grad_(False)
    after = recall_of_pixels(model, gallery)
    told = {
        "pixels_trained_on": f"{len(data)} pictures of {', '.join(s.name for s in sets)}",
        "pixels_minutes": round(state.seconds / 60, 1),
        "pixels_from": facts["hash"],
        "pixels_attributes": len(attributes),
    }
    keep = {key: value for key, value in facts.items() if key not in ("schema", "hash")}
    save_damsm(out, model, vocabulary, config, {**keep, **told})
    if trainer.head is not None:
        items, words = sets[0].split("train"), config.text.max_words
        reader = fit_reader(items, model, vocabulary, words, attributes, progress=progress)
        save_attributes(out, Attributes(trainer.head, reader), model.hash())
    atomic_write_json(
        out / METRICS, {**told, "gallery": len(gallery), "before": before, "after": after, "curve": curve}
    )
    if progress and after:
        print(json.dumps({"recall before": before, "recall after": after}))
    return load_damsm(out, device)


def _fit(
    trainer: PixelTrainer,
    model: Damsm,
    data: PixelData,
    labels: Tensor,
    optimiser: torch.optim.Optimizer,
    state: Progress,
    budget: float,
    batch: int,
    peak: float,
    seed: int,
    out: Path,
    identity: dict[str, Any],
    progress: bool,
) -> list[dict[str, float]]:
    """Train until the budget of seconds is spent; return the mean losses of every epoch."""
    device = labels.device if trainer.head is None else trainer.head.bias.device
    started = saved = time.perf_counter()
    before = state.seconds
    classes = data.class_ids if trainer.config.mask_same_class else None
    curve: list[dict[str, float]] = []
    sums: dict[str, float] = {}
    trainer.train()
    shown = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
    with tqdm(total=100, desc="pixels", disable=not progress, bar_format=shown) as bar:
        while state.seconds < budget:
            part = state.seconds / budget
            rate = peak * min(1.0, part / 0.05 + 0.02) * 0.5 * (1 + math.cos(math.pi * part))
            for group in optimiser.param_groups:
                group["lr"] = rate
            rows = data.rows(batch, seed, state.step)
            chance = torch.Generator().manual_seed(mixed_seed(seed, state.step, 3))
            images = disturb(to_unit(data.pictures[rows]), Chance(chance)).to(device)
            with torch.no_grad():
                text = model.encode_captions(data.draw(rows, chance))
            found = trainer.losses(
                images, text, None if classes is None else classes[rows].to(device), labels[rows].to(device)
            )
            total = found["damsm"] + ATTRIBUTE_WEIGHT * found.get("attributes", 0.0)
            if not bool(torch.isfinite(total)):
                raise not_finite(out, "loss of the pixel network", state.step)
            optimiser.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            for key, value in found.items():
                sums[key] = sums.get(key, 0.0) + float(value.detach())
            state.step += 1
            now = time.perf_counter()
            state.seconds = before + now - started
            state.batch += 1
            if state.batch * batch >= len(data) or state.seconds >= budget:
                means = {key: round(value / state.batch, 4) for key, value in sums.items()}
                curve.append({"step": state.step, "minutes": round(state.seconds / 60, 2), **means})
                bar.set_postfix(means)
                state.epoch, state.batch, sums = state.epoch + 1, 0, {}
            if now - saved > SAVE_SECONDS:
                save_state(out, trainer, optimiser, state, identity)
                saved = now
            bar.n = min(100, round(100 * state.seconds / budget))
            bar.update(0)
    save_state(out, trainer, optimiser, state, identity)
    return curve


@torch.no_grad()
def recall_of_pixels(model: Damsm, data: PixelData) -> dict[str, float]:
    """Return Recall@1/5/10 of each item's first caption among the pictures (parts of 1)."""
    assert model.pixels is not None
    if not len(data):
        return {}
    model.eval()
    rows = torch.split(torch.arange(len(data)), 64)
    images = torch.cat([model.pixels(to_unit(data.pictures[r]).to(model.device)).global_ for r in rows])
    text = torch.cat(
        [model.encode_captions([data.captions[i][0] for i in r.tolist()]).sentence for r in rows]
    )
    scores = cosine(text, images)
    ranks = (scores > scores.diagonal()[:, None]).sum(1)
    return {f"recall@{k}": round(float((ranks < k).float().mean()), 4) for k in (1, 5, 10)}
