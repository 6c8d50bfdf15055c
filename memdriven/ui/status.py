"""The status line as HTML: a polite live region that says what goes on, or what went wrong."""

from __future__ import annotations

from memdriven.errors import MemDrivenError
from memdriven.ui import strings
from memdriven.ui.html import tag, text


def status(message: str, *, busy: bool = False) -> str:
    """Return a line of state; `busy` arms the Stop button through the style sheet."""
    return tag("p", text(message), class_="md-status", data_busy=str(busy).lower())


def failure(error: MemDrivenError) -> str:
    """Return an error as what to do about it, what was found and what was wanted."""
    lines = [
        tag("strong", text(strings.ERROR_TITLE)),
        tag("span", text(strings.ERROR_FOUND.format(found=error.found))),
        tag("span", text(strings.ERROR_WANTED.format(wanted=error.wanted))),
        tag("span", text(strings.ERROR_FIX.format(fix=error.fix))),
    ]
    return tag("div", "".join(lines), class_="md-error", role="alert", data_busy="false")
