"""A tiny data set with features and untrained encoders, and GAN runs on it that take seconds."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from memdriven.config import (
    Config,
    DamsmConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    TextConfig,
    TrainConfig,
)
from memdriven.data.vocabulary import Vocabulary
from memdriven.encoders.damsm import Damsm, load_damsm, save_damsm
from memdriven.memory.features import encode_v, write_store
from memdriven.training import damsm_further, loop
from memdriven.training.data import GanData, Pick
from memdriven.training.gan import train_gan
from tests.small_world import write_world

CONFIG = Config(
    preset="test",
    text=TextConfig(embedding_dim=16, dim=16, max_words=8),
    damsm=DamsmConfig(pixel_backbone="compact", pixel_size=32),
    generator=GeneratorConfig(
        stages=1, width=4, text_dim=16, z_dim=8, condition_dim=8, acm_width=8, feature_width=8, first_rank=4
    ),
    discriminator=DiscriminatorConfig(width=8, max_width=16),
    train=TrainConfig(batch_size=4, steps=4, crop=1.0, log_every=2, save_every=0, amp=False),
)


def train_settings(**changes: object) -> Config:
    """Return the test's config with other settings of the loop."""
    return dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, **changes))


def write_gan_world(root: Path, train: int = 12, test: int = 3) -> Path:
    """Write a tiny data set, its features at 16 x 16, and an untrained DAMSM."""
    items = write_world(root / "data", train=train, test=test, size=256)
    random = np.random.default_rng(0)
    v = [np.maximum(random.normal(-1.5, 1, (512, 16, 16)), 0).astype(np.float32) for _ in items]
    (root / "features").mkdir()
    write_store(
        root / "features",
        [i.id for i in items],
        [encode_v(x) for x in v],
        (512, 16, 16),
        {"encoder": "0" * 16},
    )
    torch.manual_seed(0)
    vocabulary = Vocabulary.build([c for i in items for c in i.captions])
    damsm = Damsm(len(vocabulary), CONFIG.text, CONFIG.damsm)
    save_damsm(root / "damsm", damsm, vocabulary, CONFIG, {})
    return root


def run(world: Path, out: Path, config: Config = CONFIG, **options: object) -> Path:
    """Train on the small world; return the run directory."""
    return train_gan(world / "data", world / "features", world / "damsm", out, config, **options)


def data(world: Path, config: Config = CONFIG, damsm: Path | None = None, **options: object) -> GanData:
    """Return the training data of the small world, with its own encoders or others."""
    trained = load_damsm(damsm or world / "damsm")
    return GanData(world / "data", world / "features", trained, config, **options)


def facing(source: GanData) -> GanData:
    """Return the data with no picture mirrored, so that features can be compared as they are stored."""
    pick = source.pick

    def straight(step: int) -> Pick:
        found = pick(step)
        return dataclasses.replace(found, views=found.views * torch.tensor([1, 1, 1, 0]))

    source.pick = straight  # type: ignore[method-assign]
    return source


@contextmanager
def steady_clock() -> Iterator[None]:
    """Let every look at the clock take 1/8 s, so that budgets of minutes do not depend on load.

    Differences of eighths are exact, wherever the clock stands when a training begins.
    """
    ticks = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(ticks) / 8))
        yield


@contextmanager
def hasty_reader() -> Iterator[None]:
    """Let readers of captions, which further training fits at its end, take few steps (`test_fit_reader`)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(damsm_further, "READER_STEPS", 10)
        yield
