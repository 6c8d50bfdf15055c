"""Oxford-102 flowers (Nilsback & Zisserman 2008) with the captions of Reed et al. 2016.

Official layouts: `jpg/image_00001.jpg`; Reed's captions as `memdriven.data.reed` says, with
classes `class_00001` to `class_00102`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from memdriven.data.archive import Archive
from memdriven.data.download import ByHand, Remote
from memdriven.data.prepared import PreparedDataset
from memdriven.data.reed import CaptionedSet, Photo, caption_files, prepare_captioned
from memdriven.errors import DataError

PHOTOS = Remote(
    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
    344_862_509,
    "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
)
"""Size and sum as recorded by TensorFlow Datasets."""
CAPTIONS = ByHand(
    "cvpr2016_flowers.tar.gz",
    "https://drive.google.com/file/d/0B0ywwgffWnLLcms2WWJQRFNSWXM/view?resourcekey=0-Av8zFbeDDvNcF1sSjDR32w",
    "--captions",
)
"""The page that github.com/reedscot/cvpr2016 names."""
CLASSES = 102
TEST_CLASSES = frozenset(range(5, CLASSES + 1, 5))
"""Without Reed's lists every fifth class is for testing [ours]."""


def prepare_flowers(
    out: Path | str,
    *,
    archives: Sequence[Path | str] = (),
    captions: Sequence[Path | str] = (),
    downloads: Path | str | None = None,
    image_size: int = 256,
    progress: bool = True,
) -> PreparedDataset:
    """Write Oxford-102 as a prepared data set, split by class.

    Args:
        out: folder for the data set.
        archives: the images' folder or archive (102flowers.tgz), or folders with all archives;
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
        "flowers",
        PHOTOS,
        CAPTIONS,
        "Oxford-102 (Nilsback & Zisserman 2008), captions of Reed et al. 2016",
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
    return [f"class_{number:05d}" for number in range(1, CLASSES + 1)], _photos(files)


def _photos(files: Archive) -> Iterator[Photo]:
    """Yield the images that have captions; the captions' folders are what tells their classes."""
    images = {m["stem"]: m.string for m in files.matching(r"(?P<stem>image_\d+)\.jpg")}
    for stem, text in sorted(caption_files(files).items()):
        folder = re.fullmatch(r"class_(\d+)", text["class"])
        number = int(folder[1]) if folder else 0
        if stem not in images or not 1 <= number <= CLASSES:
            raise DataError(
                wanted=f"jpg/{stem}.jpg of a class 1..{CLASSES} for {text.string}",
                found=f"folder {text['class']}, {len(images)} images",
                fix="give the official archives",
            )
        yield Photo(stem, images[stem], number)
