"""The reader of Oxford-102, on miniatures of the official layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from memdriven.data.flowers import prepare_flowers
from memdriven.errors import DataError
from tests.data import layouts


@pytest.mark.parametrize("pack", layouts.PACKINGS)
@pytest.mark.parametrize(("lists", "split"), [(True, "train"), (False, "test")])
def test_flowers_from_every_packing(
    tmp_path: Path, pack: Callable[[Path], list[Path]], lists: bool, split: str
) -> None:
    layouts.write_flowers(tmp_path / "f")
    if lists:
        layouts.write_text(tmp_path / "f/cvpr2016_flowers/testclasses.txt", "class_00006\n")
    data = prepare_flowers(tmp_path / "out", archives=pack(tmp_path / "f"), image_size=16, progress=False)
    assert len(data.classes) == 102
    first = data.items[0]
    assert (first.id, first.class_id, first.split, first.box) == ("image_00001", 4, split, None)
    assert first.captions == ("a pink flower",)


def test_flowers_with_the_captions_apart(tmp_path: Path) -> None:
    layouts.write_flowers(tmp_path / "f")
    shutil.move(tmp_path / "f/cvpr2016_flowers", tmp_path / "reed")
    with pytest.raises(DataError, match=r"cvpr2016_flowers\.tar\.gz .* --captions"):
        prepare_flowers(tmp_path / "out", archives=[tmp_path / "f"], progress=False)
    with pytest.raises(DataError, match="browsers only"):
        prepare_flowers(tmp_path / "out", progress=False)
    data = prepare_flowers(
        tmp_path / "out",
        archives=[tmp_path / "f"],
        captions=[tmp_path / "reed"],
        image_size=16,
        progress=False,
    )
    assert len(data) == 2


def test_flowers_without_a_photo_or_with_a_strange_class(tmp_path: Path) -> None:
    layouts.write_flowers(tmp_path / "f")
    layouts.write_text(tmp_path / "f/cvpr2016_flowers/text_c10/class_00103/image_00002.txt", "x\n")
    with pytest.raises(DataError, match="class_00103"):
        prepare_flowers(tmp_path / "out", archives=[tmp_path / "f"], progress=False)
    (tmp_path / "f/jpg/image_00001.jpg").unlink()
    with pytest.raises(DataError, match="image_00001"):
        prepare_flowers(tmp_path / "out", archives=[tmp_path / "f"], progress=False)
    assert not (tmp_path / "out").exists()
