"""The readers of CUB, Oxford-102 and COCO, on miniatures of the official layouts."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from memdriven.data.archive import open_archives
from memdriven.data.coco import prepare_coco
from memdriven.data.cub import TEST_CLASSES, prepare_cub, square_around
from memdriven.data.flowers import prepare_flowers
from memdriven.errors import DataError


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def _photo(path: Path, size: tuple[int, int] = (60, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 150)).save(path)


def _write_cub(root: Path) -> None:
    names = ["001.Auk/Auk_0001_2.jpg", "002.Gull/Gull_0001_3.jpg"]
    for name in names:
        _photo(root / "CUB_200_2011/images" / name)
        text = root / "text_c10" / Path(name).with_suffix(".txt")
        _write(text, f"a bird of {name[:3]}\n\nblack \ufffd wings\n")
    _write(root / "CUB_200_2011/images.txt", "".join(f"{i} {n}\n" for i, n in enumerate(names, 1)))
    _write(root / "CUB_200_2011/image_class_labels.txt", "1 1\n2 2\n")
    _write(root / "CUB_200_2011/bounding_boxes.txt", "1 10.0 10.0 20.0 10.0\n2 0.0 0.0 60.0 40.0\n")
    _write(root / "CUB_200_2011/classes.txt", "1 001.Auk\n2 002.Gull\n")


def _as_folder(root: Path) -> Path:
    return root


def _as_zip(root: Path) -> Path:
    return Path(shutil.make_archive(str(root) + "-packed", "zip", root))


def _as_tgz(root: Path) -> Path:
    return Path(shutil.make_archive(str(root) + "-packed", "gztar", root))


def _as_folder_of_archives(root: Path) -> Path:
    folder = root.parent / "archives"
    for part in list(root.iterdir()):
        shutil.make_archive(str(folder / part.name), "gztar", root, part.name)
    return folder


@pytest.mark.parametrize("pack", [_as_folder, _as_zip, _as_tgz, _as_folder_of_archives])
def test_cub_from_every_packing(tmp_path: Path, pack: Callable[[Path], Path]) -> None:
    _write_cub(tmp_path / "cub")
    data = prepare_cub(pack(tmp_path / "cub"), tmp_path / "out", image_size=24, progress=False)
    assert [(i.id, i.split, i.class_id, i.class_name) for i in data.items] == [
        ("Auk_0001_2", "test", 0, "Auk"), ("Gull_0001_3", "train", 1, "Gull"),
    ]  # fmt: skip
    assert list(data.items[0].captions) == ["a bird of 001", "black wings"]
    assert data.classes == ["Auk", "Gull"]
    assert all(data.load_image(item).size == (24, 24) for item in data.items)


def test_cub_with_the_captions_apart(tmp_path: Path) -> None:
    _write_cub(tmp_path / "cub")
    shutil.move(tmp_path / "cub/text_c10", tmp_path / "reed/text_c10")
    with pytest.raises(DataError, match="--captions"):
        prepare_cub(tmp_path / "cub", tmp_path / "out", progress=False)
    data = prepare_cub(tmp_path / "cub", tmp_path / "out", captions=tmp_path / "reed",
                       image_size=16, progress=False)  # fmt: skip
    assert len(data) == 2


def test_cub_names_what_is_missing(tmp_path: Path) -> None:
    _write_cub(tmp_path / "cub")
    (tmp_path / "cub/CUB_200_2011/bounding_boxes.txt").write_text("1 10 10 20\n")
    with pytest.raises(DataError, match="box of 4 numbers"):
        prepare_cub(tmp_path / "cub", tmp_path / "out", progress=False)
    (tmp_path / "cub/CUB_200_2011/bounding_boxes.txt").unlink()
    with pytest.raises(DataError, match=r"bounding_boxes\.txt"):
        prepare_cub(tmp_path / "cub", tmp_path / "out", progress=False)
    with pytest.raises(DataError, match="nothing there"):
        prepare_cub(tmp_path / "none", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_the_split_by_species_is_150_to_50() -> None:
    assert len(TEST_CLASSES) == 50
    assert min(TEST_CLASSES) >= 1
    assert max(TEST_CLASSES) <= 200


def test_the_crop_is_a_square_clipped_to_the_image() -> None:
    assert square_around((100.0, 100.0, 40.0, 20.0), (500, 400)) == (90, 80, 150, 140)
    assert square_around((0.0, 0.0, 40.0, 20.0), (500, 400)) == (0, 0, 50, 40)
    for box in np.random.default_rng(0).uniform(1, 200, (50, 4)):
        left, top, right, bottom = square_around(tuple(box), (400, 400))
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 400


def _write_flowers(root: Path, lists: bool) -> None:
    for number, image in ((5, 1), (6, 2)):
        _photo(root / f"jpg/image_{image:05d}.jpg")
        _write(root / f"text_c10/class_{number:05d}/image_{image:05d}.txt", "a pink flower\n")
    if lists:
        _write(root / "testclasses.txt", "class_00006\n")


@pytest.mark.parametrize(("lists", "split"), [(True, "train"), (False, "test")])
def test_flowers(tmp_path: Path, lists: bool, split: str) -> None:
    _write_flowers(tmp_path / "f", lists)
    data = prepare_flowers(tmp_path / "f", tmp_path / "out", image_size=16, progress=False)
    assert len(data.classes) == 102
    first = data.items[0]
    assert (first.id, first.class_id, first.split) == ("image_00001", 4, split)


def test_flowers_without_captions_or_photos(tmp_path: Path) -> None:
    _write_flowers(tmp_path / "f", lists=False)
    (tmp_path / "f/jpg/image_00001.jpg").unlink()
    with pytest.raises(DataError, match="image_00001"):
        prepare_flowers(tmp_path / "f", tmp_path / "out", progress=False)
    shutil.rmtree(tmp_path / "f/text_c10")
    with pytest.raises(DataError, match="captions"):
        prepare_flowers(tmp_path / "f", tmp_path / "out", progress=False)


def _write_coco(root: Path) -> None:
    for part, number in (("train2014", 9), ("val2014", 42)):
        name = f"COCO_{part}_{number:012d}.jpg"
        _photo(root / part / name)
        content = {
            "images": [{"id": number, "file_name": name}, {"id": 99, "file_name": "no.jpg"}],
            "annotations": [{"image_id": number, "caption": f"scene {n}\n"} for n in range(5)],
        }
        _write(root / f"annotations/captions_{part}.json", json.dumps(content))


@pytest.mark.parametrize("pack", [_as_folder, _as_zip, _as_folder_of_archives])
def test_coco(tmp_path: Path, pack: Callable[[Path], Path]) -> None:
    _write_coco(tmp_path / "coco")
    data = prepare_coco(pack(tmp_path / "coco"), tmp_path / "out", image_size=16, progress=False)
    assert [(i.id, i.split, len(i.captions)) for i in data.items] == [
        ("train2014-000000000009", "train", 5), ("val2014-000000000042", "test", 5),
    ]  # fmt: skip
    assert data.items[0].class_id is None


def test_coco_with_damaged_annotations_or_missing_photos(tmp_path: Path) -> None:
    _write_coco(tmp_path / "coco")
    shutil.rmtree(tmp_path / "coco/val2014")
    with pytest.raises(DataError, match="whole of val2014"):
        prepare_coco(tmp_path / "coco", tmp_path / "out", progress=False)
    _write(tmp_path / "coco/annotations/captions_train2014.json", '{"images": 3')
    with pytest.raises(DataError, match="annotations again"):
        prepare_coco(tmp_path / "coco", tmp_path / "out", progress=False)


def test_hostile_and_damaged_archives(tmp_path: Path) -> None:
    _write(tmp_path / "secret.txt", "secret")
    with tarfile.open(tmp_path / "outside.tar", "w") as tar:
        tar.add(tmp_path / "secret.txt", arcname="../../secret.txt")
    with pytest.raises(DataError, match="outside"), open_archives(tmp_path / "outside.tar"):
        pass
    (tmp_path / "text.tgz").write_text("not packed")
    with pytest.raises(DataError, match="neither"), open_archives(tmp_path / "text.tgz"):
        pass
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as content:
        content.writestr("a/b.txt", "0123456789" * 10)
    packed = bytearray((tmp_path / "a.zip").read_bytes())
    packed[45] ^= 255
    (tmp_path / "a.zip").write_bytes(packed)
    with open_archives(tmp_path / "a.zip") as files:
        assert files.names == ["a/b.txt"]
        assert "a/b.txt" in files
        with pytest.raises(DataError, match="damaged"):
            files.read("a/b.txt")
        with pytest.raises(DataError, match="no such file"):
            files.text("c.txt")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/link.txt").symlink_to(tmp_path / "secret.txt")
    with open_archives(tmp_path / "folder") as files:
        assert files.names == []
