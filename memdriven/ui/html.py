"""Small pieces of safe HTML.

Everything a user or a data set wrote passes through `text` before it reaches the page. Gradio's
`gr.HTML` must only ever show the result through its plain `${value}` template: its `{{value}}`
escapes HTML but then evaluates `${...}` inside the text as JavaScript.
"""

from __future__ import annotations

import base64
import html
import io

from PIL import Image


def text(value: object) -> str:
    """Return text with everything escaped that HTML gives a meaning to."""
    return html.escape(str(value), quote=True)


def tag(name: str, content: str = "", **attributes: object) -> str:
    """Return an element; attribute values are escaped, `content` must be safe already.

    `class_` gives `class`, other underscores become hyphens; None and False leave an attribute
    out, True gives it without a value.
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        written.append(f" {key}" if value is True else f' {key}="{text(value)}"')
    start = f"<{name}{''.join(written)}>"
    return start if name in ("img", "br", "input") else f"{start}{content}</{name}>"


def hint(words: object) -> str:
    """Return a quiet line."""
    return tag("p", text(words), class_="md-hint")


def png_uri(content: bytes) -> str:
    """Return PNG bytes as a data URI, so that no picture is ever a file on the server."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def image_uri(image: Image.Image) -> str:
    """Return a picture for looking at as the data URI of a WebP, a tenth of a PNG's size."""
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=92, method=2)
    return webp_uri(buffer.getvalue())


def webp_uri(content: bytes) -> str:
    """Return WebP bytes as a data URI."""
    return "data:image/webp;base64," + base64.b64encode(content).decode("ascii")
