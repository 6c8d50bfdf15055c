"""Miniatures of the official layouts, drawn and written by the tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from PIL import Image, ImageDraw

BOXES = ("10.0 10.0 20.0 10.0", "0.0 0.0 60.0 40.0")


def write_text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def write_photo(path: Path, box: tuple[float, ...] | None = None) -> None:
    """Write 60 x 40 px of grey, with a red box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (60, 40), (90, 120, 150))
    if box is not None:
        left, top, width, height = box
        ImageDraw.Draw(image).rectangle((left, top, left + width, top + height), "red")
    image.save(path, quality=95)


def write_cub(root: Path) -> None:
    names = ["001.Auk/Auk_0001_2.jpg", "002.Gull/Gull_0001_3.jpg"]
    official = root / "CUB_200_2011"
    for name, box in zip(names, BOXES, strict=True):
        write_photo(official / "images" / name, tuple(map(float, box.split())))
        text = root / "cvpr2016_cub/text_c10" / Path(name).with_suffix(".txt")
        write_text(text, f"a bird of {name[:3]}\n\nblack \ufffd wings\na bird of {name[:3]}\n.\n")
    write_text(official / "images.txt", "".join(f"{i} {n}\n" for i, n in enumerate(names, 1)))
    write_text(official / "image_class_labels.txt", "1 1\n2 2\n")
    write_text(official / "bounding_boxes.txt", "".join(f"{i} {b}\n" for i, b in enumerate(BOXES, 1)))
    write_text(official / "classes.txt", "1 001.Auk\n2 002.Gull\n")


def write_flowers(root: Path) -> None:
    for number, image in ((5, 1), (6, 2)):
        write_photo(root / f"jpg/image_{image:05d}.jpg")
        place = root / f"cvpr2016_flowers/text_c10/class_{number:05d}"
        write_text(place / f"image_{image:05d}.txt", "a pink flower\n")


def write_coco(root: Path) -> None:
    for part, number in (("train2014", 9), ("val2014", 42)):
        name = f"COCO_{part}_{number:012d}.jpg"
        write_photo(root / part / name)
        content = {
            "images": [{"id": number, "file_name": name}, {"id": 99, "file_name": "no.jpg"}],
            "annotations": [{"image_id": number, "caption": f"scene {n}\n"} for n in range(5)],
        }
        write_text(root / f"annotations/captions_{part}.json", json.dumps(content))


def as_folder(root: Path) -> list[Path]:
    return [root]


def as_zip(root: Path) -> list[Path]:
    return [Path(shutil.make_archive(str(root) + "-packed", "zip", root))]


def as_tgz(root: Path) -> list[Path]:
    return [Path(shutil.make_archive(str(root) + "-packed", "gztar", root))]


def as_folder_of_archives(root: Path) -> list[Path]:
    as_archives(root)
    return [root.parent / "archives"]


def as_archives(root: Path) -> list[Path]:
    """Pack each folder on its own, as the official hosts do."""
    return [
        Path(shutil.make_archive(str(root.parent / "archives" / part.name), "gztar", root, part.name))
        for part in sorted(root.iterdir())
    ]


PACKINGS = (as_folder, as_zip, as_tgz, as_folder_of_archives, as_archives)
