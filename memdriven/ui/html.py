"""Safe HTML: tags, pictures as data URIs, the status line, and parts that several tabs share.

What a user or a data set wrote is escaped by `tag`, as are all of its contents that are not `Markup`, which
it returns; so is text that is added to Markup. Gradio's `gr.HTML` must only ever show the result through its
plain `${value}` template: its `{{value}}` escapes HTML but then evaluates `${...}` inside it as JavaScript.
"""

from __future__ import annotations

import base64
import io
import itertools
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from markupsafe import Markup, escape
from PIL import Image
from torch import Tensor

from memdriven.errors import MemDrivenError
from memdriven.memory.retrieval import Neighbour
from memdriven.ui import gr, state

EQUATION = (
    ("text", "words"),
    ("", "+"),
    ("memory", "memory"),
    ("", "+"),
    ("noise", "noise"),
    ("", "\u2192"),
    ("picture", "picture"),
)
CONTROL_GONE = "only for a caption of the memory"
CARD_ALT = "Reference {rank}: {caption}"
PICTURE_BUSY = "Painting\u2026"
PICTURE_ALT = "Generated picture for the caption: {caption}"
READY = "Ready."


def tag(name: str, *content: object, **attributes: object) -> Markup:
    """Return an element; attribute values are escaped, and of its contents all that is not `Markup`.

    `class_` gives `class`, other underscores become hyphens; None and False leave an attribute
    out, True gives it without a value.
    """
    start = f"<{name}"
    for key, value in attributes.items():
        if value is not None and value is not False:
            start += " " + key.rstrip("_").replace("_", "-")
            start += "" if value is True else f'="{escape(str(value))}"'
    void = name in ("img", "br", "input")
    return Markup(f"{start}>") + Markup().join(map(escape, content)) + Markup("" if void else f"</{name}>")


def seed_words(seed: int | None, steps: int = 0) -> str:
    """Return a seed, and how many steps a noise is away from it."""
    return f"seed {seed}, step {steps} away" if steps else f"seed {seed}"


def button(label: str, kind: str = "md-action", **attributes: object) -> Markup:
    """Return a button of a class, with attributes as `tag` takes them."""
    return tag("button", label, type="button", class_=kind, **attributes)


def act_button(
    act: str, label: str, of: str, title: str | None = None, pressed: bool | None = None, **data: object
) -> Markup:
    """Return a button that does an act with a thing `of` these words; `data` names the thing (`CLICKS`)."""
    return button(
        label,
        "md-steer-button",
        data_act=act,
        **data,
        data_focus=" ".join(map(str, (act, *data.values()))),
        title=title,
        aria_pressed=None if pressed is None else str(pressed).lower(),
        aria_label=f"{label}: {of}",
    )


def hint(message: object, **attributes: object) -> Markup:
    """Return a quiet line that explains."""
    return tag("p", message, class_="md-hint", **attributes)


def data_uri(content: bytes, kind: str = "image/webp") -> str:
    """Return a file's bytes as its own address, so that no picture is ever a file on the server."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def image_uri(image: Image.Image, form: str = "WEBP") -> str:
    """Return a picture for looking at as a data URI; a WebP has a tenth of a PNG's size."""
    buffer = io.BytesIO()
    image.save(buffer, format=form, quality=92, method=2)
    return data_uri(buffer.getvalue(), f"image/{form.lower()}")


TRACE = 4_000
"""Letters of an error's trace that are printed."""
_said = itertools.count()
"""Numbers what is told: Gradio does not draw a value anew that equals the one before."""


def status(message: str, *, busy: bool = False) -> Markup:
    """Return a line of state; `busy` arms the Stop button through the style sheet."""
    return tag("p", message, class_="md-status", data_busy=str(busy).lower(), data_said=next(_said))


def report(error: Exception) -> None:
    """Print the end of an error's trace to the terminal: values that a visitor sent may be of any length."""
    print("".join(traceback.format_exception(error))[-TRACE:], file=sys.stderr)


def failure(error: Exception) -> Markup:
    """Return an error as what to do about it, then what was wanted and what was found."""
    if not isinstance(error, MemDrivenError):
        report(error)
        found = f"{type(error).__name__}, which the page did not expect"
        error = MemDrivenError("an answer", found, "try again; the server's terminal says more")
    what_to_do = tag("strong", f"{error.fix[:1].upper()}{error.fix[1:]}.")
    why = tag("span", f"Wanted: {error.wanted}. Found: {error.found}.")
    about = {"role": "alert", "data_busy": "false", "data_said": next(_said)}
    return tag("div", what_to_do, why, class_="md-error", **about)


COLOURS = {"memory": (214, 130, 0), "text": (29, 95, 141), "noise": (122, 68, 190)}
"""Washes over pictures; strong enough on any of them."""


def levels(map_: Tensor, largest: float | None = None) -> np.ndarray:
    """Return a map (h, w) as bytes: 255 at `largest` (its own if not given), 0 below 0."""
    values = map_.float().clamp_min(0)
    most = largest or float(values.max()) or 1.0
    scaled: np.ndarray = (values / most * 255).round().clamp(0, 255).numpy()
    return scaled.astype(np.uint8)


def wash(map_: Tensor, kind: str, largest: float | None = None) -> str:
    """Return a map as a picture of one colour, clear where it is 0 (a data URI)."""
    alpha = levels(map_, largest)
    return washed(np.full((*alpha.shape, 3), COLOURS[kind], np.uint8), alpha)


def washed(colours: np.ndarray, alpha: np.ndarray) -> str:
    """Return colours (h, w, 3) as a picture that is as strong as alpha (h, w) says (a data URI)."""
    return image_uri(Image.fromarray(np.dstack([colours, alpha]), "RGBA"), "PNG")


def slide(first: tuple[str, str], second: tuple[str, str]) -> Markup:
    """Return two pictures, each (address, caption), on top of each other with a slider."""
    below = tag("img", src=second[0], alt=second[1])
    above = tag("img", src=first[0], alt=first[1], class_="md-slide-top")
    label = "How much of the first picture is shown"
    return tag(
        "div",
        tag("div", below, above, class_="md-slide-frame"),
        tag("input", type="range", min=0, max=100, value=50, aria_label=label),
        tag("div", *(tag("span", name) for _, name in (first, second)), class_="md-slide-labels"),
        class_="md-slide",
    )


def thumbs(retrieval: Sequence[Neighbour] | None) -> Markup:
    """Return the neighbours as a row of small pictures; a word where there are none."""
    if not retrieval:
        return tag("p", "no memory", class_="md-no-memory")
    images = (
        tag("img", src=image_uri(each.image), title=each.caption, alt=CARD_ALT.format_map(vars(each)))
        for each in retrieval
    )
    return tag("ul", *(tag("li", each) for each in images), class_="md-thumbs")


def figure(picture: str, alt: str, caption: str = "", **attributes: object) -> Markup:
    """Return a picture (a data URI) with a caption."""
    words = [tag("figcaption", caption)] if caption else []
    return tag("figure", tag("img", src=picture, alt=alt), *words, **{"class_": "md-figure", **attributes})


def changed_words(changes: Sequence[tuple[str, str]]) -> Markup:
    """Return words with those gone struck through and those new marked."""
    names = {"gone": "del", "new": "ins", "same": "span"}
    return Markup(" ").join(tag(names[kind], word) for kind, word in changes)


def script(*names: str) -> str:
    """Return files of the page's JavaScript, as `js_on_load` takes them."""
    folder = files("memdriven.ui")
    return "\n".join(f"{{{folder.joinpath(name).read_text('utf-8')}}}" for name in names)


CLICKS = script("clicks.js")
"""Sends what is pressed, moved or dropped in a panel to Python."""
BESIDE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Of events beside the queue: typing must not wait for a grid that is painted, only for the stage that the
networks are busy with (`MemoryDrivenPipeline.turn`)."""
PRESS = {**BESIDE, "trigger_mode": "multiple"}
"""Of presses among them: in Gradio's mode "once" one that comes while that before it is painted, is being
stopped, or just ends, would be lost without a word."""
QUEUED: dict[str, Any] = {
    "trigger_mode": "multiple",
    "show_progress": "hidden",
    "concurrency_id": state.CONCURRENCY_ID,
    "concurrency_limit": 1,
    "api_visibility": "private",
}
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
        opens = {"aria_expanded": "false", "aria_controls": f"{name}-fold"}
        panel(tag("h2", tag("button", title, type="button", **opens), class_="md-fold-title"))
        yield


def section(kind: str, title: str) -> gr.HTML:
    """Add a section's heading in its fixed colour: `text`, `memory`, `noise` or `paint`."""
    return panel(tag("h2", title, class_=f"md-section md-{kind}"))


def save_link(name: str, address: str, words: str = "") -> Markup:
    """Return a link that saves a data URI as a file."""
    return tag("a", words or name, class_="md-action", href=address, download=name)


def pressing(name: str) -> str:
    """Return JavaScript that presses the link in a panel, as soon as it is there."""
    return f"() => setTimeout(() => document.querySelector('#{name} a')?.click(), 100)"


# ---------------------------------------------------------------------------------------------------------
# What the further tabs share: buttons, rows of pictures, and charts.

BINS = 72
"""Bars of the histogram of cosines, up to 1."""


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


def table(title: str, heads: Iterable[str], rows: Iterable[str], **attributes: object) -> Markup:
    """Return rows (`tr`) under a title and heads."""
    head = tag("thead", tag("tr", *(tag("th", each, scope="col") for each in heads)))
    return tag("table", tag("caption", title), head, tag("tbody", *rows), **attributes)


def row(kind: str, cells: Iterable[str]) -> Markup:
    """Return cells side by side."""
    return tag("ol", *(tag("li", each) for each in cells), class_=kind)


def image(picture: Image.Image, alt: str = "") -> Markup:
    """Return a picture as an image of the page."""
    return tag("img", src=image_uri(picture), alt=alt)


def over(picture: Image.Image, map_: str) -> Markup:
    """Return a picture under a map (a data URI)."""
    return tag("span", image(picture), tag("img", src=map_, alt="", class_="md-wash"), class_="md-over")


def bars(
    rows: Sequence[tuple[str, float]], largest: float, form: Callable[[float], str] = "{:.2f}".format
) -> Markup:
    """Return named numbers as bars; `largest` fills one."""
    cells = []
    for name, value in rows:
        long = tag("span", style=f"width:{100 * value / largest if largest else 0:.1f}%")
        number = tag("span", form(value), class_="md-number")
        cells.append(tag("span", name) + tag("span", long, class_="md-bar") + number)
    return row("md-bars", cells)


def barcode(values: Tensor, kind: str) -> Markup:
    """Return numbers (n,) as a strip one px high: coloured above 0, grey below."""
    strong = levels(values[None].abs())
    colours = np.where((values[None] > 0).numpy()[..., None], COLOURS[kind], (128, 122, 112)).astype(np.uint8)
    return tag("img", src=washed(colours, strong), alt="", class_="md-barcode")


def histogram(
    cosines: Tensor, marks: Sequence[float], others: Sequence[float] = (), *, small: bool = False
) -> Markup:
    """Return how many items have which of the cosines (n,) with the caption, and where the references lie.

    `marks` are those of the references in use, `others` of those that were tried; a small one has no axis.
    """
    low = min(0.0, float(cosines.min()))
    counts = torch.histc(cosines, BINS, low, 1.0).tolist()
    width, height, most = 720, 150, max(counts) or 1
    step = width / BINS

    def x(value: float) -> float:
        return round((value - low) / (1 - low) * width, 1)

    drawn = []
    for place, count in enumerate(counts):
        up = round(max(2.0, count / most * (height - 24)), 1)
        box = {"x": round(place * step + 0.5, 1), "y": height - up, "width": step - 1, "height": up}
        drawn += [tag("rect", **box)] * (count > 0)
    for name, values, top in (("md-other", others, height - 26), ("md-mark-at", marks, 4)):
        drawn += [tag("line", x1=x(each), x2=x(each), y1=top, y2=height, class_=name) for each in values]
    frame = {"class_": "md-histogram", "viewBox": f"-12 0 {width + 24} {height + (0 if small else 24)}"}
    if small:
        return tag("svg", *drawn, **frame, aria_hidden="true", preserveAspectRatio="none")
    ticks = [each / 4 for each in range(-4, 5) if each / 4 >= low]
    drawn += [tag("text", f"{each:g}", x=x(each), y=height + 18, text_anchor="middle") for each in ticks]
    for each in marks[:1]:
        at = {"x": x(each) - 6, "y": 16}
        drawn.append(tag("text", f"{each:.2f}", **at, text_anchor="end", class_="md-mark-name"))
    drawn.append(tag("text", "cosine with s", x=0, y=16))
    used = ", ".join(f"{each:.2f}" for each in marks) or "none"
    told = f"Histogram of {len(cosines):,} cosines from {low:.1f} to 1; references in use at {used}"
    return tag("svg", *drawn, **frame, role="img", aria_label=told)
