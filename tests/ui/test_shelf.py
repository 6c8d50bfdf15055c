from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path

import pytest

from memdriven.errors import BankError, CheckpointError
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.ui import state, switcher
from memdriven.ui.state import Entry, Shelf, find_checkpoints


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
    assert [entry.name for entry in found] == ["second", "first", "unbuilt"]
    assert [entry.complete for entry in found] == [True, True, False]


def test_one_model_at_a_time_is_in_memory(two: Path) -> None:
    shelf = Shelf(find_checkpoints([two / "first"]), "cpu")
    held = weakref.ref(shelf.get("first"))
    assert shelf.get("first") is held()
    assert shelf.get("second").checkpoint.name == "second"
    gc.collect()
    assert held() is None


def test_what_cannot_be_opened_is_explained_and_changes_nothing(two: Path) -> None:
    shelf = Shelf(find_checkpoints([two / "first"]), "cpu")
    first = shelf.get("first")
    with pytest.raises(BankError, match="build-memory"):
        shelf.get("unbuilt")
    for name in ("../first", "none", ""):
        with pytest.raises(CheckpointError):
            shelf.get(name)
    assert shelf.get("first") is first


def test_each_visitor_has_a_choice_of_their_own(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.use(Shelf(find_checkpoints([two / "first"]), "cpu"))
    visitor = ["ann"]
    monkeypatch.setattr(state, "session", lambda: visitor[0])
    *_, last = switcher.switch("second")
    assert "second is in use: 12" in str(last[-1])
    assert state.pipeline().checkpoint.name == "second"
    visitor[0] = "bob"
    assert state.pipeline().checkpoint.name == "first"
    *_, refused = switcher.switch("unbuilt")
    assert 'role="alert"' in str(refused[-1])
    assert state.chosen() == "first"
    visitor[0] = "ann"
    assert state.chosen() == "second"


def test_strength_of_the_memory_is_shown_where_the_model_offers_it(
    tiny_checkpoint: Path, fading_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.use(Shelf(find_checkpoints([tiny_checkpoint, fading_checkpoint]), "cpu"))
    monkeypatch.setattr(state, "session", lambda: "ann")
    assert not state.offers_memory()
    for name, shown in (("fading", True), ("tiny", False)):
        *_, last = switcher.switch(name)
        assert last[-4] == 1.0
        assert last[-3].visible is shown
        assert last[-2] == 0.0  # the guidance that this model asks for by itself


def test_choices_say_what_has_no_memory(two: Path, pipe: MemoryDrivenPipeline) -> None:
    state.use(Shelf(find_checkpoints([two / "first"]), "cpu"))
    labels = {name: label for label, name in switcher.choices()}
    assert labels["unbuilt"] == "unbuilt (no memory yet)"
    shelf = Shelf.holding(pipe)
    assert shelf.default == "tiny"
    assert Shelf([Entry("a", two / "first"), Entry("a", two / "second")]).entries["a"].path == (two / "first")
