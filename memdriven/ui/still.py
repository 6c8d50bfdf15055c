"""The page as it opens, as a picture of itself that stands in the HTML until the page's scripts have run.

It is made of the page's own components and style sheet and lies over the page while that is put together:
where both look alike, nothing moves when it goes. Its tree is closed (a shadow root), so that neither its
style nor its names meet the page's. A page that will show something else, as a link or a reload asks for
(`address.js`), has none, and shows no picture before its own.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from markupsafe import Markup

from memdriven.ui import gr
from memdriven.ui.html import script, tag


def still(page: gr.Blocks, css: str) -> str:
    """Return the picture of a page with a style sheet as HTML."""
    for name, here in ((":root", ":host"), (".dark", ":host(.dark)")):
        css = css.replace(name, here)
    # Gradio puts its frame's class before every rule of the page's.
    css = css.replace(".gradio-container", ":where(.gradio-container)")
    folder = files("memdriven.ui")
    css, decide = css + folder.joinpath("still.css").read_text("utf-8"), script("still.js")
    parts = tag("div", *map(_part, page.children), class_="column")
    inside = tag("div", tag("main", parts), class_="gradio-container")
    root = tag("template", tag("style", Markup(css)), inside, shadowrootmode="closed")
    # Shown when all of it has been read: half of it would stand in other places.
    return tag("div", root, tag("script", Markup(decide)), id="md-still", aria_hidden="true", hidden=True)


KINDS: dict[type, str] = {gr.Row: "row", gr.Column: "column", gr.Tab: "tabitem"}
"""The class of each component that holds others."""


def _part(part: Any) -> str:
    """Return a component as it looks before anybody has touched it, without what is folded away."""
    if not getattr(part, "visible", True):
        return ""
    classes = " ".join([KINDS.get(type(part), "block"), *(part.elem_classes or ())])
    if isinstance(part, gr.Button):
        return tag("button", part.value, id=part.elem_id, class_="lg", style=f"flex: {part.scale} 1 0")
    if isinstance(part, gr.HTML):
        inside = tag("div", Markup(part.value or ""), class_="html-container")
    elif isinstance(part, gr.Textbox):
        inside = tag("textarea", part.value or "", rows=part.lines)
    elif isinstance(part, gr.Tabs):
        tabs: Any = part.children
        chosen = ["selected", *[""] * len(tabs)]
        labels = (tag("button", tab.label, class_=kind) for tab, kind in zip(tabs, chosen, strict=False))
        inside = tag("div", *labels, class_="tab-container wrap") + _part(tabs[0])
    elif hasattr(part, "children"):
        inside = Markup().join(map(_part, part.children))
    else:
        return ""
    style = None
    if isinstance(part, gr.Column):
        style = f"flex-grow: {part.scale}; min-width: min({part.min_width}px, 100%)"
    return tag("div", inside, id=part.elem_id, class_=classes, style=style)
