"""The reader of COCO 2014, on miniatures of the official layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from memdriven.data.coco import prepare_coco
from memdriven.data.download import Remote
from memdriven.errors import DataError
from tests.data import layouts


@pytest.mark.parametrize("pack", layouts.PACKINGS)
def test_coco_from_every_packing(tmp_path: Path, pack: Callable[[Path], list[Path]]) -> None:
    layouts.write_coco(tmp_path / "coco")
    data = prepare_coco(tmp_path / "out", archives=pack(tmp_path / "coco"), image_size=16, progress=False)
    assert [(i.id, i.split, len(i.captions)) for i in data.items] == [
        ("train2014-000000000009", "train", 5),
        ("val2014-000000000042", "test", 5),
    ]
    assert data.items[0].class_id is None


def test_coco_is_downloaded_without_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.write_coco(tmp_path / "coco")

    def fetch(files: list[Remote], folder: Path, progress: bool) -> list[Path]:
        assert folder == tmp_path / "data/archives"
        assert [file.name for file in files] == [
            "train2014.zip",
            "val2014.zip",
            "annotations_trainval2014.zip",
        ]
        return layouts.as_archives(tmp_path / "coco")

    monkeypatch.setattr("memdriven.data.coco.fetch_all", fetch)
    assert len(prepare_coco(tmp_path / "data/coco", image_size=16, progress=False)) == 2


def test_coco_with_damaged_annotations_or_missing_photos(tmp_path: Path) -> None:
    layouts.write_coco(tmp_path / "coco")
    shutil.rmtree(tmp_path / "coco/val2014")
    with pytest.raises(DataError, match="whole of val2014"):
        prepare_coco(tmp_path / "out", archives=[tmp_path / "coco"], progress=False)
    listing = tmp_path / "coco/annotations/captions_train2014.json"
    for content in ('{"images": 3', '{"images": [], "annotations": [{"image_id": []}]}', "[]"):
        layouts.write_text(listing, content)
        with pytest.raises(DataError, match="annotations again"):
            prepare_coco(tmp_path / "out", archives=[tmp_path / "coco"], progress=False)
    assert not (tmp_path / "out").exists()
