"""The two plain parts of every column: a panel of our own HTML, and a section's heading."""

from __future__ import annotations

from typing import Any

from memdriven.ui.html import tag, text
from memdriven.ui.startup import gr


def panel(content: str = "", **options: Any) -> gr.HTML:
    """Add HTML without Gradio's prose style, shown through the plain template (see `ui.html`)."""
    return gr.HTML(content, apply_default_css=False, padding=False, **options)


def section(kind: str, title: str) -> gr.HTML:
    """Add a section's heading in its fixed colour: `text`, `memory`, `noise` or `paint`."""
    return panel(tag("h2", text(title), class_=f"md-section md-{kind}"))
