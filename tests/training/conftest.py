from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.small_gan import write_gan_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gan_world(tmp_path_factory.mktemp("world"))
