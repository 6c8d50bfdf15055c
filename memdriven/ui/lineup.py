"""The neighbours of a caption in one long line, found once however many of them are in use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from memdriven.errors import RetrievalError
from memdriven.pipeline.output import Neighbour, Retrieval
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request, Variation
from memdriven.ui import state
from memdriven.ui.steering import MAX_PINS, Steering

SHOWN = 6
"""Memories on screen: those in use and the next in line."""
CONTROLS = ("random", "oracle", "none")
"""Strategies without an order that one could go further down."""


@dataclass(frozen=True)
class LineUp:
    """What the memory panel shows, and what a picture is made with."""

    retrieval: Retrieval
    """The neighbours in use, with their shares."""
    spare: tuple[Neighbour, ...] = ()
    """Next in line."""
    steering: Steering = field(default_factory=Steering)

    @property
    def given(self) -> dict[str, Any]:
        """What takes the place of retrieval, as the pipeline takes it; nothing where that is it."""
        if not self.steered and not self.retrieval.tried:
            return {}
        return {"neighbours": self.retrieval.ids, "weights": self.retrieval.weights}

    @property
    def steered(self) -> bool:
        """Whether the neighbours are given by hand, at least in part."""
        return self.steering.active and self.retrieval.strategy != "none"


def line_up(
    caption: str,
    strategy: str,
    k: int,
    seed: int,
    steering: Steering | None = None,
    tries: int = 1,
    variations: tuple[Variation, ...] = (),
    memory: float = 1.0,
    guidance: float | None = None,
) -> LineUp:
    """Return the neighbours in use and those next in line, after a visitor's wishes.

    With `tries` above 1 the neighbours are chosen by the pictures that they give, unless they were
    steered by hand.

    Raises:
        CaptionError, RetrievalError: as `MemoryDrivenPipeline.retrieve`.
    """
    steering = steering or Steering()
    if strategy == "none" or not steering.active:
        retrieval, spare = neighbours(caption, strategy, k, seed)
        if tries > k and strategy not in CONTROLS:
            key = _key(state.pipeline())
            every = (*retrieval, *spare)
            retrieval = _chosen(key, caption, strategy, k, seed, tries, variations, memory, guidance)
            spare = tuple(each for each in every if each.id not in retrieval.ids)
        return LineUp(retrieval, spare, steering)
    pipe = state.pipeline()
    with pipe.turn:
        line = _long_line(pipe, caption, strategy, k, seed, steering)
        fill = 0 if steering.alone else max(0, k - len(steering.pins))
        found = {each.id: each for each in line if each.id not in steering.pins}
        used = list(found.values())[:fill]
        whole = math.fsum(each.weight for each in used) or 1.0
        ids, weights = steering.mix({each.id: each.weight / whole for each in used})
        retrieval = pipe.retrieve(
            caption, strategy, seed=seed, neighbours=ids, weights=weights, images=steering.guests
        )
    return _placed(retrieval, line, steering)


def neighbours(caption: str, strategy: str, k: int, seed: int) -> tuple[Retrieval, tuple[Neighbour, ...]]:
    """Return the k neighbours in use, and those next in line.

    Raises:
        CaptionError, RetrievalError: as `MemoryDrivenPipeline.retrieve`.
    """
    if strategy in CONTROLS:
        return state.pipeline().retrieve(caption, strategy, k, seed=seed), ()
    line = _line(_key(state.pipeline()), caption, strategy)
    whole = math.fsum(neighbour.weight for neighbour in line[:k])
    # A softmax over fewer neighbours is the same shares, scaled.
    used = tuple(replace(neighbour, weight=neighbour.weight / whole) for neighbour in line[:k])
    return replace(line, k=k, neighbours=used), line[k:SHOWN]


def again(retrieval: Retrieval, seed: int, steering: Steering | None = None) -> LineUp:
    """Return the line-up of a picture that was made from ids, as `line_up` would show it.

    Args:
        retrieval: the picture's, which tells of its ids nothing but their shares.
        seed: the one that strategy `random` drew them with.
        steering: what was done by hand since, e.g. which images are masked.
    """
    pipe, steering = state.pipeline(), steering or Steering()
    line: Sequence[Neighbour] = ()
    # A recipe may name the neighbours of an `oracle` that its words do not have.
    with pipe.turn, suppress(RetrievalError):
        line = _long_line(pipe, retrieval.caption, retrieval.strategy, len(retrieval), seed, steering)
    return _placed(retrieval, line, steering)


def _placed(retrieval: Retrieval, line: Sequence[Neighbour], steering: Steering) -> LineUp:
    """Return given neighbours with what a line tells of them, and who is next in it."""
    rich = {each.id: each for each in line}
    used = tuple(
        replace(rich[each.id], weight=each.weight) if each.id in rich else each for each in retrieval
    )
    rest = [each for each in line if each.id not in retrieval.ids]
    count = max(SHOWN - len(used), 2 if steering.active else 0)
    return LineUp(replace(retrieval, neighbours=used), tuple(rest[:count]), steering)


def masks(pipe: MemoryDrivenPipeline, steering: Steering) -> tuple[str, ...]:
    """Return the masked ids that a model's memory has; what is masked may be of another one."""
    return tuple(sorted(set(steering.masks).intersection(pipe.bank.ids)))


def _long_line(
    pipe: MemoryDrivenPipeline, caption: str, strategy: str, k: int, seed: int, steering: Steering
) -> Sequence[Neighbour]:
    """Return retrieval's own line without what is masked, or an image's look-alikes."""
    masked = masks(pipe, steering)
    longest = min(max(SHOWN, state.MAX_K) + MAX_PINS, pipe.bank.n - len(masked))
    if steering.like is not None:
        return pipe.alike(steering.like, longest, masked, steering.guests)
    if strategy in CONTROLS:
        count = min(longest, max(1, k + len(steering.pins)))
        return pipe.retrieve(caption, strategy, count, exclude=masked, seed=seed)
    return _line(_key(pipe), caption, strategy, longest, masked)


def _key(pipe: MemoryDrivenPipeline) -> str:
    return pipe.checkpoint.hash + pipe.bank_hash


@lru_cache(maxsize=16)
def _chosen(
    key: str,
    caption: str,
    strategy: str,
    k: int,
    seed: int,
    tries: int,
    variations: tuple[Variation, ...],
    memory: float,
    guidance: float | None,
) -> Retrieval:
    """Try once, for all the tabs that ask for the same picture."""
    request = Request.of(
        caption, strategy, k, seed, best_of=tries, variations=variations, memory=memory, guidance=guidance
    )
    return state.pipeline().prepare(request).retrieval


@lru_cache(maxsize=16)
def _line(key: str, caption: str, strategy: str, longest: int = 0, masks: tuple[str, ...] = ()) -> Retrieval:
    """Retrieve once; the key names the model, so that the cache keeps none in memory."""
    pipe = state.pipeline()
    longest = longest or min(max(SHOWN, state.MAX_K), pipe.bank.n)
    return pipe.retrieve(caption, strategy, longest, exclude=masks)
