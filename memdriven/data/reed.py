"""What CUB and Oxford-102 share: ten captions an image and a split by class, by Reed et al.

"Learning Deep Representations of Fine-Grained Visual Descriptions", CVPR 2016. Their archives
hold `text_c10/<class>/<image>.txt`, one caption a line, and the class lists `trainvalclasses.txt`
and `testclasses.txt`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from memdriven.data.archive import Archive, open_archives
from memdriven.data.assemble import Draft, assemble, refuse_other_content
from memdriven.data.download import ByHand, Remote, fetch_all
from memdriven.data.prepared import Item, PreparedDataset, image_file
from memdriven.data.vocabulary import MAX_CHARACTERS, tokenize
from memdriven.errors import DataError

TEST_LIST = "testclasses.txt"
TRAINING_LISTS = ("trainvalclasses.txt", "trainclasses.txt", "valclasses.txt")


@dataclass(frozen=True)
class Photo:
    """One photograph of a data set, with its class counted from 1."""

    stem: str
    file: str
    """Name in the archive."""
    class_number: int
    box: tuple[float, float, float, float] | None = None
    crop: Callable[[Image.Image], Image.Image] | None = None


@dataclass(frozen=True)
class CaptionedSet:
    """Where a data set comes from, and how to read its own part."""

    name: str
    photos: Remote
    captions: ByHand
    source: str
    test_classes: frozenset[int]
    """Used where the archives hold no `testclasses.txt`."""
    read: Callable[[Archive], tuple[Sequence[str], Iterable[Photo]]]
    """Returns class names by class id, and the photographs."""


def prepare_captioned(
    kind: CaptionedSet,
    out: Path | str,
    *,
    archives: Sequence[Path | str],
    captions: Sequence[Path | str],
    downloads: Path | str | None,
    image_size: int,
    progress: bool,
) -> PreparedDataset:
    """Write a data set of photographs with Reed's captions; `prepare_cub` has the arguments.

    Raises:
        DataError: a file cannot be fetched, is missing or malformed, or `out` cannot be written.
    """
    out = Path(out)
    refuse_other_content(out)
    given = [Path(path) for path in (*archives, *captions)]
    if not archives:
        folder = default_downloads(out) if downloads is None else Path(downloads)
        by_hand = [] if captions else [kind.captions.find(folder)]  # before a long download
        given = [*fetch_all([kind.photos], folder, progress), *by_hand, *given]
    with open_archives(*given) as files:
        classes, photos = kind.read(files)
        test, origin = _test_classes(files, kind.test_classes)
        drafts = _drafts(files, kind, classes, photos, test)
        return assemble(
            out,
            drafts,
            name=kind.name,
            classes=classes,
            image_size=image_size,
            source=kind.source,
            licence="for research; see the data sets' pages",
            extra={"test_classes": origin},
            progress=progress,
        )


def default_downloads(out: Path) -> Path:
    """Return the folder for downloaded archives: `archives` beside the data set."""
    return out.absolute().parent / "archives"


def caption_files(files: Archive) -> dict[str, re.Match[str]]:
    """Return image stem -> its caption file, wherever a `text*` folder holds them."""
    matches = files.matching(r"text(?:_c10)?/(?P<class>[^/]+)/(?P<stem>[^/]+)\.txt")
    return {match["stem"]: match for match in matches}


def clean_captions(lines: Iterable[str], name: str) -> list[str]:
    """Return captions without empty, overlong and repeated ones.

    Raises:
        DataError: no usable line is left.
    """
    tidy = (" ".join(line.replace("\ufffd", " ").split()) for line in lines)
    captions = [line for line in tidy if tokenize(line) and len(line) <= MAX_CHARACTERS]
    if not captions:
        raise DataError(wanted=f"captions in {name}", found="none", fix="download it again")
    return list(dict.fromkeys(captions))


def _drafts(
    files: Archive, kind: CaptionedSet, classes: Sequence[str], photos: Iterable[Photo], test: frozenset[int]
) -> list[Draft]:
    texts = caption_files(files)
    if not texts:
        raise DataError(
            wanted=f"captions text_c10/*/*.txt in {files.place}",
            found="none",
            fix=f"give {kind.captions.name} (from {kind.captions.page}) with {kind.captions.option} PATH",
        )
    drafts = []
    for photo in photos:
        if photo.stem not in texts:
            raise DataError(
                wanted=f"the captions text_c10/.../{photo.stem}.txt",
                found=f"{len(texts)} other caption files",
                fix=f"give {kind.captions.name} whole",
            )
        split, text = "test" if photo.class_number in test else "train", texts[photo.stem].string
        item = Item(
            id=photo.stem,
            file=image_file(split, photo.stem),
            split=split,
            class_id=photo.class_number - 1,
            class_name=classes[photo.class_number - 1],
            captions=clean_captions(files.text(text).splitlines(), text),
            box=photo.box,
        )
        drafts.append(Draft(item, photo.file, partial(files.read, photo.file), photo.crop))
    return drafts


def _test_classes(files: Archive, default: frozenset[int]) -> tuple[frozenset[int], str]:
    """Return the test classes, and where the choice comes from.

    Raises:
        DataError: the lists are empty or share a class.
    """
    name = files.find(TEST_LIST)
    if name is None:
        return default, "built in"
    test = _class_list(files, name)
    others = [other for other in map(files.find, TRAINING_LISTS) if other]
    shared = {number for other in others for number in test & _class_list(files, other)}
    if not test or shared:
        raise DataError(
            wanted=f"test classes in {name} that are not training classes, too",
            found=f"shared ones, e.g. {min(shared)}" if shared else "no class",
            fix="give the official class lists, or none",
        )
    return test, name


def _class_list(files: Archive, name: str) -> frozenset[int]:
    """Return the numbers in lines such as `001.Black_footed_Albatross` or `class_00001`."""
    return frozenset(int(number) for number in re.findall(r"(?m)^\s*(?:class_)?(\d+)", files.text(name)))
