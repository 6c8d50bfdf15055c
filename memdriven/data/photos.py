"""Photographs with captions in their official layouts: CUB-200-2011, Oxford-102 flowers, COCO 2014.

CUB:      `CUB_200_2011/` with images.txt, classes.txt, image_class_labels.txt, bounding_boxes.txt, images/
flowers:  `jpg/image_00001.jpg`, captions in the folders `class_00001` to `class_00102`
COCO:     `train2014/`, `val2014/` with the photos, `annotations/captions_*2014.json`

CUB and flowers have ten captions an image and a split by class by Reed et al., "Learning Deep
Representations of Fine-Grained Visual Descriptions", CVPR 2016: `text_c10/<class>/<image>.txt`, one a
line, and the class lists `trainvalclasses.txt` and `testclasses.txt`.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from memdriven.data.archive import Archive, open_archives
from memdriven.data.assemble import assemble, clean, refuse_other_content
from memdriven.data.download import ByHand, Remote, fetch_all
from memdriven.data.prepared import Item, PreparedDataset
from memdriven.data.vocabulary import MAX_CHARACTERS, tokenize
from memdriven.errors import DataError, require
from memdriven.numbers import counted, parse_json

TEST_LIST = "testclasses.txt"
TRAINING_LISTS = ("trainvalclasses.txt", "trainclasses.txt", "valclasses.txt")
BOX_MARGIN = 1.5
FLOWER_CLASSES = 102

Box = tuple[float, float, float, float]
"""Left, top, width, height in px."""


@dataclass(frozen=True)
class Photo:
    """One photograph of a data set."""

    stem: str
    file: str
    """Name in the archive."""
    class_number: int
    """Counted from 1."""
    box: Box | None = None
    """Of the object, round which the picture is cut."""


@dataclass(frozen=True)
class CaptionedSet:
    """Where a data set with Reed's captions comes from, and how to read its own part."""

    name: str
    source: str
    photos: Remote
    captions: ByHand
    """The page is the one that github.com/reedscot/cvpr2016 names."""
    test_classes: frozenset[int]
    """Counted from 1; used where the archives hold no `testclasses.txt`."""
    read: Callable[[Archive], tuple[list[str], list[Photo]]]
    """Returns class names by class id, and the photographs."""


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
    return _prepare_captioned(CUB, Path(out), archive, captions, downloads, image_size, progress)


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
    return _prepare_captioned(FLOWERS, Path(out), archive, captions, downloads, image_size, progress)


def _prepare_captioned(
    kind: CaptionedSet,
    out: Path,
    archives: Sequence[Path | str],
    captions: Sequence[Path | str],
    downloads: Path | str | None,
    image_size: int,
    progress: bool,
) -> PreparedDataset:
    by_hand = None if captions else kind.captions
    with _official_files(out, archives, captions, [kind.photos], by_hand, downloads, progress) as files:
        classes, photos = kind.read(files)
        test, origin = _test_classes(files, kind.test_classes)
        texts = _caption_files(files)
        if not texts:
            fix = f"give {kind.captions.name} (from {kind.captions.page}) with --captions PATH"
            raise DataError(f"captions text_c10/*/*.txt in {files.place}", "none", fix)
        pictures = []
        for photo in photos:
            if photo.stem not in texts:
                wanted = f"the captions text_c10/.../{photo.stem}.txt"
                raise DataError(
                    wanted, f"{len(texts)} other caption files", f"give {kind.captions.name} whole"
                )
            text = texts[photo.stem].string
            item = Item(
                id=photo.stem,
                split="test" if photo.class_number in test else "train",
                class_id=photo.class_number - 1,
                class_name=classes[photo.class_number - 1],
                captions=_clean_captions(files.text(text).splitlines(), text),
                box=photo.box,
            )
            pictures.append((item, photo.file))
        return assemble(
            out,
            files,
            pictures,
            crop=square_around,
            name=kind.name,
            classes=classes,
            image_size=image_size,
            source=kind.source,
            licence="for research; see the data sets' pages",
            test_classes=origin,
            progress=progress,
        )


@contextlib.contextmanager
def _official_files(
    out: Path,
    archives: Sequence[Path | str],
    captions: Sequence[Path | str],
    remotes: Sequence[Remote],
    by_hand: ByHand | None,
    downloads: Path | str | None,
    progress: bool,
) -> Iterator[Archive]:
    """Open the archives that were given, or else those that are downloaded."""
    refuse_other_content(out)
    given = [Path(path) for path in (*archives, *captions)]
    for path in given:
        require(path.exists(), DataError, f"the archive or folder {path}", "nothing there", "check the path")
    if not archives:
        folder = out.absolute().parent / "archives" if downloads is None else Path(downloads)
        found = [by_hand.find(folder)] if by_hand else []
        given = [*fetch_all(remotes, folder, progress), *found, *given]
    with open_archives(*given) as files:
        yield files


def _caption_files(files: Archive) -> dict[str, re.Match[str]]:
    """Return image stem -> its caption file, wherever a `text*` folder holds them."""
    matches = files.matching(r"text(?:_c10)?/(?P<class>[^/]+)/(?P<stem>[^/]+)\.txt")
    return {match["stem"]: match for match in matches}


def _clean_captions(lines: Iterable[str], name: str) -> list[str]:
    """Return captions without empty, overlong and repeated ones; none at all are refused."""
    tidy = (" ".join(clean(line).replace("\ufffd", " ").split()) for line in lines)
    captions = [line for line in tidy if tokenize(line) and len(line) <= MAX_CHARACTERS]
    if not captions:
        raise DataError(f"captions in {name}", "none", "download it again")
    return list(dict.fromkeys(captions))


def _test_classes(files: Archive, default: frozenset[int]) -> tuple[frozenset[int], str]:
    """Return the test classes, which share none with training, and where the choice comes from."""
    name = files.find(TEST_LIST)
    if name is None:
        return default, "built in"
    test = _class_list(files, name)
    others = [other for other in map(files.find, TRAINING_LISTS) if other]
    shared = {number for other in others for number in test & _class_list(files, other)}
    if not test or shared:
        raise DataError(
            f"test classes in {name} that are not training classes, too",
            f"shared ones, e.g. {min(shared)}" if shared else "no class",
            "give the official class lists, or none",
        )
    return test, name


def _class_list(files: Archive, name: str) -> frozenset[int]:
    """Return the numbers in lines such as `001.Black_footed_Albatross` or `class_00001`."""
    numbers = re.findall(r"(?m)^\s*(?:class_)?(\d{1,6})(?!\d)", files.text(name))
    return frozenset(int(number) for number in numbers)


def _read_cub(files: Archive) -> tuple[list[str], list[Photo]]:
    classes = [name.partition(".")[2] for name in _table(files, "classes.txt").values()]
    labels, boxes = _table(files, "image_class_labels.txt"), _table(files, "bounding_boxes.txt")
    root = files.need("images.txt").removesuffix("images.txt")
    photos = []
    for number, name in _table(files, "images.txt").items():
        try:
            class_number = int(labels[number])
            left, top, width, height = (float(part) for part in boxes[number].split())
            if not 1 <= class_number <= len(classes):
                raise ValueError(f"class {class_number} of {len(classes)}")
        except (KeyError, ValueError) as error:
            raise DataError(
                f"a class and a box of 4 numbers for image {number}, {name}"[:300],
                f"{type(error).__name__}: {error}"[:200],
                "give the official archive",
            ) from error
        box = (left, top, width, height)
        photos.append(Photo(PurePosixPath(name).stem, f"{root}images/{name}", class_number, box))
    return classes, photos


def _table(files: Archive, name: str) -> dict[str, str]:
    """Read a table `<number> <rest>`, one entry a line."""
    lines = files.text(files.need(name)).splitlines()
    pairs = (line.strip().partition(" ") for line in lines if line.strip())
    return {number: rest.strip() for number, _, rest in pairs}


def square_around(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the crop of 1.5 * max(width, height) around a box's centre, clipped [family].

    The box is left, top, width, height in px; the crop left, top, right, bottom, never empty.
    """
    left, top, width, height = box
    half = max(1, int(max(width, height) * BOX_MARGIN / 2))
    across = min(max(int(left + width / 2), 0), size[0] - 1)
    down = min(max(int(top + height / 2), 0), size[1] - 1)
    return (
        max(0, across - half),
        max(0, down - half),
        min(size[0], across + half),
        min(size[1], down + half),
    )


def _read_flowers(files: Archive) -> tuple[list[str], list[Photo]]:
    """Return the images that have captions; the captions' folders are what tells their classes."""
    images = {m["stem"]: m.string for m in files.matching(r"(?P<stem>image_\d+)\.jpg")}
    photos = []
    for stem, text in sorted(_caption_files(files).items()):
        folder = re.fullmatch(r"class_(\d{1,6})", text["class"])
        number = int(folder[1]) if folder else 0
        require(
            stem in images and 1 <= number <= FLOWER_CLASSES,
            DataError,
            f"jpg/{stem}.jpg of a class 1..{FLOWER_CLASSES} for {text.string}"[:300],
            f"folder {text['class'][:80]}, {counted(len(images), 'image')}",
            "give the official archives",
        )
        photos.append(Photo(stem, images[stem], number))
    return [f"class_{number:05d}" for number in range(1, FLOWER_CLASSES + 1)], photos


# Sizes and sums are those that TensorFlow Datasets records.
CUB = CaptionedSet(
    "cub",
    "CUB-200-2011 (Wah et al. 2011), captions of Reed et al. 2016",
    Remote(
        "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
        1_150_585_339,
        "0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
    ),
    ByHand(
        "cvpr2016_cub.tar.gz",
        "https://drive.google.com/file/d/0B0ywwgffWnLLZW9uVHNjb2JmNlE/view?resourcekey=0-8y2UVmBHAlG26HafWYNoFQ",
    ),
    frozenset(  # Reed's class-disjoint split: 50 test species, the other 150 are for training
        (1, 4, 6, 8, 9, 14, 23, 29, 31, 33, 34, 35, 36, 37, 38, 43, 49, 51, 53, 66, 72, 79, 83, 84, 86)
        + (91, 95, 96, 98, 101, 102, 103, 112, 114, 119, 121, 130, 135, 138, 147, 156, 163, 165, 166)
        + (180, 183, 185, 186, 187, 197)
    ),
    _read_cub,
)
FLOWERS = CaptionedSet(
    "flowers",
    "Oxford-102 (Nilsback & Zisserman 2008), captions of Reed et al. 2016",
    Remote(
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
        344_862_509,
        "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
    ),
    ByHand(
        "cvpr2016_flowers.tar.gz",
        "https://drive.google.com/file/d/0B0ywwgffWnLLcms2WWJQRFNSWXM/view?resourcekey=0-Av8zFbeDDvNcF1sSjDR32w",
    ),
    frozenset(range(5, FLOWER_CLASSES + 1, 5)),  # every fifth class [ours]
    _read_flowers,
)


# -- COCO -----------------------------------------------------------------------------------------------

COCO_PARTS = {"train": "train2014", "test": "val2014"}
"""Our splits and the official parts that they are."""
_HOST = "http://images.cocodataset.org"  # its certificate is another host's; the sums protect us
COCO = (
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
)
"""Sizes and sums as recorded by TensorFlow Datasets."""


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
    out = Path(out)
    with _official_files(out, archive, (), COCO, None, downloads, progress) as files:
        return assemble(
            out,
            files,
            [picture for split in COCO_PARTS for picture in _coco_pictures(files, split)],
            name="coco",
            image_size=image_size,
            source="COCO 2014 (Lin et al. 2014)",
            progress=progress,
            licence="photos: their Flickr licences; captions: CC-BY 4.0",
        )


def _coco_pictures(files: Archive, split: str) -> Iterator[tuple[Item, str]]:
    part = COCO_PARTS[split]
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
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"COCO captions in {listing}",
            f"{type(error).__name__}: {error}"[:200],
            "download the annotations again",
        ) from error
    for number, name in named.items():
        if number in captions:
            if name not in photos:
                raise DataError(
                    f"{part}/{name} in {files.place}", "no such photo", f"give the whole of {part}"
                )
            usable = _clean_captions(captions[number], f"{listing}, image {number}")
            yield Item(id=f"{part}-{number:012d}", split=split, captions=usable), photos[name]
