"""The neighbours of a caption in one long line, found once however many of them are in use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache

from memdriven.errors import RetrievalError
from memdriven.pipeline.output import Neighbour, Prepared, Retrieval, Tried
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Reference, Request, sums_to_one
from memdriven.ui import state
from memdriven.ui.steering import MAX_PINS, Steering

SHOWN = 6
"""Memories on screen: those in use and the next in line."""
CONTROLS = ("random", "oracle", "none")
"""Strategies without an order that one could go further down."""


@dataclass(frozen=True)
class LineUp:
    """What the memory panel shows, and what a picture is made with."""

    request: Request
    """What to paint: where references are given by hand, with these in place of retrieval."""
    retrieval: Retrieval
    """The references in use, with their shares."""
    spare: tuple[Neighbour, ...] = ()
    """Next in line."""
    steering: Steering = field(default_factory=Steering)
    tried: tuple[Tried, ...] = ()
    """The references that were painted with, to choose among them."""

    @property
    def steered(self) -> bool:
        """Whether the references are given by hand, at least in part."""
        return self.steering.active and self.retrieval.strategy != "none"


def line_up(request: Request, steering: Steering | None = None) -> LineUp:
    """Return the references in use and those next in line, after a visitor's wishes.

    With `best_of` above k the references are chosen by the pictures that they give. What is steered by
    hand begins from those that are shown (`Steering.shown`).

    Raises:
        CaptionError, RetrievalError: as `MemoryDrivenPipeline.retrieve`.
    """
    pipe, steering = state.pipeline(), steering or Steering()
    caption, strategy, k = request.caption, request.strategy or "", request.k or 1
    seed = request.seeds[0] if request.seeds else 0
    request = replace(request, exclude=masks(pipe, steering), images=steering.guests)
    held = dict(steering.held(caption, strategy, k))
    choosing = request.best_of > k and strategy not in CONTROLS
    if strategy == "none" or not (steering.active or held):
        retrieval, spare = neighbours(caption, strategy, k, seed)
        if not choosing or strategy == "none":
            return LineUp(request, retrieval, spare, steering)
        prepared, every = pipe.prepare(request), (*retrieval, *spare)
        spare = tuple(each for each in every if each.id not in prepared.retrieval.ids)
        return LineUp(request, prepared.retrieval, spare, steering, prepared.tried)
    tried: tuple[Tried, ...] = ()
    with pipe.turn:
        line = _long_line(pipe, caption, strategy, k, seed, steering)
        fill = 0 if steering.alone else max(0, k - len(steering.pins))
        found = held
        if choosing and steering.like is None and fill:
            prepared = pipe.prepare(request)
            tried = prepared.tried
            found = held or {each.id: each.weight for each in prepared.retrieval}
        found = found or {each.id: each.weight for each in line}
        used = {name: share for name, share in found.items() if name not in steering.pins}
        ids, weights = steering.mix(_whole(dict(list(used.items())[:fill])))
        request = replace(request, k=max(1, len(ids)), references=tuple(map(Reference, ids, weights)))
        retrieval = pipe.retrieve(request)
    return _placed(request, retrieval, line, steering, tried)


def _whole(found: Mapping[str, float]) -> dict[str, float]:
    """Return shares that sum to 1; those that do so already keep their last bit."""
    whole = math.fsum(found.values()) or 1.0
    return dict(found) if sums_to_one([whole]) else {name: each / whole for name, each in found.items()}


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


def again(prepared: Prepared, steering: Steering | None = None) -> LineUp:
    """Return the line-up of a picture that was made from ids, as `line_up` would show it.

    Args:
        prepared: the picture's, which tells of its references nothing but their shares.
        steering: what was done by hand since, e.g. which images are masked.
    """
    pipe, steering = state.pipeline(), steering or Steering()
    retrieval, seed = prepared.retrieval, prepared.request.seeds[0]
    line: Sequence[Neighbour] = ()
    # A recipe may name the neighbours of an `oracle` that its words do not have.
    with pipe.turn, suppress(RetrievalError):
        line = _long_line(pipe, retrieval.caption, retrieval.strategy, len(retrieval), seed, steering)
    return _placed(prepared.request, retrieval, line, steering, prepared.tried)


def _placed(
    request: Request,
    retrieval: Retrieval,
    line: Sequence[Neighbour],
    steering: Steering,
    tried: tuple[Tried, ...],
) -> LineUp:
    """Return given neighbours with what a line tells of them, and who is next in it."""
    rich = {each.id: each for each in line}
    used = tuple(
        replace(rich[each.id], weight=each.weight) if each.id in rich else each for each in retrieval
    )
    rest = [each for each in line if each.id not in retrieval.ids]
    count = max(SHOWN - len(used), 2 if steering.active else 0)
    return LineUp(request, replace(retrieval, neighbours=used), tuple(rest[:count]), steering, tried)


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
def _line(key: str, caption: str, strategy: str, longest: int = 0, masks: tuple[str, ...] = ()) -> Retrieval:
    """Retrieve once; the key names the model, so that the cache keeps none in memory."""
    pipe = state.pipeline()
    longest = longest or min(max(SHOWN, state.MAX_K), pipe.bank.n)
    return pipe.retrieve(caption, strategy, longest, exclude=masks)
