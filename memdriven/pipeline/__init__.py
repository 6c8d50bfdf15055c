"""From a caption to its picture: request, retrieval, painting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memdriven.pipeline.pipeline import MemoryDrivenPipeline

__all__ = ["MemoryDrivenPipeline"]


def __getattr__(name: str) -> Any:
    """Import the pipeline on first use; its parts need no more than they name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from memdriven.pipeline.pipeline import MemoryDrivenPipeline

    return MemoryDrivenPipeline
