"""CUB, flowers and COCO in their official layouts, and the download of official files."""

from __future__ import annotations

import hashlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from memdriven.data import photos
from memdriven.data.photos import (
    CUB,
    FACTS,
    Remote,
    fetch,
    fetch_all,
    prepare_coco,
    prepare_cub,
    prepare_flowers,
)
from memdriven.errors import DataError
from tests.data import layouts


@pytest.mark.parametrize("pack", layouts.PACKINGS)
def test_cub_from_every_packing(tmp_path: Path, pack: Callable[[Path], list[Path]]) -> None:
    layouts.write_cub(tmp_path / "cub")
    data = prepare_cub(tmp_path / "out", archive=pack(tmp_path / "cub"), image_size=24)
    assert [(i.id, i.split, i.class_id, i.class_name, i.box) for i in data.items] == [
        ("Auk_0001_2", "test", 0, "Auk", (10.0, 10.0, 20.0, 10.0)),
        ("Gull_0001_3", "train", 1, "Gull", (0.0, 0.0, 60.0, 40.0)),
    ]
    assert data.items[0].captions == ("a bird of 001", "black wings")
    assert data.classes == ["Auk", "Gull"]
    told = "left out: {}, e.g. cvpr2016_cub/text_c10/001.Auk/Auk_0001_2.txt"
    assert data.header["notes"] == [
        "test classes: built in",
        f"2 captions {told.format('empty')}",
        f"2 captions {told.format('without a word')}",
    ]
    assert all(data.load_image(item).size == (24, 24) for item in data.items)


def test_the_bird_fills_two_thirds_of_its_crop(tmp_path: Path) -> None:
    layouts.write_cub(tmp_path / "cub")
    data = prepare_cub(tmp_path / "out", archive=[tmp_path / "cub"], image_size=60)
    pixels = np.asarray(data.load_image(data.items[0])).astype(int)
    red = (pixels[..., 0] > 170) & (pixels[..., 1] < 60)
    rows, columns = red.any(axis=1).nonzero()[0], red.any(axis=0).nonzero()[0]
    # The 20 x 10 box at (10, 10) in its 30 x 30 square from (5, 0), enlarged twofold.
    assert abs(columns[0] - 10) <= 2
    assert abs(columns[-1] - 51) <= 2
    assert abs(rows[0] - 20) <= 2
    assert abs(rows[-1] - 41) <= 2


def test_a_photo_that_is_listed_twice_is_told_before_any_is_read(tmp_path: Path) -> None:
    layouts.write_cub(tmp_path / "cub")
    for name, row in (
        ("images", "1.Auk/Auk_0001_2.jpg"),
        ("image_class_labels", "1"),
        ("bounding_boxes", "0 0 9 9"),
    ):
        with (tmp_path / f"cub/CUB_200_2011/{name}.txt").open("a") as stream:
            stream.write(f"3 {row}\n")
    with pytest.raises(DataError, match=rf"captions in {tmp_path / 'out'}; found: Auk_0001_2 twice"):
        prepare_cub(tmp_path / "out", archive=[tmp_path / "cub"])


def test_the_captions_may_lie_apart(tmp_path: Path) -> None:
    layouts.write_cub(tmp_path / "cub")
    shutil.move(tmp_path / "cub/cvpr2016_cub", tmp_path / "reed")
    with pytest.raises(DataError, match=r"cvpr2016_cub\.tar\.gz .* --captions PATH"):
        prepare_cub(tmp_path / "out", archive=[tmp_path / "cub"])
    data = prepare_cub(
        tmp_path / "out", archive=[tmp_path / "cub"], captions=[tmp_path / "reed"], image_size=16
    )
    assert len(data) == 2


def test_class_lists_in_the_archive_decide(tmp_path: Path) -> None:
    layouts.write_cub(tmp_path / "cub")
    reed = tmp_path / "cub/cvpr2016_cub"
    layouts.write_text(reed / "testclasses.txt", "002.Gull\n")
    layouts.write_text(reed / "trainvalclasses.txt", "001.Auk\n")
    data = prepare_cub(tmp_path / "out", archive=[tmp_path / "cub"], image_size=16)
    assert [item.split for item in data.items] == ["train", "test"]
    assert data.header["notes"][0].endswith("testclasses.txt")
    layouts.write_text(reed / "trainvalclasses.txt", "001.Auk\n002.Gull\n")
    with pytest.raises(DataError, match=r"shared ones, e\.g\. 2"):
        prepare_cub(tmp_path / "out", archive=[tmp_path / "cub"])
    layouts.write_text(reed / "testclasses.txt", "\n")
    with pytest.raises(DataError, match="no class"):
        prepare_cub(tmp_path / "out", archive=[tmp_path / "cub"])


def test_cub_names_what_is_missing_or_wrong(tmp_path: Path) -> None:
    layouts.write_cub(tmp_path / "cub")
    official = tmp_path / "cub/CUB_200_2011"

    def refused(message: str, archive: Path = tmp_path / "cub") -> None:
        with pytest.raises(DataError, match=message):
            prepare_cub(tmp_path / "out", archive=[archive])

    (official / "image_class_labels.txt").write_text("1 1\n2 3\n")
    refused("class 3 of 2")
    (official / "image_class_labels.txt").write_text("1 1\n2 2\n")
    text = tmp_path / "cub/cvpr2016_cub/text_c10/002.Gull/Gull_0001_3.txt"
    text.write_text("\n.\n")
    refused(r"captions in .*Gull_0001_3\.txt")
    text.unlink()
    refused(r"Gull_0001_3\.txt; found: 1 other")
    (official / "bounding_boxes.txt").write_text("1 10 10 20\n")
    refused("box of 4 numbers")
    (official / "bounding_boxes.txt").unlink()
    refused(r"bounding_boxes\.txt")
    refused("nothing there", tmp_path / "none")
    assert not (tmp_path / "out").exists()


def test_without_an_archive_the_manual_step_comes_before_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts.write_cub(tmp_path / "cub")
    archive, reed = layouts.as_archives(tmp_path / "cub")
    asked: list[Path] = []

    def fetch(files: list[Remote], folder: Path) -> list[Path]:
        assert [file.name for file in files] == ["CUB_200_2011.tgz"]
        asked.append(folder)
        return [archive]

    monkeypatch.setattr("memdriven.data.photos.fetch_all", fetch)
    with pytest.raises(DataError, match=r"drive\.google\.com.*no such file in .*archives"):
        prepare_cub(tmp_path / "data/out")
    assert not asked
    with pytest.raises(DataError, match="nothing there"):
        prepare_cub(tmp_path / "data/out", captions=[tmp_path / "gone.tgz"])
    assert not asked
    data = prepare_cub(tmp_path / "data/out", captions=[reed], image_size=16)
    assert asked.pop() == tmp_path / "data/archives"
    assert len(data) == 2
    shutil.copy(reed, tmp_path / "cvpr2016_cub.tar.gz")
    prepare_cub(tmp_path / "data/out", downloads=tmp_path, image_size=16)
    assert asked == [tmp_path]


def test_the_split_by_species_is_150_to_50() -> None:
    test = set(FACTS["cub"]["test"])
    assert len(test) == 50
    assert min(test) >= 1
    assert max(test) <= 200
    assert [remote.size for remote in CUB.remotes] == [1_150_585_339]


@pytest.mark.parametrize(
    "box", ["900 900 10 10", "10 10 0 10", "-90 0 20 20", "nan 1 1 1", "0 0 inf 9", "0 0 1e308 9"]
)
def test_a_box_that_shows_nothing_of_its_picture_is_refused(tmp_path: Path, box: str) -> None:
    layouts.write_cub(tmp_path / "cub")
    (tmp_path / "cub/CUB_200_2011/bounding_boxes.txt").write_text(f"1 {box}\n2 -20 -20 60 60\n")
    with pytest.raises(DataError, match=r"within the 60 x 40 px of .*Auk_0001_2\.jpg"):
        prepare_cub(tmp_path / "out", archive=[tmp_path / "cub"], image_size=16)
    (tmp_path / "cub/CUB_200_2011/bounding_boxes.txt").write_text("1 -20 -20 25 25\n2 59 39 60 60\n")
    data = prepare_cub(tmp_path / "out", archive=[tmp_path / "cub"], image_size=16)
    assert all(np.asarray(data.load_image(item)).mean() > 40 for item in data.items), "clipped, not black"


def test_tables_and_names_as_other_systems_write_them(tmp_path: Path) -> None:
    layouts.write_cub(tmp_path / "cub")
    official = tmp_path / "cub/CUB_200_2011"
    for table in official.glob("*.txt"):
        text = table.read_text().replace(" ", "\t").replace("\n", "\r\n")
        table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    layouts.write_flowers(tmp_path / "flowers")
    for photo in (*official.rglob("*.jpg"), *(tmp_path / "flowers/jpg").iterdir()):
        photo.rename(photo.with_suffix(".JPG"))
    assert len(prepare_cub(tmp_path / "out", archive=[tmp_path / "cub"], image_size=32)) == 2
    assert len(prepare_flowers(tmp_path / "pink", archive=[tmp_path / "flowers"], image_size=32)) == 2


def test_what_a_mac_packs_beside_the_captions_is_no_caption(tmp_path: Path) -> None:
    layouts.write_flowers(tmp_path / "f")
    for path in list((tmp_path / "f").rglob("*.*")):
        path.with_name("._" + path.name).write_bytes(b"\0\5\x16\7")
        mirror = tmp_path / "f/__MACOSX" / path.relative_to(tmp_path / "f")
        mirror.parent.mkdir(parents=True, exist_ok=True)
        mirror.write_bytes(b"\0\5\x16\7")
    assert len(prepare_flowers(tmp_path / "out", archive=[tmp_path / "f"], image_size=16)) == 2


def test_numbers_and_names_without_end_are_refused(tmp_path: Path) -> None:
    layouts.write_flowers(tmp_path / "f")
    long = tmp_path / "f/cvpr2016_flowers/text_c10" / ("class_" + "9" * 200)
    layouts.write_text(long / "image_00002.txt", "x\n")
    layouts.write_text(tmp_path / "f/cvpr2016_flowers/testclasses.txt", "9" * 5000 + "\n")
    with pytest.raises(DataError):
        prepare_flowers(tmp_path / "out", archive=[tmp_path / "f"])
    layouts.write_cub(tmp_path / "cub")
    (tmp_path / "cub/CUB_200_2011/images.txt").write_text(f"1 001.Auk/{'a' * 300}.jpg\n")
    with pytest.raises(DataError):
        prepare_cub(tmp_path / "out", archive=[tmp_path / "cub"])
    layouts.write_coco(tmp_path / "coco")
    listing = tmp_path / "coco/annotations/captions_train2014.json"
    for number in ("1" + "0" * 300, "1" + "0" * 5000, "1e999", "NaN", "-1"):
        images = f'{{"images": [{{"id": {number}, "file_name": "a.jpg"}}], "annotations": []}}'
        listing.write_text(images)
        with pytest.raises(DataError, match="annotations again"):
            prepare_coco(tmp_path / "out", archive=[tmp_path / "coco"])


@pytest.mark.parametrize("pack", layouts.PACKINGS)
@pytest.mark.parametrize(("lists", "split"), [(True, "train"), (False, "test")])
def test_flowers_from_every_packing(
    tmp_path: Path, pack: Callable[[Path], list[Path]], lists: bool, split: str
) -> None:
    layouts.write_flowers(tmp_path / "f")
    if lists:
        layouts.write_text(tmp_path / "f/cvpr2016_flowers/testclasses.txt", "class_00006\n")
    data = prepare_flowers(tmp_path / "out", archive=pack(tmp_path / "f"), image_size=16)
    assert len(data.classes) == 102
    first = data.items[0]
    assert (first.id, first.class_id, first.split, first.box) == ("image_00001", 4, split, None)
    assert first.captions == ("a pink flower",)


def test_flowers_with_the_captions_apart(tmp_path: Path) -> None:
    layouts.write_flowers(tmp_path / "f")
    shutil.move(tmp_path / "f/cvpr2016_flowers", tmp_path / "reed")
    with pytest.raises(DataError, match=r"cvpr2016_flowers\.tar\.gz .* --captions"):
        prepare_flowers(tmp_path / "out", archive=[tmp_path / "f"])
    with pytest.raises(DataError, match="browsers only"):
        prepare_flowers(tmp_path / "out")
    data = prepare_flowers(
        tmp_path / "out", archive=[tmp_path / "f"], captions=[tmp_path / "reed"], image_size=16
    )
    assert len(data) == 2


def test_flowers_without_a_photo_or_with_a_strange_class(tmp_path: Path) -> None:
    layouts.write_flowers(tmp_path / "f")
    strange = tmp_path / "f/cvpr2016_flowers/text_c10/class_00103/image_00002.txt"
    layouts.write_text(strange, "x\n")
    with pytest.raises(DataError, match=r"one class of image_00002.*class_00006.*class_00103"):
        prepare_flowers(tmp_path / "out", archive=[tmp_path / "f"])
    strange.rename(strange.with_name("image_00003.txt"))
    with pytest.raises(DataError, match=r"a class 1..102.*class_00103"):
        prepare_flowers(tmp_path / "out", archive=[tmp_path / "f"])
    strange.with_name("image_00003.txt").unlink()
    (tmp_path / "f/jpg/image_00001.jpg").unlink()
    with pytest.raises(DataError, match="image_00001"):
        prepare_flowers(tmp_path / "out", archive=[tmp_path / "f"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pack", layouts.PACKINGS)
def test_coco_from_every_packing(tmp_path: Path, pack: Callable[[Path], list[Path]]) -> None:
    layouts.write_coco(tmp_path / "coco")
    data = prepare_coco(tmp_path / "out", archive=pack(tmp_path / "coco"), image_size=16)
    assert [(i.id, i.split, len(i.captions)) for i in data.items] == [
        ("train2014-000000000009", "train", 5),
        ("val2014-000000000042", "test", 5),
    ]
    assert data.items[0].class_id is None


def test_coco_is_downloaded_without_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.write_coco(tmp_path / "coco")

    def fetch(files: list[Remote], folder: Path) -> list[Path]:
        assert folder == tmp_path / "data/archives"
        assert [file.name for file in files] == [
            "train2014.zip",
            "val2014.zip",
            "annotations_trainval2014.zip",
        ]
        return layouts.as_archives(tmp_path / "coco")

    monkeypatch.setattr("memdriven.data.photos.fetch_all", fetch)
    assert len(prepare_coco(tmp_path / "data/coco", image_size=16)) == 2


def test_coco_with_damaged_annotations_or_missing_photos(tmp_path: Path) -> None:
    layouts.write_coco(tmp_path / "coco")
    shutil.rmtree(tmp_path / "coco/val2014")
    with pytest.raises(DataError, match="whole of val2014"):
        prepare_coco(tmp_path / "out", archive=[tmp_path / "coco"])
    listing = tmp_path / "coco/annotations/captions_train2014.json"
    for content in ('{"images": 3', '{"images": [], "annotations": [{"image_id": []}]}', "[]"):
        layouts.write_text(listing, content)
        with pytest.raises(DataError, match="annotations again"):
            prepare_coco(tmp_path / "out", archive=[tmp_path / "coco"])
    assert not (tmp_path / "out").exists()
    layouts.write_coco(tmp_path / "coco")
    layouts.write_text(listing, listing.read_text().replace('"scene 0\\n"', "null"))
    captions = prepare_coco(tmp_path / "out", archive=[tmp_path / "coco"]).split("train")[0].captions
    assert captions == ("scene 1", "scene 2", "scene 3", "scene 4")


def test_what_official_archives_hold_beyond_each_other_is_told(tmp_path: Path) -> None:
    layouts.write_flowers(tmp_path / "f")
    layouts.write_photo(tmp_path / "f/jpg/image_00009.jpg")
    flowers = prepare_flowers(tmp_path / "flowers", archive=[tmp_path / "f"], image_size=16)
    assert "1 image without a caption left out, e.g. jpg/image_00009.jpg" in flowers.header["notes"]
    layouts.write_cub(tmp_path / "cub")
    layouts.write_text(tmp_path / "cub/cvpr2016_cub/text_c10/009.Owl/Owl_1.txt", "an owl\n")
    birds = prepare_cub(tmp_path / "birds", archive=[tmp_path / "cub"], image_size=16)
    assert "1 caption file of no image left out, e.g. Owl_1" in birds.header["notes"]
    layouts.write_coco(tmp_path / "coco")
    listing = tmp_path / "coco/annotations/captions_train2014.json"
    listing.write_text(
        listing.read_text().replace('"image_id": 9, "caption": "scene 4', '"image_id": 5, "caption": "x')
    )
    coco = prepare_coco(tmp_path / "scenes", archive=[tmp_path / "coco"], image_size=16)
    assert coco.header["notes"][:2] == [
        "1 caption of an image that is not listed left out, e.g. 5",
        "2 images without a caption left out, e.g. no.jpg",
    ]


def test_coco_whose_captions_belong_to_no_image_is_refused(tmp_path: Path) -> None:
    layouts.write_coco(tmp_path / "coco")
    listing = tmp_path / "coco/annotations/captions_train2014.json"
    whole = listing.read_text()
    for number in ('"9"', "9.5", "true"):
        listing.write_text(whole.replace('"image_id": 9', f'"image_id": {number}'))
        with pytest.raises(DataError, match=r"an image's id in .*train2014.*annotations again"):
            prepare_coco(tmp_path / "out", archive=[tmp_path / "coco"])
    listing.write_text(whole.replace('"image_id": 9', '"image_id": 5'))
    with pytest.raises(DataError, match=r"images to train on .*1 image in other splits"):
        prepare_coco(tmp_path / "out", archive=[tmp_path / "coco"])


def test_texts_in_utf16_are_read(tmp_path: Path) -> None:
    layouts.write_cub(tmp_path / "cub")
    for text in (tmp_path / "cub").rglob("*.txt"):
        text.write_bytes(text.read_text().replace("Auk/", "Auk\\").encode("utf-16"))
    data = prepare_cub(tmp_path / "out", archive=[tmp_path / "cub"], image_size=16)
    assert [item.captions for item in data.items] == [
        ("a bird of 001", "black wings"),
        ("a bird of 002", "black wings"),
    ]


CONTENT = bytes(range(256)) * 1200
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A server of CONTENT, cut as its path says: `/100/birds.tgz` breaks off after 100 bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            cut = self.path.split("/")[1]
            if not cut.isdigit():
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: int(cut)])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def _remote(host: ThreadingHTTPServer, place: object, name: str = "birds.tgz") -> Remote:
    return Remote(f"http://127.0.0.1:{host.server_port}/{place}/{name}", len(CONTENT), SUM)


def test_official_files_are_fetched_once_and_checked(host: ThreadingHTTPServer, tmp_path: Path) -> None:
    files = [_remote(host, 400_000), _remote(host, 400_000, "small.zip")]
    paths = fetch_all(files, tmp_path / "new")
    assert [path.name for path in paths] == ["birds.tgz", "small.zip"]
    assert all(path.read_bytes() == CONTENT for path in paths)
    assert fetch(_remote(host, "gone"), tmp_path / "new") == paths[0], "not asked for again"
    paths[0].write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"another file at .*birds\.tgz; what to do: remove it"):
        fetch(files[0], tmp_path / "new")
    assert paths[0].exists(), "it may be the user's own"


@pytest.mark.parametrize(("place", "found"), [("gone", "HTTP Error 404"), (1000, "hash"), (0, "hash")])
def test_a_failed_download_is_told_and_leaves_nothing(
    host: ThreadingHTTPServer, tmp_path: Path, place: object, found: str
) -> None:
    with pytest.raises(DataError, match=rf"birds\.tgz \(0 MB\) from http.*{found}") as caught:
        fetch(_remote(host, place), tmp_path)
    assert "--archive PATH" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_is_down_or_falls_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/a.zip"
        with pytest.raises(DataError, match="timed out"):
            fetch(Remote(url, 9, SUM), tmp_path)
    with pytest.raises(DataError, match="refused"):
        fetch(Remote(url, 9, SUM), tmp_path)
    assert socket.getdefaulttimeout() is None


def test_a_disk_without_room_is_told_before_the_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1000000\.0 GB of room.*--downloads"):
        fetch_all([Remote("http://nowhere.invalid/a.zip", 10**15, SUM)], tmp_path / "new")
