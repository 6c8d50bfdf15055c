"""Training of DAMSM: text encoder, heads over v, and the network that scores pixels, jointly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from memdriven.config import Config
from memdriven.data.prepared import PreparedDataset
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm_files import TrainedDamsm, load_damsm
from memdriven.errors import ConfigError, TrainingError
from memdriven.memory.feature_store import FeatureStore
from memdriven.training.damsm_data import DamsmData, choose_items
from memdriven.training.damsm_run import DamsmRun
from memdriven.training.damsm_state import STATE
from memdriven.training.distributed import join_world, leave_world


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

    Under torchrun every process takes its share of an epoch's batches and gradients are averaged;
    captions compete within a process's batch.

    Without `minutes` the learning rate falls by 2 % an epoch [family], and a resumed
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
    """
    out = Path(out)
    if (out / STATE).exists() and not resume:
        raise TrainingError(
            wanted=f"a new folder for the training, or resume, at {out}",
            found="an earlier training",
            fix="resume it, or choose another folder",
        )
    if config.damsm.epochs < 1:
        raise ConfigError(
            wanted="damsm.epochs of 1 or more", found=str(config.damsm.epochs), fix="change that setting"
        )
    world, device = join_world(torch.device(device))
    try:
        show = progress and world.is_main
        data, recall_data, vocabulary, facts = _load(dataset, features, config, show)
        run = DamsmRun(out, config, vocabulary, data, recall_data, device, facts, 60 * minutes, show, world)
        with _own_randomness(device):
            run.start(resume)
            run.train()
    finally:
        leave_world(world)
    return load_damsm(out, device)


def _load(
    dataset: Path | str, features: Path | str, config: Config, show: bool
) -> tuple[DamsmData, DamsmData, Vocabulary, dict[str, Any]]:
    """Return the training data, the data for recall, the vocabulary, and facts to record."""
    prepared, store = PreparedDataset.open(dataset), FeatureStore.open(features)
    train_items, recall_items, kind = choose_items(prepared, store)
    captions = (caption for item in train_items for caption in item.captions)
    vocabulary = Vocabulary.build(captions)
    pixel_size = None if config.damsm.pixel_backbone == "vgg16" else config.damsm.pixel_size
    words = config.text.max_words
    train, recalled = (
        DamsmData.load(prepared, items, store, vocabulary, words, pixel_size, show)
        for items in (train_items, recall_items)
    )
    facts = {
        "dataset": prepared.name,
        "features_encoder": store.encoder,
        "train_items": len(train),
        "recall_on": f"{len(recalled)} images, {kind}",
    }
    return train, recalled, vocabulary, facts


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Leave the caller's random state as it was."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
