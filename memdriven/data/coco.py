"""COCO 2014 (Lin et al.): everyday scenes, five captions an image; val2014 is the test split.

Official layout: `train2014/`, `val2014/` with the photos, `annotations/captions_*2014.json`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from memdriven.data.archive import Archive, open_archives
from memdriven.data.assemble import Draft, assemble, refuse_other_content
from memdriven.data.download import Remote, fetch_all
from memdriven.data.prepared import Item, PreparedDataset, image_file
from memdriven.data.reed import clean_captions, default_downloads
from memdriven.errors import DataError

PARTS = {"train": "train2014", "test": "val2014"}
"""Our splits and the official parts that they are."""
_HOST = "http://images.cocodataset.org"  # its certificate is another host's; the sums protect us
ARCHIVES = (
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
    archives: Sequence[Path | str] = (),
    downloads: Path | str | None = None,
    image_size: int = 256,
    progress: bool = True,
) -> PreparedDataset:
    """Write COCO 2014 as a prepared data set; an image that has no caption is left out.

    Args:
        out: folder for the data set.
        archives: the photos and annotations as folders, the official zips, or a folder of those;
            without any, the official zips are downloaded (20 GB).
        downloads: where downloads go; `archives` beside `out` by default.
        image_size: side in px.
        progress: show bars.

    Raises:
        DataError: the host is down, a file of the layout is missing or malformed, or `out` cannot
            be written.
    """
    out = Path(out)
    refuse_other_content(out)
    given = [Path(path) for path in archives]
    if not given:
        folder = default_downloads(out) if downloads is None else Path(downloads)
        given = fetch_all(ARCHIVES, folder, progress)
    with open_archives(*given) as files:
        drafts = [draft for split in PARTS for draft in _drafts(files, split)]
        return assemble(
            out,
            drafts,
            name="coco",
            classes=[],
            image_size=image_size,
            source="COCO 2014 (Lin et al. 2014)",
            progress=progress,
            licence="photos: their Flickr licences; captions: CC-BY 4.0",
        )


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
            wanted=f"COCO captions in {listing}",
            found=f"{type(error).__name__}: {error}"[:200],
            fix="download the annotations again",
        ) from error
    drafts = []
    for number, name in named:
        if number not in captions:
            continue
        if name not in photos:
            raise DataError(
                wanted=f"{part}/{name} in {files.place}",
                found="no such photo",
                fix=f"give the whole of {part}",
            )
        item_id = f"{part}-{number:012d}"
        item = Item(
            id=item_id,
            file=image_file(split, item_id),
            split=split,
            class_id=None,
            class_name="",
            captions=clean_captions(captions[number], f"{listing}, image {number}"),
        )
        drafts.append(Draft(item, photos[name], partial(files.read, photos[name])))
    return drafts
