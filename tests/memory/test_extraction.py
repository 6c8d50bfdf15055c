"""Extraction of features: right squares, resumable, and nothing half-written."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from memdriven.errors import BankError, DataError
from memdriven.memory.build import extract_features, features_of


@dataclass(frozen=True)
class Picture:
    """What the extraction reads of an item."""

    id: str


class Album:
    """A data set of plain coloured pictures that counts how often each is read."""

    name = "album"

    def __init__(self, folder: Path, n: int) -> None:
        self.path, self.reads = folder, dict[str, int]()
        folder.mkdir()
        self.items = [Picture(f"item-{index:03d}") for index in range(n)]
        for index, item in enumerate(self.items):
            noise = np.random.default_rng(index).integers(0, 256, (40, 56, 3), np.uint8)
            Image.fromarray(noise).save(self.image_path(item))

    def image_path(self, item: Picture) -> Path:
        return self.path / f"{item.id}.png"

    def load_image(self, item: Picture) -> Image.Image:
        self.reads[item.id] = self.reads.get(item.id, 0) + 1
        try:
            return Image.open(self.image_path(item)).convert("RGB")
        except OSError as error:
            raise DataError(wanted="an image", found=str(error), fix="repair it") from error


class SmallNetwork(nn.Module):
    """Stand-in for VGG: 16 x 16 blocks' mean colours, and a limit on the images it will see."""

    hash = "small-network"

    def __init__(self, limit: float = float("inf")) -> None:
        super().__init__()
        self.register_buffer("shift", torch.full((1, 3, 1, 1), 0.4))
        self.limit = limit

    def forward(self, images: Tensor) -> Tensor:
        self.limit -= len(images)
        if self.limit < 0:
            raise KeyboardInterrupt
        means = nn.functional.avg_pool2d(images, 16) - self.shift  # (b, 3, h, w)
        return torch.cat([means.relu(), (-means).relu()], dim=1)


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return Album(tmp_path / "album", 11)


def extract(album: Album, out: Path, network: nn.Module | None = None, **settings: object):
    settings = {"size": 32, "batch": 2, "shard": 4, "workers": 2, "progress": False} | settings
    return extract_features(album, album.items, network or SmallNetwork(), out, **settings)


def test_a_store_holds_the_features_of_each_centre_square(album: Album, tmp_path: Path) -> None:
    store = extract(album, tmp_path / "features")
    assert len(store) == 11
    assert store.shape == (6, 2, 2)
    assert store.encoder == "small-network"
    assert store.ids == [item.id for item in album.items]
    for row, item in enumerate(album.items):
        with Image.open(album.image_path(item)) as image:
            square = image.crop((8, 0, 48, 40)).resize((32, 32), Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)[None].float() / 255
        wanted = SmallNetwork()(pixels)[0].flatten()
        found = torch.from_numpy(store[row]).flatten()
        assert torch.cosine_similarity(wanted, found, dim=0) > 0.985
        assert store.index_of(item.id) == row
    assert not (tmp_path / "features.partial").exists()
    store.verify()


def test_a_killed_run_goes_on_where_it_was(album: Album, tmp_path: Path) -> None:
    whole = extract(album, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        extract(album, tmp_path / "features", SmallNetwork(limit=8))  # one of these is the probe
    assert not (tmp_path / "features").exists()
    before = dict(album.reads)
    resumed = extract(album, tmp_path / "features")
    assert all(album.reads[item.id] == before[item.id] for item in album.items[:4])
    assert album.reads["item-010"] == before["item-010"] + 1
    for file in sorted(whole.path.iterdir()):
        assert file.read_bytes() == (resumed.path / file.name).read_bytes()


def test_a_finished_store_is_not_made_again(album: Album, tmp_path: Path) -> None:
    extract(album, tmp_path / "features")
    before = dict(album.reads)
    extract(album, tmp_path / "features")
    assert album.reads == before
    changed = SmallNetwork()
    changed.hash = "another"
    assert extract(album, tmp_path / "features", changed).encoder == "another"
    assert album.reads["item-000"] == before["item-000"] + 1


def test_a_damaged_shard_is_made_again(album: Album, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        extract(album, tmp_path / "features", SmallNetwork(limit=10))
    shard = tmp_path / "features.partial" / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-3])
    extract(album, tmp_path / "features").verify()


def test_an_unreadable_image_leaves_no_store(album: Album, tmp_path: Path) -> None:
    album.image_path(album.items[5]).write_bytes(b"not an image")
    with pytest.raises(DataError, match="item-005"):
        extract(album, tmp_path / "features")
    assert not (tmp_path / "features").exists()


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


def test_requests_that_cannot_work(album: Album, tmp_path: Path) -> None:
    for items in ([], [Picture("a\nb")], [Picture("a"), Picture("a")]):
        with pytest.raises(DataError):
            extract_features(album, items, SmallNetwork(), tmp_path / "x", progress=False)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")
    with pytest.raises(DataError, match="something else"):
        extract(album, tmp_path / "letters")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "keep me"


def test_features_of_other_pictures_are_refused(album: Album, tmp_path: Path) -> None:
    store = extract(album, tmp_path / "features")
    assert features_of(album, store.path).ids == store.ids
    other = Album(tmp_path / "other", 11)
    Image.new("RGB", (64, 48), "red").save(other.image_path(other.items[3]))
    fewer = Album(tmp_path / "fewer", 10)
    for foreign in (other, fewer):
        with pytest.raises(BankError, match="features of other pictures"):
            features_of(foreign, store.path)
