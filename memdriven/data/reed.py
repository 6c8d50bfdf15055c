"""Caption files of Reed et al. 2016: one text file an image, ten lines.

"Learning Deep Representations of Fine-Grained Visual Descriptions", CVPR 2016.
"""

from __future__ import annotations

from memdriven.data.archive import Archive
from memdriven.data.vocabulary import MAX_CHARACTERS, tokenize
from memdriven.errors import DataError


def caption_files(files: Archive) -> dict[str, str]:
    """Return image stem -> name of its caption file, wherever a `text*` folder holds them."""
    matches = files.matching(r"text(?:_c10)?/[^/]+/(?P<stem>[^/]+)\.txt")
    return {match["stem"]: match.string for match in matches}


def clean_captions(text: str, name: str) -> list[str]:
    """Return a caption file's lines without empty and overlong ones.

    Raises:
        DataError: no usable line is left.
    """
    lines = [" ".join(line.replace("\ufffd", " ").split()) for line in text.splitlines()]
    captions = [line for line in lines if tokenize(line) and len(line) <= MAX_CHARACTERS]
    if not captions:
        raise DataError(wanted=f"captions in {name}", found="none", fix="download it again")
    return list(dict.fromkeys(captions))
