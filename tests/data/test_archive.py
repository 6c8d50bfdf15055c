"""Files by name in folders, zips and tars; what is hostile or a system's own is left out."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import struct
import tarfile
import tracemalloc
import unicodedata
import zipfile
from pathlib import Path

import pytest

from memdriven.data import archive
from memdriven.data.archive import open_archives
from memdriven.data.names import left_by_a_system
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


def test_links_out_of_a_folder_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/1.txt").write_text("outside")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.txt").symlink_to(tmp_path / "blobs/1.txt")
    (folder / "linked").symlink_to(tmp_path / "blobs")
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere").symlink_to(tmp_path / "none")
    with open_archives(folder) as files:
        assert files.names == []
        assert files.left_out == ["link.txt", "linked", "nowhere"]
    with open_archives(folder, follow_links=True) as files:
        assert files.names == ["link.txt", "linked/1.txt"]
        assert files.text("linked/1.txt") == "outside"


def test_links_within_a_tar_are_other_names_of_its_files_and_are_never_made(tmp_path: Path) -> None:
    path = _tar(
        tmp_path / "a.tar",
        (tarfile.TarInfo("./d/real.txt"), b"real"),
        (_link("./d/soft.txt", "real.txt", tarfile.SYMTYPE), b""),
        (_link("./d/e/up.txt", "../soft.txt", tarfile.SYMTYPE), b""),
        (_link("hard.txt", "./d/real.txt", tarfile.LNKTYPE), b""),
        (_link("d/out", "../..", tarfile.SYMTYPE), b""),
        (tarfile.TarInfo("d/out/secret.txt"), b"through the link"),
    )
    with open_archives(path) as files:
        assert files.names == ["d/out/secret.txt", "d/real.txt"]
        assert {files.meant(f"{name}.txt") for name in ("d/soft", "d/e/up", "hard")} == {"d/real.txt"}
        assert files.left_out == ["d/out"]
    assert not list(tmp_path.glob("**/secret.txt"))


def test_links_within_a_folder_are_other_names_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/a.txt").write_text("a")
    (tmp_path / "images").symlink_to(tmp_path / "train")
    (tmp_path / "b.txt").symlink_to("train/a.txt")
    with open_archives(tmp_path) as files:
        assert files.names == ["train/a.txt"]
        assert files.meant("images/a.txt") == files.meant("b.txt") == "train/a.txt"
        assert files.meant("images/b.txt") is None
    (tmp_path / "round").symlink_to("round")
    with open_archives(tmp_path) as files:
        assert files.meant("round") is files.meant("round/a.txt") is None


LITTER = [
    "._a.png",
    "__MACOSX/a.png",
    ".ipynb_checkpoints/a-checkpoint.png",
    "Thumbs.db",
    ".DS_Store",
    "@eaDir/a.jpg",
]


def test_what_systems_leave_behind_is_no_data(tmp_path: Path) -> None:
    for name in [*LITTER, "a.png", "sub/desktop.ini", "sub/b.txt"]:
        (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "f" / name).write_bytes(b"x")
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as packed:
        for path in sorted((tmp_path / "f").rglob("*.*")):
            packed.write(path, path.relative_to(tmp_path / "f"))
    tar = _tar(
        tmp_path / "f.tar", *[(tarfile.TarInfo(name), b"x") for name in [*LITTER, "a.png", "sub/b.txt"]]
    )
    for place in (tmp_path / "f", tmp_path / "f.zip", tar):
        with open_archives(place) as files:
            assert files.names == ["a.png", "sub/b.txt"]
    assert all(left_by_a_system(name) for name in LITTER)
    assert not left_by_a_system("../a.png")


def test_names_are_found_however_case_and_accents_are_written(tmp_path: Path) -> None:
    names = [unicodedata.normalize("NFD", "vögel/Gérard.PNG"), "B.png", "b.png"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in names:
            packed.writestr(name, name)
    with open_archives(tmp_path / "a.zip") as files:
        assert files.meant("vögel/Gérard.PNG") == names[0]
        assert files.meant("VÖGEL/gérard.png") == names[0]
        assert files.meant("b.png") == "b.png"
        assert files.meant("b.PNG") is None, "two files could be meant"


def test_zip_names_without_the_flag_for_utf8(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("鳥.png", b"1")
        packed.writestr("dir\\windows.png", b"2")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + flags + 1] &= ~0x08
    (tmp_path / "a.zip").write_bytes(content)
    with open_archives(tmp_path / "a.zip") as files:
        assert files.names == ["dir/windows.png", "鳥.png"]
        assert files.read("鳥.png") == b"1"


HOSTILE_MEMBERS = {
    "a day that never was": {"mtime": "1e30"},
    "no day at all": {"mtime": "nan"},
    "a zero in the name": {"path": "a\0b.txt"},
}


def test_names_of_old_zips_are_found_by_their_bytes(tmp_path: Path) -> None:
    names = {"cp866": "птица", "gbk": "鸟", "shift_jis": "鳥", "cp1252": "é", "cp437": "é"}
    for encoding, name in names.items():
        raw, path = name.encode(encoding), tmp_path / f"{encoding}.zip"
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("N" * len(raw), "found")
        path.write_bytes(path.read_bytes().replace(b"N" * len(raw), raw))
        with open_archives(path) as files:
            assert files.text(str(files.meant(name))) == "found"
            assert files.meant("other") is None


def test_an_encrypted_zip_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a.txt", "secret")
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.find(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with open_archives(path) as files, pytest.raises(DataError, match="without a password"):
        files.read("a.txt")


@pytest.mark.parametrize("headers", HOSTILE_MEMBERS.values(), ids=HOSTILE_MEMBERS)
def test_strange_facts_in_a_tar_are_refused_or_harmless(tmp_path: Path, headers: dict[str, str]) -> None:
    info = tarfile.TarInfo("a.txt")
    info.pax_headers = headers
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with contextlib.suppress(DataError), open_archives(path) as files:
        assert all(len(files.read(name)) == 1 for name in files.names)


def test_deep_folders_and_long_names_in_a_tar(tmp_path: Path) -> None:
    for name in ("d/" * 3000 + "a.txt", "n" * 300 + ".txt"):
        with pytest.raises(DataError), open_archives(_tar(tmp_path / "a.tar", (tarfile.TarInfo(name), b"x"))):
            pass


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_every_changed_byte_of_a_zip_is_refused_or_harmless(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as packed:
        packed.writestr("a.txt", os.urandom(60))
    whole = path.read_bytes()
    for position in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[position] ^= 255
        path.write_bytes(changed)
        with contextlib.suppress(DataError), open_archives(path) as files:
            for name in files.names:
                files.read(name)


def test_every_changed_byte_of_a_gzipped_tar_is_refused_or_harmless(tmp_path: Path) -> None:
    path, content = tmp_path / "a.tgz", bytes(range(256))
    info = tarfile.TarInfo("a.txt")
    info.size = len(content)
    with tarfile.open(path, "w:gz", compresslevel=0) as tar:  # stored, so that no byte changes another
        tar.addfile(info, io.BytesIO(content))
    whole = bytearray(path.read_bytes())
    for place in range(0, 900, 7):
        whole[place] ^= 1
        path.write_bytes(whole)
        whole[place] ^= 1
        with contextlib.suppress(DataError), open_archives(path) as files:
            assert files.read("a.txt") == content


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


def _header(kind: bytes, claimed: int, content: bytes) -> bytes:
    """Return an extended header of a tar as it is in the file, whatever size it claims."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, claimed
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


HEADERS = {
    "records that fill the memory": (tarfile.XHDTYPE, 1 << 20, b"20 comment=" + bytes((1 << 20) - 11)),
    "records that are not there": (tarfile.XHDTYPE, 1 << 40, b"20 comment=x\n"),
    "fewer bytes than none": (tarfile.XHDTYPE, -512, b""),
    "records for all files": (tarfile.XGLTYPE, 1 << 20, b"20 comment=" + bytes((1 << 20) - 11)),
    "of Solaris": (tarfile.SOLARIS_XHDTYPE, 1 << 20, bytes(1 << 20)),
    "a name without an end": (tarfile.GNUTYPE_LONGNAME, 1 << 20, b"n" * (1 << 20)),
    "a link without an end": (tarfile.GNUTYPE_LONGLINK, 1 << 20, b"n" * (1 << 20)),
    "digits that are searched from each of them": (tarfile.XHDTYPE, 60_000, b"9" * 60_000),
}


@pytest.mark.parametrize(("kind", "claimed", "content"), HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("place", [0, 1])
def test_a_tars_headers_cannot_fill_the_memory(
    tmp_path: Path, kind: bytes, claimed: int, content: bytes, place: int
) -> None:
    first = _tar(tmp_path / "a.tar", (tarfile.TarInfo("a.txt"), b"x")).read_bytes()[:1024]
    path = tmp_path / "b.tgz"
    path.write_bytes(gzip.compress(first * place + _header(kind, claimed, content) + first + bytes(1024), 1))
    with pytest.raises(DataError, match="a header that is too large"), open_archives(path):
        pass


def test_a_tars_many_headers_cannot_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_FILE", 100_000)
    path = _tar(tmp_path / "a.tgz", *((tarfile.TarInfo(f"{n}.txt"), b"") for n in range(300)), mode="w:gz")
    with pytest.raises(DataError, match="100,000 bytes: too large"), open_archives(path):
        pass
    monkeypatch.undo()
    with open_archives(path) as files:
        assert len(files.names) == 300


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
    tracemalloc.start()
    with open_archives(path) as files, pytest.raises(DataError, match="damaged"):
        files.read("a.txt")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000, "no more is unpacked than it claims"
    tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_zips_methods_that_unpack_whatever_the_size_claims_are_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as packed:
        packed.writestr("a.txt", bytes(4_000_000))
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 4_000_000), struct.pack("<I", 10)))
    with open_archives(path) as files, pytest.raises(DataError, match=f"compression method {method}"):
        files.read("a.txt")


def test_names_in_a_zip_that_lead_out_are_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in ("../../outside.txt", "/etc/inside.txt", "a/../b.txt"):
            packed.writestr(name, "x")
    with open_archives(tmp_path / "a.zip") as files:
        assert files.names == ["etc/inside.txt"]


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
    with pytest.raises(DataError, match="a whole zip or tar"), open_archives(path):
        pass
    changed = bytearray(whole)
    changed[45] ^= 255
    path.write_bytes(changed)
    with open_archives(path) as files:
        assert files.names == ["a/b.txt"]
        with pytest.raises(DataError, match="damaged"):
            files.read("a/b.txt")
        with pytest.raises(DataError, match="no such file"):
            files.text("c.txt")


def test_of_a_zips_entries_of_one_name_the_last_counts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a.txt", "old")
        with pytest.warns(UserWarning, match="Duplicate"):
            packed.writestr("a.txt", "new")
    with open_archives(tmp_path / "a.zip") as files:
        assert files.text("a.txt") == "new"


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tgz").write_text("not packed")
    with pytest.raises(DataError, match="a whole zip or tar"), open_archives(tmp_path / "text.tgz"):
        pass
    with pytest.raises(DataError, match="nothing there"), open_archives(tmp_path / "none"):
        pass
