"""Photographs with captions in their official layouts: CUB-200-2011, Oxford-102 flowers, COCO 2014.

CUB:      `CUB_200_2011/` with images.txt, classes.txt, image_class_labels.txt, bounding_boxes.txt, images/
flowers:  `jpg/image_00001.jpg`, captions in the folders `class_00001` to `class_00102`
COCO:     `train2014/`, `val2014/` with the photos, `annotations/captions_*2014.json`

CUB and flowers have ten captions an image and a split by class by Reed et al., "Learning Deep
Representations of Fine-Grained Visual Descriptions", CVPR 2016: `text_c10/<class>/<image>.txt`, one a
line, and the class lists `trainvalclasses.txt` and `testclasses.txt`.

Official files are downloaded by `torch.hub`, and checked against their published SHA-256 before
anything reads them.
"""

import http.client
import json
import re
import shutil
import socket
import urllib.error
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from memdriven.data.archive import Archive, open_archives
from memdriven.data.prepared import Item, PreparedDataset, Told, assemble, refuse_other_content
from memdriven.data.tables import plain_name
from memdriven.data.vocabulary import read_caption
from memdriven.errors import DataError, explained, require
from memdriven.files import explain_disk_errors, sha256_file
from memdriven.numbers import check_whole, counted, parse_json

FACTS = json.loads(Path(__file__).with_name("photos.json").read_bytes())
"""Of each data set its source, licence and `remotes`, with sizes and sums as TensorFlow Datasets records them
(COCO's host has another's certificate: the sums protect us). Where Reed's `captions` are given to browsers
alone: their archive and its page (that github.com/reedscot/cvpr2016 names). And the classes to `test` where
the archives hold no list: of CUB Reed's 50 species, of the flowers every fifth class [ours]."""
FLOWER_CLASSES = 102
TEST_LIST = "testclasses.txt"
TRAINING_LISTS = ("trainvalclasses.txt", "trainclasses.txt", "valclasses.txt")
_UNDESCRIBED = "image", "without a caption left out"
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as dead."""

_Read = tuple[list[str], list[tuple[Item, str]], list[str]]
"""Class names by class id; items, each with its photograph's name in the archive; notes."""


@dataclass(frozen=True)
class Remote:
    """A file on an official host."""

    url: str
    size: int
    """Bytes."""
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


def fetch(file: Remote, folder: Path) -> Path:
    """Return an official file in a folder, downloaded unless it is there, once its SHA-256 is right."""
    target = folder / file.name
    wanted = f"{file.name} ({file.size / 1e6:,.0f} MB) from {file.url}, SHA-256 {file.sha256}"
    elsewhere = f"fetch {file.url} yourself (curl -C - -O goes on after a break); give it with --archive PATH"
    if target.is_file():
        found, fix = f"another file at {target}", f"remove it, then try again, or {elsewhere}"
        require(sha256_file(target) == file.sha256, DataError, wanted, found, fix)
        return target
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with explain_disk_errors(target):
            torch.hub.download_url_to_file(file.url, str(target), file.sha256)
    except (OSError, http.client.HTTPException, RuntimeError) as error:  # RuntimeError: another sum
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        found, fix = f"{type(error).__name__}: {error}", f"try again later, or {elsewhere}"
        raise DataError(wanted, found, fix) from error
    finally:
        socket.setdefaulttimeout(before)
    return target


def fetch_all(files: Sequence[Remote], folder: Path) -> list[Path]:
    """Download several files, the smallest first, unless all of them do not fit on the disk."""
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    needed = sum(file.size for file in files if not (folder / file.name).is_file())
    free = shutil.disk_usage(folder).free
    wanted, found = f"{needed / 1e9:.1f} GB of room for archives in {folder}", f"{free / 1e9:.1f} GB free"
    fix = "free some space, or choose another folder with --downloads"
    require(needed <= free, DataError, wanted, found, fix)
    return [fetch(file, folder) for file in sorted(files, key=lambda file: file.size)]


class PhotoSet:
    """Where a data set comes from (its `FACTS`), and how it is read."""

    def __init__(self, name: str, read: Callable[[Archive], _Read]) -> None:
        self.name, self.read, self.facts = name, read, FACTS[name]
        self.remotes = [Remote(**remote) for remote in self.facts["remotes"]]

    def prepare(
        self,
        out: Path | str,
        *,
        archive: Sequence[Path | str] = (),
        captions: Sequence[Path | str] = (),
        downloads: Path | str | None = None,
        image_size: int = 256,
    ) -> PreparedDataset:
        """Prepare photographs with captions from their official archives.

        Birds (CUB-200-2011, 1.2 GB) are cropped by their box, and split by class, as flowers (Oxford-102,
        0.3 GB) are. Reed's captions of both, cvpr2016_cub.tar.gz and cvpr2016_flowers.tar.gz, lie where
        only browsers are served, and are given with `captions`. COCO 2014 (20 GB) has its own; a
        photograph without any is left out.

        Args:
            out: folder for the data set.
            archive: official archives, the folders that they unpack to, or folders with all of them;
                without any, they are downloaded.
            captions: Reed's captions as folders or archives, where `archive` does not hold them.
            downloads: where downloads go and are looked for; `archives` beside `out` by default.
            image_size: side in px.

        Raises:
            DataError: the host is down, a file is missing or malformed, Reed's captions have to be
                fetched by hand, or `out` cannot be written.
        """
        out = Path(out)
        refuse_other_content(out)  # before a download, too
        given = [Path(path) for path in (*archive, *captions)]
        for path in given:
            require(path.exists(), DataError, f"an archive at {path}", "nothing there", "check the path")
        if not archive:
            folder = out.absolute().parent / "archives" if downloads is None else Path(downloads)
            if "captions" in self.facts and not captions:
                name, page = self.facts["captions"]
                given = [folder / name]
                wanted = f"{name}, which its host gives to browsers only: {page}"
                fix = f"open that page, download the file, give it with --captions, or move it into {folder}"
                require(given[0].is_file(), DataError, wanted, f"no such file in {folder}", fix)
            given = [*fetch_all(self.remotes, folder), *given]
        with open_archives(*given) as files:
            classes, pictures, notes = self.read(files)
            found = f"{counted(len(pictures), 'image')} in other splits"
            train = any(item.split == "train" for item, _ in pictures)
            require(train, DataError, f"images to train on in {files.place}", found, "give the whole archive")
            return assemble(
                out,
                files,
                pictures,
                cut_boxes=True,
                name=self.name,
                classes=classes,
                image_size=image_size,
                source=self.facts["source"],
                licence=self.facts["licence"],
                notes=notes,
            )


# ---- The layouts ---------------------------------------------------------------------------------


def _read_cub(files: Archive) -> _Read:
    texts = _texts(files, "cub")
    classes = [name.partition(".")[2] for name in _table(files, "classes.txt").values()]
    labels, boxes = _table(files, "image_class_labels.txt"), _table(files, "bounding_boxes.txt")
    root = files.need("images.txt").removesuffix("images.txt")
    photos = []
    for number, name in _table(files, "images.txt").items():
        wanted = f"a class and a box of 4 numbers for image {number}, {name}"[:300]
        with explained(DataError, wanted, "give the official archive", KeyError, ValueError):
            class_number, name = int(labels[number]), plain_name(name)
            left, top, width, height = map(float, boxes[number].split())
            if not 1 <= class_number <= len(classes):
                raise ValueError(f"class {class_number} of {len(classes)}")
        box = left, top, width, height
        photos.append((PurePosixPath(name).stem, class_number, f"{root}images/{name}", box))
    lost = sorted(texts.keys() - {stem for stem, *_ in photos})
    told = Told({("caption file", "of no image left out"): lost})
    return _with_reed(files, texts, "cub", classes, photos, told)


def _table(files: Archive, name: str) -> dict[str, str]:
    """Read a table `<number> <rest>`, one entry a line."""
    rows = (line.split(maxsplit=1) for line in files.text(files.need(name)).splitlines())
    return {number: "".join(rest).strip() for number, *rest in filter(None, rows)}


def _read_flowers(files: Archive) -> _Read:
    """Return the images that have captions; the captions' folders are what tells their classes."""
    images = {match["stem"]: match.string for match in files.matching(r"(?P<stem>image_\d+)\.jpg")}
    classes = [f"class_{number:05d}" for number in range(1, FLOWER_CLASSES + 1)]
    texts, photos, told = _texts(files, "flowers"), [], Told()
    told[_UNDESCRIBED] = [name for stem, name in images.items() if stem not in texts]
    for stem, text in sorted(texts.items()):
        folder = re.fullmatch(r"class_(\d{1,6})", text["class"])
        number = int(folder[1]) if folder else 0
        good = stem in images and 1 <= number <= FLOWER_CLASSES
        wanted = f"jpg/{stem}.jpg of a class 1..{FLOWER_CLASSES} for {text.string}"[:300]
        found = f"folder {text['class'][:80]}, {counted(len(images), 'image')}"
        require(good, DataError, wanted, found, "give the official archives")
        photos.append((stem, number, images[stem], None))
    return _with_reed(files, texts, "flowers", classes, photos, told)


def _texts(files: Archive, name: str) -> dict[str, re.Match[str]]:
    """Return the names of Reed's caption files by those of their images."""
    matches = files.matching(r"text(?:_c10)?/(?P<class>[^/]+)/(?P<stem>[^/]+)\.txt")
    fix = f"give {FACTS[name]['captions'][0]} with --captions PATH"
    require(matches, DataError, f"captions text_c10/*/*.txt in {files.place}", "none", fix)
    texts: dict[str, re.Match[str]] = {}
    for match in matches:
        other, fix = texts.setdefault(match["stem"], match), "remove the one of the wrong class"
        wanted, found = f"one class of {match['stem']}"[:300], f"{other.string} and {match.string}"[:300]
        require(other["class"] == match["class"], DataError, wanted, found, fix)
    return texts


def _with_reed(
    files: Archive,
    texts: dict[str, re.Match[str]],
    name: str,
    classes: list[str],
    photos: Iterable[tuple[str, int, str, Sequence[float] | None]],
    told: Told,
) -> _Read:
    """Return items with Reed's captions and split; add to what is told.

    Photographs are given by their stems, classes (counted from 1), names and boxes.
    """

    def listed(name: str) -> frozenset[int]:
        """Return the numbers in lines such as `001.Black_footed_Albatross` or `class_00001`."""
        numbers = re.findall(r"(?m)^\s*(?:class_)?(\d{1,6})(?!\d)", files.text(name))
        return frozenset(int(number) for number in numbers)

    test = frozenset(FACTS[name]["test"])
    if lists := files.find(TEST_LIST):
        test = listed(lists)
        shared = {n for other in filter(None, map(files.find, TRAINING_LISTS)) for n in test & listed(other)}
        wanted = f"test classes in {lists} that are not training classes, too"
        found = f"shared ones, e.g. {min(shared)}" if shared else "no class"
        fix = "give the official class lists, or none"
        require(test and not shared, DataError, wanted, found, fix)
    pictures = []
    for stem, number, photo, box in photos:
        found = f"{len(texts)} other caption files"
        require(stem in texts, DataError, f"captions {stem}.txt", found, "give Reed's archive whole")
        text = texts[stem].string
        item = Item(
            id=stem,
            split="test" if number in test else "train",
            class_id=number - 1,
            class_name=classes[number - 1],
            captions=_usable_captions(files.text(text).splitlines(), text, told),
            box=box,
        )
        pictures.append((item, photo))
    return classes, pictures, [f"test classes: {lists or 'built in'}", *told.notes()]


def _usable_captions(lines: Iterable[Any], name: str, told: Told) -> list[str]:
    """Return the captions of an image, each once, and tell of the others; none at all is refused."""
    whole = (line.replace("\ufffd", " ") if isinstance(line, str) else line for line in lines)
    captions = dict.fromkeys(filter(None, (read_caption(line, name, told) for line in whole)))
    require(captions, DataError, f"captions in {name}", "none", "download it again")
    return list(captions)


def _read_coco(files: Archive) -> _Read:
    pictures, told = [], Told()
    for split, part in (("train", "train2014"), ("test", "val2014")):
        listing = files.need(f"captions_{part}.json")
        photos = {m["name"]: m.string for m in files.matching(rf"{part}/(?P<name>[^/]+\.jpg)")}
        captions: dict[int, list[Any]] = defaultdict(list)
        damaged = (ValueError, KeyError, TypeError, OverflowError)
        again = "download the annotations again"
        with explained(DataError, f"COCO captions in {listing}", again, *damaged):
            content = parse_json(files.read(listing))
            for annotation in content["annotations"]:
                captions[annotation["image_id"]].append(annotation["caption"])
            named = {image["id"]: str(image["file_name"]) for image in content["images"]}
            for number in (*named, *captions):
                check_whole(f"an image's id in {listing}", number, 0, 10**12 - 1, DataError, again)
        told["caption", "of an image that is not listed left out"] += map(
            str, sorted(captions.keys() - named.keys())
        )
        for number, name in named.items():
            if number not in captions:
                told[_UNDESCRIBED].append(name)
                continue
            require(name in photos, DataError, f"the whole of {part}", f"no {name}", "give its archive")
            usable = _usable_captions(captions[number], f"{listing}, image {number}", told)
            pictures.append((Item(id=f"{part}-{number:012d}", split=split, captions=usable), photos[name]))
    return [], pictures, told.notes()


CUB, FLOWERS, COCO = (
    PhotoSet("cub", _read_cub),
    PhotoSet("flowers", _read_flowers),
    PhotoSet("coco", _read_coco),
)
prepare_cub, prepare_flowers, prepare_coco = CUB.prepare, FLOWERS.prepare, COCO.prepare
