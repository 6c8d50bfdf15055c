"""Files are whole or absent, whatever happens in between."""

import errno
import os
import pickle
from pathlib import Path

import pytest

from memdriven.errors import CheckpointError, DataError, MemDrivenError
from memdriven.files import atomic_folder, atomic_write_bytes, atomic_write_json, read_json, sha256_file


def test_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.bin"
    atomic_write_bytes(target, b"one")
    atomic_write_bytes(target, b"two")
    assert target.read_bytes() == b"two"
    assert os.listdir(target.parent) == ["file.bin"]
    assert sha256_file(target).startswith("3fc4ccfe7458")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    target = tmp_path / "file.bin"
    atomic_write_bytes(target, b"old")

    def fail(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DataError, match=r"file\.bin"):
        atomic_write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "bank"
    with pytest.raises(RuntimeError, match="halfway"), atomic_folder(target) as folder:
        (folder / "a").write_text("1")
        raise RuntimeError("halfway")
    assert os.listdir(tmp_path) == []
    for text in ("1", "2"):
        with atomic_folder(target) as folder:
            (folder / "a").write_text(text)
    assert (target / "a").read_text() == "2"
    assert os.listdir(tmp_path) == ["bank"]


def test_failed_replacement_keeps_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "bank"
    with atomic_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(DataError, match="full disk"), atomic_folder(target) as folder:
        (folder / "a").write_text("new")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (target / "a").read_text() == "old"


@pytest.mark.parametrize("content", ["", "{", "[1]", "\xff"])
def test_read_json_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"x\.json"):
        read_json(path, CheckpointError)
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "none.json", DataError)


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        atomic_write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_errors_cross_process_boundaries() -> None:
    error = DataError(wanted="a", found="b", fix="c")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is DataError
    assert str(copy) == str(error) == "wanted: a; found: b; what to do: c"
    assert isinstance(copy, MemDrivenError)
