"""What files and columns are called, by people, systems and other programs (`names.toml`), and mean by it.

Nobody's file is passed over in silence because it is a spreadsheet, an archive in an archive or a phone's
picture: whoever meets a kind that is not read names it, by its first bytes or by the ending of its name.
"""

import contextlib
import itertools
import re
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
FILES: dict[str, tuple[str, ...]] = {name: tuple(those) for name, those in _TABLE["files"].items()}
"""Names and endings of files, by what they are."""
COLUMNS: dict[str, tuple[str, ...]] = {name: tuple(those) for name, those in _TABLE["columns"].items()}
"""Names of a table's columns, by what they hold."""
FILE, TEXT = COLUMNS["file"], COLUMNS["text"]
SPLITS: dict[str, str] = {word: split for split, words in _TABLE["splits"].items() for word in words}
"""The words for splits, in column `split` and as folder names -> the splits."""

STAND_IN = "picture"
"""The caption of a picture of which nothing is known; no word of anybody's that would be told as unknown."""


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A kind of file that is not read: what it is, what to do, and how one knows it."""

    what: str
    fix: str
    endings: Sequence[str] = ()
    begins: str = "(?!)"

    def fits(self, name: str, content: bytes) -> bool:
        """Whether a file is of this kind, by how it begins or, without its content, by its name."""
        if not content:
            return name.lower().endswith(tuple(self.endings))
        return re.match(self.begins, content[:512].decode("latin-1"), re.DOTALL | re.IGNORECASE) is not None


KINDS = [Foreign(**kind) for kind in _TABLE["kind"]]
ARCHIVE, SAVE, UNPACK = KINDS[-1], KINDS[0].fix, KINDS[-1].fix


def kind_of(name: str, content: bytes = b"") -> Foreign | None:
    """Return the kind of a file that is not read, by how it begins or else by its name; None of others."""
    known = [kind for kind in KINDS if content and kind.fits(name, content)]
    return next(iter(known or (kind for kind in KINDS if kind.fits(name, b""))), None)


def stand_in(path: Path, found: object, fix: str) -> tuple[str, str]:
    """Return what was found and what to do, where a file of ours may be one of another kind in its place.

    As a clone without Git LFS has its pointers, and a failed download a web page.
    """
    with contextlib.suppress(OSError), path.open("rb") as stream:
        kind = kind_of("", stream.read(512))
        if kind and "download" in kind.fix:
            return kind.what, kind.fix
    return str(found), fix


def is_empty(value: object) -> bool:
    """Whether a field of a table is empty, or holds what other programs write then."""
    return isinstance(value, str) and value.strip().lower() in COLUMNS["empty"]


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture."""
    return name.rstrip().lower().endswith(FILES["pictures"])


def with_endings(stem: str) -> list[str]:
    """Return the names that a picture may have whose ending is not known."""
    return [stem + ending for ending in FILES["pictures"]]


def left_by_a_system(name: str) -> bool:
    """Whether a name is of the hidden files and folders that systems put beside one's own."""
    parts = (part for part in name.lower().split("/") if part not in (".", ".."))
    return any(part.startswith((".", "~$")) or part in FILES["left_by_systems"] for part in parts)


def split_of_name(table: str) -> str | None:
    """Return the split that a table is called after (`captions_val2017.json`), if it is one alone."""
    words = re.split(r"[\W\d_]+", table.rpartition("/")[2].lower())
    found = {SPLITS[word] for word in words if word in SPLITS}
    return found.pop() if len(found) == 1 else None


def split_of_folder(name: str) -> str | None:
    """Return the split that the first folder of a path is called after, if any."""
    first, slash, _ = name.partition("/")
    return SPLITS.get(first.lower()) if slash else None


def caption_of_name(name: str) -> str:
    """Return what a file's path says: `fruit/red_apple-03.png` is "fruit red apple", `1.png` a picture."""
    words = re.split(r"[\W_]+", PurePosixPath(name).with_suffix("").as_posix())
    letters = (re.sub(r"\d+", "", word).lower() for word in words)
    no_words = ("", *SPLITS, "images", "img", "image", "data")
    return " ".join(dict.fromkeys(word for word in letters if word not in no_words)) or STAND_IN


def texts_elsewhere(pictures: Sequence[str], others: Sequence[str]) -> dict[str, list[str]]:
    """Return for pictures those of other files that mean them alone by the ends of their paths.

    As `text/gulls/a.txt` means `images/gulls/a.jpg`, and in a WebDataset, where the first point ends the name
    of a sample, `7.caption.txt` means `7.image.jpg`.
    """
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for ending, stem in itertools.product(FILES["sidecars"], (r"\.[^.]*$", r"\..*")):
        texts = {name: _parts(name, stem) for name in others if name.lower().endswith(ending)}
        stems = {parts[-1] for parts in texts.values()}
        named = ((name, _parts(name, stem)) for name in pictures) if texts else ()
        paths = {name: parts for name, parts in named if parts[-1] in stems} | texts
        for depth in (1, 2, 3):
            meant: dict[tuple[str, ...], list[str]] = defaultdict(list)
            for name, parts in paths.items():
                meant[parts[-depth:]].append(name)
            for first, *rest in meant.values():
                if len(rest) == 1 and first not in texts and rest[0] in texts:
                    found[first][rest[0]] = None
    return {picture: [*those] for picture, those in found.items()}


def _parts(path: str, stem: str) -> tuple[str, ...]:
    """Return the folders and the name of a file, without what the expression `stem` matches of the name."""
    *folders, last = path.casefold().split("/")
    return (*folders, re.sub(stem, "", last))
