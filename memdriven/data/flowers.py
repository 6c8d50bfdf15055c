"""Oxford-102 flowers (Nilsback & Zisserman 2008) with the captions of Reed et al. 2016.

Official layouts: `jpg/image_00001.jpg`; Reed's `text_c10/class_00001/image_06734.txt` and the
class lists trainvalclasses.txt and testclasses.txt.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from PIL import Image

from memdriven.data.archive import Archive, open_archives
from memdriven.data.assemble import Draft, assemble, refuse_other_content
from memdriven.data.image_file import decode_image
from memdriven.data.prepared import Item, PreparedDataset, image_file
from memdriven.data.reed import clean_captions
from memdriven.errors import DataError

CLASSES = 102
TEST_EVERY = 5
"""Without Reed's lists every fifth class is for testing [ours]."""


def prepare_flowers(
    archive: Path | str,
    out: Path | str,
    *,
    captions: Path | str | None = None,
    image_size: int = 256,
    progress: bool = True,
) -> PreparedDataset:
    """Write Oxford-102 as a prepared data set, split by class.

    Args:
        archive: the images' folder or archive (102flowers.tgz); or a folder with all archives.
        out: folder for the data set.
        captions: Reed's captions as a folder or archive, where `archive` does not hold them.
        image_size: side in px.
        progress: show a bar.

    Raises:
        DataError: a file of the layout is missing or malformed, or `out` cannot be written.
    """  # fmt: skip
    refuse_other_content(Path(out))
    sources = [Path(archive), *([Path(captions)] if captions else [])]
    classes = [f"class_{number:05d}" for number in range(1, CLASSES + 1)]
    with open_archives(*sources) as files:
        return assemble(
            Path(out), _drafts(files), name="flowers", classes=classes, image_size=image_size,
            source="Oxford-102 (Nilsback & Zisserman 2008), captions of Reed et al. 2016",
            licence="for research; see the data sets' pages", progress=progress,
        )  # fmt: skip


def _drafts(files: Archive) -> list[Draft]:
    test = _test_classes(files)
    texts = files.matching(r"text_c10/class_(?P<class>\d+)/(?P<stem>image_\d+)\.txt")
    images = {m["stem"]: m.string for m in files.matching(r"(?P<stem>image_\d+)\.jpg")}
    drafts = []
    for text in texts:
        number, stem = int(text["class"]), text["stem"]
        if stem not in images or not 1 <= number <= CLASSES:
            raise DataError(
                wanted=f"jpg/{stem}.jpg of a class 1..{CLASSES}",
                found=f"class {number}, {len(images)} images", fix="give the official archives",
            )  # fmt: skip
        split = "test" if number in test else "train"
        item = Item(
            id=stem, file=image_file(split, stem), split=split, class_id=number - 1,
            class_name=f"class_{number:05d}",
            captions=clean_captions(files.text(text.string), text.string),
        )  # fmt: skip
        drafts.append(Draft(item, partial(_load, files, images[stem])))
    if not drafts:
        raise DataError(
            wanted=f"captions text_c10/class_*/image_*.txt in {files.place}", found="none",
            fix="give Reed's captions (cvpr2016_flowers) with --captions",
        )  # fmt: skip
    return drafts


def _test_classes(files: Archive) -> set[int]:
    name = files.find("testclasses.txt")
    if name is None:
        return set(range(TEST_EVERY, CLASSES + 1, TEST_EVERY))
    return {int(number) for number in re.findall(r"class_(\d+)", files.text(name))}


def _load(files: Archive, name: str) -> Image.Image:
    return decode_image(files.read(name), name)
