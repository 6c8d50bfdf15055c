"""A hundred pictures leave nothing behind on the server."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from memdriven.models.generator import Generator
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import picture, state
from memdriven.ui.steering import Steering
from tests.conftest import COLOURS, CONFIG, WINGS

CAPTIONS = [f"a small {body} bird with {wing} wings" for body in COLOURS for wing in WINGS]
STRATEGIES = ("sentence-sentence", "words-image")
WARM, MEASURED = 40, 96
"""Both end with the same caption, strategy and number of references, of which the last picture keeps some."""
STATM = Path("/proc/self/statm")


def resident() -> float:
    """Return the megabytes that this process holds, as far as the system tells."""
    if not STATM.is_file():
        return 0.0
    return int(STATM.read_text("ascii").split()[1]) * 4096 / 1e6


def alive() -> tuple[int, int]:
    """Return how many tensors and how many pictures there are."""
    gc.collect()
    # By their type alone: some objects of libraries answer isinstance with a warning.
    kinds = [type(each) for each in gc.get_objects()]
    return tuple(sum(issubclass(kind, wanted) for kind in kinds) for wanted in (torch.Tensor, Image.Image))  # type: ignore[return-value]


def paint(numbers: range) -> None:
    for number in numbers:
        caption = CAPTIONS[number % len(CAPTIONS)]
        strategy = STRATEGIES[number // len(CAPTIONS) % len(STRATEGIES)]
        *_, last = picture.paint(
            caption, "retrieved", strategy, 1 + number % 3, str(number), True, Steering()
        )
        assert f"with seed {number}" in last["status"]


@pytest.fixture
def quick(pipe: MemoryDrivenPipeline) -> MemoryDrivenPipeline:
    """Return the miniature checkpoint with the first of its stages alone."""
    generator = Generator(replace(CONFIG.generator, stages=1)).eval().requires_grad_(False)
    return MemoryDrivenPipeline(replace(pipe.checkpoint, generator=generator), pipe.bank)


def test_memory_is_flat_over_a_hundred_pictures(quick: MemoryDrivenPipeline) -> None:
    state.use(quick)
    paint(range(WARM))
    before, living = resident(), alive()
    paint(range(WARM, WARM + MEASURED))
    # What earlier visitors left may be let go meanwhile, so that there may be fewer.
    assert all(now <= then for now, then in zip(alive(), living, strict=True))
    assert resident() - before < 10
