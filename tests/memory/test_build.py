"""Features and banks: right, the same bytes each time, resumable, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from memdriven.data.prepared import Item, PreparedDataset, write_prepared
from memdriven.data.vocabulary import Vocabulary
from memdriven.errors import BankError, DataError
from memdriven.memory import build
from memdriven.memory.bank import MemoryBank
from memdriven.memory.features import FeatureStore
from tests.memory.conftest import World, make_damsm
from tests.small_world import write_features


class Album:
    """A data set of noisy pictures that counts how often each is read, and the network that sees them."""

    def __init__(self, folder: Path, n: int) -> None:
        self.path, self.reads, self.network = folder, dict[str, int](), SmallNetwork()
        folder.mkdir()
        names = [f"item-{index:03d}" for index in range(n)]
        self.items = [Item(id=name, file=f"{name}.png", split="train", captions=["a"]) for name in names]
        for index, item in enumerate(self.items):
            noise = np.random.default_rng(index).integers(0, 256, (40, 56, 3), np.uint8)
            Image.fromarray(noise).save(folder / item.file)
        write_prepared(folder, items=self.items, name="album", image_size=56, classes=[])


class SmallNetwork(nn.Module):
    """Stand-in for VGG: 16 x 16 blocks' mean colours, and a limit on the images it will see."""

    coarse = False

    def __init__(self, limit: float = float("inf"), name: str = "small-network") -> None:
        super().__init__()
        self.limit, self.hash = limit, name

    def forward(self, images: Tensor) -> Tensor:
        self.limit -= len(images)
        if self.limit < 0:
            raise KeyboardInterrupt
        means = nn.functional.avg_pool2d(images, 16) - 0.4  # (b, 3, h, w)
        return nn.functional.pad(torch.cat([means.relu(), (-means).relu()], dim=1), (0, 0, 0, 0, 0, 506))


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Album:
    album, load = Album(tmp_path / "album", 11), PreparedDataset.load_image

    def counted(self: PreparedDataset, item: Item) -> Image.Image:
        album.reads[item.id] = album.reads.get(item.id, 0) + 1
        return load(self, item)

    monkeypatch.setattr(build, "FEATURE_SHARD", 4)
    monkeypatch.setattr(PreparedDataset, "load_image", counted)
    monkeypatch.setattr(build.Vgg16Features, "load", lambda weights, device: album.network)
    return album


def extract(album: Album, out: Path, network: SmallNetwork | None = None) -> FeatureStore:
    album.network = network or SmallNetwork()
    return build.extract_features(album.path, out, batch=2, device="cpu")


def test_a_store_holds_the_features_of_each_centre_square(album: Album, tmp_path: Path) -> None:
    store = extract(album, tmp_path / "features")
    assert len(store) == 11
    assert store.shape == (512, 16, 16)
    assert store.encoder == "small-network"
    assert store.ids == [item.id for item in album.items]
    for row, item in enumerate(album.items):
        with Image.open(album.path / item.file) as image:
            square = image.crop((8, 0, 48, 40)).resize((256, 256), Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)[None].float() / 255
        wanted = SmallNetwork()(pixels)[0].flatten()
        found = torch.from_numpy(store[row]).flatten()
        assert torch.cosine_similarity(wanted, found, dim=0) > 0.985
        assert store.index_of(item.id) == row
    assert not (tmp_path / "features.partial").exists()
    store.verify()


def test_a_killed_extraction_goes_on_where_it_was(album: Album, tmp_path: Path) -> None:
    whole = extract(album, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        extract(album, tmp_path / "features", SmallNetwork(limit=7))
    assert not (tmp_path / "features").exists()
    before = dict(album.reads)
    resumed = extract(album, tmp_path / "features")
    assert all(album.reads[item.id] == before[item.id] for item in album.items[:4])
    assert album.reads["item-010"] == before["item-010"] + 1
    for file in sorted(whole.path.iterdir()):
        assert file.read_bytes() == (resumed.path / file.name).read_bytes()


def test_a_signal_when_the_store_is_there_leaves_no_shards(
    album: Album, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def then_stopped(old: Path, new: Path) -> None:
        replace(old, new)
        if new == tmp_path / "features":
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", then_stopped)
    with pytest.raises(KeyboardInterrupt):
        extract(album, tmp_path / "features")
    assert sorted(os.listdir(tmp_path)) == ["album", "features"]
    extract(album, tmp_path / "features").verify()


def test_a_finished_store_is_not_made_again(album: Album, tmp_path: Path) -> None:
    extract(album, tmp_path / "features")
    before = dict(album.reads)
    extract(album, tmp_path / "features")
    assert album.reads == before
    changed = SmallNetwork(name="another")
    assert extract(album, tmp_path / "features", changed).encoder == "another"
    assert album.reads["item-000"] == before["item-000"] + 1


def test_a_damaged_shard_is_made_again(album: Album, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        extract(album, tmp_path / "features", SmallNetwork(limit=9))
    shard = tmp_path / "features.partial" / "0.bin"
    shard.write_bytes(shard.read_bytes()[:-3])
    extract(album, tmp_path / "features").verify()


def test_an_unreadable_image_leaves_no_store(album: Album, tmp_path: Path) -> None:
    (album.path / album.items[5].file).write_bytes(b"not an image")
    with pytest.raises(DataError, match="item-005"):
        extract(album, tmp_path / "features")
    assert not (tmp_path / "features").exists()


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_of_nothing_is_refused(album: Album, tmp_path: Path, batch: int) -> None:
    with pytest.raises(DataError, match="batch: a whole number"):
        build.extract_features(album.path, tmp_path / "features", batch=batch, device="cpu")
    assert not (tmp_path / "features.partial").exists()


def test_a_full_disk_leaves_no_store_and_what_was_made_before(
    album: Album, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if "features.partial" in str(self):  # there was room for what was made, not for the store
            return write(self, content)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(DataError, match="full disk"):
            extract(album, tmp_path / "features")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album", "features.partial"]
    before = dict(album.reads)
    extract(album, tmp_path / "features").verify()
    assert album.reads == before


def test_what_is_no_store_is_not_replaced(album: Album, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")
    with pytest.raises(DataError, match="something else"):
        extract(album, tmp_path / "letters")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "keep me"


def test_features_of_other_pictures_are_refused(album: Album, tmp_path: Path) -> None:
    store = extract(album, tmp_path / "features")
    assert build.features_of(PreparedDataset.open(album.path), store.path).ids == store.ids
    other = Album(tmp_path / "other", 11)
    Image.new("RGB", (64, 48), "red").save(other.path / other.items[3].file)
    fewer = Album(tmp_path / "fewer", 10)
    for foreign in (other, fewer):
        with pytest.raises(BankError, match="features of other pictures"):
            build.features_of(PreparedDataset.open(foreign.path), store.path)


# ---- Banks ----


def make(world: World, out: Path, **settings: object) -> MemoryBank:
    given = {"checkpoint": world.encoders, "dataset": world.dataset, "features": world.features}
    return build.build_memory(**{**given, "out": out, "device": "cpu", **settings})


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
    monkeypatch.setattr(build, "BANK_SHARD", 7)
    assert content(make(world, tmp_path / "again").path) == content(world.bank.path)


def test_a_killed_build_goes_on_where_it_was(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "BANK_SHARD", 8)
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


def test_other_splits_and_fewer_words(world: World, tmp_path: Path) -> None:
    make_damsm(world.vocabulary, tmp_path / "encoders", max_words=2)
    bank = make(world, tmp_path / "bank", split="test", checkpoint=tmp_path / "encoders")
    assert bank.ids == [item.id for item in world.items if item.split == "test"]
    assert bank.max_words == 2
    with pytest.raises(DataError):
        make(world, tmp_path / "nothing", split="validation")


def test_captions_without_a_known_word_are_left_out(world: World, tmp_path: Path) -> None:
    make_damsm(Vocabulary(["this", "is"]), tmp_path / "encoders")
    bank = make(world, tmp_path / "bank", checkpoint=tmp_path / "encoders")
    assert all(len(bank.items[index].captions) == 1 for index in range(bank.n))
    with pytest.raises(DataError, match="known words"):
        make_damsm(Vocabulary(["heliotrope"]), tmp_path / "strange")
        make(world, tmp_path / "nothing", checkpoint=tmp_path / "strange")
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
        make(world, tmp_path / "bank", split="test")
    assert "--replace" in str(error.value)
    other = tmp_path / "other"
    shutil.copytree(world.dataset, other)
    header = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps(header | {"name": "other"}))
    with pytest.raises(DataError, match="items of"):
        make(world, made.path, dataset=other)
    assert content(made.path) == before
    assert make(world, tmp_path / "bank", split="test", replace=True).n == 4
    assert make(world, tmp_path / "bank").n == 24, "more of the same needs no leave"


def test_what_a_memory_remembers_is_a_data_set(tiny_checkpoint: Path, tmp_path: Path) -> None:
    bank = MemoryBank(tiny_checkpoint / "memory")
    made = build.prepare_remembered(tiny_checkpoint, tmp_path / "small")
    assert [item.id for item in made.split("train")] == bank.ids
    assert [item.captions for item in made.items] == [item.captions for item in bank.items]
    assert [made.classes[item.class_id or 0] for item in made.items] == [one.class_name for one in bank.items]
    pictures = [made.image_path(item).read_bytes() for item in made.items]
    assert pictures == [bank.thumbnail_bytes(row) for row in range(bank.n)]
    assert made.image_size == bank.thumbnail(0).width
    store = build.features_of(made, tiny_checkpoint / "memory/features")
    assert store.ids == bank.ids
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="something else"):
        build.prepare_remembered(tiny_checkpoint, tmp_path)
