"""One tiny world for all of these tests, and runs on it that several of them look at or go on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.small_gan import run, train_settings, write_gan_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gan_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def whole(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps, which is read, not changed."""
    return run(world, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="session")
def begun(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Likewise of two."""
    return run(world, tmp_path_factory.mktemp("begun") / "run", train_settings(steps=2))
