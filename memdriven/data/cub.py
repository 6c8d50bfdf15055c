"""CUB-200-2011 birds (Wah et al.) with the ten captions an image of Reed et al. 2016.

Official layouts: `CUB_200_2011/` with images.txt, classes.txt, image_class_labels.txt,
bounding_boxes.txt and images/; Reed's `text_c10/<class>/<image>.txt`, one caption a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from PIL import Image

from memdriven.data.archive import Archive, open_archives
from memdriven.data.assemble import Draft, assemble, refuse_other_content
from memdriven.data.image_file import decode_image
from memdriven.data.prepared import Item, PreparedDataset, image_file
from memdriven.data.reed import caption_files, clean_captions
from memdriven.errors import DataError

TEST_CLASSES = frozenset({
    1, 4, 6, 8, 9, 14, 23, 29, 31, 33, 34, 35, 36, 37, 38, 43, 49, 51, 53, 66, 72, 79, 83, 84, 86,
    91, 95, 96, 98, 101, 102, 103, 112, 114, 119, 121, 130, 135, 138, 147, 156, 163, 165, 166, 180,
    183, 185, 186, 187, 197,
})  # fmt: skip
"""Reed's class-disjoint split, counted from 1: 50 test species, the other 150 are for training."""
BOX_MARGIN = 1.5

Box = tuple[float, float, float, float]
"""Left, top, width, height in px."""


def prepare_cub(
    archive: Path | str,
    out: Path | str,
    *,
    captions: Path | str | None = None,
    image_size: int = 256,
    progress: bool = True,
) -> PreparedDataset:
    """Write CUB as a prepared data set: class-disjoint split, birds cropped by their box.

    Args:
        archive: CUB_200_2011 as a folder, .tgz or .zip; or a folder with all the archives.
        out: folder for the data set.
        captions: Reed's captions as a folder or archive, where `archive` does not hold them.
        image_size: side in px.
        progress: show a bar.

    Raises:
        DataError: a file of the layout is missing or malformed, or `out` cannot be written.
    """  # fmt: skip
    refuse_other_content(Path(out))
    sources = [Path(archive), *([Path(captions)] if captions else [])]
    with open_archives(*sources) as files:
        classes = [name.partition(".")[2] for name in _table(files, "classes.txt").values()]
        drafts = _drafts(files, classes)
        return assemble(
            Path(out), drafts, name="cub", classes=classes, image_size=image_size,
            source="CUB-200-2011 (Wah et al. 2011), captions of Reed et al. 2016",
            licence="for research; see the data sets' pages", progress=progress,
        )  # fmt: skip


def _drafts(files: Archive, classes: Sequence[str]) -> list[Draft]:
    images = _table(files, "images.txt")
    labels = _table(files, "image_class_labels.txt")
    boxes = _table(files, "bounding_boxes.txt")
    root = files.need("images.txt").removesuffix("images.txt")
    texts = caption_files(files)
    drafts = []
    for number, name in images.items():
        try:
            class_number = int(labels[number])
            left, top, width, height = (float(part) for part in boxes[number].split())
            class_name = classes[class_number - 1]
        except (KeyError, ValueError, IndexError) as error:
            raise DataError(
                wanted=f"a class and a box of 4 numbers for image {number}, {name}",
                found=f"{type(error).__name__}: {error}", fix="give the official archive",
            ) from error  # fmt: skip
        stem = PurePosixPath(name).stem
        if stem not in texts:
            raise DataError(
                wanted=f"the captions text_c10/.../{stem}.txt",
                found=f"{len(texts)} other caption files",
                fix="give Reed's captions (cvpr2016_cub) with --captions",
            )
        split = "test" if class_number in TEST_CLASSES else "train"
        item = Item(
            id=stem, file=image_file(split, stem), split=split, class_id=class_number - 1,
            class_name=class_name, captions=clean_captions(files.text(texts[stem]), texts[stem]),
        )  # fmt: skip
        load = partial(_load, files, f"{root}images/{name}", (left, top, width, height))
        drafts.append(Draft(item, load))
    return drafts


def _table(files: Archive, name: str) -> dict[str, str]:
    """Read a table `<number> <rest>`, one entry a line."""
    lines = files.text(files.need(name)).splitlines()
    pairs = (line.strip().partition(" ") for line in lines if line.strip())
    return {number: rest.strip() for number, _, rest in pairs}


def _load(files: Archive, name: str, box: Box) -> Image.Image:
    image = decode_image(files.read(name), name)
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
        max(0, across - half), max(0, down - half),
        min(size[0], across + half), min(size[1], down + half),
    )  # fmt: skip
