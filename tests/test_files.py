"""Files are whole or absent, whatever happens in between."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memdriven import files
from memdriven.errors import CheckpointError, DataError
from memdriven.files import atomic_folder, atomic_write_bytes, atomic_write_json, read_json, sha256_file


def test_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.bin"
    atomic_write_bytes(target, b"one")
    atomic_write_bytes(target, b"two")
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o644
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


@pytest.mark.parametrize("target", ["/proc/nope/a.png", "{}/folder", "{}/file/a.png", "{}/" + "x" * 300])
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    for kept in ("folder/kept", "file"):
        (tmp_path / kept).write_text("kept")
    with pytest.raises(DataError, match="to write"):
        atomic_write_bytes(target.format(tmp_path), b"picture")
    if "folder" not in target:
        with pytest.raises(DataError, match="to write"), atomic_folder(target.format(tmp_path)):
            pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "kept"]


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
    assert target.stat().st_mode & 0o777 == 0o755
    assert os.listdir(tmp_path) == ["bank"]


def test_failed_replacement_keeps_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "bank"
    with atomic_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(DataError, match="full disk"), atomic_folder(target) as folder:
        (folder / "a").write_text("new")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (target / "a").read_text() == "old"


def killed_while(code: str, folder: Path) -> None:
    """Run code in a process of its own that ends by a kill."""
    begin = f"import os, sys, signal\nsys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
    begin += "from memdriven import files\ndie = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run([sys.executable, "-c", begin + code], cwd=folder, check=False)
    assert done.returncode == -9


def test_the_scratch_of_killed_writers_is_taken_over(tmp_path: Path) -> None:
    killed_while("os.fsync = die\nfiles.atomic_write_bytes('state', b'x' * 9)", tmp_path)
    killed_while("with files.atomic_folder('bank') as f:\n (f / 'deep').mkdir(); die()", tmp_path)
    killed_while("with files.atomic_folder('bank'), files.atomic_folder('bank') as second:\n die()", tmp_path)
    assert len(os.listdir(tmp_path)) == 3
    atomic_write_bytes(tmp_path / "state", b"new")
    with atomic_folder(tmp_path / "bank") as folder:
        assert os.listdir(folder) == []
    assert (tmp_path / "state").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["bank", "state"]


def test_writers_of_one_target_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / ".bank.local").touch()
    with atomic_folder(tmp_path / "bank") as one:
        (one / "a").write_text("1")
        with atomic_folder(tmp_path / "bank") as other:
            (other / "a").write_text("2")
        assert (one / "a").read_text() == "1"
        assert (tmp_path / "bank/a").read_text() == "2"
    assert (tmp_path / "bank/a").read_text() == "1"
    assert sorted(os.listdir(tmp_path)) == [".bank.local", "bank"], "a name like ours is not ours"


def test_a_signal_while_scratch_is_removed_leaves_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, signals = shutil.rmtree, [KeyboardInterrupt]

    def interrupted(folder: Path, **options: Any) -> None:
        if signals:
            raise signals.pop()
        remove(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "bank") as scratch:
        (scratch / "items").write_text("all")
    assert os.listdir(tmp_path) == ["bank"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_swap_of_folders_that_was_killed_is_put_right(tmp_path: Path, at_once: bool) -> None:
    """Between the two renames, or after an exchange: the target is there again, and nothing beside it."""
    target = tmp_path / "bank"
    with atomic_folder(target) as folder:
        (folder / "a").write_text("old")
    patch = "files.shutil.rmtree = die\n"
    if not at_once:
        patch = (
            "files._exchange = lambda *_: False\nreal, done = os.replace, []\n"
            "os.replace = lambda *a: die() if done else done.append(real(*a))\n"
        )
    code = "with files.atomic_folder('bank') as f:\n (f / 'a').write_text('new')"
    killed_while(patch + code, tmp_path)
    with pytest.raises(RuntimeError), atomic_folder(target):
        raise RuntimeError
    assert (target / "a").read_text() in ("old", "new")
    assert os.listdir(tmp_path) == ["bank"]


def test_without_an_exchange_the_folder_is_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    monkeypatch.setattr(files, "fcntl", None)
    for text in ("1", "2"):
        with atomic_folder(tmp_path / "bank") as folder:
            (folder / "a").write_text(text)
        atomic_write_bytes(tmp_path / "file", text.encode())
    assert (tmp_path / "bank/a").read_text() == (tmp_path / "file").read_text() == "2"
    assert sorted(os.listdir(tmp_path)) == ["bank", "file"]


@pytest.mark.parametrize("content", ["", "{", "[1]", "\xff"])
def test_read_json_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"x\.json"):
        read_json(path, CheckpointError)
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "none.json", DataError)


def test_read_json_compares_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"schema": "bank/1"}))
    assert read_json(path, DataError, "bank/1") == {"schema": "bank/1"}
    with pytest.raises(DataError, match=r"schema bank/2 in .*found: 'bank/1'"):
        read_json(path, DataError, "bank/2")


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        atomic_write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()
