from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from memdriven.training import damsm_pixels, damsm_text
from tests.training.small_gan import write_gan_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gan_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True, scope="module")
def _steady_clock() -> Iterator[None]:
    """Let every look at the clock take 0.1 s, so that budgets of minutes do not depend on load."""
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: 0.1 * next(ticks))
    with pytest.MonkeyPatch.context() as patch:
        for module in (damsm_pixels, damsm_text):
            patch.setattr(module, "time", clock)
        yield
