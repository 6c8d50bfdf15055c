"""CUB-200-2011 birds (Wah et al.) with the ten captions an image of Reed et al. 2016.

Official layouts: `CUB_200_2011/` with images.txt, classes.txt, image_class_labels.txt,
bounding_boxes.txt and images/; Reed's captions as `memdriven.data.reed` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from PIL import Image

from memdriven.data.archive import Archive
from memdriven.data.download import ByHand, Remote
from memdriven.data.prepared import PreparedDataset
from memdriven.data.reed import CaptionedSet, Photo, prepare_captioned
from memdriven.errors import DataError

PHOTOS = Remote(
    "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
    1_150_585_339,
    "0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
)
"""Size and sum as recorded by TensorFlow Datasets."""
CAPTIONS = ByHand(
    "cvpr2016_cub.tar.gz",
    "https://drive.google.com/file/d/0B0ywwgffWnLLZW9uVHNjb2JmNlE/view?resourcekey=0-8y2UVmBHAlG26HafWYNoFQ",
    "--captions",
)
"""The page that github.com/reedscot/cvpr2016 names."""
TEST_CLASSES = frozenset(
    {
        1,
        4,
        6,
        8,
        9,
        14,
        23,
        29,
        31,
        33,
        34,
        35,
        36,
        37,
        38,
        43,
        49,
        51,
        53,
        66,
        72,
        79,
        83,
        84,
        86,
        91,
        95,
        96,
        98,
        101,
        102,
        103,
        112,
        114,
        119,
        121,
        130,
        135,
        138,
        147,
        156,
        163,
        165,
        166,
        180,
        183,
        185,
        186,
        187,
        197,
    }
)
"""Reed's class-disjoint split, counted from 1: 50 test species, the other 150 are for training."""
BOX_MARGIN = 1.5

Box = tuple[float, float, float, float]
"""Left, top, width, height in px."""


def prepare_cub(
    out: Path | str,
    *,
    archives: Sequence[Path | str] = (),
    captions: Sequence[Path | str] = (),
    downloads: Path | str | None = None,
    image_size: int = 256,
    progress: bool = True,
) -> PreparedDataset:
    """Write CUB as a prepared data set: class-disjoint split, birds cropped by their box.

    Args:
        out: folder for the data set.
        archives: CUB_200_2011 as a folder, .tgz or .zip, or folders with all the archives;
            without any, the official archive is downloaded.
        captions: Reed's captions as folders or archives, where `archives` do not hold them.
        downloads: where downloads go and are looked for; `archives` beside `out` by default.
        image_size: side in px.
        progress: show bars.

    Raises:
        DataError: the host is down, a file is missing or malformed, Reed's captions have to be
            fetched by hand, or `out` cannot be written.
    """
    kind = CaptionedSet(
        "cub",
        PHOTOS,
        CAPTIONS,
        "CUB-200-2011 (Wah et al. 2011), captions of Reed et al. 2016",
        TEST_CLASSES,
        _read,
    )
    return prepare_captioned(
        kind,
        out,
        archives=archives,
        captions=captions,
        downloads=downloads,
        image_size=image_size,
        progress=progress,
    )


def _read(files: Archive) -> tuple[list[str], Iterator[Photo]]:
    classes = [name.partition(".")[2] for name in _table(files, "classes.txt").values()]
    return classes, _photos(files, len(classes))


def _photos(files: Archive, classes: int) -> Iterator[Photo]:
    labels = _table(files, "image_class_labels.txt")
    boxes = _table(files, "bounding_boxes.txt")
    root = files.need("images.txt").removesuffix("images.txt")
    for number, name in _table(files, "images.txt").items():
        try:
            class_number = int(labels[number])
            left, top, width, height = (float(part) for part in boxes[number].split())
            if not 1 <= class_number <= classes:
                raise ValueError(f"class {class_number} of {classes}")
        except (KeyError, ValueError) as error:
            raise DataError(
                wanted=f"a class and a box of 4 numbers for image {number}, {name}",
                found=f"{type(error).__name__}: {error}",
                fix="give the official archive",
            ) from error
        box = (left, top, width, height)
        yield Photo(PurePosixPath(name).stem, f"{root}images/{name}", class_number, box, partial(_crop, box))


def _table(files: Archive, name: str) -> dict[str, str]:
    """Read a table `<number> <rest>`, one entry a line."""
    lines = files.text(files.need(name)).splitlines()
    pairs = (line.strip().partition(" ") for line in lines if line.strip())
    return {number: rest.strip() for number, _, rest in pairs}


def _crop(box: Box, image: Image.Image) -> Image.Image:
    return image.crop(square_around(box, image.size))


def square_around(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the crop of 1.5 * max(width, height) around a box's centre, clipped [family].

    Args:
        box: left, top, width, height in px.
        size: width and height of the image.

    Returns:
        left, top, right, bottom; a square unless the image's border cuts it.
    """
    left, top, width, height = box
    half = int(max(width, height) * BOX_MARGIN / 2)
    across, down = int(left + width / 2), int(top + height / 2)
    return (
        max(0, across - half),
        max(0, down - half),
        min(size[0], across + half),
        min(size[1], down + half),
    )
