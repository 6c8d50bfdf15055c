"""Archives that are damaged, or that mean harm."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from memdriven.data import archive
from memdriven.data.archive import open_archives
from memdriven.errors import DataError


def _tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def _link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("name", ["../../secret.txt", "a/../../b.txt"])
def test_a_tar_cannot_write_outside(tmp_path: Path, name: str) -> None:
    path = _tar(tmp_path / "a.tar", (tarfile.TarInfo(name), b"x"))
    with pytest.raises(DataError, match="outside"), open_archives(path):
        pass


def test_an_absolute_name_lands_inside(tmp_path: Path) -> None:
    path = _tar(tmp_path / "a.tar", (tarfile.TarInfo(f"{tmp_path}/here.txt"), b"x"))
    with open_archives(path) as files:
        assert files.read(files.need("here.txt")) == b"x"
    assert not (tmp_path / "here.txt").exists()


def test_links_and_devices_in_a_tar_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    path = _tar(
        tmp_path / "a.tar",
        (_link("soft.txt", str(tmp_path / "secret.txt"), tarfile.SYMTYPE), b""),
        (_link("hard.txt", "../secret.txt", tarfile.LNKTYPE), b""),
        (_link("device.txt", "", tarfile.CHRTYPE), b""),
        (tarfile.TarInfo("real.txt"), b"real"),
        (tarfile.TarInfo("features.t7"), b"not asked for"),
    )
    with open_archives(path) as files:
        assert files.names == ["real.txt"]
        assert files.text("real.txt") == "real"


def test_links_out_of_a_folder_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/link.txt").symlink_to(tmp_path / "secret.txt")
    with open_archives(tmp_path / "folder") as files:
        assert files.names == []


def test_a_tar_that_swells_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = bytes(4_000_000)  # 4 kB in the archive
    path = _tar(tmp_path / "a.tgz", (tarfile.TarInfo("a.txt"), zeros), mode="w:gz")
    monkeypatch.setattr(archive, "MAX_FILE", 1_000_000)
    with pytest.raises(DataError, match="4,000,000 bytes: too large"), open_archives(path):
        pass
    parts = [(tarfile.TarInfo(f"{n}.txt"), zeros[:900_000]) for n in range(4)]
    path = _tar(tmp_path / "b.tgz", *parts, mode="w:gz")
    with pytest.raises(DataError, match="too large"), open_archives(path):
        pass


def test_a_zip_that_swells_is_refused_whatever_it_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.txt", bytes(4_000_000))
    monkeypatch.setattr(archive, "MAX_FILE", 1_000_000)
    with open_archives(path) as files, pytest.raises(DataError, match="4,000,000 bytes unpacked"):
        files.read("a.txt")
    content = path.read_bytes().replace(struct.pack("<I", 4_000_000), struct.pack("<I", 10))
    path.write_bytes(content)
    with open_archives(path) as files, pytest.raises(DataError, match="damaged"):
        files.read("a.txt")


def test_names_in_a_zip_are_only_names(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("../../outside.txt", "kept in memory")
    with open_archives(tmp_path / "a.zip") as files:
        assert files.text("../../outside.txt") == "kept in memory"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip"]


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_tar_that_was_cut_is_refused(tmp_path: Path, mode: str) -> None:
    noise = bytes(range(256)) * 400
    path = _tar(tmp_path / "a.tgz", (tarfile.TarInfo("a.txt"), noise), mode=mode)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="again"), open_archives(path):
        pass


def test_a_zip_that_was_cut_or_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a/b.txt", "0123456789" * 10)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(DataError, match="neither"), open_archives(path):
        pass
    changed = bytearray(whole)
    changed[45] ^= 255
    path.write_bytes(changed)
    with open_archives(path) as files:
        assert files.names == ["a/b.txt"]
        assert "a/b.txt" in files
        with pytest.raises(DataError, match="damaged"):
            files.read("a/b.txt")
        with pytest.raises(DataError, match="no such file"):
            files.text("c.txt")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tgz").write_text("not packed")
    with pytest.raises(DataError, match="neither"), open_archives(tmp_path / "text.tgz"):
        pass
    with pytest.raises(DataError, match="nothing there"), open_archives(tmp_path / "none"):
        pass
