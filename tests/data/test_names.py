"""What names mean; that whole folders of such files are read is tested in test_folder.py."""

from pathlib import Path

import pytest

from memdriven.data.names import kind_of, split_of_folder, split_of_name, stand_in, texts_elsewhere


def test_a_text_means_the_one_picture_whose_path_ends_as_its_own() -> None:
    pictures = ["images/gulls/a.jpg", "images/terns/a.jpg", "images/terns/b.jpg", "7.image.jpg"]
    others = ["text/gulls/a.txt", "text/terns/a.txt", "captions/b.txt", "7.caption.txt", "LICENSE.txt"]
    assert texts_elsewhere(pictures, others) == {
        "images/gulls/a.jpg": ["text/gulls/a.txt"],
        "images/terns/a.jpg": ["text/terns/a.txt"],
        "images/terns/b.jpg": ["captions/b.txt"],
        "7.image.jpg": ["7.caption.txt"],
    }


def test_a_text_that_two_pictures_could_mean_means_none() -> None:
    assert texts_elsewhere(["one/a.jpg", "two/a.jpg"], ["text/a.txt"]) == {}
    assert texts_elsewhere(["one/a.jpg"], ["text/a.txt", "more/a.txt"]) == {}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("annotations/captions_val2017.json", "validation"),
        ("train.csv", "train"),
        ("captions.csv", None),
        ("train_and_test.csv", None),
        ("contest.csv", None),
    ],
)
def test_a_table_is_of_the_split_that_it_is_called_after(name: str, split: str | None) -> None:
    assert split_of_name(name) == split


def test_a_picture_is_of_the_split_that_its_first_folder_is_called_after() -> None:
    assert split_of_folder("Test/gulls/a.jpg") == "test"
    assert split_of_folder("gulls/test/a.jpg") is None
    assert split_of_folder("test") is None


def test_a_kind_is_known_by_how_a_file_begins_before_its_name(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    there = kind_of("a.jpg", pointer)
    assert there is not None
    assert "LFS" in there.what
    assert kind_of("a.jpg") is None
    weights = tmp_path / "generator.safetensors"
    weights.write_bytes(pointer)
    assert stand_in(weights, "damaged", "restore it") == (there.what, there.fix)
    weights.write_bytes(bytes(20))
    assert stand_in(weights, "damaged", "restore it") == ("damaged", "restore it")
