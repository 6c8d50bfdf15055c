"""Building a bank: the same bytes each time, resumable, whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from memdriven.data.prepared import PreparedDataset
from memdriven.data.vocabulary import Vocabulary
from memdriven.errors import BankError, DataError
from memdriven.memory import build
from memdriven.memory.bank import MemoryBank
from tests.memory.conftest import World, make_damsm
from tests.small_world import write_features


def make(world: World, out: Path, **settings: object) -> MemoryBank:
    arguments = {"features": world.features, "damsm": world.damsm, "progress": False} | settings
    vocabulary = arguments.pop("vocabulary", world.vocabulary)
    return build.build_memory(
        world.dataset, arguments.pop("features"), arguments.pop("damsm"), vocabulary, out, **arguments
    )


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_equal_inputs_give_equal_bytes(world: World, tmp_path: Path) -> None:
    made = make(world, tmp_path / "again")
    assert content(made.path) == content(world.bank.path)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]
    made.verify()


def test_the_shards_do_not_change_the_bank(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "SHARD", 7)
    assert content(make(world, tmp_path / "again").path) == content(world.bank.path)


def test_a_killed_build_goes_on_where_it_was(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "SHARD", 8)
    load, reads = PreparedDataset.load_image, list[str]()

    def watched(self: PreparedDataset, item):
        if len(reads) == 12:
            raise KeyboardInterrupt
        reads.append(item.id)
        return load(self, item)

    monkeypatch.setattr(PreparedDataset, "load_image", watched)
    with pytest.raises(KeyboardInterrupt):
        make(world, tmp_path / "bank")
    assert not (tmp_path / "bank").exists()
    first = set(world.bank.ids[:8])
    assert first <= set(reads)
    reads.clear()
    monkeypatch.setattr(
        PreparedDataset, "load_image", lambda self, item: reads.append(item.id) or load(self, item)
    )
    made = make(world, tmp_path / "bank")
    assert len(reads) == 16
    assert not first & set(reads)
    assert content(made.path) == content(world.bank.path)


def test_a_limit_is_spread_over_the_split(world: World, tmp_path: Path) -> None:
    bank = make(world, tmp_path / "bank", limit=6)
    assert bank.ids == world.bank.ids[::4]
    assert make(world, tmp_path / "more", limit=500).n == 24
    with pytest.raises(DataError, match="limit"):
        make(world, tmp_path / "none", limit=0)


def test_other_splits_sizes_and_fewer_captions(world: World, tmp_path: Path) -> None:
    bank = make(world, tmp_path / "bank", split="test", thumbnail_size=32, captions_per_item=1, max_words=2)
    assert bank.ids == [item.id for item in world.items if item.split == "test"]
    assert bank.thumbnail(0).size == (32, 32)
    assert bank.max_words == 2
    assert all(len(bank.item(index).captions) == 1 for index in range(bank.n))
    with pytest.raises(DataError):
        make(world, tmp_path / "nothing", split="validation")


def test_captions_without_a_known_word_are_left_out(world: World, tmp_path: Path) -> None:
    bank = make(
        world,
        tmp_path / "bank",
        vocabulary=Vocabulary(["this", "is"]),
        damsm=make_damsm(Vocabulary(["this", "is"])),
    )
    assert all(len(bank.item(index).captions) == 1 for index in range(bank.n))
    with pytest.raises(DataError, match="known words"):
        make(world, tmp_path / "nothing", vocabulary=Vocabulary(["heliotrope"]))
    assert not (tmp_path / "nothing").exists()


def test_features_must_fit(world: World, tmp_path: Path) -> None:
    write_features(tmp_path / "some", list(world.items[:5]))
    with pytest.raises(BankError, match="train-005"):
        make(world, tmp_path / "bank", features=tmp_path / "some")
    with pytest.raises(BankError):
        make(world, tmp_path / "bank", features=tmp_path / "nowhere")


def test_what_is_no_bank_is_not_replaced(world: World, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")
    with pytest.raises(DataError, match="something else"):
        make(world, tmp_path / "letters")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "keep me"
    make(world, tmp_path / "bank", limit=3)
    assert make(world, tmp_path / "bank", limit=4).n == 4  # an older bank is


def test_training_mode_comes_back(world: World, tmp_path: Path) -> None:
    damsm = make_damsm(world.vocabulary).train()
    made = make(world, tmp_path / "bank", damsm=damsm)
    assert damsm.training
    assert content(made.path) == content(world.bank.path)


def test_of_two_builders_in_one_place_the_second_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, refused = PreparedDataset.load_image, list[str]()

    def meanwhile(self: PreparedDataset, item):
        if not refused:
            refused.append("")
            with pytest.raises(DataError, match="another process") as error:
                make(world, tmp_path / "bank")
            refused[0] = str(error.value)
        return load(self, item)

    monkeypatch.setattr(PreparedDataset, "load_image", meanwhile)
    made = make(world, tmp_path / "bank")
    assert "bank" in refused[0]
    assert content(made.path) == content(world.bank.path)
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_a_larger_or_other_memory_is_not_lost_unasked(world: World, tmp_path: Path) -> None:
    made = make(world, tmp_path / "bank")
    before = content(made.path)
    with pytest.raises(DataError, match="24 items") as error:
        make(world, tmp_path / "bank", limit=6)
    assert "--replace" in str(error.value)
    other = tmp_path / "other"
    shutil.copytree(world.dataset, other)
    header = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps(header | {"name": "other"}))
    with pytest.raises(DataError, match="items of"):
        build.build_memory(other, world.features, world.damsm, world.vocabulary, made.path, progress=False)
    assert content(made.path) == before
    assert make(world, tmp_path / "bank", limit=6, replace=True).n == 6
    assert make(world, tmp_path / "bank").n == 24, "more of the same needs no leave"
