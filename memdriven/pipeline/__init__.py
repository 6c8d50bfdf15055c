"""From a caption to its picture: request, retrieval, painting."""

from memdriven.pipeline.pipeline import MemoryDrivenPipeline

__all__ = ["MemoryDrivenPipeline"]
