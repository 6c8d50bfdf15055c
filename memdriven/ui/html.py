"""What a visitor reads, put together: templates, pictures as data URIs, the status line, Gradio's parts.

The page's HTML stands in `templates/`, a file a panel; Python hands over plain values. All of these are
escaped but `Markup`, which is what `render` and `part` return. Gradio's `gr.HTML` must only ever show the
result through its plain `${value}` template: its `{{value}}` escapes HTML but then evaluates `${...}` inside
it as JavaScript.
"""

import base64
import io
import itertools
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from memdriven.data.vocabulary import ABSENT
from memdriven.errors import MemDrivenError
from memdriven.numbers import counted, percent
from memdriven.ui import gr, state

READY = "Ready."

# ---- Templates -----------------------------------------------------------------------------------

_BESIDE_TAG = re.compile(r"(?:(?<=>)|(?<=[%#]\}))\s*\n\s*|\s*\n\s*(?=<|\{[%#])|(?<=\}\})\s*\n\s*(?=\{\{)")
"""Line breaks after and before an element or a block, and those between two values."""


class Lines(Extension):
    """Lets templates be written in indented lines: a break beside a tag is nothing, any other a space."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return a template's source in one line."""
        return re.sub(r"\s*\n\s*", " ", _BESIDE_TAG.sub("", source.strip()))


TEMPLATES = Environment(
    loader=PackageLoader(__package__),
    autoescape=True,
    undefined=StrictUndefined,
    extensions=[Lines],
    auto_reload=False,
)


def render(name: str, /, **values: object) -> Markup:
    """Return a panel: the template of that name, filled in."""
    return Markup(TEMPLATES.get_template(f"{name}.html").render(values))


def part(name: str, /, *values: object, of: str = "parts", **named: object) -> Markup:
    """Return a piece of a panel: a macro of `parts.html`, or of another template."""
    made: Markup = getattr(TEMPLATES.get_template(f"{of}.html").module, name)(*values, **named)
    return made


hint, note, save_link = partial(part, "hint"), partial(part, "note"), partial(part, "save_link")
"""A quiet line that explains; one for a panel with nothing to show; a link (file name, data URI, words)."""


def seed_words(seed: int | None, steps: int = 0) -> str:
    """Return a seed, and how many steps a noise is away from it."""
    return f"seed {seed}, step {steps} away" if steps else f"seed {seed}"


# ---- Pictures ------------------------------------------------------------------------------------


def data_uri(content: bytes, kind: str = "image/webp") -> str:
    """Return a file's bytes as its own address, so that no picture is ever a file on the server."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def image_uri(image: Image.Image, form: str = "WEBP") -> str:
    """Return a picture for looking at as a data URI; a WebP has a tenth of a PNG's size."""
    buffer = io.BytesIO()
    image.save(buffer, format=form, quality=92, method=2)
    return data_uri(buffer.getvalue(), f"image/{form.lower()}")


COLOURS = {"memory": (214, 130, 0), "text": (29, 95, 141), "noise": (122, 68, 190)}
"""Washes over pictures; strong enough on any of them."""


def levels(map_: Tensor, largest: float | None = None) -> np.ndarray:
    """Return a map (h, w) as bytes: 255 at `largest` (its own if not given), 0 below 0."""
    values = map_.float().clamp_min(0)
    most = largest or float(values.max()) or 1.0
    scaled: np.ndarray = (values / most * 255).round().clamp(0, 255).numpy()
    return scaled.astype(np.uint8)


def wash(map_: Tensor, kind: str, largest: float | None = None) -> str:
    """Return a map (h, w) as a picture of one colour, clear where it is 0 (a data URI)."""
    alpha = levels(map_, largest)
    return _washed(np.full((*alpha.shape, 3), COLOURS[kind], np.uint8), alpha)


def barcode(values: Tensor, kind: str) -> str:
    """Return numbers (n,) as a strip one px high: coloured above 0, grey below (a data URI)."""
    strong = levels(values[None].abs())
    colours = np.where((values[None] > 0).numpy()[..., None], COLOURS[kind], (128, 122, 112)).astype(np.uint8)
    return _washed(colours, strong)


def _washed(colours: np.ndarray, alpha: np.ndarray) -> str:
    return image_uri(Image.fromarray(np.dstack([colours, alpha]), "RGBA"), "PNG")


BINS = 72
"""Bars of a histogram of cosines."""


def counts(cosines: Tensor) -> tuple[float, list[float]]:
    """Return where a histogram of cosines (n,) begins, at or below 0, and the count of each bar up to 1."""
    low = min(0.0, float(cosines.min()))
    return low, torch.histc(cosines, BINS, low, 1.0).tolist()


TEMPLATES.filters |= {
    "aria": lambda value: None if value is None else str(value).lower(),
    "barcode": barcode,
    "counted": counted,
    "counts": counts,
    "percent": percent,
    "seed_words": seed_words,
    "uri": image_uri,
    "wash": wash,
}
TEMPLATES.tests["absent"] = ABSENT.__contains__


# ---- The status line -----------------------------------------------------------------------------

TRACE = 4_000
"""Letters of an error's trace that are printed."""
_said = itertools.count()
"""Numbers what is told: Gradio does not draw a value anew that equals the one before."""


def status(message: str, *, busy: bool = False) -> Markup:
    """Return a line of state; `busy` arms the Stop button through the style sheet."""
    return part("status", message, busy, next(_said))


def report(error: Exception) -> None:
    """Print the end of an error's trace to the terminal: values that a visitor sent may be of any length."""
    print("".join(traceback.format_exception(error))[-TRACE:], file=sys.stderr)


def failure(error: Exception) -> Markup:
    """Return an error as what to do about it, then what was wanted and what was found."""
    if not isinstance(error, MemDrivenError):
        report(error)
        found = f"{type(error).__name__}, which the page did not expect"
        error = MemDrivenError("an answer", found, "try again; the server's terminal says more")
    return part("failure", error, next(_said))


# ---- Gradio's components and events, as this page uses them --------------------------------------


def script(*names: str) -> str:
    """Return files of the page's JavaScript, as `js_on_load` takes them."""
    folder = files("memdriven.ui")
    return "\n".join(f"{{{folder.joinpath(name).read_text('utf-8')}}}" for name in names)


CLICKS = script("clicks.js")
"""Sends what is pressed, moved or dropped in a panel to Python."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
"""Of every event. Gradio would tell each component that an event fills of its progress, even a hidden one's,
and for that copy at each message all that each component shows which was ever told. With no more than this
an event is answered at once, after what was sent before: the page hears of the two in their order."""
BESIDE = {**QUIET, "queue": False}
"""Of events beside the queue: typing must not wait for a grid that is painted, only for the stage that the
networks are busy with (`MemoryDrivenPipeline.turn`)."""
PRESS = {**BESIDE, "trigger_mode": "multiple"}
"""Of presses among them: in Gradio's mode "once" one that comes while that before it is painted, is being
stopped, or just ends, would be lost without a word."""
QUEUED = {**QUIET, "trigger_mode": "multiple", "concurrency_id": state.CONCURRENCY_ID, "concurrency_limit": 1}
"""Of presses: one at a time, through the queue.

Every press is sent; `FairQueue` sees to those that repeat one that waits.
"""
LONG = {**QUEUED, "concurrency_id": state.LONG}
"""Of those among them that several pictures answer, or none."""
FETCH = {**QUEUED, "concurrency_id": state.FETCH, "concurrency_limit": 20}
"""Of what waits for a download, which keeps nobody from painting."""


def panel(content: str = "", **options: Any) -> gr.HTML:
    """Add HTML without Gradio's prose style, shown through the plain template (see `ui.html`)."""
    return gr.HTML(content, apply_default_css=False, padding=False, **options)


@contextmanager
def fold(name: str, title: str) -> Iterator[None]:
    """Add a column that its title opens and closes (`page.js`).

    Gradio's Accordion makes its parts when it is first opened; a seed that is set before would be lost.
    """
    with gr.Column(elem_id=f"{name}-fold", elem_classes="md-fold"):
        panel(part("fold", name, title))
        yield


def section(kind: str, title: str) -> gr.HTML:
    """Add a section's heading in its fixed colour: `text`, `memory`, `noise` or `paint`."""
    return panel(part("section", kind, title))


def run_button(label: str, name: str, **options: Any) -> gr.Button:
    """Add the button that starts a tab's work; Ctrl + Enter presses it, too."""
    return gr.Button(label, variant="primary", elem_id=name, elem_classes="md-run", **options)


def slider(
    name: str, label: str, low: float, high: float, value: float, step: float = 1, **more: Any
) -> gr.Slider:
    """Add a slider without a button that sets it back."""
    return gr.Slider(
        low, high, value, step=step, label=label, elem_id=name, buttons=[], min_width=140, **more
    )


def choice(kind: type, name: str, label: str, options: Mapping[str, str], **more: Any) -> Any:
    """Add options, labels by value: a `gr.Dropdown`, or a `gr.Radio` or `gr.CheckboxGroup` side by side."""
    form: dict[str, Any] = {"filterable": False} if kind is gr.Dropdown else {"elem_classes": "md-choice"}
    labels = [(label, value) for value, label in options.items()]
    return kind(labels, label=label, elem_id=name, **form | more)


def box(name: str, label: str, max_lines: int = 1, **more: Any) -> gr.Textbox:
    """Add a box to write in."""
    return gr.Textbox(label=label, elem_id=name, max_lines=max_lines, **more)


def explain(words: str) -> None:
    """Add a quiet line that explains."""
    panel(hint(words))
