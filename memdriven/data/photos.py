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

from __future__ import annotations

import http.client
import re
import shutil
import socket
import ssl
import urllib.error
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import torch

from memdriven.data.archive import Archive, open_archives
from memdriven.data.prepared import Item, PreparedDataset, assemble, clean, refuse_other_content
from memdriven.data.vocabulary import MAX_CHARACTERS, tokenize
from memdriven.errors import DataError, require
from memdriven.files import explain_disk_errors, sha256_file
from memdriven.numbers import counted, parse_json

TEST_LIST = "testclasses.txt"
TRAINING_LISTS = ("trainvalclasses.txt", "trainclasses.txt", "valclasses.txt")
FLOWER_CLASSES = 102
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as dead."""
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError)

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
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True)
class PhotoSet:
    """Where a data set comes from, and how it is read."""

    name: str
    source: str
    licence: str
    remotes: tuple[Remote, ...]
    """Sizes and sums are those that TensorFlow Datasets records."""
    read: Callable[[Archive], _Read]
    captions: tuple[str, str] | None = None
    """Reed's captions: their archive's name and page (that github.com/reedscot/cvpr2016 names), which
    serves browsers alone."""


# -- Official files -------------------------------------------------------------------------------------


def fetch(file: Remote, folder: Path, progress: bool = True) -> Path:
    """Return an official file in a folder, downloaded unless it is there, once its SHA-256 is right."""
    target = folder / file.name
    elsewhere = f"fetch {file.url} yourself (curl -C - -O goes on after a break); give it with --archive PATH"
    if target.is_file():
        good = sha256_file(target) == file.sha256
        wanted, found = f"{file.name} with SHA-256 {file.sha256}", f"another file at {target}"
        require(good, DataError, wanted, found, f"remove it, then try again, or {elsewhere}")
        return target
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with explain_disk_errors(target):
            torch.hub.download_url_to_file(file.url, str(target), file.sha256, progress)
    except (*_NETWORK, RuntimeError) as error:  # RuntimeError: another sum
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        found = f"{type(error).__name__}: {error}"
        wanted = f"{file.name} ({file.size / 1e6:,.0f} MB) from {file.url}, SHA-256 {file.sha256}"
        raise DataError(wanted, found, f"try again later, or {elsewhere}") from error
    finally:
        socket.setdefaulttimeout(before)
    return target


def fetch_all(files: Sequence[Remote], folder: Path, progress: bool = True) -> list[Path]:
    """Download several files, the smallest first, unless all of them do not fit on the disk."""
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    wanted = sum(file.size for file in files if not (folder / file.name).is_file())
    free = shutil.disk_usage(folder).free
    require(
        wanted <= free,
        DataError,
        f"{wanted / 1e9:.1f} GB of room for archives in {folder}",
        f"{free / 1e9:.1f} GB free",
        "free some space, or choose another folder with --downloads",
    )
    return [fetch(file, folder, progress) for file in sorted(files, key=lambda file: file.size)]


def _prepare(
    photos: PhotoSet,
    out: Path,
    archives: Sequence[Path | str],
    captions: Sequence[Path | str],
    downloads: Path | str | None,
    image_size: int,
    progress: bool,
) -> PreparedDataset:
    refuse_other_content(out)  # before a download, too
    given = [Path(path) for path in (*archives, *captions)]
    for path in given:
        require(path.exists(), DataError, f"the archive or folder {path}", "nothing there", "check the path")
    if not archives:
        folder = out.absolute().parent / "archives" if downloads is None else Path(downloads)
        if photos.captions and not captions:
            name, page = photos.captions
            given = [folder / name]
            require(
                given[0].is_file(),
                DataError,
                f"{name}, which its host gives to browsers only: {page}",
                f"no such file in {folder}",
                f"open that page, download the file, give it with --captions PATH, or move it into {folder}",
            )
        given = [*fetch_all(photos.remotes, folder, progress), *given]
    with open_archives(*given) as files:
        classes, pictures, notes = photos.read(files)
        return assemble(
            out,
            files,
            pictures,
            cut_boxes=True,
            name=photos.name,
            classes=classes,
            image_size=image_size,
            source=photos.source,
            licence=photos.licence,
            notes=notes,
            progress=progress,
        )


# -- CUB and flowers ------------------------------------------------------------------------------------


def prepare_cub(
    out: Path | str,
    *,
    archive: Sequence[Path | str] = (),
    captions: Sequence[Path | str] = (),
    downloads: Path | str | None = None,
    image_size: int = 256,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare CUB-200-2011: class-disjoint split, birds cropped by their box, Reed's captions.

    The photographs (1.2 GB) are downloaded; Reed's captions, cvpr2016_cub.tar.gz, lie where only
    browsers are served, and are given with `captions`.

    Args:
        out: folder for the data set.
        archive: CUB_200_2011 as a folder, .tgz or .zip, or folders with all the archives;
            without any, the official archive is downloaded.
        captions: Reed's captions as folders or archives, where `archive` does not hold them.
        downloads: where downloads go and are looked for; `archives` beside `out` by default.
        image_size: side in px.
        progress: show bars.

    Raises:
        DataError: the host is down, a file is missing or malformed, Reed's captions have to be
            fetched by hand, or `out` cannot be written.
    """
    return _prepare(CUB, Path(out), archive, captions, downloads, image_size, progress)


def prepare_flowers(
    out: Path | str,
    *,
    archive: Sequence[Path | str] = (),
    captions: Sequence[Path | str] = (),
    downloads: Path | str | None = None,
    image_size: int = 256,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare Oxford-102 flowers, split by class, with Reed's captions.

    The photographs (0.3 GB) are downloaded; Reed's captions, cvpr2016_flowers.tar.gz, lie where only
    browsers are served, and are given with `captions`.

    Args:
        out: folder for the data set.
        archive: the images' folder or archive (102flowers.tgz), or folders with all archives;
            without any, the official archive is downloaded.
        captions: Reed's captions as folders or archives, where `archive` does not hold them.
        downloads: where downloads go and are looked for; `archives` beside `out` by default.
        image_size: side in px.
        progress: show bars.

    Raises:
        DataError: as `prepare_cub`.
    """
    return _prepare(FLOWERS, Path(out), archive, captions, downloads, image_size, progress)


class _Reed:
    """Captions and test classes as Reed et al. packed them."""

    def __init__(self, files: Archive, archive: str, default: frozenset[int]) -> None:
        self.files, self.test, self.origin = files, default, "built in"
        matches = files.matching(r"text(?:_c10)?/(?P<class>[^/]+)/(?P<stem>[^/]+)\.txt")
        fix = f"give {archive} with --captions PATH"
        require(matches, DataError, f"captions text_c10/*/*.txt in {files.place}", "none", fix)
        self.texts = {match["stem"]: match for match in matches}
        if name := files.find(TEST_LIST):
            self.test, self.origin = self._class_list(name), name
            others = filter(None, map(files.find, TRAINING_LISTS))
            shared = {number for other in others for number in self.test & self._class_list(other)}
            require(
                self.test and not shared,
                DataError,
                f"test classes in {name} that are not training classes, too",
                f"shared ones, e.g. {min(shared)}" if shared else "no class",
                "give the official class lists, or none",
            )

    def _class_list(self, name: str) -> frozenset[int]:
        """Return the numbers in lines such as `001.Black_footed_Albatross` or `class_00001`."""
        numbers = re.findall(r"(?m)^\s*(?:class_)?(\d{1,6})(?!\d)", self.files.text(name))
        return frozenset(int(number) for number in numbers)

    def item(
        self, stem: str, number: int, classes: Sequence[str], box: Sequence[float] | None = None
    ) -> Item:
        """Return the item of an image of class `number`, counted from 1."""
        wanted, found = f"the captions text_c10/.../{stem}.txt", f"{len(self.texts)} other caption files"
        require(stem in self.texts, DataError, wanted, found, "give Reed's archive whole")
        text = self.texts[stem].string
        return Item(
            id=stem,
            split="test" if number in self.test else "train",
            class_id=number - 1,
            class_name=classes[number - 1],
            captions=_clean_captions(self.files.text(text).splitlines(), text),
            box=box,
        )


def _clean_captions(lines: Iterable[str], name: str) -> list[str]:
    """Return captions without empty, overlong and repeated ones; none at all are refused."""
    tidy = (" ".join(clean(line).replace("\ufffd", " ").split()) for line in lines)
    captions = [line for line in tidy if tokenize(line) and len(line) <= MAX_CHARACTERS]
    require(captions, DataError, f"captions in {name}", "none", "download it again")
    return list(dict.fromkeys(captions))


def _read_cub(files: Archive) -> _Read:
    classes = [name.partition(".")[2] for name in _table(files, "classes.txt").values()]
    labels, boxes = _table(files, "image_class_labels.txt"), _table(files, "bounding_boxes.txt")
    root = files.need("images.txt").removesuffix("images.txt")
    reed, pictures = _Reed(files, "cvpr2016_cub.tar.gz", CUB_TEST), []
    for number, name in _table(files, "images.txt").items():
        try:
            class_number = int(labels[number])
            left, top, width, height = map(float, boxes[number].split())
            if not 1 <= class_number <= len(classes):
                raise ValueError(f"class {class_number} of {len(classes)}")
        except (KeyError, ValueError) as error:
            wanted = f"a class and a box of 4 numbers for image {number}, {name}"[:300]
            found = f"{type(error).__name__}: {error}"[:200]
            raise DataError(wanted, found, "give the official archive") from error
        item = reed.item(PurePosixPath(name).stem, class_number, classes, (left, top, width, height))
        pictures.append((item, f"{root}images/{name}"))
    return classes, pictures, [f"test classes: {reed.origin}"]


def _table(files: Archive, name: str) -> dict[str, str]:
    """Read a table `<number> <rest>`, one entry a line."""
    pairs = (line.strip().partition(" ") for line in files.text(files.need(name)).splitlines())
    return {number: rest.strip() for number, _, rest in pairs if number}


def _read_flowers(files: Archive) -> _Read:
    """Return the images that have captions; the captions' folders are what tells their classes."""
    images = {match["stem"]: match.string for match in files.matching(r"(?P<stem>image_\d+)\.jpg")}
    classes = [f"class_{number:05d}" for number in range(1, FLOWER_CLASSES + 1)]
    reed, pictures = _Reed(files, "cvpr2016_flowers.tar.gz", FLOWERS_TEST), []
    for stem, text in sorted(reed.texts.items()):
        folder = re.fullmatch(r"class_(\d{1,6})", text["class"])
        number = int(folder[1]) if folder else 0
        require(
            stem in images and 1 <= number <= FLOWER_CLASSES,
            DataError,
            f"jpg/{stem}.jpg of a class 1..{FLOWER_CLASSES} for {text.string}"[:300],
            f"folder {text['class'][:80]}, {counted(len(images), 'image')}",
            "give the official archives",
        )
        pictures.append((reed.item(stem, number, classes), images[stem]))
    return classes, pictures, [f"test classes: {reed.origin}"]


CUB_TEST = frozenset(  # Reed's class-disjoint split: 50 test species, the other 150 are for training
    (1, 4, 6, 8, 9, 14, 23, 29, 31, 33, 34, 35, 36, 37, 38, 43, 49, 51, 53, 66, 72, 79, 83, 84, 86)
    + (91, 95, 96, 98, 101, 102, 103, 112, 114, 119, 121, 130, 135, 138, 147, 156, 163, 165, 166)
    + (180, 183, 185, 186, 187, 197)
)
FLOWERS_TEST = frozenset(range(5, FLOWER_CLASSES + 1, 5))  # every fifth class [ours]
CUB = PhotoSet(
    "cub",
    "CUB-200-2011 (Wah et al. 2011), captions of Reed et al. 2016",
    "for research; see the data sets' pages",
    (
        Remote(
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            1_150_585_339,
            "0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
        ),
    ),
    _read_cub,
    (
        "cvpr2016_cub.tar.gz",
        "https://drive.google.com/file/d/0B0ywwgffWnLLZW9uVHNjb2JmNlE/view?resourcekey=0-8y2UVmBHAlG26HafWYNoFQ",
    ),
)
FLOWERS = PhotoSet(
    "flowers",
    "Oxford-102 (Nilsback & Zisserman 2008), captions of Reed et al. 2016",
    "for research; see the data sets' pages",
    (
        Remote(
            "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
            344_862_509,
            "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
        ),
    ),
    _read_flowers,
    (
        "cvpr2016_flowers.tar.gz",
        "https://drive.google.com/file/d/0B0ywwgffWnLLcms2WWJQRFNSWXM/view?resourcekey=0-Av8zFbeDDvNcF1sSjDR32w",
    ),
)


# -- COCO -----------------------------------------------------------------------------------------------


def prepare_coco(
    out: Path | str,
    *,
    archive: Sequence[Path | str] = (),
    downloads: Path | str | None = None,
    image_size: int = 256,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare COCO 2014 with its captions; an image that has none is left out.

    Args:
        out: folder for the data set.
        archive: the photos and annotations as folders, the official zips, or a folder of those;
            without any, the official zips are downloaded (20 GB).
        downloads: where downloads go; `archives` beside `out` by default.
        image_size: side in px.
        progress: show bars.

    Raises:
        DataError: the host is down, a file of the layout is missing or malformed, or `out` cannot
            be written.
    """
    return _prepare(COCO, Path(out), archive, (), downloads, image_size, progress)


def _read_coco(files: Archive) -> _Read:
    return [], [*_coco_part(files, "train", "train2014"), *_coco_part(files, "test", "val2014")], []


def _coco_part(files: Archive, split: str, part: str) -> Iterator[tuple[Item, str]]:
    listing = files.need(f"captions_{part}.json")
    photos = {m["name"]: m.string for m in files.matching(rf"{part}/(?P<name>[^/]+\.jpg)")}
    captions: dict[int, list[str]] = defaultdict(list)
    try:
        content: dict[str, Any] = parse_json(files.read(listing))
        for annotation in content["annotations"]:
            captions[annotation["image_id"]].append(str(annotation["caption"]))
        named = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
        if not all(0 <= number < 10**12 for number in named):
            raise ValueError("an id that is no number of an image")
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        found = f"{type(error).__name__}: {error}"[:200]
        raise DataError(f"COCO captions in {listing}", found, "download the annotations again") from error
    for number, name in named.items():
        if number in captions:
            wanted, fix = f"{part}/{name} in {files.place}", f"give the whole of {part}"
            require(name in photos, DataError, wanted, "no such photo", fix)
            usable = _clean_captions(captions[number], f"{listing}, image {number}")
            yield Item(id=f"{part}-{number:012d}", split=split, captions=usable), photos[name]


_HOST = "http://images.cocodataset.org"  # its certificate is another host's; the sums protect us
COCO = PhotoSet(
    "coco",
    "COCO 2014 (Lin et al. 2014)",
    "photos: their Flickr licences; captions: CC-BY 4.0",
    (
        Remote(
            f"{_HOST}/zips/train2014.zip",
            13_510_573_713,
            "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
        ),
        Remote(
            f"{_HOST}/zips/val2014.zip",
            6_645_013_297,
            "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
        ),
        Remote(
            f"{_HOST}/annotations/annotations_trainval2014.zip",
            252_872_794,
            "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
        ),
    ),
    _read_coco,
)
