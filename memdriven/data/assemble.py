"""From captions and a way to load each image to a prepared data set: whole, or not at all."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from memdriven.data.archive import Archive
from memdriven.data.images import WEBP_QUALITY, Fit, centre_square, decode_image, padded_square
from memdriven.data.prepared import HEADER, SCHEMA, Item, PreparedDataset, write_prepared
from memdriven.errors import DataError
from memdriven.files import atomic_folder, read_json
from memdriven.numbers import check_whole, counted

_WORKERS = 4
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
LOOK = 12
"""Side in px to which pictures are reduced to find those that repeat another."""
REPEATED = 0.2
"""Distance of two looks, over the contrast of one, below which a picture repeats another. Of 3,033
flowers the four nearest pairs, each of one photograph, lie at 0.05 to 0.12, all others above 0.33."""


def assemble(
    out: Path,
    files: Archive,
    pictures: Sequence[tuple[Item, str]],
    *,
    image_size: int,
    fit: Fit = "crop",
    crop: Callable[[Sequence[float], tuple[int, int]], tuple[int, int, int, int]] | None = None,
    faults: Sequence[DataError] = (),
    skip_faults: bool = False,
    notes: Sequence[str] = (),
    progress: bool = True,
    **header: Any,
) -> PreparedDataset:
    """Write a prepared data set: each image as a square of `image_size` px, and the tables.

    A plain WebP of that very size is kept byte for byte. Everything is written beside `out` and
    renamed at the end. Test pictures that all but repeat a training picture are told in the notes.

    Where images cannot be read all of them are named, and nothing is left behind.

    Args:
        out: a new or empty folder, or an earlier data set, which is replaced.
        files: where the images lie.
        pictures: the items, each with its image's name in `files`.
        crop: (an item's box, its picture's size) -> the part of the picture that counts.
        faults: what is wrong with the source's tables, to be told with the images that cannot be read.
        skip_faults: these images are left out and told, instead of refused.
        notes: sentences about what was left out or read otherwise.
        header: the name, and other entries of `write_prepared`.
    """
    check_whole("image size", image_size, 8, 4096, DataError)
    refuse_other_content(out)
    if long := next((name for item, name in pictures if len(item.id.encode()) > 200), None):
        raise DataError("names of at most 200 letters", f"{long[:80]}...", "rename the images")
    unreadable: list[DataError] = []
    looks: dict[str, np.ndarray] = {}
    with atomic_folder(out) as folder:
        for split in {item.split for item, _ in pictures}:
            (folder / "images" / split).mkdir(parents=True)

        def write(picture: tuple[Item, str]) -> None:
            item, name = picture
            try:
                content = files.read(name)
                image = decode_image(content, clean(name))
                if item.box is not None:
                    check_box(item.box, image.size, clean(name))
                cut = crop and item.box and crop(item.box, image.size)
                if cut or image.size != (image_size, image_size) or not _is_plain_webp(content):
                    whole = image.crop(cut) if cut else image
                    image = (padded_square if fit == "pad" else centre_square)(whole, image_size)
                    buffer = io.BytesIO()
                    image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
                    content = buffer.getvalue()
            except DataError as error:
                unreadable.append(error)
            else:
                (folder / item.file).write_bytes(content)
                small = image.resize((LOOK, LOOK), Image.Resampling.BOX)
                looks[item.id] = np.asarray(small, np.float32).ravel()

        with ThreadPoolExecutor(_WORKERS) as pool:
            work = pool.map(write, pictures)
            try:
                for _ in tqdm(work, f"{header['name']} images", len(pictures), disable=not progress):
                    pass
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        items = [item for item, _ in pictures if item.id in looks]
        if (faults or unreadable) and not (skip_faults and items):
            raise all_faults([*faults, *unreadable], header["source"])
        if unreadable:
            some = counted(len(unreadable), "image")
            notes = [*notes, f"{some} left out as unreadable, e.g. {unreadable[0].wanted}"]
        notes = [*notes, *repetitions(items, looks)]
        write_prepared(folder, items=items, image_size=image_size, **header, notes=notes)
    return PreparedDataset.open(out)


def clean(text: str) -> str:
    """Return a text without halves of characters, which no file can hold, and without control characters."""
    return _CONTROL.sub(" ", text.encode("utf-8", "replace").decode())


def all_faults(faults: Sequence[DataError], place: str) -> DataError:
    """Return one error that names all faults of a source, the first twenty in full."""
    if len(faults) == 1:
        return faults[0]
    lines = [f"\n  {fault.wanted}: {fault.found}" for fault in faults[:20]]
    rest = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
    return DataError(
        f"no faults in {place}",
        f"{len(faults)} faults:" + "".join(lines) + rest,
        f"{faults[0].fix}; and the like for the others, or leave them out with --skip-faults",
    )


def check_box(box: Sequence[float], size: tuple[int, int], name: str) -> None:
    """Refuse a box (left, top, width, height) that has no area or lies beside its picture."""
    left, top, width, height = box
    inside = left < size[0] and top < size[1] and left + width > 0 and top + height > 0
    if not (0 < width < 1e6 and 0 < height < 1e6 and inside):  # also where a side is NaN
        raise DataError(
            f"a box within the {size[0]} x {size[1]} px of {name}",
            f"left {left}, top {top}, width {width}, height {height}",
            "give the box of this very picture, not of another size of it",
        )


def repetitions(items: Sequence[Item], looks: Mapping[str, np.ndarray]) -> list[str]:
    """Tell of held-out pictures that all but repeat a training picture, mirrored or not."""
    train, *others = ([i for i in items if i.split == split] for split in ("train", "validation", "test"))
    notes = []
    for held in others:
        if not train or not held:
            continue
        known, asked = (np.stack([looks[item.id] for item in part]) for part in (train, held))
        pairs: dict[str, str] = {}
        for start in range(0, len(held), 1024):
            straight = asked[start : start + 1024]
            mirrored = straight.reshape(-1, LOOK, LOOK, 3)[:, :, ::-1].reshape(straight.shape)
            for part in (straight, mirrored):
                squared = (part**2).sum(1)[:, None] + (known**2).sum(1) - 2 * part @ known.T
                nearest = squared.argmin(1)  # of (<= 1024, train)
                apart = np.sqrt(squared[np.arange(len(part)), nearest].clip(0) / part.shape[1])
                for row in np.flatnonzero(apart < np.maximum(1.5, REPEATED * part.std(1))):
                    pairs.setdefault(held[start + row].id, train[nearest[row]].id)
        if pairs:
            one, other = next(iter(pairs.items()))
            tested = counted(len(held), f"{held[0].split} image")
            notes.append(
                f"{len(pairs)} of {tested} all but repeat a training image, "
                f"e.g. {one} repeats {other}: figures over them flatter"
            )
    return notes


def _is_plain_webp(content: bytes) -> bool:
    """Return whether a file is WebP without the extended header: no EXIF, no frames, no alpha."""
    return content[:4] == b"RIFF" and content[8:15] == b"WEBPVP8" and content[15:16] in b" L"


def refuse_other_content(out: Path) -> None:
    """Refuse to replace anything that is not an earlier data set."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    header = out / HEADER
    if header.is_file() and read_json(header, DataError).get("schema") == SCHEMA:
        return
    raise DataError(
        f"a new or empty folder, or an earlier data set, at {out}",
        "something else",
        "choose another folder for the data set",
    )
