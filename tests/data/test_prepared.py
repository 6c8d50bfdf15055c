from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from memdriven.data.prepared import Item, PreparedDataset, write_prepared
from memdriven.errors import DataError
from tests.small_world import write_world


def test_what_is_written_is_read(tmp_path: Path) -> None:
    items = write_world(tmp_path, train=4, test=2)
    data = PreparedDataset.open(tmp_path)
    assert data.items == items
    assert (data.name, data.image_size, data.classes) == ("small-world", 64, ["square", "disc"])
    assert len(data) == 6
    assert [item.id for item in data.split("test")] == ["test-004", "test-005"]
    assert data.header["counts"] == {"train": 4, "test": 2}
    image = data.load_image(items[0])
    assert (image.mode, image.size) == ("RGB", (64, 64))


def test_an_item_keeps_its_noise_and_memory(tmp_path: Path) -> None:
    (item, *_) = write_world(tmp_path, train=1, test=0)
    asked = dataclasses.replace(item, id="b", memory=item.id, noise=(0.5, None, -2.25), box=(1, 2.5, 3, 4))
    write_prepared(tmp_path, name="x", items=[item, asked], classes=["square"], image_size=64)
    assert PreparedDataset.open(tmp_path).items == [item, asked]


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    write_world(tmp_path, train=4, test=2)
    with pytest.raises(DataError, match="train, test"):
        PreparedDataset.open(tmp_path).split("validation")


def test_a_foreign_or_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.json"):
        PreparedDataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text('{"schema": "other/3"}')
    with pytest.raises(DataError, match="other/3"):
        PreparedDataset.open(tmp_path)


def _item(**changes: object) -> str:
    values = {
        "id": "a",
        "file": "images/train/a.webp",
        "split": "train",
        "class_id": None,
        "class_name": "",
        "captions": ["a bird"],
    }
    return json.dumps({**values, **changes})


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [_item()],  # the header counts two
        [_item(), _item()],  # the same id twice
        [_item(), "{"],
        [_item(), "[1]"],
        [_item(), '{"id": "b"}'],
        [_item(), _item(id="a\nb")],
        [_item(), _item(id="")],
        [_item(), _item(id="b", captions=[])],
        [_item(), _item(id="b", captions="a bird")],
        [_item(), _item(id="b", captions=[3])],
        [_item(), _item(id="b", file="../../secret.webp")],
        [_item(), _item(id="b", file="/etc/passwd")],
        [_item(), _item(id="b", file=7)],
        [_item(), _item(id="b", surprise=1)],
        [_item(), _item(id="b", box=[1, 2, 3])],
        [_item(), _item(id="b", box=[1, 2, 3, "4"])],
        [_item(), _item(id="b", box=7)],
        [_item(), _item(id="b", box=[1, 2, 3, float("nan")])],
        [_item(), _item(id="b", box=[1, 2, 3, 10**400])],
        [_item(), _item(id="b", noise=["x"])],
        [_item(), _item(id="b", noise=7)],
        [_item(), _item(id="b\ud800")],
        [_item(), _item(id="b", class_id=True)],
        [_item(), _item(id="b", class_id=-1)],
        [_item(), _item(id="b", class_id=10**30)],
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, lines: list[str]) -> None:
    header = {
        "schema": "memdriven.dataset/1",
        "name": "x",
        "image_size": 64,
        "counts": {"train": 2},
        "classes": [],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(header))
    (tmp_path / "items.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError):
        PreparedDataset.open(tmp_path)


def test_what_an_editor_makes_of_a_table_is_read(tmp_path: Path) -> None:
    write_world(tmp_path, train=2, test=1)
    table = tmp_path / "items.jsonl"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n\r\n") + b" \r\n")
    assert len(PreparedDataset.open(tmp_path)) == 3


def test_a_missing_table(tmp_path: Path) -> None:
    write_world(tmp_path, train=2, test=1)
    (tmp_path / "items.jsonl").unlink()
    with pytest.raises(DataError, match=r"items\.jsonl"):
        PreparedDataset.open(tmp_path)


def test_nothing_is_written_for_bad_items(tmp_path: Path) -> None:
    item = Item(id="a", split="train", captions=[])
    with pytest.raises(DataError, match="without a caption"):
        write_prepared(tmp_path, name="x", items=[item], classes=[], image_size=64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        {"image_size": "x"},
        {"image_size": 1e999},
        {"image_size": True},
        {"classes": None},
        {"classes": [7]},
        {"name": 7},
    ],
)
def test_a_header_of_other_types_is_refused(tmp_path: Path, damage: dict[str, object]) -> None:
    write_world(tmp_path / "set", train=2, test=1)
    header = tmp_path / "set" / "dataset.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | damage))
    with pytest.raises(DataError, match=r"dataset\.json"):
        PreparedDataset.open(tmp_path / "set")
