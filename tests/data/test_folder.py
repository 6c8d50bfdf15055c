from __future__ import annotations

import csv
import io
import json
import re
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from memdriven.data.folder import prepare_folder
from memdriven.data.prepared import PreparedDataset
from memdriven.errors import DataError


def _source(folder: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (50 + number, 40), (200, 30 * number % 256, 30)).save(path)
    return folder


def _jsonl(path: Path, rows: list[Any]) -> None:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))


def _prepare(source: Path, out: Path, **options: Any) -> PreparedDataset:
    return prepare_folder(source, out, image_size=32, **options)


def test_captions_as_text_lists_and_several_rows(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png", "sub/b c.jpg", "plain.png"])
    _jsonl(
        source / "metadata.jsonl",
        [
            {"file_name": "a.png", "text": "a red  square"},
            "",
            {"file_name": "sub/b c.jpg", "text": ["one", "two"], "extra": 1},
            {"file_name": "a.png", "text": ["a red square", "again"]},
        ],
    )
    data = _prepare(source, tmp_path / "out", test_fraction=0.0)
    assert {item.id: list(item.captions) for item in data.items} == {
        "a": ["a red square", "again"],
        "sub-b-c": ["one", "two"],
    }
    assert data.header["counts"] == {"train": 2}
    left_out = "1 image without a caption left out, e.g. plain.png"
    assert data.header["notes"] == [left_out, "1 column not read: extra"]
    assert all(data.load_image(item).size == (32, 32) for item in data.items)
    assert all(item.class_id is None for item in data.items)
    pixel = np.asarray(data.load_image(data.items[0]))[16, 16].astype(int)
    assert np.abs(pixel - (200, 0, 30)).max() < 10


def test_a_picture_of_very_many_rows(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    (source / "metadata.csv").write_text(
        "file_name,text\n" + "".join(f"a.png,red {n}\n" for n in range(9000))
    )
    assert len(_prepare(source, tmp_path / "out").items[0].captions) == 9000


def test_csv_with_splits_and_classes(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png", "b.png", "c.png"])
    with (source / "metadata.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file_name", "text", "split", "class"])
        writer.writerow(["a.png", "red, and small", "train", "gull"])
        writer.writerow(["a.png", "another", "", ""])
        writer.writerow(["b.png", "blue", "Testing", "auk"])
        writer.writerow(["c.png", "green", "val", "gull"])
    data = _prepare(source, tmp_path / "out")
    facts = [(item.id, item.split, item.class_id, item.class_name) for item in data.items]
    assert facts == [("a", "train", 1, "gull"), ("b", "test", 0, "auk"), ("c", "validation", 1, "gull")]
    assert data.classes == ["auk", "gull"]
    assert list(data.items[0].captions) == ["red, and small", "another"]


def test_split_folders_with_their_own_or_one_common_file(tmp_path: Path) -> None:
    source = _source(tmp_path / "own", ["train/a.png", "test/a.png"])
    for split in ("train", "test"):
        _jsonl(source / split / "metadata.jsonl", [{"file_name": "a.png", "text": split}])
    own = _prepare(source, tmp_path / "out1")
    assert [(i.id, i.split) for i in own.items] == [("test-a", "test"), ("train-a", "train")]
    source = _source(tmp_path / "common", ["train/a.png", "test/a.png"])
    rows = [{"file_name": f"{split}/a.png", "text": split} for split in ("train", "test")]
    _jsonl(source / "metadata.jsonl", rows)
    common = _prepare(source, tmp_path / "out2")
    assert [(i.id, i.split) for i in common.items] == [("train-a", "train"), ("test-a", "test")]


def test_a_test_split_is_drawn_by_the_seed(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", [f"{n}.png" for n in range(20)])
    _jsonl(source / "metadata.jsonl", [{"file_name": f"{n}.png", "text": "x"} for n in range(20)])

    def drawn(seed: int) -> set[str]:
        data = _prepare(source, tmp_path / "out", test_fraction=0.2, seed=seed)
        return {item.id for item in data.split("test")}

    assert len(drawn(1)) == 4
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_names_that_differ_only_in_their_ending_get_their_own_ids(tmp_path: Path) -> None:
    names = ["a.png", "a.bmp", "A.gif", "é.png", "ü.png"]
    source = _source(tmp_path / "src", names)
    _jsonl(source / "metadata.jsonl", [{"file_name": n, "text": n} for n in names])
    data = _prepare(source, tmp_path / "out", test_fraction=0.0)
    assert len({item.id.lower() for item in data.items}) == 5
    assert all(data.load_image(item) for item in data.items)


GOOD = {"file_name": "a.png", "text": "fine"}
FAULTS = [
    (["{"], "line 1"),
    (["[1]"], "an object with file_name and text.*line 1"),
    ([{"text": "x"}], "file_name"),
    ([{"file_name": "../secret.png", "text": "x"}], "inside the folder"),
    ([{"file_name": "..\\secret.png", "text": "x"}], "inside the folder"),
    ([{"file_name": "/etc/passwd", "text": "x"}], "inside the folder"),
    ([{"file_name": "C:/b.png", "text": "x"}], "inside the folder"),
    ([{"file_name": "https://example.org/b.png", "text": "x"}], "inside the folder"),
    ([{"file_name": "a\0.png", "text": "x"}], "no such file"),
    ([{"file_name": "link.png", "text": "x"}], "lead out of the folder"),
    ([{"file_name": "gone.png", "text": "x"}], "no such file"),
    ([{"file_name": "ab.png", "text": "x"}], r"is a\.png meant\?"),
    ([{"file_name": "n" * 5000 + ".png", "text": "x"}], "no such file"),
    ([{"file_name": "\ud800.png", "text": "x"}], "no such file"),
    ([{"file_name": "sub", "text": "x"}], "no such file"),
    ([{"file_name": "broken.png", "text": "x"}], r"broken\.png"),
    ([{**GOOD, "split": "holdout"}], "holdout"),
    ([{**GOOD, "split": "train"}, {**GOOD, "split": "test"}], "agree"),
    ([{**GOOD, "class": "x"}, {**GOOD, "class": "y"}], "one class"),
    ([{**GOOD, "class": 1.5}], "class name"),
    (['{"file_name": "a.png", "text": "x", "class": ' + "9" * 5000 + "}"], "line 1"),
    ([{**GOOD, "box": [1, 2, 3]}], "box of 4 numbers"),
    ([{**GOOD, "box": 7}], "box of 4 numbers"),
    ([{**GOOD, "box": [10**400, 1, 1, 1]}], "beyond every number"),
    ([{**GOOD, "box": [10**7, 1, 1, 1]}], "box of 4 numbers"),
    (['{"file_name": "a.png", "text": "x", "box": [NaN, 1, 1, 1]}'], "line 1"),
    ([{**GOOD, "box": [60, 0, 10, 10]}], "within the 50 x 40 px"),
    ([{**GOOD, "box": [0, 0, 0, 10]}], "within the 50 x 40 px"),
    ([{**GOOD, "box": [0.1, 0.1, 0.5, 0.5]}], "give the box in px"),
    ([{**GOOD, "split": "test"}], "'train'"),
    ([], r"no row in metadata\.jsonl"),
    ([{"file_name": "a.png", "prompt_text": "x"}], "the columns file_name, prompt_text"),
    ([{"file_name": "a.png", "text": []}], "1 row without a caption"),
    ([{"file_name": "a.png", "text": "  "}], "1 row without a caption"),
    ([{"file_name": "a.png", "text": "x" * 10_000}], "1 caption left out: longer than 2,000"),
    ([{"file_name": "a.png", "text": " ?! "}], "1 caption left out: without a word"),
]


@pytest.mark.parametrize(("rows", "message"), FAULTS)
def test_faults_are_named_and_leave_nothing(tmp_path: Path, rows: list[Any], message: str) -> None:
    source = _source(tmp_path / "src", ["a.png", "sub/b.png"])
    (source / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    _source(tmp_path, ["secret.png"])
    (source / "link.png").symlink_to(tmp_path / "secret.png")
    _jsonl(source / "metadata.jsonl", rows)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=message) as caught:
        _prepare(source, tmp_path / "out")
    assert str(caught.value).encode(), "it can be printed"
    assert sorted(tmp_path.rglob("*")) == before


def test_all_faults_are_told_at_once_or_left_out(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png", "b.png"])
    (source / "broken.png").write_bytes(b"no picture")
    rows = [
        GOOD,
        {"file_name": "gone.png", "text": "x"},
        "{",
        {"file_name": "b.png", "text": "x", "split": "y"},
    ]
    _jsonl(source / "metadata.jsonl", [*rows, {"file_name": "broken.png", "text": "x"}])
    with pytest.raises(DataError, match="4 faults") as caught:
        _prepare(source, tmp_path / "out")
    for line in ("line 2", "line 3", "line 4", "broken.png"):
        assert line in caught.value.found
    assert "--skip-faults" in caught.value.fix
    data = _prepare(source, tmp_path / "out", skip_faults=True, test_fraction=0.0)
    assert [item.id for item in data.items] == ["a", "b"]
    told = " ".join(data.header["notes"])
    assert "3 faulty rows" in told
    assert "1 image left out" in told


def test_pictures_without_a_usable_caption_are_left_out_and_told(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png", "b.png", "c.png", "d.png", "e.png"])
    texts = ["red", "", "🍎", "x" * 3000]
    _jsonl(source / "metadata.jsonl", [{"file_name": f"{n}.png", "text": t} for n, t in zip("abcd", texts)])
    data = _prepare(source, tmp_path / "out", test_fraction=0.0)
    assert [item.id for item in data.items] == ["a"]
    assert data.header["notes"] == [
        "1 row without a caption, e.g. b.png (the columns file_name, text)",
        "1 caption left out: without a word, e.g. c.png",
        "1 caption left out: longer than 2,000 characters, e.g. d.png",
        "4 images without a caption left out, e.g. b.png",
    ]


TABLES = {
    "semicolons": ("metadata.csv", "file_name;text\na.png;a red bird, small\n"),
    "tabs": ("metadata.tsv", "file_name\ttext\na.png\ta red bird, small\n"),
    "bars": ("metadata.csv", "file_name|text\na.png|a red bird, small\n"),
    "blanks in the header": ("metadata.csv", 'File Name, Text\na.png,"a red bird, small"\n'),
    "names of other tools": ("captions.csv", 'image,prompt\na.png,"a red bird, small"\n'),
    "no header": ("data.csv", 'a.png,"a red bird, small"\n'),
    "Excel": ("metadata.csv", "\ufeffsep=;\r\nfile_name;text\r\na.png;a red bird, small\r\n"),
    "UTF-16": ("metadata.csv", "file_name\ttext\r\na.png\ta red bird, small\r\n"),
    "an object of captions": ("captions.json", '{"a.png": "a red bird, small"}'),
    "a list of objects": ("metadata.json", '[{"file": "a.png", "description": "a red bird, small"}]'),
    "COCO's lists": (
        "captions.json",
        '{"images": [{"id": 7, "file_name": "a.png"}], '
        '"annotations": [{"image_id": 7, "caption": "a red bird, small"}]}',
    ),
    "numbered columns": ("metadata.csv", 'image,caption 1,caption 2\na.png,"a red bird, small",\n'),
    "a number behind the name": ("captions.txt", "image|caption\na.png#0|a red bird, small\n"),
    "text beside the picture": ("a.txt", "a red bird, small\n\n"),
    "lines that end as once on a Mac": ("metadata.csv", "file_name;text\ra.png;a red bird, small\r"),
    "JSON lines that end so": (
        "metadata.jsonl",
        '{"file_name": "a.png", "text": "a red bird, small"}\r{"file_name": "a.png", "text": ""}',
    ),
    "UTF-16 without a mark": ("metadata.csv", "\0file_name;text\na.png;a red bird, small\n"),
    "two marks": ("metadata.csv", "\ufeff\ufefffile_name;text\na.png;a red bird, small\n"),
    "a blank before a quote": ("metadata.csv", 'file_name, text\na.png, "a red bird, small"\n'),
    "separators at the end": ("metadata.csv", "file_name;text\na.png;a red bird, small;;\n"),
    "one column twice": ("metadata.csv", "file_name;text;text\na.png;a red bird, small;NULL\n"),
    "a quoted separator": ("metadata.csv", '"sep=;"\nfile_name;text\na.png;a red bird, small\n'),
    "numbers and no header": ("captions.txt", "a.png#0\ta red bird, small\na.png#1\tnan\n"),
    "no ending": ("metadata.csv", "file_name;text\na;a red bird, small\n"),
    "a list in JSON lines": ("metadata.jsonl", '[{"file_name": "a.png", "text": "a red bird, small"}]'),
    "JSON lines called JSON": (
        "metadata.json",
        '{"file_name": "a.png", "text": "a red bird, small"}\n{"file_name": "a.png", "text": null}',
    ),
    "columns in JSON": ("metadata.json", '{"image": ["a.png"], "text": ["a red bird, small"]}'),
    "columns by number": ("metadata.json", '{"image": {"0": "a.png"}, "text": {"0": "a red bird, small"}}'),
    "columns and a number": (
        "metadata.json",
        '{"version": 1, "image": ["a.png"], "text": ["a red bird, small"], "class": null}',
    ),
    "one picture's object": (
        "metadata.json",
        '{\n  "file_name": "a.png",\n  "text": ["a red bird, small"]\n}',
    ),
    "fields left blank": (
        "metadata.jsonl",
        '{"file_name": "a.png", "text": "a red bird, small", "class": "", "box": " ", "split": ""}',
    ),
    "objects by name": ("metadata.json", '{"a.png": {"tags": "a red bird, small", "score": 1}}'),
    "Karpathy's splits": (
        "captions.json",
        '{"images": [{"filename": "a.png", "split": "restval", '
        '"sentences": [{"raw": "a red bird, small", "tokens": ["a"]}]}]}',
    ),
    "a zero in a caption": ("metadata.jsonl", '{"file_name": "a.png", "text": "a red\\u0000bird, small"}'),
    "text of another program beside": ("a.png.txt", "\0a red bird, small"),
    "Flickr8k's": ("Flickr8k.token.txt", "a.png#0\ta red bird, small\n"),
    "COCO's own name": (
        "captions_val2017.json",
        '{"info": {}, "images": [{"id": 7, "file_name": "a.png"}], '
        '"annotations": [{"image_id": 7, "caption": "a red bird, small"}]}',
    ),
    "kohya's": ("meta_cap.json", '{"a": {"caption": "a red bird, small"}}'),
    "ids and titles": ("data.csv", "Image ID;Title\na;a red bird, small\n"),
    "words run together": ("data.csv", "imagePath;captionText\na.png;a red bird, small\n"),
    "paths": ("data.csv", "filepath;caption text\na.png;a red bird, small\n"),
    "an object over several lines": (
        "metadata.jsonl",
        '{\n "file_name": "a.png",\n "text": "a red bird, small"\n}\n{\n "file_name": "a.png"\n}',
    ),
    "a list over several lines": (
        "metadata.jsonl",
        '[\n  {\n    "file_name": "a.png",\n    "text": "a red bird, small"\n  },\n]\n',
    ),
    "captions by name over several lines": ("metadata.jsonl", '{\n "a.png": "a red bird, small"\n}'),
    "objects behind one another": (
        "metadata.jsonl",
        '{"file_name": "a.png", "text": "a red bird, small"}, {"file_name": "a.png", "text": ""}',
    ),
    "lists of file and caption": ("metadata.jsonl", '["a.png", "a red bird, small"]\n'),
    "an ending that Windows hides": ("metadata.csv.txt", "file_name;text\na.png;a red bird, small\n"),
    "JSON lines whose ending it hides": (
        "metadata.jsonl.txt",
        '{"file_name": "a.png", "text": "a red bird, small"}',
    ),
    "other endings": ("captions.tab", "file_name\ttext\na.png\ta red bird, small\n"),
    "the header again": ("metadata.csv", "file_name;text\na.png;a red bird, small\nfile_name;text\n"),
    "a remark above": ("metadata.csv", "# mine\nfile_name;text\na.png;a red bird, small\n"),
    "remarks in the header": ("metadata.csv", "File Name (png);Caption [en]\na.png;a red bird, small\n"),
    "a table of Markdown": (
        "captions.txt",
        "| file_name | text |\n|---|:--|\n| a.png | a red bird, small |\n",
    ),
    "JSON beside the picture": ("a.json", '{"seed": 1, "caption": "a red bird, small"}'),
    "a list in JSON beside the picture": ("a.json", '["a red bird, small"]'),
    "another ending of the picture": ("metadata.csv", "file_name;text\na.jpg;a red bird, small\n"),
    "HTML's names of letters": ("metadata.csv", "file_name|text\na&#46;png|a red&nbsp;bird&#44; small\n"),
    "UTF-8 read as Windows' letters": ("a.txt", "a red\u00c2\u00a0bird, small"),
    "and as those of Latin-1": ("a.txt", "a red\u00e2\x80\x89bird, small"),
    "and as Windows has none for": ("a.txt", "a red\u00e2\u20ac\x81bird, small"),
    "and twice": ("a.txt", "a red\u00c3\u201a\u00c2\u00a0bird&amp;#44; small"),
    "an address": ("metadata.csv", "image;text\nhttps://x.example/p/a.png?w=3;a red bird, small\n"),
    "a path of Windows": ("data.csv", "filepath;title\nC:\\Users\\me\\a.png;a red bird, small\n"),
    "a path of elsewhere": ("data.csv", "filepath;title\n/content/drive/set/a.png;a red bird, small\n"),
    "an index of pandas": ("data.csv", "Unnamed: 0;image;caption\n0;a.png;a red bird, small\n"),
    "a name in single quotes": ("metadata.csv", "file_name;text\n'a.png';a red bird, small\n"),
    "wide letters": ("metadata.csv", "file_name;text\n\uff41.png;a red bird, small\n"),
    "a backslash and a dot": ("metadata.csv", 'file_name,text\n.\\A.PNG,"a red bird, small"\n'),
}


@pytest.mark.parametrize(("name", "text"), TABLES.values(), ids=TABLES)
def test_tables_as_people_make_them(tmp_path: Path, name: str, text: str) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    encoding = "utf-16" if "\ttext\r" in text else "utf-16-be" if text[0] == "\0" else "utf-8"
    (source / name).write_bytes(text.lstrip("\0").encode(encoding))
    data = _prepare(source, tmp_path / "out")
    assert [(item.id, *item.captions) for item in data.items] == [("a", "a red bird, small")]


@pytest.mark.parametrize(("kind", "ending"), [("bztar", ".tbz2"), ("xztar", ".txz"), ("gztar", ".tgz")])
def test_a_tar_of_any_ending_holds_the_pictures_beside_a_table(
    tmp_path: Path, kind: str, ending: str
) -> None:
    packed = shutil.make_archive(str(tmp_path / "packed"), kind, _source(tmp_path / "images", ["a.png"]))
    (tmp_path / "src").mkdir()
    (tmp_path / "src/metadata.csv").write_text("file_name,text\na.png,red\n")
    Path(packed).rename(tmp_path / f"src/images{ending}")
    assert len(_prepare(tmp_path / "src", tmp_path / "out")) == 1


@pytest.mark.parametrize("name", ["captions.ndjson", "captions.TAB", "Flickr8k.token", "a.caption"])
def test_every_table_and_text_is_found_in_a_tar(tmp_path: Path, name: str) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    rows = '{"file_name": "a.png", "text": "red"}' if "json" in name else "a.png\tred"
    (source / name).write_text("red" if name == "a.caption" else rows)
    packed = shutil.make_archive(str(tmp_path / "packed"), "tar", source)
    assert _prepare(Path(packed), tmp_path / "out").items[0].captions == ("red",)


def test_json_that_lists_no_pictures_is_no_table(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    (source / "a.txt").write_text("a red bird")
    (source / "a.json").write_text('{"file_name": "a.png", "caption": "of another program"}')
    (source / "dataset_info.json").write_text('{"version": "1.0", "size": 3}')
    (source / "workflow.json").write_text("{")
    assert _prepare(source, tmp_path / "out").items[0].captions == ("a red bird",)
    (source / "metadata.csv").write_text("file_name;text\na.png;a blue bird\n")
    (source / "all.json").write_text('{"a.png": "a green bird"}')
    assert _prepare(source, tmp_path / "out").items[0].captions == ("a blue bird",)


def test_tables_of_something_else_are_told_where_texts_lie_beside_the_pictures(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    (source / "loss.csv").write_text("step,loss\n1,0.5\n")
    (source / "scores.tsv").write_text("step\tscore\n1\t0.5\n")
    with pytest.raises(DataError, match=r"(?s)2 faults.*loss\.csv.*step, loss.*scores\.tsv.*step, score"):
        _prepare(source, tmp_path / "out")
    (source / "a.txt").write_text("a red bird")
    data = _prepare(source, tmp_path / "out")
    assert data.items[0].captions == ("a red bird",)
    assert data.header["notes"] == [
        "2 tables without columns of file names and captions not read, e.g. loss.csv"
    ]
    (source / "labels.csv").write_text("image,caption\na.png,a blue bird\n")
    assert _prepare(source, tmp_path / "out").items[0].captions == ("a blue bird",)
    (source / "more.csv").write_text("image,caption\na.png,a green bird\n")
    with pytest.raises(DataError, match=r"one table .*labels\.csv and more\.csv"):
        _prepare(source, tmp_path / "out")


def test_a_table_for_each_split(tmp_path: Path) -> None:
    """As COCO 2017 has them, and whoever cuts a table into train.csv and test.csv."""
    source = _source(tmp_path / "src", ["img/1.png", "img/2.png", "img/3.png"])
    for number, name in enumerate(("train", "val", "test"), 1):
        (source / f"{name}.csv").write_text(f"image,caption\n{number}.png,a bird {number}\n")
    found = {item.captions[0]: item.split for item in _prepare(source, tmp_path / "out").items}
    assert found == {"a bird 1": "train", "a bird 2": "validation", "a bird 3": "test"}
    coco = _source(tmp_path / "coco", ["train2017/01.png", "val2017/02.png"])
    (coco / "annotations").mkdir()
    for number, part in ((1, "train2017"), (2, "val2017")):
        image = {"id": number, "file_name": f"0{number}.png"}
        content = {"images": [image], "annotations": [{"image_id": number, "caption": f"a cat {number}"}]}
        (coco / f"annotations/captions_{part}.json").write_text(json.dumps(content))
    items = _prepare(coco, tmp_path / "coco-out", test_fraction=0.0).items
    assert [(item.split, item.captions[0]) for item in items] == [
        ("train", "a cat 1"),
        ("validation", "a cat 2"),
    ]


def test_annotations_in_a_folder_of_their_own(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["val2017/000000000042.png"])
    images, place = [{"id": 42, "file_name": "000000000042.png"}], source / "annotations"
    place.mkdir()
    for kind, said in (("instances", {"bbox": [1, 2, 3, 4]}), ("captions", {"caption": "a red bird"})):
        content = {"images": images, "annotations": [{"image_id": 42, **said}]}
        (place / f"{kind}_val2017.json").write_text(json.dumps(content))
    assert _prepare(source, tmp_path / "out").items[0].captions == ("a red bird",)
    content["annotations"].append({"image_id": 7, "caption": "of another"})
    (place / "captions_val2017.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"the image 7 of .*line 2; found: no such file"):
        _prepare(source, tmp_path / "out")


def test_lists_called_after_splits_are_splits(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png", "b.png"])
    rows = {"train": [{"image": "a.png", "text": "red"}], "test": [{"image": "b.png", "text": "blue"}]}
    (source / "data.json").write_text(json.dumps(rows))
    assert [item.split for item in _prepare(source, tmp_path / "out").items] == ["train", "test"]


@pytest.mark.parametrize("empty", ["nan", "NULL", "<NA>", "\\N", "#N/A"])
def test_what_programs_write_into_empty_fields_is_empty(tmp_path: Path, empty: str) -> None:
    source = _source(tmp_path / "src", ["a.png", "b.png"])
    (source / "metadata.csv").write_text(
        f"file_name,text,split,class,box\na.png,red,{empty},{empty},{empty}\nb.png,{empty},,,\n"
    )
    data = _prepare(source, tmp_path / "out")
    assert [(item.id, item.class_id, item.box) for item in data.items] == [("a", None, None)]
    assert (
        data.header["notes"][0]
        == "1 row without a caption, e.g. b.png (the columns file_name, text, split, class, box)"
    )


def test_what_is_read_otherwise_is_told(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    Image.new("RGB", (400, 40), "red").save(source / "b.png")
    Image.new("RGB", (8, 8), "blue").save(source / "c.png")
    others = [Image.new("RGB", (40, 40), "green")]
    Image.new("RGB", (40, 40), "red").save(source / "d.gif", save_all=True, append_images=others)
    (source / "e.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    rows = [{"file_name": name, "text": "a bird"} for name in ("a.png", "b.png", "c.png", "d.gif")]
    first = {**rows[0], "prompt": "another", "class": 2.0, "is_train": 1, "score": 0.5}
    _jsonl(source / "metadata.jsonl", [first, *rows[1:]])
    data = _prepare(source, tmp_path / "out", test_fraction=0.0)
    assert data.classes == ["2"]
    assert data.header["notes"] == [
        "1 row whose caption is read in the column text (not in prompt), e.g. a.png",
        "1 image of a format that is not read left out (save as JPEG or PNG), e.g. e.HEIC",
        "2 columns not read: is_train, score",
        "1 image of several frames, of which the first is read, e.g. d.gif",
        "1 image cropped to less than half, their middle (--fit pad keeps the whole), e.g. b.png",
        "1 image enlarged to more than twice their size, e.g. c.png",
    ]
    padded = _prepare(source, tmp_path / "padded", test_fraction=0.0, fit="pad")
    assert "--fit" not in " ".join(padded.header["notes"])
    _jsonl(source / "metadata.jsonl", [*rows, {"file_name": "e.heic", "text": "a bird"}])
    with pytest.raises(DataError, match=r"format that is read .*line 5.*e\.HEIC.*JPEG or PNG"):
        _prepare(source, tmp_path / "refused")


FOREIGN = {
    "metadata.yaml": (
        b"- file_name: a.png\n",
        r"metadata\.yaml is YAML.*write its captions as metadata\.csv",
    ),
    "train-00000-of-00001.parquet": (b"PAR1", r"parquet is a table or database in binary form"),
    "captions.ods": (b"PK\3\4", r"captions\.ods is a spreadsheet: save it as CSV"),
    "images.rar": (
        b"Rar!\x1a\7\1\0",
        r"1 archive not opened \(unpack it and give the folder\), e\.g\. images",
    ),
    "sub/images.zip": (b"PK\3\4", r"1 archive not opened .* e\.g\. sub/images\.zip"),
    "metadata.csv": (
        b"PAR1\xff",
        "UTF-8 text in .*metadata\\.csv; found: a table or database in binary form",
    ),
}


@pytest.mark.parametrize(("name", "content", "wanted"), [(n, *each) for n, each in FOREIGN.items()])
def test_files_of_other_kinds_are_named(tmp_path: Path, name: str, content: bytes, wanted: str) -> None:
    source = _source(tmp_path / "src", ["a.png", "sub/b.png"])
    (source / name).write_bytes(content)
    with pytest.raises(DataError, match=wanted):
        _prepare(source, tmp_path / "out")
    if name.endswith((".rar", ".zip")):
        (source / "metadata.csv").write_text("file_name,text\nc.png,a red bird\n")
        with pytest.raises(DataError, match=rf"no such file.*{name} is not opened: unpack it"):
            _prepare(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("a.HEIC", "save it as JPEG or PNG"),
        ("train-00000.parquet", "metadata.csv"),
        ("README", "check the path"),
    ],
)
def test_without_a_picture_no_captions_are_asked_for(tmp_path: Path, name: str, fix: str) -> None:
    source = _source(tmp_path / "src", [])
    source.mkdir()
    (source / name).write_bytes(b"x")
    with pytest.raises(DataError, match="pictures in") as caught:
        _prepare(source, tmp_path / "out", captions_from_names=True)
    assert fix in caught.value.fix
    assert name in caught.value.found
    assert "captions-from-names" not in caught.value.fix


def test_json_that_is_broken_is_a_fault_a_value(tmp_path: Path) -> None:
    source, table = _source(tmp_path / "src", ["a.png"]), tmp_path / "src" / "metadata.json"
    row = '{\n  "file_name": "a.png",\n  "text": "red"\n}'
    for text, lines in (
        (f"[{row},\n{{'file_name': 'a.png',\n  'text': 'blue'}},\n{row}]", [5]),
        (f"{row[:-3]}\n{row}\nnonsense\n// a remark\n{row}", [1, 8, 9]),
        (f"[{row},\n{row}", [8]),  # cut short
    ):
        table.write_text(text)
        with pytest.raises(DataError) as caught:
            _prepare(source, tmp_path / "out")
        assert [int(n) for n in re.findall(r"(?:json,|likewise) line (\d+)", str(caught.value))] == lines
        assert _prepare(source, tmp_path / "out", skip_faults=True).items[0].captions == ("red",)


def test_what_old_programs_write_behind_a_text_is_no_row(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    (source / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "red"}\n\0\x1a')
    assert _prepare(source, tmp_path / "out").items[0].captions == ("red",)


def test_what_is_wrong_with_all_rows_is_said_once(tmp_path: Path) -> None:
    """As where a program wrote its own form in place of JSON, over several lines a row."""
    source = _source(tmp_path / "src", ["a.png"])
    for row in (
        "{\n'file_name': 'a.png',\n'text': 'red'\n}\n",
        "{'file_name': 'a.png', 'text': 'red'}\n\n\n\n",
    ):
        (source / "metadata.jsonl").write_text(30 * row)
        with pytest.raises(DataError) as caught:
            _prepare(source, tmp_path / "out")
        told = caught.value.found
        assert told.startswith("30 faults:")
        assert told.count("double quotes") == 1
        assert "likewise line 5, line 9, line 13" in told
        assert told.endswith("and 9 more")
    (source / "metadata.jsonl").unlink()
    (source / "captions.txt").write_text("- file_name: a.png\n  text: red\n")
    with pytest.raises(DataError, match=r"captions\.txt; found: YAML.*as metadata\.csv"):
        _prepare(source, tmp_path / "out")


LISTS = {
    "images that are none": (
        '{"images": 3, "annotations": [{"image_id": 1, "caption": "x"}]}',
        r"the image 1 of .*metadata\.json",
    ),
    "columns of unequal length": ('{"image": ["a.png"], "text": ["x", "y"]}', "file_name and text.*line 2"),
    "no column of captions": ('{"image": ["a.png"], "text": null}', "1 row without a caption"),
}


@pytest.mark.parametrize(("text", "wanted"), LISTS.values(), ids=LISTS)
def test_lists_of_another_form_are_told(tmp_path: Path, text: str, wanted: str) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    (source / "metadata.json").write_text(text)
    with pytest.raises(DataError, match=wanted):
        _prepare(source, tmp_path / "out")


def test_a_quote_left_open_does_not_swallow_rows(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png", "b.png", "c.png", "d.png"])
    table = source / "metadata.csv"
    for rows in ('b.png,"a blue bird', 'b.png,"a blue bird”', 'b.png,"a blue bird\nc.png,"a green bird"'):
        table.write_text(f"file_name,text\na.png,red\n{rows}\nd.png,black\n")
        with pytest.raises(DataError, match=r"a quote that is closed.*line 3"):
            _prepare(source, tmp_path / "out")
        data = _prepare(source, tmp_path / "out", skip_faults=True, test_fraction=0.0)
        assert {"a", "d"} <= {item.id for item in data.items}
    table.write_text('file_name,text\na.png,"two lines\nof a ""caption"""\n')
    assert _prepare(source, tmp_path / "out").items[0].captions == ('two lines of a "caption"',)


def test_malformed_csv_and_encodings(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    (source / "metadata.csv").write_text("file_name,text\na.png,red, small\n")
    with pytest.raises(DataError, match=r"line 2.*3 instead of 2.*double quotes"):
        _prepare(source, tmp_path / "out")
    (source / "metadata.csv").write_text("picture;words\na.png;red\n")
    with pytest.raises(DataError, match="picture, words"):
        _prepare(source, tmp_path / "out")
    (source / "metadata.csv").write_bytes("file_name,text\na.png,café\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"UTF-8 text.*line 2"):
        _prepare(source, tmp_path / "out")
    for content in (b"PK\3\4\x14\0\6\0", b"\xd0\xcf\x11\xe0"):
        (source / "metadata.csv").write_bytes(content)
        with pytest.raises(DataError, match="a spreadsheet"):
            _prepare(source, tmp_path / "out")
    (source / "metadata.csv").write_text("file_name,file_name,text\na.png,b.png,red\n")
    with pytest.raises(DataError, match=r"one column file_name.*file_name, file_name, text"):
        _prepare(source, tmp_path / "out")
    (source / "metadata.csv").write_text("file_name,text\na.png," + "red " * 50_000 + "\n")
    with pytest.raises(DataError, match=r"a readable row.*line 2.*field limit"):
        _prepare(source, tmp_path / "out")
    (source / "metadata.csv").rename(source / "metadata.xlsx")
    with pytest.raises(DataError, match=r"metadata\.xlsx is a spreadsheet"):
        _prepare(source, tmp_path / "out")
    (source / "a.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(DataError, match=r"UTF-8 text in .*a\.txt"):
        _prepare(source, tmp_path / "out")
    (source / "metadata.xlsx").rename(source / "metadata.csv")
    (source / "metadata.csv").write_text("")
    with pytest.raises(DataError, match="an empty file"):
        _prepare(source, tmp_path / "out")
    (source / "metadata.jsonl").write_text("{}")
    with pytest.raises(DataError, match="remove one"):
        _prepare(source, tmp_path / "out")


def test_a_source_without_metadata_or_without_itself(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="nothing there"):
        _prepare(tmp_path / "none", tmp_path / "out")
    with pytest.raises(DataError, match="fraction"):
        _prepare(empty, tmp_path / "out", test_fraction=1.0)
    source = _source(tmp_path / "src", ["a.png"])
    with pytest.raises(DataError, match=r"metadata\.jsonl, metadata\.csv or a text file"):
        _prepare(source, tmp_path / "out")
    _jsonl(source / "metadata.jsonl", [GOOD])
    for size in (0, -5, 10**6):
        with pytest.raises(DataError, match="image size"):
            prepare_folder(source, tmp_path / "out", image_size=size)
    with pytest.raises(DataError, match="fit among"):
        _prepare(source, tmp_path / "out", fit="stretch")
    for seed in (-1, 10**400):
        with pytest.raises(DataError, match="seed: a whole number"):
            _prepare(source, tmp_path / "out", seed=seed)
    assert not (tmp_path / "out").exists()


def test_roots_as_archives_have_them(tmp_path: Path) -> None:
    for place in ("once", "twice/twice", "beside"):
        source = _source(tmp_path / place, ["images/a.png" if place == "beside" else "a.png"])
        table = source / ("tables" if place == "beside" else "") / "metadata.csv"
        table.parent.mkdir(exist_ok=True)
        table.write_text("file_name,text\na.png,red\n")
        top = tmp_path / place.partition("/")[0]
        (top / "__MACOSX").mkdir()
        (top / "._metadata.csv").write_bytes(b"\0\5\x16\7")
        assert len(_prepare(top, tmp_path / "out")) == 1
        packed = shutil.make_archive(
            str(tmp_path / f"{table.parent.parent.name}-packed"), "zip", tmp_path, top.name
        )
        data = _prepare(Path(packed), tmp_path / "out")
        assert len(data) == 1
        assert data.name == Path(packed).stem


def test_names_that_count_from_another_folder_are_found_and_told(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["train/a.png", "test/a.png"])
    (source / "train/metadata.csv").write_text("file_name,text\ntrain/a.png,red\n")
    (source / "test/metadata.csv").write_text("file_name,text\na.png,blue\n")
    data = _prepare(source, tmp_path / "out")
    assert [(item.split, item.captions) for item in data.items] == [("test", ("blue",)), ("train", ("red",))]
    assert data.header["notes"] == [
        "1 image found elsewhere than the table says, e.g. train/train/a.png at train/a.png"
    ]


def test_whole_paths_are_of_one_picture_each(tmp_path: Path) -> None:
    """`/data/b/1.png` is not a.png's folder's `1.png`, where only the ends of paths say so."""
    source = _source(tmp_path / "src", ["images/1.png", "2.png", "7.png"])
    rows = [f"{source.resolve()}/images/1.png,red", "/data/a/2.png,blue", "/data/b/2.png,green"]
    (source / "metadata.csv").write_text("\n".join(["file_name,text", *rows]))
    with pytest.raises(DataError, match=r"the image /data/b/2\.png of .*line 4; found: no such file"):
        _prepare(source, tmp_path / "out")
    data = _prepare(source, tmp_path / "out", skip_faults=True, test_fraction=0.0)
    assert [(item.id, *item.captions) for item in data.items] == [("images-1", "red"), ("2", "blue")]
    _jsonl(source / "metadata.jsonl", [{"image_id": 7, "text": "grey"}])
    (source / "metadata.csv").unlink()
    assert _prepare(source, tmp_path / "out").items[0].id == "7"


def test_tables_without_a_header_are_known_by_pictures_in_another_folder(tmp_path: Path) -> None:
    """As Flickr8k comes: two tables, of captions and of their lemmas, beside the folder of pictures."""
    source = _source(tmp_path / "src", ["Flicker8k_Dataset/a.png"])
    (source / "Flickr8k.token.txt").write_text("a.png#0\ta red bird\n")
    assert _prepare(source, tmp_path / "out").items[0].captions == ("a red bird",)
    (source / "Flickr8k.lemma.token.txt").write_text("a.png#0\ta red bird be\n")
    with pytest.raises(DataError, match="one table of captions"):
        _prepare(source, tmp_path / "out")


def test_pictures_may_be_described_by_their_names(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["fruit/red_apple-03.png", "fruit/0001.png", "Blue Bird.png"])
    data = _prepare(source, tmp_path / "out", captions_from_names=True, test_fraction=0.0)
    assert [item.captions[0] for item in data.items] == ["blue bird", "fruit", "fruit red apple"]


def test_that_names_are_the_captions_is_told_and_what_was_not_read(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["red bird.png", "blue bird.png"])
    (source / "our captions.txt").write_text("red bird.png : a bird that is red\n")
    (source / "captions.xlsx").write_bytes(b"PK")
    data = _prepare(source, tmp_path / "out", captions_from_names=True)
    assert "2 images described by the file's name, e.g. blue bird.png" in data.header["notes"]
    assert "2 other files not read, e.g. captions.xlsx" in data.header["notes"]


@pytest.mark.parametrize(
    "pairs",
    [
        {"images/gull/a.png": "text/gull/a.txt", "images/tern/b.png": "text/tern/b.txt"},
        {"jpg/a.png": "text_c10/class_1/a.txt", "jpg/b.png": "text_c10/class_2/b.txt"},
        {"images/1/0.png": "captions/1/0.txt", "images/2/0.png": "captions/2/0.txt"},
        {"7.image.png": "7.caption.txt", "8.image.png": "8.caption.txt"},
        {"Img/A.PNG": "caption/a.txt", "Img/B.PNG": "caption/b.txt"},
    ],
)
def test_a_text_elsewhere_that_means_one_picture_by_its_path_is_its_caption(
    tmp_path: Path, pairs: dict[str, str]
) -> None:
    source = _source(tmp_path / "src", list(pairs))
    for number, text in enumerate(pairs.values()):
        (source / text).parent.mkdir(parents=True, exist_ok=True)
        (source / text).write_text(f"bird {'ab'[number]}\nits wings\n")
    data = _prepare(source, tmp_path / "out", test_fraction=0.0)
    assert [list(item.captions) for item in data.items] == [["bird a", "its wings"], ["bird b", "its wings"]]
    (first, text), *_ = pairs.items()
    note = f"2 images described by a text elsewhere, e.g. {first} by {text}"
    assert note in data.header["notes"]


def test_a_text_beside_a_picture_that_says_nothing_is_told(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png", "b.png", "c.png"])
    (source / "a.json").write_text('{"description": "", "title": "my cat", "tags": ["cat"]}')
    (source / "b.json").write_text('{"shapes": [{"label": "cat"}]}')
    (source / "c.txt").write_text(" \n")
    data = _prepare(source, tmp_path / "out", captions_from_names=True, test_fraction=0.0)
    assert data.items[0].captions == ("my cat",)
    assert data.header["notes"][:2] == [
        "2 texts without a caption, e.g. b.json",
        "2 images described by the file's name, e.g. b.png",
    ]


def test_a_text_that_several_pictures_could_mean_is_no_caption(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["images/a.png", "masks/a.png", "images/b.png"])
    (source / "text").mkdir()
    for name in "ab":
        (source / f"text/{name}.txt").write_text(f"bird {name}")
    data = _prepare(source, tmp_path / "out")
    assert [item.id for item in data.items] == ["images-b"]
    assert "1 other file not read, e.g. text/a.txt" in data.header["notes"]


def test_boxes_beside_pictures_are_no_captions(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png", "b.png"])
    (source / "a.txt").write_text("0 0.5 0.51 0.25 0.3\n12 0.1 0.1 0.2 0.2\n")
    (source / "b.txt").write_text("10:45 on a clock of 1900\n")
    data = _prepare(source, tmp_path / "out")
    assert [list(item.captions) for item in data.items] == [["10:45 on a clock of 1900"]]
    assert "2 captions left out: numbers alone, as of boxes, e.g. a.png" in data.header["notes"]


@pytest.mark.parametrize(
    "field", ["\"['a cat'\n 'small']\"", '"[""a cat"", ""small""]"', '"[\'a cat\', ""small""]"']
)
def test_a_list_that_was_written_into_a_field_is_a_list(tmp_path: Path, field: str) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    (source / "metadata.csv").write_text(f"filename,raw\na.png,{field}\n")
    captions = _prepare(source, tmp_path / "out").items[0].captions
    assert list(captions) == ["a cat", "small"]


def test_a_name_without_its_ending_is_found_in_another_folder_and_told_once(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["images/RA-1.png", "images/b.jpeg"])
    (source / "captions.csv").write_text("image,caption\nRA-1,a chest\nRA-1,a rib\nb,a hand\n")
    data = _prepare(source, tmp_path / "out", test_fraction=0.0)
    assert [len(item.captions) for item in data.items] == [2, 1]
    assert (
        data.header["notes"][0]
        == "2 images found elsewhere than the table says, e.g. RA-1 at images/RA-1.png"
    )


def test_links_out_of_the_folder_are_followed_when_asked(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["b.png"])
    _source(tmp_path / "blobs", ["1.png"])
    (source / "a.png").symlink_to(tmp_path / "blobs/1.png")
    _jsonl(source / "metadata.jsonl", [GOOD, {"file_name": "b.png", "text": "x"}])
    with pytest.raises(DataError, match="--follow-links"):
        _prepare(source, tmp_path / "out")
    assert len(_prepare(source, tmp_path / "out", follow_links=True)) == 2


def test_links_within_the_folder_are_followed_even_in_circles(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png", "real/b.png"])
    names = {
        "self": ".",
        "real/up": "..",
        "images": "real",
        "one": "two",
        "two": "one",
        "gone.png": "nowhere",
    }
    for name, target in names.items():
        (source / name).symlink_to(target)
    rows = [{"file_name": "self/real/up/a.png", "text": "x"}, {"file_name": "images/b.png", "text": "y"}]
    _jsonl(source / "metadata.jsonl", rows)
    for follow in (False, True):
        data = _prepare(source, tmp_path / "out", follow_links=follow, test_fraction=0.0)
        assert [item.id for item in data.items] == ["a", "real-b"]
        assert data.header["notes"] == []


def test_names_that_differ_in_case_alone_must_be_written_as_they_are(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png", "A.png", "b.png", "~$c.png"])
    (source / "b.png").rename(source / "b.png ")
    rows = [{"file_name": name, "text": name[:1]} for name in ("a.png", "A.png", "b.png")]
    _jsonl(source / "metadata.jsonl", rows)
    data = _prepare(source, tmp_path / "out", test_fraction=0.0)
    assert [(item.id, *item.captions) for item in data.items] == [("a", "a"), ("A-1", "A"), ("b", "b")]
    _jsonl(source / "metadata.jsonl", [*rows, {"file_name": "a.PNG", "text": "x"}])
    with pytest.raises(DataError, match=r"A\.png and a\.png, either of which is meant"):
        _prepare(source, tmp_path / "out")


def test_names_that_windows_keeps_for_itself_are_no_ids(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["CON.png", "lpt1.png", "con1.png"])
    _jsonl(source / "metadata.jsonl", [{"file_name": path.name, "text": "x"} for path in source.iterdir()])
    ids = {item.id for item in _prepare(source, tmp_path / "out").items}
    assert "con1" in ids
    assert not {"con", "lpt1"} & {name.lower() for name in ids}


def test_no_word_is_known_to_the_held_out_pictures_alone(tmp_path: Path) -> None:
    words = ["apple", "pear", "red dog", "red cat", "plum", "red cow"]
    source = _source(tmp_path / "src", [f"{n}.png" for n in range(6)])
    _jsonl(
        source / "metadata.jsonl", [{"file_name": f"{n}.png", "text": text} for n, text in enumerate(words)]
    )
    for seed in range(6):
        data = _prepare(source, tmp_path / "out", test_fraction=0.4, seed=seed)
        known = {word for item in data.split("train") for text in item.captions for word in text.split()}
        assert len(data.split("test")) == 2
        assert all(known & set(item.captions[0].split()) for item in data.split("test"))


def test_pictures_that_repeat_across_the_split_are_told(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), np.uint8)
    pictures = [Image.fromarray(one).resize((64, 64), Image.Resampling.BICUBIC) for one in noise]
    for name, image in zip("abcd", pictures, strict=True):
        image.save(source / f"{name}.png")
    pictures[0].resize((50, 50)).save(source / "e.jpg", quality=60)
    ImageOps.mirror(pictures[1]).save(source / "f.png")
    splits = {"e.jpg": "test", "f.png": "validation", **{f"{n}.png": "train" for n in "abcd"}}
    rows = [{"file_name": name, "text": "x", "split": split} for name, split in splits.items()]
    _jsonl(source / "metadata.jsonl", rows)
    data = _prepare(source, tmp_path / "out")
    assert data.header["notes"] == [
        f"1 of 1 {split} image all but repeat a training image, e.g. {pair}: figures over them flatter"
        for split, pair in (("validation", "f repeats b"), ("test", "e repeats a"))
    ]


def test_wide_pictures_are_cropped_or_padded(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    wide = Image.new("RGB", (90, 30), (0, 0, 250))
    wide.paste((250, 0, 0), (30, 0, 60, 30))
    wide.save(source / "a.png")
    _jsonl(source / "metadata.jsonl", [GOOD])
    reds = []
    for fit in ("crop", "pad"):
        data = _prepare(source, tmp_path / "out", fit=fit)
        reds.append(np.asarray(data.load_image(data.items[0]))[..., 0].mean() / 250)
    assert reds == pytest.approx([1.0, 1 / 9], abs=0.05)


def test_a_data_set_within_its_own_source_is_refused(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    _jsonl(source / "metadata.jsonl", [GOOD])
    for out in (source / "data", source / "sub" / ".." / "data"):
        with pytest.raises(DataError, match=r"a folder outside .*src.*would be read, too"):
            _prepare(source, out)
    assert len(_prepare(source, tmp_path / "src-data")) == 1


def test_only_a_data_set_is_replaced(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    _jsonl(source / "metadata.jsonl", [GOOD])
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="something else"):
        _prepare(source, out)
    with pytest.raises(DataError, match="something else"):
        _prepare(source, source)
    assert (out / "thesis.txt").exists()
    (out / "thesis.txt").unlink()
    _prepare(source, out)
    assert len(_prepare(source, out)) == 1


def _webp(size: int = 32, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (size, size), (200, 30, 30)).save(content, "WEBP", **options)
    return content.getvalue()


def _zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)


def test_a_zip_of_images_beside_the_captions(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    tags = Image.Exif()
    tags[0x010E] = "a description"
    as_wanted, larger, tagged = _webp(), _webp(48), _webp(exif=tags)
    _zip(
        source / "small.zip",
        {"10.Gull/a.webp": as_wanted, "2.Auk/b.webp": larger, "2.Auk/c.webp": tagged, "d.webp": larger},
    )
    _jsonl(
        source / "captions.jsonl",
        [
            {
                "file": "10.Gull/a.webp",
                "id": 7,
                "class_id": 10,
                "split": None,
                "split_reed": "test",
                "bbox": [1.0, 2, 30.5, 4],
                "captions": ["red", ".", "red", "a square"],
            },
            {"file": "2.Auk/b.webp", "class_id": 2, "split_reed": "train", "captions": ["large"]},
            {"file": "2.Auk/c.webp", "class_id": 2, "split_reed": "train", "captions": ["tagged"]},
        ],
    )
    data = _prepare(source, tmp_path / "out", name="some-birds", split_column="split_reed")
    assert data.name == "some-birds"
    assert data.classes == ["2", "10"]
    first = data.items[0]
    assert (first.id, first.split, first.class_id, first.class_name) == ("10-Gull-a", "test", 1, "10")
    assert first.captions == ("red", "a square")
    assert first.box == (1.0, 2.0, 30.5, 4.0)
    assert data.header["notes"][:2] == [
        "1 caption left out: without a word, e.g. 10.Gull/a.webp",
        "1 image without a caption left out, e.g. d.webp",
    ]
    kept = [data.image_path(item).read_bytes() for item in data.items]
    assert kept[0] == as_wanted, "not compressed a second time"
    assert b"EXIF" in tagged
    assert b"EXIF" not in kept[2]
    assert [data.load_image(item).size for item in data.items] == [(32, 32)] * 3


def test_a_box_counts_in_the_picture_whose_size_its_row_gives(tmp_path: Path) -> None:
    """CUB's tables keep the boxes of the photographs when these have been made smaller, or cut."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("same.png", "smaller.png", "cut.png", "no size#1.png"):
        Image.new("RGB", (50, 40), "red").save(source / name)
    box = {"bbox": [100, 20, 60, 40], "text": "a bird"}
    _jsonl(
        source / "metadata.jsonl",
        [
            {**box, "file_name": "same.png", "bbox": [10, 2, 6, 4], "size": [50, 40]},
            {**box, "file_name": "smaller.png", "width": 500, "height": 401},
            {**box, "file_name": "cut.png", "size": "500,335"},
            {**box, "file_name": "no size#1", "bbox": [10, 2, 6, 4], "width": 0, "height": -1},
        ],
    )
    data = _prepare(source, tmp_path / "out")
    boxes = {item.id: item.box for item in data.items}
    assert boxes["same"] == boxes["no-size-1"] == (10, 2, 6, 4)
    assert boxes["smaller"] == pytest.approx((10, 2, 6, 4))
    assert boxes["cut"] is None
    left = (
        "1 image whose box counts in a picture of other proportions, prepared without the box, e.g. cut.png"
    )
    assert left in data.header["notes"]


def test_which_of_several_zips_must_be_said(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["b.png"])
    for side in (32, 64):
        _zip(source / f"x{side}.zip", {"a.webp": _webp(side)})
    rows = [{"file": name, "captions": ["x"]} for name in ("a.webp", "b.png")]
    _jsonl(source / "captions.jsonl", rows)
    with pytest.raises(DataError, match=r"x32\.zip, x64\.zip.*--images"):
        _prepare(source, tmp_path / "out")
    with tarfile.open(source / "x32.tar", "w") as tar:
        tar.add(source / "b.png", "a.webp")
    with pytest.raises(DataError, match=r"x32\.tar, x32\.zip, x64\.zip"):
        _prepare(source, tmp_path / "out")
    for path in source.glob("*.zip"):
        path.rename(tmp_path / path.name)
    assert len(_prepare(source, tmp_path / "tar", test_fraction=0.0)) == 2, "a tar beside the table is read"
    for name in ("x32.zip", "x64.zip"):
        (tmp_path / name).rename(source / name)
    with pytest.raises(DataError, match="the folder that holds it"):
        _prepare(source / "captions.jsonl", tmp_path / "out")
    data = _prepare(source, tmp_path / "out", images="x64.zip", test_fraction=0.0)
    assert [item.id for item in data.items] == ["a", "b"], "loose files count, too"
    _jsonl(source / "captions.jsonl", [*rows, {"file": "c.webp", "captions": ["x"]}])
    with pytest.raises(DataError, match=r"c\.webp.*no such file in .*x64\.zip"):
        _prepare(source, tmp_path / "out", images="x64.zip")
    with pytest.raises(DataError, match="nothing there"):
        _prepare(source, tmp_path / "out", images="x16.zip")


def test_hostile_zips(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", [])
    source.mkdir()
    bomb = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(bomb, "PNG")
    _zip(source / "a.zip", {"../up.webp": _webp(), "bomb.png": bomb.getvalue(), "cut.webp": _webp()[:40]})
    for name, message in (
        ("../up.webp", "inside the folder"),
        ("bomb.png", "million pixels"),
        ("cut.webp", r"cut\.webp"),
    ):
        _jsonl(source / "metadata.jsonl", [{"file_name": name, "text": "x"}])
        with pytest.raises(DataError, match=message):
            _prepare(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_split_column_must_be_there(tmp_path: Path) -> None:
    source = _source(tmp_path / "src", ["a.png"])
    _jsonl(source / "metadata.jsonl", [GOOD])
    with pytest.raises(DataError, match=r"column 'mine'.*--split-column"):
        _prepare(source, tmp_path / "out", split_column="mine")
