"""Plain parts of every column: a panel of our own HTML, a heading, a fold, scripts, options of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from importlib.resources import files
from inspect import isgeneratorfunction
from typing import Any

from memdriven.ui import state
from memdriven.ui.html import tag, text
from memdriven.ui.startup import gr

CLICKS = """
element.addEventListener('click', event => {
  const target = event.target.closest('button[data-act]');
  if (target) trigger('click', {...target.dataset});
});
element.addEventListener('change', event => {
  const target = event.target;
  if (target.matches('input[type=range][data-act]')) {
    trigger('click', {...target.dataset, value: target.value});
  } else if (target.matches('input[type=file]') && target.files.length) {
    window.memdriven.send(target.files[0], trigger);
    target.value = '';
  }
});
for (const kind of ['dragover', 'drop']) element.addEventListener(kind, event => {
  const input = element.querySelector('input[type=file]:not(:disabled)');
  if (!input || !event.dataTransfer.types.includes('Files')) return;
  event.preventDefault();
  if (kind === 'drop' && event.dataTransfer.files.length)
    window.memdriven.send(event.dataTransfer.files[0], trigger);
});
"""
"""Sends a pressed button's or slider's data, and a chosen or dropped file's bytes, to Python."""


def panel(content: str = "", **options: Any) -> gr.HTML:
    """Add HTML without Gradio's prose style, shown through the plain template (see `ui.html`)."""
    return gr.HTML(content, apply_default_css=False, padding=False, **options)


def fold_title(fold: str, title: str) -> gr.HTML:
    """Add the button that opens and closes the column `fold`, as its first part (`page.js`).

    Gradio's Accordion makes its parts when it is first opened; a seed that is set before would be lost.
    """
    button = tag("button", text(title), type="button", aria_expanded="false", aria_controls=fold)
    return panel(tag("h2", button, class_="md-fold-title"))


def section(kind: str, title: str) -> gr.HTML:
    """Add a section's heading in its fixed colour: `text`, `memory`, `noise` or `paint`."""
    return panel(tag("h2", text(title), class_=f"md-section md-{kind}"))


def event_options() -> dict[str, Any]:
    """Return how Gradio treats a press of a tab's button: one at a time, through the queue."""
    return {
        "trigger_mode": "once",
        "show_progress": "hidden",
        "concurrency_id": state.CONCURRENCY_ID,
        "concurrency_limit": 1,
        "api_visibility": "private",
    }


def script(*names: str) -> str:
    """Return files of the page's JavaScript, as `js_on_load` takes them."""
    folder = files("memdriven.ui")
    return "\n".join(f"{{{folder.joinpath(name).read_text('utf-8')}}}" for name in names)


def by_name(components: Mapping[str, gr.blocks.Block], handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return a handler for Gradio from one whose values have names; a component that is not named stays."""

    def placed(values: Mapping[str, Any]) -> dict[gr.blocks.Block, Any]:
        return {components[name]: value for name, value in values.items()}

    @wraps(handler)
    def once(*given: Any) -> dict[gr.blocks.Block, Any]:
        return placed(handler(*given))

    @wraps(handler)
    def often(*given: Any) -> Iterator[dict[gr.blocks.Block, Any]]:
        yield from map(placed, handler(*given))

    return often if isgeneratorfunction(handler) else once
