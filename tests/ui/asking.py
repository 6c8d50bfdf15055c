"""What the tests of the tabs ask, in the order of `Compose.whole_query`."""

from __future__ import annotations

from typing import Any

from memdriven.ui.steering import Steering

CAPTION = "a small red bird with black wings"
QUERY: tuple[Any, ...] = (
    CAPTION,
    "retrieved",
    "sentence-sentence",
    1,
    "7",
    True,
    Steering(),
    1.0,
    0.0,
    "",
    "",
    1,
)
EMPTY: tuple[Any, ...] = ("  ", *QUERY[1:])
HOSTILE = "a red bird <img src=x onerror=window.hacked=1> ${window.hacked=2} {{value}}"


def asking(caption: str = CAPTION, **changed: Any) -> tuple[Any, ...]:
    """Return a query with some values changed."""
    names = (
        "caption",
        "source",
        "comparison",
        "k",
        "seed",
        "keep",
        "steering",
        "memory",
        "guidance",
        "mirror",
        "window",
        "tries",
    )
    values = dict(zip(names, QUERY, strict=True)) | {"caption": caption} | changed
    return tuple(values[name] for name in names)
