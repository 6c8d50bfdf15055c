"""What the tests of the tabs ask, in the order of `Compose.whole_query`."""

from __future__ import annotations

from typing import Any

from memdriven.ui.query import Query
from memdriven.ui.steering import Steering

CAPTION = "a small red bird with black wings"
_OTHERS = ("retrieved", "sentence-sentence", 1, "7", True, Steering(), 1.0, 0.0, "", "", 1)
QUERY: tuple[Any, ...] = (CAPTION, *_OTHERS)
EMPTY: tuple[Any, ...] = ("  ", *QUERY[1:])
HOSTILE = "a red bird <img src=x onerror=window.hacked=1> ${window.hacked=2} {{value}}"


def asking(caption: str = CAPTION, *, memory: float = 1.0, **changed: Any) -> tuple[Any, ...]:
    """Return a query with some values changed."""
    return Query(*QUERY)._replace(caption=caption, share=memory, **changed)
