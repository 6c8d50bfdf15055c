"""Files of kinds that are not read: what each is, and what to do with it.

Nobody's file is passed over in silence because it is a spreadsheet, an archive in an archive or a phone's
picture: whoever meets one names it, by its first bytes or by the ending of its name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


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


KINDS = [
    Foreign(**kind)
    for kind in tomllib.loads(Path(__file__).with_name("foreign.toml").read_text("utf-8"))["kind"]
]
ARCHIVE, SAVE, UNPACK = KINDS[-1], KINDS[0].fix, KINDS[-1].fix


def kind_of(name: str, content: bytes = b"") -> Foreign | None:
    """Return the kind of a file that is not read, by how it begins or else by its name; None of others."""
    known = [kind for kind in KINDS if content and kind.fits(name, content)]
    return next(iter(known or (kind for kind in KINDS if kind.fits(name, b""))), None)
