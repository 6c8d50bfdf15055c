from __future__ import annotations

import dataclasses

import pytest

from memdriven.config import MAX_GUIDANCE, RetrievalConfig
from memdriven.errors import CheckpointError, ConfigError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED, STRATEGIES
from memdriven.ui import compose, state, strings


def test_kept_seed_is_read_and_a_free_one_is_drawn() -> None:
    assert state.read_seed(" 0042 ", keep=True) == 42
    assert state.read_seed(str(MAX_SEED), keep=True) == MAX_SEED
    draws = {state.read_seed("42", keep=False) for _ in range(8)}
    assert len(draws) == 8
    assert 0 <= state.read_seed("", keep=True) < 2**32


@pytest.mark.parametrize("written", ["-1", "1.5", "1e3", "seven", "٣", str(MAX_SEED + 1), "9" * 99])
def test_odd_seeds_are_refused(written: str) -> None:
    with pytest.raises(ConfigError, match="whole number"):
        state.read_seed(written, keep=True)


def test_the_two_choices_reach_every_strategy() -> None:
    reached = {
        state.read_strategy(source, comparison)
        for _, source in compose.SOURCES
        for _, comparison in strings.STRATEGIES
    }
    assert reached == set(STRATEGIES)
    assert RetrievalConfig().strategy in reached
    assert set(compose.SOURCE_HINTS) == {source for _, source in compose.SOURCES}


def test_loaded_model_is_shared_with_its_common_words(
    pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_shelf", [])
    with pytest.raises(CheckpointError, match="loaded"):
        state.pipeline()
    assert state.common_words() == frozenset()
    state.use(pipe)
    assert state.pipeline() is pipe
    assert state.common_words() == {"a", "small", "bird", "with", "wings"}


@pytest.mark.parametrize(
    ("given", "used"),
    [(1.5, 1.5), (9, MAX_GUIDANCE), (-1, 0.0), (None, 0.5), ("2", 0.5), (float("nan"), 0.5)],
)
def test_guidance_from_the_page_is_clamped(pipe: MemoryDrivenPipeline, given: object, used: float) -> None:
    generator = dataclasses.replace(pipe.config.generator, guidance=0.5)
    config = dataclasses.replace(pipe.config, generator=generator)
    state.use(MemoryDrivenPipeline(dataclasses.replace(pipe.checkpoint, config=config), pipe.bank))
    assert state.read_guidance(given) == used
