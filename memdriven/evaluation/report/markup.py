"""HTML by small pieces: text is escaped where it enters, pictures become part of the page."""

from __future__ import annotations

import base64
import html
from pathlib import Path

from memdriven.errors import EvaluationError

KINDS = {".webp": (b"RIFF", "image/webp"), ".png": (b"\x89PNG", "image/png")}
"""Pictures that a page may hold: suffix -> first bytes, media type."""


def text(value: object) -> str:
    """Return text without any meaning in HTML."""
    return html.escape(str(value), quote=True)


def element(name: str, content: str = "", **attributes: object) -> str:
    """Return an element; attribute values are escaped, `content` must be safe already.

    `class_` gives `class`; an attribute that is None or empty is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value not in (None, "")
    )
    start = f"<{name}{written}>"
    return start if name == "img" else f"{start}{content}</{name}>"


def picture(path: Path, alt: str) -> str:
    """Return an <img> that holds a picture file's bytes.

    Raises:
        EvaluationError: the file is missing or is not the picture that its name says.
    """
    try:
        content = path.read_bytes()
        signature, kind = KINDS[path.suffix]
        if not content.startswith(signature):
            raise ValueError("other first bytes")
    except (OSError, KeyError, ValueError) as error:
        raise EvaluationError(
            wanted=f"a picture in {path}",
            found=f"{type(error).__name__}: {error}"[:120],
            fix="evaluate again, with its figures",
        ) from error
    data = base64.b64encode(content).decode("ascii")
    return element("img", src=f"data:{kind};base64,{data}", alt=alt)
