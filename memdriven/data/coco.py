"""COCO 2014 (Lin et al.): everyday scenes, five captions an image; val2014 is the test split.

Official layout: `train2014/`, `val2014/` with the photos, `annotations/captions_*2014.json`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from memdriven.data.archive import Archive, open_archives
from memdriven.data.assemble import Draft, assemble, refuse_other_content
from memdriven.data.image_file import decode_image
from memdriven.data.prepared import Item, PreparedDataset, image_file
from memdriven.data.reed import clean_captions
from memdriven.errors import DataError

PARTS = {"train": "train2014", "test": "val2014"}
"""Our splits and the official parts that they are."""


def prepare_coco(
    archive: Path | str, out: Path | str, *, image_size: int = 256, progress: bool = True
) -> PreparedDataset:
    """Write COCO 2014 as a prepared data set; an image that has no caption is left out.

    Args:
        archive: folder with the photos and annotations, unpacked or as the official zips.
        out: folder for the data set.
        image_size: side in px.
        progress: show a bar.

    Raises:
        DataError: a file of the layout is missing or malformed, or `out` cannot be written.
    """
    refuse_other_content(Path(out))
    with open_archives(Path(archive)) as files:
        drafts = [draft for split in PARTS for draft in _drafts(files, split)]
        return assemble(
            Path(out), drafts, name="coco", classes=[], image_size=image_size,
            source="COCO 2014 (Lin et al. 2014)", progress=progress,
            licence="photos: their Flickr licences; captions: CC-BY 4.0",
        )  # fmt: skip


def _drafts(files: Archive, split: str) -> list[Draft]:
    part = PARTS[split]
    listing = files.need(f"captions_{part}.json")
    photos = {m["name"]: m.string for m in files.matching(rf"{part}/(?P<name>[^/]+\.jpg)")}
    captions: dict[int, list[str]] = defaultdict(list)
    try:
        content: dict[str, Any] = json.loads(files.read(listing))
        for annotation in content["annotations"]:
            captions[annotation["image_id"]].append(str(annotation["caption"]))
        named = [(int(image["id"]), str(image["file_name"])) for image in content["images"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            wanted=f"COCO captions in {listing}", found=f"{type(error).__name__}: {error}"[:200],
            fix="download the annotations again",
        ) from error  # fmt: skip
    drafts = []
    for number, name in named:
        if number not in captions:
            continue
        if name not in photos:
            raise DataError(wanted=f"{part}/{name} in {files.place}", found="no such photo",
                            fix=f"give the whole of {part}")  # fmt: skip
        item_id = f"{part}-{number:012d}"
        item = Item(
            id=item_id, file=image_file(split, item_id), split=split, class_id=None, class_name="",
            captions=clean_captions("\n".join(captions[number]), f"{listing}, image {number}"),
        )  # fmt: skip
        drafts.append(Draft(item, partial(_load, files, photos[name])))
    return drafts


def _load(files: Archive, name: str) -> Image.Image:
    return decode_image(files.read(name), name)
