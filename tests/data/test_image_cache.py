from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from memdriven.data import image_cache
from memdriven.data.image_cache import load_images
from memdriven.data.prepared import PreparedDataset
from memdriven.data.transforms import centre_square, to_bytes
from memdriven.errors import DataError
from tests.small_world import write_world


@pytest.fixture
def dataset(tmp_path: Path) -> PreparedDataset:
    write_world(tmp_path / "set", train=5, test=2)
    return PreparedDataset.open(tmp_path / "set")


def _cached(dataset: PreparedDataset) -> list[Path]:
    return sorted((dataset.path / "cache").iterdir())


def test_images_come_in_the_items_order(dataset: PreparedDataset) -> None:
    items = dataset.items[::-1]
    images = load_images(dataset, items, 32, progress=False)
    wanted = torch.stack([to_bytes(centre_square(dataset.load_image(i), 32)) for i in items])
    assert images.dtype == torch.uint8
    assert torch.equal(images, wanted)


def test_the_second_call_decodes_nothing(dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_images(dataset, dataset.items, 32, progress=False)
    monkeypatch.setattr(image_cache, "read_image", None)
    assert torch.equal(load_images(dataset, dataset.items, 32, progress=False), first)
    first[0] = 0  # a caller may write to the tensor without touching the file
    assert load_images(dataset, dataset.items, 32, progress=False)[0].any()


def test_sizes_selections_and_new_files_have_their_own_cache(dataset: PreparedDataset) -> None:
    load_images(dataset, dataset.items, 32, progress=False)
    load_images(dataset, dataset.items, 16, progress=False)
    load_images(dataset, dataset.items[:3], 32, progress=False)
    assert len(_cached(dataset)) == 3
    os.utime(dataset.image_path(dataset.items[0]), ns=(1, 1))
    load_images(dataset, dataset.items[:3], 32, progress=False)
    assert len(_cached(dataset)) == 4


def test_a_truncated_cache_is_made_anew(dataset: PreparedDataset) -> None:
    first = load_images(dataset, dataset.items, 32, progress=False).clone()
    (path,) = _cached(dataset)
    path.write_bytes(path.read_bytes()[:500])
    assert torch.equal(load_images(dataset, dataset.items, 32, progress=False), first)


def test_without_room_for_a_cache_the_images_stay_in_memory(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_cache, "_reserve", full)
    images = load_images(dataset, dataset.items, 32, progress=False)
    assert images.shape == (7, 3, 32, 32)
    assert _cached(dataset) == []


def test_an_unreadable_image_is_named_and_leaves_no_cache(dataset: PreparedDataset) -> None:
    dataset.image_path(dataset.items[3]).write_bytes(b"RIFF")
    with pytest.raises(DataError, match=dataset.items[3].id):
        load_images(dataset, dataset.items, 32, progress=False)
    assert _cached(dataset) == []
