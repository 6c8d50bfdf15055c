"""From captions and a way to load each image to a prepared data set: whole, or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from memdriven.data.image_file import WEBP_QUALITY, decode_image
from memdriven.data.prepared import HEADER, SCHEMA, Item, PreparedDataset, write_prepared
from memdriven.data.transforms import centre_square
from memdriven.errors import DataError
from memdriven.files import atomic_folder, read_json

_WORKERS = 4


@dataclass(frozen=True)
class Draft:
    """An item whose image has yet to be written, and how to come by it."""

    item: Item
    source: str
    """Name of the source's image file, for messages."""
    read: Callable[[], bytes]
    """Returns that file's bytes."""
    crop: Callable[[Image.Image], Image.Image] | None = None
    """Cuts the part that counts out of the whole picture."""


def assemble(
    out: Path,
    drafts: Sequence[Draft],
    *,
    name: str,
    classes: Sequence[str],
    image_size: int,
    seed: int = 0,
    source: str,
    licence: str,
    extra: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> PreparedDataset:
    """Write a prepared data set: each image's central square at `image_size` px, and the tables.

    A plain WebP of that very size is kept byte for byte. Everything is written beside `out` and
    renamed at the end.

    Args:
        out: a new or empty folder, or an earlier data set, which is replaced.
        drafts: the items with their images.
        name: see `write_prepared`, like the rest.
        classes: class names by class id.
        image_size: side of the images in px.
        seed: of the split, where one was drawn.
        source: where it comes from, for people.
        licence: under which terms, for people.
        extra: further header entries.
        progress: show a bar.

    Raises:
        DataError: an image cannot be read, `out` holds something else, or the disk is full;
            nothing is left behind then.
    """
    refuse_other_content(out)
    with atomic_folder(out) as folder:
        for split in {draft.item.split for draft in drafts}:
            (folder / "images" / split).mkdir(parents=True)

        def write(draft: Draft) -> None:
            (folder / draft.item.file).write_bytes(_square(draft, image_size))

        with ThreadPoolExecutor(_WORKERS) as pool:
            work = pool.map(write, drafts)
            try:
                for _ in tqdm(work, f"{name} images", len(drafts), disable=not progress):
                    pass
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        write_prepared(
            folder,
            name=name,
            items=[draft.item for draft in drafts],
            classes=classes,
            image_size=image_size,
            seed=seed,
            source=source,
            licence=licence,
            extra=extra,
        )
    return PreparedDataset.open(out)


def _square(draft: Draft, size: int) -> bytes:
    """Return a draft's picture as WebP; one that is as wanted is not compressed a second time."""
    content = draft.read()
    image = decode_image(content, draft.source)
    if draft.crop is None and image.size == (size, size) and _is_plain_webp(content):
        return content
    whole = image if draft.crop is None else draft.crop(image)
    buffer = io.BytesIO()
    centre_square(whole, size).save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    return buffer.getvalue()


def _is_plain_webp(content: bytes) -> bool:
    """Return whether a file is WebP without the extended header: no EXIF, no frames, no alpha."""
    return content[:4] == b"RIFF" and content[8:15] == b"WEBPVP8" and content[15:16] in b" L"


def refuse_other_content(out: Path) -> None:
    """Refuse to replace anything that is not an earlier data set.

    Raises:
        DataError: `out` is a file, or a folder with other content.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    header = out / HEADER
    if header.is_file() and read_json(header, DataError).get("schema") == SCHEMA:
        return
    raise DataError(
        wanted=f"a new or empty folder, or an earlier data set, at {out}",
        found="something else",
        fix="choose another folder for the data set",
    )
