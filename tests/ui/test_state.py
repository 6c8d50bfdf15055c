from __future__ import annotations

import dataclasses
import gc
import shutil
import weakref
from pathlib import Path

import pytest

from memdriven.config import MAX_GUIDANCE, RetrievalConfig
from memdriven.errors import BankError, CheckpointError, ConfigError
from memdriven.memory.retrieval import STRATEGIES
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import MAX_SEED
from memdriven.ui import query, state
from memdriven.ui.state import RULES, ModelRegistry, find_checkpoints, has_memory


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


def test_the_two_choices_reach_every_strategy(pipe: MemoryDrivenPipeline) -> None:
    state.use(pipe)
    reached = {
        query.Query("a bird", source, comparison, 1, "", False).request().strategy
        for source in query.SOURCES
        for comparison in RULES
    }
    assert reached == set(STRATEGIES)
    assert RetrievalConfig().strategy in reached


def test_loaded_model_is_shared_with_its_common_words(
    pipe: MemoryDrivenPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_registry", [])
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
    assert state.read_number("guidance", given) == used


@pytest.fixture
def two(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A folder with two checkpoints and one that has no memory yet."""
    for name in ("first", "second", "unbuilt"):
        shutil.copytree(tiny_checkpoint, tmp_path / name)
    shutil.rmtree(tmp_path / "unbuilt" / "memory")
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_checkpoints_beside_the_chosen_ones_are_found(two: Path) -> None:
    found = find_checkpoints([two / "second"])
    assert [folder.name for folder in found] == ["second", "first", "unbuilt"]
    assert list(map(has_memory, found)) == [True, True, False]


def test_one_model_at_a_time_is_in_memory(two: Path) -> None:
    registry = ModelRegistry(find_checkpoints([two / "first"]), "cpu")
    held = weakref.ref(registry.get("first"))
    assert registry.get("first") is held()
    assert registry.get("second").checkpoint.name == "second"
    gc.collect()
    assert held() is None


def test_a_model_that_a_long_call_holds_is_not_opened_again(two: Path) -> None:
    registry = ModelRegistry(find_checkpoints([two / "first"]), "cpu")
    long = registry.get("first")
    second = weakref.ref(registry.get("second"))
    assert registry.get("first") is long
    assert registry.get("second") is second()
    del long
    gc.collect()
    assert registry.get("first").checkpoint.name == "first"
    gc.collect()
    assert second() is None


def test_what_cannot_be_opened_is_explained_and_changes_nothing(two: Path) -> None:
    registry = ModelRegistry(find_checkpoints([two / "first"]), "cpu")
    first = registry.get("first")
    with pytest.raises(BankError, match="build-memory"):
        registry.get("unbuilt")
    for name in ("../first", "none", ""):
        with pytest.raises(CheckpointError):
            registry.get(name)
    assert registry.get("first") is first


def test_each_visitor_has_a_choice_of_their_own(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.use(ModelRegistry(find_checkpoints([two / "first"]), "cpu"))
    visitor = ["ann"]
    monkeypatch.setattr(state, "session", lambda: visitor[0])
    *_, last = query.switch("second")
    assert "second is in use: 12" in last["status"]
    assert state.pipeline().checkpoint.name == "second"
    visitor[0] = "bob"
    assert state.pipeline().checkpoint.name == "first"
    *_, refused = query.switch("unbuilt")
    assert 'role="alert"' in refused["status"]
    assert state.chosen() == "first"
    visitor[0] = "ann"
    assert state.chosen() == "second"


def test_strength_of_the_memory_is_shown_where_the_model_offers_it(
    tiny_checkpoint: Path, fading_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.use(ModelRegistry(find_checkpoints([tiny_checkpoint, fading_checkpoint]), "cpu"))
    monkeypatch.setattr(state, "session", lambda: "ann")
    assert not state.offers_memory()
    for name, shown in (("fading", True), ("tiny", False)):
        *_, last = query.switch(name)
        assert last["share"] == 1.0
        assert last["fade"].visible is shown
        assert last["guidance"] == 0.0  # what this model asks for by itself
        assert last["tries"].value == 1
        assert last["tries"].visible is state.offers_tries()


def test_choices_are_what_opens(two: Path, pipe: MemoryDrivenPipeline) -> None:
    state.use(ModelRegistry(find_checkpoints([two / "first"]), "cpu"))
    assert list(query.choices()) == ["first", "second"]
    state.use(pipe)
    assert state.registry().default == pipe.checkpoint.name


def test_two_folders_of_one_name_are_both_offered(two: Path, tmp_path: Path) -> None:
    """As runs/a/checkpoint and runs/b/checkpoint are."""
    for run, source in (("a", "first"), ("b", "second")):
        shutil.copytree(two / source, tmp_path / run / "checkpoint")
    registry = ModelRegistry(find_checkpoints([tmp_path / "a/checkpoint", tmp_path / "b/checkpoint"]), "cpu")
    assert list(registry.folders) == ["a", "b"], "named after their runs"
    opened = registry.get("b")
    assert opened.checkpoint.path == tmp_path / "b/checkpoint"
    registry.put(opened)
    assert registry.get("b") is opened
    assert registry.get("a").checkpoint.path == tmp_path / "a/checkpoint"
    assert list(ModelRegistry([tmp_path / "a/x", tmp_path / "b/x"]).folders) == ["x", "b/x"]
