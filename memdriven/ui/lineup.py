"""The neighbours of a caption in one long line, found once however many of them are in use."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from memdriven.pipeline import MemoryDrivenPipeline
from memdriven.trace import Neighbour, Retrieval
from memdriven.ui import state

SHOWN = 6
"""Memories on screen: those in use and the next in line."""
CONTROLS = ("random", "oracle", "none")
"""Strategies without an order that one could go further down."""


def neighbours(
    caption: str, strategy: str, k: int, seed: int
) -> tuple[Retrieval, tuple[Neighbour, ...]]:
    """Return the k neighbours in use, and those next in line.

    Raises:
        CaptionError, RetrievalError: as `MemoryDrivenPipeline.retrieve`.
    """
    if strategy in CONTROLS:
        return state.pipeline().retrieve(caption, strategy, k, seed=seed), ()
    line = _line(state.pipeline(), caption, strategy)
    whole = math.fsum(neighbour.weight for neighbour in line[:k])
    # A softmax over fewer neighbours is the same shares, scaled.
    used = tuple(replace(neighbour, weight=neighbour.weight / whole) for neighbour in line[:k])
    return replace(line, k=k, neighbours=used), line[k:SHOWN]


def next_in_line(retrieval: Retrieval) -> tuple[Neighbour, ...]:
    """Return the neighbours behind those in use."""
    if retrieval.strategy in CONTROLS or len(retrieval) >= SHOWN:
        return ()
    line = _line(state.pipeline(), retrieval.caption, retrieval.strategy)
    return line[len(retrieval) : SHOWN]


@lru_cache(maxsize=16)
def _line(pipe: MemoryDrivenPipeline, caption: str, strategy: str) -> Retrieval:
    longest = min(max(SHOWN, state.MAX_K), pipe.bank.n)
    return pipe.retrieve(caption, strategy, longest)
