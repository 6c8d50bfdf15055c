"""Gradio, imported the quiet and quick way; import this module before any other of the page.

Two things must be settled before Gradio's first import: that it reports nothing to anyone, and
that it leaves its own package folder alone. For every component class it would otherwise parse
its source and compare, or write, a stub file beside it: half of its import time, and a failure
on read-only installations.
"""

import inspect
import os
from typing import Any
from unittest.mock import patch

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# The page has no traffic monitor, so its statistics need not be computed after every event.
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**9)


_file_of = inspect.getfile


def _hidden(thing: Any) -> str:
    """Hide the source of Gradio's classes: its stub writer then passes them over."""
    if isinstance(thing, type) and thing.__module__.startswith("gradio."):
        raise OSError("hidden from the stub writer")
    return _file_of(thing)


with patch.object(inspect, "getfile", _hidden):
    import gradio as gr
    from gradio.context import LocalContext


def session() -> str | None:
    """Return the browser tab that the running handler works for; None outside of handlers."""
    request = LocalContext.request.get(None)
    return getattr(request, "session_hash", None)


__all__ = ["gr", "session"]
